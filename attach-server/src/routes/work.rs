//! What a session was told, and what it has worked on: answers how much of it is nowhere else, where it is and how long it is kept.

use axum::Json;
use axum::extract::State;
use lap_platform::model::{SessionId, Told, Work};
use lap_platform::session::Sessions;

use crate::http::auth::{Can, Read};
use crate::http::error::ApiError;
use crate::http::extract::SessionPath;

/// What a session has worked on, counted now: files and commits that are nowhere else, where they are and until when.
#[utoipa::path(
    get,
    operation_id = "get_session_work",
    path = "/api/v1/managed_agents/sessions/{session_id}/work",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "What there is.", body = Work),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn get(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
) -> Result<Json<Work>, ApiError> {
    Ok(Json(sessions.work(id).await?))
}

/// What a session's program was told when it was last started: its model, its instructions and how they were given.
#[utoipa::path(
    get,
    operation_id = "get_session_prompt",
    path = "/api/v1/managed_agents/sessions/{session_id}/prompt",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "All of it; nothing before it is started.", body = Told),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn prompt(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
) -> Result<Json<Told>, ApiError> {
    Ok(Json(sessions.told(id).await?))
}
