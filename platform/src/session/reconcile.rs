//! Comparing what is stored with what the runtime has, and repairing in both directions: on every event of the
//! runtime, and now and then besides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Inner, SessionError};
use crate::model::{SessionId, SessionStatus};
pub(super) use crate::sandbox::SESSION_LABEL;
use crate::sandbox::{SandboxEvent, SandboxName, SandboxState, SandboxStatus};
use crate::store::{SessionRecord, StoreError};

/// The label that says which agent's it is.
pub(super) const AGENT_LABEL: &str = "lap.agent";
/// After a runtime that cannot be watched.
const WATCH_AGAIN: Duration = Duration::from_secs(5);
/// Live changes are told at most this often: what a dashboard shows needs no more.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What is to be done with a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    /// It belongs to a session that lives or is being ended.
    Keep,
    /// Its session has ended, and says so.
    Remove,
    /// No row says that it may go: the database may be empty, or older than it.
    Stray,
}

/// Judges a sandbox by the session its label names, as stored.
fn judge(sandbox: &SandboxStatus, session: Option<&SessionRecord>) -> Judgement {
    match session {
        Some(record) if record.sandbox.as_ref() == Some(&sandbox.name) => {
            let ended = !record.status.is_live() && !record.ending;
            if ended { Judgement::Remove } else { Judgement::Keep }
        }
        _ => Judgement::Stray,
    }
}

impl Inner {
    /// Looks at everything once. Nothing is ended or removed because a list lacks it.
    async fn reconcile(self: &Arc<Inner>, told: &mut BTreeSet<SandboxName>) -> Result<(), SessionError> {
        self.store.keep_reserve();
        // In this order: a sandbox is stored before it exists, so each that is listed is in what is read afterwards.
        let sandboxes = self.runtime.list().await?;
        let live = self.store.sessions().live().await?;
        let listed: BTreeMap<&SandboxName, &SandboxStatus> = sandboxes.iter().map(|s| (&s.name, s)).collect();
        for record in &live {
            if let Some(sandbox) = missing(record, &listed)
                && let Some(reason) = self.gone(sandbox).await?
                && let Some(entry) = self.table.get(record.id)
            {
                entry.set_gone(reason);
            }
            self.attend(record.id);
        }
        told.retain(|name| listed.contains_key(name));
        for sandbox in &sandboxes {
            let record = self.session_of(sandbox).await?;
            match judge(sandbox, record.as_ref()) {
                Judgement::Keep => {}
                Judgement::Remove => self.remove(&sandbox.name, "its session has ended").await,
                Judgement::Stray => self.adopt(sandbox, record, told).await,
            }
        }
        Ok(())
    }

    /// Why a sandbox does not run, if that is certain: the runtime was asked for this very one.
    pub(super) async fn gone(&self, sandbox: &SandboxName) -> Result<Option<String>, SessionError> {
        Ok(match self.runtime.inspect(sandbox).await? {
            None => Some("it was deleted".to_owned()),
            Some(SandboxStatus { state: SandboxState::Gone { reason }, .. }) => Some(reason),
            Some(_) => None,
        })
    }

    async fn session_of(&self, sandbox: &SandboxStatus) -> Result<Option<SessionRecord>, SessionError> {
        let Some(id) = sandbox.labels.get(SESSION_LABEL).and_then(|id| id.parse::<SessionId>().ok()) else {
            return Ok(None);
        };
        // Also one that was erased: it says that its sandbox may go.
        match self.store.sessions().last_state(id).await {
            Ok(record) => Ok(Some(record)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, name: &SandboxName, why: &str) {
        tracing::info!(sandbox = %name, why, "removing a sandbox");
        if let Err(error) = self.runtime.delete(name).await {
            tracing::warn!(sandbox = %name, %error, "a sandbox cannot be removed; the next look tries again");
        }
    }

    /// The task that reconciles, until the service stops.
    pub(super) async fn reconciling(self: Arc<Inner>) {
        let mut told = BTreeSet::new();
        let mut events = None;
        let mut all = true;
        loop {
            if events.is_none() {
                events = self.watch().await;
            }
            if all {
                let looked = tokio::select! {
                    () = self.stopping.cancelled() => return,
                    looked = self.reconcile(&mut told) => looked,
                };
                if let Err(error) = looked {
                    tracing::warn!(%error, "cannot compare sessions and sandboxes; trying again");
                }
            }
            all = tokio::select! {
                () = self.stopping.cancelled() => return,
                event = next(&mut events) => self.on_event(event),
                () = tokio::time::sleep(self.settings.defaults.reconcile_interval) => true,
            };
        }
    }

    /// Acts on an event; says whether everything has to be looked at.
    fn on_event(&self, event: Option<SandboxEvent>) -> bool {
        match event {
            Some(SandboxEvent::Changed(status)) => {
                if let SandboxState::Gone { reason } = &status.state
                    && let Some(id) = status.labels.get(SESSION_LABEL).and_then(|id| id.parse().ok())
                    && let Some(entry) = self.table.get(id)
                {
                    entry.set_gone(reason.clone());
                    return false;
                }
                true
            }
            // Sandboxes are removed by this service, which knows; one taken away by others is seen by the next look.
            Some(SandboxEvent::Removed(name)) => {
                tracing::debug!(sandbox = %name, "a sandbox was removed");
                false
            }
            Some(SandboxEvent::Resync) | None => true,
        }
    }

    async fn watch(&self) -> Option<mpsc::Receiver<SandboxEvent>> {
        match self.runtime.watch().await {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::warn!(%error, "sandboxes cannot be watched; trying again");
                None
            }
        }
    }

    /// The task that tells of live changes, until the service stops.
    pub(super) async fn telling(self: Arc<Inner>) {
        use crate::model::ChangeKind;
        use crate::store::ResourceRef;
        loop {
            let ids = tokio::select! {
                () = self.stopping.cancelled() => return,
                ids = self.unsaid.take() => ids,
            };
            for id in ids {
                let told = self.store.changes().note(ChangeKind::Updated, ResourceRef::Session(id)).await;
                if let Err(error) = told {
                    tracing::warn!(session = %id, %error, "a change of a session could not be told");
                }
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    }
}

/// The next event; the end of a watch is `None`, and then there is a pause before the next.
async fn next(events: &mut Option<mpsc::Receiver<SandboxEvent>>) -> Option<SandboxEvent> {
    let event = match events {
        Some(events) => events.recv().await,
        None => None,
    };
    if event.is_none() {
        *events = None;
        tokio::time::sleep(WATCH_AGAIN).await;
    }
    event
}

/// The sandbox of a session that runs, if it is not seen to. What is still coming up answers for itself.
fn missing<'a>(
    record: &'a SessionRecord,
    listed: &BTreeMap<&SandboxName, &SandboxStatus>,
) -> Option<&'a SandboxName> {
    let sandbox = record.sandbox.as_ref().filter(|_| record.status == SessionStatus::Ready)?;
    let runs = listed.get(sandbox).is_some_and(|status| !matches!(status.state, SandboxState::Gone { .. }));
    (!runs).then_some(sandbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_kept_for_a_live_session_removed_for_a_dead_one_and_otherwise_a_stray() {
        let name = SandboxName("s-1".to_owned());
        let sandbox =
            SandboxStatus { name: name.clone(), state: SandboxState::Running, labels: BTreeMap::new() };
        let mut record = crate::session::testing::record();
        assert_eq!(judge(&sandbox, None), Judgement::Stray);
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Stray, "the row may be older than the sandbox");
        record.sandbox = Some(name);
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Keep);
        record.status = SessionStatus::Dead;
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Remove);
        record.ending = true;
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Keep, "whoever ends it removes it");
    }

    #[test]
    fn only_a_running_sessions_missing_sandbox_is_news() {
        let name = SandboxName("s-1".to_owned());
        let mut record = crate::session::testing::record();
        record.sandbox = Some(name.clone());
        assert_eq!(missing(&record, &BTreeMap::new()), None, "it is being brought up");
        record.status = SessionStatus::Ready;
        assert_eq!(missing(&record, &BTreeMap::new()), Some(&name));
        let running =
            SandboxStatus { name: name.clone(), state: SandboxState::Running, labels: BTreeMap::new() };
        assert_eq!(missing(&record, &BTreeMap::from([(&name, &running)])), None);
    }
}
