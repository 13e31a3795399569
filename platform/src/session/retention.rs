//! How long what a session leaves behind is kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, SessionError};
use crate::model::SessionId;
use crate::store::{SessionRecord, StoreError};

/// Workspaces are kept for days: looking once an hour is soon enough.
const EVERY: Duration = Duration::from_secs(3600);

impl Inner {
    /// The task that erases what has been kept long enough, until the service stops.
    pub(super) async fn retaining(self: Arc<Inner>) {
        let retention = self.settings.defaults.workspace_retention;
        if retention.is_zero() {
            return;
        }
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                looked = self.erase_old_workspaces(retention) => if let Err(error) = looked {
                    tracing::warn!(%error, "old workspaces cannot be looked at; trying again in an hour");
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Erases the workspaces of sessions that ended long ago, as two looks find.
    async fn erase_old_workspaces(&self, retention: Duration) -> Result<(), SessionError> {
        let found = self.old_workspaces(retention).await?;
        tokio::time::sleep(self.settings.second_look).await;
        for workspace in self.old_workspaces(retention).await?.intersection(&found) {
            tracing::info!(session = workspace, "erasing its workspace: the session ended long ago");
            self.runtime.erase_workspace(workspace).await?;
        }
        Ok(())
    }

    /// The workspaces of sessions that ended long ago. Of one that no row tells of nothing is known: it stays.
    async fn old_workspaces(&self, retention: Duration) -> Result<BTreeSet<String>, SessionError> {
        let mut old = BTreeSet::new();
        for workspace in self.runtime.workspaces().await? {
            let Ok(id) = workspace.parse::<SessionId>() else { continue };
            let record = match self.store.sessions().get(id).await {
                Ok(record) => record,
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            if is_over(&record, self.store.now(), retention) {
                old.insert(workspace);
            }
        }
        Ok(old)
    }
}

fn is_over(record: &SessionRecord, now: jiff::Timestamp, retention: Duration) -> bool {
    let ended = record.stopped_at.filter(|_| !record.status.is_live() && !record.ending);
    ended.is_some_and(|at| Duration::try_from(now.duration_since(at)).is_ok_and(|age| age >= retention))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::SessionStatus;

    #[test]
    fn only_what_ended_long_enough_ago_is_over() {
        let (now, day) = (jiff::Timestamp::UNIX_EPOCH, Duration::from_secs(86_400));
        let mut record = crate::session::testing::record();
        let ago = |hours| Some(now - SignedDuration::from_hours(hours));
        record.stopped_at = ago(48);
        assert!(!is_over(&record, now, day), "it lives");
        record.status = SessionStatus::Dead;
        assert!(is_over(&record, now, day));
        record.ending = true;
        assert!(!is_over(&record, now, day), "its sandbox is still there");
        record.ending = false;
        for young in [ago(23), ago(-100), None] {
            record.stopped_at = young;
            assert!(!is_over(&record, now, day), "{young:?}");
        }
    }
}
