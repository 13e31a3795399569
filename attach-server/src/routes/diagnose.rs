use axum::Json;
use axum::extract::State;
use lap_platform::model::{Diagnosis, SessionId};

use crate::auth::{Can, Read};
use crate::diagnose;
use crate::error::ApiError;
use crate::extract::SessionPath;
use crate::state::AppState;

/// What is known about a session: where it stands, why, what its sandbox and its program last said.
#[utoipa::path(
    get,
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
    State(state): State<AppState>,
    SessionPath(id): SessionPath,
) -> Result<Json<Diagnosis>, ApiError> {
    let session = state.sessions().get(id).await?;
    diagnose::diagnose(&state, session).await.map(Json)
}
