//! No plain request takes for ever, whatever it waits for, and none stays without an answer when the server stops.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, Kind};
use crate::server::drain::Drain;
use crate::state::RequestTimeout;

/// Answers 504 where a handler takes longer than a request may.
pub(crate) async fn limit(
    State(RequestTimeout(patience)): State<RequestTimeout>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(patience, next.run(request)).await.map_err(|_| {
        let message =
            format!("no answer within {} s; what was asked for may still happen", patience.as_secs());
        ApiError::new(Kind::Timeout, message)
    })
}

/// Answers 503 where a handler is not done when the server gives up what is not finished.
pub(crate) async fn cut(
    State(drain): State<Drain>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::select! {
        response = next.run(request) => Ok(response),
        () = drain.cut() => Err(ApiError::stopping()),
    }
}
