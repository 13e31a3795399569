//! Who may ask for what: keys, terminals' tokens, web pages.

use jiff::{SignedDuration, Timestamp};
use lap_platform::model::SessionId;
use lap_platform::secret::{SecretKey, TtyTokens};
use reqwest::{Method, StatusCode};

use crate::support::{AGENTS, Api, KEY};

const ENCRYPTION_KEY: &str = "an-encryption-key-of-the-tests";

#[tokio::test]
async fn health_is_open_and_says_nothing_else() {
    let api = Api::start().await;
    let answer = api.send(api.http.get(format!("{}/api/v1/health", api.url))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), serde_json::json!({ "status": "ok" }));
    let runtime = api.get("/api/v1/health/k8s").await;
    assert_eq!((runtime.status, &runtime.json()["status"]), (StatusCode::OK, &serde_json::json!("ok")));
}

#[tokio::test]
async fn every_other_route_wants_a_token() {
    let api = Api::start().await;
    for (path, method, operation) in api.document().operations() {
        let own_auth = operation["security"] == serde_json::json!([{}]);
        if own_auth {
            continue;
        }
        let path = path
            .replace("{agent_id}", "0197c0de-0000-7000-8000-000000000000")
            .replace("{session_id}", "0197c0de-0000-7000-8000-000000000000");
        let url = format!("{}{path}", api.url);
        for wrong in
            [None, Some("wrong"), Some(""), Some("correct-horse-battery-stapl"), Some("lap_tty_AAAA")]
        {
            let request = api.http.request(method.clone(), &url);
            let request = wrong.iter().fold(request, |request, token| request.bearer_auth(token));
            let answer = api.send(request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} with {wrong:?}");
            assert_eq!(answer.json(), serde_json::json!({ "error": "unauthorized" }));
        }
        let basic = api.http.request(method.clone(), &url).basic_auth("user", Some(KEY));
        assert_eq!(api.send(basic).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_in_the_query_does_not_open_the_api() {
    let api = Api::start().await;
    let answer = api.send(api.http.get(format!("{}{AGENTS}?token={KEY}", api.url))).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_terminals_token_opens_no_route_of_the_api() {
    let api = Api::start_with(&[("ENCRYPTION_KEY", ENCRYPTION_KEY)]).await;
    let tokens = TtyTokens::new(&SecretKey::from_text(ENCRYPTION_KEY).unwrap());
    let now = Timestamp::now();
    let with = |token: String| api.send(api.http.get(format!("{}{AGENTS}", api.url)).bearer_auth(token));
    let valid = tokens.mint(SessionId::new(), now).unwrap();
    let answer = with(valid).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error().contains("terminal"), "{}", answer.text);
    let long_ago = now.checked_sub(SignedDuration::from_mins(16)).unwrap();
    let expired = tokens.mint(SessionId::new(), long_ago).unwrap();
    assert_eq!(with(expired).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let api = Api::start_with(&[("BASE_URL", "https://lap.example.org/x")]).await;
    let from = |origin: &'static str| api.send(api.request(Method::GET, AGENTS).header("origin", origin));
    assert_eq!(from("https://lap.example.org").await.status, StatusCode::OK);
    let local = Api::start().await;
    for own in ["127.0.0.1", "localhost"] {
        let origin = format!("http://{own}:{}", local.server().address().port());
        let answer = local.send(local.request(Method::GET, AGENTS).header("origin", &origin)).await;
        assert_eq!(answer.status, StatusCode::OK, "{origin}");
    }
    for other in ["https://evil.example", "null", "http://lap.example.org"] {
        assert_eq!(from(other).await.status, StatusCode::FORBIDDEN, "{other}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_own_id_where_that_is_fit_for_a_log() {
    let api = Api::start().await;
    let with = |id: &'static str| api.send(api.request(Method::GET, AGENTS).header("x-request-id", id));
    assert_eq!(with("abc-123").await.header("x-request-id"), "abc-123");
    assert_ne!(with("a b").await.header("x-request-id"), "a b");
}
