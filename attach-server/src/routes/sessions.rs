//! Sessions: lists of them, and asking for one, reading, renaming, ending and starting it again. Answers carry the
//! session as it is then; what takes longer is told by the feed of changes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lap_platform::harness::Harness;
use lap_platform::model::validate;
use lap_platform::model::{
    AgentId, CreateSession, FieldError, Order, Page, Session, SessionId, SessionPatch, SessionStatus,
};
use lap_platform::open_files;
use lap_platform::session::{SessionError, Sessions, SessionsQuery};
use lap_platform::store::Store;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page;
use crate::http::auth::{Can, Keys, Operate, Principal, Read};
use crate::http::error::{ApiError, Kind};
use crate::http::extract::{AgentPath, Body, NoBody, OptionalBody, Query, SessionPath};
use crate::http::idempotency::Makes;
use crate::http::limits::RETRY_AFTER;

/// Which sessions a list has.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSessions {
    /// Of this agent.
    agent_id: Option<AgentId>,
    /// In this state.
    status: Option<SessionStatus>,
    /// Whose title, first prompt or id contains this, whatever the case.
    #[param(max_length = 200)]
    search: Option<String>,
    /// Rows: 50 by default, clamped to 1..200.
    #[param(format = "any whole number, clamped")]
    limit: Option<i64>,
    /// Rows passed over: 0 by default, and at least.
    #[param(format = "any whole number, clamped")]
    offset: Option<i64>,
    /// `next_cursor` of the page before; then `offset` counts for nothing.
    #[param(max_length = 1000)]
    cursor: Option<String>,
    /// By creation: newest first by default.
    order: Option<Order>,
}

/// Asks for a new session of an agent. It comes up behind the answer; the change feed tells how.
#[utoipa::path(
    post,
    operation_id = "create_session",
    path = "/api/v1/managed_agents/agents/{agent_id}/session",
    tag = "sessions",
    params(("agent_id" = AgentId, Path, description = "The agent."), crate::http::idempotency::KeyHeader),
    request_body(content = Option<CreateSession>, description = "May be left out."),
    responses(
        (status = 200, description = "The session, `creating`.", body = Session),
        (status = 404, description = "There is no such agent or skill.", body = lap_platform::model::ErrorBody),
        (status = 409, description = "The agent has as many live sessions as it may, or the idempotency key was used \
            for another request.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn create(
    can: Can<Operate>,
    State(sessions): State<Sessions>,
    State(keys): State<Keys>,
    State(store): State<Store>,
    AgentPath(agent): AgentPath,
    makes: Makes,
    OptionalBody(body): OptionalBody<CreateSession>,
) -> Result<Json<Session>, ApiError> {
    let row = store.agents().get(agent).await?;
    let request = body.judged(|request| {
        let mut faults = validate::create_session(request).err().unwrap_or_default();
        faults.extend(no_prompt(request, sessions.catalog().get(&row.agent.harness_id)));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    })?;
    store.skills().all_there(&request.skill_ids).await?;
    if !open_files::has_room() {
        return Err(no_files());
    }
    let session = sessions.create_as(SessionId(makes.id), agent, request, "api").await?;
    Ok(Json(with_token(session, &can.principal, &keys)?))
}

/// What is left of the descriptors is for those who come to end sessions.
fn no_files() -> ApiError {
    let message = format!(
        "the server may have no more files open but the last {}, which it keeps for clients: stop sessions that are \
         not needed, or start it with a higher limit (ulimit -Hn)",
        open_files::RESERVE
    );
    ApiError::too_many(message, RETRY_AFTER)
}

/// A first prompt for a program that takes none.
fn no_prompt(request: &CreateSession, harness: Option<&Harness>) -> Option<FieldError> {
    let harness = harness.filter(|harness| !harness.takes_prompt())?;
    request.initial_prompt.as_ref().filter(|prompt| !prompt.is_empty())?;
    Some(FieldError {
        code: validate::INVALID.to_owned(),
        path: vec!["initial_prompt".to_owned()],
        message: format!(
            "{} takes no first prompt: leave it out, and type it into the terminal",
            harness.name
        ),
    })
}

/// The sessions, newest first.
#[utoipa::path(
    get,
    operation_id = "list_sessions",
    path = "/api/v1/managed_agents/sessions",
    tag = "sessions",
    params(ListSessions),
    responses((status = 200, description = "A page of them.", body = Page<Session>))
)]
pub(super) async fn list(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    Query(query): Query<ListSessions>,
) -> Result<Json<Page<Session>>, ApiError> {
    let query = SessionsQuery {
        agent_id: query.agent_id,
        status: query.status,
        search: query.search,
        limit: Some(page::limit(query.limit)),
        offset: page::offset(query.offset),
        cursor: query.cursor,
        order: query.order.unwrap_or_default(),
    };
    let page = sessions.list(&query).await.map_err(|error| match error {
        // Of a list the one thing that can contradict anything is its cursor.
        SessionError::Conflict(message) => ApiError::new(Kind::Invalid, message),
        other => other.into(),
    })?;
    Ok(Json(page))
}

/// One session.
#[utoipa::path(
    get,
    operation_id = "get_session",
    path = "/api/v1/managed_agents/sessions/{session_id}",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "The session.", body = Session),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn get(
    can: Can<Read>,
    State(sessions): State<Sessions>,
    State(keys): State<Keys>,
    SessionPath(id): SessionPath,
) -> Result<Json<Session>, ApiError> {
    let session = sessions.get(id).await?;
    Ok(Json(with_token(session, &can.principal, &keys)?))
}

/// Changes what a session is called.
#[utoipa::path(
    patch,
    operation_id = "update_session",
    path = "/api/v1/managed_agents/sessions/{session_id}",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session.")),
    request_body = SessionPatch,
    responses(
        (status = 200, description = "The session as it is now.", body = Session),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn patch(
    can: Can<Operate>,
    State(sessions): State<Sessions>,
    State(keys): State<Keys>,
    SessionPath(id): SessionPath,
    body: Body<SessionPatch>,
) -> Result<Json<Session>, ApiError> {
    let patch = body.judged(validate::session_patch)?;
    let session = sessions.patch(id, patch).await?;
    Ok(Json(with_token(session, &can.principal, &keys)?))
}

/// What is to become of a session's traces.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EraseSession {
    /// Whether its row, log, recording and workspace go too: afterwards there is no such session.
    #[serde(default)]
    erase: bool,
}

/// Ends a session and its sandbox. Its recording and log stay unless it is erased. One that has ended already is no error.
#[utoipa::path(
    delete,
    operation_id = "delete_session",
    path = "/api/v1/managed_agents/sessions/{session_id}",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session."), EraseSession),
    responses(
        (status = 204, description = "It ends, or had ended; or it is gone."),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn delete(
    _: Can<Operate>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    Query(query): Query<EraseSession>,
) -> Result<StatusCode, ApiError> {
    if query.erase {
        sessions.erase(id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    sessions.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session gracefully: its program is asked to end, has ten seconds, and then its sandbox is removed.
#[utoipa::path(
    post,
    operation_id = "stop_session",
    path = "/api/v1/managed_agents/sessions/{session_id}/stop",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session."), crate::http::idempotency::KeyHeader),
    responses(
        (status = 200, description = "The session, ended.", body = Session),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
        (status = 409, description = "The idempotency key was used for another request.",
            body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn stop(
    _: Can<Operate>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    _: NoBody,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(sessions.stop(id).await?))
}

/// A new sandbox for a session, with the same agent, skills and files.
#[utoipa::path(
    post,
    operation_id = "restart_session",
    path = "/api/v1/managed_agents/sessions/{session_id}/restart",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session."), crate::http::idempotency::KeyHeader),
    responses(
        (status = 200, description = "The session, `creating`.", body = Session),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
        (status = 409, description = "It is still coming up, or its agent is gone.",
            body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn restart(
    can: Can<Operate>,
    State(sessions): State<Sessions>,
    State(keys): State<Keys>,
    SessionPath(id): SessionPath,
    makes: Makes,
    _: NoBody,
) -> Result<Json<Session>, ApiError> {
    if !open_files::has_room() {
        return Err(no_files());
    }
    let session = sessions.restart(id, makes.key()).await?;
    Ok(Json(with_token(session, &can.principal, &keys)?))
}

/// Ends what the session's program is doing now, and not the program: as Ctrl-C would.
#[utoipa::path(
    post,
    operation_id = "abort_session",
    path = "/api/v1/managed_agents/sessions/{session_id}/abort",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session."), crate::http::idempotency::KeyHeader),
    responses(
        (status = 200, description = "The session.", body = Session),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
        (status = 409, description = "It is not running.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn abort(
    can: Can<Operate>,
    State(sessions): State<Sessions>,
    State(keys): State<Keys>,
    SessionPath(id): SessionPath,
    _: NoBody,
) -> Result<Json<Session>, ApiError> {
    let session = sessions.abort(id).await?;
    Ok(Json(with_token(session, &can.principal, &keys)?))
}

/// A session with a token for its terminal, for whoever may type there. Lists and the feed carry none.
fn with_token(session: Session, principal: &Principal, keys: &Keys) -> Result<Session, ApiError> {
    let opens = session.tty_url.is_some() && principal.may_type(session.id);
    let token = || keys.terminal_token(session.id).map_err(ApiError::internal);
    let tty_token = opens.then(token).transpose()?;
    Ok(Session { tty_token, ..session })
}
