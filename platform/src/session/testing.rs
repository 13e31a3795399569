//! What the unit tests of this module share.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::{Agent, AgentId, Phase, Resources, SessionId, SessionStatus};
use crate::store::SessionRecord;

/// A session that has just been asked for.
pub(super) fn record() -> SessionRecord {
    SessionRecord {
        id: SessionId::new(),
        agent_id: AgentId::new(),
        title: None,
        asked: String::new(),
        status: SessionStatus::Creating,
        phase: Phase::CreatingSandbox,
        phase_detail: None,
        phase_started_at: None,
        death: None,
        ending: false,
        intent: None,
        sandbox: None,
        sandbox_url: None,
        program: None,
        unconfined: true,
        harness_session_id: None,
        supports_tui: true,
        response: None,
        origin: "api".to_owned(),
        idle_timeout_ms: 86_400_000,
        unsaved: None,
        timings: BTreeMap::new(),
        steps: BTreeMap::new(),
        config_generation: 1,
        owner: None,
        created_at: Timestamp::UNIX_EPOCH,
        last_seen_at: None,
        ready_at: None,
        stopped_at: None,
    }
}

/// An agent that is a shell.
pub(super) fn agent() -> Agent {
    Agent {
        id: AgentId::new(),
        name: "a".to_owned(),
        model: "none".to_owned(),
        prompt: None,
        harness_id: "shell".to_owned(),
        harness_image: None,
        repo_url: None,
        branch: Some("main".to_owned()),
        requirements: None,
        mcp_servers: Vec::new(),
        env_vars: BTreeMap::new(),
        env_var_hosts: BTreeMap::new(),
        allow_out: Vec::new(),
        deny_out: Vec::new(),
        attached_skill_ids: Vec::new(),
        preload_memory_limit: 10,
        resources: Resources::default(),
        idle_timeout_seconds: 86_400,
        max_sessions: None,
        supports_tui: true,
        config_generation: 1,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}
