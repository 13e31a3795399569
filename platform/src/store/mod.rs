//! What must not be lost: agents, sessions, the feed of changes. SQLite in one file, or PostgreSQL.
//!
//! Every change of a row appends to the feed in the same transaction, so that whoever follows the feed misses nothing
//! that happened and hears of nothing that did not. Secret values are sealed before they are written.

mod agents;
mod agents_list;
mod backup;
mod changes;
mod cursor;
mod error;
mod execs;
mod idempotency;
mod memories;
mod memories_list;
mod open;
mod others;
mod owners;
mod record;
mod reserve;
mod sessions;
mod sessions_erase;
mod sessions_list;
mod skills;
mod skills_list;
mod sql;
mod turns;
mod turns_read;

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
pub use execs::{ExecStand, Execs, NewExec};
pub use idempotency::{Idempotency, IdempotencyOutcome, StoredAnswer};
pub use memories::Memories;
pub use memories_list::MemoriesQuery;
pub use owners::{OwnerId, Owners};
pub use record::{Intent, NewSession, SessionRecord};
pub use sessions::Sessions;
pub use sessions_list::SessionsQuery;
pub use skills::{NewSkill, Skills};
pub use skills_list::SkillsQuery;
pub use turns::{CANCELLED, Conversation, NewTurn, Stage, Step, Turn, Turns};
pub use turns_read::{Answered, News};

use crate::secret::SecretBox;
use open::Opened;
use reserve::Reserve;
use sql::{Pools, Sql, Tx};

/// Tells the time; tests move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the database is called in messages once it is in service.
const IN_SERVICE: &str = "the server's database";

/// The store. A clone is another handle to the same.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    pools: Pools,
    /// What the database is called in messages.
    place: Arc<str>,
    secrets: SecretBox,
    clock: Clock,
    /// The newest change's id, as far as this process knows.
    latest: watch::Sender<u64>,
    /// Of a database that is a file.
    reserve: Option<Reserve>,
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
        let opened = match open::open(url).await {
            // A server that is killed on a full disk must be able to start: else nothing could be ended.
            Err(StoreError::Full(_))
                if open::file_of(url).is_some_and(|file| Reserve::beside(&file).release()) =>
            {
                tracing::warn!("the disk is full: the space kept for ending sessions is given up");
                open::open(url).await
            }
            opened => opened,
        };
        let Opened { pools, place, file } = opened?;
        let (latest, _) = watch::channel(0);
        let reserve = file.as_deref().map(Reserve::beside);
        let mut store = Store { inner: Arc::new(Inner { pools, place, secrets, clock, latest, reserve }) };
        store.check_key().await?;
        // A disk that has become read-only is said now, not with the first session.
        match store.check().await {
            Err(StoreError::Full(_)) if store.release_reserve() => store.check().await?,
            checked => checked?,
        }
        store.keep_reserve();
        let latest = store.changes().latest().await?;
        store.inner.latest.send_replace(latest);
        // Whoever starts a server is told where its database is; whoever sends it requests is not.
        if let Some(inner) = Arc::get_mut(&mut store.inner) {
            inner.place = IN_SERVICE.into();
        }
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

    /// Memories.
    #[must_use]
    pub fn memories(&self) -> Memories<'_> {
        Memories { store: self }
    }

    /// Skills.
    #[must_use]
    pub fn skills(&self) -> Skills<'_> {
        Skills { store: self }
    }

    /// Conversations.
    #[must_use]
    pub fn turns(&self) -> Turns<'_> {
        Turns { store: self }
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

    /// Commands in sessions' sandboxes.
    #[must_use]
    pub fn execs(&self) -> Execs<'_> {
        Execs { store: self }
    }

    /// The servers at work on it.
    #[must_use]
    pub fn owners(&self) -> Owners<'_> {
        Owners { store: self }
    }

    /// Keeps space on the disk for ends, where the database is a file and there is room for it.
    pub(crate) fn keep_reserve(&self) {
        if let Some(Err(error)) = self.inner.reserve.as_ref().map(Reserve::keep) {
            tracing::debug!(%error, "no space is kept on the disk for ending sessions");
        }
    }

    /// Gives the space up that is kept for ends. Says whether there was any.
    pub(crate) fn release_reserve(&self) -> bool {
        self.inner.reserve.as_ref().is_some_and(Reserve::release)
    }

    /// Whether several servers may be at work on it at once: on PostgreSQL they may.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.pools.is_shared()
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
                    StoreError::Unavailable(format!("{} cannot be read: {error}", self.inner.place))
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
    async fn commit(mut self) -> Result<(), StoreError> {
        if let Some(latest) = self.latest {
            self.tell_others(latest).await?;
        }
        self.tx.commit().await?;
        if let Some(latest) = self.latest {
            // Two writers may come here in either order; the feed only goes forward.
            self.store.newer(latest);
        }
        Ok(())
    }
}
