//! The change feed as a client follows it: reconnecting, and going on after the last change.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};
use tokio::time::Instant;

use super::answer;
use super::error::ClientError;
use super::rest::{ANSWER_TIMEOUT, Client};
use super::sse::SseParser;
use crate::model::{Change, ChangeKind};

const EVENTS: &str = "api/v1/managed_agents/events";
/// The first wait before connecting again; doubled with every failure up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// A person who looks at a "not connected" for longer than this presses a key.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What the change feed says.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// Connected. If not `resumed`, what happened before is unknown: read the lists now.
    Connected {
        /// Whether nothing was missed since the last change.
        resumed: bool,
    },
    /// Something has changed.
    Change(Box<Change>),
    /// The server cannot go back to the last change: read the lists again.
    Reset,
    /// The connection is gone. It is tried again by itself.
    Lost {
        /// Why.
        reason: ClientError,
        /// When it is tried again.
        retry_in: Duration,
    },
}

type Connecting = Pin<Box<dyn Future<Output = Result<Response, ClientError>> + Send>>;

enum State {
    Waiting(Instant),
    Connecting(Connecting),
    /// `heard`: when it last brought something.
    Open {
        response: Box<Response>,
        parser: SseParser,
        heard: Instant,
    },
}

/// The change feed of a server. It connects, resumes after the last change it has handed out, and goes on for ever;
/// nothing runs while nobody waits in [`Feed::next`], so whoever reads slowly holds back the server and not memory.
pub struct Feed {
    client: Client,
    last: Option<u64>,
    failures: u32,
    state: State,
}

impl Feed {
    /// The feed, from `after` on, or from the moment it connects.
    #[must_use]
    pub fn new(client: Client, after: Option<u64>) -> Feed {
        let state = State::Connecting(Box::pin(connect(client.clone(), after)));
        Feed { client, last: after, failures: 0, state }
    }

    /// The last change handed out.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Does not wait any longer before the next attempt to connect.
    pub fn retry_now(&mut self) {
        if matches!(self.state, State::Waiting(_)) {
            self.reconnect();
        }
    }

    /// The next event. Can be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> FeedEvent {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.reconnect();
                }
                State::Connecting(connecting) => match connecting.await {
                    Ok(response) => {
                        self.failures = 0;
                        let (response, parser) = (Box::new(response), SseParser::new());
                        self.state = State::Open { response, parser, heard: Instant::now() };
                        return FeedEvent::Connected { resumed: self.last.is_some() };
                    }
                    Err(error) => return self.lost(error),
                },
                State::Open { response, parser, heard } => {
                    if let Some(event) = parser.next_event() {
                        match serde_json::from_str::<Change>(&event.data) {
                            Ok(change) => return self.handed_out(change),
                            Err(error) => {
                                let reason = self.client.malformed(error.to_string());
                                return self.lost(reason);
                            }
                        }
                    }
                    // The server names its position before the first change: from there it can be resumed too.
                    if let Some(id) = parser.last_id().and_then(|id| id.parse().ok()) {
                        self.last = Some(id);
                    }
                    let silence = self.client.stream_silence();
                    let fault = match tokio::time::timeout_at(*heard + silence, response.chunk()).await {
                        Ok(Ok(Some(bytes))) => match parser.push(&bytes) {
                            Ok(()) => {
                                *heard = Instant::now();
                                continue;
                            }
                            Err(_) => self.client.malformed(String::from("an event is too large")),
                        },
                        Ok(Ok(None)) => ClientError::Unreachable {
                            url: self.client.base().to_owned(),
                            reason: String::from("the server closed the connection"),
                        },
                        Err(_) => self.client.timed_out(silence),
                        // What it says of a body without its end is of no use to a person.
                        Ok(Err(_)) => ClientError::Unreachable {
                            url: self.client.base().to_owned(),
                            reason: String::from("the connection broke"),
                        },
                    };
                    return self.lost(fault);
                }
            }
        }
    }

    fn handed_out(&mut self, change: Change) -> FeedEvent {
        self.last = Some(change.id);
        match change.kind {
            ChangeKind::Reset => FeedEvent::Reset,
            _ => FeedEvent::Change(Box::new(change)),
        }
    }

    fn lost(&mut self, reason: ClientError) -> FeedEvent {
        let refused = reason.status().is_some_and(|status| (400..500).contains(&status) && status != 429);
        // A server that says no will say it again: there is no hurry.
        let wait = if refused { LONGEST_WAIT } else { backoff(self.failures) };
        let retry_in = jittered(wait);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting(Instant::now() + retry_in);
        FeedEvent::Lost { reason, retry_in }
    }

    fn reconnect(&mut self) {
        self.state = State::Connecting(Box::pin(connect(self.client.clone(), self.last)));
    }
}

async fn connect(client: Client, after: Option<u64>) -> Result<Response, ClientError> {
    let mut request = client.request(Method::GET, EVENTS).header(ACCEPT, "text/event-stream");
    if let Some(heartbeat) = client.wished_heartbeat() {
        request = request.query(&[("heartbeat", heartbeat.as_secs())]);
    }
    if let Some(id) = after {
        request = request.header("last-event-id", id.to_string());
    }
    // No time-out over the whole: the stream has no end. Its head, though, comes at once or not at all.
    let response = match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
        Ok(sent) => sent.map_err(|error| client.transport(&error, ANSWER_TIMEOUT))?,
        Err(_) => return Err(client.timed_out(ANSWER_TIMEOUT)),
    };
    if !response.status().is_success() {
        client.accept(response, ANSWER_TIMEOUT).await?;
        return Err(client.malformed(String::from("it has no change feed")));
    }
    if answer::is_page(response.headers()) {
        let reason = answer::describe(response.status(), response.headers());
        return Err(ClientError::Between { url: client.base().to_owned(), reason });
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        return Err(client.malformed(format!("its change feed is {kind:?}")));
    }
    Ok(response)
}

fn backoff(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT)
}

/// Between half of it and all of it, so that many clients do not come back in one moment.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    wait.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

    /// The head of the request that connects.
    async fn accept(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap().to_lowercase())
    }

    fn change(id: u64, kind: &str) -> String {
        format!(
            "id: {id}\ndata: {{\"id\":{id},\"at\":\"2026-11-23T17:00:00Z\",\"kind\":\"{kind}\",\"resource\":\"none\"}}\n\n"
        )
    }

    async fn feed() -> (Feed, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        (Feed::new(Client::new(&base, Some("k")).unwrap(), None), listener)
    }

    #[tokio::test]
    async fn after_a_cut_it_asks_for_what_came_after_the_last_change() {
        let (mut feed, listener) = feed().await;
        let server = async {
            let (mut stream, head) = accept(&listener).await;
            assert!(!head.contains("last-event-id"), "{head}");
            assert!(head.contains("authorization: bearer k"), "{head}");
            let body = format!("{HEAD}: hello\n\n{}", change(41, "updated"));
            stream.write_all(body.as_bytes()).await.unwrap();
            // Half of the next one, then the connection is gone.
            stream.write_all(b"id: 42\ndata: {\"id\":").await.unwrap();
            drop(stream);
            let (mut stream, head) = accept(&listener).await;
            assert!(head.contains("last-event-id: 41"), "{head}");
            stream.write_all(format!("{HEAD}{}", change(42, "reset")).as_bytes()).await.unwrap();
            stream
        };
        let reader = async {
            assert!(matches!(feed.next().await, FeedEvent::Connected { resumed: false }));
            match feed.next().await {
                FeedEvent::Change(change) => assert_eq!(change.id, 41),
                other => panic!("{other:?}"),
            }
            match feed.next().await {
                FeedEvent::Lost { reason, retry_in } => {
                    assert!(reason.is_unreachable(), "{reason:?}");
                    assert!(retry_in <= FIRST_WAIT && retry_in >= FIRST_WAIT / 2, "{retry_in:?}");
                }
                other => panic!("{other:?}"),
            }
            assert!(matches!(feed.next().await, FeedEvent::Connected { resumed: true }));
            assert!(matches!(feed.next().await, FeedEvent::Reset));
            assert_eq!(feed.last(), Some(42));
        };
        tokio::join!(server, reader);
    }

    #[tokio::test]
    async fn a_position_told_before_any_change_is_resumed_from() {
        let (mut feed, listener) = feed().await;
        let server = async {
            let (mut stream, _) = accept(&listener).await;
            stream.write_all(format!("{HEAD}id: 7\nretry: 1000\n\n").as_bytes()).await.unwrap();
            drop(stream);
            let (mut stream, head) = accept(&listener).await;
            assert!(head.contains("last-event-id: 7"), "{head}");
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            stream
        };
        let reader = async {
            assert!(matches!(feed.next().await, FeedEvent::Connected { resumed: false }));
            assert!(matches!(feed.next().await, FeedEvent::Lost { .. }));
            assert!(matches!(feed.next().await, FeedEvent::Connected { resumed: true }));
        };
        tokio::join!(server, reader);
    }

    #[tokio::test]
    async fn a_wrong_key_is_told_and_not_tried_again_in_a_hurry() {
        let (mut feed, listener) = feed().await;
        let body = r#"{"error":"unauthorized"}"#;
        let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let server = async {
            let (mut stream, _) = accept(&listener).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (_stream, event) = tokio::join!(server, feed.next());
        match event {
            FeedEvent::Lost { reason, retry_in } => {
                assert!(reason.is_not_allowed());
                assert_eq!(reason.to_string(), "unauthorized");
                assert!(retry_in >= LONGEST_WAIT / 2);
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_no_event_stream_is_refused() {
        let (mut feed, listener) = feed().await;
        let server = async {
            let (mut stream, _) = accept(&listener).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (_stream, event) = tokio::join!(server, feed.next());
        assert!(matches!(event, FeedEvent::Lost { reason: ClientError::Between { .. }, .. }), "{event:?}");
    }

    #[test]
    fn the_wait_grows_to_its_bound() {
        assert_eq!(backoff(0), FIRST_WAIT);
        assert_eq!(backoff(2), FIRST_WAIT * 4);
        assert_eq!(backoff(u32::MAX), LONGEST_WAIT);
    }
}
