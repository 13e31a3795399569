//! The time that sessions go by: the machine's, or a test's.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long before the service's start a clock begins: long enough for whatever a session did before that to have its
/// place.
const PAST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The time that passes, for time-outs and idleness: never set, and standing still while the machine sleeps. What is
/// stored has wall-clock time from the store.
pub trait Clock: Send + Sync + 'static {
    /// Time since some moment years before the service started.
    fn now(&self) -> Duration;

    /// Waits until [`Clock::now`] has come to `at`.
    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        PAST + self.start.elapsed()
    }

    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // A deadline beyond what the timer can hold is as good as never.
        match self.start.checked_add(at.saturating_sub(PAST)) {
            Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// One that goes forward only when told to: for tests of what takes hours.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Duration>,
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock { now: watch::Sender::new(PAST) }
    }
}

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // The sender lives in `self`, which outlives this future.
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}
