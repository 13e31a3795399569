//! How long to wait before the next attempt.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);
/// Doublings after which any longest wait is reached for certain.
const MAX_DOUBLINGS: u32 = 16;

/// Exponential, unless said otherwise from 100 ms to 10 s, with full jitter in the upper half, so that a thousand
/// clients of a restarted server do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// With nothing failed yet. `seed` makes the jitter differ between clients.
    #[must_use]
    pub fn new(seed: u64) -> Backoff {
        Backoff::between(FIRST, LONGEST, seed)
    }

    /// One whose waits grow from about `first` to about `longest`.
    #[must_use]
    pub fn between(first: Duration, longest: Duration, seed: u64) -> Backoff {
        // An xorshift generator must not be at zero.
        Backoff { first, longest, failures: 0, random: seed | 1 }
    }

    /// Attempts that failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// One more failed: how long to wait.
    pub fn fail(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(self.fraction())
    }

    /// It worked: the next failure starts over.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }

    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over_after_success() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.fail()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits.iter().all(|w| *w <= LONGEST));
        assert!(waits[20..].iter().all(|w| *w >= LONGEST / 2));
        backoff.succeed();
        assert!(backoff.fail() <= FIRST);
    }

    #[test]
    fn clients_do_not_come_back_in_step() {
        let wait = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..6).map(|_| backoff.fail()).collect::<Vec<_>>()
        };
        assert_ne!(wait(3), wait(1 << 40));
    }
}
