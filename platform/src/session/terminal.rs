//! Where a session's terminal is, for whoever attaches to it.

use lap_wire::control::{ErrorCode, WireError};

use super::{SessionError, Sessions};
use crate::model::{SessionId, SessionStatus};
use crate::sandbox::SandboxName;
use crate::store::SessionRecord;

/// The program id of a session's harness terminal at its keeper.
pub const TERMINAL_PROGRAM: &str = "main";

/// Where a session's terminal is: what the hub needs to attach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terminal {
    /// Whose terminal it is.
    pub session: SessionId,
    /// The sandbox whose keeper has it.
    pub sandbox: SandboxName,
    /// The program's id at that keeper.
    pub program: String,
}

impl Sessions {
    /// Where a session's terminal is.
    ///
    /// # Errors
    /// `not_found`, `not_ready` or `sandbox_lost`, with a message for whoever wanted to attach.
    pub async fn resolve(&self, id: SessionId) -> Result<Terminal, WireError> {
        let record = self.inner.store.sessions().get(id).await.map_err(SessionError::of_session(id));
        let record = record.map_err(|error| match error {
            SessionError::NotFound(_) => WireError::new(ErrorCode::NotFound, error.to_string()),
            SessionError::Unavailable(message) | SessionError::Full(message) => {
                WireError::new(ErrorCode::Overloaded, message).retryable()
            }
            other => {
                tracing::error!(session = %id, error = %other, "a terminal cannot be looked up");
                WireError::new(
                    ErrorCode::Internal,
                    "the session cannot be looked up: the server's log has the cause",
                )
            }
        })?;
        if let Some(reason) = self.inner.table.get(id).and_then(|entry| entry.gone()) {
            return Err(WireError::new(
                ErrorCode::SandboxLost,
                format!("the session's sandbox is gone: {reason}"),
            ));
        }
        terminal(&record)
    }
}

fn terminal(record: &SessionRecord) -> Result<Terminal, WireError> {
    let not_ready = |message: String| WireError::new(ErrorCode::NotReady, message);
    let reason = record.death.as_ref().map(|death| format!(": {}", death.reason)).unwrap_or_default();
    match record.status {
        SessionStatus::Creating => {
            let detail =
                record.phase_detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            Err(not_ready(format!("the session is still coming up{detail}")).retryable())
        }
        SessionStatus::Dead => Err(not_ready(format!("the session has ended{reason}"))
            .with_hint("Restart it to get a new sandbox with the same configuration.")),
        SessionStatus::Failed => Err(not_ready(format!("the session did not come up{reason}"))
            .with_hint("Mend the cause, then restart it.")),
        SessionStatus::Ready => match (&record.sandbox, &record.program) {
            (Some(sandbox), Some(program)) => {
                Ok(Terminal { session: record.id, sandbox: sandbox.clone(), program: program.clone() })
            }
            _ => Err(not_ready("the session's harness has no terminal".to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Death, DeathCode};
    use crate::session::testing::record;

    #[test]
    fn only_a_ready_session_has_a_terminal_and_the_others_say_why_not() {
        let mut record = record();
        let coming = terminal(&record).unwrap_err();
        assert_eq!((coming.code, coming.retryable), (ErrorCode::NotReady, true));
        record.status = SessionStatus::Dead;
        record.death = Some(Death::new(DeathCode::Exited, "exited with status 3"));
        let dead = terminal(&record).unwrap_err();
        assert_eq!(dead.message, "the session has ended: exited with status 3");
        assert!(!dead.retryable);
        record.status = SessionStatus::Ready;
        assert_eq!(
            terminal(&record).unwrap_err().code,
            ErrorCode::NotReady,
            "without a sandbox there is none"
        );
        record.sandbox = Some(SandboxName("s-1".to_owned()));
        record.program = Some(TERMINAL_PROGRAM.to_owned());
        assert_eq!(terminal(&record).unwrap().program, TERMINAL_PROGRAM);
    }
}
