//! Whether openapi.json is true: every route is in it, and it judges requests as the server does.

use lap_platform::model::validate;
use lap_platform::model::{Agent, AgentSpec};
use proptest::prelude::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Api;

const SOME_ID: &str = "0197c0de-0000-7000-8000-000000000000";

/// The methods the router has at a path, found by one that none has.
async fn methods_at(api: &Api, path: &str) -> Vec<String> {
    let answer = api.send(api.request(Method::TRACE, path)).await;
    assert_eq!(
        answer.status,
        StatusCode::METHOD_NOT_ALLOWED,
        "{path} is in the document and not in the router"
    );
    answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect()
}

#[tokio::test]
async fn the_document_has_every_method_of_every_route() {
    let api = Api::start().await;
    let operations = api.document().operations();
    let mut paths: Vec<&String> = operations.iter().map(|(path, _, _)| path).collect();
    paths.dedup();
    assert!(paths.len() >= 12, "{paths:?}");
    for path in paths {
        let filled = path.replace("{agent_id}", SOME_ID).replace("{session_id}", SOME_ID);
        let mut routed = methods_at(&api, &filled).await;
        // Answered by every GET, without being an operation of its own.
        routed.retain(|method| method != "HEAD");
        routed.sort();
        let of_path = operations.iter().filter(|(known, _, _)| known == path);
        let mut documented: Vec<String> = of_path.map(|(_, method, _)| method.to_string()).collect();
        documented.sort();
        assert_eq!(documented, routed, "{path}");
    }
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own() {
    let api = Api::start().await;
    let operations = api.document().operations();
    let names: Vec<&str> = operations.iter().map(|(_, _, it)| it["operationId"].as_str().unwrap()).collect();
    let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len(), "{names:?}");
}

#[tokio::test]
async fn every_operation_is_described() {
    let api = Api::start().await;
    for (path, method, operation) in api.document().operations() {
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters {
            assert!(parameter["description"].is_string(), "{method} {path}: {}", parameter["name"]);
        }
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let has = |parameter: &Value| parameter["name"] == name && parameter["in"] == "path";
            assert!(
                operation["parameters"].as_array().unwrap().iter().any(has),
                "{method} {path} lacks {name}"
            );
        }
    }
}

fn agent_of(field: &str, value: &str) -> Agent {
    let mut agent = serde_json::to_value(Agent {
        id: Default::default(),
        name: "n".into(),
        model: "m".into(),
        prompt: None,
        harness_id: "shell".into(),
        harness_image: None,
        repo_url: None,
        branch: Some("main".into()),
        requirements: None,
        mcp_servers: vec![],
        env_vars: [].into(),
        env_var_hosts: [].into(),
        allow_out: vec![],
        deny_out: vec![],
        attached_skill_ids: vec![],
        preload_memory_limit: 0,
        resources: Default::default(),
        idle_timeout_seconds: 60,
        max_sessions: None,
        supports_tui: true,
        config_generation: 1,
        created_at: Default::default(),
        updated_at: Default::default(),
    })
    .unwrap();
    lay(&mut agent, field, value);
    serde_json::from_value(agent).unwrap()
}

/// Puts text where a field's name says: `allow_out` is a list, `env_vars` is keyed by it, the others are plain.
fn lay(value: &mut Value, field: &str, text: &str) {
    match field {
        "allow_out" => value[field] = json!([text]),
        "env_vars" => value[field] = json!({ text: "x" }),
        "cpu" => value["resources"] = json!({ "requests": { "cpu": text }, "limits": {} }),
        "mcp" => value["mcp_servers"] = json!([text]),
        "mcp_url" => value["mcp_servers"] = json!([{ "name": "a", "url": text, "headers": {} }]),
        "mcp_header" => {
            value["mcp_servers"] = json!([{ "name": "a", "url": "https://x", "headers": { text: "v" } }])
        }
        _ => value[field] = json!(text),
    }
}

/// Texts around the borders of the forms: mostly made of what the forms are made of.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._/:@*-]{0,12}",
        "(https|ssh|file|http)://[a-z0-9.:@-]{0,8}/?[a-z/]{0,4}",
        "(https|ssh)://h(:[0-9]{1,6})?/[a-z]",
        "[a-z]{1,3}@[a-z.-]{1,4}:[a-z/-]{0,4}",
        "(\\*\\.)?([a-z0-9_-]{1,3}\\.){0,3}[a-z0-9-]{0,3}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){2,3}(/[0-9]{1,2})?",
        "[0-9]{0,3}(\\.[0-9]{0,4})?(m|k|Mi|Gi|x)?",
        "[A-Z_]{1,8}",
        "(LAP_|PORT|BRANCH)[A-Z]{0,1}",
        "[a-z]{0,2}(\\.lock|\\.\\.|@\\{|//|/\\.|~|\\^| )[a-z]{0,2}",
        "\\PC{0,6}",
        "[\\x00-\\x20\\x7f-\\xa0a]{0,4}",
    ]
}

#[tokio::test]
async fn what_the_document_takes_and_what_is_judged_valid_are_the_same() {
    let api = Api::start().await;
    let validator = api.document().validator(&json!({ "$ref": "#/components/schemas/AgentSpec" }));
    let fields = [
        "name",
        "model",
        "branch",
        "repo_url",
        "harness_image",
        "allow_out",
        "env_vars",
        "cpu",
        "mcp",
        "mcp_url",
        "mcp_header",
    ];
    let strategy = (proptest::sample::select(fields.to_vec()), texts());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        // PROPTEST_CASES asks for more.
        cases: ProptestConfig::default().cases.max(5_000),
        failure_persistence: None,
        ..Default::default()
    });
    runner
        .run(&strategy, |(field, text)| {
            let mut spec =
                serde_json::to_value(AgentSpec { model: "m".into(), ..AgentSpec::default() }).unwrap();
            lay(&mut spec, field, &text);
            let documented = validator.is_valid(&spec);
            // An IPv6 address is more than a form can say, and NUL is refused before any form is looked at.
            if text.contains('\0') || field == "allow_out" && text.contains(':') {
                return Ok(());
            }
            let judged = validate::agent(&agent_of(field, &text));
            prop_assert_eq!(documented, judged.is_ok(), "{} {:?}: {:?}", field, text, judged);
            Ok(())
        })
        .unwrap();
}
