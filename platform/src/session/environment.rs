//! What a session's programs find in their environment.

use crate::harness::{Harness, Host};
use crate::model::{Agent, EnvVars, SessionId};
use crate::sandbox::{SANDBOX_VARIABLE, SandboxName};
use crate::store::SessionRecord;

use super::bringup::{REPOSITORY, steps, venv};
use super::{Inner, SessionSettings};

impl Inner {
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
        let venv = venv(&self.runtime.workdir(sandbox));
        environment(&Sources {
            settings: &self.settings,
            harness,
            agent,
            session: record.id,
            session_env,
            sandbox,
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
    agent: &'a Agent,
    session: SessionId,
    session_env: &'a EnvVars,
    sandbox: &'a SandboxName,
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
    if let Some(host) = from.host {
        env.extend(host.given(&from.harness.host_env));
    }
    env.extend(from.harness.env.clone());
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
    set(env, "SESSION_ID", &from.session.to_string());
    set(env, "AGENT_ID", &from.agent.id.to_string());
    set(env, "LITELLM_DEFAULT_MODEL", &from.agent.model);
    if let Some(repo_url) = from.repo_url {
        set(env, "REPO_URL", repo_url);
        set(env, "BRANCH", &from.agent.branch);
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
    if let Some(venv) = from.venv {
        set(env, "VIRTUAL_ENV", venv);
        let path = env.get("PATH").map(|path| format!("{venv}/bin:{path}")).unwrap_or(format!("{venv}/bin"));
        set(env, "PATH", &path);
    }
    // What is left behind by programs of this sandbox is found by it: nothing may go over it.
    set(env, SANDBOX_VARIABLE, &from.sandbox.0);
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
                agent: &agent,
                session: record.id,
                session_env: &session_env,
                sandbox: &SandboxName("s-1".to_owned()),
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
