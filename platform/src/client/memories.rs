//! What agents remember, as methods of the client.

use reqwest::Method;
use serde::Serialize;

use super::error::ClientError;
use super::rest::{ANSWER_TIMEOUT, Client};
use crate::model::{AgentId, Memory, MemoryId, MemoryPatch, MemorySpec, MemoryType, Page};

/// What of an agent's memories is asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoriesQuery {
    /// Rows in the answer, 50 when absent, at most [`Page::MAX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// [`Page::next_cursor`] of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Words that text or tags have; what fits best comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// With that tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Of that kind.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemoryType>,
    /// Disabled ones too.
    pub include_disabled: bool,
}

/// Every method fails with [`ClientError`]; what each can be refused for stands in the API's description.
impl Client {
    /// One page of an agent's memories.
    pub async fn memories(&self, agent: AgentId, query: &MemoriesQuery) -> Result<Page<Memory>, ClientError> {
        self.get(&path(agent, ""), query).await
    }

    /// All memories of an agent that fit, page after page.
    pub async fn all_memories(
        &self,
        agent: AgentId,
        query: &MemoriesQuery,
    ) -> Result<Vec<Memory>, ClientError> {
        let limit = Some(Page::<Memory>::MAX_LIMIT);
        self.all(&path(agent, ""), |cursor| MemoriesQuery { limit, cursor, ..query.clone() }).await
    }

    /// Makes a memory of an agent.
    pub async fn create_memory(&self, agent: AgentId, spec: &MemorySpec) -> Result<Memory, ClientError> {
        self.json(self.post(&path(agent, "")).json(spec), ANSWER_TIMEOUT).await
    }

    /// Changes a memory.
    pub async fn patch_memory(
        &self,
        agent: AgentId,
        id: MemoryId,
        patch: &MemoryPatch,
    ) -> Result<Memory, ClientError> {
        let request = self.request(Method::PATCH, &path(agent, &format!("/{id}")));
        self.json(request.json(patch), ANSWER_TIMEOUT).await
    }

    /// Deletes a memory.
    pub async fn delete_memory(&self, agent: AgentId, id: MemoryId) -> Result<(), ClientError> {
        self.nothing(self.request(Method::DELETE, &path(agent, &format!("/{id}")))).await
    }
}

fn path(agent: AgentId, rest: &str) -> String {
    format!("api/v1/managed_agents/agents/{agent}/memory{rest}")
}
