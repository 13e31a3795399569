//! Requests that make no sense, and how each is told.

use lap_platform::model::validate::limits;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{AGENTS, Api, SESSIONS};

#[tokio::test]
async fn an_unknown_path_is_named() {
    let api = Api::start().await;
    for path in ["/", "/api", "/api/v1/nothing", "/api/v1/managed_agents/agents/", "/v1/chat/completions"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.error().contains(path), "{}", answer.text);
    }
}

#[tokio::test]
async fn an_unknown_method_is_told_which_there_are() {
    let api = Api::start().await;
    let answer = api.send(api.request(Method::PUT, AGENTS)).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
    assert!(
        allowed.contains(&"GET") && allowed.contains(&"POST") && !allowed.contains(&"PUT"),
        "{allowed:?}"
    );
    assert!(answer.error().contains("PUT"), "{}", answer.text);
}

#[tokio::test]
async fn all_faults_of_a_request_are_told_at_once() {
    let api = Api::start().await;
    let body = json!({
        "nmae": "typo",
        "prompt": 7,
        "branch": ["main"],
        "env_vars": { "A": 1 },
        "mcp_servers": [{ "name": "a", "url": "https://x", "methods": [] }],
        "resources": { "limits": { "gpu": "1" } },
        "preload_memory_limit": 51,
        "skill_ids": ["not-a-uuid"],
        "harness_id": "no-such-harness",
        "name": "",
        "repo_url": "nowhere",
        "allow_out": [7, "a b"],
    });
    let mut faults = api.post(AGENTS, &body).await.faults();
    faults.sort();
    let expected = [
        "allow_out.0: invalid_type",
        "allow_out.1: invalid",
        "branch: invalid_type",
        "env_vars.A: invalid_type",
        "harness_id: invalid",
        "mcp_servers.0.methods: unknown_field",
        "model: required",
        "name: too_small",
        "nmae: unknown_field",
        "preload_memory_limit: too_big",
        "prompt: invalid_type",
        "repo_url: invalid",
        "resources.limits.gpu: unknown_field",
        "skill_ids.0: invalid",
    ];
    assert_eq!(faults, expected);
    let mut faults = api.post(AGENTS, &json!({ "model": "", "name": "", "requirements": 1 })).await.faults();
    faults.sort();
    assert_eq!(faults, ["model: too_small", "name: too_small", "requirements: invalid_type"]);
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_point_and_no_other_passes_for_one() {
    let api = Api::start().await;
    let made = api.post(AGENTS, &json!({ "model": "m", "max_sessions": 2.0 })).await;
    assert_eq!((made.status, &made.json()["max_sessions"]), (StatusCode::CREATED, &json!(2)));
    for none in [json!(1.5), json!("2"), json!(1e300), json!(true)] {
        let refused = api.post(AGENTS, &json!({ "model": "m", "max_sessions": none })).await;
        assert_eq!(refused.faults(), ["max_sessions: invalid_type"]);
        assert!(refused.text.contains("must be a whole number"), "{}", refused.text);
    }
}

#[tokio::test]
async fn fields_of_other_platforms_clients_are_accepted_and_ignored() {
    let api = Api::start().await;
    let body = json!({
        "model": "m", "tools": [1], "mcp_allowed_tools": { "a": ["b"] }, "pfp_url": "x", "projects": [],
        "template_id": null, "sandbox_files": {},
    });
    assert_eq!(api.post(AGENTS, &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn values_beyond_their_limits_are_named() {
    let api = Api::start().await;
    let refused = |mut body: serde_json::Value| {
        body["model"] = json!("m");
        let api = &api;
        async move { api.post(AGENTS, &body).await.faults() }
    };
    assert_eq!(refused(json!({ "name": "x".repeat(limits::NAME_CHARS + 1) })).await, ["name: too_big"]);
    assert_eq!(refused(json!({ "name": "" })).await, ["name: too_small"]);
    assert_eq!(refused(json!({ "name": "a\u{1b}[31m" })).await, ["name: invalid"]);
    assert_eq!(refused(json!({ "prompt": "x".repeat(limits::PROMPT_BYTES + 1) })).await, ["prompt: too_big"]);
    assert_eq!(refused(json!({ "prompt": "a\u{0}b" })).await, ["prompt: invalid"]);
    assert_eq!(refused(json!({ "env_vars": { "PORT": "1" } })).await, ["env_vars.PORT: reserved"]);
    assert_eq!(refused(json!({ "env_vars": { "LAP_X": "1" } })).await, ["env_vars.LAP_X: reserved"]);
    assert_eq!(refused(json!({ "repo_url": "https://me:pw@host/a" })).await, ["repo_url: invalid"]);
    assert_eq!(refused(json!({ "allow_out": ["a.com", "a b"] })).await, ["allow_out.1: invalid"]);
    assert_eq!(refused(json!({ "idle_timeout_seconds": 0 })).await, ["idle_timeout_seconds: too_small"]);
    let bound = |vars: serde_json::Value| json!({ "env_vars": vars, "allow_out": ["a.com"], "env_var_hosts": { "TOKEN": ["b.com"] } });
    assert_eq!(refused(bound(json!({ "TOKEN": "x" }))).await, ["env_var_hosts.TOKEN.0: invalid"]);
    let unset = refused(bound(json!({ "OTHER": "x" }))).await;
    assert_eq!(unset, ["env_var_hosts.TOKEN: invalid", "env_var_hosts.TOKEN.0: invalid"]);
}

#[tokio::test]
async fn a_change_is_judged_together_with_what_it_leaves_alone() {
    let api = Api::start().await;
    let body = json!({
        "model": "m", "env_vars": { "TOKEN": "x" }, "allow_out": ["a.com"],
        "env_var_hosts": { "TOKEN": ["a.com"] },
    });
    let id = api.post(AGENTS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("{AGENTS}/{id}");
    let refused = api.patch(&path, &json!({ "allow_out": ["b.com"] })).await;
    assert_eq!(refused.faults(), ["env_var_hosts.TOKEN.0: invalid"]);
    assert_eq!(api.get(&path).await.json()["allow_out"], json!(["a.com"]), "nothing has changed");
    let refused =
        api.patch(&path, &json!({ "harness_id": "codex", "repo_url": "nowhere", "model": null })).await;
    let mut faults = refused.faults();
    faults.sort();
    assert_eq!(faults, ["harness_id: unknown_field", "model: invalid_type", "repo_url: invalid"]);
}

#[tokio::test]
async fn an_unknown_skill_is_not_found() {
    let api = Api::start().await;
    let id = "0197c0de-0000-7000-8000-000000000000";
    let answer = api.post(AGENTS, &json!({ "model": "m", "skill_ids": [id] })).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.error().contains(id), "{}", answer.text);
}

#[tokio::test]
async fn what_is_no_json_is_refused_with_the_reason() {
    let api = Api::start().await;
    let send = |kind: Option<&'static str>, body: &'static str| {
        let request = api.request(Method::POST, AGENTS).body(body);
        let request = match kind {
            Some(kind) => request.header(CONTENT_TYPE, kind),
            None => request,
        };
        api.send(request)
    };
    let json = Some("application/json");
    for body in ["{", "{\"model\":\"m\"", "\u{feff}{}", "{\"model\":\"m\"} trailing", "{'model':'m'}"] {
        let answer = send(json, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.error().contains("not JSON"), "{}", answer.text);
    }
    assert_eq!(send(json, "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(json, "[]").await.faults(), [": invalid_type"]);
    assert_eq!(send(json, "null").await.faults(), [": invalid_type"]);
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let answer = send(kind, "{\"model\":\"m\"}").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
    }
    for (encoding, status) in
        [("gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE), ("identity", StatusCode::CREATED)]
    {
        let request = api.request(Method::POST, AGENTS).header(CONTENT_TYPE, "application/json");
        let request = request.header("content-encoding", encoding).body("{\"model\":\"m\"}");
        assert_eq!(api.send(request).await.status, status, "{encoding}");
    }
    let fine = send(Some("application/json; charset=utf-8"), "{\"model\":\"m\"}").await;
    assert_eq!(fine.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_and_the_server_goes_on() {
    let api = Api::start().await;
    let answer = api.post(AGENTS, &json!({ "model": "m", "prompt": "x".repeat(1024 * 1024) })).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.error().contains("1048576"), "{}", answer.text);
    // Many small values cost more to check than to read.
    let many = vec![json!(0); 30_000];
    assert_eq!(
        api.post(AGENTS, &json!({ "model": "m", "allow_out": many })).await.status,
        StatusCode::BAD_REQUEST
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let request = api.request(Method::POST, AGENTS).header(CONTENT_TYPE, "application/json").body(deep);
    assert_eq!(api.send(request).await.status, StatusCode::BAD_REQUEST);
    api.agent("still-here").await;
}

#[tokio::test]
async fn queries_are_checked_like_bodies() {
    let api = Api::start().await;
    let faults = |query: &'static str| {
        let api = &api;
        async move { api.get(&format!("{AGENTS}?{query}")).await.faults() }
    };
    assert_eq!(faults("limit=ten").await, ["limit: invalid_type"]);
    assert_eq!(faults("limit=1.5").await, ["limit: invalid_type"]);
    assert_eq!(faults("offset=x").await, ["offset: invalid_type"]);
    assert_eq!(faults("sort=size").await, ["sort: invalid"]);
    assert_eq!(faults("serach=x").await, ["serach: unknown_field"]);
    assert_eq!(faults("limit=1&limit=2").await, ["limit: invalid"]);
    assert_eq!(faults("search=%00").await, ["search: invalid"]);
    for clamped in
        ["limit=0&offset=-1", "limit=201&offset=99999999999999999999", "limit=-99999999999999999999"]
    {
        assert_eq!(api.get(&format!("{AGENTS}?{clamped}")).await.status, StatusCode::OK, "{clamped}");
    }
    let sessions = api.get(&format!("{SESSIONS}?status=sleeping&agent_id=7")).await;
    let mut found = sessions.faults();
    found.sort();
    assert_eq!(found, ["agent_id: invalid", "status: invalid"]);
}

#[tokio::test]
async fn an_id_that_is_none_is_not_found() {
    let api = Api::start().await;
    for id in ["7", "%00", "%ff", "..", "0197c0de-0000-7000-8000-000000000000"] {
        for base in [AGENTS, SESSIONS] {
            let answer = api.get(&format!("{base}/{id}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{base}/{id}: {}", answer.text);
        }
    }
}
