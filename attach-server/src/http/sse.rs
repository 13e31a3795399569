//! Server-sent events: how they are written, and the headers that keep what stands between from holding them back.

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;

/// nginx gathers answers by default; this tells it not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// What shows that a stream lives: a comment.
pub(crate) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// An event with its data as JSON, which is one line.
pub(crate) fn event(id: u64, name: &str, data: &impl Serialize) -> Bytes {
    // What is sent is made of maps, lists and words: it can always be written.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// The same with an id that is a text.
pub(crate) fn named(id: &str, name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// An event without data: where the stream is, and how soon to come back when it ends.
pub(crate) fn position(id: u64, retry: std::time::Duration) -> Bytes {
    format!("id: {id}\nretry: {}\n\n", retry.as_millis()).into()
}

/// The answer that carries a stream of events.
pub(crate) fn response(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    (headers, body).into_response()
}
