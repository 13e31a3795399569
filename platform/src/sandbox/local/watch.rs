//! Telling of sandboxes whose keeper has ended. Nobody asks again and again: the kernel tells by the process's
//! descriptor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::layout::Place;
use super::process::ProcessId;
use super::state::state_of;
use crate::sandbox::{SandboxEvent, SandboxName, SandboxState, SandboxStatus};

/// Events that wait for the watcher; beyond them it is told to list again.
const QUEUE: usize = 256;

/// The one watcher, and the keepers watched for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    watcher: Option<mpsc::Sender<SandboxEvent>>,
    /// Whether the watcher has missed something and is going to be told so.
    missed: bool,
    keepers: HashMap<SandboxName, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new watcher in the place of any before it.
    pub(super) fn attach(&self) -> mpsc::Receiver<SandboxEvent> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut inner = self.lock();
        inner.watcher = Some(sender);
        inner.missed = false;
        receiver
    }

    /// Tells the watcher.
    pub(super) fn tell(&self, event: SandboxEvent) {
        let mut inner = self.lock();
        let Some(watcher) = inner.watcher.clone() else { return };
        if inner.missed {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = watcher.try_send(event) {
            inner.missed = true;
            let this = self.clone();
            inner.tasks.spawn(async move {
                if let Ok(room) = watcher.reserve().await {
                    // From here on events are told again: what comes after the list is not lost.
                    this.lock().missed = false;
                    room.send(SandboxEvent::Resync);
                }
            });
        }
    }

    /// Watches a keeper from now on; one that is watched already stays so.
    pub(super) fn keeper(&self, name: &SandboxName, keeper: &ProcessId, place: Place) {
        let mut inner = self.lock();
        while inner.tasks.try_join_next().is_some() {}
        if inner.keepers.contains_key(name) {
            return;
        }
        let (this, keeper, of) = (self.clone(), keeper.clone(), name.clone());
        let task = inner.tasks.spawn(async move {
            // No descriptor: it has ended already.
            if let Ok(Some(process)) = keeper.open()
                && let Err(error) = process.ended().await
            {
                tracing::warn!(sandbox = %of, %error, "cannot watch a keeper; only the next reconcile will notice its end");
                return;
            }
            this.lock().keepers.remove(&of);
            let status = tokio::task::spawn_blocking(move || gone(of, &place)).await;
            if let Ok(Some(status)) = status {
                this.tell(SandboxEvent::Changed(status));
            }
        });
        inner.keepers.insert(name.clone(), task);
    }

    /// Stops watching a keeper that is about to be ended on purpose.
    pub(super) fn forget(&self, name: &SandboxName) {
        if let Some(task) = self.lock().keepers.remove(name) {
            task.abort();
        }
    }
}

fn gone(name: SandboxName, place: &Place) -> Option<SandboxStatus> {
    let labels = place.spec().ok()??.labels;
    let state = state_of(place);
    matches!(state, SandboxState::Gone { .. }).then_some(SandboxStatus { name, state, labels })
}
