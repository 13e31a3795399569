//! The one task that works on a session: it looks at what is stored, does what that asks for, and looks again.

use std::sync::Arc;
use std::time::Duration;

use super::caught::caught;
use super::live::Entry;
use super::{Inner, SessionError};
use crate::model::{Death, DeathCode, SessionId, SessionStatus};
use crate::store::{Intent, SessionRecord};

/// After a failure of the store, the runtime or a connection: doubled each time up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// See [`RETRY_FIRST`].
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// A session at which the work panics so often in a row is given up.
const MOST_PANICS: u32 = 4;

/// Why a session has ended at which the work panics.
const GIVEN_UP: &str = "a fault of the server's own: its log has the cause";

fn panicked() -> SessionError {
    SessionError::Internal("it panicked".to_owned())
}

/// What a session asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// Its sandbox is to be removed, and it with it if it still lives.
    End,
    /// It is to be brought up.
    BringUp,
    /// It runs and is to be watched over.
    Supervise,
    /// It has ended, and nothing of it is to be left.
    Erase,
    /// It has ended.
    Nothing,
}

fn work_of(record: &SessionRecord) -> Work {
    match (record.status, record.ending) {
        (_, true) => Work::End,
        (SessionStatus::Creating, false) => Work::BringUp,
        (SessionStatus::Ready, false) => Work::Supervise,
        (SessionStatus::Dead | SessionStatus::Failed, false) if record.intent == Some(Intent::Erase) => {
            Work::Erase
        }
        (SessionStatus::Dead | SessionStatus::Failed, false) => Work::Nothing,
    }
}

/// Whether there is something to be done about a session: it lives, or is being ended.
pub(super) fn is_unfinished(record: &SessionRecord) -> bool {
    work_of(record) != Work::Nothing
}

/// What a driver does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Look again at once.
    Again,
    /// Nothing is left to do.
    Done,
}

impl Inner {
    /// Sees to it that somebody works on a session, and looks at it again.
    pub(super) fn attend(self: &Arc<Inner>, id: SessionId) {
        if self.stopping.is_cancelled() {
            return;
        }
        let (entry, new) = self.table.enter(id, self.clock.now());
        if new {
            let inner = Arc::clone(self);
            self.tasks.spawn(async move { inner.drive(&entry).await });
        }
    }

    async fn drive(self: &Arc<Inner>, entry: &Arc<Entry>) {
        let mut retry = RETRY_FIRST;
        let mut panics = 0;
        let what = format!("the work on session {}", entry.id);
        loop {
            let next = tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                next = Box::pin(caught(&what, self.work_once(entry))) => next,
            };
            let next = match next {
                Some(next) => {
                    panics = 0;
                    next
                }
                None => {
                    panics += 1;
                    if panics >= MOST_PANICS { self.give_up(entry).await } else { Err(panicked()) }
                }
            };
            let wait = match next {
                Ok(Next::Again) => {
                    retry = RETRY_FIRST;
                    continue;
                }
                Ok(Next::Done) | Err(SessionError::NotFound(_)) if self.table.leave(entry) => return,
                Ok(Next::Done) | Err(SessionError::NotFound(_)) => continue,
                Err(error) => {
                    tracing::warn!(session = %entry.id, %error, "working on a session failed; trying again");
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_LONGEST);
                    wait
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = entry.poked() => {}
            }
        }
    }

    /// Nothing can be done about a session but to say so.
    async fn give_up(self: &Arc<Inner>, entry: &Entry) -> Result<Next, SessionError> {
        let record = self.store.sessions().get(entry.id).await.map_err(SessionError::of_session(entry.id))?;
        let status = match record.status {
            SessionStatus::Creating => SessionStatus::Failed,
            _ => SessionStatus::Dead,
        };
        if record.status.is_live() && !record.ending {
            self.conclude(entry.id, status, Death::new(DeathCode::ServerFault, GIVEN_UP)).await?;
            return Ok(Next::Again);
        }
        Err(panicked())
    }

    async fn work_once(self: &Arc<Inner>, entry: &Arc<Entry>) -> Result<Next, SessionError> {
        let id = entry.id;
        entry.take_poke();
        let record = self.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        if !is_unfinished(&record) {
            return Ok(Next::Done);
        }
        let Some(record) = self.claim(record).await? else {
            self.stand_by(entry).await?;
            return Ok(Next::Again);
        };
        match work_of(&record) {
            Work::End => {
                let ended = Box::pin(self.end(entry, record)).await;
                if matches!(ended, Err(SessionError::Full(_))) {
                    // It is tried again.
                    self.store.release_reserve();
                }
                ended
            }
            Work::Supervise => self.supervise(entry, record).await,
            Work::Erase => self.erase(&record).await,
            Work::BringUp => {
                tokio::select! {
                    done = self.bring_up(entry, record) => done,
                    // It is to be ended: what was begun stays where it is, the end removes it.
                    () = self.told_to_end(entry) => Ok(Next::Again),
                }
            }
            Work::Nothing => Ok(Next::Again),
        }
    }

    /// Waits until a session that is being brought up is to be ended.
    async fn told_to_end(&self, entry: &Entry) {
        loop {
            entry.poked().await;
            let record = self.store.sessions().get(entry.id).await;
            if record.is_ok_and(|record| record.ending) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_goes_before_everything_else() {
        let record = |status, ending| {
            let mut record = crate::session::testing::record();
            record.status = status;
            record.ending = ending;
            work_of(&record)
        };
        for status in
            [SessionStatus::Creating, SessionStatus::Ready, SessionStatus::Dead, SessionStatus::Failed]
        {
            assert_eq!(record(status, true), Work::End);
        }
        assert_eq!(record(SessionStatus::Creating, false), Work::BringUp);
        assert_eq!(record(SessionStatus::Ready, false), Work::Supervise);
        assert_eq!(record(SessionStatus::Dead, false), Work::Nothing);
        assert_eq!(record(SessionStatus::Failed, false), Work::Nothing);
    }
}
