//! Starting a keeper, and waiting until it listens.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::layout::Place;
use super::mark::Mark;
use crate::open_files;

/// How long a keeper may take to listen. It takes some 10 ms; on a machine that is very busy, seconds.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of its complaint that are passed on.
const MAX_WORDS: u64 = 16 * 1024;

/// Begins to start a keeper in the background. The process given back is only the one that starts it: it ends when the
/// keeper listens, or says why it does not.
fn launch(command: &[OsString], mark: &Mark, place: &Place) -> io::Result<Child> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let open_files = open_files::for_programs().map(|files| ["--open-files".to_owned(), files.to_string()]);
    Command::new(program)
        .args(arguments)
        .args(["run", "--detach", "--socket"])
        .arg(place.socket())
        .arg("--log")
        .arg(place.log())
        .args(open_files.iter().flatten())
        .current_dir(place.workspace())
        // A keeper passes nothing on of its own environment, and needs nothing but its mark.
        .env_clear()
        .envs(mark.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A Ctrl-C that ends a server in the foreground is not meant for the keeper that it is about to start.
        .process_group(0)
        .spawn()
}

/// A keeper that is being started. Whoever waits for it may give up; the next one goes on waiting for the same.
#[derive(Debug)]
pub(super) struct Launch(Mutex<State>);

#[derive(Debug)]
enum State {
    Starting(Child),
    Done(Result<(), String>),
}

impl Launch {
    /// Begins it.
    ///
    /// # Errors
    /// When the program cannot be started at all.
    pub(super) fn begin(command: &[OsString], mark: &Mark, place: &Place) -> io::Result<Launch> {
        Ok(Launch(Mutex::new(State::Starting(launch(command, mark, place)?))))
    }

    /// Waits until the keeper listens.
    ///
    /// # Errors
    /// Why it does not, in its own words.
    pub(super) async fn outcome(&self) -> Result<(), String> {
        let mut state = self.0.lock().await;
        let outcome = match &mut *state {
            State::Done(outcome) => return outcome.clone(),
            State::Starting(child) => launched(child).await,
        };
        *state = State::Done(outcome.clone());
        outcome
    }
}

async fn launched(child: &mut Child) -> Result<(), String> {
    let status = match tokio::time::timeout(LAUNCH_TIMEOUT, child.wait()).await {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(format!("its keeper cannot be waited for: {error}")),
        Err(_) => return Err(format!("its keeper did not listen within {} s", LAUNCH_TIMEOUT.as_secs())),
    };
    let mut said = Vec::new();
    if let Some(stderr) = &mut child.stderr {
        // What cannot be read is left out of the message.
        let _ = stderr.take(MAX_WORDS).read_to_end(&mut said).await;
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.trim();
    Err(if said.is_empty() { format!("its keeper ended at once ({status})") } else { said.to_owned() })
}
