//! What is counted of requests.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::gauge::Gauge;

/// From a list out of the cache to an `exec` that runs its ten minutes, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 600.0];

/// Which requests. Routes, not paths: their number is that of the API.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct HttpLabels {
    /// The method.
    pub method: String,
    /// The route's pattern; `unmatched` for paths that are none.
    pub route: String,
    /// The answer's status.
    pub code: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ErrorLabels {
    route: String,
    /// Of [`crate::http::error::Kind`].
    kind: &'static str,
}

/// Requests by route and code, and how long they took.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    /// Requests being answered.
    pub in_flight: Gauge,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> HttpMetrics {
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let errors = Family::default();
        registry.register("http_errors", "Requests answered with an error, by its kind", errors.clone());
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let help = "Seconds from a request's head to its answer's";
        registry.register("http_request_duration_seconds", help, durations.clone());
        let in_flight = Gauge::default();
        registry.register("http_requests_in_flight", "Requests being answered", in_flight.metric());
        HttpMetrics { requests, errors, durations, in_flight }
    }

    /// Counts an error.
    pub(crate) fn failed(&self, route: &str, kind: &'static str) {
        self.errors.get_or_create(&ErrorLabels { route: route.to_owned(), kind }).inc();
    }

    /// Counts an answer.
    pub fn answered(&self, labels: &HttpLabels, took: Duration) {
        let HttpLabels { method, route, .. } = labels.clone();
        self.requests.get_or_create(labels).inc();
        self.durations.get_or_create(&RouteLabels { method, route }).observe(took.as_secs_f64());
    }
}
