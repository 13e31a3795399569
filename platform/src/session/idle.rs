//! When a session that nobody uses ends. By deadlines: nothing looks at it in between.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::live::Entry;
use super::{Inner, SessionError};
use crate::model::{Death, DeathCode, SessionStatus};
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
    /// The last activity as it was stored when that was last looked at.
    stored: Option<Timestamp>,
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
        Idle { timeout, notice, told: false, stored: record.last_seen_at, saved: now }
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
            // Somebody may use it through another server, which has stored so.
            Verdict::End if self.is_used_elsewhere(inner, entry).await? => Ok(false),
            Verdict::End => {
                let reason = format!("nobody used it for {}", words(self.timeout));
                inner.mark_ending(entry.id, Death::new(DeathCode::Idle, reason)).await?;
                Ok(true)
            }
        }
    }

    /// Stores activity, if it is time to, and takes a notice back that it has overtaken.
    pub(super) async fn save_activity(&mut self, inner: &Inner, entry: &Entry) -> Result<(), SessionError> {
        if let Some(own) = save_activity(inner, entry, &mut self.saved).await? {
            self.stored = self.stored.max(Some(own));
        }
        let now = inner.clock.now();
        let put_off = self.told && self.deadline(entry).is_none_or(|(end, _)| end > now + self.notice);
        if put_off {
            self.told = false;
            self.set_detail(inner, entry, None).await?;
        }
        Ok(())
    }

    /// Takes in what is stored of the session's use; says whether that puts the end off.
    async fn is_used_elsewhere(&mut self, inner: &Inner, entry: &Entry) -> Result<bool, SessionError> {
        let record =
            inner.store.sessions().get(entry.id).await.map_err(SessionError::of_session(entry.id))?;
        let (now, wall) = (inner.clock.now(), inner.store.now());
        // What was looked at before counts no second time: it may lie in the future, after a clock was set.
        let stored = std::mem::replace(&mut self.stored, record.last_seen_at);
        let Some(seen) = record.last_seen_at.filter(|_| record.last_seen_at != stored) else {
            return Ok(false);
        };
        let ago = wall.duration_since(seen).max(SignedDuration::ZERO).unsigned_abs();
        entry.note_activity(now.saturating_sub(ago));
        let put_off = self.deadline(entry).is_none_or(|(end, _)| end > now);
        if put_off {
            self.told = false;
            self.set_detail(inner, entry, None).await?;
        }
        Ok(put_off)
    }

    async fn set_detail(
        &self,
        inner: &Inner,
        entry: &Entry,
        detail: Option<String>,
    ) -> Result<(), SessionError> {
        let set = inner.update(entry.id, |record| {
            if !record.ending && record.status == SessionStatus::Ready {
                record.phase_detail = detail;
            }
        });
        set.await.map(drop)
    }
}

/// Stores the last activity, unless that was done a short time ago, and gives it as it was stored. `saved`: when, on the
/// service's clock.
pub(super) async fn save_activity(
    inner: &Inner,
    entry: &Entry,
    saved: &mut Duration,
) -> Result<Option<Timestamp>, SessionError> {
    let now = inner.clock.now();
    let last = entry.last_activity();
    if last <= *saved || now.saturating_sub(*saved) < SAVE_EVERY {
        return Ok(None);
    }
    *saved = now;
    let at = wall_time(inner, now, last);
    inner.store.sessions().touch(entry.id, at).await?;
    Ok(Some(at))
}

/// Stores the last activity of a session that is being ended. Of an end nothing depends on it.
pub(super) async fn save_last_activity(inner: &Inner, entry: &Entry) {
    let now = inner.clock.now();
    let Some(last) = entry.known_activity(now) else { return };
    if let Err(error) = inner.store.sessions().touch(entry.id, wall_time(inner, now, last)).await {
        tracing::debug!(session = %entry.id, %error, "when a session was last used could not be stored");
    }
}

/// A time of the service's clock as the wall clock has it.
fn wall_time(inner: &Inner, now: Duration, at: Duration) -> Timestamp {
    let ago = SignedDuration::try_from(now.saturating_sub(at)).unwrap_or_default();
    let wall = inner.store.now();
    let then = wall.checked_sub(ago).unwrap_or(wall);
    // As precise as what is stored.
    Timestamp::from_microsecond(then.as_microsecond()).unwrap_or(then)
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
