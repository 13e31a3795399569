//! What the hub counts. One thread writes, so counting is a plain addition: no lock, no locked instruction, no clock
//! that was not read anyway. Numbers of what is there now are counted when somebody asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lap_wire::control::How;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// Upper bounds in seconds: from an echo on one machine to one that everybody complains about.
const BOUNDS: [f64; 14] =
    [5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, f64::INFINITY];
/// A key that was not echoed by then is one the program does not echo: what it prints later answers something else.
const NO_ECHO: Duration = Duration::from_secs(2);

/// What has happened since the server started. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct HubMetrics(Arc<Counts>);

/// See [`HubMetrics`].
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) printed_bytes: Count,
    pub(super) output_bytes: Count,
    pub(super) input_bytes: Count,
    pub(super) snapshot_bytes: Count,
    pub(super) snapshots: Count,
    pub(super) skips: Count,
    pub(super) skipped_bytes: Count,
    pub(super) recorder_gaps: Count,
    pub(super) reconnects: Count,
    opened: [Count; 2],
    keeper: Latency,
    program: Latency,
    server: Latency,
}

/// What is there now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Multiplexed connections.
    pub attach_connections: u64,
    /// Connections of the simple form.
    pub tty_connections: u64,
    /// Terminals somebody looks at or that are recorded.
    pub terminals: u64,
    /// Viewers of them.
    pub viewers: u64,
    /// Bytes sent to viewers that they have not acknowledged.
    pub in_flight_bytes: u64,
}

/// The keystroke of a terminal that is being timed, if one is.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    acked: Option<Instant>,
    echoed: Option<Instant>,
}

impl std::ops::Deref for HubMetrics {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl Counts {
    /// A viewer's channel has begun.
    pub(super) fn opened(&self, how: How) {
        self.opened[usize::from(how == How::Snapshot)].add(1);
    }

    /// Somebody typed.
    pub(super) fn typed(&self, watch: &mut Stopwatch, bytes: usize, now: Instant) {
        self.input_bytes.add(bytes as u64);
        watch.acked.get_or_insert(now);
        if watch.echoed.is_none_or(|since| now - since > NO_ECHO) {
            watch.echoed = Some(now);
        }
    }

    /// The keeper has written what was typed.
    pub(super) fn written(&self, watch: &mut Stopwatch) {
        if let Some(since) = watch.acked.take() {
            self.keeper.observe(since.elapsed());
        }
    }

    /// The program has printed; says whether that answers a key, whose way out is to be timed as well.
    pub(super) fn printed(&self, watch: &mut Stopwatch, bytes: usize, now: Instant) -> bool {
        self.printed_bytes.add(bytes as u64);
        let Some(since) = watch.echoed.take() else { return false };
        let took = now.saturating_duration_since(since);
        if took <= NO_ECHO {
            self.program.observe(took);
        }
        took <= NO_ECHO
    }

    /// An echo that came at this time is on its viewers' sockets.
    pub(super) fn echo_sent(&self, came: Instant) {
        self.server.observe(came.elapsed());
    }
}

impl HubMetrics {
    /// Adds what is counted here to what Prometheus reads.
    pub fn register(&self, registry: &mut Registry) {
        type Pick = fn(&Counts) -> &Count;
        let counters: [(&str, &str, Pick); 9] = [
            ("attach_printed_bytes", "Bytes programs printed", |c| &c.printed_bytes),
            ("attach_output_bytes", "Bytes of output sent to viewers", |c| &c.output_bytes),
            ("attach_input_bytes", "Bytes viewers typed", |c| &c.input_bytes),
            ("attach_snapshot_bytes", "Bytes of snapshots sent to viewers", |c| &c.snapshot_bytes),
            ("attach_snapshots", "Snapshots given to viewers", |c| &c.snapshots),
            ("attach_skips", "Times a viewer that fell behind was skipped ahead", |c| &c.skips),
            ("attach_skipped_bytes", "Bytes viewers were told they do not get", |c| &c.skipped_bytes),
            ("attach_recorder_gaps", "Times output was left out of a recording", |c| &c.recorder_gaps),
            ("attach_keeper_reconnects", "Times a lost keeper was found again", |c| &c.reconnects),
        ];
        for (name, help, pick) in counters {
            registry.register(name, help, Picked { counts: self.clone(), pick });
        }
        registry.register("attach_opens", "Channels begun, by how", Opens(self.clone()));
        let help = "Seconds a keystroke takes: to be written by the keeper and acknowledged, to be answered by the \
                    program, and from there to the viewers' sockets";
        registry.register("attach_echo_seconds", help, Hops(self.clone()));
    }
}

/// Only the hub's thread adds; anyone reads.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Latency {
    buckets: [Count; BOUNDS.len()],
    nanos: Count,
}

impl Latency {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket].add(1);
            self.nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let buckets: Vec<_> = BOUNDS.into_iter().zip(self.buckets.iter().map(Count::get)).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        // Exact enough: 2^53 ns are a hundred days of waiting for echoes.
        #[allow(clippy::cast_precision_loss)]
        let sum = self.nanos.get() as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

struct Picked {
    counts: HubMetrics,
    pick: fn(&Counts) -> &Count,
}

#[derive(Debug)]
struct Opens(HubMetrics);

#[derive(Debug)]
struct Hops(HubMetrics);

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.pick)(&self.counts).fmt(f)
    }
}

impl EncodeMetric for Picked {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, u64, u64>(&(self.pick)(&self.counts).get(), None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for Opens {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (how, count) in ["exact", "snapshot"].into_iter().zip(&self.0.opened) {
            let labels = [("how", how)];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&count.get(), None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl EncodeMetric for Hops {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let hops = [("keeper", &self.0.keeper), ("program", &self.0.program), ("server", &self.0.server)];
        for (hop, latency) in hops {
            latency.encode(&mut encoder.encode_family(&[("hop", hop)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(metrics: &HubMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_key_is_timed_to_the_keeper_to_the_program_and_to_the_viewers() {
        let metrics = HubMetrics::default();
        let mut watch = Stopwatch::default();
        let typed = Instant::now();
        metrics.typed(&mut watch, 1, typed);
        // The second of two keys at once does not begin anew.
        metrics.typed(&mut watch, 1, typed + Duration::from_millis(1));
        metrics.written(&mut watch);
        assert!(metrics.printed(&mut watch, 10, typed + Duration::from_millis(4)));
        metrics.echo_sent(typed);
        assert!(!metrics.printed(&mut watch, 10, typed + Duration::from_secs(1)), "that was no echo");
        let text = encoded(&metrics);
        for line in [
            "attach_echo_seconds_bucket{le=\"0.005\",hop=\"program\"} 1",
            "attach_echo_seconds_bucket{le=\"0.002\",hop=\"program\"} 0",
            "attach_echo_seconds_bucket{le=\"+Inf\",hop=\"keeper\"} 1",
            "attach_echo_seconds_count{hop=\"server\"} 1",
            "attach_input_bytes_total 2",
            "attach_printed_bytes_total 20",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_key_that_is_not_echoed_spoils_no_later_one() {
        let metrics = HubMetrics::default();
        let mut watch = Stopwatch::default();
        let typed = Instant::now();
        metrics.typed(&mut watch, 1, typed);
        assert!(!metrics.printed(&mut watch, 1, typed + Duration::from_secs(9)));
        metrics.typed(&mut watch, 1, typed);
        metrics.typed(&mut watch, 1, typed + Duration::from_secs(9));
        assert!(metrics.printed(&mut watch, 1, typed + Duration::from_millis(9_001)));
        assert!(encoded(&metrics).contains("attach_echo_seconds_count{hop=\"program\"} 1"));
    }
}
