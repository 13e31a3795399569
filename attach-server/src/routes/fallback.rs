//! What is answered where no route does: 404, 405, and 500 where one panicked.

use std::any::Any;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};

use crate::http::error::{ApiError, Kind};

/// Longer paths are cut in the answer.
const MAX_SHOWN: usize = 200;

pub(super) async fn unknown_path(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(MAX_SHOWN).collect();
    ApiError::not_found(format!("the path {path}"))
}

pub(super) async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(MAX_SHOWN).collect();
    let method: String = method.as_str().chars().take(MAX_SHOWN).collect();
    ApiError::new(
        Kind::MethodNotAllowed,
        format!("{path} does not know the method {method}; the allow header has those it knows"),
    )
}

/// A handler that panicked is a fault of ours, and of that request alone.
// The signature is tower-http's.
#[allow(clippy::needless_pass_by_value)]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    ApiError::internal(format!("a handler panicked: {message}")).into_response()
}
