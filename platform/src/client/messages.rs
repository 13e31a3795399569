//! Conversations with a session's agent, as methods of the client.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::ClientError;
use super::rest::{ANSWER_TIMEOUT, Client};
use super::sse::{SseEvent, SseParser};
use crate::model::{
    AnswerPermission, Message, MessageInfo, Page, Part, Permission, PermissionId, SendMessage, SessionId,
};

/// A turn, and a little.
const TURN: Duration = Duration::from_secs(31 * 60);
/// How often a stream that breaks is taken up again.
const AGAIN: u32 = 5;
/// Before it is.
const PAUSE: Duration = Duration::from_secs(1);

/// What comes of a message.
#[derive(Clone, PartialEq, Debug)]
pub enum AnswerEvent {
    /// The agent has it, or waits with it.
    Ready(Box<MessageInfo>),
    /// A part of the reply that is new or has changed: as it is now.
    Part(Part),
    /// What it has taken so far.
    Usage(Box<MessageInfo>),
    /// Something the agent asks to be allowed, or was answered.
    Permission(Permission),
    /// The end.
    Done(Box<MessageInfo>),
    /// The end, without a whole reply: why.
    Error(String),
}

/// A reply as it comes. A connection that breaks is made again.
#[derive(Debug)]
pub struct Answer {
    client: Client,
    session: SessionId,
    response: Response,
    parser: SseParser,
    /// Where it goes on after a break.
    seen: String,
    heard: Instant,
    failures: u32,
}

/// Every method fails with [`ClientError`]; what each can be refused for stands in the API's description.
impl Client {
    /// Sends a message and waits for the reply.
    pub async fn send_message(&self, id: SessionId, message: &SendMessage) -> Result<Message, ClientError> {
        self.json(self.post(&path(id, "/message")).json(message), TURN).await
    }

    /// Sends a message and follows the reply.
    pub async fn stream_message(&self, id: SessionId, message: &SendMessage) -> Result<Answer, ClientError> {
        let key = Uuid::now_v7().to_string();
        let request = self.request(Method::POST, &path(id, "/message_stream"));
        let response = self.open_stream(request.header("idempotency-key", key).json(message)).await?;
        let (parser, seen, heard) = (SseParser::new(), String::new(), Instant::now());
        Ok(Answer { client: self.clone(), session: id, response, parser, seen, heard, failures: 0 })
    }

    /// What was said in a session, page after page.
    pub async fn all_messages(&self, id: SessionId) -> Result<Vec<Message>, ClientError> {
        let limit = Page::<Message>::MAX_LIMIT.to_string();
        self.all(&path(id, "/messages"), |cursor| {
            let mut query = vec![("limit", limit.clone())];
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            query
        })
        .await
    }

    /// What a session's agent asks to be allowed.
    pub async fn permissions(&self, id: SessionId) -> Result<Vec<Permission>, ClientError> {
        let page: Page<Permission> = self.get(&path(id, "/permissions"), &[] as &[(&str, &str)]).await?;
        Ok(page.data)
    }

    /// Answers what an agent asks to be allowed.
    pub async fn answer_permission(
        &self,
        id: SessionId,
        permission: PermissionId,
        answer: &AnswerPermission,
    ) -> Result<Permission, ClientError> {
        let path = path(id, &format!("/permissions/{permission}"));
        self.json(self.post(&path).json(answer), ANSWER_TIMEOUT).await
    }

    async fn open_stream(&self, request: reqwest::RequestBuilder) -> Result<Response, ClientError> {
        let sent = request.header(ACCEPT, "text/event-stream").send();
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, sent).await {
            Ok(sent) => sent.map_err(|error| self.transport(&error, ANSWER_TIMEOUT))?,
            Err(_) => return Err(self.timed_out(ANSWER_TIMEOUT)),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        self.accept(response, ANSWER_TIMEOUT).await?;
        Err(self.malformed("it has no stream of messages".to_owned()))
    }
}

impl Answer {
    /// What comes next; nothing after the end.
    ///
    /// # Errors
    /// Where the server cannot be reached any more: what was asked goes on.
    pub async fn next(&mut self) -> Result<AnswerEvent, ClientError> {
        loop {
            if let Some(event) = self.parser.next_event() {
                self.seen = event.id.clone().unwrap_or_default();
                match self.read(&event)? {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            let silence = self.client.stream_silence();
            match tokio::time::timeout_at(self.heard + silence, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    self.heard = Instant::now();
                    self.failures = 0;
                    let pushed = self.parser.push(&bytes);
                    pushed.map_err(|_| self.client.malformed("an event is too large".to_owned()))?;
                }
                _ => self.again().await?,
            }
        }
    }

    async fn again(&mut self) -> Result<(), ClientError> {
        loop {
            self.failures += 1;
            tokio::time::sleep(PAUSE).await;
            let request = self.client.request(Method::POST, &path(self.session, "/message_stream"));
            let request = request
                .header("last-event-id", &self.seen)
                .json(&SendMessage { text: Some(".".to_owned()), ..SendMessage::default() });
            match self.client.open_stream(request).await {
                Ok(response) => {
                    self.response = response;
                    self.parser = SseParser::new();
                    self.heard = Instant::now();
                    return Ok(());
                }
                Err(error) if self.failures >= AGAIN || error.status().is_some() => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn read(&self, event: &SseEvent) -> Result<Option<AnswerEvent>, ClientError> {
        Ok(Some(match event.name.as_str() {
            "ready" => AnswerEvent::Ready(self.data(event)?),
            "part" => AnswerEvent::Part(self.data(event)?),
            "usage" => AnswerEvent::Usage(self.data(event)?),
            "permission" => AnswerEvent::Permission(self.data(event)?),
            "done" => AnswerEvent::Done(self.data(event)?),
            "error" => {
                let data: serde_json::Value = self.data(event)?;
                AnswerEvent::Error(data["error"].as_str().unwrap_or_default().to_owned())
            }
            // Of a newer server.
            _ => return Ok(None),
        }))
    }

    fn data<T: DeserializeOwned>(&self, event: &SseEvent) -> Result<T, ClientError> {
        serde_json::from_str(&event.data).map_err(|error| self.client.malformed(error.to_string()))
    }
}

fn path(id: SessionId, rest: &str) -> String {
    format!("api/v1/managed_agents/sessions/{id}{rest}")
}
