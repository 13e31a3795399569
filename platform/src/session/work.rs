//! What a session was told, and what it has worked on: how much of that is nowhere else, and how long it is kept.

use jiff::{SignedDuration, Timestamp};

use super::bringup::{sandbox_name, steps};
use super::{Inner, SessionError, Sessions};
use crate::model::{SessionId, Told, Unsaved, Work};
use crate::store::SessionRecord;

impl Sessions {
    /// What a session has worked on, counted now; the session tells it from now on.
    ///
    /// # Errors
    /// `NotFound`. That it cannot be counted is an answer.
    pub async fn work(&self, id: SessionId) -> Result<Work, SessionError> {
        let inner = &self.inner;
        let record = inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        let (unsaved, detail) = match inner.unsaved(&record).await {
            Ok(unsaved) => (Some(unsaved), None),
            Err(why) => (None, Some(why)),
        };
        if unsaved.is_some() && unsaved != record.unsaved {
            inner.update(id, |record| record.unsaved = unsaved).await?;
        }
        let sandbox = record.sandbox.clone().unwrap_or_else(|| sandbox_name(id, 1));
        let path = inner.runtime.workspace_path(&sandbox);
        let kept_until = path.is_some().then(|| inner.kept_until(&record)).flatten();
        Ok(Work { unsaved, detail, path: path.map(|path| path.to_string_lossy().into_owned()), kept_until })
    }
}

impl Sessions {
    /// What a session's program was told when it was last started.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn told(&self, id: SessionId) -> Result<Told, SessionError> {
        let record = self.inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        Ok(told(&record))
    }
}

/// What a session's program was told; one that has not been started was told nothing.
pub(super) fn told(record: &SessionRecord) -> Told {
    let told = record.steps.get(steps::TOLD).cloned().unwrap_or_default();
    serde_json::from_value(told).unwrap_or_default()
}

impl Inner {
    /// How much of a session's work is nowhere else, or why that is not known.
    pub(super) async fn unsaved(&self, record: &SessionRecord) -> Result<Unsaved, String> {
        let sandbox = record.sandbox.clone().unwrap_or_else(|| sandbox_name(record.id, 1));
        self.runtime.unsaved(&sandbox, &told(record).files).await.map_err(|error| error.to_string())
    }

    /// When a session's workspace is erased, by itself or with the whole session.
    fn kept_until(&self, record: &SessionRecord) -> Option<Timestamp> {
        let ended = record.stopped_at.filter(|_| !record.status.is_live()).unwrap_or(self.store.now());
        let defaults = &self.settings.defaults;
        let kept = [defaults.workspace_retention, defaults.retention];
        let kept = kept.into_iter().filter(|kept| !kept.is_zero()).min()?;
        ended.checked_add(SignedDuration::try_from(kept).ok()?).ok()
    }
}
