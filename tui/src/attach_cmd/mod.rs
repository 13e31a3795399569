//! `lap attach`: sessions' terminals in the terminal one is in.
//!
//! One session gets all of it: its bytes go to the outer terminal as they are, and the person's to the program, so
//! that nothing between them can get in the way (`single`). Several share it as panes ([`crate::panes`], `many`).

mod many;
mod outer;
#[cfg(test)]
mod outer_tests;
mod single;

use lap_platform::client::attach::{AttachClient, Locate};
use lap_wire::control::{ExitStatus, Mode, WireError};

use crate::panes::{PaneSession, PanesConfig};
use crate::terminal::{Clipboard, Reports, TerminalError};

/// What is attached, and how.
pub struct AttachOptions {
    /// Which sessions; at least one.
    pub sessions: Vec<PaneSession>,
    /// Only look.
    pub view: bool,
    /// How panes behave; the prefix and the colours count for a single session too.
    pub panes: PanesConfig,
    /// What the terminal is asked to report for several sessions.
    pub reports: Reports,
    /// Where copied text goes.
    pub clipboard: Clipboard,
    /// What other viewers see.
    pub name: String,
    /// Where the server is.
    pub locate: Locate,
}

impl AttachOptions {
    fn mode(&self) -> Mode {
        if self.view { Mode::View } else { Mode::Interact }
    }
}

/// How attaching has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The person left; sessions go on.
    Left,
    /// The program has ended.
    Exited(ExitStatus),
    /// The channel was closed, with this reason.
    Closed(String),
}

/// Why attaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No session was named.
    #[error("name at least one session: `lap sessions` lists them")]
    NoSession,
    /// The terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
    /// The server refuses. Its code says which exit code fits.
    #[error("{}", with_hint(.0))]
    Refused(WireError),
    /// A signal asked lap to end; sessions go on.
    #[error("ended by a signal; the session goes on")]
    Signal,
}

fn with_hint(error: &WireError) -> String {
    match &error.hint {
        Some(hint) => format!("{}: {hint}", error.message),
        None => error.message.clone(),
    }
}

impl From<std::io::Error> for AttachError {
    fn from(error: std::io::Error) -> AttachError {
        AttachError::Terminal(error.into())
    }
}

/// Attaches until the person leaves or the program ends; then the terminal is as it was found, and a line says what
/// became of the session. Everything happens in this one task: on a current-thread runtime a key goes from the
/// terminal to the socket without waking anybody else.
///
/// # Errors
/// There is no terminal, or the server refuses for good. A server that cannot be reached is tried again for as long as
/// the person waits.
pub async fn run(mut options: AttachOptions) -> Result<Ending, AttachError> {
    let nowhere: Locate = Box::new(|| Box::pin(std::future::ready(Err(String::new()))));
    let locate = std::mem::replace(&mut options.locate, nowhere);
    let client = AttachClient::new(options.name.clone(), locate);
    match options.sessions.len() {
        0 => Err(AttachError::NoSession),
        1 => single::run(&options, client).await,
        _ => many::run(&options, client).await,
    }
}

/// [`run`] on a runtime of its own, for callers that have none.
///
/// # Errors
/// As [`run`], or the system has no resources for a runtime.
pub fn run_blocking(options: AttachOptions) -> Result<Ending, AttachError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(options))
}

/// The exit code for `--exit-status`: the program's own, or 128 and the signal's number as shells have it.
#[must_use]
pub fn exit_code(status: &ExitStatus) -> u8 {
    u8::try_from(status.shell_code() & 0xff).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_programs_as_a_shell_would_say_it() {
        let status =
            |code, signal: Option<&str>| ExitStatus { code, signal: signal.map(str::to_owned), at_ms: 0 };
        assert_eq!(exit_code(&status(Some(0), None)), 0);
        assert_eq!(exit_code(&status(Some(7), None)), 7);
        assert_eq!(exit_code(&status(None, Some("SIGKILL"))), 137);
        assert_eq!(exit_code(&status(None, Some("SIGTERM"))), 143);
        assert_eq!(exit_code(&status(None, Some("SIGWEIRD"))), 128);
    }
}
