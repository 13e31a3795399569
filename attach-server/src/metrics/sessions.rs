use std::collections::HashMap;

use lap_platform::model::{Change, Phase, Resource, Session, SessionId, SessionStatus};
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

/// Turns the change feed into counts: a session's bring-up and its end are counted when the feed tells of them, once.
#[derive(Default)]
pub(crate) struct Observer {
    live: HashMap<SessionId, SessionStatus>,
}

impl Observer {
    /// Takes in one change.
    pub(crate) fn observe(&mut self, change: &Change, metrics: &SessionMetrics) {
        let Resource::Session(session) = &change.resource else { return };
        let before = if session.status.is_live() {
            self.live.insert(session.id, session.status)
        } else {
            self.live.remove(&session.id)
        };
        match (before, session.status) {
            (Some(SessionStatus::Creating), SessionStatus::Ready) => came_up(session, metrics),
            (Some(_), SessionStatus::Failed) => {
                metrics.spawns.get_or_create(&SpawnLabels { path: "cold", result: "failed" }).inc();
            }
            (Some(_), SessionStatus::Dead) => {
                let reason = death_reason(session.failure_reason.as_deref());
                metrics.deaths.get_or_create(&DeathLabels { reason }).inc();
            }
            _ => {}
        }
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

/// Few words instead of sentences: a label's values are to be bounded.
fn death_reason(sentence: Option<&str>) -> &'static str {
    let sentence = sentence.unwrap_or_default();
    let has = |word| sentence.contains(word);
    match () {
        () if sentence.is_empty() || has("stopped") => "stopped",
        () if has("idle") => "idle",
        () if has("keeper") || has("sandbox") => "sandbox_lost",
        () if has("exited") || has("exit") || has("signal") => "exited",
        () => "other",
    }
}
