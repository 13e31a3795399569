//! Comparing what is stored with what the runtime has, and repairing in both directions: on every event of the
//! runtime, and now and then besides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Inner, SessionError};
use crate::model::SessionId;
use crate::sandbox::{SandboxEvent, SandboxName, SandboxState, SandboxStatus};
use crate::store::{SessionRecord, StoreError};

/// The label that says whose a sandbox is.
pub(super) const SESSION_LABEL: &str = "lap.session";
/// After a runtime that cannot be watched.
const WATCH_AGAIN: Duration = Duration::from_secs(5);
/// Live changes are told at most this often: what a dashboard shows needs no more.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Sandboxes that nobody knows, and since when.
#[derive(Debug, Default)]
struct Strays {
    seen: HashMap<SandboxName, Duration>,
}

/// What is to be done with a sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    /// It belongs to a session that lives or is being ended.
    Keep,
    /// Its session has ended, or has another one by now.
    Remove,
    /// No session knows it: it may be another server's that has not stored it yet, or one left over.
    Stray,
}

/// Judges a sandbox by the session its label names, as stored.
fn judge(sandbox: &SandboxStatus, session: Option<&SessionRecord>) -> Judgement {
    match session {
        None => Judgement::Stray,
        Some(record) if record.sandbox.as_ref() != Some(&sandbox.name) => Judgement::Remove,
        Some(record) if record.status.is_live() || record.ending.is_some() => Judgement::Keep,
        Some(_) => Judgement::Remove,
    }
}

impl Inner {
    /// Looks at everything once.
    async fn reconcile(self: &Arc<Inner>, strays: &mut Strays) -> Result<(), SessionError> {
        // In this order: a sandbox is stored before it exists, so each that is listed is in what is read afterwards.
        let sandboxes = self.runtime.list().await?;
        let live = self.store.sessions().live().await?;
        let listed: BTreeMap<&SandboxName, &SandboxStatus> = sandboxes.iter().map(|s| (&s.name, s)).collect();
        for record in &live {
            if let Some(reason) = gone(record, &listed)
                && let Some(entry) = self.table.get(record.id)
            {
                entry.set_gone(reason);
            }
            self.attend(record.id);
        }
        strays.seen.retain(|name, _| listed.contains_key(name));
        for sandbox in &sandboxes {
            let record = self.session_of(sandbox).await?;
            match judge(sandbox, record.as_ref()) {
                Judgement::Keep => {}
                Judgement::Remove => self.remove(&sandbox.name, "its session has ended").await,
                Judgement::Stray => {
                    let now = self.clock.now();
                    let since = *strays.seen.entry(sandbox.name.clone()).or_insert(now);
                    if now.saturating_sub(since) >= self.settings.defaults.orphan_grace {
                        self.remove(&sandbox.name, "no session knows it").await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn session_of(&self, sandbox: &SandboxStatus) -> Result<Option<SessionRecord>, SessionError> {
        let Some(id) = sandbox.labels.get(SESSION_LABEL).and_then(|id| id.parse::<SessionId>().ok()) else {
            return Ok(None);
        };
        match self.store.sessions().get(id).await {
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
        let mut strays = Strays::default();
        let mut events = None;
        let mut all = true;
        loop {
            if events.is_none() {
                events = self.watch().await;
            }
            if all {
                let looked = tokio::select! {
                    () = self.stopping.cancelled() => return,
                    looked = self.reconcile(&mut strays) => looked,
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

/// Why the sandbox of a session that runs does not. What is still coming up answers for itself.
fn gone(record: &SessionRecord, listed: &BTreeMap<&SandboxName, &SandboxStatus>) -> Option<String> {
    if record.status != crate::model::SessionStatus::Ready {
        return None;
    }
    match listed.get(record.sandbox.as_ref()?) {
        None => Some("it was deleted".to_owned()),
        Some(SandboxStatus { state: SandboxState::Gone { reason }, .. }) => Some(reason.clone()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionStatus;

    #[test]
    fn a_sandbox_is_kept_for_a_live_session_removed_for_a_dead_one_and_otherwise_a_stray() {
        let name = SandboxName("s-1".to_owned());
        let sandbox =
            SandboxStatus { name: name.clone(), state: SandboxState::Running, labels: BTreeMap::new() };
        let mut record = crate::session::testing::record();
        assert_eq!(judge(&sandbox, None), Judgement::Stray);
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Remove, "it has none by that name");
        record.sandbox = Some(name);
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Keep);
        record.status = SessionStatus::Dead;
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Remove);
        record.ending = Some("stopped".to_owned());
        assert_eq!(judge(&sandbox, Some(&record)), Judgement::Keep, "whoever ends it removes it");
    }

    #[test]
    fn only_a_running_sessions_missing_sandbox_is_news() {
        let name = SandboxName("s-1".to_owned());
        let mut record = crate::session::testing::record();
        record.sandbox = Some(name.clone());
        assert_eq!(gone(&record, &BTreeMap::new()), None, "it is being brought up");
        record.status = SessionStatus::Ready;
        assert!(gone(&record, &BTreeMap::new()).is_some());
        let running =
            SandboxStatus { name: name.clone(), state: SandboxState::Running, labels: BTreeMap::new() };
        assert_eq!(gone(&record, &BTreeMap::from([(&name, &running)])), None);
    }
}
