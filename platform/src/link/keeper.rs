//! A sandbox's keeper, for any thread: its calls. Channels, files and programs run to completion are beside it.

use std::time::Duration;

use lap_wire::keeper::{Call, Info, Program, ProgramSpec, Reply};

use super::{CALL_TIMEOUT, LinkError, Links};
use crate::sandbox::SandboxName;

/// The keeper of one sandbox. It is no connection: that is made when something is asked, and shared by all who ask.
/// Everything here may be dropped while it waits, and asked again.
#[derive(Clone, Debug)]
pub struct Keeper {
    links: Links,
    sandbox: SandboxName,
}

impl Keeper {
    pub(super) fn new(links: Links, sandbox: SandboxName) -> Keeper {
        Keeper { links, sandbox }
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// Whose keeper it is.
    #[must_use]
    pub fn sandbox(&self) -> &SandboxName {
        &self.sandbox
    }

    /// Starts a program, or finds it started already under that id.
    ///
    /// # Errors
    /// `Refused` with `start_failed` when it cannot be started; the message says why.
    pub async fn start(&self, spec: ProgramSpec) -> Result<Program, LinkError> {
        match self.call(Call::Start(spec), CALL_TIMEOUT).await? {
            Reply::Started(program) => Ok(program),
            other => Err(unexpected("start", &other)),
        }
    }

    /// All programs.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn programs(&self) -> Result<Vec<Program>, LinkError> {
        match self.call(Call::Programs, CALL_TIMEOUT).await? {
            Reply::Programs { programs } => Ok(programs),
            other => Err(unexpected("programs", &other)),
        }
    }

    /// How the keeper is.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn info(&self) -> Result<Info, LinkError> {
        match self.call(Call::Info, CALL_TIMEOUT).await? {
            Reply::Info(info) => Ok(info),
            other => Err(unexpected("info", &other)),
        }
    }

    /// Sends a signal (a name like `SIGINT`) to a program's process group.
    ///
    /// # Errors
    /// `Refused` with `not_found` or `bad_signal`.
    pub async fn signal(&self, id: &str, signal: &str) -> Result<(), LinkError> {
        let call = Call::Signal { id: id.to_owned(), signal: signal.to_owned() };
        done("signal", self.call(call, CALL_TIMEOUT).await?)
    }

    /// Ends a program: SIGTERM, after `grace` SIGKILL to its group. Returns when it is gone.
    ///
    /// # Errors
    /// `Refused` with `not_found`.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), LinkError> {
        let call = Call::Stop { id: id.to_owned(), grace_ms: millis(grace) };
        done("stop", self.call(call, grace + CALL_TIMEOUT).await?)
    }

    /// Forgets a program that has ended, its output and its exit status. One that is not there is not an error: it was
    /// asked before.
    ///
    /// # Errors
    /// `Refused` when it has not ended.
    pub async fn remove(&self, id: &str) -> Result<(), LinkError> {
        match self.call(Call::Remove { id: id.to_owned() }, CALL_TIMEOUT).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => done("remove", other?),
        }
    }

    /// Ends every program as [`Keeper::stop`] does, then the keeper. Returns when it has answered or is not there any
    /// more, which is how it answers at the latest.
    ///
    /// # Errors
    /// When it neither answers nor ends in time.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), LinkError> {
        match self.call(Call::Shutdown { grace_ms: millis(grace) }, grace + CALL_TIMEOUT).await {
            Err(LinkError::Lost(_) | LinkError::Gone(_)) => Ok(()),
            other => done("shutdown", other?),
        }
    }

    /// Asks the keeper for something, within a time that includes connecting.
    ///
    /// # Errors
    /// `Refused` when it cannot, else when there is no answer.
    pub async fn call(&self, call: Call, within: Duration) -> Result<Reply, LinkError> {
        let sandbox = self.sandbox.clone();
        self.links.run(move |links| async move { links.link(&sandbox).call(call, within).await }).await
    }
}

fn done(call: &str, reply: Reply) -> Result<(), LinkError> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(call, &other)),
    }
}

fn unexpected(call: &str, reply: &Reply) -> LinkError {
    LinkError::Protocol(format!("it answered {call} with {reply:?}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
