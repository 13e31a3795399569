//! How much of a terminal is recorded at most.
//!
//! A recording is for reading what happened. Of a terminal that floods nobody reads anything, its recording would have
//! turned over in a second, and writing it takes the processor and the disk from those who look. So a recording may
//! take half of what it keeps at once, and from then on a rate that no person reads at; what is over that is left out,
//! the recording says so and goes on with a snapshot.

use std::time::Instant;

/// Bytes that are recorded however fast they come.
pub(super) const BURST: u64 = 32 * 1024 * 1024;
/// Bytes a second beyond that.
pub(super) const RATE: u64 = 4 * 1024 * 1024;
/// A recording that has left something out goes on once it may take this much again: two seconds later.
const RESUME: u64 = 2 * RATE;

/// What is left of it now.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    filled: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Budget {
        Budget { left: BURST, filled: now }
    }

    /// Takes so many bytes from it, or none if there are too few left.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        // The clock is looked at only when it matters.
        if self.left < bytes as u64 {
            self.fill(now);
        }
        let enough = self.left >= bytes as u64;
        if enough {
            self.left -= bytes as u64;
        }
        enough
    }

    /// Whether a recording that has left something out may go on.
    pub(super) fn has_recovered(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= RESUME
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_millis().min(u128::from(BURST)) as u64;
        // Less than a millisecond is left to grow.
        if elapsed > 0 {
            (self.left, self.filled) = ((self.left + elapsed * RATE / 1000).min(BURST), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut taken = 0;
        while budget.take(64 * 1024, start) {
            taken += 64 * 1024;
        }
        assert_eq!(taken, BURST);
        assert!(!budget.has_recovered(start + Duration::from_millis(1_990)));
        assert!(budget.has_recovered(start + Duration::from_millis(2_010)));
        for ms in 2_010..12_010 {
            taken += if budget.take(8 * 1024, start + Duration::from_millis(ms)) { 8 * 1024 } else { 0 };
        }
        let over = taken - BURST;
        assert!((11 * RATE..=13 * RATE).contains(&over), "{over}");
    }
}
