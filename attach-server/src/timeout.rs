//! No plain request takes for ever, whatever it waits for.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::{ApiError, Kind};
use crate::state::AppState;

pub(crate) async fn limit(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let patience = state.limits().request_timeout;
    tokio::time::timeout(patience, next.run(request)).await.map_err(|_| {
        let message =
            format!("no answer within {} s; what was asked for may still happen", patience.as_secs());
        ApiError::new(Kind::Timeout, message)
    })
}
