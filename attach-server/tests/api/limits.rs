//! What happens at the limits of connections, streams and bodies.

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
async fn a_connection_may_be_idle_between_requests_for_longer_than_a_head_may_take() {
    let api = Api::start_with(&[("LAP_HEADER_TIMEOUT_SECONDS", "1")]).await;
    let mut kept = TcpStream::connect(api.server().address()).await.unwrap();
    let mut other = TcpStream::connect(api.server().address()).await.unwrap();
    let health = b"GET /api/v1/health HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..2 {
        kept.write_all(health).await.unwrap();
        let mut answer = [0; 16];
        timeout(PATIENCE, kept.read_exact(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        let mut rest = vec![0; 4096];
        timeout(PATIENCE, kept.read(&mut rest)).await.unwrap().unwrap();
        // A head that does not become whole is let go; so much time has then passed for the idle one too.
        if other.write_all(b"GET / HT").await.is_ok() {
            read_all(&mut other).await;
        }
    }
}

/// What a server answers to these bytes, and its head's id.
async fn answer_to(api: &Api, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(api.server().address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.to_ascii_lowercase().contains("\r\nx-request-id: "), "{head}");
    let body: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    (head[9..12].parse().unwrap(), body["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn requests_that_are_none_are_told_so_with_a_body_and_an_id() {
    let api = Api::start().await;
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let headers = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(1_000_000));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: y\r\n".repeat(200));
    for (bytes, statuses) in [
        ("NOT HTTP AT ALL\r\n\r\n", [400, 400]),
        ("GET / HTTP/1.1\r\nhost x\r\n\r\n", [400, 400]),
        (path.as_str(), [414, 431]),
        (headers.as_str(), [431, 431]),
        (many.as_str(), [431, 431]),
    ] {
        let (status, error) = answer_to(&api, bytes.as_bytes()).await;
        assert!(statuses.contains(&status), "{status} {error}");
        assert!(!error.is_empty());
    }
    assert_eq!(api.get(AGENTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_sends_all_of_its_body_first() {
    let api = Api::start().await;
    let body = vec![b'x'; 16 * 1024 * 1024];
    let head = |token: &str| {
        let length = body.len();
        format!(
            "POST {AGENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    for (token, status) in [(crate::support::KEY, 413), ("wrong", 401)] {
        let mut request = head(token).into_bytes();
        request.extend_from_slice(&body);
        assert_eq!(answer_to(&api, &request).await.0, status);
    }
}
