//! What the server counts, as Prometheus reads it.

mod attach;
mod gauge;
mod http;
mod sessions;

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::hub::Census;

use attach::Attached;
pub use gauge::{Gauge, GaugeGuard};
pub use http::{HttpLabels, HttpMetrics};
pub(crate) use sessions::{Observer, SessionMetrics};

/// All metrics of a server.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Requests by route and code.
    pub http: HttpMetrics,
    /// Connections open now.
    pub connections: Gauge,
    /// Event streams open now.
    pub event_streams: Gauge,
    pub(crate) sessions: SessionMetrics,
    attached: Attached,
}

impl Metrics {
    /// None counted yet.
    #[must_use]
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        let connections = Gauge::default();
        registry.register("http_connections", "Connections open now", connections.metric());
        let event_streams = Gauge::default();
        registry.register("http_event_streams", "Event streams open now", event_streams.metric());
        let http = HttpMetrics::register(&mut registry);
        let sessions = SessionMetrics::register(&mut registry);
        let attached = Attached::register(&mut registry);
        Metrics { registry: Mutex::new(registry), http, connections, event_streams, sessions, attached }
    }

    /// Adds others' metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        // Registering only appends: a registry a panic was in the middle of is still a registry.
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All of them in the OpenMetrics text format; what is attached now is told by whoever knows.
    pub(crate) fn encode(&self, census: Census) -> Result<String, std::fmt::Error> {
        self.attached.set(census);
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(encoded)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}
