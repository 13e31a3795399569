//! Why a keeper could not do what it was asked.

use std::time::Duration;

use lap_wire::control::{ErrorCode, WireError};

/// Why it could not be done. The messages are safe to show.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// The keeper could not be reached for as long as was allowed. What was asked may or may not have been done: every
    /// call can be sent again.
    #[error("the sandbox cannot be reached: {0}")]
    Lost(String),
    /// The runtime says that there is no such sandbox any more, or that it will not come up: trying again is no use.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// The peer is no keeper this side can talk to, or broke the protocol. Operator's: the log has it.
    #[error("the sandbox's keeper broke the protocol: {0}")]
    Protocol(String),
    /// It did not answer in time; the link may still be good.
    #[error("the sandbox's keeper did not answer {call} within {} s", after.as_secs())]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// It answered that it cannot, or this side has no room for more.
    #[error("{0}")]
    Refused(WireError),
    /// It has ended the channel: its program was removed, its file is complete.
    #[error("the sandbox's keeper has closed the channel: {0}")]
    Closed(String),
}

impl LinkError {
    /// Whether the keeper said that what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, LinkError::Refused(e) if e.code == ErrorCode::NotFound)
    }

    /// Whether the same could succeed later.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, LinkError::Lost(_) | LinkError::Closed(_) | LinkError::TimedOut { .. })
    }
}

impl From<LinkError> for WireError {
    /// For people at a terminal.
    fn from(error: LinkError) -> WireError {
        let message = error.to_string();
        match error {
            LinkError::Refused(error) => error,
            LinkError::Gone(_) => WireError::new(ErrorCode::SandboxLost, message),
            LinkError::TimedOut { .. } => WireError::new(ErrorCode::TimedOut, message).retryable(),
            LinkError::Lost(_) | LinkError::Protocol(_) | LinkError::Closed(_) => {
                WireError::new(ErrorCode::SandboxLost, message).retryable()
            }
        }
    }
}
