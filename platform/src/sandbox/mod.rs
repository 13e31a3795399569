//! Where programs run. A runtime creates and deletes sandboxes and opens a byte stream to the keeper inside; all else
//! goes over that stream, so that two runtimes differ in nothing but this trait.

#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod local;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::model::Unsaved;

/// A sandbox's name: `s-<session id>` or `w-<warm id>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxName(pub String);

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The label that says which session's a sandbox is.
pub const SESSION_LABEL: &str = "lap.session";

/// Names its sandbox in the environment of every program of it, so that what a program left behind can be found.
pub const SANDBOX_VARIABLE: &str = "LAP_SANDBOX";
/// The variable that tells a sandbox's programs their session's id.
pub const SESSION_VARIABLE: &str = "SESSION_ID";
/// Says beside it where that sandbox is kept: those of a data directory and of its copy have the same names.
pub const SANDBOX_HOME_VARIABLE: &str = "LAP_SANDBOX_HOME";

/// How much of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// Lines from its end.
    pub lines: u32,
    /// None that is certainly older.
    pub within: Option<std::time::Duration>,
}

/// What a sandbox is made from. What makes a session that session is not here: it reaches the sandbox through its
/// keeper, so that a warm sandbox can serve any agent that uses its image.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Its name.
    pub name: SandboxName,
    /// The image; runtimes without images pass it over.
    pub image: Option<String>,
    /// What it may use.
    pub resources: crate::model::Resources,
    /// Found again by these.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// A sandbox as its runtime sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SandboxStatus {
    /// Its name.
    pub name: SandboxName,
    /// Where it stands.
    pub state: SandboxState,
    /// As in its spec.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Where a sandbox stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SandboxState {
    /// Not there yet; the detail is for people.
    Pending {
        /// What it waits for.
        detail: String,
    },
    /// Its keeper can be reached.
    Running,
    /// It cannot be seen now, which decides nothing: no file can be opened, a disk gives errors.
    Unknown {
        /// Why.
        detail: String,
    },
    /// It ended by itself or was taken away.
    Gone {
        /// Why: `killed by SIGKILL`, `evicted`, `out of memory`.
        reason: String,
    },
}

/// A byte stream to a keeper.
pub type KeeperStream = Box<dyn KeeperIo>;

/// What a [`KeeperStream`] can do.
pub trait KeeperIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> KeeperIo for T {}

/// A stream to a keeper that was made on one thread and is to be used on another.
pub enum Dialed {
    /// A connected socket of this machine, of no runtime yet: what the keeper sends then wakes the thread that uses it
    /// and no other, and the kernel tells at once when the keeper is gone.
    Socket(std::os::unix::net::UnixStream),
    /// Anything else, registered with the runtime it was made in.
    Stream(KeeperStream),
}

impl Dialed {
    /// The stream, for the runtime of this thread.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn into_stream(self) -> std::io::Result<KeeperStream> {
        Ok(match self {
            Dialed::Socket(socket) => Box::new(crate::unix_socket::Socket::new(socket)?),
            Dialed::Stream(stream) => stream,
        })
    }

    /// Whether the kernel ends the stream when the keeper dies, so that silence means nothing.
    #[must_use]
    pub fn is_same_machine(&self) -> bool {
        matches!(self, Dialed::Socket(_))
    }
}

/// A runtime for sandboxes. Every method can be called again without doing anything twice. What a runtime cannot see (a
/// directory that is away, an API that is silent) is `Unavailable`, never "not there".
#[async_trait]
pub trait SandboxRuntime: Send + Sync + 'static {
    /// `local` or `kubernetes`.
    fn kind(&self) -> &'static str;

    /// Whether nothing keeps a sandbox's programs from the rest of the machine.
    fn unconfined(&self) -> bool;

    /// Begins a sandbox; one of that name that is there already is left as it is. Returns before it runs.
    async fn create(&self, spec: &SandboxSpec) -> Result<(), SandboxError>;

    /// Waits until the sandbox runs, telling what it waits for.
    async fn wait_running(
        &self,
        name: &SandboxName,
        progress: &mpsc::Sender<SandboxState>,
    ) -> Result<(), SandboxError>;

    /// Ends it and removes all of it but its workspace; one that is not there is not an error.
    async fn delete(&self, name: &SandboxName) -> Result<(), SandboxError>;

    /// One sandbox. `None`: there is none of that name.
    async fn inspect(&self, name: &SandboxName) -> Result<Option<SandboxStatus>, SandboxError>;

    /// All of them.
    async fn list(&self) -> Result<Vec<SandboxStatus>, SandboxError>;

    /// Tells of every change of any sandbox from now on. At most one watcher at a time is served; a bounded queue,
    /// after an overflow [`SandboxEvent::Resync`].
    async fn watch(&self) -> Result<mpsc::Receiver<SandboxEvent>, SandboxError>;

    /// A new byte stream to its keeper, registered with the runtime (tokio's) of the caller.
    async fn connect(&self, name: &SandboxName) -> Result<KeeperStream, SandboxError> {
        let stream = self.dial(name).await?.into_stream();
        stream.map_err(|error| SandboxError::Unavailable(format!("its keeper cannot be reached: {error}")))
    }

    /// The same, to be used on another thread.
    async fn dial(&self, name: &SandboxName) -> Result<Dialed, SandboxError>;

    /// What the sandbox itself printed (the keeper's log, a container's).
    async fn logs(&self, name: &SandboxName, tail: Tail) -> Result<String, SandboxError>;

    /// How much of a sandbox's workspace is nowhere else, whether the sandbox is still there or not. `ours`: paths within
    /// it that the platform has put there.
    async fn unsaved(&self, name: &SandboxName, ours: &[String]) -> Result<Unsaved, SandboxError>;

    /// Where a sandbox's workspace is kept on this machine; `None`: it is not.
    fn workspace_path(&self, name: &SandboxName) -> Option<std::path::PathBuf>;

    /// The names of the workspaces there are, each named after the session it is of. They outlive sandboxes: a session
    /// that is brought up again goes on in its own.
    async fn workspaces(&self) -> Result<Vec<String>, SandboxError>;

    /// Removes a workspace that no sandbox uses; one that is not there is not an error.
    async fn erase_workspace(&self, workspace: &str) -> Result<(), SandboxError>;

    /// What every program of a sandbox has in its environment, so that what it leaves behind can be found.
    fn marks(&self, name: &SandboxName) -> Vec<(&'static str, String)> {
        vec![(SANDBOX_VARIABLE, name.0.clone())]
    }

    /// The home of a sandbox's programs, where it is the sandbox's own and not its user's.
    fn home(&self) -> Option<&'static str> {
        None
    }

    /// The directory programs start in, as seen inside the sandbox.
    fn workdir(&self, name: &SandboxName) -> String;
}

/// A change of a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SandboxEvent {
    /// It is now like this.
    Changed(SandboxStatus),
    /// It was removed.
    Removed(SandboxName),
    /// Changes may have been missed: list again.
    Resync,
}

/// Why a runtime could not do it. Messages are safe to show and say what to do.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no such sandbox.
    #[error("there is no sandbox {0}")]
    NotFound(SandboxName),
    /// It cannot come up, and trying again will not help.
    #[error("{0}")]
    Failed(String),
    /// It cannot be done now; try again.
    #[error("{0}")]
    Unavailable(String),
}
