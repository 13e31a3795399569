use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::auth::{Can, Read};
use crate::state::AppState;

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "The API's description, OpenAPI 3.1.", body = Object))
)]
pub(super) async fn openapi(_: Can<Read>, State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], state.parts().document.clone())
}
