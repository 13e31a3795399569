//! Whether the server lives: everybody may ask.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// That the server lives, and nothing more: everybody may ask.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: String,
}

/// Whether the server lives.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "server",
    security(()),
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}
