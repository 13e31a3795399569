//! The API's own description: answers `openapi.json`.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::http::auth::{Can, Read};
use crate::state::Document;

/// This document.
#[utoipa::path(
    get,
    operation_id = "get_openapi",
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "The API's description, OpenAPI 3.1.", body = Object))
)]
pub(super) async fn openapi(_: Can<Read>, State(Document(document)): State<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document)
}
