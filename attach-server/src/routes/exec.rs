//! A command in a session's sandbox: answers what it printed and how it ended.

use axum::Json;
use axum::extract::State;
use lap_platform::model::{ExecRequest, ExecResult, SessionId, validate};
use lap_platform::session::Sessions;

use crate::http::auth::{Can, Operate};
use crate::http::error::ApiError;
use crate::http::extract::{Body, SessionPath};
use crate::http::idempotency::Makes;

/// Runs a command in a session's sandbox, beside its program, and answers when it has ended.
#[utoipa::path(
    post,
    operation_id = "exec_in_session",
    path = "/api/v1/managed_agents/sessions/{session_id}/exec",
    tag = "terminal",
    params(("session_id" = SessionId, Path, description = "The session."), crate::http::idempotency::KeyHeader),
    request_body = ExecRequest,
    responses(
        (status = 200, description = "What came of it.", body = ExecResult),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
        (status = 409, description = "The session is not running.", body = lap_platform::model::ErrorBody),
        (status = 502, description = "The sandbox could not run it.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn exec(
    _: Can<Operate>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    makes: Makes,
    body: Body<ExecRequest>,
) -> Result<Json<ExecResult>, ApiError> {
    let request = body.judged(validate::exec)?;
    Ok(Json(sessions.exec(id, request, makes.key()).await?))
}
