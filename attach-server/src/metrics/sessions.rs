//! How sessions come up and end, as metrics, counted from the change feed.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use lap_platform::model::{Change, DeathCode, Phase, Resource, Session, SessionId, SessionStatus};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a warm sandbox to the bring-up's time-out, in seconds.
const BUCKETS: [f64; 12] = [0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct SpawnLabels {
    /// `cold` or `warm`.
    path: &'static str,
    /// `ready` or `failed`.
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct PhaseLabels {
    phase: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DeathLabels {
    reason: &'static str,
}

/// How sessions come up and end.
#[derive(Clone)]
pub(crate) struct SessionMetrics {
    spawns: Family<SpawnLabels, Counter>,
    spawn_seconds: Histogram,
    phase_seconds: Family<PhaseLabels, Histogram>,
    deaths: Family<DeathLabels, Counter>,
}

impl SessionMetrics {
    pub(super) fn register(registry: &mut Registry) -> SessionMetrics {
        let metrics = SessionMetrics {
            spawns: Family::default(),
            spawn_seconds: Histogram::new(BUCKETS),
            phase_seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            deaths: Family::default(),
        };
        registry.register("session_spawn", "Sessions that came up, or did not", metrics.spawns.clone());
        let help = "Seconds from a session's request to its prompt";
        registry.register("session_spawn_duration_seconds", help, metrics.spawn_seconds.clone());
        let help = "Seconds spent in each phase of coming up";
        registry.register("session_phase_duration_seconds", help, metrics.phase_seconds.clone());
        registry.register("session_death", "Sessions that ended", metrics.deaths.clone());
        metrics
    }
}

/// The ends that were counted last, of so many sessions: what changes on one of them afterwards is not another end.
const COUNTED_ENDS: usize = 1024;

/// Turns the change feed into counts: a session's bring-up and its end are counted once, when the feed first tells of
/// them. The feed tells how a session is now, not each state it passed through, so what counts are the times at which
/// it came up and ended.
pub(crate) struct Observer {
    /// What came before was counted by whoever served then.
    since: Timestamp,
    /// When each session that lives came up.
    up: HashMap<SessionId, Timestamp>,
    ends: VecDeque<(SessionId, Timestamp)>,
}

impl Observer {
    pub(crate) fn new(since: Timestamp) -> Observer {
        Observer { since, up: HashMap::new(), ends: VecDeque::new() }
    }

    /// Takes in one change.
    pub(crate) fn observe(&mut self, change: &Change, metrics: &SessionMetrics) {
        let Resource::Session(session) = &change.resource else { return };
        let counts = |at: Option<Timestamp>| at.filter(|at| *at >= self.since);
        let (up, end) = (counts(session.ready_at), counts(session.stopped_at));
        if end.is_some_and(|at| self.ends.contains(&(session.id, at))) {
            return;
        }
        if let Some(at) = up
            && self.up.insert(session.id, at) != Some(at)
        {
            came_up(session, metrics);
        }
        if let Some(at) = end {
            self.up.remove(&session.id);
            self.ends.truncate(COUNTED_ENDS - 1);
            self.ends.push_front((session.id, at));
            ended(session, metrics);
        }
    }
}

fn ended(session: &Session, metrics: &SessionMetrics) {
    if session.status == SessionStatus::Failed {
        metrics.spawns.get_or_create(&SpawnLabels { path: "cold", result: "failed" }).inc();
    } else {
        let reason = session.death.unwrap_or(DeathCode::Unknown).as_str();
        metrics.deaths.get_or_create(&DeathLabels { reason }).inc();
    }
}

fn came_up(session: &Session, metrics: &SessionMetrics) {
    metrics.spawns.get_or_create(&SpawnLabels { path: "cold", result: "ready" }).inc();
    let mut total = 0.0;
    for (phase, ms) in &session.timings {
        if *phase == Phase::Ready {
            continue;
        }
        // Exact up to 2^53 ms; a bring-up ends after 600 s.
        #[allow(clippy::cast_precision_loss)]
        let seconds = *ms as f64 / 1000.0;
        total += seconds;
        let phase = serde_json::to_value(phase).ok().and_then(|name| name.as_str().map(str::to_owned));
        let labels = PhaseLabels { phase: phase.unwrap_or_default() };
        metrics.phase_seconds.get_or_create(&labels).observe(seconds);
    }
    metrics.spawn_seconds.observe(total);
}
