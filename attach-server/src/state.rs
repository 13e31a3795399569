//! What the server's parts are to its routes. Only routes know all of it ([`AppState`]); every other part asks for the
//! one it needs, which axum takes from the whole by `FromRef`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRef;
use lap_platform::session::Sessions;
use lap_platform::store::Store;

use crate::agent_form::Defaults;
use crate::changes::Changes;
use crate::http::auth::Keys;
use crate::http::extract::BodyLimits;
use crate::http::idempotency::Requests;
use crate::http::limits::Slots;
use crate::http::origin::Origins;
use crate::http::schema::Schemas;
use crate::hub::HubHandle;
use crate::metrics::Metrics;
use crate::recording::RecordingReader;
use crate::server::drain::Drain;

/// All of it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Parts>);

/// What an [`AppState`] is made from.
pub(crate) struct Parts {
    pub(crate) keys: Keys,
    pub(crate) origins: Origins,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) bodies: BodyLimits,
    pub(crate) requests: Requests,
    pub(crate) request_timeout: RequestTimeout,
    pub(crate) event_streams: EventStreams,
    pub(crate) document: Document,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) agent_defaults: Defaults,
    pub(crate) changes: Changes,
    pub(crate) hub: HubHandle,
    pub(crate) recordings: RecordingReader,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
}

impl AppState {
    pub(crate) fn new(parts: Parts) -> AppState {
        AppState(Arc::new(parts))
    }
}

/// The longest a request may take that is not a stream or a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimeout(pub(crate) Duration);

/// Event streams that may be open at a time.
#[derive(Clone, Debug)]
pub(crate) struct EventStreams(pub(crate) Slots);

/// `openapi.json`, written out.
#[derive(Clone, Debug)]
pub(crate) struct Document(pub(crate) Bytes);

macro_rules! parts {
    ($($field:ident: $part:ty,)*) => {
        $(impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> $part {
                state.0.$field.clone()
            }
        })*
    };
}

parts! {
    keys: Keys,
    origins: Origins,
    schemas: Arc<Schemas>,
    bodies: BodyLimits,
    requests: Requests,
    request_timeout: RequestTimeout,
    event_streams: EventStreams,
    document: Document,
    store: Store,
    sessions: Sessions,
    agent_defaults: Defaults,
    changes: Changes,
    hub: HubHandle,
    recordings: RecordingReader,
    metrics: Arc<Metrics>,
    drain: Drain,
}
