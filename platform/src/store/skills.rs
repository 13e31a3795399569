//! Skills in the database: each with all its versions, and which agents have it.

use std::collections::HashSet;

use super::error::SqlFault;
use super::sql::{Row, Sql, Tx};
use super::{ResourceRef, Store, StoreError, Write};
use crate::model::validate::limits::AGENT_SKILLS;
use crate::model::{AgentId, ChangeKind, Skill, SkillAgent, SkillId, SkillVersion};

/// The most agents that are named with a skill.
pub(super) const MAX_AGENTS_NAMED: u32 = 100;
/// The most versions kept of a skill: older ones go.
const MAX_VERSIONS: u64 = 100;

/// Skills.
#[derive(Debug)]
pub struct Skills<'a> {
    pub(super) store: &'a Store,
}

/// A skill to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSkill {
    /// Its id.
    pub id: SkillId,
    /// Its name.
    pub name: String,
    /// When it is of use.
    pub description: String,
    /// Its text.
    pub content: String,
    /// Whether it is in the library.
    pub in_library: bool,
}

impl Skills<'_> {
    /// A new skill.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the library has one of that name.
    pub async fn create(&self, new: NewSkill) -> Result<Skill, StoreError> {
        let mut write = self.store.begin().await?;
        write.skill(&new).await?;
        let skill = read(&mut write.tx, new.id).await?;
        write.commit().await?;
        Ok(skill)
    }

    /// A new skill of an agent, beside those that it has.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such agent; [`StoreError::Conflict`] where the library has one of that
    /// name, or the agent as many as it may.
    pub async fn create_for(&self, agent: AgentId, new: NewSkill) -> Result<Skill, StoreError> {
        let mut write = self.store.begin().await?;
        let id = new.id;
        write.skill(&new).await?;
        write.attach_skill(agent, id).await?;
        let skill = read(&mut write.tx, id).await?;
        write.commit().await?;
        Ok(skill)
    }

    /// One skill with its text.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get(&self, id: SkillId) -> Result<Skill, StoreError> {
        let mut tx = self.store.read().await?;
        read(&mut tx, id).await
    }

    /// Changes a skill: reads it, lets `change` change name, description and content, writes it, with nothing in between.
    /// Where description or content change it has a new version.
    ///
    /// # Errors
    /// What `change` answers; [`StoreError::NotFound`]; [`StoreError::Conflict`] where the new name is taken.
    pub async fn update<E: From<StoreError>>(
        &self,
        id: SkillId,
        change: impl FnOnce(&mut Skill) -> Result<(), E>,
    ) -> Result<Skill, E> {
        let mut write = self.store.begin().await?;
        let lock =
            Sql::new("SELECT id FROM skills WHERE id = ").bind(id.to_string()).push(write.tx.for_update());
        write.tx.row(lock).await?;
        let before = read(&mut write.tx, id).await?;
        let mut after = before.clone();
        change(&mut after)?;
        let Skill { name, description, content, .. } = after;
        let after = Skill { name, description, content, ..before.clone() };
        if after == before {
            return Ok(before);
        }
        let edited = after.description != before.description || after.content != before.content;
        let version = before.version + u64::from(edited);
        let update = Sql::new("UPDATE skills SET name = ")
            .bind(after.name.as_str())
            .push(", description = ")
            .bind(after.description.as_str())
            .push(", search_text = ")
            .bind(super::cursor::search_text(&[&after.name, &after.description]))
            .push(", version = ")
            .bind(version)
            .push(", updated_at = ")
            .bind(write.now);
        let update = update.push(" WHERE id = ").bind(id.to_string());
        write.tx.run(update).await.map_err(|fault| name_taken(fault, &after.name))?;
        if edited {
            let content = after.content.as_deref().unwrap_or_default();
            write.version(id, version, &after.description, content).await?;
        }
        let skill = read(&mut write.tx, id).await?;
        write.commit().await?;
        Ok(skill)
    }

    /// Deletes a skill with all its versions; agents that have it no longer do.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn delete(&self, id: SkillId) -> Result<(), StoreError> {
        let mut write = self.store.begin().await?;
        let skill = read(&mut write.tx, id).await?;
        let having = Sql::new(
            "SELECT agents.id AS id, agents.skill_ids AS skill_ids FROM agent_skills JOIN agents ON \
                               agents.id = agent_skills.agent_id WHERE skill_id = ",
        );
        let having = having.bind(skill.id.to_string());
        for row in write.tx.rows(having).await? {
            let agent: AgentId = row.word("id")?;
            let mut ids: Vec<SkillId> = row.json("skill_ids")?;
            ids.retain(|other| *other != id);
            let detach =
                Sql::new("UPDATE agents SET config_generation = config_generation + 1, updated_at = ")
                    .bind(write.now)
                    .push(", skill_ids = ")
                    .bind(super::sql::json(&ids)?)
                    .push(" WHERE id = ")
                    .bind(agent.to_string());
            write.tx.run(detach).await?;
            write.change(ChangeKind::Updated, ResourceRef::Agent(agent)).await?;
        }
        write.tx.run(Sql::new("DELETE FROM skills WHERE id = ").bind(id.to_string())).await?;
        write.commit().await
    }

    /// The versions of a skill there are, newest first, without their texts.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such skill.
    pub async fn versions(&self, id: SkillId) -> Result<Vec<SkillVersion>, StoreError> {
        let mut tx = self.store.read().await?;
        read(&mut tx, id).await?;
        let versions = Sql::new(
            "SELECT version, description, content_bytes, created_at FROM skill_versions WHERE skill_id = ",
        );
        let versions = versions.bind(id.to_string()).push(" ORDER BY version DESC LIMIT ").bind(MAX_VERSIONS);
        tx.rows(versions).await?.iter().map(|row| version(row, None)).collect()
    }

    /// A version of a skill with its text.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such skill, or no such version of it.
    pub async fn version(&self, id: SkillId, number: u64) -> Result<SkillVersion, StoreError> {
        let mut tx = self.store.read().await?;
        read(&mut tx, id).await?;
        let found = Sql::new("SELECT * FROM skill_versions WHERE skill_id = ").bind(id.to_string());
        let found = tx.row(found.push(" AND version = ").bind(number)).await?;
        let row = found.ok_or_else(|| StoreError::NotFound(format!("version {number} of skill {id}")))?;
        version(&row, Some(row.text("content")?))
    }

    /// These skills with their texts, in this order; those that are gone are left out.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn of_ids(&self, ids: &[SkillId]) -> Result<Vec<Skill>, StoreError> {
        let mut tx = self.store.read().await?;
        let mut skills = Vec::with_capacity(ids.len());
        for id in ids {
            match read(&mut tx, *id).await {
                Ok(skill) => skills.push(skill),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(skills)
    }

    /// That all of these are in the library.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the first that is not.
    pub async fn all_there(&self, ids: &[SkillId]) -> Result<(), StoreError> {
        let mut tx = self.store.read().await?;
        there(&mut tx, ids, &HashSet::new()).await
    }
}

impl Write<'_> {
    async fn skill(&mut self, new: &NewSkill) -> Result<(), StoreError> {
        let insert = Sql::new(
            "INSERT INTO skills (id, name, description, version, in_library, search_text, created_at, updated_at) VALUES (",
        )
        .bind_all([
            new.id.to_string().into(),
            new.name.as_str().into(),
            new.description.as_str().into(),
            1_i64.into(),
            new.in_library.into(),
            super::cursor::search_text(&[&new.name, &new.description]).into(),
            self.now.into(),
            self.now.into(),
        ]);
        self.tx.run(insert.push(")")).await.map_err(|fault| name_taken(fault, &new.name))?;
        self.version(new.id, 1, &new.description, &new.content).await
    }

    /// One more skill of an agent.
    async fn attach_skill(&mut self, agent: AgentId, id: SkillId) -> Result<(), StoreError> {
        let found = Sql::new("SELECT skill_ids FROM agents WHERE deleted_at IS NULL AND id = ");
        let found = found.bind(agent.to_string()).push(self.tx.for_update());
        let row = self.tx.row(found).await?.ok_or_else(|| super::agents::not_found(agent))?;
        let mut ids: Vec<SkillId> = row.json("skill_ids")?;
        if ids.len() >= AGENT_SKILLS {
            let most = format!("the agent has {AGENT_SKILLS} skills, as many as it may: detach one");
            return Err(StoreError::Conflict(most));
        }
        ids.push(id);
        let change = Sql::new("UPDATE agents SET config_generation = config_generation + 1, updated_at = ")
            .bind(self.now)
            .push(", skill_ids = ")
            .bind(super::sql::json(&ids)?);
        self.tx.run(change.push(" WHERE id = ").bind(agent.to_string())).await?;
        let attach = Sql::new("INSERT INTO agent_skills (skill_id, agent_id) VALUES (")
            .bind_all([id.to_string().into(), agent.to_string().into()]);
        self.tx.run(attach.push(")")).await?;
        self.change(ChangeKind::Updated, ResourceRef::Agent(agent)).await?;
        Ok(())
    }

    /// Notes a version of a skill, and forgets the oldest where there are too many.
    async fn version(
        &mut self,
        id: SkillId,
        version: u64,
        description: &str,
        content: &str,
    ) -> Result<(), StoreError> {
        let insert = Sql::new(
            "INSERT INTO skill_versions (skill_id, version, description, content, content_bytes, created_at) VALUES (",
        )
        .bind_all([
            id.to_string().into(),
            version.into(),
            description.into(),
            content.into(),
            (content.len() as u64).into(),
            self.now.into(),
        ]);
        self.tx.run(insert.push(")")).await?;
        let old = Sql::new("DELETE FROM skill_versions WHERE skill_id = ").bind(id.to_string());
        let old = old.push(" AND version <= ").bind(version.saturating_sub(MAX_VERSIONS));
        self.tx.run(old).await?;
        Ok(())
    }

    /// That the agent has these skills and no others. One that is in no library goes with the agent that had it.
    pub(super) async fn attach_skills(&mut self, agent: AgentId, ids: &[SkillId]) -> Result<(), StoreError> {
        let had = Sql::new("SELECT skill_id FROM agent_skills WHERE agent_id = ").bind(agent.to_string());
        let had = self.tx.rows(had).await?;
        let had = had.iter().map(|row| row.word("skill_id")).collect::<Result<HashSet<SkillId>, _>>()?;
        there(&mut self.tx, ids, &had).await?;
        let detach = Sql::new("DELETE FROM agent_skills WHERE agent_id = ").bind(agent.to_string());
        self.tx.run(detach).await?;
        for id in ids {
            let attach = Sql::new("INSERT INTO agent_skills (skill_id, agent_id) VALUES (")
                .bind_all([id.to_string().into(), agent.to_string().into()]);
            self.tx.run(attach.push(")")).await?;
        }
        for id in had.iter().filter(|id| !ids.contains(id)) {
            let own = Sql::new("DELETE FROM skills WHERE in_library = ").bind(false).push(" AND id = ");
            self.tx.run(own.bind(id.to_string())).await?;
        }
        Ok(())
    }
}

/// That all of these are in the library, or among those that are known.
async fn there(tx: &mut Tx, ids: &[SkillId], known: &HashSet<SkillId>) -> Result<(), StoreError> {
    for id in ids.iter().filter(|id| !known.contains(id)) {
        let found = Sql::new("SELECT 1 AS one FROM skills WHERE in_library = ").bind(true).push(" AND id = ");
        if tx.row(found.bind(id.to_string())).await?.is_none() {
            return Err(not_found(*id));
        }
    }
    Ok(())
}

async fn read(tx: &mut Tx, id: SkillId) -> Result<Skill, StoreError> {
    let found = Sql::new(
        "SELECT skills.*, skill_versions.content AS content FROM skills JOIN skill_versions ON skill_id = skills.id AND \
         skill_versions.version = skills.version WHERE skills.id = ",
    );
    let row = tx.row(found.bind(id.to_string())).await?.ok_or_else(|| not_found(id))?;
    let content = Some(row.text("content")?);
    let attached_agents = attached(tx, id).await?;
    skill(&row, content, attached_agents)
}

/// The agents that have a skill, by name.
pub(super) async fn attached(tx: &mut Tx, id: SkillId) -> Result<Vec<SkillAgent>, StoreError> {
    let agents = Sql::new(
        "SELECT agents.id AS id, agents.name AS name FROM agent_skills JOIN agents ON agents.id = agent_skills.agent_id \
         WHERE skill_id = ",
    );
    let agents = agents.bind(id.to_string()).push(" ORDER BY agents.name LIMIT ").bind(MAX_AGENTS_NAMED);
    let rows = tx.rows(agents).await?;
    rows.iter().map(|row| Ok(SkillAgent { id: row.word("id")?, name: row.text("name")? })).collect()
}

pub(super) fn skill(
    row: &Row,
    content: Option<String>,
    attached_agents: Vec<SkillAgent>,
) -> Result<Skill, StoreError> {
    Ok(Skill {
        id: row.word("id")?,
        name: row.text("name")?,
        description: row.text("description")?,
        content,
        version: row.count("version")?,
        in_library: row.truth("in_library")?,
        attached_agents,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn version(row: &Row, content: Option<String>) -> Result<SkillVersion, StoreError> {
    Ok(SkillVersion {
        version: row.count("version")?,
        description: row.text("description")?,
        content,
        content_bytes: row.count("content_bytes")?,
        created_at: row.time("created_at")?,
    })
}

fn not_found(id: SkillId) -> StoreError {
    StoreError::NotFound(format!("skill {id}"))
}

fn name_taken(fault: SqlFault, name: &str) -> StoreError {
    match fault {
        SqlFault::Unique => StoreError::Conflict(format!(
            "a skill named \"{name}\" exists already: choose another name, or edit that one"
        )),
        SqlFault::Other(error) => error,
    }
}
