//! Agents over REST: made, changed, listed, and their secrets never shown.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{AGENTS, Api};

#[tokio::test]
async fn an_agent_lives_from_its_creation_to_its_end() {
    let api = Api::start().await;
    let made = api.post(AGENTS, &json!({ "name": "builder", "model": "m", "prompt": "Build." })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let agent = made.json();
    assert_eq!((&agent["harness_id"], &agent["branch"]), (&json!("shell"), &Value::Null));
    assert_eq!(agent["config_generation"], 1);
    let path = format!("{AGENTS}/{}", agent["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.json(), agent);

    let changed = api.patch(&path, &json!({ "prompt": null, "branch": "dev" })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let changed = changed.json();
    assert_eq!((&changed["prompt"], &changed["branch"]), (&Value::Null, &json!("dev")));
    assert_eq!(changed["config_generation"], 2);
    assert_eq!(changed["name"], "builder");
    let moved = json!({ "repo_url": "https://example.org/b.git", "branch": null });
    let moved = api.patch(&path, &moved).await.json();
    assert_eq!((&moved["repo_url"], &moved["branch"]), (&json!("https://example.org/b.git"), &Value::Null));
    assert_eq!(moved["config_generation"], 3);
    assert_eq!(api.patch(&path, &json!({ "repo_url": null })).await.json()["repo_url"], Value::Null);

    let gone = api.delete(&path).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    assert_eq!(api.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.delete(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.get(AGENTS).await.json()["total"], 0);
    api.agent("builder").await;
}

#[tokio::test]
async fn a_name_belongs_to_one_live_agent() {
    let api = Api::start().await;
    api.agent("only").await;
    let other = api.agent("other").await;
    let again = api.post(AGENTS, &json!({ "name": "only", "model": "m" })).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.error().contains("only"), "{}", again.text);
    let renamed = api.patch(&format!("{AGENTS}/{other}"), &json!({ "name": "only" })).await;
    assert_eq!(renamed.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn secrets_are_written_and_never_read() {
    let api = Api::start().await;
    let secret = "ghp_0123456789abcdef0123456789abcdef9f";
    let body = json!({ "model": "m", "env_vars": { "TOKEN": secret, "PLAIN": "short" } });
    let made = api.post(AGENTS, &body).await;
    assert_eq!(made.json()["env_vars"], json!({ "TOKEN": "ghp_…9f", "PLAIN": "…" }));
    let path = format!("{AGENTS}/{}", made.json()["id"].as_str().unwrap());
    for text in [made.text, api.get(&path).await.text, api.get(AGENTS).await.text] {
        assert!(!text.contains("0123456789abcdef"), "{text}");
    }
    // What was read is sent back, as forms do: the secret stays, and nothing has changed.
    let shown = api.get(&path).await.json();
    let again = api.patch(&path, &json!({ "env_vars": shown["env_vars"] })).await;
    assert_eq!(again.json()["config_generation"], 1, "{}", again.text);
}

#[tokio::test]
async fn fields_of_other_platforms_clients_are_taken_and_left_alone() {
    let api = Api::start().await;
    let body = json!({
        "model": "m", "tools": [{ "any": "thing" }], "pfp_url": "https://x", "projects": null, "template_id": 7,
        "sandbox_files": {},
    });
    let made = api.post(AGENTS, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(made.json().get("tools").is_none());
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let api = Api::start().await;
    for name in ["alpha", "Beta", "gamma", "Delta"] {
        api.agent(name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = |query: &str| {
        let path = format!("{AGENTS}?{query}");
        let api = &api;
        async move {
            let answer = api.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            answer.json()
        }
    };
    assert_eq!(names(&list("").await), ["Delta", "gamma", "Beta", "alpha"]);
    assert_eq!(names(&list("sort=name&order=asc").await), ["alpha", "Beta", "Delta", "gamma"]);
    assert_eq!(names(&list("search=LT").await), ["Delta"]);
    assert_eq!(names(&list("name=Beta").await), ["Beta"]);
    assert_eq!(list("harness_id=codex").await["total"], 0);
    assert_eq!(list("limit=9999").await["limit"], 200);
    assert_eq!(list("limit=0").await["limit"], 1);
    assert_eq!(names(&list("offset=3").await), ["alpha"]);

    let mut walked = Vec::new();
    let mut query = "sort=name&order=asc&limit=3".to_owned();
    for _ in 0..2 {
        let page = list(&query).await;
        assert_eq!(page["total"], 4);
        walked.extend(names(&page));
        query = match page["next_cursor"].as_str() {
            Some(cursor) => format!("sort=name&order=asc&limit=3&cursor={cursor}"),
            None => break,
        };
    }
    assert_eq!(walked, ["alpha", "Beta", "Delta", "gamma"]);
    let refused = api.get(&format!("{AGENTS}?cursor=nonsense")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_address_with_a_token_in_it_is_refused_and_not_repeated() {
    let api = Api::start().await;
    let token = "ghp_0123456789abcdef0123456789abcdef9f";
    for url in [format!("https://{token}@github.com/a/b"), format!("https://x:{token}@github.com/a/b")] {
        let refused = api.post(AGENTS, &json!({ "model": "m", "repo_url": url })).await;
        assert_eq!(refused.faults(), ["repo_url: invalid"], "{}", refused.text);
        assert!(refused.text.contains("env_vars") && !refused.text.contains(token), "{}", refused.text);
    }
    let ssh = json!({ "model": "m", "repo_url": "ssh://git@github.com/a/b" });
    assert_eq!(api.post(AGENTS, &ssh).await.status, StatusCode::CREATED);
}

/// What the harnesses say of their default models.
async fn default_models(api: &Api) -> (Value, Value) {
    let all = api.get("/api/v1/managed_agents/harnesses").await.json();
    let of = |id: &str| {
        let found = all["data"].as_array().unwrap().iter().find(|harness| harness["id"] == id).unwrap();
        found["default_model"].clone()
    };
    (of("shell"), of("opencode"))
}

#[tokio::test]
async fn a_shell_needs_no_model_and_others_take_the_gateways() {
    let api = Api::start().await;
    assert_eq!(default_models(&api).await, (json!("default"), Value::Null));
    for body in [json!({}), json!({ "harness_id": "shell" }), json!({ "harness_id": null })] {
        let made = api.post(AGENTS, &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        assert_eq!((&made.json()["harness_id"], &made.json()["model"]), (&json!("shell"), &json!("default")));
    }
    let refused = api.post(AGENTS, &json!({ "harness_id": "opencode" })).await;
    assert_eq!(refused.faults(), ["model: required"]);
    let empty = api.post(AGENTS, &json!({ "harness_id": "shell", "model": "" })).await;
    assert!(empty.faults().contains(&"model: too_small".to_owned()), "{}", empty.text);

    let api = Api::start_with(&[("LITELLM_DEFAULT_MODEL", "house/model")]).await;
    assert_eq!(default_models(&api).await, (json!("house/model"), json!("house/model")));
    for harness in ["shell", "opencode"] {
        let made = api.post(AGENTS, &json!({ "harness_id": harness })).await;
        assert_eq!(made.json()["model"], "house/model", "{}", made.text);
    }
}
