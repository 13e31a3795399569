use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{AGENTS, Api, PATIENCE};

const EVENTS: &str = "/api/v1/managed_agents/events";

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap().unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_stream_too_many_is_told_when_to_come_back() {
    let api = Api::start_with(&[("LAP_EVENT_STREAMS", "2")]).await;
    let open = || api.request(Method::GET, EVENTS).send();
    let (first, _second) = (open().await.unwrap(), open().await.unwrap());
    assert_eq!(first.status(), StatusCode::OK);
    let third = api.get(EVENTS).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(third.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(third.error().contains("event streams"), "{}", third.text);
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_the_others_go_on() {
    // One for the idle one, one for the client of this test.
    let api = Api::start_with(&[("LAP_CONNECTIONS", "2")]).await;
    let address = api.server().address();
    let _idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(api.get(AGENTS).await.status, StatusCode::OK);
    let mut third = TcpStream::connect(address).await.unwrap();
    third.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_all(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after:"), "{answer}");
    assert!(answer.contains("connections"), "{answer}");
    assert_eq!(api.get(AGENTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_never_becomes_whole_is_let_go() {
    let api = Api::start_with(&[("LAP_HEADER_TIMEOUT_SECONDS", "1")]).await;
    let mut slow = TcpStream::connect(api.server().address()).await.unwrap();
    slow.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost:").await.unwrap();
    let answer = read_all(&mut slow).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn heads_beyond_reason_are_refused() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.server().address()).await.unwrap();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    // It may be cut off before all of it is sent.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(api.get(AGENTS).await.status, StatusCode::OK);
}
