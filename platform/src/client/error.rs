//! Why a request to a server came to nothing, in words that are safe to show.

use std::fmt;
use std::time::Duration;

use crate::model::{ErrorBody, ErrorDetail, FieldError};

/// Why a request came to nothing. Every text is safe to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address or key given to [`super::Client::new`] cannot be used.
    #[error("{what} cannot be used: {reason}")]
    Invalid {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answered there: refused, no route, no such host, TLS failed.
    #[error("no server answers at {url}: {reason}")]
    Unreachable {
        /// The server's address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The connection broke while request or answer were on their way.
    #[error("the connection to {url} broke: {reason}")]
    Broken {
        /// The server's address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// Something answers there, but who it is cannot be made sure of.
    #[error("no safe connection to {url}: {reason}")]
    Untrusted {
        /// The server's address.
        url: String,
        /// What is wrong with its certificate or its way of speaking, as words that go on the sentence.
        reason: String,
    },
    /// Something that stands before the server answered in its place: a proxy, a load balancer, a login page.
    #[error("not lap's server but something before it answers at {url}: {reason}")]
    Between {
        /// The server's address.
        url: String,
        /// What it said.
        reason: String,
    },
    /// Connected, but the answer did not come in time.
    #[error("the server at {url} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// The server's address.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server said no, and why.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something answered that does not speak this API, or its answer was cut off.
    #[error("the server at {url} gave an answer that is not lap's: {reason}")]
    Malformed {
        /// The server's address.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// The answer's status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Api(error) => Some(error.status),
            _ => None,
        }
    }

    /// Whether the server could not be talked to at all: it may be down, starting, or elsewhere.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            ClientError::Unreachable { .. }
                | ClientError::Broken { .. }
                | ClientError::Untrusted { .. }
                | ClientError::Between { .. }
                | ClientError::TimedOut { .. }
        )
    }

    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the key is wrong or may not do this.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }
}

/// An answer of the server's that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// What happened, as a sentence.
    pub message: String,
    /// The faults of a request that failed validation, one per field.
    pub fields: Vec<FieldError>,
    /// On 5xx: finds the cause in the server's log.
    pub request_id: Option<String>,
    /// On 429: when to ask again.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// Reads the body of an answer with that status. A body that is not the API's gives the status' own words, since
    /// a proxy in between may have made it.
    #[must_use]
    pub fn from_body(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
        let (detail, request_id) = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => (body.error, body.request_id),
            Err(_) => (ErrorDetail::Message(words(status).to_owned()), None),
        };
        let (message, fields) = match detail {
            ErrorDetail::Message(message) => (message, Vec::new()),
            ErrorDetail::Fields(fields) => (String::from("the request has faults"), fields),
        };
        ApiError { status, message, fields, request_id, retry_after }
    }

    /// The fault of that field, if it has one: its path begins with the name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldError> {
        self.fields.iter().find(|fault| fault.path.first().is_some_and(|first| first == name))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fields.is_empty() {
            f.write_str(&self.message)?;
        }
        for (index, fault) in self.fields.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.path.join("."), fault.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}

fn words(status: u16) -> &'static str {
    match status {
        401 => "the key is missing or wrong",
        403 => "this key may not do that",
        404 => "not found",
        409 => "that is not possible in the present state",
        413 => "the request is too large",
        429 => "too many requests",
        502..=504 => "the server is not available",
        500..=599 => "the server failed",
        _ => "the server refused the request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_fields_are_named_one_by_one() {
        let body = br#"{"error":[{"code":"too_big","path":["name"],"message":"at most 200 characters"},
                                 {"code":"required","path":["model"],"message":"is required"}]}"#;
        let error = ApiError::from_body(400, body, None);
        assert_eq!(error.to_string(), "name: at most 200 characters; model: is required");
        assert_eq!(error.field("model").map(|fault| fault.code.as_str()), Some("required"));
        assert_eq!(error.field("prompt"), None);
    }

    #[test]
    fn a_body_that_is_not_the_apis_still_gives_a_sentence() {
        let error = ApiError::from_body(502, b"<html>bad gateway</html>", None);
        assert_eq!(error.to_string(), "the server is not available");
    }

    #[test]
    fn an_operators_error_carries_the_request_id() {
        let error = ApiError::from_body(500, br#"{"error":"internal error","request_id":"r-7"}"#, None);
        assert_eq!(error.to_string(), "internal error (request r-7)");
    }
}
