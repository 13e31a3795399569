//! When a session that nobody uses ends. By deadlines: nothing looks at it in between.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::live::Entry;
use super::{Inner, SessionError};
use crate::model::SessionStatus;
use crate::store::SessionRecord;

/// Viewers are told this long before a session ends for being idle; with short time-outs, after half of them.
const NOTICE: Duration = Duration::from_secs(5 * 60);
/// Activity is stored at most this often: what a restart of the server may forget of it.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The idle rule of one session.
#[derive(Debug)]
pub(super) struct Idle {
    timeout: Duration,
    notice: Duration,
    /// Whether viewers have been told that it ends soon.
    told: bool,
    saved: Duration,
}

/// What the rule says when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Tell that it ends soon.
    Tell,
    /// End it.
    End,
}

impl Idle {
    /// The rule as it stands for a session now. What is known of its use from before this process counts, but for a
    /// clock that was set: there is always the time of a notice left.
    pub(super) fn of(record: &SessionRecord, entry: &Entry, now: Duration, wall: Timestamp) -> Idle {
        let timeout = Duration::from_millis(record.idle_timeout_ms);
        let notice = NOTICE.min(timeout / 2);
        if let Some(seen) = record.last_seen_at.or(record.ready_at) {
            let ago = wall.duration_since(seen).max(SignedDuration::ZERO).unsigned_abs();
            entry.learn_activity(now.saturating_sub(ago.min(timeout.saturating_sub(notice))));
        }
        Idle { timeout, notice, told: false, saved: now }
    }

    /// What is due when. `None`: nothing, as long as somebody who may type is attached.
    fn deadline(&self, entry: &Entry) -> Option<(Duration, Verdict)> {
        if entry.live().interactive > 0 {
            return None;
        }
        let end = entry.last_activity() + self.timeout;
        Some(if self.told { (end, Verdict::End) } else { (end - self.notice, Verdict::Tell) })
    }

    /// Waits until something is due. Activity in between puts it off without waking anybody.
    pub(super) async fn due(&self, entry: &Entry, clock: &dyn Clock) -> Verdict {
        loop {
            // Whoever attaches or leaves pokes, and then this is asked again.
            let Some((at, verdict)) = self.deadline(entry) else { return std::future::pending().await };
            if clock.now() >= at {
                return verdict;
            }
            clock.sleep_until(at).await;
        }
    }

    /// Does what is due. Says whether the session is ending.
    pub(super) async fn act(
        &mut self,
        verdict: Verdict,
        inner: &Inner,
        entry: &Entry,
    ) -> Result<bool, SessionError> {
        match verdict {
            Verdict::Tell => {
                let left = words(self.notice);
                self.set_detail(inner, entry, Some(format!("ends in {left} unless it is used: it is idle")))
                    .await?;
                self.told = true;
                Ok(false)
            }
            Verdict::End => {
                inner.mark_ending(entry.id, &format!("nobody used it for {}", words(self.timeout))).await?;
                Ok(true)
            }
        }
    }

    /// Stores activity, if it is time to, and takes a notice back that it has overtaken.
    pub(super) async fn save_activity(&mut self, inner: &Inner, entry: &Entry) -> Result<(), SessionError> {
        let now = inner.clock.now();
        let last = entry.last_activity();
        if last > self.saved && now.saturating_sub(self.saved) >= SAVE_EVERY {
            self.saved = now;
            let ago = SignedDuration::try_from(now.saturating_sub(last)).unwrap_or_default();
            let wall = inner.store.now();
            let at = wall.checked_sub(ago).unwrap_or(wall);
            inner.store.sessions().touch(entry.id, at).await?;
        }
        let put_off = self.told && self.deadline(entry).is_none_or(|(end, _)| end > now + self.notice);
        if put_off {
            self.told = false;
            self.set_detail(inner, entry, None).await?;
        }
        Ok(())
    }

    async fn set_detail(
        &self,
        inner: &Inner,
        entry: &Entry,
        detail: Option<String>,
    ) -> Result<(), SessionError> {
        let set = inner.update(entry.id, |record| {
            if record.ending.is_none() && record.status == SessionStatus::Ready {
                record.phase_detail = detail;
            }
        });
        set.await.map(drop)
    }
}

/// A time in the largest unit that says it without a fraction.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        s if s > 0 && s.is_multiple_of(3600) => (s / 3600, "hour"),
        s if s > 0 && s.is_multiple_of(60) => (s / 60, "minute"),
        s => (s, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_largest_whole_unit() {
        assert_eq!(words(Duration::from_secs(86_400)), "24 hours");
        assert_eq!(words(Duration::from_secs(300)), "5 minutes");
        assert_eq!(words(Duration::from_secs(1)), "1 second");
        assert_eq!(words(Duration::from_secs(90)), "90 seconds");
    }
}
