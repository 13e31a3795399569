//! What must not be lost: agents, sessions, the feed of changes. SQLite in one file, or PostgreSQL.
//!
//! Every change of a row appends to the feed in the same transaction, so that whoever follows the feed misses nothing
//! that happened and hears of nothing that did not. Secret values are sealed before they are written.

mod agents;
mod agents_list;
mod changes;
mod cursor;
mod error;
mod idempotency;
mod open;
mod record;
mod sessions;
mod sessions_list;
mod sql;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use agents::{Agents, DeletedAgent};
pub use agents_list::AgentsQuery;
pub use changes::{After, ChangeEntry, Changes, ResourceRef};
pub use error::StoreError;
pub use idempotency::{Idempotency, IdempotencyOutcome, StoredAnswer};
pub use record::{Intent, Lease, NewSession, SessionRecord};
pub use sessions::Sessions;
pub use sessions_list::SessionsQuery;

use crate::secret::SecretBox;
use sql::{Pools, Sql, Tx};

/// Tells the time; tests move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The store. A clone is another handle to the same.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pools: Pools,
    /// The database's file or server, for messages.
    place: Arc<str>,
    secrets: SecretBox,
    clock: Clock,
    /// The newest change's id, as far as this process knows.
    latest: watch::Sender<u64>,
}

impl Store {
    /// Opens the database of that URL (`sqlite:<path>` or `postgres://…`), making it and bringing its schema up to
    /// date where needed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it cannot be opened, was made with another encryption key, or belongs to a
    /// newer version; each says what to do.
    pub async fn open(url: &str, secrets: SecretBox) -> Result<Store, StoreError> {
        Store::open_with_clock(url, secrets, Arc::new(Timestamp::now)).await
    }

    /// [`Store::open`] under a clock of one's own.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_clock(url: &str, secrets: SecretBox, clock: Clock) -> Result<Store, StoreError> {
        let (pools, place) = open::open(url).await?;
        let (latest, _) = watch::channel(0);
        let store = Store { inner: Arc::new(Inner { pools, place, secrets, clock, latest }) };
        store.check_key().await?;
        // A disk that has become read-only is said now, not with the first session.
        store.check().await?;
        let latest = store.changes().latest().await?;
        store.inner.latest.send_replace(latest);
        Ok(store)
    }

    /// Agents.
    #[must_use]
    pub fn agents(&self) -> Agents<'_> {
        Agents { store: self }
    }

    /// Sessions.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions { store: self }
    }

    /// The feed of changes.
    #[must_use]
    pub fn changes(&self) -> Changes<'_> {
        Changes { store: self }
    }

    /// Answers to requests that may be sent twice.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency<'_> {
        Idempotency { store: self }
    }

    /// Whether the database answers and can be written to.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut write = self.begin().await?;
        write.tx.run(Sql::new("UPDATE feed SET last_id = last_id WHERE one = 1")).await?;
        write.commit().await
    }

    /// Ends all connections, after which nothing works. SQLite's log is folded into its file.
    pub async fn close(&self) {
        self.inner.pools.close().await;
    }

    /// The wall clock's time, as it is stored.
    pub(crate) fn now(&self) -> Timestamp {
        let now = (self.inner.clock)();
        // What is stored has microseconds: what is answered must not have more before it was stored than after.
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    async fn read(&self) -> Result<Tx, StoreError> {
        self.inner.pools.begin_read(&self.inner.place).await
    }

    async fn begin(&self) -> Result<Write<'_>, StoreError> {
        let tx = self.inner.pools.begin_write(&self.inner.place).await?;
        Ok(Write { store: self, tx, now: self.now(), latest: None })
    }

    /// Tells a wrong key at start, by a value that is there for that alone, rather than at the first agent read.
    async fn check_key(&self) -> Result<(), StoreError> {
        const CONTEXT: &str = "meta/key_check";
        let mut write = self.begin().await?;
        match write.tx.row(Sql::new("SELECT value FROM meta WHERE key = 'key_check'")).await? {
            Some(row) => {
                let opened = self.inner.secrets.open(CONTEXT, &row.bytes("value")?);
                opened.map_err(|error| {
                    StoreError::Unavailable(format!(
                        "the database {} cannot be read: {error}",
                        self.inner.place
                    ))
                })?;
                Ok(())
            }
            None => {
                let sealed = self.inner.secrets.seal(CONTEXT, b"lap").map_err(StoreError::internal)?;
                let insert = Sql::new("INSERT INTO meta (key, value) VALUES ('key_check', ").bind(sealed);
                write.tx.run(insert.push(")")).await?;
                write.commit().await
            }
        }
    }

    fn seal<T: Serialize>(&self, context: &str, value: &T) -> Result<Vec<u8>, StoreError> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(value).map_err(StoreError::internal)?);
        self.inner.secrets.seal(context, &plain).map_err(StoreError::internal)
    }

    fn unseal<T: DeserializeOwned>(&self, context: &str, sealed: &[u8]) -> Result<T, StoreError> {
        let plain = self.inner.secrets.open(context, sealed).map_err(StoreError::internal)?;
        serde_json::from_slice(&plain).map_err(StoreError::internal)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

/// A transaction that writes. The feed's followers are told once it is committed.
struct Write<'a> {
    store: &'a Store,
    tx: Tx,
    now: Timestamp,
    latest: Option<u64>,
}

impl Write<'_> {
    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        if let Some(latest) = self.latest {
            // Two writers may come here in either order; the feed only goes forward.
            self.store.inner.latest.send_if_modified(|known| {
                let newer = latest > *known;
                *known = latest.max(*known);
                newer
            });
        }
        Ok(())
    }
}
