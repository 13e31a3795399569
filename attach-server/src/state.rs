//! What a handler needs.

use std::sync::Arc;

use axum::body::Bytes;
use jiff::Timestamp;
use lap_platform::config::Limits;
use lap_platform::harness::Harness;
use lap_platform::model::SessionId;
use lap_platform::secret::{MasterKey, TtyTokens};
use lap_platform::session::Sessions;
use lap_platform::store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent_form::Defaults;
use crate::hub::HubHandle;
use crate::idempotency::AtWork;
use crate::limits::Slots;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::schema::Schemas;

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// What an [`AppState`] is made from.
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) origins: Origins,
    pub(crate) master_key: MasterKey,
    pub(crate) tty_tokens: TtyTokens,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) hub: HubHandle,
    pub(crate) agent_defaults: Defaults,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) schemas: Schemas,
    /// `openapi.json`, written out.
    pub(crate) document: Bytes,
    pub(crate) event_streams: Slots,
    /// Bodies over the ordinary limit being read at a time.
    pub(crate) large_bodies: Slots,
    /// Recordings being read at a time.
    pub(crate) recordings: Slots,
    /// Requests with an `Idempotency-Key` that are being done.
    pub(crate) at_work: AtWork,
    /// Work that outlives the request it began with.
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

impl AppState {
    pub(crate) fn new(parts: Parts) -> AppState {
        AppState(Arc::new(parts))
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }

    /// What the server takes at most.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The pages that may use the API; the terminals' sockets check it too.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The terminals.
    #[must_use]
    pub fn hub(&self) -> &HubHandle {
        &self.0.hub
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Cancelled when the server is to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Work that outlives the request it began with.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn agent_defaults(&self) -> &Defaults {
        &self.0.agent_defaults
    }

    /// Whether a harness has a terminal.
    pub(crate) fn supports_tui(&self, harness: &str) -> bool {
        self.0.sessions.catalog().get(harness).is_some_and(Harness::supports_tui)
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.0.schemas
    }

    pub(crate) fn is_master_key(&self, token: &str) -> bool {
        self.0.master_key.matches(token)
    }

    /// The session whose terminal this token opens now.
    pub(crate) fn tty_session(&self, token: &str) -> Option<SessionId> {
        self.0.tty_tokens.verify(token, Timestamp::now()).ok()
    }
}
