//! What is known about a session in trouble: answers the evidence and the issues it comes to.

use axum::Json;
use axum::extract::State;
use lap_platform::model::{Diagnosis, SessionId};
use lap_platform::session::Sessions;
use lap_platform::store::Store;

use crate::diagnose::Sources;
use crate::http::auth::{Can, Read};
use crate::http::error::ApiError;
use crate::http::extract::SessionPath;
use crate::recording::RecordingReader;

/// What is known about a session: where it stands, why, what its sandbox and its program last said.
#[utoipa::path(
    get,
    operation_id = "diagnose_session",
    path = "/api/v1/managed_agents/sessions/{session_id}/diagnose",
    tag = "sessions",
    params(("session_id" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "All of it.", body = Diagnosis),
        (status = 404, description = "There is no such session.", body = lap_platform::model::ErrorBody),
    )
)]
pub(super) async fn diagnose(
    _: Can<Read>,
    State(store): State<Store>,
    State(sessions): State<Sessions>,
    State(recordings): State<RecordingReader>,
    SessionPath(id): SessionPath,
) -> Result<Json<Diagnosis>, ApiError> {
    let session = sessions.get(id).await?;
    let sources = Sources { store, sessions, recordings };
    Ok(Json(sources.diagnose(session).await))
}
