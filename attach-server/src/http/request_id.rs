//! Every request has an id: in the header of its answer, in every line the log has about it, and in the body where the
//! answer can say nothing more.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

/// The header's name.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id longer than this is replaced: it stands in every line of the log.
const MAX_CHARS: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered. `None` outside of one.
#[must_use]
pub(crate) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok().filter(|id| !id.is_empty())
}

/// Takes the current request's id along into another task.
pub(crate) fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    // Outside of a request there is none, and an empty one is never shown: see `current`.
    CURRENT.scope(current().unwrap_or_default(), work)
}

/// Gives the request its id: the client's own where that is fit for a log, else a new one.
pub(crate) async fn assign(request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_fit(id));
    let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        // The path alone: a query may carry a token.
        path = %request.uri().path(),
    );
    let header = HeaderValue::from_str(&id);
    let mut response = CURRENT.scope(id, next.run(request).instrument(span)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

fn is_fit(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
