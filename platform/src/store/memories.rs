//! Memories in the database. A deleted one loses its text at once, and stays a day so that the feed can tell of it.

use jiff::{SignedDuration, Timestamp};

use super::sql::{Row, Sql, Tx, json, to_word};
use super::{ResourceRef, Store, StoreError, Write, agents};
use crate::model::{AgentId, ChangeKind, Memory, MemoryId};

/// The most memories of one agent: more than that is a database, which an agent can have beside it.
const MAX_PER_AGENT: u64 = 100_000;
/// The most pinned memories a session is told.
const MAX_PINNED: u32 = 20;
/// How long a deleted one stays for the feed's readers.
const DELETED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// What has not been of use for so many microseconds counts half as often used as it was: 30 days.
const HALVED_AFTER: i64 = 30 * 24 * 3600 * 1_000_000;

/// Memories.
#[derive(Debug)]
pub struct Memories<'a> {
    pub(super) store: &'a Store,
}

impl Memories<'_> {
    /// A new memory. Its times and its usage are set here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such agent; [`StoreError::Conflict`] where it has as many as it may.
    pub async fn create(&self, memory: Memory) -> Result<Memory, StoreError> {
        let mut write = self.store.begin().await?;
        of_live_agent(&mut write.tx, memory.agent_id).await?;
        let count =
            Sql::new("SELECT COUNT(*) AS total FROM memories WHERE deleted_at IS NULL AND agent_id = ")
                .bind(memory.agent_id.to_string());
        let total = write.tx.row(count).await?.map_or(Ok(0), |row| row.count("total"))?;
        if total >= MAX_PER_AGENT {
            return Err(StoreError::Conflict(format!(
                "the agent has {total} memories, as many as it may: delete some"
            )));
        }
        let memory = Memory {
            times_applied: 0,
            last_applied_at: None,
            created_at: write.now,
            updated_at: write.now,
            ..memory
        };
        let insert = Sql::new(
            "INSERT INTO memories (id, agent_id, text, tags, type, priority, pinned, disabled, source, \
             source_session_id, words, created_at, updated_at) VALUES (",
        )
        .bind_all([
            memory.id.to_string().into(),
            memory.agent_id.to_string().into(),
            memory.text.as_str().into(),
            json(&memory.tags)?.into(),
            memory.kind.as_str().into(),
            i64::from(memory.priority).into(),
            memory.pinned.into(),
            memory.disabled.into(),
            to_word(memory.source)?.into(),
            memory.source_session_id.map(|id| id.to_string()).into(),
            words_of(&memory).into(),
            memory.created_at.into(),
            memory.updated_at.into(),
        ]);
        write.tx.run(insert.push(")")).await?;
        write.change(ChangeKind::Created, ResourceRef::Memory(memory.id)).await?;
        write.commit().await?;
        Ok(memory)
    }

    /// One memory of an agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the agent has none of that id.
    pub async fn get(&self, agent: AgentId, id: MemoryId) -> Result<Memory, StoreError> {
        let mut tx = self.store.read().await?;
        of_live_agent(&mut tx, agent).await?;
        live(&mut tx, agent, id, "").await
    }

    /// A memory as it is or, deleted, last was, but for its text.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there never was one, or it has been gone for a day.
    pub async fn last_state(&self, id: MemoryId) -> Result<Memory, StoreError> {
        let mut tx = self.store.read().await?;
        let found = tx.row(Sql::new("SELECT * FROM memories WHERE id = ").bind(id.to_string())).await?;
        memory(&found.ok_or_else(|| not_found(id))?)
    }

    /// Changes a memory: reads it, lets `change` change it, writes it, with nothing in between. Whose it is, where it
    /// comes from, its usage and its times are not the caller's to change.
    ///
    /// # Errors
    /// What `change` answers; [`StoreError::NotFound`].
    pub async fn update<E: From<StoreError>>(
        &self,
        agent: AgentId,
        id: MemoryId,
        change: impl FnOnce(&mut Memory) -> Result<(), E>,
    ) -> Result<Memory, E> {
        let mut write = self.store.begin().await?;
        of_live_agent(&mut write.tx, agent).await?;
        let lock = write.tx.for_update();
        let before = live(&mut write.tx, agent, id, lock).await?;
        let mut after = before.clone();
        change(&mut after)?;
        let Memory { text, tags, kind, priority, pinned, disabled, .. } = after;
        let after = Memory { text, tags, kind, priority, pinned, disabled, ..before.clone() };
        if after == before {
            return Ok(before);
        }
        let after = Memory { updated_at: write.now, ..after };
        let update = Sql::new("UPDATE memories SET text = ")
            .bind(after.text.as_str())
            .push(", tags = ")
            .bind(json(&after.tags)?)
            .push(", type = ")
            .bind(after.kind.as_str())
            .push(", priority = ")
            .bind(i64::from(after.priority))
            .push(", pinned = ")
            .bind(after.pinned)
            .push(", disabled = ")
            .bind(after.disabled)
            .push(", words = ")
            .bind(words_of(&after))
            .push(", updated_at = ")
            .bind(after.updated_at);
        let update = update.push(" WHERE id = ").bind(id.to_string());
        write.tx.run(update).await.map_err(StoreError::from)?;
        write.change(ChangeKind::Updated, ResourceRef::Memory(id)).await?;
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a memory.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the agent has none of that id.
    pub async fn delete(&self, agent: AgentId, id: MemoryId) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        of_live_agent(&mut write.tx, agent).await?;
        let gone = Sql::new("UPDATE memories SET text = '', tags = '[]', words = '', deleted_at = ")
            .bind(write.now)
            .push(" WHERE deleted_at IS NULL AND agent_id = ")
            .bind(agent.to_string())
            .push(" AND id = ")
            .bind(id.to_string());
        if write.tx.run(gone).await? == 0 {
            return Err(not_found(id));
        }
        let long_ago = write.now.saturating_sub(DELETED_FOR).unwrap_or(Timestamp::MIN);
        let forget = Sql::new("DELETE FROM memories WHERE deleted_at < ").bind(long_ago);
        write.tx.run(forget).await?;
        write.change(ChangeKind::Deleted, ResourceRef::Memory(id)).await?;
        write.commit().await
    }

    /// The memories that a session of the agent is told, in that order: pinned ones, at most 20, then up to `limit`
    /// others by priority, by how often they were of use lately, and by age.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn to_tell(&self, agent: AgentId, limit: u32) -> Result<Vec<Memory>, StoreError> {
        let mut tx = self.store.read().await?;
        let of_agent = |pinned: bool| {
            Sql::new("SELECT * FROM memories WHERE deleted_at IS NULL AND agent_id = ")
                .bind(agent.to_string())
                .push(" AND disabled = ")
                .bind(false)
                .push(" AND pinned = ")
                .bind(pinned)
        };
        let first = of_agent(true).push(" ORDER BY priority DESC, created_at DESC, id DESC LIMIT ");
        let mut rows = tx.rows(first.bind(MAX_PINNED)).await?;
        let others = of_agent(false)
            .push(" ORDER BY priority DESC, times_applied * ")
            .bind(HALVED_AFTER)
            .push(" / (")
            .bind(HALVED_AFTER)
            .push(" + ")
            .bind(self.store.now())
            .push(" - COALESCE(last_applied_at, created_at)) DESC, created_at DESC, id DESC LIMIT ");
        rows.extend(tx.rows(others.bind(limit)).await?);
        rows.iter().map(memory).collect()
    }

    /// Notes that a session was told these, or that an agent's search found them.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn applied(&self, ids: &[MemoryId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut write = self.store.begin().await?;
        let update = Sql::new("UPDATE memories SET times_applied = times_applied + 1, last_applied_at = ")
            .bind(write.now)
            .push(" WHERE id IN (")
            .bind_all(ids.iter().map(|id| id.to_string().into()))
            .push(")");
        write.tx.run(update).await?;
        for id in ids {
            write.change(ChangeKind::Updated, ResourceRef::Memory(*id)).await?;
        }
        write.commit().await
    }
}

impl Write<'_> {
    /// Removes all memories of an agent that is deleted.
    pub(super) async fn forget_memories(&mut self, agent: AgentId) -> Result<(), StoreError> {
        let gone = Sql::new("DELETE FROM memories WHERE agent_id = ").bind(agent.to_string());
        self.tx.run(gone).await?;
        Ok(())
    }
}

/// That the agent is there and not deleted.
pub(super) async fn of_live_agent(tx: &mut Tx, agent: AgentId) -> Result<(), StoreError> {
    let there =
        Sql::new("SELECT 1 AS one FROM agents WHERE deleted_at IS NULL AND id = ").bind(agent.to_string());
    tx.row(there).await?.map(drop).ok_or_else(|| agents::not_found(agent))
}

async fn live(tx: &mut Tx, agent: AgentId, id: MemoryId, lock: &'static str) -> Result<Memory, StoreError> {
    let sql = Sql::new("SELECT * FROM memories WHERE deleted_at IS NULL AND agent_id = ")
        .bind(agent.to_string())
        .push(" AND id = ")
        .bind(id.to_string());
    memory(&tx.row(sql.push(lock)).await?.ok_or_else(|| not_found(id))?)
}

fn not_found(id: MemoryId) -> StoreError {
    StoreError::NotFound(format!("memory {id} of this agent"))
}

/// What searches look into: both databases are given the words rather than the text, so that both find the same.
fn words_of(memory: &Memory) -> String {
    let parts = std::iter::once(memory.text.as_str()).chain(memory.tags.iter().map(String::as_str));
    parts.flat_map(words).collect::<Vec<_>>().join(" ")
}

/// The words of a text, in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

pub(super) fn memory(row: &Row) -> Result<Memory, StoreError> {
    Ok(Memory {
        id: row.word("id")?,
        agent_id: row.word("agent_id")?,
        text: row.text("text")?,
        tags: row.json("tags")?,
        kind: row.word("type")?,
        priority: i32::try_from(row.whole("priority")?).map_err(StoreError::internal)?,
        pinned: row.truth("pinned")?,
        disabled: row.truth("disabled")?,
        times_applied: row.count("times_applied")?,
        last_applied_at: row.maybe_time("last_applied_at")?,
        source: row.word("source")?,
        source_session_id: row
            .maybe_text("source_session_id")?
            .map(|id| super::sql::from_word(&id))
            .transpose()?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
