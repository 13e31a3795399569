//! Finding the server that runs on this machine.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lap_platform::client::{AgentsQuery, Client};
use lap_platform::config::Config;
use lap_platform::secret::MasterKey;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;

use super::EmbedError;

/// What a running server writes down about itself, in the state directory.
const FILE: &str = "server.json";
/// The file a running server holds locked, in the data directory; its process id stands in it.
const LOCK: &str = "lap.lock";
/// The most that is read of either.
const MAX_BYTES: u64 = 4096;
/// A server on this machine that has not answered by then is stuck.
const ANSWER: Duration = Duration::from_secs(5);

/// A server of this user's that runs on this machine and answers.
#[derive(Clone, Debug)]
pub struct LocalServer {
    /// Its address.
    pub url: String,
    /// Its unix socket, if it has one.
    pub socket: Option<PathBuf>,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What opens its API.
    pub key: MasterKey,
}

/// What a server has written down about itself.
#[derive(Deserialize)]
pub(super) struct Announced {
    pub(super) url: String,
    pub(super) socket: Option<PathBuf>,
    pid: u32,
    version: String,
    /// Whether it was started in the background by whoever needed it, rather than by somebody who keeps it running.
    #[serde(default)]
    pub(super) background: bool,
}

/// The server that runs here, if one does. What a killed one left behind is recognised: its address answers no more,
/// or somebody else answers there, to whom our key means nothing.
///
/// # Errors
/// When it runs and does not answer, or its key cannot be read.
pub async fn find(config: &Config) -> Result<Option<LocalServer>, EmbedError> {
    let Some(announced) = read(&config.dirs.state) else { return Ok(None) };
    let configured = config.secrets.master_key.as_ref().map(|key| key.expose());
    let (key, _) = MasterKey::find_or_make(configured, &config.dirs.data)?;
    let Announced { url, socket, pid, version, .. } = announced;
    let silent = || EmbedError::Silent { pid, url: url.clone() };
    let client = Client::new(&url, Some(key.expose()))?;
    let one = AgentsQuery { limit: Some(1), ..AgentsQuery::default() };
    let holds_the_lock = holder(&config.dirs.data) == Some(pid) && is_running(pid);
    match tokio::time::timeout(ANSWER, client.agents(&one)).await {
        Ok(Ok(_)) => Ok(Some(LocalServer { url, socket, pid, version, key })),
        // It is ours and has troubles of its own, which the next request will tell.
        Ok(Err(error)) if error.status().is_some_and(|status| status >= 500) => {
            Ok(Some(LocalServer { url, socket, pid, version, key }))
        }
        Ok(Err(error)) if error.is_unreachable() && !holds_the_lock => Ok(None),
        Ok(Err(_)) if !holds_the_lock => Ok(None),
        Ok(Err(error)) if error.is_not_allowed() => Err(error.into()),
        Err(_) if !holds_the_lock => Ok(None),
        Ok(Err(_)) | Err(_) => Err(silent()),
    }
}

/// What a server of this machine has written down last, whether or not it still runs. One that was told to end has
/// taken it back.
pub(super) fn announcement(config: &Config) -> Option<Announced> {
    read(&config.dirs.state)
}

fn read(state: &Path) -> Option<Announced> {
    let mut text = String::new();
    std::fs::File::open(state.join(FILE)).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Which process last took the data directory.
fn holder(data: &Path) -> Option<u32> {
    let mut text = String::new();
    std::fs::File::open(data.join(LOCK)).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether this very process holds the data directory, and not one that happens to have its number: it has the lock
/// open.
pub(super) fn holds_data(config: &Config, pid: u32) -> bool {
    let Ok(lock) = std::fs::canonicalize(config.dirs.data.join(LOCK)) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == lock))
}

/// Whether a process runs. One that has ended and that nobody has asked for how (a zombie: containers often have a
/// first process that never does) does not.
fn is_running(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&at_once)), Ok(1))
}
