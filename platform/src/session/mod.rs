//! Sessions: the service that brings them up, watches over them, and ends them.
//!
//! What a session is and what is to be done with it is in the store, never in a task alone. One task per session that
//! lives (`driver`) looks at what is stored, does what that asks for (bring up, watch over, end), and looks again;
//! a request changes what is stored and pokes it. A server that is killed at any point is continued by the next one,
//! which finds the same and does the same.

mod adopt;
mod bringup;
mod caught;
mod clock;
mod driver;
mod ending;
mod environment;
mod erase;
mod error;
mod exec;
mod idle;
mod live;
mod others;
mod output;
mod owner;
mod reconcile;
mod requests;
mod retention;
mod settings;
mod supervise;
mod terminal;
#[cfg(test)]
mod testing;
mod turns;
mod work;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::erase::Recordings;
pub use self::error::SessionError;
pub use self::live::Live;
pub use self::settings::SessionSettings;
pub use self::terminal::{TERMINAL_PROGRAM, Terminal};
pub use self::turns::TURN_TIME;
pub use crate::store::SessionsQuery;

use self::live::{Table, Unsaid};
use crate::config::Config;
use crate::harness::{Catalog, CatalogFaults, Host};
use crate::link::{Keeper, Links};
use crate::sandbox::{SandboxName, SandboxRuntime};
use crate::secret::AgentTokens;
use crate::store::Store;

/// What the service is made from.
pub struct SessionsParts {
    /// Where sessions are stored.
    pub store: Store,
    /// Where they run.
    pub runtime: Arc<dyn SandboxRuntime>,
    /// The links to the keepers there.
    pub links: Links,
    /// What they run.
    pub catalog: Catalog,
    /// The machine and user, for sandboxes that are on it.
    pub host: Host,
    /// What is recorded of them.
    pub recordings: Arc<dyn Recordings>,
    /// How they come up and end.
    pub settings: SessionSettings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The platform's own MCP server for what runs in a sandbox on this machine; nothing: there is none.
    pub tools: Option<AgentTools>,
    /// Whether no other server can be at work on the store: then what an earlier one did is free at once.
    pub alone: bool,
}

/// The platform's own MCP server.
#[derive(Clone, Debug)]
pub struct AgentTools {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The tokens it speaks to the server with.
    pub tokens: AgentTokens,
}

impl SessionsParts {
    /// As a configuration has it.
    ///
    /// # Errors
    /// Every fault of the harnesses as configured.
    pub fn of(
        config: &Config,
        store: Store,
        runtime: Arc<dyn SandboxRuntime>,
        links: Links,
        recordings: Arc<dyn Recordings>,
    ) -> Result<SessionsParts, CatalogFaults> {
        Ok(SessionsParts {
            alone: !store.is_shared(),
            store,
            runtime,
            links,
            catalog: Catalog::load(Some(&config.dirs.config), &config.harnesses)?,
            host: Host::of(&config.environment),
            recordings,
            settings: SessionSettings::of(config),
            clock: Arc::new(SystemClock::default()),
            tools: None,
        })
    }
}

/// The service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    runtime: Arc<dyn SandboxRuntime>,
    links: Links,
    catalog: Catalog,
    host: Host,
    recordings: Arc<dyn Recordings>,
    settings: SessionSettings,
    clock: Arc<dyn Clock>,
    tools: Option<AgentTools>,
    owner: owner::Owner,
    table: Table,
    commands: exec::Commands,
    talks: Arc<turns::Talks>,
    unsaid: Unsaid,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Sessions {
    /// Starts the service. What another one left in the middle is continued, and what it left behind removed.
    ///
    /// # Errors
    /// When the store or the runtime cannot be read.
    pub async fn start(parts: SessionsParts) -> Result<Sessions, SessionError> {
        let SessionsParts { store, runtime, links, catalog, host, recordings, settings, clock, tools, alone } =
            parts;
        let owner = owner::Owner::new();
        let inner = Arc::new(Inner {
            store,
            runtime,
            links,
            catalog,
            host,
            recordings,
            settings,
            clock,
            tools,
            owner,
            table: Table::default(),
            commands: exec::Commands::default(),
            talks: Arc::default(),
            unsaid: Unsaid::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        // What lives is attended to before anybody asks for it; comparing it with the sandboxes there are may take
        // longer, since some of them may have to be removed.
        inner.runtime.list().await?;
        inner.enter(alone).await?;
        for record in inner.store.sessions().live().await? {
            inner.attend(record.id);
        }
        inner.keep_running("telling that this server lives", Inner::beating);
        if inner.store.is_shared() {
            inner.keep_running("hearing what other servers change", Inner::hearing);
            inner.keep_running("following what other servers change", Inner::following);
        }
        inner.keep_running("comparing sessions with sandboxes", Inner::reconciling);
        inner.keep_running("telling of live changes", Inner::telling);
        inner.keep_running("erasing old workspaces", Inner::retaining);
        inner.keep_running("erasing old sessions", Inner::erasing);
        Ok(Sessions { inner })
    }

    /// The runtime its sandboxes run in: the hub connects through it.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn SandboxRuntime> {
        &self.inner.runtime
    }

    /// The keeper of a sandbox.
    #[must_use]
    pub fn keeper(&self, sandbox: &SandboxName) -> Keeper {
        self.inner.links.keeper(sandbox)
    }

    /// What can be run.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The machine and user that local terminals run on and as.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.inner.host
    }

    /// Stops serving: unfinished work is left where another server, or this one started again, goes on with it.
    /// Sandboxes stay.
    pub async fn shutdown(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // The next server need not wait for its heartbeat to grow old.
        if let Err(error) = self.inner.store.owners().remove(self.inner.owner.id).await {
            tracing::warn!(%error, "this server cannot be taken off the list of those at work");
        }
    }
}
