//! What a request makes of an agent: defaults for what it leaves out, and secrets that are never shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lap_platform::harness::Harness;
use lap_platform::model::{Agent, AgentId, AgentPatch, AgentRow, AgentSpec, McpServer, SkillId};
use lap_platform::secret::{mask, mask_map};

/// Memories put into a prompt when the request does not say.
const PRELOAD_MEMORIES: u32 = 10;

/// What a new agent has where its request says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) harness_id: String,
    /// The model gateway's.
    pub(crate) model: Option<String>,
    pub(crate) idle_timeout_seconds: u64,
}

impl Defaults {
    /// The model of an agent of this harness that names none; absent where it must.
    pub(crate) fn model_of(&self, harness: &Harness) -> Option<String> {
        self.model.clone().or_else(|| (!harness.needs_model).then(|| Agent::NO_MODEL.to_owned()))
    }
}

/// The agent a request asks for; that it names a model where it must is the document's to hold. `supports_tui` says whether a harness has a terminal.
pub(crate) fn from_spec(
    id: AgentId,
    spec: &AgentSpec,
    defaults: &Defaults,
    supports_tui: impl Fn(&str) -> bool,
) -> Agent {
    let spec = spec.clone();
    let harness_id = spec.harness_id.unwrap_or_else(|| defaults.harness_id.clone());
    Agent {
        id,
        name: spec.name.unwrap_or_else(|| generated_name(&harness_id, id)),
        model: Some(spec.model)
            .filter(|model| !model.is_empty())
            .or_else(|| defaults.model.clone())
            .unwrap_or_else(|| Agent::NO_MODEL.to_owned()),
        prompt: spec.prompt,
        supports_tui: supports_tui(&harness_id),
        harness_id,
        harness_image: spec.harness_image,
        repo_url: spec.repo_url,
        branch: spec.branch,
        requirements: spec.requirements,
        mcp_servers: spec.mcp_servers,
        env_vars: spec.env_vars,
        env_var_hosts: spec.env_var_hosts,
        allow_out: spec.allow_out,
        deny_out: spec.deny_out,
        attached_skill_ids: without_repeats(spec.skill_ids),
        preload_memory_limit: spec.preload_memory_limit.unwrap_or(PRELOAD_MEMORIES),
        resources: spec.resources.unwrap_or_default(),
        idle_timeout_seconds: spec.idle_timeout_seconds.unwrap_or(defaults.idle_timeout_seconds),
        max_sessions: spec.max_sessions,
        // The store's to set.
        config_generation: 1,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// Lays a change over an agent. A secret that comes back as it was shown stays what it is: clients send what they read.
pub(crate) fn apply(agent: &mut Agent, patch: AgentPatch) {
    fn set<T>(field: &mut T, given: Option<T>) {
        if let Some(given) = given {
            *field = given;
        }
    }
    set(&mut agent.name, patch.name);
    set(&mut agent.model, patch.model);
    set(&mut agent.prompt, patch.prompt);
    set(&mut agent.harness_image, patch.harness_image);
    set(&mut agent.repo_url, patch.repo_url);
    set(&mut agent.branch, patch.branch);
    set(&mut agent.requirements, patch.requirements);
    if let Some(mut servers) = patch.mcp_servers {
        for server in &mut servers {
            unmask_headers(server, &agent.mcp_servers);
        }
        agent.mcp_servers = servers;
    }
    if let Some(mut vars) = patch.env_vars {
        unmask(&mut vars, &agent.env_vars);
        agent.env_vars = vars;
    }
    set(&mut agent.env_var_hosts, patch.env_var_hosts);
    set(&mut agent.allow_out, patch.allow_out);
    set(&mut agent.deny_out, patch.deny_out);
    set(&mut agent.attached_skill_ids, patch.skill_ids.map(without_repeats));
    set(&mut agent.preload_memory_limit, patch.preload_memory_limit);
    set(&mut agent.resources, patch.resources);
    set(&mut agent.idle_timeout_seconds, patch.idle_timeout_seconds);
    set(&mut agent.max_sessions, patch.max_sessions);
}

/// An agent as it may be shown.
pub(crate) fn masked(agent: Agent) -> Agent {
    let mcp_servers = agent
        .mcp_servers
        .into_iter()
        .map(|server| match server {
            McpServer::Http { name, url, headers } => {
                McpServer::Http { name, url, headers: mask_map(&headers) }
            }
            other => other,
        })
        .collect();
    Agent { env_vars: mask_map(&agent.env_vars), mcp_servers, ..agent }
}

/// [`masked`], in a list.
pub(crate) fn masked_row(row: AgentRow) -> AgentRow {
    AgentRow { agent: masked(row.agent), ..row }
}

fn unmask(given: &mut BTreeMap<String, String>, stored: &BTreeMap<String, String>) {
    for (name, value) in given {
        if let Some(stored) = stored.get(name)
            && *value == mask(stored)
        {
            value.clone_from(stored);
        }
    }
}

fn unmask_headers(given: &mut McpServer, stored: &[McpServer]) {
    let McpServer::Http { name, url, headers } = given else { return };
    for server in stored {
        // Of the same address: a header must not be made to go elsewhere by whoever has only seen its mask.
        if let McpServer::Http { name: stored_name, url: stored_url, headers: stored } = server
            && stored_name == name
            && stored_url == url
        {
            unmask(headers, stored);
        }
    }
}

fn without_repeats(ids: Vec<SkillId>) -> Vec<SkillId> {
    let mut seen = std::collections::BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

/// Unlike any other: with the random end of the id.
fn generated_name(harness_id: &str, id: AgentId) -> String {
    let id = id.0.simple().to_string();
    let end = id.get(id.len() - 6..).unwrap_or(&id);
    format!("{harness_id}-{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(vars: &[(&str, &str)]) -> Agent {
        let vars = vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let spec = AgentSpec { model: "m".into(), env_vars: vars, ..AgentSpec::default() };
        let defaults = Defaults { harness_id: "shell".into(), model: None, idle_timeout_seconds: 60 };
        from_spec(AgentId::new(), &spec, &defaults, |_| true)
    }

    #[test]
    fn what_a_request_leaves_out_has_its_default() {
        let agent = agent(&[]);
        assert!(agent.name.starts_with("shell-"), "{}", agent.name);
        assert_eq!((agent.branch, agent.preload_memory_limit), (None, 10));
        assert_eq!(agent.idle_timeout_seconds, 60);
    }

    #[test]
    fn a_secret_sent_back_as_it_was_shown_stays_and_another_replaces_it() {
        let token = "ghp_0123456789abcdef0123456789abcdef9f";
        let mut agent = agent(&[("TOKEN", token), ("OTHER", "hunter2"), ("GONE", "x")]);
        let shown = masked(agent.clone()).env_vars;
        assert_eq!(shown["TOKEN"], "ghp_…9f");
        let mut vars = shown;
        vars.remove("GONE");
        vars.insert("OTHER".into(), "new".into());
        apply(&mut agent, AgentPatch { env_vars: Some(vars), ..AgentPatch::default() });
        assert_eq!(agent.env_vars.len(), 2);
        assert_eq!((agent.env_vars["TOKEN"].as_str(), agent.env_vars["OTHER"].as_str()), (token, "new"));
    }

    #[test]
    fn a_masked_header_is_not_sent_to_another_address() {
        let http = |url: &str, value: &str| McpServer::Http {
            name: "a".into(),
            url: url.into(),
            headers: [("Authorization".to_owned(), value.to_owned())].into(),
        };
        let secret = "Bearer 0123456789abcdef";
        let mut agent = Agent { mcp_servers: vec![http("https://a", secret)], ..agent(&[]) };
        let shown = masked(agent.clone()).mcp_servers;
        assert_ne!(shown, agent.mcp_servers);
        let patch = AgentPatch { mcp_servers: Some(shown.clone()), ..AgentPatch::default() };
        apply(&mut agent, patch);
        assert_eq!(agent.mcp_servers, [http("https://a", secret)]);
        let patch = AgentPatch {
            mcp_servers: Some(vec![http("https://evil", &mask(secret))]),
            ..AgentPatch::default()
        };
        apply(&mut agent, patch);
        assert_eq!(agent.mcp_servers, [http("https://evil", &mask(secret))]);
    }

    #[test]
    fn null_clears_and_absence_leaves_alone() {
        let mut agent = Agent { prompt: Some("p".into()), requirements: Some("r".into()), ..agent(&[]) };
        apply(&mut agent, AgentPatch { prompt: Some(None), ..AgentPatch::default() });
        assert_eq!((agent.prompt, agent.requirements), (None, Some("r".into())));
    }
}
