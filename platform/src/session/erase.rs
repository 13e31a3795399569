//! Erasing sessions: on somebody's word, or when one ended longer ago than they are kept. What was worked on, what was
//! recorded and what is stored goes, in this order, so that what a killed server leaves is still known of.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::driver::Next;
use super::{Inner, SessionError, Sessions};
use crate::model::SessionId;
use crate::store::{Intent, SessionRecord};

/// Sessions are kept for days: looking once an hour is soon enough.
const EVERY: Duration = Duration::from_secs(3600);

/// Who has the recordings of sessions' terminals.
#[async_trait]
pub trait Recordings: Send + Sync + 'static {
    /// Removes those of a session that has ended; none is no error.
    ///
    /// # Errors
    /// When that cannot be done now.
    async fn erase(&self, session: SessionId) -> std::io::Result<()>;
}

impl Sessions {
    /// Erases a session, ended first where it lives: its row, workspace, recording and log. Returns when it is gone.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when it takes longer than it may, and then it goes on behind it.
    pub async fn erase(&self, id: SessionId) -> Result<(), SessionError> {
        self.inner.mark_deleted(id, super::requests::stopped(), Intent::Erase).await?;
        self.inner.attend(id);
        match self.until(id, |_| false).await {
            Err(SessionError::NotFound(_)) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Inner {
    /// Erases what is left of a session that has ended. Everything in it can be done again.
    pub(super) async fn erase(&self, record: &SessionRecord) -> Result<Next, SessionError> {
        let id = record.id;
        self.runtime.erase_workspace(&id.to_string()).await?;
        self.recordings.erase(id).await.map_err(|error| {
            SessionError::Unavailable(format!("its recording cannot be removed: {error}"))
        })?;
        self.store.sessions().erase(id).await.map_err(SessionError::of_session(id))?;
        tracing::info!(session = %id, "a session was erased");
        Ok(Next::Done)
    }

    /// The task that has sessions erased that ended long ago, until the service stops.
    pub(super) async fn erasing(self: Arc<Inner>) {
        let retention = self.settings.defaults.retention;
        if retention.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                looked = self.erase_ended_before(retention) => if let Err(error) = looked {
                    tracing::warn!(%error, "old sessions cannot be looked at; trying again in an hour");
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Has sessions erased that ended long ago, as two looks find.
    async fn erase_ended_before(self: &Arc<Inner>, retention: Duration) -> Result<(), SessionError> {
        let retention = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
        let then = || self.store.now().checked_sub(retention).unwrap_or(Timestamp::MIN);
        let found = self.store.sessions().ended_before(then()).await?;
        tokio::time::sleep(self.settings.second_look).await;
        let again = self.store.sessions().ended_before(then()).await?;
        for id in again.into_iter().filter(|id| found.contains(id)) {
            self.update(id, |record| {
                if !record.status.is_live() && !record.ending {
                    record.intent.get_or_insert(Intent::Erase);
                }
            })
            .await?;
            self.attend(id);
        }
        Ok(())
    }
}
