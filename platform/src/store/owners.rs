//! The servers at work on the database: each has an id under which it works and a heartbeat. Time is the database's own,
//! so that no server's clock, however it is set, takes work from anybody.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::sql::Sql;
use super::{Store, StoreError};

/// The name of one run of one server: no other has it, on any machine, at any time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerId(pub(super) Uuid);

impl OwnerId {
    /// A new one.
    #[must_use]
    pub fn new() -> OwnerId {
        OwnerId(Uuid::now_v7())
    }
}

impl Default for OwnerId {
    fn default() -> OwnerId {
        OwnerId::new()
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// Holds of a column `owner` that names nobody who is there: what it is on is free.
pub(super) const FREE: &str = "(owner IS NULL OR owner NOT IN (SELECT id FROM owners))";

/// The servers at work.
#[derive(Debug)]
pub struct Owners<'a> {
    pub(super) store: &'a Store,
}

impl Owners<'_> {
    /// A heartbeat of this server, the first of which puts it on the list. Takes those off whose last one is more than
    /// `lapse` ago, and gives those that are on it then: what one did that is not any more is free.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn beat(
        &self,
        owner: OwnerId,
        host: &str,
        lapse: Duration,
    ) -> Result<BTreeSet<OwnerId>, StoreError> {
        let mut write = self.store.begin().await?;
        let now = write.tx.clock();
        let beat = Sql::new("INSERT INTO owners (id, host, started_at, heartbeat_at) VALUES (")
            .bind_all([owner.to_string().into(), host.into()])
            .push(", ")
            .push(now)
            .push(", ")
            .push(now)
            .push(") ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at");
        write.tx.run(beat).await?;
        let lapse = i64::try_from(lapse.as_micros()).unwrap_or(i64::MAX);
        let gone = Sql::new("DELETE FROM owners WHERE heartbeat_at < ").push(now).push(" - ").bind(lapse);
        write.tx.run(gone.push(" AND id <> ").bind(owner.to_string())).await?;
        let living = write.tx.rows(Sql::new("SELECT id FROM owners")).await?;
        write.commit().await?;
        living.iter().map(|row| row.word("id").map(OwnerId)).collect()
    }

    /// Takes all others off the list: for a server that knows that it is alone on its database.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn remove_others(&self, owner: OwnerId) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        write.tx.run(Sql::new("DELETE FROM owners WHERE id <> ").bind(owner.to_string())).await?;
        write.commit().await
    }

    /// Takes a server off the list: what it did is free at once.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn remove(&self, owner: OwnerId) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        write.tx.run(Sql::new("DELETE FROM owners WHERE id = ").bind(owner.to_string())).await?;
        write.commit().await
    }
}
