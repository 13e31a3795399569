//! Whether the server lives, which everybody may ask, and whether sandboxes can be had.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use lap_platform::model::ErrorBody;
use lap_platform::session::Sessions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::{Can, Read};
use crate::http::error::{ApiError, Kind};

/// How long the sandboxes' runtime may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// That the server lives, and nothing more: everybody may ask.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: String,
}

/// Whether the server lives.
#[utoipa::path(
    get,
    operation_id = "get_health",
    path = "/api/v1/health",
    tag = "server",
    security(()),
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// That sandboxes can be had.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RuntimeHealth {
    /// `ok`.
    status: String,
    /// Sandboxes there are.
    sandboxes: u64,
    /// Whether nothing keeps their programs from the rest of the machine.
    unconfined: bool,
}

/// Whether what sandboxes run in answers: the cluster, or this machine.
#[utoipa::path(
    get,
    operation_id = "get_runtime_health",
    path = "/api/v1/health/k8s",
    tag = "server",
    responses(
        (status = 200, description = "It does.", body = RuntimeHealth),
        (status = 503, description = "It does not.", body = ErrorBody),
    )
)]
pub(super) async fn runtime(
    _: Can<Read>,
    State(sessions): State<Sessions>,
) -> Result<Json<RuntimeHealth>, ApiError> {
    let unavailable = || ApiError::new(Kind::Unavailable, "what sandboxes run in does not answer");
    let runtime = sessions.runtime();
    match tokio::time::timeout(PATIENCE, runtime.list()).await {
        Ok(Ok(sandboxes)) => Ok(Json(RuntimeHealth {
            status: "ok".to_owned(),
            sandboxes: sandboxes.len() as u64,
            unconfined: runtime.unconfined(),
        })),
        Ok(Err(error)) => Err(unavailable().because(error)),
        Err(_) => Err(unavailable()),
    }
}
