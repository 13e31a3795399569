//! Sandboxes on this machine: each a folder, and a detached keeper with the programs it runs.
//!
//! A keeper belongs to no server: it has its own session and process group, outlives the server that started it, and
//! is found again by the folder. Which process it is was recorded with its start time, so that nothing is ever sent to
//! another that got its pid. What it leaves behind is found by [`SANDBOX_VARIABLE`](super::SANDBOX_VARIABLE).

mod launch;
mod layout;
mod mark;
pub(crate) mod process;
mod state;
mod sweep;
mod unsaved;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lap_wire::keeper::Call;
use tokio::sync::mpsc;

use self::launch::Launch;
use self::layout::{Layout, Place};
use self::mark::Mark;
use self::process::ProcessId;
use self::watch::Watch;
use super::{
    Dialed, SandboxError, SandboxEvent, SandboxName, SandboxRuntime, SandboxSpec, SandboxState,
    SandboxStatus, Tail,
};
use crate::link::{CALL_TIMEOUT, LinkError, ask_once};
use crate::model::Unsaved;
use crate::unix_socket;

/// Between SIGTERM and SIGKILL for what still runs when a sandbox is removed. The harness has had its own grace before.
const REMOVAL_GRACE: Duration = Duration::from_secs(2);
/// How long a keeper may take to end after its programs have: as long as it waits for its readers, and a little. Then it
/// is killed.
const KEEPER_END: Duration = lap_keeper::LAST_WORDS_AT_MOST.saturating_add(Duration::from_secs(2));
/// The longest name, in characters: what Kubernetes allows too.
const MAX_NAME: usize = 63;

/// What a [`LocalRuntime`] needs to know.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The data directory; sandboxes are kept below it.
    pub data: PathBuf,
    /// The program that is a keeper, and its first arguments: this executable and `__keeper`, or a `lap-keeper`.
    pub keeper: Vec<OsString>,
}

impl LocalOptions {
    /// Keepers are this very program, started with the hidden subcommand `__keeper`.
    ///
    /// # Errors
    /// When the program does not know where it is.
    pub fn own_keeper(data: PathBuf) -> io::Result<LocalOptions> {
        Ok(LocalOptions { data, keeper: vec![std::env::current_exe()?.into(), "__keeper".into()] })
    }
}

/// The runtime for one machine.
#[derive(Clone, Debug)]
pub struct LocalRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    keeper: Vec<OsString>,
    watch: Watch,
    /// Held while a sandbox's folder is made, also when whoever asked for it has gone: a removal comes after it.
    making: Arc<tokio::sync::Mutex<()>>,
    /// Keepers being started, until somebody waits for them.
    starting: Mutex<HashMap<SandboxName, Arc<Launch>>>,
}

impl LocalRuntime {
    /// Opens the data directory. At most one server may do so at a time.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(options: LocalOptions) -> Result<LocalRuntime, SandboxError> {
        let LocalOptions { data, keeper } = options;
        let cannot =
            |error| SandboxError::Failed(format!("cannot keep sandboxes in {}: {error}", data.display()));
        let layout = Layout::open(&data).map_err(cannot)?;
        layout.sweep().map_err(cannot)?;
        let inner = Inner {
            layout,
            keeper,
            watch: Watch::default(),
            making: Arc::default(),
            starting: Mutex::default(),
        };
        Ok(LocalRuntime { inner: Arc::new(inner) })
    }

    fn place(&self, name: &SandboxName) -> Result<Place, SandboxError> {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.0.is_empty() || name.0.len() > MAX_NAME || !name.0.chars().all(fine) {
            return Err(SandboxError::NotFound(name.clone()));
        }
        Ok(self.inner.layout.place(name))
    }

    fn mark(&self, name: &SandboxName) -> Mark {
        Mark { name: name.clone(), home: self.inner.layout.home() }
    }

    /// Whether what is not seen is not there.
    fn seen(&self) -> Result<(), SandboxError> {
        self.inner.layout.check().map_err(|error| unavailable(&error))
    }

    /// Waits until a keeper that is being started listens; `None`: none is.
    async fn started(&self, name: &SandboxName) -> Option<Result<(), String>> {
        let starting = || self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let launch = starting().get(name).cloned()?;
        // Whoever waits may give up; it is found by the next one as long as this is not known.
        let outcome = launch.outcome().await;
        starting().remove(name);
        Some(outcome)
    }

    /// Connects, and makes sure that it is on record which process that is.
    async fn record_keeper(&self, name: &SandboxName, place: &Place) -> io::Result<()> {
        let stream = unix_socket::connect(&place.socket()).await?;
        // The credentials are those of the process that listens.
        let pid = stream.peer_cred()?.pid().ok_or_else(|| io::Error::other("its keeper has no pid here"))?;
        let keeper = ProcessId::of(pid).ok_or_else(|| io::Error::other("its keeper has just ended"))?;
        place.set_keeper(keeper.clone())?;
        self.inner.watch.keeper(name, &keeper, place.clone());
        Ok(())
    }

    /// Ends the keeper with all it runs; `None` of an answer is no error, the sweep ends what is left.
    async fn end_keeper(&self, name: &SandboxName, place: &Place) {
        // It may be about to listen: afterwards there is a keeper to be told, or none.
        let _ = self.started(name).await;
        let Ok(stream) = unix_socket::connect(&place.socket()).await else { return };
        let keeper = stream.peer_cred().ok().and_then(|peer| ProcessId::of(peer.pid()?));
        let call = Call::Shutdown { grace_ms: REMOVAL_GRACE.as_millis() as u64 };
        let within = REMOVAL_GRACE + CALL_TIMEOUT;
        match ask_once(Box::new(stream), "lap removal", call, within).await {
            // One that has ended instead of answering has done as it was told.
            Ok(_) | Err(LinkError::Lost(_)) => {}
            Err(error) => {
                tracing::warn!(sandbox = %name, %error, "a keeper would not shut down; it will be killed");
                return;
            }
        }
        if let Some(Ok(Some(process))) = keeper.map(|keeper| keeper.open()) {
            let _ = tokio::time::timeout(KEEPER_END, process.ended()).await;
        }
    }
}

/// Runs what touches the disk off the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SandboxError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| unavailable(&error)),
        Err(error) => Err(SandboxError::Unavailable(error.to_string())),
    }
}

fn unavailable(error: &io::Error) -> SandboxError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SandboxError::Unavailable(
            "the disk that holds the data directory is full, or has no inode left for one file more: make room there"
                .to_owned(),
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            SandboxError::Failed(format!("the data directory cannot be written to: {error}"))
        }
        _ => SandboxError::Unavailable(error.to_string()),
    }
}

fn status(name: SandboxName, place: &Place) -> Option<SandboxStatus> {
    match place.spec() {
        Ok(None) => None,
        Ok(Some(spec)) => Some(SandboxStatus { name, state: state::state_of(place), labels: spec.labels }),
        // After a power cut. One broken sandbox must not hide the others.
        Err(error) => {
            let state = state::unreadable("its description", &error);
            Some(SandboxStatus { name, state, labels: BTreeMap::new() })
        }
    }
}

/// Sandboxes of which nothing is left but processes, which nobody can reach: their folder was removed by other hands, or
/// by an earlier version that missed them.
fn without_folder(layout: &Layout) -> Vec<SandboxStatus> {
    let running = mark::running(&layout.home()).into_iter();
    let lost = running.filter(|name| !layout.place(name).exists());
    lost.map(|name| SandboxStatus {
        labels: layout::session_of(&name)
            .map(|session| (super::SESSION_LABEL.to_owned(), session.to_owned()))
            .into_iter()
            .collect(),
        state: SandboxState::Gone { reason: "its folder was removed".to_owned() },
        name,
    })
    .collect()
}

#[async_trait]
impl SandboxRuntime for LocalRuntime {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn unconfined(&self) -> bool {
        true
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let place = self.place(&spec.name)?;
        let (layout, wanted, at) = (self.inner.layout.clone(), spec.clone(), place.clone());
        let making = Arc::clone(&self.inner.making).lock_owned().await;
        let known = blocking(move || {
            let _making = making;
            layout.check()?;
            layout.make(&wanted)?;
            at.keeper()
        })
        .await?;
        if known.is_some() {
            return Ok(());
        }
        let mut starting = self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if !starting.contains_key(&spec.name) {
            let launch = Launch::begin(&self.inner.keeper, &self.mark(&spec.name), &place)
                .map_err(|error| SandboxError::Failed(format!("its keeper cannot be started: {error}")))?;
            starting.insert(spec.name.clone(), Arc::new(launch));
        }
        Ok(())
    }

    async fn wait_running(
        &self,
        name: &SandboxName,
        progress: &mpsc::Sender<SandboxState>,
    ) -> Result<(), SandboxError> {
        let place = self.place(name)?;
        let _ = progress.try_send(SandboxState::Pending { detail: "starting its keeper".to_owned() });
        let launched = self.started(name).await.unwrap_or(Ok(()));
        // Also after a failed launch: a keeper that an earlier server began to start may have been there first.
        match (self.record_keeper(name, &place).await, launched) {
            (Ok(()), _) => {
                let _ = progress.try_send(SandboxState::Running);
                Ok(())
            }
            (Err(_), Err(reason)) => Err(SandboxError::Failed(reason)),
            (Err(error), Ok(())) => match self.inspect(name).await? {
                None => Err(SandboxError::NotFound(name.clone())),
                Some(SandboxStatus { state: SandboxState::Gone { reason }, .. }) => {
                    Err(SandboxError::Failed(reason))
                }
                Some(_) => Err(SandboxError::Unavailable(format!("its keeper cannot be reached: {error}"))),
            },
        }
    }

    async fn delete(&self, name: &SandboxName) -> Result<(), SandboxError> {
        let Ok(place) = self.place(name) else { return Ok(()) };
        drop(self.inner.making.lock().await);
        self.seen()?;
        self.inner.watch.forget(name);
        // Also where the folder is gone: what runs is found by its mark.
        if place.exists() {
            self.end_keeper(name, &place).await;
        }
        let left = sweep::sweep(&self.mark(name)).await;
        if left > 0 {
            return Err(SandboxError::Unavailable(format!("{left} of its processes cannot be ended")));
        }
        let (layout, of) = (self.inner.layout.clone(), name.clone());
        blocking(move || layout.remove(&of)).await?;
        self.inner.watch.tell(SandboxEvent::Removed(name.clone()));
        Ok(())
    }

    async fn inspect(&self, name: &SandboxName) -> Result<Option<SandboxStatus>, SandboxError> {
        let Ok(place) = self.place(name) else { return Ok(None) };
        let (name, layout) = (name.clone(), self.inner.layout.clone());
        blocking(move || {
            // After the look: what was seen was there.
            let status = status(name, &place);
            layout.check()?;
            Ok(status)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, SandboxError> {
        let layout = self.inner.layout.clone();
        blocking(move || {
            layout.check()?;
            let names = layout.names()?.into_iter();
            let mut all: Vec<_> =
                names.filter_map(|name| status(name.clone(), &layout.place(&name))).collect();
            all.extend(without_folder(&layout));
            layout.check()?;
            Ok(all)
        })
        .await
    }

    async fn watch(&self) -> Result<mpsc::Receiver<SandboxEvent>, SandboxError> {
        let events = self.inner.watch.attach();
        let layout = self.inner.layout.clone();
        let keepers = blocking(move || {
            let mut keepers = Vec::new();
            for name in layout.names()? {
                let place = layout.place(&name);
                if let Ok(Some(keeper)) = place.keeper() {
                    keepers.push((name, keeper, place));
                }
            }
            Ok(keepers)
        })
        .await?;
        for (name, keeper, place) in keepers {
            self.inner.watch.keeper(&name, &keeper, place);
        }
        Ok(events)
    }

    async fn dial(&self, name: &SandboxName) -> Result<Dialed, SandboxError> {
        let place = self.place(name)?;
        let connected = unix_socket::connect(&place.socket()).await;
        match connected.and_then(tokio::net::UnixStream::into_std) {
            Ok(socket) => Ok(Dialed::Socket(socket)),
            Err(_) if !place.exists() => {
                Err(self.seen().err().unwrap_or(SandboxError::NotFound(name.clone())))
            }
            Err(error) => match state::state_of(&place) {
                SandboxState::Gone { reason } => Err(SandboxError::Failed(reason)),
                _ => Err(SandboxError::Unavailable(format!("its keeper cannot be reached: {error}"))),
            },
        }
    }

    async fn logs(&self, name: &SandboxName, tail: Tail) -> Result<String, SandboxError> {
        let place = self.place(name)?;
        if !place.exists() {
            return Err(self.seen().err().unwrap_or(SandboxError::NotFound(name.clone())));
        }
        blocking(move || state::tail(&place.log(), tail)).await
    }

    async fn unsaved(&self, name: &SandboxName, ours: &[String]) -> Result<Unsaved, SandboxError> {
        self.seen()?;
        unsaved::count(&self.inner.keeper, &self.place(name)?.workspace(), ours).await
    }

    fn workspace_path(&self, name: &SandboxName) -> Option<PathBuf> {
        Some(self.place(name).ok()?.workspace()).filter(|path| path.is_dir())
    }

    async fn workspaces(&self) -> Result<Vec<String>, SandboxError> {
        let layout = self.inner.layout.clone();
        blocking(move || layout.workspaces()).await
    }

    async fn erase_workspace(&self, workspace: &str) -> Result<(), SandboxError> {
        let (layout, workspace) = (self.inner.layout.clone(), workspace.to_owned());
        blocking(move || {
            layout.check()?;
            layout.erase(&workspace)
        })
        .await
    }

    fn marks(&self, name: &SandboxName) -> Vec<(&'static str, String)> {
        self.mark(name).variables().into()
    }

    fn workdir(&self, name: &SandboxName) -> String {
        self.inner.layout.place(name).workspace().to_string_lossy().into_owned()
    }
}
