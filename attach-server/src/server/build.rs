//! From a configuration to all parts of a server, none of which runs yet but the sessions' and the terminals' own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use lap_platform::config::{Config, Runtime};
use lap_platform::link::Links;
#[cfg(not(feature = "kubernetes"))]
use lap_platform::sandbox::SandboxError;
use lap_platform::sandbox::SandboxRuntime;
#[cfg(feature = "kubernetes")]
use lap_platform::sandbox::kube::KubeRuntime;
use lap_platform::sandbox::local::{LocalOptions, LocalRuntime};
use lap_platform::secret::{AgentTokens, Keyring, MasterKey, SecretBox, SecretKey, TtyTokens};
use lap_platform::session::{AgentTools, Sessions, SessionsParts};
use lap_platform::store::Store;
use tokio::net::TcpListener;

use super::drain::Drain;
use super::error::{StartError, system};
use super::{RunOptions, Server};
use crate::agent_form::Defaults;
use crate::changes::Changes;
use crate::data_lock::DataLock;
use crate::http::auth::Keys;
use crate::http::extract::BodyLimits;
use crate::http::idempotency::{AtWork, Requests};
use crate::http::limits::Slots;
use crate::http::listen::{self, Policy};
use crate::http::origin::Origins;
use crate::http::schema::Schemas;
use crate::hub::{self, HubConfig, HubHandle, RecordingConfig};
use crate::landmarks::{self, LocalSocket};
use crate::metrics::Metrics;
use crate::openapi::Harnesses;
use crate::presence::{self, Presence};
use crate::recording::{Recorded, RecordingReader};
use crate::session_terminals::SessionTerminals;
use crate::state::{AppState, Document, EventStreams, Parts, RequestTimeout};
use crate::watcher::Watcher;
use crate::{mcp, openapi, routes};

/// Bodies over the ordinary limit that are read at a time: each can take 70 MiB of memory.
const LARGE_BODIES: usize = 2;
/// Recordings that are read at a time: each can take 64 MiB of memory, and a core for a second.
const READ_RECORDINGS: usize = 4;
/// In the data directory: the socket for programs of this user on this machine, a shorter way than TCP.
const SOCKET: &str = "server.sock";

/// A server that is ready to run.
pub(super) struct Built {
    config: Config,
    background: bool,
    lock: DataLock,
    listener: TcpListener,
    local: LocalSocket,
    address: SocketAddr,
    router: Router,
    policy: Policy,
    changes: Changes,
    watcher: Watcher,
    store: Store,
    sessions: Sessions,
    hub: HubHandle,
    hub_thread: JoinHandle<()>,
    links: Links,
    drain: Drain,
}

/// The platform's own MCP server: this very program, told where to find this server.
fn own_tools(config: &Config, keeper: Option<&OsString>, tokens: AgentTokens) -> Option<AgentTools> {
    let program = keeper.map(PathBuf::from).or_else(|| std::env::current_exe().ok())?;
    let program = program.into_os_string().into_string().ok()?;
    let place = config.dirs.state.join(presence::FILE).into_os_string().into_string().ok()?;
    Some(AgentTools { command: vec![program, mcp::SUBCOMMAND.to_owned(), place], tokens })
}

/// Makes everything a server needs.
///
/// # Errors
/// When anything of it cannot be had.
pub(super) async fn build(config: Config, options: RunOptions) -> Result<Built, StartError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    config.dirs.create()?;
    let lock = DataLock::take(&config.dirs.data)?;
    // Before anything runs that would have to be ended again: the port may be somebody else's.
    let listener = bind(&config).await?;
    let address = listener.local_addr().map_err(|cause| system("the listening address", cause))?;
    let (master_key, secret_key) = keys(&config)?;
    let store = Store::open(config.database_url.expose(), SecretBox::new(&secret_key)).await?;
    let program = options.keeper.as_ref().and_then(|keeper| keeper.first()).cloned();
    let runtime = runtime(&config, options.keeper).await?;
    let (links, unstarted) = Links::new(Arc::new(Arc::clone(&runtime)), tokio::runtime::Handle::current());
    let recorded = Arc::new(Recorded::default());
    let mut parts = SessionsParts::of(&config, store.clone(), runtime, links.clone(), recorded.clone())?;
    let agent_tokens = AgentTokens::new(&secret_key);
    parts.tools = own_tools(&config, program.as_ref(), agent_tokens.clone());
    let local = local_socket(&config)?;
    let sessions = Sessions::start(parts).await?;
    let terminals = Arc::new(SessionTerminals::new(sessions.clone()));
    let (hub, hub_thread) = match hub::start(hub_config(&config), terminals, unstarted) {
        Ok(started) => started,
        Err(cause) => {
            sessions.shutdown().await;
            return Err(system("the terminals' thread", cause));
        }
    };
    recorded.by(hub.clone());

    let metrics = Arc::new(Metrics::new());
    metrics.register(|registry| hub.metrics().register(registry));
    let drain = Drain::new(config.limits.drain);
    let changes = Changes::new(store.clone(), sessions.clone(), drain.clone());
    let (routes, gathered) = routes::gather();
    let agent_defaults = Defaults {
        harness_id: config.sessions.harness.clone(),
        model: config.gateway.default_model.clone(),
        idle_timeout_seconds: config.sessions.idle_timeout.as_secs(),
    };
    let document = openapi::document(&gathered, &harnesses(&sessions, &agent_defaults))?;
    let limits = &config.limits;
    let bodies = BodyLimits {
        bytes: limits.body_bytes,
        attachment_bytes: limits.attachment_body_bytes,
        large: Slots::new("large requests", LARGE_BODIES),
    };
    let state = AppState::new(Parts {
        keys: Keys::new(master_key, TtyTokens::new(&secret_key), agent_tokens),
        origins: origins(&config, &presence::local_url(address)),
        schemas: Arc::new(Schemas::new(&document)),
        requests: Requests {
            store: store.clone(),
            owner: sessions.owner(),
            bodies: bodies.clone(),
            at_work: AtWork::default(),
            drain: drain.clone(),
        },
        bodies,
        request_timeout: RequestTimeout(limits.request_timeout),
        event_streams: EventStreams(
            Slots::new("event streams", limits.event_streams).counted(&metrics.event_streams),
        ),
        document: Document(document.to_string().into()),
        store: store.clone(),
        sessions: sessions.clone(),
        agent_defaults,
        changes: changes.clone(),
        hub: hub.clone(),
        recordings: RecordingReader {
            hub: hub.clone(),
            slots: Slots::new("recordings being read", READ_RECORDINGS),
        },
        metrics: Arc::clone(&metrics),
        drain: drain.clone(),
    });
    let policy = Policy {
        slots: Slots::new("connections", limits.connections).counted(&metrics.connections),
        header_timeout: limits.header_timeout,
    };
    let watcher = Watcher {
        changes: changes.clone(),
        sessions: sessions.clone(),
        hub: hub.clone(),
        metrics: metrics.sessions.clone(),
        drain: drain.clone(),
    };
    Ok(Built {
        background: options.background,
        lock,
        listener,
        local,
        address,
        router: routes.into_router(state),
        policy,
        changes,
        watcher,
        store,
        sessions,
        hub,
        hub_thread,
        links,
        drain,
        config,
    })
}

impl Built {
    /// Runs it; when this returns it answers, and can be found.
    ///
    /// # Errors
    /// When it could not be found.
    pub(super) async fn spawn(self) -> Result<Server, StartError> {
        let Built { config, drain, router, policy, .. } = self;
        let url = presence::local_url(self.address);
        drain.run("the feed of changes", self.changes.follow());
        drain.run("what follows the feed", self.watcher.run());
        drain.run("the port", listen::serve(self.listener, router.clone(), policy.clone(), drain.clone()));
        drain.run("the local socket", listen::serve(self.local, router, policy, drain.clone()));
        let beside = config.dirs.data.join(SOCKET);
        let presence = match Presence::announce(&config.dirs.state, &url, &beside, self.background) {
            Ok(presence) => presence,
            Err(cause) => {
                // Whoever tries again, in the same process too, finds nothing of this one at work.
                tokio::join!(drain.stop(), self.hub.drain());
                self.sessions.shutdown().await;
                self.hub.end().await;
                return Err(StartError::Presence { dir: config.dirs.state.clone(), cause });
            }
        };
        let lock = Arc::new(self.lock);
        let held = Arc::clone(&lock);
        drain.run_until_stopped("the lock", landmarks::keep("the lock", lock.path(), move || held.mend()));
        let found = landmarks::keep("server.json", presence.path(), presence.mender());
        drain.run_until_stopped("server.json", found);
        tracing::info!(%url, data = %config.dirs.data.display(), "listening");
        Ok(Server {
            address: self.address,
            sessions: self.sessions,
            hub: self.hub,
            hub_thread: self.hub_thread,
            _links: self.links,
            store: self.store,
            drain,
            presence,
            _lock: lock,
        })
    }
}

fn local_socket(config: &Config) -> Result<LocalSocket, StartError> {
    let path = config.dirs.data.join(SOCKET);
    LocalSocket::listen(&path)
        .map_err(|cause| StartError::Listen { address: path.display().to_string(), cause })
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

/// Where sandboxes run, as is configured.
async fn runtime(
    config: &Config,
    keeper: Option<Vec<OsString>>,
) -> Result<Arc<dyn SandboxRuntime>, StartError> {
    Ok(match config.runtime {
        Runtime::Local => Arc::new(LocalRuntime::open(local_options(config, keeper)?)?),
        #[cfg(feature = "kubernetes")]
        Runtime::Kubernetes => Arc::new(KubeRuntime::open(&config.kubernetes).await?),
        #[cfg(not(feature = "kubernetes"))]
        Runtime::Kubernetes => {
            return Err(StartError::Sandboxes(SandboxError::Failed(
                "this program runs sandboxes on its own machine alone: lap-server runs them in a cluster; \
                 LAP_RUNTIME=local keeps them here"
                    .to_owned(),
            )));
        }
    })
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
        total_bytes: config.recording.total_bytes,
    });
    HubConfig {
        max_connections: config.limits.attach_sockets,
        max_viewers: config.limits.viewers_per_session,
        recording,
        drain: config.limits.drain,
    }
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
