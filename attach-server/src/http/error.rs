//! Errors, of two kinds that cannot be mixed up. What a person can act on is an [`ApiError`]'s detail, and goes into the
//! answer. All else is its cause: it goes into the log, and the answer carries nothing of it but the request's id.

use std::error::Error;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lap_platform::model::{ErrorBody, ErrorDetail, FieldError, validate};
use lap_platform::session::SessionError;
use lap_platform::store::StoreError;

use super::request_id;

/// What sort of thing went wrong: decides the status and is the metrics' label. Each error that can become an answer
/// says of which kind it is ([`Fault`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// The request makes no sense as it is.
    Invalid,
    /// No valid token.
    Unauthorized,
    /// A valid token that may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// It contradicts the state.
    Conflict,
    /// The body is over its limit.
    TooLarge,
    /// The body is of another type than JSON.
    UnsupportedMediaType,
    /// A limit on how many is reached.
    TooMany,
    /// A fault of the server's own.
    Internal,
    /// Something the server depends on did not do its part.
    BadGateway,
    /// The server cannot do it now.
    Unavailable,
    /// It took longer than it may.
    Timeout,
}

impl Kind {
    /// The HTTP status for it.
    #[must_use]
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::BadGateway => StatusCode::BAD_GATEWAY,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The word for it in the metrics.
    #[must_use]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Unauthorized => "unauthorized",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::MethodNotAllowed => "method_not_allowed",
            Kind::RequestTimeout => "request_timeout",
            Kind::Conflict => "conflict",
            Kind::TooLarge => "too_large",
            Kind::UnsupportedMediaType => "unsupported_media_type",
            Kind::TooMany => "too_many",
            Kind::Internal => "internal",
            Kind::BadGateway => "bad_gateway",
            Kind::Unavailable => "unavailable",
            Kind::Timeout => "timeout",
        }
    }
}

/// An error on its way to becoming an answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    kind: Kind,
    detail: ErrorDetail,
    retry_after: Option<Duration>,
    /// For the log alone.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A sentence for whoever sent the request.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError { kind, detail: ErrorDetail::Message(message.into()), retry_after: None, cause: None }
    }

    /// No valid token; the same words for every reason, so that nothing can be learned by trying.
    #[must_use]
    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(Kind::Unauthorized, "unauthorized")
    }

    /// `what` says what was looked for: `agent 0197…`.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> ApiError {
        ApiError { detail: not_found(what), ..ApiError::new(Kind::NotFound, "") }
    }

    /// It contradicts the state.
    pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::Conflict, message)
    }

    /// All that is wrong with a request.
    #[must_use]
    pub(crate) fn invalid(faults: Vec<FieldError>) -> ApiError {
        ApiError { kind: Kind::Invalid, detail: ErrorDetail::Fields(faults), retry_after: None, cause: None }
    }

    /// A limit on how many is reached; worth another try after a while.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> ApiError {
        ApiError { retry_after: Some(retry_after), ..ApiError::new(Kind::TooMany, message) }
    }

    /// A fault of the server's own: the cause goes into the log, the answer names the request's id.
    pub(crate) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        let message = "something went wrong in the server; its log has the cause under this request_id";
        ApiError { cause: Some(cause.into()), ..ApiError::new(Kind::Internal, message) }
    }

    /// The server stops before it is done.
    #[must_use]
    pub(crate) fn stopping() -> ApiError {
        let message = "the server is stopping; what was asked for may still happen: ask again in a moment";
        let after = Some(Duration::from_secs(1));
        ApiError { retry_after: after, ..ApiError::new(Kind::Unavailable, message) }
    }

    /// The same with what the operator should know beside it.
    #[must_use]
    pub(crate) fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        ApiError { cause: Some(cause.into()), ..self }
    }

    /// What sort of error it is.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

/// An error of another part of the server that can become an answer.
pub(crate) trait Fault: Error + Send + Sync + Sized + 'static {
    /// What sort of error it is.
    fn kind(&self) -> Kind;

    /// What whoever sent the request is told; nothing where the error is the operator's alone.
    fn told(&self) -> Option<ErrorDetail>;
}

impl<F: Fault> From<F> for ApiError {
    fn from(fault: F) -> ApiError {
        match fault.told() {
            Some(detail) => ApiError { kind: fault.kind(), detail, retry_after: None, cause: None },
            None => ApiError::internal(fault),
        }
    }
}

impl Fault for SessionError {
    fn kind(&self) -> Kind {
        match self {
            SessionError::NotFound(_) | SessionError::AgentNotFound(_) => Kind::NotFound,
            SessionError::Invalid(_) | SessionError::CannotStart(_) => Kind::Invalid,
            SessionError::TooMany { .. } | SessionError::Conflict { .. } => Kind::Conflict,
            SessionError::Sandbox(_) => Kind::BadGateway,
            SessionError::Unavailable(_) | SessionError::Full(_) => Kind::Unavailable,
            SessionError::Internal(_) => Kind::Internal,
        }
    }

    fn told(&self) -> Option<ErrorDetail> {
        Some(match self {
            SessionError::NotFound(id) => not_found(format_args!("session {id}")),
            SessionError::AgentNotFound(id) => not_found(format_args!("agent {id}")),
            SessionError::Invalid(faults) => ErrorDetail::Fields(faults.clone()),
            SessionError::TooMany { .. } | SessionError::Conflict { .. } => {
                ErrorDetail::Message(self.to_string())
            }
            SessionError::CannotStart(message) => {
                let path = vec!["command".to_owned(), "0".to_owned()];
                let (code, message) = (validate::INVALID.to_owned(), message.clone());
                ErrorDetail::Fields(vec![FieldError { code, path, message }])
            }
            SessionError::Sandbox(message)
            | SessionError::Unavailable(message)
            | SessionError::Full(message) => ErrorDetail::Message(message.clone()),
            SessionError::Internal(_) => return None,
        })
    }
}

impl Fault for StoreError {
    fn kind(&self) -> Kind {
        match self {
            StoreError::NotFound(_) => Kind::NotFound,
            StoreError::Conflict(_) => Kind::Conflict,
            StoreError::Invalid(_) => Kind::Invalid,
            StoreError::Unavailable(_) | StoreError::Full(_) => Kind::Unavailable,
            StoreError::Internal(_) => Kind::Internal,
        }
    }

    fn told(&self) -> Option<ErrorDetail> {
        Some(match self {
            StoreError::NotFound(what) => not_found(what),
            StoreError::Conflict(message)
            | StoreError::Invalid(message)
            | StoreError::Full(message)
            | StoreError::Unavailable(message) => ErrorDetail::Message(message.clone()),
            StoreError::Internal(_) => return None,
        })
    }
}

fn not_found(what: impl std::fmt::Display) -> ErrorDetail {
    ErrorDetail::Message(format!("{what} was not found"))
}

/// Logged here, once: an answer is where an error ends.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        match &self.cause {
            Some(cause) if status.is_server_error() => {
                tracing::error!(kind = self.kind.label(), cause = %Chain(cause.as_ref()), "a request failed");
            }
            // A body that breaks off, say: whoever sent it is told, and it is no concern of the operator's.
            Some(cause) => {
                tracing::debug!(kind = self.kind.label(), cause = %Chain(cause.as_ref()), "a request was refused");
            }
            None => {}
        }
        let request_id = status.is_server_error().then(request_id::current).flatten();
        let body = axum::Json(ErrorBody { error: self.detail, request_id });
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(self.kind);
        let headers = response.headers_mut();
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

/// An error with all its causes on one line.
struct Chain<'a>(&'a (dyn Error + Send + Sync));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
