//! Sessions in the database: made, changed, owned.

use jiff::Timestamp;

use super::agents::not_found as no_agent;
use super::owners::FREE;
use super::record::{MUTABLE, preview};
use super::sql::{Sql, Tx};
use super::{NewSession, OwnerId, ResourceRef, SessionRecord, Store, StoreError, Write};
use crate::model::{AgentId, ChangeKind, CreateSession, Phase, SessionId, SessionStatus};
use crate::session::TERMINAL_PROGRAM;

/// Sessions.
#[derive(Debug)]
pub struct Sessions<'a> {
    pub(super) store: &'a Store,
}

impl Sessions<'_> {
    /// A new session, `creating`. It counts against its agent's `max_sessions` at once, whatever the number of servers.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the agent is not there, [`StoreError::Conflict`] where it has as many live
    /// sessions as it may.
    pub async fn create(&self, new: NewSession) -> Result<SessionRecord, StoreError> {
        let mut write = self.store.begin().await?;
        // Counting the session locks the agent's row: creates of one agent's sessions follow one another.
        let counted = Sql::new(
            "UPDATE agents SET session_count = session_count + 1 WHERE deleted_at IS NULL AND id = ",
        )
        .bind(new.agent_id.to_string())
        .push(" RETURNING max_sessions, supports_tui, idle_timeout_seconds, config_generation");
        let agent = write.tx.row(counted).await?.ok_or_else(|| no_agent(new.agent_id))?;
        admit(&mut write, new.agent_id, agent.maybe_whole("max_sessions")?, new.max_live).await?;
        let mut record = SessionRecord {
            id: new.id,
            agent_id: new.agent_id,
            title: new.request.title.clone(),
            asked: preview(new.request.initial_prompt.as_deref().unwrap_or_default()),
            status: SessionStatus::Creating,
            phase: Phase::CreatingSandbox,
            phase_detail: None,
            phase_started_at: Some(write.now),
            death: None,
            ending: false,
            intent: None,
            sandbox: None,
            sandbox_url: None,
            program: None,
            unconfined: new.unconfined,
            harness_session_id: None,
            supports_tui: agent.truth("supports_tui")?,
            response: None,
            origin: new.origin,
            idle_timeout_ms: agent.count("idle_timeout_seconds")?.saturating_mul(1000),
            unsaved: None,
            timings: std::collections::BTreeMap::new(),
            steps: std::collections::BTreeMap::new(),
            config_generation: agent.count("config_generation")?,
            owner: None,
            created_at: write.now,
            last_seen_at: None,
            ready_at: None,
            stopped_at: None,
        };
        if let Some(sandbox) = new.adopted {
            record = SessionRecord {
                status: SessionStatus::Ready,
                phase: Phase::Ready,
                phase_started_at: None,
                sandbox: Some(sandbox),
                program: Some(TERMINAL_PROGRAM.to_owned()),
                supports_tui: true,
                ready_at: Some(write.now),
                ..record
            };
        }
        let insert = Sql::new(
            "INSERT INTO sessions (title, status, phase, phase_detail, phase_started_at, death, failure_reason, exit_code, ending, intent, \
             sandbox, sandbox_url, program, unconfined, harness_session_id, supports_tui, response, idle_timeout_ms, \
             unsaved_files, unsaved_commits, timings, steps, config_generation, owner, last_seen_at, ready_at, stopped_at, \
             search_text, id, agent_id, title_preview, origin, created_at, request) VALUES (",
        )
        .bind_all(record.mutable()?)
        .push(", ")
        .bind_all([
            record.id.to_string().into(),
            record.agent_id.to_string().into(),
            record.asked.as_str().into(),
            record.origin.as_str().into(),
            record.created_at.into(),
            self.store.seal(&context(record.id), &new.request)?.into(),
        ])
        .push(")");
        write.tx.run(insert).await?;
        write.change(ChangeKind::Created, ResourceRef::Session(record.id)).await?;
        // Its count, and whether it has an active session, are part of the agent's row.
        write.change(ChangeKind::Updated, ResourceRef::Agent(record.agent_id)).await?;
        write.commit().await?;
        Ok(record)
    }

    /// One session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get(&self, id: SessionId) -> Result<SessionRecord, StoreError> {
        let mut tx = self.store.read().await?;
        one(&mut tx, id, "").await
    }

    /// What a session was asked for with: prompt, attachments, environment, skills.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn request(&self, id: SessionId) -> Result<CreateSession, StoreError> {
        let mut tx = self.store.read().await?;
        let sql =
            Sql::new("SELECT request FROM sessions WHERE erased_at IS NULL AND id = ").bind(id.to_string());
        let row = tx.row(sql).await?.ok_or_else(|| not_found(id))?;
        let sealed = row.bytes("request")?;
        // Gone with its agent's secrets.
        if sealed.is_empty() {
            Ok(CreateSession::default())
        } else {
            self.store.unseal(&context(id), &sealed)
        }
    }

    /// Changes a session: reads it, lets `change` change it, writes it, with nothing in between. Its id, agent,
    /// origin and creation are not the caller's to change; where nothing changes, nothing is written and no change is
    /// told.
    ///
    /// # Errors
    /// What `change` answers; [`StoreError::NotFound`].
    pub async fn update<E: From<StoreError>>(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord) -> Result<(), E>,
    ) -> Result<SessionRecord, E> {
        let mut write = self.store.begin().await?;
        let lock = write.tx.for_update();
        let before = one(&mut write.tx, id, lock).await?;
        let mut after = before.clone();
        change(&mut after)?;
        let after = SessionRecord {
            id,
            agent_id: before.agent_id,
            asked: before.asked.clone(),
            origin: before.origin.clone(),
            created_at: before.created_at,
            ..after
        };
        if after != before {
            put(&mut write, &before, &after).await?;
            write.commit().await?;
        }
        Ok(after)
    }

    /// [`Sessions::update`] for one that may live again: it counts against its agent's `max_sessions` and the server's
    /// `max_live` like a new one.
    ///
    /// # Errors
    /// Besides those: [`StoreError::NotFound`] where its agent was deleted, [`StoreError::Conflict`] where as many live
    /// as may.
    pub async fn revive<E: From<StoreError>>(
        &self,
        id: SessionId,
        max_live: usize,
        change: impl FnOnce(&mut SessionRecord) -> Result<(), E>,
    ) -> Result<SessionRecord, E> {
        let mut write = self.store.begin().await?;
        let lock = write.tx.for_update();
        let before = one(&mut write.tx, id, lock).await?;
        let mut after = before.clone();
        change(&mut after)?;
        if after.status.is_live() && !before.status.is_live() {
            // The agent's row is locked, as when a session is made.
            let agent = Sql::new(
                "UPDATE agents SET session_count = session_count WHERE deleted_at IS NULL AND id = ",
            )
            .bind(before.agent_id.to_string())
            .push(" RETURNING max_sessions");
            let agent = write.tx.row(agent).await?;
            let agent = agent.ok_or_else(|| no_agent(before.agent_id))?;
            admit(&mut write, before.agent_id, agent.maybe_whole("max_sessions")?, max_live).await?;
        }
        if after != before {
            put(&mut write, &before, &after).await?;
            write.commit().await?;
        }
        Ok(after)
    }

    /// [`Sessions::update`] for the server at work on the session.
    ///
    /// # Errors
    /// Besides those: [`StoreError::Conflict`] where another is by now.
    pub async fn update_owned<E: From<StoreError>>(
        &self,
        id: SessionId,
        owner: OwnerId,
        change: impl FnOnce(&mut SessionRecord) -> Result<(), E>,
    ) -> Result<SessionRecord, E> {
        self.update(id, |record| {
            if record.owner != Some(owner) {
                return Err(
                    StoreError::Conflict(format!("another server has taken session {id} over")).into()
                );
            }
            change(record)
        })
        .await
    }

    /// Makes a server the one at work on a session, and gives the session as it is then. `None`: another is, or this
    /// one is not on the list of those that live.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such session.
    pub async fn claim(&self, id: SessionId, owner: OwnerId) -> Result<Option<SessionRecord>, StoreError> {
        let mut write = self.store.begin().await?;
        let name = owner.to_string();
        let sql = Sql::new("UPDATE sessions SET owner = ").bind(name.as_str()).push(" WHERE id = ");
        let sql = sql.bind(id.to_string()).push(" AND (owner = ").bind(name.as_str()).push(" OR ").push(FREE);
        let sql = sql.push(") AND EXISTS (SELECT 1 FROM owners WHERE id = ").bind(name).push(")");
        let taken = write.tx.run(sql).await? > 0;
        let record = one(&mut write.tx, id, "").await?;
        write.commit().await?;
        Ok(taken.then_some(record))
    }

    /// Notes activity. Not told as a change: it is frequent, and nobody waits for it. Never goes back, but for a time that
    /// has yet to come: it was written by a clock that has been set since.
    ///
    /// # Errors
    /// Where the database cannot be written.
    pub async fn touch(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        let sql = Sql::new("UPDATE sessions SET last_seen_at = ")
            .bind(at)
            .push(" WHERE id = ")
            .bind(id.to_string());
        let sql = sql.push(" AND (last_seen_at IS NULL OR last_seen_at < ").bind(at);
        write.tx.run(sql.push(" OR last_seen_at > ").bind(write.now).push(")")).await?;
        write.commit().await
    }

    /// All sessions a sandbox may belong to: `creating`, `ready`, or still being ended. For reconcile; as many as the
    /// server's limit of live sessions.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn live(&self) -> Result<Vec<SessionRecord>, StoreError> {
        let mut tx = self.store.read().await?;
        let sql = "SELECT * FROM sessions WHERE status IN ('creating', 'ready') OR ending OR intent IS NOT NULL \
                   ORDER BY created_at, id";
        tx.rows(Sql::new(sql)).await?.iter().map(SessionRecord::read).collect()
    }
}

pub(super) fn not_found(id: SessionId) -> StoreError {
    StoreError::NotFound(format!("session {id}"))
}

fn context(id: SessionId) -> String {
    format!("sessions/{id}/request")
}

async fn one(tx: &mut Tx, id: SessionId, lock: &'static str) -> Result<SessionRecord, StoreError> {
    let sql =
        Sql::new("SELECT * FROM sessions WHERE erased_at IS NULL AND id = ").bind(id.to_string()).push(lock);
    SessionRecord::read(&tx.row(sql).await?.ok_or_else(|| not_found(id))?)
}

/// Lets one more session of an agent live, if it may. The agent's row is locked.
async fn admit(
    write: &mut Write<'_>,
    agent: AgentId,
    most: Option<i64>,
    max_live: usize,
) -> Result<(), StoreError> {
    if let Some(most) = most {
        let live = live_count(&mut write.tx, agent).await?;
        if live >= most.unsigned_abs() {
            return Err(StoreError::Conflict(format!(
                "the agent has {live} live sessions and may have {most}: stop one, or raise its max_sessions"
            )));
        }
    }
    // Creates of different agents' sessions follow one another from here on, as all writes do at their end.
    write.tx.run(Sql::new("UPDATE feed SET last_id = last_id WHERE one = 1")).await?;
    let all = Sql::new("SELECT COUNT(*) AS live FROM sessions WHERE status IN ('creating', 'ready')");
    let live = write.tx.row(all).await?.map_or(Ok(0), |row| row.count("live"))?;
    if live >= max_live as u64 {
        return Err(StoreError::Conflict(format!(
            "this server has {live} live sessions and may have {max_live}: stop one, or raise limits.live_sessions"
        )));
    }
    Ok(())
}

async fn live_count(tx: &mut Tx, agent: AgentId) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS live FROM sessions WHERE status IN ('creating', 'ready') AND agent_id = ";
    tx.row(Sql::new(sql).bind(agent.to_string())).await?.map_or(Ok(0), |row| row.count("live"))
}

async fn put(write: &mut Write<'_>, before: &SessionRecord, after: &SessionRecord) -> Result<(), StoreError> {
    let update = MUTABLE
        .into_iter()
        .zip(after.mutable()?)
        .fold(Sql::new("UPDATE sessions SET "), |sql, (column, value)| sql.push(column).bind(value));
    write.tx.run(update.push(" WHERE id = ").bind(after.id.to_string())).await?;
    // Who works on it is between servers: nobody who follows the feed sees it.
    if (SessionRecord { owner: after.owner, ..before.clone() }) == *after {
        return Ok(());
    }
    write.change(ChangeKind::Updated, ResourceRef::Session(after.id)).await?;
    if before.status.is_live() != after.status.is_live() {
        write.change(ChangeKind::Updated, ResourceRef::Agent(after.agent_id)).await?;
    }
    Ok(())
}
