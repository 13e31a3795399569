//! Requests under an Idempotency-Key: done once, answered alike.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{AGENTS, Answer, Api};

async fn create(api: &Api, key: &str, body: &Value) -> Answer {
    api.send(api.request(Method::POST, AGENTS).header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn the_same_request_twice_makes_one_agent_and_the_same_answer() {
    let api = Api::start().await;
    let body = json!({ "model": "m" });
    let first = create(&api, "k1", &body).await;
    let second = create(&api, "k1", &body).await;
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.json(), second.json());
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(api.get(AGENTS).await.json()["total"], 1);
    let third = create(&api, "k2", &body).await;
    assert_ne!(third.json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn a_key_of_another_request_is_a_conflict() {
    let api = Api::start().await;
    create(&api, "k", &json!({ "model": "m" })).await;
    let other = create(&api, "k", &json!({ "model": "n" })).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert!(other.error().contains("Idempotency-Key"), "{}", other.text);
    assert_eq!(api.get(AGENTS).await.json()["total"], 1);
}

#[tokio::test]
async fn many_at_the_same_moment_make_one() {
    let api = Api::start().await;
    let body = json!({ "model": "m" });
    let all = futures_util::future::join_all((0..20).map(|_| create(&api, "k", &body))).await;
    let ids: std::collections::BTreeSet<String> =
        all.iter().map(|answer| answer.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(api.get(AGENTS).await.json()["total"], 1);
}

#[tokio::test]
async fn an_answer_outlives_the_server() {
    let api = Api::start().await;
    let body = json!({ "model": "m" });
    let first = create(&api, "k", &body).await;
    let dir = api.stop().await;
    let api = Api::start_in(dir, &[]).await;
    let second = create(&api, "k", &body).await;
    assert_eq!(first.json(), second.json());
}

#[tokio::test]
async fn a_refused_request_is_refused_again_and_a_key_must_be_one() {
    let api = Api::start().await;
    for _ in 0..2 {
        assert_eq!(create(&api, "k", &json!({ "name": "" })).await.faults(), ["name: too_small"]);
    }
    for bad in ["", "two words", &"x".repeat(256)] {
        let answer = create(&api, bad, &json!({ "model": "m" })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad:?}");
    }
    assert_eq!(api.get(AGENTS).await.json()["total"], 0);
}
