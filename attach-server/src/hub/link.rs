//! How much bulk a connection may have in flight, so that a keystroke's echo never stands behind more than a few
//! milliseconds of it.
//!
//! A slow link queues whatever it is sent somewhere on the way, where nothing can overtake it. So bulk is kept to what
//! the link carries in its own round trip plus [`QUEUE`]: the delivery rate and the shortest round trip are read off
//! the acknowledgements (the idea of BBR, Cardwell et al. 2016, without its probing: terminals need no fairness between
//! connections, TCP below sees to that).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Queueing that bulk may cause on the way.
const QUEUE: Duration = Duration::from_millis(8);
/// Always allowed: below this a fast link would wait for acknowledgements it has no reason to hurry.
const MIN_IN_FLIGHT: u64 = 16 * 1024;
/// Allowed until the link has been measured: what TCP's initial window takes, a few times over.
const FIRST_IN_FLIGHT: u64 = 64 * 1024;
/// A frame takes about this long on the wire, so that an interactive one waits no longer for it.
const FRAME_TIME: Duration = Duration::from_millis(4);
/// Smaller frames would be mostly headers.
const MIN_FRAME: usize = 2 * 1024;
/// Samples in flight that are remembered; beyond it the link is fast enough not to be measured on every frame.
const MAX_SAMPLES: usize = 64;
/// How much a new measurement of the rate counts when it is lower than the last: one late acknowledgement is no news.
const DECAY: f64 = 0.2;
/// The shortest round trip is forgotten after this, since routes change.
const RTT_AGE: Duration = Duration::from_secs(10);

/// The state of one connection's link.
#[derive(Debug)]
pub(super) struct Link {
    sent: u64,
    acked: u64,
    samples: VecDeque<Sample>,
    rtt: Option<(Duration, Instant)>,
    /// Bytes per second.
    rate: Option<f64>,
}

#[derive(Debug)]
struct Sample {
    sent: u64,
    at: Instant,
    acked_then: u64,
}

impl Link {
    /// A link of which nothing is known.
    #[must_use]
    pub(super) fn new() -> Link {
        Link { sent: 0, acked: 0, samples: VecDeque::new(), rtt: None, rate: None }
    }

    /// `bytes` were written to the socket.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.sent += bytes;
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push_back(Sample { sent: self.sent, at: now, acked_then: self.acked });
        }
    }

    /// The client has processed `bytes` more.
    pub(super) fn acked(&mut self, bytes: u64, now: Instant) {
        self.acked = (self.acked + bytes).min(self.sent);
        let mut newest = None;
        while self.samples.front().is_some_and(|s| s.sent <= self.acked) {
            newest = self.samples.pop_front();
        }
        let Some(sample) = newest else { return };
        let took = now.saturating_duration_since(sample.at).max(Duration::from_micros(10));
        if self.rtt.is_none_or(|(rtt, at)| took <= rtt || now.saturating_duration_since(at) > RTT_AGE) {
            self.rtt = Some((took, now));
        }
        let rate = (self.acked - sample.acked_then) as f64 / took.as_secs_f64();
        self.rate = Some(match self.rate {
            Some(known) if rate < known => known + (rate - known) * DECAY,
            _ => rate,
        });
    }

    /// Bytes of bulk that may be sent now.
    #[must_use]
    pub(super) fn bulk_room(&self) -> u64 {
        let allowed = match (self.rate, self.rtt) {
            (Some(rate), Some((rtt, _))) => ((rate * (rtt + QUEUE).as_secs_f64()) as u64).max(MIN_IN_FLIGHT),
            _ => FIRST_IN_FLIGHT,
        };
        allowed.saturating_sub(self.sent - self.acked)
    }

    /// The size of frame that suits the link, at most `max`.
    #[must_use]
    pub(super) fn frame_size(&self, max: usize) -> usize {
        match self.rate {
            Some(rate) => ((rate * FRAME_TIME.as_secs_f64()) as usize).clamp(MIN_FRAME, max),
            None => max.min(FIRST_IN_FLIGHT as usize / 4),
        }
    }

    /// What was sent to a channel that is no more will not be acknowledged.
    pub(super) fn forget(&mut self, bytes: u64) {
        self.acked = (self.acked + bytes).min(self.sent);
        while self.samples.front().is_some_and(|s| s.sent <= self.acked) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `rate` bytes per second and `rtt`, with a queue in front of it; returns the most the queue ever held,
    /// in time, once the link was measured, and the share of the link's capacity that was used.
    fn simulate(rate: f64, rtt: Duration, seconds: f64) -> (Duration, f64) {
        let start = Instant::now();
        let mut link = Link::new();
        let (mut free_at, mut delivered, mut worst) = (0.0f64, 0u64, 0.0f64);
        let mut acks: VecDeque<(f64, u64)> = VecDeque::new();
        let mut now = 0.0;
        while now < seconds {
            let at = start + Duration::from_secs_f64(now);
            while acks.front().is_some_and(|(t, _)| *t <= now) {
                let (_, n) = acks.pop_front().unwrap();
                delivered += n;
                link.acked(n, at);
            }
            while link.bulk_room() > 0 {
                let n = link.frame_size(32 * 1024).min(link.bulk_room() as usize);
                link.sent(n as u64, at);
                let queued = (free_at - now).max(0.0);
                if now > seconds / 2.0 {
                    worst = worst.max(queued);
                }
                free_at = free_at.max(now) + n as f64 / rate;
                acks.push_back((free_at + rtt.as_secs_f64(), n as u64));
            }
            now = acks.front().map_or(now + 0.001, |(t, _)| t.max(now + 1e-6));
        }
        (Duration::from_secs_f64(worst), delivered as f64 / (rate * seconds))
    }

    #[test]
    fn bulk_fills_the_link_and_hardly_queues() {
        for (mbit, rtt_ms) in [(5.0, 30), (10.0, 50), (50.0, 20), (1000.0, 1)] {
            let (queued, used) = simulate(mbit * 125_000.0, Duration::from_millis(rtt_ms), 4.0);
            // 16 KiB in flight at the least: 26 ms of a 5 Mbit/s link, whose round trip is 30.
            assert!(queued < Duration::from_millis(40), "{mbit} Mbit/s: {queued:?} queued");
            assert!(used > 0.6, "{mbit} Mbit/s, {rtt_ms} ms: only {used:.2} of the link used");
        }
    }

    #[test]
    fn a_channel_that_closes_gives_its_room_back() {
        let mut link = Link::new();
        link.sent(FIRST_IN_FLIGHT, Instant::now());
        assert_eq!(link.bulk_room(), 0);
        link.forget(FIRST_IN_FLIGHT);
        assert_eq!(link.bulk_room(), FIRST_IN_FLIGHT);
    }
}
