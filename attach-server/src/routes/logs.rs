//! What a session's terminal and its sandbox said: answers an asciicast, or plain text.

use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use lap_platform::model::{ErrorBody, SessionId};
use lap_platform::sandbox;
use lap_platform::session::Sessions;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::auth::{Can, Read};
use crate::http::error::ApiError;
use crate::http::extract::{Query, SessionPath};
use crate::recording::RecordingReader;

const TEXT: &str = "text/plain; charset=utf-8";
const ASCIICAST: &str = "application/x-asciicast";
/// Lines of a sandbox's log when the request does not say.
const TAIL_LINES: u32 = 500;

/// A session's terminal as it was seen, with its timing.
#[utoipa::path(
    get,
    operation_id = "get_session_recording",
    path = "/api/v1/managed_agents/sessions/{session_id}/recording",
    tag = "terminal",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "An asciicast v3.", body = String, content_type = "application/x-asciicast"),
        (status = 404, description = "There is no such session, or its terminal has not been recorded.",
            body = ErrorBody),
    )
)]
pub(super) async fn recording(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    State(recordings): State<RecordingReader>,
    SessionPath(id): SessionPath,
) -> Result<impl IntoResponse, ApiError> {
    sessions.get(id).await?;
    let missing = || ApiError::not_found(format!("a recording of session {id}"));
    let cast = recordings.read(id).await?.ok_or_else(missing)?;
    let name = format!("attachment; filename=\"{id}.cast\"");
    Ok(([(header::CONTENT_TYPE, ASCIICAST.to_owned()), (header::CONTENT_DISPOSITION, name)], cast))
}

/// What a session's terminal printed, as plain text: the last 8 MiB of it.
#[utoipa::path(
    get,
    operation_id = "get_session_log",
    path = "/api/v1/managed_agents/sessions/{session_id}/log",
    tag = "terminal",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "Its lines; none where nothing was recorded.", body = String,
            content_type = "text/plain"),
        (status = 404, description = "There is no such session.", body = ErrorBody),
    )
)]
pub(super) async fn log(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    State(recordings): State<RecordingReader>,
    SessionPath(id): SessionPath,
) -> Result<impl IntoResponse, ApiError> {
    sessions.get(id).await?;
    let mut text = String::new();
    for line in recordings.transcript(id).await?.lines {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, TEXT)], text))
}

/// How much of a sandbox's log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tail {
    /// Lines from the end; 500 by default.
    #[param(minimum = 1, maximum = 100_000)]
    tail_lines: Option<u32>,
    /// Nothing if it said nothing for longer than this. Sandboxes on this machine have logs without a time on each
    /// line: where the last line is young enough, the lines before it are given too.
    #[param(minimum = 1, maximum = 31_536_000)]
    since_seconds: Option<u32>,
}

/// What a session's sandbox itself said: its keeper's log, a container's.
#[utoipa::path(
    get,
    operation_id = "get_sandbox_logs",
    path = "/api/v1/managed_agents/sessions/{session_id}/sandbox_logs",
    tag = "terminal",
    params(("session_id" = SessionId, Path, description = "The session."), Tail),
    responses(
        (status = 200, description = "Its lines.", body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such session.", body = ErrorBody),
        (status = 502, description = "The sandbox is gone, and its log with it.", body = ErrorBody),
    )
)]
pub(super) async fn sandbox_logs(
    _: Can<Read>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    Query(tail): Query<Tail>,
) -> Result<impl IntoResponse, ApiError> {
    let within = tail.since_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let tail = sandbox::Tail { lines: tail.tail_lines.unwrap_or(TAIL_LINES), within };
    let text = sessions.sandbox_logs(id, tail).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text))
}
