//! Agents in the database.

use std::collections::BTreeMap;

use super::error::SqlFault;
use super::sql::{Arg, Row, Sql, Tx, json};
use super::{ResourceRef, Store, StoreError, Write};
use crate::model::{Agent, AgentId, AgentRow, ChangeKind, SessionId};

/// Agents. `env_vars` are in clear in what goes in and comes out, and sealed in between.
#[derive(Debug)]
pub struct Agents<'a> {
    pub(super) store: &'a Store,
}

/// What is left to do when an agent has been deleted.
#[derive(Clone, Debug)]
pub struct DeletedAgent {
    /// Its last state.
    pub agent: AgentRow,
    /// Its live sessions. Each is marked as ending, so that whoever finds them next, even after a crash, ends them.
    pub ending: Vec<SessionId>,
}

/// All columns of an agent's row as the API has it.
pub(super) const SELECT: &str = "SELECT agents.*, EXISTS (SELECT 1 FROM sessions WHERE sessions.agent_id = agents.id \
                                 AND sessions.status IN ('creating', 'ready')) AS has_active_session FROM agents";

/// The columns that can change, in the order of [`mutable`].
const MUTABLE: [&str; 20] = [
    "name = ",
    ", model = ",
    ", prompt = ",
    ", harness_image = ",
    ", branch = ",
    ", repo_url = ",
    ", requirements = ",
    ", mcp_servers = ",
    ", env_vars = ",
    ", env_var_hosts = ",
    ", allow_out = ",
    ", deny_out = ",
    ", skill_ids = ",
    ", preload_memory_limit = ",
    ", resources = ",
    ", idle_timeout_seconds = ",
    ", max_sessions = ",
    ", config_generation = ",
    ", search_text = ",
    ", updated_at = ",
];

impl Agents<'_> {
    /// A new agent. Its times and generation are set here.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where a live agent has that name; [`StoreError::NotFound`] for a skill.
    pub async fn create(&self, agent: Agent) -> Result<AgentRow, StoreError> {
        let mut write = self.store.begin().await?;
        let agent = Agent { created_at: write.now, updated_at: write.now, config_generation: 1, ..agent };
        let insert = Sql::new(
            "INSERT INTO agents (name, model, prompt, harness_image, branch, repo_url, requirements, mcp_servers, env_vars, \
             env_var_hosts, allow_out, deny_out, skill_ids, preload_memory_limit, resources, idle_timeout_seconds, \
             max_sessions, config_generation, search_text, updated_at, id, harness_id, supports_tui, \
             created_at) VALUES (",
        )
        .bind_all(mutable(self.store, &agent)?)
        .push(", ")
        .bind_all([
            agent.id.to_string().into(),
            agent.harness_id.as_str().into(),
            agent.supports_tui.into(),
            agent.created_at.into(),
        ])
        .push(")");
        write.tx.run(insert).await.map_err(|fault| name_taken(fault, &agent.name))?;
        write.attach_skills(agent.id, &agent.attached_skill_ids).await?;
        write.change(ChangeKind::Created, ResourceRef::Agent(agent.id)).await?;
        write.commit().await?;
        Ok(AgentRow { agent, session_count: 0, has_active_session: false })
    }

    /// One agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, or it was deleted.
    pub async fn get(&self, id: AgentId) -> Result<AgentRow, StoreError> {
        let mut tx = self.store.read().await?;
        live(self.store, &mut tx, id, "").await
    }

    /// One agent as it is or, deleted, last was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there never was one.
    pub async fn last_state(&self, id: AgentId) -> Result<AgentRow, StoreError> {
        let mut tx = self.store.read().await?;
        let found = tx.row(Sql::new(SELECT).push(" WHERE agents.id = ").bind(id.to_string())).await?;
        agent_row(self.store, &found.ok_or_else(|| not_found(id))?)
    }

    /// The live agent of that name.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn by_name(&self, name: &str) -> Result<Option<AgentRow>, StoreError> {
        let mut tx = self.store.read().await?;
        let sql = Sql::new(SELECT).push(" WHERE agents.deleted_at IS NULL AND agents.name = ").bind(name);
        tx.row(sql).await?.map(|row| agent_row(self.store, &row)).transpose()
    }

    /// Changes an agent: reads it, lets `change` change it, writes it, with nothing in between. Its id, harness,
    /// repository and times are not the caller's to change; where nothing changes, nothing is written and no change
    /// is told. The generation rises where the change alters a sandbox.
    ///
    /// # Errors
    /// What `change` answers; [`StoreError::NotFound`], also for a skill; [`StoreError::Conflict`] where the new name is
    /// taken.
    pub async fn update<E: From<StoreError>>(
        &self,
        id: AgentId,
        change: impl FnOnce(&mut Agent) -> Result<(), E>,
    ) -> Result<AgentRow, E> {
        let mut write = self.store.begin().await?;
        let lock = write.tx.for_update();
        let before = live(self.store, &mut write.tx, id, lock).await?;
        let mut agent = before.agent.clone();
        change(&mut agent)?;
        let agent = Agent {
            id,
            harness_id: before.agent.harness_id.clone(),
            supports_tui: before.agent.supports_tui,
            created_at: before.agent.created_at,
            updated_at: before.agent.updated_at,
            config_generation: before.agent.config_generation,
            ..agent
        };
        if agent == before.agent {
            return Ok(before);
        }
        let rise = u64::from(alters_sandbox(&before.agent, &agent));
        let agent = Agent {
            updated_at: write.now,
            config_generation: before.agent.config_generation + rise,
            ..agent
        };
        self.write(&mut write, &agent).await?;
        if agent.attached_skill_ids != before.agent.attached_skill_ids {
            write.attach_skills(id, &agent.attached_skill_ids).await?;
        }
        write.commit().await?;
        Ok(AgentRow { agent, ..before })
    }

    async fn write(&self, write: &mut Write<'_>, agent: &Agent) -> Result<(), StoreError> {
        let values = mutable(self.store, agent)?;
        let update = MUTABLE
            .into_iter()
            .zip(values)
            .fold(Sql::new("UPDATE agents SET "), |sql, (column, value)| sql.push(column).bind(value));
        let update = update.push(" WHERE id = ").bind(agent.id.to_string());
        write.tx.run(update).await.map_err(|fault| name_taken(fault, &agent.name))?;
        write.change(ChangeKind::Updated, ResourceRef::Agent(agent.id)).await?;
        Ok(())
    }

    /// Deletes an agent: its name is free, no session of it can begin, and its live ones are marked as ending. Its secrets
    /// and those its sessions were asked for with are gone.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, or it was deleted before.
    pub async fn delete(&self, id: AgentId) -> Result<DeletedAgent, StoreError> {
        let mut write = self.store.begin().await?;
        let lock = write.tx.for_update();
        let agent = live(self.store, &mut write.tx, id, lock).await?;
        let bare = Agent { env_vars: BTreeMap::new(), mcp_servers: Vec::new(), ..agent.agent.clone() };
        let gone = Sql::new("UPDATE agents SET env_vars = ")
            .bind(self.store.seal(&context(id, "env_vars"), &bare.env_vars)?)
            .push(", mcp_servers = ")
            .bind(self.store.seal(&context(id, "mcp_servers"), &bare.mcp_servers)?)
            .push(", deleted_at = ")
            .bind(write.now);
        write.tx.run(gone.push(" WHERE id = ").bind(id.to_string())).await?;
        let requests = Sql::new("UPDATE sessions SET request = ").bind(Vec::new()).push(" WHERE agent_id = ");
        write.tx.run(requests.bind(id.to_string())).await?;
        let ending = Sql::new(
            "UPDATE sessions SET intent = 'stop', ending = TRUE, death = COALESCE(death, 'agent_deleted'), \
             failure_reason = COALESCE(failure_reason, 'its agent was deleted') WHERE status IN ('creating', \
             'ready') AND agent_id = ",
        );
        let ending = write.tx.rows(ending.bind(id.to_string()).push(" RETURNING id")).await?;
        let ending = ending.iter().map(|row| row.word("id")).collect::<Result<Vec<SessionId>, _>>()?;
        write.forget_memories(id).await?;
        write.attach_skills(id, &[]).await?;
        write.change(ChangeKind::Deleted, ResourceRef::Agent(id)).await?;
        write.commit().await?;
        Ok(DeletedAgent { agent, ending })
    }
}

async fn live(store: &Store, tx: &mut Tx, id: AgentId, lock: &'static str) -> Result<AgentRow, StoreError> {
    let sql = Sql::new(SELECT).push(" WHERE agents.deleted_at IS NULL AND agents.id = ").bind(id.to_string());
    // Only the agent's own row is locked: the sessions are looked at in passing.
    agent_row(store, &tx.row(sql.push(lock)).await?.ok_or_else(|| not_found(id))?)
}

pub(super) fn not_found(id: AgentId) -> StoreError {
    StoreError::NotFound(format!("agent {id}"))
}

fn name_taken(fault: SqlFault, name: &str) -> StoreError {
    match fault {
        SqlFault::Unique => {
            StoreError::Conflict(format!("an agent named \"{name}\" exists already: choose another name"))
        }
        SqlFault::Other(error) => error,
    }
}

/// Whether a sandbox made from the one differs from one made from the other.
fn alters_sandbox(before: &Agent, after: &Agent) -> bool {
    let same_in_a_sandbox = Agent {
        name: before.name.clone(),
        idle_timeout_seconds: before.idle_timeout_seconds,
        max_sessions: before.max_sessions,
        ..after.clone()
    };
    same_in_a_sandbox != *before
}

fn context(id: AgentId, column: &str) -> String {
    format!("agents/{id}/{column}")
}

fn mutable(store: &Store, agent: &Agent) -> Result<[Arg; MUTABLE.len()], StoreError> {
    Ok([
        agent.name.as_str().into(),
        agent.model.as_str().into(),
        agent.prompt.clone().into(),
        agent.harness_image.clone().into(),
        // The column is older than agents without one.
        agent.branch.as_deref().unwrap_or_default().into(),
        agent.repo_url.clone().into(),
        agent.requirements.clone().into(),
        store.seal(&context(agent.id, "mcp_servers"), &agent.mcp_servers)?.into(),
        store.seal(&context(agent.id, "env_vars"), &agent.env_vars)?.into(),
        json(&agent.env_var_hosts)?.into(),
        json(&agent.allow_out)?.into(),
        json(&agent.deny_out)?.into(),
        json(&agent.attached_skill_ids)?.into(),
        agent.preload_memory_limit.into(),
        json(&agent.resources)?.into(),
        agent.idle_timeout_seconds.into(),
        agent.max_sessions.map(i64::from).into(),
        agent.config_generation.into(),
        super::cursor::search_text(&[&agent.name, &agent.id.to_string(), &agent.harness_id]).into(),
        agent.updated_at.into(),
    ])
}

pub(super) fn agent_row(store: &Store, row: &Row) -> Result<AgentRow, StoreError> {
    let id: AgentId = row.word("id")?;
    let small = |column| u32::try_from(row.whole(column)?).map_err(StoreError::internal);
    let agent = Agent {
        id,
        name: row.text("name")?,
        model: row.text("model")?,
        prompt: row.maybe_text("prompt")?,
        harness_id: row.text("harness_id")?,
        harness_image: row.maybe_text("harness_image")?,
        repo_url: row.maybe_text("repo_url")?,
        branch: Some(row.text("branch")?).filter(|branch| !branch.is_empty()),
        requirements: row.maybe_text("requirements")?,
        mcp_servers: store.unseal(&context(id, "mcp_servers"), &row.bytes("mcp_servers")?)?,
        env_vars: store.unseal(&context(id, "env_vars"), &row.bytes("env_vars")?)?,
        env_var_hosts: row.json("env_var_hosts")?,
        allow_out: row.json("allow_out")?,
        deny_out: row.json("deny_out")?,
        attached_skill_ids: row.json("skill_ids")?,
        preload_memory_limit: small("preload_memory_limit")?,
        resources: row.json("resources")?,
        idle_timeout_seconds: row.count("idle_timeout_seconds")?,
        max_sessions: row
            .maybe_whole("max_sessions")?
            .map(u32::try_from)
            .transpose()
            .map_err(StoreError::internal)?,
        supports_tui: row.truth("supports_tui")?,
        config_generation: row.count("config_generation")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    };
    Ok(AgentRow {
        agent,
        session_count: row.count("session_count")?,
        has_active_session: row.truth("has_active_session")?,
    })
}
