//! The API's routes as methods of the client.

use std::time::Duration;

use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::rest::{ANSWER_TIMEOUT, Client};
use crate::model::{
    Agent, AgentId, AgentPatch, AgentRow, AgentSpec, AgentsSort, CreateSession, Diagnosis, ExecRequest,
    ExecResult, Harness, Order, Page, Session, SessionId, SessionPatch, SessionStatus, Told, Work,
};

const AGENTS: &str = "api/v1/managed_agents/agents";
const SESSIONS: &str = "api/v1/managed_agents/sessions";
const HARNESSES: &str = "api/v1/managed_agents/harnesses";
/// An `exec` without a time of its own ends after this.
const EXEC_DEFAULT: Duration = Duration::from_secs(60);
/// Pages read before a list is taken to have no end: 200 rows each.
const MAX_PAGES: usize = 500;

/// What of the agents is asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentsQuery {
    /// Rows in the answer, 50 when absent, at most [`Page::MAX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// [`Page::next_cursor`] of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Sorted by what; newest first when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<AgentsSort>,
    /// Which end first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Part of a name, id or harness id, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Exactly that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Exactly that harness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harness_id: Option<String>,
}

/// What of the sessions is asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SessionsQuery {
    /// Rows in the answer, 50 when absent, at most [`Page::MAX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// [`Page::next_cursor`] of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Of that agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// In that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
    /// Part of a title or id, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// Every method fails with [`ClientError`]; what each can be refused for stands in the API's description.
impl Client {
    /// Whether the server lives.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.nothing(self.request(Method::GET, "api/v1/health")).await
    }

    /// The programs an agent can be, those the server can start first.
    pub async fn harnesses(&self) -> Result<Vec<Harness>, ClientError> {
        let page: Page<Harness> = self.get(HARNESSES, &[] as &[(&str, &str)]).await?;
        Ok(page.data)
    }

    /// One page of the agents.
    pub async fn agents(&self, query: &AgentsQuery) -> Result<Page<AgentRow>, ClientError> {
        self.get(AGENTS, query).await
    }

    /// All agents that fit, page after page.
    pub async fn all_agents(&self, query: &AgentsQuery) -> Result<Vec<AgentRow>, ClientError> {
        let limit = Some(Page::<AgentRow>::MAX_LIMIT);
        self.all(AGENTS, |cursor| AgentsQuery { limit, cursor, ..query.clone() }).await
    }

    /// One agent.
    pub async fn agent(&self, id: AgentId) -> Result<Agent, ClientError> {
        self.get(&format!("{AGENTS}/{id}"), &[] as &[(&str, &str)]).await
    }

    /// Makes an agent.
    pub async fn create_agent(&self, spec: &AgentSpec) -> Result<Agent, ClientError> {
        self.json(self.post(AGENTS).json(spec), ANSWER_TIMEOUT).await
    }

    /// Changes an agent.
    pub async fn patch_agent(&self, id: AgentId, patch: &AgentPatch) -> Result<Agent, ClientError> {
        self.json(self.request(Method::PATCH, &format!("{AGENTS}/{id}")).json(patch), ANSWER_TIMEOUT).await
    }

    /// Stops all the agent's sessions and removes it with them.
    pub async fn delete_agent(&self, id: AgentId) -> Result<(), ClientError> {
        self.nothing(self.request(Method::DELETE, &format!("{AGENTS}/{id}"))).await
    }

    /// Asks for a session of that agent; the answer comes at once, with status `creating`.
    pub async fn create_session(
        &self,
        agent: AgentId,
        request: &CreateSession,
    ) -> Result<Session, ClientError> {
        let path = format!("{AGENTS}/{agent}/session");
        self.json(self.post(&path).json(request), ANSWER_TIMEOUT).await
    }

    /// One page of the sessions.
    pub async fn sessions(&self, query: &SessionsQuery) -> Result<Page<Session>, ClientError> {
        self.get(SESSIONS, query).await
    }

    /// All sessions that fit, page after page.
    pub async fn all_sessions(&self, query: &SessionsQuery) -> Result<Vec<Session>, ClientError> {
        let limit = Some(Page::<Session>::MAX_LIMIT);
        self.all(SESSIONS, |cursor| SessionsQuery { limit, cursor, ..query.clone() }).await
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Result<Session, ClientError> {
        self.get(&session(id, ""), &[] as &[(&str, &str)]).await
    }

    /// Changes a session's title.
    pub async fn patch_session(&self, id: SessionId, patch: &SessionPatch) -> Result<Session, ClientError> {
        self.json(self.request(Method::PATCH, &session(id, "")).json(patch), ANSWER_TIMEOUT).await
    }

    /// Ends a session, gracefully first, and removes its sandbox. Its log and recording stay.
    pub async fn stop_session(&self, id: SessionId) -> Result<Session, ClientError> {
        self.json(self.post(&session(id, "/stop")), ANSWER_TIMEOUT).await
    }

    /// Brings a session up again in a new sandbox.
    pub async fn restart_session(&self, id: SessionId) -> Result<Session, ClientError> {
        self.json(self.post(&session(id, "/restart")), ANSWER_TIMEOUT).await
    }

    /// Ends the turn the session is in.
    pub async fn abort_session(&self, id: SessionId) -> Result<(), ClientError> {
        self.nothing(self.post(&session(id, "/abort"))).await
    }

    /// Ends a session and its sandbox.
    pub async fn delete_session(&self, id: SessionId) -> Result<(), ClientError> {
        self.nothing(self.request(Method::DELETE, &session(id, ""))).await
    }

    /// Erases a session: ends it where it lives, and removes its row, log, recording and workspace.
    pub async fn erase_session(&self, id: SessionId) -> Result<(), ClientError> {
        self.nothing(self.request(Method::DELETE, &session(id, "")).query(&[("erase", true)])).await
    }

    /// Runs a command in the session's sandbox and waits for its end.
    pub async fn exec(&self, id: SessionId, request: &ExecRequest) -> Result<ExecResult, ClientError> {
        let runs =
            request.timeout_seconds.map_or(EXEC_DEFAULT, |seconds| Duration::from_secs(seconds.into()));
        let path = session(id, "/exec");
        self.json(self.post(&path).json(request), runs + ANSWER_TIMEOUT).await
    }

    /// What the session's bring-up and program have said, as text.
    pub async fn session_log(&self, id: SessionId) -> Result<String, ClientError> {
        self.text(self.request(Method::GET, &session(id, "/log"))).await
    }

    /// What the sandbox itself has said, the last `tail_lines` of it.
    pub async fn sandbox_logs(&self, id: SessionId, tail_lines: u32) -> Result<String, ClientError> {
        let request = self.request(Method::GET, &session(id, "/sandbox_logs"));
        self.text(request.query(&[("tailLines", tail_lines)])).await
    }

    /// The session's terminal as an asciicast v3 recording.
    pub async fn recording(&self, id: SessionId) -> Result<String, ClientError> {
        self.text(self.request(Method::GET, &session(id, "/recording"))).await
    }

    /// What is known about a session: its state, its sandbox, its program, and what is wrong.
    pub async fn diagnose(&self, id: SessionId) -> Result<Diagnosis, ClientError> {
        self.get(&session(id, "/diagnose"), &[] as &[(&str, &str)]).await
    }

    /// What a session has worked on, and how much of it is nowhere else.
    pub async fn session_work(&self, id: SessionId) -> Result<Work, ClientError> {
        self.get(&session(id, "/work"), &[] as &[(&str, &str)]).await
    }

    /// What a session's program was told.
    pub async fn session_prompt(&self, id: SessionId) -> Result<Told, ClientError> {
        self.get(&session(id, "/prompt"), &[] as &[(&str, &str)]).await
    }

    /// Where the multiplexed attach socket is (`ws://` or `wss://`).
    #[must_use]
    pub fn attach_url(&self) -> Url {
        let mut url = self.url("api/v1/managed_agents/attach");
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Between these four schemes the change is always allowed.
        let _ = url.set_scheme(scheme);
        url
    }

    /// All rows of a list, page after page.
    pub(super) async fn all<T, Q>(
        &self,
        path: &str,
        query: impl Fn(Option<String>) -> Q,
    ) -> Result<Vec<T>, ClientError>
    where
        T: DeserializeOwned,
        Q: Serialize,
    {
        let mut rows = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page: Page<T> = self.get(path, &query(cursor)).await?;
            rows.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(rows);
            }
        }
        Err(self.malformed(format!("its list has more than {MAX_PAGES} pages")))
    }
}

fn session(id: SessionId, rest: &str) -> String {
    format!("{SESSIONS}/{id}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attach_socket_follows_the_servers_scheme() {
        let plain = Client::new("http://127.0.0.1:4180", None).unwrap();
        assert_eq!(plain.attach_url().as_str(), "ws://127.0.0.1:4180/api/v1/managed_agents/attach");
        let tls = Client::new("https://example.org/p", None).unwrap();
        assert_eq!(tls.attach_url().as_str(), "wss://example.org/p/api/v1/managed_agents/attach");
    }
}
