//! The change feed: complete, in order, and resumed where a client left it.

use lap_platform::client::{Feed, FeedEvent};
use lap_platform::model::{Change, ChangeKind, Resource};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{AGENTS, Api, PATIENCE, SESSIONS};

const EVENTS: &str = "/api/v1/managed_agents/events";

async fn next(feed: &mut Feed) -> FeedEvent {
    timeout(PATIENCE, feed.next()).await.unwrap()
}

async fn next_change(feed: &mut Feed) -> Change {
    loop {
        match next(feed).await {
            FeedEvent::Change(change) => return *change,
            FeedEvent::Connected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn name_of(change: &Change) -> &str {
    match &change.resource {
        Resource::Agent(row) => &row.agent.name,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn changes_arrive_as_they_happen_with_the_row_as_it_is() {
    let api = Api::start().await;
    let mut feed = Feed::new(api.client(), None);
    assert!(matches!(next(&mut feed).await, FeedEvent::Connected { .. }));
    let secret = "ghp_0123456789abcdef0123456789abcdef9f";
    let made =
        api.post(AGENTS, &json!({ "name": "a", "model": "m", "env_vars": { "T": secret } })).await.json();
    let created = next_change(&mut feed).await;
    assert_eq!((created.kind, name_of(&created)), (ChangeKind::Created, "a"));
    assert!(!serde_json::to_string(&created).unwrap().contains("0123456789"), "secrets are masked here too");
    let path = format!("{AGENTS}/{}", made["id"].as_str().unwrap());
    api.patch(&path, &json!({ "name": "b" })).await;
    let updated = next_change(&mut feed).await;
    assert_eq!((updated.kind, name_of(&updated)), (ChangeKind::Updated, "b"));
    api.delete(&path).await;
    let deleted = next_change(&mut feed).await;
    assert_eq!((deleted.kind, name_of(&deleted)), (ChangeKind::Deleted, "b"));
}

#[tokio::test]
async fn who_comes_back_gets_what_came_in_between() {
    let api = Api::start().await;
    let mut feed = Feed::new(api.client(), None);
    next(&mut feed).await;
    api.agent("a").await;
    let seen = next_change(&mut feed).await;
    drop(feed);
    api.agent("b").await;
    api.agent("c").await;
    let mut feed = Feed::new(api.client(), Some(seen.id));
    let (b, c) = (next_change(&mut feed).await, next_change(&mut feed).await);
    assert_eq!((name_of(&b), name_of(&c)), ("b", "c"));
    assert_eq!((b.id, c.id), (seen.id + 1, seen.id + 2), "nothing is missed and nothing comes twice");
}

#[tokio::test]
async fn who_comes_back_from_a_future_that_never_was_is_told_to_begin_anew() {
    let api = Api::start().await;
    api.agent("a").await;
    let mut feed = Feed::new(api.client(), Some(1_000_000));
    assert!(matches!(next(&mut feed).await, FeedEvent::Connected { .. }));
    assert!(matches!(next(&mut feed).await, FeedEvent::Reset));
    api.agent("b").await;
    assert_eq!(name_of(&next_change(&mut feed).await), "b");
}

#[tokio::test]
async fn a_stream_tells_its_position_before_anything_happens() {
    let api = Api::start().await;
    api.agent("a").await;
    let mut stream = api.request(Method::GET, EVENTS).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    // Else what stands between holds it back.
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    assert!(stream.headers()["cache-control"].to_str().unwrap().contains("no-transform"));
    let first = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains("id: 1") && first.contains("retry: 1000"), "{first:?}");
}

#[tokio::test]
async fn a_stream_shows_that_it_lives_while_nothing_happens() {
    let api = Api::start().await;
    let mut stream = api.request(Method::GET, &format!("{EVENTS}?heartbeat=1")).send().await.unwrap();
    let mut seen = String::new();
    let reading = async {
        while !seen.contains("\n:\n\n:\n") {
            seen.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "{seen:?}");
}

#[tokio::test]
async fn many_streams_get_the_same_changes_in_the_same_order() {
    let api = Api::start().await;
    let mut feeds: Vec<Feed> = (0..20).map(|_| Feed::new(api.client(), None)).collect();
    for feed in &mut feeds {
        next(feed).await;
    }
    let names: Vec<String> = (0..30).map(|n| format!("agent-{n}")).collect();
    for name in &names {
        api.agent(name).await;
    }
    for feed in &mut feeds {
        for name in &names {
            assert_eq!(name_of(&next_change(feed).await), name);
        }
    }
}

#[tokio::test]
async fn a_position_that_is_none_is_refused() {
    let api = Api::start().await;
    let answer = api.send(api.request(Method::GET, EVENTS).header("last-event-id", "yesterday")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let api = Api::start().await;
    let mut stream = api.request(Method::GET, EVENTS).send().await.unwrap();
    stream.chunk().await.unwrap();
    let rest = async { while stream.chunk().await.unwrap_or(None).is_some() {} };
    let ((), _dir) = timeout(PATIENCE, async { tokio::join!(rest, api.stop()) }).await.unwrap();
}

#[tokio::test]
async fn a_sessions_own_stream_has_its_changes_and_no_others() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let (one, other) = (api.ready_session(&agent).await, api.ready_session(&agent).await);
    let path = format!("{SESSIONS}/{one}/events");
    let mut stream = api.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    api.patch(&format!("{SESSIONS}/{other}"), &json!({ "title": "other" })).await;
    api.patch(&format!("{AGENTS}/{agent}"), &json!({ "branch": "dev" })).await;
    api.patch(&format!("{SESSIONS}/{one}"), &json!({ "title": "mine" })).await;
    let mut seen = String::new();
    let reading = async {
        while !seen.contains("\"title\":\"mine\"") {
            seen.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    assert!(!seen.contains(&other) && !seen.contains("\"resource\":\"agent\""), "{seen}");
}
