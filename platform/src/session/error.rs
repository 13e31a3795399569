//! Why a session could not be made, found or changed.

use crate::link::LinkError;
use crate::model::{AgentId, FieldError, SessionId};
use crate::sandbox::SandboxError;
use crate::store::StoreError;

/// Why a session could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such session.
    #[error("there is no session {0}")]
    NotFound(SessionId),
    /// No such agent.
    #[error("there is no agent {0}")]
    AgentNotFound(AgentId),
    /// The request makes no sense; one entry per fault.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// There are as many live sessions as there may be; the message has the count and says what to do.
    #[error("{0}")]
    TooMany(String),
    /// It cannot be done in the state the session is in; the message says what to do instead.
    #[error("{0}")]
    Conflict(String),
    /// The program cannot be started in the sandbox: there is none of that name, or it is no program. Safe to show.
    #[error("{0}")]
    CannotStart(String),
    /// The sandbox cannot do it. Safe to show.
    #[error("{0}")]
    Sandbox(String),
    /// Nothing can be written: the disk is full. Safe to show.
    #[error("{0}")]
    Full(String),
    /// This side is stopping or cannot reach what it needs; try again. Safe to show.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of this side's; for the log, never for a user.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<StoreError> for SessionError {
    /// What is not found is named by whoever asked for it: see `of_session`.
    fn from(error: StoreError) -> SessionError {
        match error {
            StoreError::Unavailable(message) => SessionError::Unavailable(message),
            StoreError::Full(message) => SessionError::Full(message),
            StoreError::Conflict(message) => SessionError::Conflict(message),
            StoreError::NotFound(_) | StoreError::Invalid(_) | StoreError::Internal(_) => {
                SessionError::Internal(error.to_string())
            }
        }
    }
}

impl From<SandboxError> for SessionError {
    fn from(error: SandboxError) -> SessionError {
        match error {
            SandboxError::NotFound(_) | SandboxError::Failed(_) => SessionError::Sandbox(error.to_string()),
            SandboxError::Unavailable(message) => SessionError::Unavailable(message),
        }
    }
}

impl From<LinkError> for SessionError {
    fn from(error: LinkError) -> SessionError {
        SessionError::Sandbox(error.to_string())
    }
}

impl SessionError {
    /// A store's error about this session.
    pub(super) fn of_session(id: SessionId) -> impl Fn(StoreError) -> SessionError {
        move |error| match error {
            StoreError::NotFound(_) => SessionError::NotFound(id),
            other => SessionError::from(other),
        }
    }

    /// A store's error about this agent.
    pub(super) fn of_agent(id: AgentId) -> impl Fn(StoreError) -> SessionError {
        move |error| match error {
            StoreError::NotFound(_) => SessionError::AgentNotFound(id),
            other => SessionError::from(other),
        }
    }
}
