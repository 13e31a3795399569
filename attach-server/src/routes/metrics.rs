//! What the server has counted: answers Prometheus' text.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::http::auth::{Can, Read};
use crate::http::error::ApiError;
use crate::hub::HubHandle;
use crate::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the server has counted, for Prometheus.
#[utoipa::path(
    get,
    operation_id = "get_metrics",
    path = "/api/v1/metrics",
    tag = "server",
    responses((
        status = 200,
        description = "Metrics in the OpenMetrics text format.",
        body = String,
        content_type = "application/openmetrics-text"
    ))
)]
pub(super) async fn metrics(
    _: Can<Read>,
    State(metrics): State<Arc<Metrics>>,
    State(hub): State<HubHandle>,
) -> Result<impl IntoResponse, ApiError> {
    let text = metrics.encode(hub.census().await).map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}
