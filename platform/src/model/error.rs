//! What an error looks like to clients.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence, or for failed validation one entry per fault.
    pub error: ErrorDetail,
    /// On 5xx: finds the cause in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// See [`ErrorBody`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ErrorDetail {
    /// What happened.
    Message(String),
    /// What is wrong with the request.
    Fields(Vec<FieldError>),
}

/// One fault of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// A stable word: `required`, `unknown_field`, `invalid_type`, `too_small`, `too_big`, `invalid`, `reserved`.
    pub code: String,
    /// Where: field names and indices from the outside in.
    pub path: Vec<String>,
    /// What to do about it.
    pub message: String,
}
