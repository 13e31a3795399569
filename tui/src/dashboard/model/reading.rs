//! When the lists are read though the feed of changes did not ask for it: after a read that failed, and for as long as
//! the feed brings nothing, which is what a box in between that gathers answers makes of it.

use jiff::{SignedDuration, Timestamp};

/// The feed is usually there by then; if it is not, the lists are read without it.
const PATIENCE: SignedDuration = SignedDuration::from_secs(3);
/// Between two reads while there is no feed.
const WITHOUT_FEED: SignedDuration = SignedDuration::from_secs(10);
/// The first wait after a read that failed; doubled with every one up to [`LONGEST_WAIT`].
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(15);

/// The lists' reading.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// Reads that failed in a row.
    failures: u32,
    /// Why the last one failed.
    fault: Option<String>,
    /// When they are read again.
    due: Option<Timestamp>,
    /// Whether they were read though the feed is not there.
    without_feed: bool,
}

impl Reading {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Reading {
        Reading { failures: 0, fault: None, due: Some(after(now, PATIENCE)), without_feed: false }
    }

    /// The feed is there: what it says is newer than any read.
    pub fn feed_is_there(&mut self) {
        self.without_feed = false;
        if self.failures == 0 {
            self.due = None;
        }
    }

    /// The feed is gone.
    pub fn feed_is_gone(&mut self, now: Timestamp) {
        self.due.get_or_insert(after(now, PATIENCE));
    }

    /// The lists were read.
    pub fn succeeded(&mut self, feed: bool, now: Timestamp) {
        self.failures = 0;
        self.fault = None;
        self.without_feed = !feed;
        self.due = (!feed).then(|| after(now, WITHOUT_FEED));
    }

    /// They could not be read.
    pub fn failed(&mut self, fault: String, now: Timestamp) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(8)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.fault = Some(fault);
        self.without_feed = false;
        self.due = Some(after(now, wait));
    }

    /// Whether they are to be read now; asks for it once.
    pub fn take_due(&mut self, now: Timestamp) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// When they are to be read.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Why they cannot be read.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the server answers though its feed does not come through.
    #[must_use]
    pub fn is_without_feed(&self) -> bool {
        self.without_feed
    }
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_read_that_fails_is_tried_again_for_ever_and_less_often() {
        let mut reading = Reading::new(at(0));
        reading.feed_is_there();
        let mut now = at(10);
        let mut waits = Vec::new();
        for _ in 0..50 {
            reading.failed(String::from("502"), now);
            // That the feed is there does not mean that the lists have been read.
            reading.feed_is_there();
            let due = reading.due().unwrap();
            assert!(!reading.take_due(due - SignedDuration::from_millis(1)));
            assert!(reading.take_due(due) && !reading.take_due(due), "asked for once");
            waits.push(due.duration_since(now).as_secs());
            now = due;
        }
        assert_eq!(&waits[..6], [1, 2, 4, 8, 15, 15]);
        reading.succeeded(true, now);
        assert_eq!((reading.due(), reading.fault()), (None, None));
    }

    #[test]
    fn without_a_feed_the_server_is_asked_until_there_is_one() {
        let mut reading = Reading::new(at(0));
        assert!(reading.take_due(at(3)), "the first read does not wait for the feed");
        reading.succeeded(false, at(4));
        assert!(reading.is_without_feed());
        assert!(reading.take_due(at(14)));
        reading.succeeded(false, at(15));
        reading.feed_is_there();
        assert!(!reading.is_without_feed());
        assert_eq!(reading.due(), None);
        reading.feed_is_gone(at(100));
        assert_eq!(reading.due(), Some(at(103)));
    }
}
