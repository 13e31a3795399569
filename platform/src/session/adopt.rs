//! Sandboxes that no row tells of: the database is new, was restored from an older copy, or is another installation's.
//! One that runs is a session again, which can be attached to and stopped like any other; what cannot be is left alone
//! and told about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bringup::steps;
use super::reconcile::{AGENT_LABEL, SESSION_LABEL};
use super::{Inner, SessionError, TERMINAL_PROGRAM};
use crate::model::{Agent, AgentId, CreateSession, Phase, Resources, SessionId, SessionStatus};
use crate::sandbox::{SandboxName, SandboxState, SandboxStatus};
use crate::store::{NewSession, SessionRecord, StoreError};

/// Who made a session that was found rather than asked for.
const ORIGIN: &str = "adopted";
/// What is known of an agent that is not stored any more is its id: it runs what every machine has.
const HARNESS: &str = "shell";

impl Inner {
    /// Makes a sandbox a session again, if it runs and says whose it was. `record`: the session it names, where there is
    /// one, which knows another sandbox or none. `told`: those that were spoken of before.
    pub(super) async fn adopt(
        self: &Arc<Inner>,
        sandbox: &SandboxStatus,
        record: Option<SessionRecord>,
        told: &mut BTreeSet<SandboxName>,
    ) {
        let why = match self.try_to_adopt(sandbox, record).await {
            Ok(Adopted::Session(id)) => {
                tracing::warn!(sandbox = %sandbox.name, session = %id, "a sandbox that no session knew is one again");
                self.attend(id);
                return;
            }
            Ok(Adopted::Not(why)) => why.to_owned(),
            Err(error) => error.to_string(),
        };
        if told.insert(sandbox.name.clone()) {
            tracing::warn!(
                sandbox = %sandbox.name, why,
                "a sandbox is left alone: no session knows it, and it cannot be made one"
            );
        }
    }

    async fn try_to_adopt(
        &self,
        sandbox: &SandboxStatus,
        record: Option<SessionRecord>,
    ) -> Result<Adopted, SessionError> {
        if sandbox.state != SandboxState::Running {
            return Ok(Adopted::Not("it does not run"));
        }
        let Some(id) = label::<SessionId>(sandbox, SESSION_LABEL) else {
            return Ok(Adopted::Not("it does not say which session it was"));
        };
        match record {
            Some(record) if record.status.is_live() || record.ending => {
                return Ok(Adopted::Not("its session has another sandbox"));
            }
            Some(_) => self.take_up(id, sandbox).await?,
            None => {
                let Some(agent) = label::<AgentId>(sandbox, AGENT_LABEL) else {
                    return Ok(Adopted::Not("it does not say which agent's it was"));
                };
                self.know(agent).await?;
                let new = NewSession {
                    id,
                    agent_id: agent,
                    origin: ORIGIN.to_owned(),
                    unconfined: self.runtime.unconfined(),
                    request: CreateSession::default(),
                    max_live: usize::MAX,
                    adopted: Some(sandbox.name.clone()),
                };
                self.store.sessions().create(new).await?;
            }
        }
        Ok(Adopted::Session(id))
    }

    /// A session that was taken for dead has a sandbox that runs.
    async fn take_up(&self, id: SessionId, sandbox: &SandboxStatus) -> Result<(), SessionError> {
        let now = self.store.now();
        self.update(id, |record| {
            if record.status.is_live() || record.ending {
                return;
            }
            record.status = SessionStatus::Ready;
            record.phase = Phase::Ready;
            (record.phase_detail, record.death, record.stopped_at) = (None, None, None);
            record.sandbox = Some(sandbox.name.clone());
            record.program = Some(TERMINAL_PROGRAM.to_owned());
            record.ready_at = Some(now);
            if let Some(attempt) = attempt(&sandbox.name) {
                record.steps.insert(steps::ATTEMPT.to_owned(), attempt.into());
            }
        })
        .await
        .map(drop)
    }

    /// Sees to it that there is an agent of this id.
    async fn know(&self, id: AgentId) -> Result<(), SessionError> {
        match self.store.agents().get(id).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let words = id.to_string();
        let end = words.get(words.len().saturating_sub(6)..).unwrap_or_default();
        let now = self.store.now();
        let agent = Agent {
            id,
            name: format!("recovered-{end}"),
            model: String::new(),
            prompt: None,
            harness_id: HARNESS.to_owned(),
            harness_image: None,
            repo_url: None,
            branch: None,
            requirements: None,
            mcp_servers: Vec::new(),
            env_vars: BTreeMap::new(),
            env_var_hosts: BTreeMap::new(),
            allow_out: Vec::new(),
            deny_out: Vec::new(),
            attached_skill_ids: Vec::new(),
            preload_memory_limit: 0,
            resources: Resources::default(),
            idle_timeout_seconds: self.settings.defaults.idle_timeout.as_secs(),
            max_sessions: None,
            supports_tui: true,
            config_generation: 1,
            created_at: now,
            updated_at: now,
        };
        self.store.agents().create(agent).await.map(drop).map_err(SessionError::from)
    }
}

/// What came of it.
enum Adopted {
    /// It is this session's.
    Session(SessionId),
    /// It is left alone, and why.
    Not(&'static str),
}

fn label<T: std::str::FromStr>(sandbox: &SandboxStatus, name: &str) -> Option<T> {
    sandbox.labels.get(name)?.parse().ok()
}

/// Which of its session's sandboxes it is: `s-<session>-<n>`.
fn attempt(sandbox: &SandboxName) -> Option<u64> {
    let session = sandbox.0.strip_prefix("s-")?;
    match session.get(uuid::fmt::Hyphenated::LENGTH..)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandboxs_name_says_which_of_its_session_it_is() {
        let id = SessionId::new();
        let of = |name: String| attempt(&SandboxName(name));
        assert_eq!(of(format!("s-{id}")), Some(1));
        assert_eq!(of(format!("s-{id}-12")), Some(12));
        assert_eq!(of("w-1".to_owned()), None);
        assert_eq!(of(format!("s-{id}-x")), None);
    }
}
