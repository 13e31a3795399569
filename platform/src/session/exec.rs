//! Commands run in a session's sandbox, beside its harness.

use std::sync::Arc;
use std::time::Duration;

use lap_wire::control::{ErrorCode, ExitStatus};
use uuid::Uuid;

use super::{Inner, SessionError};
use crate::link::{LinkError, Run};
use crate::model::{ExecRequest, ExecResult, SessionId, SessionStatus, validate};

/// How long a command may take when the request does not say.
const DEFAULT_SECONDS: u32 = 60;
/// Bytes kept of each of a command's outputs: what fits an answer.
const MAX_OUTPUT: usize = 1024 * 1024;
/// Shells say so when a signal ended a program: this and its number.
const SIGNALLED: i32 = 128;

impl Inner {
    pub(super) async fn exec(
        self: &Arc<Inner>,
        id: SessionId,
        request: ExecRequest,
    ) -> Result<ExecResult, SessionError> {
        validate::exec(&request).map_err(SessionError::Invalid)?;
        let record = self.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        let (SessionStatus::Ready, Some(sandbox)) = (record.status, &record.sandbox) else {
            return Err(SessionError::Conflict(format!(
                "the session is {}: commands can be run while it is ready",
                record.status.as_str()
            )));
        };
        let agent = self.store.agents().last_state(record.agent_id).await;
        let agent = agent.map_err(SessionError::of_agent(record.agent_id))?.agent;
        let asked = self.store.sessions().request(id).await.map_err(SessionError::of_session(id))?;
        let harness = self.catalog.get(&agent.harness_id).ok_or_else(|| {
            SessionError::Conflict(format!("there is no harness {} any more", agent.harness_id))
        })?;
        let keeper = self.links.keeper(sandbox);
        let timeout = Duration::from_secs(request.timeout_seconds.unwrap_or(DEFAULT_SECONDS).into());
        let run = Run {
            id: format!("exec-{}", Uuid::new_v4().simple()),
            argv: request.command,
            env: self.environment(&record, &agent, harness, &asked.env_vars, sandbox),
            cwd: self.workdir(&agent, sandbox),
            stdin: request.stdin.unwrap_or_default().into_bytes(),
            keep: MAX_OUTPUT,
            timeout,
        };
        let output = keeper.run_once(run).await.map_err(explain)?;
        let mut stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.timed_out {
            stderr.push_str(&format!("\nended after {} s, the time it was given\n", timeout.as_secs()));
        }
        Ok(ExecResult {
            exit_code: exit_code(&output.exit),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr,
            truncated: output.truncated,
        })
    }
}

fn explain(error: LinkError) -> SessionError {
    match error {
        LinkError::Refused(refused) => match refused.code {
            ErrorCode::Overloaded => SessionError::Unavailable(
                "too many commands run in this session at once: wait until one has ended".to_owned(),
            ),
            ErrorCode::StartFailed => SessionError::CannotStart(refused.to_string()),
            _ => SessionError::Sandbox(refused.to_string()),
        },
        other => SessionError::from(other),
    }
}

fn exit_code(exit: &ExitStatus) -> i32 {
    match (exit.code, &exit.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal_number(signal).unwrap_or(0),
        (None, None) => SIGNALLED,
    }
}

/// The number of a signal that can end a program, on Linux.
fn signal_number(name: &str) -> Option<i32> {
    const NUMBERS: [(&str, i32); 16] = [
        ("SIGHUP", libc::SIGHUP),
        ("SIGINT", libc::SIGINT),
        ("SIGQUIT", libc::SIGQUIT),
        ("SIGILL", libc::SIGILL),
        ("SIGTRAP", libc::SIGTRAP),
        ("SIGABRT", libc::SIGABRT),
        ("SIGBUS", libc::SIGBUS),
        ("SIGFPE", libc::SIGFPE),
        ("SIGKILL", libc::SIGKILL),
        ("SIGUSR1", libc::SIGUSR1),
        ("SIGSEGV", libc::SIGSEGV),
        ("SIGUSR2", libc::SIGUSR2),
        ("SIGPIPE", libc::SIGPIPE),
        ("SIGALRM", libc::SIGALRM),
        ("SIGTERM", libc::SIGTERM),
        ("SIGSYS", libc::SIGSYS),
    ];
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_as_shells_tell_it() {
        let exit = |code, signal: Option<&str>| {
            exit_code(&ExitStatus { code, signal: signal.map(str::to_owned), at_ms: 0 })
        };
        assert_eq!(exit(Some(3), None), 3);
        assert_eq!(exit(None, Some("SIGKILL")), 137);
        assert_eq!(exit(None, Some("SIGTERM")), 143);
        assert_eq!(exit(None, Some("SIGRTMIN+3")), 128);
    }
}
