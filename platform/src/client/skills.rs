//! The library of skills, as methods of the client.

use reqwest::Method;
use serde::Serialize;

use super::error::ClientError;
use super::rest::{ANSWER_TIMEOUT, Client};
use crate::model::{Agent, AgentId, AttachSkill, Page, Skill, SkillId, SkillPatch, SkillSpec, SkillVersion};

const SKILLS: &str = "api/v1/skills";
const NO_QUERY: &[(&str, &str)] = &[];

/// What of the library is asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SkillsQuery {
    /// Rows in the answer, 50 when absent, at most [`Page::MAX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// [`Page::next_cursor`] of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Part of a name or description, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Exactly that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Every method fails with [`ClientError`]; what each can be refused for stands in the API's description.
impl Client {
    /// All skills that fit, page after page, without their texts.
    pub async fn all_skills(&self, query: &SkillsQuery) -> Result<Vec<Skill>, ClientError> {
        let limit = Some(Page::<Skill>::MAX_LIMIT);
        self.all(SKILLS, |cursor| SkillsQuery { limit, cursor, ..query.clone() }).await
    }

    /// One skill with its text.
    pub async fn skill(&self, id: SkillId) -> Result<Skill, ClientError> {
        self.get(&skill(id, ""), NO_QUERY).await
    }

    /// Puts a skill into the library.
    pub async fn create_skill(&self, spec: &SkillSpec) -> Result<Skill, ClientError> {
        self.json(self.post(SKILLS).json(spec), ANSWER_TIMEOUT).await
    }

    /// Edits a skill.
    pub async fn patch_skill(&self, id: SkillId, patch: &SkillPatch) -> Result<Skill, ClientError> {
        self.json(self.request(Method::PATCH, &skill(id, "")).json(patch), ANSWER_TIMEOUT).await
    }

    /// Deletes a skill; agents that have it no longer do.
    pub async fn delete_skill(&self, id: SkillId) -> Result<(), ClientError> {
        self.nothing(self.request(Method::DELETE, &skill(id, ""))).await
    }

    /// A skill's versions, newest first, without their texts.
    pub async fn skill_versions(&self, id: SkillId) -> Result<Vec<SkillVersion>, ClientError> {
        let page: Page<SkillVersion> = self.get(&skill(id, "/versions"), NO_QUERY).await?;
        Ok(page.data)
    }

    /// One version of a skill with its text.
    pub async fn skill_version(&self, id: SkillId, number: u64) -> Result<SkillVersion, ClientError> {
        self.get(&skill(id, &format!("/versions/{number}")), NO_QUERY).await
    }

    /// Makes a skill what it was.
    pub async fn restore_skill(&self, id: SkillId, number: u64) -> Result<Skill, ClientError> {
        self.json(self.post(&skill(id, &format!("/versions/{number}/restore"))), ANSWER_TIMEOUT).await
    }

    /// Gives an agent a skill.
    pub async fn attach_skill(&self, agent: AgentId, request: &AttachSkill) -> Result<Agent, ClientError> {
        self.json(self.post(&of_agent(agent)).json(request), ANSWER_TIMEOUT).await
    }

    /// Takes a skill from an agent.
    pub async fn detach_skill(&self, agent: AgentId, id: SkillId) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &of_agent(agent));
        self.nothing(request.query(&[("skill_id", id.to_string())])).await
    }
}

fn skill(id: SkillId, rest: &str) -> String {
    format!("{SKILLS}/{id}{rest}")
}

fn of_agent(agent: AgentId) -> String {
    format!("api/v1/managed_agents/agents/{agent}/skill")
}
