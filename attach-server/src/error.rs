//! Errors, of two kinds that cannot be mixed up. What a person can act on is an [`ApiError`]'s detail, and goes into the
//! answer. All else is its cause: it goes into the log, and the answer carries nothing of it but the request's id.

use std::error::Error;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lap_platform::model::{ErrorBody, ErrorDetail, FieldError, validate};
use lap_platform::session::SessionError;
use lap_platform::store::StoreError;

use crate::request_id;

/// What sort of thing went wrong: decides the status and is the metrics' label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
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
    pub fn status(self) -> StatusCode {
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
}

/// An error on its way to becoming an answer.
#[derive(Debug)]
pub struct ApiError {
    kind: Kind,
    detail: ErrorDetail,
    retry_after: Option<Duration>,
    /// For the log alone.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A sentence for whoever sent the request.
    pub fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError { kind, detail: ErrorDetail::Message(message.into()), retry_after: None, cause: None }
    }

    /// No valid token; the same words for every reason, so that nothing can be learned by trying.
    #[must_use]
    pub fn unauthorized() -> ApiError {
        ApiError::new(Kind::Unauthorized, "unauthorized")
    }

    /// `what` says what was looked for: `agent 0197…`.
    pub fn not_found(what: impl std::fmt::Display) -> ApiError {
        ApiError::new(Kind::NotFound, format!("{what} was not found"))
    }

    /// It contradicts the state.
    pub fn conflict(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::Conflict, message)
    }

    /// All that is wrong with a request.
    #[must_use]
    pub fn invalid(faults: Vec<FieldError>) -> ApiError {
        ApiError { kind: Kind::Invalid, detail: ErrorDetail::Fields(faults), retry_after: None, cause: None }
    }

    /// A limit on how many is reached; worth another try after a while.
    pub fn too_many(message: impl Into<String>, retry_after: Duration) -> ApiError {
        ApiError { retry_after: Some(retry_after), ..ApiError::new(Kind::TooMany, message) }
    }

    /// A fault of the server's own: the cause goes into the log, the answer names the request's id.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        let message = "something went wrong in the server; its log has the cause under this request_id";
        ApiError { cause: Some(cause.into()), ..ApiError::new(Kind::Internal, message) }
    }

    /// The same with what the operator should know beside it.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> ApiError {
        ApiError { cause: Some(cause.into()), ..self }
    }

    /// What sort of error it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The answer's body, without the request's id.
    #[must_use]
    pub fn detail(&self) -> &ErrorDetail {
        &self.detail
    }
}

/// The variants that a person can act on keep their words; the others are the operator's.
impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> ApiError {
        match error {
            SessionError::NotFound(id) => ApiError::not_found(format!("session {id}")),
            SessionError::AgentNotFound(id) => ApiError::not_found(format!("agent {id}")),
            SessionError::Invalid(faults) => ApiError::invalid(faults),
            SessionError::TooMany { .. } | SessionError::Conflict { .. } => {
                ApiError::conflict(error.to_string())
            }
            SessionError::CannotStart(message) => {
                let path = vec!["command".to_owned(), "0".to_owned()];
                ApiError::invalid(vec![FieldError { code: validate::INVALID.to_owned(), path, message }])
            }
            SessionError::Sandbox(message) => ApiError::new(Kind::BadGateway, message),
            SessionError::Unavailable(message) => ApiError::new(Kind::Unavailable, message),
            SessionError::Internal(_) => ApiError::internal(error),
        }
    }
}

/// As for sessions.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::NotFound(what) => ApiError::not_found(what),
            StoreError::Conflict(message) => ApiError::conflict(message),
            StoreError::Invalid(message) => ApiError::new(Kind::Invalid, message),
            StoreError::Unavailable(message) => ApiError::new(Kind::Unavailable, message),
            StoreError::Internal(_) => ApiError::internal(error),
        }
    }
}

/// Logged here, once: an answer is where an error ends.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        if let Some(cause) = &self.cause {
            tracing::error!(kind = ?self.kind, cause = %Chain(cause.as_ref()), "a request failed");
        }
        let request_id = status.is_server_error().then(request_id::current).flatten();
        let body = axum::Json(ErrorBody { error: self.detail, request_id });
        let mut response = (status, body).into_response();
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
