//! Starting this machine's server where it does not run.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lap_platform::config::Config;
use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::EmbedError;
use super::background::{SUBCOMMAND, Said};
use super::log::{LOG, last_lines};
use super::presence::{LocalServer, find};

/// A start that takes longer than this is worth a word to the person who waits.
const QUIET: Duration = Duration::from_secs(1);
/// A start that takes longer than this has failed: opening the store and taking over sessions takes far less.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line a starting server may say.
const MAX_LINE: u64 = 64 * 1024;
/// Lines of its log that are shown when it dies without a word.
const LAST_LINES: usize = 5;

/// The server of this machine, started where it does not run. `waiting` is called once if that takes longer than a
/// second.
///
/// # Errors
/// When it cannot be started; says why and what to do.
pub async fn ensure(config: &Config, waiting: impl FnOnce()) -> Result<LocalServer, EmbedError> {
    config.dirs.create()?;
    if let Some(server) = find(config).await? {
        return Ok(server);
    }
    started_in_turn(config, waiting).await.map(|started| started.server)
}

/// A server that was looked for in vain a moment ago.
pub(super) struct Started {
    pub(super) server: LocalServer,
    /// Whether it was us who started it, and not somebody else meanwhile.
    pub(super) started: bool,
}

/// [`ensure`] for those who know that none runs.
pub(super) async fn start_where_none_is(config: &Config) -> Result<Started, EmbedError> {
    config.dirs.create()?;
    started_in_turn(config, || ()).await
}

async fn started_in_turn(config: &Config, waiting: impl FnOnce()) -> Result<Started, EmbedError> {
    // Of several that start it at once one does, the others wait here and then find it.
    let turn = take_turn(config.dirs.state.join("start.lock")).await?;
    if let Some(server) = find(config).await? {
        return Ok(Started { server, started: false });
    }
    start(config, waiting).await?;
    drop(turn);
    let died = || EmbedError::Died { last: String::new(), log: config.dirs.state.join(LOG) };
    find(config).await?.map(|server| Started { server, started: true }).ok_or_else(died)
}

async fn take_turn(path: std::path::PathBuf) -> Result<File, EmbedError> {
    let doing = format!("cannot lock {}", path.display());
    let locked = tokio::task::spawn_blocking(move || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    match tokio::time::timeout(PATIENCE, locked).await {
        Ok(Ok(taken)) => taken.map_err(EmbedError::system(doing)),
        Ok(Err(_)) => Err(EmbedError::system(doing)(std::io::ErrorKind::Other.into())),
        Err(_) => Err(EmbedError::system(doing)(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn start(config: &Config, waiting: impl FnOnce()) -> Result<(), EmbedError> {
    let log = config.dirs.state.join(LOG);
    let cannot = || EmbedError::system("cannot start lap's server");
    let errors = OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(cannot())?;
    let mut command = Command::new(std::env::current_exe().map_err(cannot())?);
    command.arg(SUBCOMMAND);
    if let Some(file) = config.file() {
        command.arg(std::path::absolute(file).map_err(cannot())?);
    }
    // It must not keep the directory busy that it happened to be started in.
    command.current_dir(&config.dirs.data).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut child = command.spawn().map_err(cannot())?;
    let Some(stdout) = child.stdout.take() else {
        return Err(cannot()(std::io::ErrorKind::BrokenPipe.into()));
    };
    let said = said(stdout);
    tokio::pin!(said);
    let first = tokio::select! {
        said = &mut said => Some(said),
        () = tokio::time::sleep(QUIET) => None,
    };
    let said = match first {
        Some(said) => said,
        None => {
            waiting();
            let late = || EmbedError::Late { seconds: PATIENCE.as_secs(), log: log.clone() };
            tokio::time::timeout(PATIENCE, said).await.map_err(|_| late())?
        }
    };
    match said {
        Some(Said::Ready) => Ok(()),
        Some(Said::Fault(sentence)) => Err(EmbedError::Refused(sentence)),
        None => Err(EmbedError::Died { last: quoted(&log), log }),
    }
}

/// What a starting server says, or nothing where it dies first.
async fn said(stdout: tokio::process::ChildStdout) -> Option<Said> {
    let mut line = String::new();
    BufReader::new(stdout.take(MAX_LINE)).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

fn quoted(log: &Path) -> String {
    last_lines(log, LAST_LINES).into_iter().map(|line| format!("\n  | {line}")).collect()
}
