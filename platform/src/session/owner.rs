//! The right to work on sessions: this server is on the list of those that live for as long as its heart beats, and a
//! session is worked on by one of them at a time. When a server is taken off the list, another goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::live::Entry;
use super::{Inner, SessionError};
use crate::store::{OwnerId, SessionRecord};

/// Heartbeats in the time after which a server without one is taken off: two may fail.
const BEATS: u32 = 3;

/// This server among those that work on the same store.
pub(super) struct Owner {
    pub(super) id: OwnerId,
    /// The machine's name, for people.
    host: String,
    /// Changes when another server was taken off the list: what it did is free.
    freed: watch::Sender<()>,
}

impl Owner {
    pub(super) fn new() -> Owner {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Owner { id: OwnerId::new(), host, freed: watch::Sender::new(()) }
    }
}

impl Inner {
    /// Puts this server on the list. `alone`: no other server can be at work, whatever the list says.
    pub(super) async fn enter(&self, alone: bool) -> Result<(), SessionError> {
        let owners = self.store.owners();
        owners.beat(self.owner.id, &self.owner.host, self.settings.defaults.lease).await?;
        if alone {
            owners.remove_others(self.owner.id).await?;
        }
        Ok(())
    }

    /// The task that keeps this server on the list, until the service stops.
    pub(super) async fn beating(self: Arc<Inner>) {
        let lapse = self.settings.defaults.lease;
        let mut known = BTreeSet::new();
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(lapse / BEATS) => {}
            }
            match self.store.owners().beat(self.owner.id, &self.owner.host, lapse).await {
                Ok(living) => {
                    // Whoever took it off, or whether it left by itself: what it did is free.
                    if !known.is_subset(&living) {
                        tracing::info!("another server has gone; what it did is gone on with");
                        self.owner.freed.send_replace(());
                    }
                    known = living;
                }
                // Whoever writes next finds out whether another has taken its work over.
                Err(error) => {
                    tracing::warn!(%error, "this server's heartbeat cannot be stored; trying again");
                }
            }
        }
    }

    /// Takes the work on a session, where it is not this server's already. `None`: another server is at it.
    pub(super) async fn claim(&self, record: SessionRecord) -> Result<Option<SessionRecord>, SessionError> {
        if record.owner == Some(self.owner.id) {
            return Ok(Some(record));
        }
        let not_found = SessionError::of_session(record.id);
        self.store.sessions().claim(record.id, self.owner.id).await.map_err(not_found)
    }

    /// Waits while another server works on a session: until there is nothing to be done any more, or this one has taken
    /// the work over. What this one's viewers do is stored meanwhile, so that the other does not take the session for
    /// idle.
    pub(super) async fn stand_by(&self, entry: &Entry) -> Result<(), SessionError> {
        let mut freed = self.owner.freed.subscribe();
        let mut saved = self.clock.now();
        loop {
            // After whatever it was that woke: news of another's end may have come before it was listened for.
            let record = self.store.sessions().get(entry.id).await;
            let record = record.map_err(SessionError::of_session(entry.id))?;
            if !super::driver::is_unfinished(&record) || self.claim(record).await?.is_some() {
                return Ok(());
            }
            tokio::select! {
                _ = freed.changed() => {}
                () = entry.poked() => {}
                () = self.clock.sleep_until(saved + super::idle::SAVE_EVERY), if entry.live().interactive > 0 => {
                    entry.note_activity(self.clock.now());
                }
            }
            super::idle::save_activity(self, entry, &mut saved).await?;
        }
    }
}
