//! What a session's programs find in their environment.

use crate::harness::{Harness, Host, ToolPlace, ToolServer};
use crate::model::{Agent, EnvVars, SessionId};
use crate::sandbox::{SESSION_VARIABLE, SandboxName};
use crate::store::SessionRecord;

use super::bringup::{REPOSITORY, steps, telling, venv};
use super::{Inner, SessionSettings};

/// The platform's own MCP server, as harnesses name it.
const OWN_TOOLS: &str = "lap";

impl Inner {
    /// The MCP servers of a session's harness: the agent's, and the platform's own, whose name no other has.
    pub(super) fn tool_servers(&self, agent: &Agent, session: SessionId) -> Vec<ToolServer> {
        let own = self.tools.as_ref().filter(|_| self.runtime.unconfined()).map(|tools| {
            let env = [
                ("LAP_AGENT_TOKEN".to_owned(), tools.tokens.mint(session)),
                ("AGENT_ID".to_owned(), agent.id.to_string()),
            ];
            let place = ToolPlace::Command { argv: tools.command.clone(), env: env.into() };
            ToolServer { name: OWN_TOOLS.to_owned(), place }
        });
        let theirs = agent.mcp_servers.iter().filter_map(ToolServer::of);
        theirs.filter(|server| server.name != OWN_TOOLS).chain(own).collect()
    }

    /// What a session works on, where it is a repository.
    pub(super) fn repo_url<'a>(&'a self, agent: &'a Agent) -> Option<&'a str> {
        agent.repo_url.as_deref().or(self.settings.preinstalled_repo.as_deref())
    }

    /// Where a session's harness and commands start.
    pub(super) fn workdir(&self, agent: &Agent, sandbox: &SandboxName) -> String {
        let workspace = self.runtime.workdir(sandbox);
        if self.repo_url(agent).is_some() { format!("{workspace}/{REPOSITORY}") } else { workspace }
    }

    /// The environment of a session's programs, as far as it has come up.
    pub(super) fn environment(
        &self,
        record: &SessionRecord,
        agent: &Agent,
        harness: &Harness,
        session_env: &EnvVars,
        sandbox: &SandboxName,
    ) -> EnvVars {
        let telling = telling(&self.settings, agent, self.runtime.unconfined());
        let agent_token = self.tools.as_ref().map(|tools| tools.tokens.mint(record.id));
        let told = harness.told_env(&telling);
        let venv = venv(&self.runtime.workdir(sandbox));
        environment(&Sources {
            settings: &self.settings,
            harness,
            told,
            agent,
            session: record.id,
            session_env,
            marks: self.runtime.marks(sandbox),
            agent_token,
            host: self.runtime.unconfined().then_some(&self.host),
            repo_url: self.repo_url(agent),
            venv: record.steps.contains_key(steps::INSTALL).then_some(venv.as_str()),
        })
    }
}

/// Everything an environment is made from.
struct Sources<'a> {
    settings: &'a SessionSettings,
    harness: &'a Harness,
    /// How the harness is pointed at the gateway, and told not to ask.
    told: EnvVars,
    agent: &'a Agent,
    session: SessionId,
    session_env: &'a EnvVars,
    /// Its sandbox's.
    marks: Vec<(&'static str, String)>,
    /// With which what runs in it speaks to the server.
    agent_token: Option<String>,
    /// The user's own, where sandboxes are on the user's machine.
    host: Option<&'a Host>,
    /// What the session works on, where it is a repository.
    repo_url: Option<&'a str>,
    /// A virtual environment with the agent's requirements. A login shell may set a PATH of its own over it; it still
    /// finds it by `VIRTUAL_ENV`.
    venv: Option<&'a str>,
}

/// The environment, later over earlier: what a terminal is, the user's own, the harness's, `CONTAINER_ENV_*`, the
/// agent's, the session's, the platform's.
fn environment(from: &Sources<'_>) -> EnvVars {
    let mut env = EnvVars::new();
    // A program may be told otherwise by any layer; these describe the terminal that the keeper is.
    set(&mut env, "TERM", "xterm-256color");
    set(&mut env, "COLORTERM", "truecolor");
    // The terminal is UTF-8, whatever an image or a service's environment leaves out.
    set(&mut env, "LANG", "C.UTF-8");
    if let Some(host) = from.host {
        env.extend(host.given(&from.harness.host_env));
    }
    env.extend(from.harness.env.clone());
    env.extend(from.told.clone());
    if from.repo_url.is_none() {
        env.extend(from.harness.empty_workspace_env.clone());
    }
    for layer in [&from.settings.container_env, &from.agent.env_vars, from.session_env] {
        env.extend(layer.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    platform(from, &mut env);
    env
}

fn platform(from: &Sources<'_>, env: &mut EnvVars) {
    set(env, SESSION_VARIABLE, &from.session.to_string());
    set(env, "AGENT_ID", &from.agent.id.to_string());
    set(env, "LITELLM_DEFAULT_MODEL", &from.agent.model);
    if let Some(repo_url) = from.repo_url {
        set(env, "REPO_URL", repo_url);
        if let Some(branch) = &from.agent.branch {
            set(env, "BRANCH", branch);
        }
    }
    if let Some(base) = &from.settings.gateway_base {
        set(env, "LITELLM_API_BASE", base);
    }
    // The real key, until sandboxes have a vault in front of them that holds it for them.
    if let Some(key) = &from.settings.gateway_key {
        set(env, "LITELLM_API_KEY", key.expose());
    }
    if let Some(base_url) = &from.settings.base_url {
        set(env, "LAP_BASE_URL", base_url);
    }
    if let Some(token) = &from.agent_token {
        set(env, "LAP_AGENT_TOKEN", token);
    }
    if let Some(venv) = from.venv {
        set(env, "VIRTUAL_ENV", venv);
        let path = env.get("PATH").map(|path| format!("{venv}/bin:{path}")).unwrap_or(format!("{venv}/bin"));
        set(env, "PATH", &path);
    }
    // What is left behind by programs of this sandbox is found by them: nothing may go over them.
    for (name, value) in &from.marks {
        set(env, name, value);
    }
}

fn set(env: &mut EnvVars, name: &str, value: &str) {
    env.insert(name.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Environment, LoadOptions};
    use crate::harness::Catalog;

    #[test]
    fn later_layers_go_over_earlier_ones_and_the_platform_over_all() {
        let environment = Environment::from_pairs([
            ("HOME", "/home/a"),
            ("LANG", "C.UTF-8"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("CONTAINER_ENV_WHO", "container"),
            ("CONTAINER_ENV_WHAT", "container"),
            ("LITELLM_API_BASE", "https://gateway.example"),
            ("LITELLM_API_KEY", "sk-1"),
        ]);
        let config =
            Config::load(LoadOptions { environment: environment.clone(), ..LoadOptions::default() }).unwrap();
        let mut settings = SessionSettings::of(&config);
        assert!(settings.defaults.lease > Duration::ZERO);
        settings.base_url = Some("https://lap.example".to_owned());
        let catalog = Catalog::built_in().unwrap();
        let record = crate::session::testing::record();
        let mut agent = crate::session::testing::agent();
        let vars = |pairs: &[(&str, &str)]| -> EnvVars {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        agent.env_vars = vars(&[("WHO", "agent"), ("LANG", "agent"), ("TERM", "dumb")]);
        let session_env = vars(&[("WHO", "session"), ("LAP_SANDBOX", "another")]);
        let env_of = |harness, repo_url| {
            super::environment(&Sources {
                settings: &settings,
                harness: catalog.get(harness).unwrap(),
                told: EnvVars::new(),
                agent: &agent,
                session: record.id,
                session_env: &session_env,
                marks: vec![("LAP_SANDBOX", "s-1".to_owned())],
                agent_token: None,
                host: Some(&Host::of(&environment)),
                repo_url,
                venv: Some("/w/venv"),
            })
        };
        let repository = Some("https://example.com/r.git");
        let env = env_of("shell", repository);
        for (name, value) in [
            ("HOME", "/home/a"),
            ("LANG", "agent"),
            ("WHAT", "container"),
            ("WHO", "session"),
            ("TERM", "dumb"),
            ("COLORTERM", "truecolor"),
            ("LAP_SANDBOX", "s-1"),
            ("REPO_URL", "https://example.com/r.git"),
            ("BRANCH", "main"),
            ("LITELLM_API_BASE", "https://gateway.example"),
            ("LITELLM_API_KEY", "sk-1"),
            ("LITELLM_DEFAULT_MODEL", "none"),
            ("LAP_BASE_URL", "https://lap.example"),
            ("VIRTUAL_ENV", "/w/venv"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(env["PATH"].starts_with("/w/venv/bin:/"));
        assert_eq!(env["SESSION_ID"], record.id.to_string());
        assert!(!env.contains_key("AWS_SECRET_ACCESS_KEY"));

        // What a repository may do to whoever starts a harness in it is for that person to decide.
        for (harness, name) in
            [("claude-code", "CLAUDE_CODE_SANDBOXED"), ("gemini", "GEMINI_CLI_TRUST_WORKSPACE")]
        {
            assert!(
                env_of(harness, None).contains_key(name),
                "{harness} need not ask about an empty workspace"
            );
            assert!(!env_of(harness, repository).contains_key(name), "{harness} asks about a repository");
        }
    }
}
