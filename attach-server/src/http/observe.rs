//! Every answer is counted by route and code and has one line in the log.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::error::Kind;
use crate::metrics::{HttpLabels, Metrics};

/// The route of what is none.
const UNMATCHED: &str = "unmatched";

/// Counts a request while it is being answered, and its answer.
pub(crate) async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let metrics = &metrics.http;
    let in_flight = metrics.in_flight.enter();
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let method = known_method(request.method().as_str());
    let response = next.run(request).await;
    drop(in_flight);
    let (code, took) = (response.status().as_u16(), started.elapsed());
    tracing::info!(code, took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "answered");
    if let Some(kind) = response.extensions().get::<Kind>() {
        metrics.failed(&route, kind.label());
    }
    metrics.answered(&HttpLabels { method: method.to_owned(), route, code }, took);
    response
}

/// A method is any word: only those HTTP knows become labels, whose number is to be bounded.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}
