use std::time::Duration;

use lap_wire::control::{ErrorCode, WireError};

/// Why a keeper could not do it. The messages are safe to show.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeeperError {
    /// The connection ended, or was never there. What was asked may or may not have been done: every call can be sent
    /// again.
    #[error("the connection to the sandbox was lost: {0}")]
    Lost(String),
    /// The peer is no keeper this side can talk to, or broke the protocol. Operator's: the log has it.
    #[error("the sandbox's keeper broke the protocol: {0}")]
    Protocol(String),
    /// It did not answer in time; the connection may still be good.
    #[error("the sandbox's keeper did not answer {call} within {} s", after.as_secs())]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(WireError),
}

impl KeeperError {
    /// Whether the keeper said that what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, KeeperError::Refused(e) if e.code == ErrorCode::NotFound)
    }

    /// Whether a new connection to the same keeper could do it.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, KeeperError::Lost(_) | KeeperError::TimedOut { .. })
    }

    pub(super) fn lost(error: &std::io::Error) -> KeeperError {
        KeeperError::Lost(error.to_string())
    }
}
