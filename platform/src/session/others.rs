//! What is asked of another server for a session that this one works on: it is stored there, and done here at once.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, SessionError};
use crate::store::{After, ResourceRef};

/// After a database that cannot be heard or read.
const AGAIN: Duration = Duration::from_secs(2);
/// Changes read at a time.
const AT_ONCE: u32 = 500;

impl Inner {
    /// The task that listens to the database, until the service stops.
    pub(super) async fn hearing(self: Arc<Inner>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                heard = self.store.hear_others() => if let Err(error) = heard {
                    tracing::warn!(%error, "what other servers change cannot be heard; trying again");
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// The task that has sessions looked at whose rows have changed, until the service stops.
    pub(super) async fn following(self: Arc<Inner>) {
        let mut changes = self.store.changes().watch();
        let mut at = *changes.borrow_and_update();
        loop {
            let failed = match self.look_at_changed(&mut at).await {
                Ok(()) => false,
                Err(error) => {
                    tracing::warn!(%error, "changes cannot be read; trying again");
                    true
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                // The sender lives as long as the store.
                _ = changes.changed(), if !failed => {}
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    async fn look_at_changed(self: &Arc<Inner>, at: &mut u64) -> Result<(), SessionError> {
        loop {
            match self.store.changes().after(*at, AT_ONCE).await? {
                After::Changes(entries) => {
                    let Some(last) = entries.last() else { return Ok(()) };
                    *at = last.id;
                    for entry in &entries {
                        if let ResourceRef::Session(id) = entry.resource
                            && let Some(known) = self.table.get(id)
                        {
                            known.poke();
                        }
                    }
                }
                After::TooOld { latest } => {
                    *at = latest;
                    for record in self.store.sessions().live().await? {
                        self.attend(record.id);
                    }
                }
            }
        }
    }
}
