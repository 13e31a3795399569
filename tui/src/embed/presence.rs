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
/// The file a running server holds locked, as it does the data directory it is in; its process id stands in it.
const LOCK: &str = "lap.lock";
/// The server's socket, in the data directory.
const SOCKET: &str = "server.sock";
/// How often it is looked whether a server that is there has written down where, each time for a moment only.
const LOOKS: u32 = 100;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
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
    let Some(announced) = announced(config).await? else { return Ok(None) };
    let configured = config.secrets.master_key.as_ref().map(|key| key.expose());
    let (key, _) = MasterKey::find_or_make(configured, &config.dirs.data)?;
    let Announced { url, socket, pid, version, .. } = announced;
    let silent = || EmbedError::Silent { pid, url: url.clone() };
    let client = Client::new(&url, Some(key.expose()))?;
    let one = AgentsQuery { limit: Some(1), ..AgentsQuery::default() };
    let holds_the_lock = is_running(pid) && holds_data(config, pid);
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

/// What the server has written down about itself. Where nothing is to be read although one is there, it has only just
/// been started, or somebody has removed the file: it writes it in a moment.
async fn announced(config: &Config) -> Result<Option<Announced>, EmbedError> {
    for _ in 0..LOOKS {
        if let Some(announced) = read(&config.dirs.state) {
            return Ok(Some(announced));
        }
        if holder(config).is_none() {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let socket = config.dirs.data.join(SOCKET).display().to_string();
    holder(config).map(|pid| Err(EmbedError::Silent { pid, url: socket })).transpose()
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

/// Which process holds the data directory: by what it has locked, so that it is found whatever was removed.
pub(super) fn holder(config: &Config) -> Option<u32> {
    let mut text = String::new();
    let lock = std::fs::File::open(config.dirs.data.join(LOCK));
    let signed = lock.and_then(|lock| lock.take(MAX_BYTES).read_to_string(&mut text));
    let signed = signed.ok().and_then(|_| text.trim().parse().ok());
    if let Some(pid) = signed.filter(|pid| holds_data(config, *pid)) {
        return Some(pid);
    }
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut pids = processes
        .flatten()
        .filter_map(|process| process.file_name().to_str().and_then(|pid| pid.parse().ok()));
    pids.find(|pid| holds_data(config, *pid))
}

/// Whether this very process holds the data directory, and not one that happens to have its number: it has the directory,
/// or the lock in it, open and locked.
pub(super) fn holds_data(config: &Config, pid: u32) -> bool {
    let Ok(data) = std::fs::canonicalize(&config.dirs.data) else { return false };
    let lock = data.join(LOCK);
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|fd| {
        let held = std::fs::read_link(fd.path()).is_ok_and(|file| file == data || file == lock);
        let number = fd.file_name();
        held && std::fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(number))
            .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")))
    })
}

/// Whether a process runs. One that has ended and that nobody has asked for how (a zombie: containers often have a
/// first process that never does) does not.
fn is_running(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&at_once)), Ok(1))
}
