//! Conversations with a session's agent: asking it something, its answer at once or as it comes, what was said so far,
//! and what it asks back.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use lap_platform::model::{
    AnswerPermission, ErrorBody, Message, MessageInfo, Page, Part, Permission, PermissionId, SendMessage,
    SessionId, TurnStatus, validate,
};
use lap_platform::session::{Sessions, TURN_TIME};
use lap_platform::store::{News, Turn};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::page;
use crate::http::auth::{Can, Operate, Read};
use crate::http::error::{ApiError, Kind};
use crate::http::extract::{Body, PermissionPath, Query, SessionPath};
use crate::http::idempotency::{KeyHeader, Makes};
use crate::http::limits::Slot;
use crate::http::sse;
use crate::state::{AppState, EventStreams};

/// Shorter than the shortest idle time-out of what may stand between, which is 10 s.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// A little more than a turn may take: whoever does it ends it in time.
const WAIT: Duration = Duration::from_secs(TURN_TIME.as_secs() + 30);
const LAST_EVENT_ID: &str = "last-event-id";

/// What a stream of an answer is made from.
#[derive(Clone)]
pub(super) struct Answers {
    sessions: Sessions,
    slots: EventStreams,
}

impl FromRef<AppState> for Answers {
    fn from_ref(state: &AppState) -> Answers {
        Answers { sessions: Sessions::from_ref(state), slots: EventStreams::from_ref(state) }
    }
}

/// Asks a session's agent something and answers with its reply. With `queue` it is not waited for.
#[utoipa::path(
    post,
    operation_id = "send_message",
    path = "/api/v1/managed_agents/sessions/{session_id}/message",
    tag = "messages",
    params(("session_id" = SessionId, Path, description = "The session."), KeyHeader),
    request_body = SendMessage,
    responses(
        (status = 200, description = "The reply.", body = Message),
        (status = 202, description = "The message, which waits: it was to be queued.", body = Message),
        (status = 404, description = "There is no such session.", body = ErrorBody),
        (status = 409, description = "The session is not ready, a turn is running, its harness answers no messages, or \
            the idempotency key was used for another request.", body = ErrorBody),
        (status = 502, description = "The agent's program failed: `error` has its words.", body = ErrorBody),
    )
)]
pub(super) async fn send(
    _: Can<Operate>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    makes: Makes,
    body: Body<SendMessage>,
) -> Result<Response, ApiError> {
    let message = body.judged(validate::send_message)?;
    let queue = message.queue;
    let turn = sessions.ask(id, message, makes.id).await?;
    if queue {
        return Ok((StatusCode::ACCEPTED, Json(turn.question())).into_response());
    }
    let turn = tokio::time::timeout(WAIT, over(&sessions, turn)).await.map_err(|_| {
        ApiError::new(Kind::Timeout, format!("no reply within {} min", TURN_TIME.as_secs() / 60))
    })??;
    match turn.status {
        TurnStatus::Failed => {
            let why = turn.error.unwrap_or_else(|| "the agent's program failed".to_owned());
            Err(ApiError::new(Kind::BadGateway, why))
        }
        _ => Ok(Json(sessions.answer_of(&turn).await?).into_response()),
    }
}

/// Waits until a turn is over.
async fn over(sessions: &Sessions, mut turn: Turn) -> Result<Turn, ApiError> {
    while !turn.status.is_over() {
        turn = sessions.turn_news(turn.session_id, turn.id, turn.revision).await?.turn;
    }
    Ok(turn)
}

/// Where a stream of an answer goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // for the document alone
pub(crate) struct ResumeAnswer {
    /// The `id` of the last event seen: then nothing is sent to the agent, and the stream goes on behind it.
    #[param(rename = "Last-Event-ID", pattern = "^[0-9a-f-]{36}:[0-9]{1,19}$")]
    last_event_id: Option<String>,
}

/// What an event of an answer's stream carries, by its name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // for the document alone
pub(crate) enum AnswerEvent {
    /// `ready`, `usage`, `done`: what is known of the reply.
    Info(MessageInfo),
    /// `part`: a part of the reply that is new or has changed.
    Part(Part),
    /// `permission`: something the agent asks to be allowed, or was answered.
    Permission(Permission),
    /// `error`: why there is no whole reply.
    Error(AnswerError),
}

/// Why there is no whole reply.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerError {
    /// In words.
    error: String,
}

/// Asks a session's agent something and streams its reply as it comes. With `Last-Event-ID` the stream of one that was
/// asked goes on.
#[utoipa::path(
    post,
    operation_id = "stream_message",
    path = "/api/v1/managed_agents/sessions/{session_id}/message_stream",
    tag = "messages",
    params(("session_id" = SessionId, Path, description = "The session."), ResumeAnswer, KeyHeader),
    request_body = SendMessage,
    responses(
        (
            status = 200,
            description = "Server-sent events: `ready`, `part` (whole, as it is now), `usage`, `permission`, and at the \
                end `done` or `error`. A comment comes every 8 s.",
            body = AnswerEvent,
            content_type = "text/event-stream"
        ),
        (status = 404, description = "There is no such session.", body = ErrorBody),
        (status = 409, description = "The session is not ready, a turn is running, its harness answers no messages, or \
            the id is of no turn of it.", body = ErrorBody),
    )
)]
pub(super) async fn stream(
    _: Can<Operate>,
    State(answers): State<Answers>,
    SessionPath(id): SessionPath,
    headers: HeaderMap,
    makes: Makes,
    body: Body<SendMessage>,
) -> Result<Response, ApiError> {
    let slot = answers.slots.0.take()?;
    let sessions = answers.sessions;
    let (turn, seen) = match resume_point(&headers)? {
        Some(point) => point,
        None => {
            let message = body.judged(validate::send_message)?;
            (sessions.ask(id, message, makes.id).await?.id, 0)
        }
    };
    // That there is such a turn is told before the stream begins.
    let first = sessions.turn_stands(id, turn).await?;
    let begun = sse::named(&format!("{turn}:{seen}"), "ready", &first.answer(Vec::new()).info);
    let at = At { sessions, id, turn, seen, begun: Some(begun), last: Some(first), _slot: slot };
    Ok(sse::response(events(at)))
}

fn resume_point(headers: &HeaderMap) -> Result<Option<(Uuid, u64)>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let point = value.to_str().ok().and_then(|value| value.split_once(':'));
    let point = point.and_then(|(turn, seen)| Some((turn.parse().ok()?, seen.parse().ok()?)));
    let message = "Last-Event-ID is not the id of an event of such a stream";
    point.map(Some).ok_or_else(|| ApiError::new(Kind::Invalid, message))
}

/// Where a stream is.
struct At {
    sessions: Sessions,
    id: SessionId,
    turn: Uuid,
    seen: u64,
    begun: Option<Bytes>,
    /// The turn as it was told last; nothing once its end was.
    last: Option<Turn>,
    _slot: Slot,
}

fn events(at: At) -> impl Stream<Item = Bytes> {
    futures_util::stream::unfold(at, |mut at| async move {
        if let Some(begun) = at.begun.take() {
            return Some((begun, at));
        }
        let last = at.last.take()?;
        let news = at.sessions.turn_news(at.id, at.turn, at.seen);
        let bytes = match tokio::time::timeout(HEARTBEAT, news).await {
            Err(_) => {
                at.last = Some(last);
                sse::HEARTBEAT
            }
            // The client comes back and is told.
            Ok(Err(error)) => {
                tracing::warn!(session = %at.id, %error, "the stream of an answer ends");
                return None;
            }
            Ok(Ok(news)) => {
                at.seen = news.turn.revision;
                let bytes = told(&news, &last);
                at.last = Some(news.turn).filter(|turn| !turn.status.is_over());
                bytes
            }
        };
        Some((bytes, at))
    })
}

/// News as events. The last of them carries where the stream is then: whoever is cut off in their middle gets all of them
/// again, and each says how something is now.
fn told(news: &News, before: &Turn) -> Bytes {
    let turn = &news.turn;
    let id = format!("{}:{}", turn.id, turn.revision);
    let info = turn.answer(Vec::new()).info;
    let mut events: Vec<(&str, String)> = news.parts.iter().map(|part| ("part", json(part))).collect();
    events.extend(news.permissions.iter().map(|permission| ("permission", json(permission))));
    if (turn.tokens, turn.cost) != (before.tokens, before.cost) {
        events.push(("usage", json(&info)));
    }
    match turn.status {
        TurnStatus::Failed => {
            let error = turn.error.clone().unwrap_or_else(|| "the agent's program failed".to_owned());
            events.push(("error", json(&AnswerError { error })));
        }
        TurnStatus::Done | TurnStatus::Cancelled => events.push(("done", json(&info))),
        TurnStatus::Queued | TurnStatus::Running if events.is_empty() => events.push(("ready", json(&info))),
        TurnStatus::Queued | TurnStatus::Running => {}
    }
    let last = events.len().saturating_sub(1);
    let lines = events.iter().enumerate().map(|(place, (name, data))| {
        let id = if place == last { format!("id: {id}\n") } else { String::new() };
        format!("{id}event: {name}\ndata: {data}\n\n")
    });
    lines.collect::<String>().into()
}

fn json(value: &impl Serialize) -> String {
    // What is sent is made of maps, lists and words: it can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Which messages a list has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListMessages {
    /// Messages: 50 by default, clamped to 1..200.
    #[param(format = "any whole number, clamped")]
    limit: Option<i64>,
    /// Messages passed over: 0 by default, and at least.
    #[param(format = "any whole number, clamped")]
    offset: Option<i64>,
    /// `next_cursor` of the page before; then `offset` counts for nothing.
    #[param(max_length = 18, pattern = "^[0-9]+$")]
    cursor: Option<String>,
}

/// What was said in a session's conversation, oldest first: a question, then its reply.
#[utoipa::path(
    get,
    operation_id = "list_messages",
    path = "/api/v1/managed_agents/sessions/{session_id}/messages",
    tag = "messages",
    params(("session_id" = SessionId, Path, description = "The session."), ListMessages),
    responses(
        (status = 200, description = "A page of it.", body = Page<Message>),
        (status = 404, description = "There is no such session.", body = ErrorBody),
    )
)]
pub(super) async fn list(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    Query(query): Query<ListMessages>,
) -> Result<Json<Page<Message>>, ApiError> {
    let no_such = |_| {
        ApiError::new(
            Kind::Invalid,
            "cursor is not one of this list: leave it out to begin at the first page",
        )
    };
    let cursor: Option<i64> = query.cursor.as_deref().map(str::parse).transpose().map_err(no_such)?;
    let offset = page::offset(cursor.or(query.offset));
    let mut page = sessions.messages(id, offset, page::limit(query.limit)).await?;
    if cursor.is_some() {
        page.offset = 0;
    }
    Ok(Json(page))
}

/// What a session's agent asks to be allowed and was not answered.
#[utoipa::path(
    get,
    operation_id = "list_permissions",
    path = "/api/v1/managed_agents/sessions/{session_id}/permissions",
    tag = "messages",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "All of it, oldest first.", body = Page<Permission>),
        (status = 404, description = "There is no such session.", body = ErrorBody),
    )
)]
pub(super) async fn permissions(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
) -> Result<Json<Page<Permission>>, ApiError> {
    let data = sessions.permissions(id).await?;
    let (total, limit) = (data.len() as u64, Page::<()>::MAX_LIMIT);
    Ok(Json(Page { data, total, limit, offset: 0, next_cursor: None }))
}

/// Answers what an agent asks to be allowed.
#[utoipa::path(
    post,
    operation_id = "answer_permission",
    path = "/api/v1/managed_agents/sessions/{session_id}/permissions/{permission_id}",
    tag = "messages",
    params(
        ("session_id" = SessionId, Path, description = "The session."),
        ("permission_id" = PermissionId, Path, description = "What was asked."),
        KeyHeader,
    ),
    request_body = AnswerPermission,
    responses(
        (status = 200, description = "What was asked, with its answer.", body = Permission),
        (status = 404, description = "There is no such session.", body = ErrorBody),
        (status = 409, description = "It was answered already, there is no such thing asked, or it has no such option.",
            body = ErrorBody),
    )
)]
pub(super) async fn answer(
    _: Can<Operate>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    PermissionPath(permission): PermissionPath,
    body: Body<AnswerPermission>,
) -> Result<Json<Permission>, ApiError> {
    let answer = body.judged(|answer| match (&answer.option_id, answer.outcome) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => Err(vec![lap_platform::model::FieldError {
            code: validate::REQUIRED.to_owned(),
            path: vec!["option_id".to_owned()],
            message: "or outcome: give one of the two".to_owned(),
        }]),
    })?;
    Ok(Json(sessions.permit(id, permission, &answer).await?))
}
