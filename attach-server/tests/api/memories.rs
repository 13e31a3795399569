//! What agents remember, over REST.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{AGENTS, Api};

fn texts(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_memory_lives_from_its_creation_to_its_end() {
    let api = Api::start().await;
    let agent = api.agent("builder").await;
    let memories = format!("{AGENTS}/{agent}/memory");
    let body =
        json!({ "text": "Deploys go through ci.", "tags": ["deploy"], "type": "constraint", "priority": 5 });
    let made = api.post(&memories, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let memory = made.json();
    for (field, value) in [
        ("agent_id", json!(agent)),
        ("type", json!("constraint")),
        ("priority", json!(5)),
        ("pinned", json!(false)),
        ("disabled", json!(false)),
        ("times_applied", json!(0)),
        ("last_applied_at", Value::Null),
        ("source", json!("api")),
        ("source_session_id", Value::Null),
    ] {
        assert_eq!(memory[field], value, "{field}");
    }
    let path = format!("{memories}/{}", memory["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.json(), memory);
    let changed = api.patch(&path, &json!({ "text": "Deploys go through just.", "pinned": true })).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!((&changed.json()["pinned"], &changed.json()["priority"]), (&json!(true), &json!(5)));
    assert_eq!(texts(&api.get(&format!("{memories}?q=just")).await.json()), ["Deploys go through just."]);
    assert_eq!(api.get(&format!("{memories}?q=ci")).await.json()["total"], 0);
    // Reading it, finding it and listing it are no use of it.
    assert_eq!(api.get(&path).await.json()["times_applied"], 0);

    assert_eq!(api.delete(&path).await.status, StatusCode::NO_CONTENT);
    for gone in [api.get(&path).await, api.delete(&path).await, api.patch(&path, &json!({})).await] {
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn they_are_found_by_words_tag_and_kind() {
    let api = Api::start().await;
    let agent = api.agent("builder").await;
    let memories = format!("{AGENTS}/{agent}/memory");
    for (text, tags, kind, disabled) in [
        ("use tabs", vec!["style"], "convention", false),
        ("tabs are 4 wide", vec![], "preference", false),
        ("never push tabs", vec!["Git", "style"], "constraint", true),
    ] {
        let body = json!({ "text": text, "tags": tags, "type": kind, "disabled": disabled });
        assert_eq!(api.post(&memories, &body).await.status, StatusCode::CREATED);
    }
    for (query, found) in [
        ("", 2),
        ("include_disabled=true", 3),
        ("q=TAB", 2),
        ("q=tabs+wide", 1),
        ("q=nothing", 0),
        ("tag=STYLE", 1),
        ("tag=style&include_disabled=true", 2),
        ("type=preference", 1),
    ] {
        let answer = api.get(&format!("{memories}?{query}")).await;
        assert_eq!(answer.json()["total"], found, "{query}: {}", answer.text);
    }
    let page = api.get(&format!("{memories}?limit=1&include_disabled=true")).await.json();
    let next =
        format!("{memories}?limit=5&include_disabled=true&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(texts(&api.get(&next).await.json()), ["tabs are 4 wide", "use tabs"]);
    let refused = api.get(&format!("{memories}?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "a cursor of another list");
    for query in ["type=other", "include_disabled=1", "words=x"] {
        assert_eq!(api.get(&format!("{memories}?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_all_its_faults() {
    let api = Api::start().await;
    let agent = api.agent("builder").await;
    let memories = format!("{AGENTS}/{agent}/memory");
    let body = json!({
        "text": " ", "tags": ["a", "b\"c", "x".repeat(41)], "type": "rumour", "priority": 101, "color": "red",
    });
    let mut faults = api.post(&memories, &body).await.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            "color: unknown_field",
            "priority: too_big",
            "tags.1: invalid",
            "tags.2: too_big",
            "text: too_small",
            "type: invalid"
        ]
    );
    let made = api.post(&memories, &json!({ "text": "x".repeat(16_384) })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = format!("{memories}/{}", made.json()["id"].as_str().unwrap());
    for (body, fault) in [
        (json!({ "text": "x".repeat(16_385) }), "text: too_big"),
        (json!({ "text": null }), "text: invalid_type"),
        (json!({ "tags": vec!["t"; 9] }), "tags: too_big"),
        (json!({ "source": "ui" }), "source: unknown_field"),
    ] {
        assert_eq!(api.patch(&path, &body).await.faults(), [fault]);
    }
    let nobody = "0197c0de-0000-7000-8000-000000000000";
    let answer = api.post(&format!("{AGENTS}/{nobody}/memory"), &json!({ "text": "x" })).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.error().contains(nobody), "{}", answer.text);
}

#[tokio::test]
async fn the_feed_tells_of_them() {
    let api = Api::start().await;
    let agent = api.agent("builder").await;
    let memories = format!("{AGENTS}/{agent}/memory");
    let mut feed = lap_platform::client::Feed::new(api.client(), Some(0));
    let made = api.post(&memories, &json!({ "text": "told" })).await.json();
    let path = format!("{memories}/{}", made["id"].as_str().unwrap());
    api.delete(&path).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let next = tokio::time::timeout(crate::support::PATIENCE, feed.next()).await.unwrap();
        if let lap_platform::client::FeedEvent::Change(change) = next
            && let lap_platform::model::Resource::Memory(memory) = &change.resource
        {
            told.push((serde_json::to_value(change.kind).unwrap(), memory.text.clone()));
        }
    }
    assert_eq!(told[1], (json!("deleted"), String::new()));
    assert_eq!(told[0].0, "created");
}
