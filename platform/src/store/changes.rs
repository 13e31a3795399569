//! The log of changes that the feed is read from.

use jiff::Timestamp;
use tokio::sync::watch;

use super::sql::{Sql, from_word, to_word};
use super::{Store, StoreError, Write};
use crate::model::{AgentId, ChangeKind, MemoryId, SessionId};

/// Changes that are kept: an hour of a busy server, a few hundred kilobytes. Who was away longer reads the lists again.
pub(super) const KEPT: u64 = 10_000;
/// Trimming is done with every so many changes, not with each.
const TRIM_EVERY: u64 = 64;
/// The most changes one read gives.
const MAX_READ: u32 = 1_000;

/// The feed of changes.
#[derive(Debug)]
pub struct Changes<'a> {
    pub(super) store: &'a Store,
}

/// One change: what happened to which. The row itself is read where it is needed, as it is then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangeEntry {
    /// Its place in the feed: 1, 2, 3, without holes.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub kind: ChangeKind,
    /// To what.
    pub resource: ResourceRef,
}

/// Which row a change is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResourceRef {
    /// An agent.
    Agent(AgentId),
    /// A session.
    Session(SessionId),
    /// A memory.
    Memory(MemoryId),
}

/// What came after a place in the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// These, oldest first; more may follow where there are as many as were asked for.
    Changes(Vec<ChangeEntry>),
    /// It cannot be told: some are no longer kept, or the place is not of this feed. Read the lists, then go on from
    /// `latest`.
    TooOld {
        /// The newest change's id.
        latest: u64,
    },
}

impl Changes<'_> {
    /// What came after a change, at most `limit` (1 to 1000) of it.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn after(&self, id: u64, limit: u32) -> Result<After, StoreError> {
        let mut tx = self.store.read().await?;
        // Read in this order: what is appended in between is found again next time, never missed.
        let rows = Sql::new("SELECT id, at, kind, resource, resource_id FROM changes WHERE id > ")
            .bind(id)
            .push(" ORDER BY id LIMIT ")
            .bind(limit.clamp(1, MAX_READ));
        let rows = tx.rows(rows).await?;
        let state = "SELECT last_id, (SELECT MIN(id) FROM changes) AS oldest FROM feed WHERE one = 1";
        let state = tx.row(Sql::new(state)).await?.ok_or_else(no_feed)?;
        let latest = state.count("last_id")?;
        let oldest = state.maybe_whole("oldest")?.map_or(latest + 1, |oldest| oldest.unsigned_abs());
        if id > latest || id + 1 < oldest {
            return Ok(After::TooOld { latest });
        }
        let entries = rows.iter().map(|row| {
            let (resource, resource_id) = (row.text("resource")?, row.text("resource_id")?);
            Ok(ChangeEntry {
                id: row.count("id")?,
                at: row.time("at")?,
                kind: from_word(&row.text("kind")?)?,
                resource: match resource.as_str() {
                    "agent" => ResourceRef::Agent(from_word(&resource_id)?),
                    "session" => ResourceRef::Session(from_word(&resource_id)?),
                    "memory" => ResourceRef::Memory(from_word(&resource_id)?),
                    other => return Err(StoreError::Internal(format!("a change of {other}"))),
                },
            })
        });
        entries.collect::<Result<_, StoreError>>().map(After::Changes)
    }

    /// The newest change's id; 0 before the first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn latest(&self) -> Result<u64, StoreError> {
        let mut tx = self.store.read().await?;
        tx.row(Sql::new("SELECT last_id FROM feed WHERE one = 1"))
            .await?
            .ok_or_else(no_feed)?
            .count("last_id")
    }

    /// Wakes whenever there are newer changes. The value is the newest one's id.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.store.inner.latest.subscribe()
    }

    /// Puts a change into the feed that is of no row: of what only the server knows of a session, its viewers or its
    /// wish for attention.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn note(&self, kind: ChangeKind, resource: ResourceRef) -> Result<u64, StoreError> {
        let mut write = self.store.begin().await?;
        let id = write.change(kind, resource).await?;
        write.commit().await?;
        Ok(id)
    }
}

impl Write<'_> {
    /// Appends to the feed, within this transaction.
    pub(super) async fn change(
        &mut self,
        kind: ChangeKind,
        resource: ResourceRef,
    ) -> Result<u64, StoreError> {
        let next = "UPDATE feed SET last_id = last_id + 1 WHERE one = 1 RETURNING last_id";
        let id = self.tx.row(Sql::new(next)).await?.ok_or_else(no_feed)?.count("last_id")?;
        let (resource, resource_id) = match resource {
            ResourceRef::Agent(id) => ("agent", id.to_string()),
            ResourceRef::Session(id) => ("session", id.to_string()),
            ResourceRef::Memory(id) => ("memory", id.to_string()),
        };
        let insert =
            Sql::new("INSERT INTO changes (id, at, kind, resource, resource_id) VALUES (").bind_all([
                id.into(),
                self.now.into(),
                to_word(kind)?.into(),
                resource.into(),
                resource_id.into(),
            ]);
        self.tx.run(insert.push(")")).await?;
        if id.is_multiple_of(TRIM_EVERY) {
            self.tx.run(Sql::new("DELETE FROM changes WHERE id <= ").bind(id.saturating_sub(KEPT))).await?;
        }
        self.latest = Some(id);
        Ok(id)
    }
}

fn no_feed() -> StoreError {
    StoreError::Internal("the feed's row is missing".to_owned())
}
