//! What can be found out about a session: of its sandbox, its program and what that printed.

use std::time::Duration;

use lap_platform::model::{DeathCode, HarnessEvidence, SandboxEvidence, Session};
use lap_platform::sandbox::{SandboxName, SandboxState};
use lap_platform::session::{Sessions, TERMINAL_PROGRAM};
use lap_wire::control::ExitStatus;
use lap_wire::keeper::Program;
use lap_wire::signals::signal_of_shell_code;
use tokio::time::timeout;

use crate::recording::{RecordingReader, Transcript};

/// Lines of the terminal that a diagnosis shows.
const LAST_LINES: usize = 200;

/// What the runtime knows of the session's sandbox.
pub(super) async fn sandbox(sessions: &Sessions, session: &Session, patience: Duration) -> SandboxEvidence {
    let Some(name) = &session.task_arn else { return SandboxEvidence::default() };
    let blank = SandboxEvidence { name: Some(name.clone()), ..SandboxEvidence::default() };
    let name = SandboxName(name.clone());
    match timeout(patience, sessions.runtime().inspect(&name)).await {
        Ok(Ok(Some(status))) => SandboxEvidence {
            present: !matches!(status.state, SandboxState::Gone { .. }),
            state: Some(match status.state {
                SandboxState::Pending { detail } => format!("pending: {detail}"),
                SandboxState::Running => "running".to_owned(),
                SandboxState::Unknown { detail } => format!("unknown: {detail}"),
                SandboxState::Gone { reason } => format!("gone: {reason}"),
            }),
            ..blank
        },
        Ok(Ok(None)) => SandboxEvidence { state: Some("gone".to_owned()), ..blank },
        Ok(Err(error)) => SandboxEvidence { error: Some(error.to_string()), ..blank },
        Err(_) => SandboxEvidence { error: Some(slow("the runtime", patience)), ..blank },
    }
}

/// What the keeper knows of the program; nothing where the session has no sandbox to ask.
pub(super) async fn program(
    sessions: &Sessions,
    session: &Session,
    patience: Duration,
) -> Option<Result<Program, String>> {
    let name = SandboxName(session.task_arn.clone().filter(|_| session.status.is_live())?);
    let ask = async {
        let programs = sessions.keeper(&name).programs().await.map_err(|error| error.to_string())?;
        let found = programs.into_iter().find(|program| program.id == TERMINAL_PROGRAM);
        found.ok_or_else(|| "the program has not been started".to_owned())
    };
    Some(timeout(patience, ask).await.unwrap_or_else(|_| Err(slow("the keeper", patience))))
}

/// What the terminal printed.
pub(super) async fn transcript(
    recordings: &RecordingReader,
    session: &Session,
    patience: Duration,
) -> Result<Transcript, String> {
    match timeout(patience, recordings.transcript(session.id)).await {
        Ok(Ok(transcript)) => Ok(transcript),
        Ok(Err(error)) => {
            tracing::warn!(?error, "a recording cannot be read");
            Err("the recording cannot be read; the server's log has the cause".to_owned())
        }
        Err(_) => Err(slow("the recording", patience)),
    }
}

fn slow(what: &str, patience: Duration) -> String {
    format!("{what} did not answer within {} s", patience.as_secs())
}

/// The program, as keeper and recording tell it together.
pub(super) fn harness(
    session: &Session,
    program: Option<Result<Program, String>>,
    transcript: Result<Transcript, String>,
) -> HarnessEvidence {
    let mut harness = HarnessEvidence::default();
    let mut recorded = None;
    match transcript {
        Ok(transcript) => {
            recorded = transcript.exit_code;
            let skip = transcript.lines.len().saturating_sub(LAST_LINES);
            harness.last_output = transcript.lines.into_iter().skip(skip).collect();
        }
        Err(error) => harness.error = Some(error),
    }
    let by_signal = session.death == Some(DeathCode::Killed);
    harness.exit_status = session.exit_code.or(recorded).map(|code| match signal_of_shell_code(code) {
        Some(signal) if by_signal => signal,
        _ => format!("exit code {code}"),
    });
    match program {
        Some(Ok(program)) => {
            harness.alive = program.exit.is_none();
            harness.pid = Some(program.pid);
            harness.exit_status = program.exit.as_ref().map(in_words);
        }
        Some(Err(error)) => harness.error = Some(error),
        None => {}
    }
    harness
}

fn in_words(exit: &ExitStatus) -> String {
    match (&exit.code, &exit.signal) {
        (_, Some(signal)) => signal.clone(),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "ended".to_owned(),
    }
}
