//! The server from its start to its end, as one story: configuration → store → runtime → sessions → connections →
//! wait → drain.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lap_platform::config::{Config, DirsError};
use lap_platform::harness::CatalogFaults;
use lap_platform::sandbox::SandboxError;
use lap_platform::sandbox::local::{LocalOptions, LocalRuntime};
use lap_platform::secret::{KeyError, Keyring, MasterKey, SecretBox, SecretKey, TtyTokens};
use lap_platform::session::{SessionError, Sessions, SessionsParts};
use lap_platform::store::{Store, StoreError};
use lap_platform::unix_socket;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent_form::Defaults;
use crate::data_lock::{DataLock, LockError};
use crate::directory::SessionDirectory;
use crate::hub::{self, HubConfig, RecordingConfig};
use crate::idempotency::AtWork;
use crate::limits::Slots;
use crate::listen::{self, Policy};
use crate::metrics::Metrics;
use crate::openapi::{BadDocument, Harnesses};
use crate::origin::Origins;
use crate::presence::{self, Presence};
use crate::schema::Schemas;
use crate::state::{AppState, Parts};
use crate::{openapi, routes, watcher};

/// Bodies over the ordinary limit that are read at a time: each can take 70 MiB of memory.
const LARGE_BODIES: usize = 2;

/// Recordings that are read at a time: each can take 64 MiB of memory, and a core for a second.
const READ_RECORDINGS: usize = 4;

/// In the data directory: the socket for programs of this user on this machine, a shorter way than TCP.
const SOCKET: &str = "server.sock";

/// What is not configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The program that is a keeper, and its first arguments; this very program with `__keeper` when absent.
    pub keeper: Option<Vec<OsString>>,
    /// Whether it was started in the background by a client that needed it: one like it may start it again if it dies.
    pub background: bool,
}

/// Why the server does not start. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No place for its files.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// The data directory cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No sandboxes.
    #[error(transparent)]
    Sandboxes(#[from] SandboxError),
    /// Harnesses that are not what they should be.
    #[error("the harnesses as configured have faults:\n{0}")]
    Harnesses(#[from] CatalogFaults),
    /// The sessions could not be taken over.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// Nobody could connect.
    #[error("cannot listen on {address}: {cause}. {}", listen_advice(cause))]
    Listen {
        /// Where.
        address: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// Nobody could find it.
    #[error("cannot write {}/{}: {cause}. Make it writable, or set LAP_STATE_DIR to another directory",
        dir.display(), presence::FILE)]
    Presence {
        /// The state directory.
        dir: std::path::PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// A fault of this program.
    #[error(transparent)]
    Document(#[from] BadDocument),
    /// The system refuses something a server cannot do without.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
}

fn listen_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "Something listens there already: stop it, or set PORT to another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges: set PORT to a higher one",
        _ => "Check BIND_HOST and PORT",
    }
}

/// Runs a server until `shutdown` comes true, then lets go of its clients. Sandboxes keep running.
///
/// # Errors
/// When it does not start; once it has, it ends well.
pub async fn run(
    config: Config,
    options: RunOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let server = Server::start(config, options).await?;
    shutdown.await;
    server.stop().await;
    Ok(())
}

/// SIGTERM or SIGINT.
///
/// # Errors
/// When the system does not let signals be waited for.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    state: AppState,
    hub_thread: std::thread::JoinHandle<()>,
    store: Store,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
    presence: Presence,
    _lock: DataLock,
}

impl Server {
    /// Starts one; when this returns it answers.
    ///
    /// # Errors
    /// When anything it needs cannot be had.
    pub async fn start(config: Config, options: RunOptions) -> Result<Server, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        config.dirs.create()?;
        let lock = DataLock::take(&config.dirs.data)?;
        // Before anything runs that would have to be ended again: the port may be somebody else's.
        let listener = bind(&config).await?;
        let (master_key, secret_key) = keys(&config)?;
        let store = Store::open(config.database_url.expose(), SecretBox::new(&secret_key)).await?;
        let runtime = LocalRuntime::open(local_options(&config, options.keeper)?)?;
        // Nobody else is on this data directory: what was at work under a key was cut off.
        store.idempotency().abandon_all().await?;
        let parts = SessionsParts::of(&config, store.clone(), Arc::new(runtime))?;
        let sessions = Sessions::start(parts).await?;
        let directory = Arc::new(SessionDirectory::new(sessions.clone()));
        let (hub, hub_thread) = hub::start(hub_config(&config), directory)
            .map_err(|cause| system("the terminals' thread", cause))?;
        let address = listener.local_addr().map_err(|cause| system("the listening address", cause))?;
        let url = presence::local_url(address);

        let metrics = Arc::new(Metrics::new());
        let stopping = CancellationToken::new();
        metrics.register(|registry| hub.metrics().register(registry));
        let (routes, gathered) = routes::gather();
        let agent_defaults = Defaults {
            harness_id: config.sessions.harness.clone(),
            model: config.gateway.default_model.clone(),
            idle_timeout_seconds: config.sessions.idle_timeout.as_secs(),
        };
        let document = openapi::document(&gathered, &harnesses(&sessions, &agent_defaults))?;
        let state = AppState::new(Parts {
            origins: origins(&config, &url),
            limits: config.limits.clone(),
            master_key,
            tty_tokens: TtyTokens::new(&secret_key),
            store: store.clone(),
            sessions,
            hub: hub.clone(),
            agent_defaults,
            at_work: AtWork::default(),
            tasks: TaskTracker::new(),
            schemas: Schemas::new(&document),
            document: document.to_string().into(),
            event_streams: Slots::new("event streams", config.limits.event_streams)
                .counted(&metrics.event_streams),
            large_bodies: Slots::new("large requests", LARGE_BODIES),
            recordings: Slots::new("recordings being read", READ_RECORDINGS),
            metrics: Arc::clone(&metrics),
            stopping: stopping.clone(),
        });
        let policy = Policy {
            slots: Slots::new("connections", config.limits.connections).counted(&metrics.connections),
            header_timeout: config.limits.header_timeout,
            drain: config.limits.drain,
        };
        let router = routes.into_router(state.clone());
        let mut tasks = JoinSet::new();
        let beside = config.dirs.data.join(SOCKET);
        let local = unix_socket::listen(&beside)
            .map_err(|cause| StartError::Listen { address: beside.display().to_string(), cause })?;
        tasks.spawn(listen::serve(listener, router.clone(), policy.clone(), stopping.clone()));
        tasks.spawn(listen::serve(local, router, policy, stopping.clone()));
        tasks.spawn(watcher::watch(state.clone()));
        let presence = Presence::announce(&config.dirs.state, &url, &beside, options.background)
            .map_err(|cause| StartError::Presence { dir: config.dirs.state.clone(), cause })?;
        tracing::info!(%url, data = %config.dirs.data.display(), "listening");
        Ok(Server { address, state, hub_thread, store, stopping, tasks, presence, _lock: lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers see.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Lets go: viewers are told to come back, open requests finish within the grace, the store is closed.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        // Whoever looks for a server from now on is to start another.
        drop(self.presence);
        self.state.hub().drain().await;
        if !matches!(tokio::task::spawn_blocking(|| self.hub_thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the terminals' thread did not end well");
        }
        self.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.state.parts().tasks.close();
        self.state.parts().tasks.wait().await;
        self.state.sessions().shutdown().await;
        self.store.close().await;
        tracing::info!("stopped; sandboxes keep running");
    }
}

fn keys(config: &Config) -> Result<(MasterKey, SecretKey), StartError> {
    let configured = |key: &Option<lap_platform::secret::SecretText>| key.clone();
    let master = configured(&config.secrets.master_key);
    let (master_key, origin) =
        MasterKey::find_or_make(master.as_ref().map(|key| key.expose()), &config.dirs.data)?;
    tracing::debug!(?origin, "the master key");
    let keyring = config.secrets.keyring.then(|| Keyring::of(&config.environment)).flatten();
    let encryption = configured(&config.secrets.encryption_key);
    let (secret_key, origin) = SecretKey::find_or_make(
        encryption.as_ref().map(|key| key.expose()),
        keyring.as_ref(),
        &config.dirs.data,
    )?;
    tracing::debug!(?origin, "the encryption key");
    Ok((master_key, secret_key))
}

fn local_options(config: &Config, keeper: Option<Vec<OsString>>) -> Result<LocalOptions, StartError> {
    let data = config.dirs.data.clone();
    match keeper {
        Some(keeper) => Ok(LocalOptions { data, keeper }),
        None => LocalOptions::own_keeper(data).map_err(|cause| system("this program's own path", cause)),
    }
}

fn hub_config(config: &Config) -> HubConfig {
    let recording = config.recording.enabled.then(|| RecordingConfig {
        directory: config.dirs.data.join("recordings"),
        max_bytes: config.recording.session_bytes,
    });
    HubConfig { max_connections: config.limits.attach_sockets, recording }
}

async fn bind(config: &Config) -> Result<TcpListener, StartError> {
    let (host, port) = (config.server.bind_host.as_str(), config.server.port);
    TcpListener::bind((host, port))
        .await
        .map_err(|cause| StartError::Listen { address: format!("{host}:{port}"), cause })
}

fn origins(config: &Config, url: &str) -> Origins {
    let own = config.server.base_url.as_deref().unwrap_or(url);
    Origins::new(std::iter::once(own).chain(config.server.allowed_origins.iter().map(String::as_str)))
}

fn harnesses(sessions: &Sessions, defaults: &Defaults) -> Harnesses {
    let catalog = sessions.catalog();
    Harnesses {
        ids: catalog.ids().into_iter().map(str::to_owned).collect(),
        without_model: catalog
            .iter()
            .filter(|harness| defaults.model_of(harness).is_some())
            .map(|harness| harness.id.clone())
            .collect(),
        default: defaults.harness_id.clone(),
    }
}

fn system(what: &'static str, cause: io::Error) -> StartError {
    StartError::System { what, cause }
}
