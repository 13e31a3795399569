//! Whether an agent makes sense.

use std::collections::BTreeSet;

use super::env::{env_name, env_vars};
use super::git::{branch, repo_url};
use super::limits::{
    AGENT_SKILLS, EGRESS_PATTERNS, ENV_HOSTS, IDLE_MAX_SECONDS, IDLE_MIN_SECONDS, IMAGE_CHARS, MAX_SESSIONS,
    MCP_ARGS, MCP_HEADERS, MCP_NAME_CHARS, MCP_SERVERS, MCP_VALUE_CHARS, NAME_CHARS, PRELOAD_MEMORIES,
    PROMPT_BYTES, REQUIREMENTS_BYTES,
};
use super::net::{EgressPattern, PatternError};
use super::resources::resources;
use super::{Faults, INVALID, TOO_BIG, TOO_SMALL};
use crate::model::{Agent, EnvVars, FieldError, McpServer};

/// An agent as it would be, whether it is new or changed: what a change leaves alone still has to agree with what it
/// does not. Values of `env_vars` are the real ones. Whether the harness exists is the catalog's to say.
pub fn agent(agent: &Agent) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    faults.line(&["name"], &agent.name, NAME_CHARS);
    faults.line(&["model"], &agent.model, NAME_CHARS);
    if let Some(prompt) = &agent.prompt {
        faults.block(&["prompt"], prompt, PROMPT_BYTES);
    }
    if let Some(image) = &agent.harness_image {
        self::image(&mut faults, image);
    }
    if let Some(url) = &agent.repo_url {
        repo_url(&mut faults, url);
    }
    if let Some(name) = &agent.branch {
        branch(&mut faults, name);
    }
    if let Some(requirements) = &agent.requirements {
        faults.block(&["requirements"], requirements, REQUIREMENTS_BYTES);
    }
    mcp_servers(&mut faults, &agent.mcp_servers);
    env_vars(&mut faults, &agent.env_vars);
    let allowed = patterns(&mut faults, &["allow_out"], &agent.allow_out, EGRESS_PATTERNS);
    patterns(&mut faults, &["deny_out"], &agent.deny_out, EGRESS_PATTERNS);
    for (name, hosts) in &agent.env_var_hosts {
        if env_name(&mut faults, &["env_var_hosts", name], name) && !agent.env_vars.contains_key(name) {
            faults.add(INVALID, &["env_var_hosts", name], "names no variable of env_vars");
        }
        credential_hosts(&mut faults, name, hosts, &allowed);
    }
    faults.count(&["skill_ids"], agent.attached_skill_ids.len(), AGENT_SKILLS);
    let preload = agent.preload_memory_limit;
    faults.within(&["preload_memory_limit"], preload.into(), 0, PRELOAD_MEMORIES.into());
    resources(&mut faults, &agent.resources);
    faults.within(&["idle_timeout_seconds"], agent.idle_timeout_seconds, IDLE_MIN_SECONDS, IDLE_MAX_SECONDS);
    if let Some(max) = agent.max_sessions {
        faults.within(&["max_sessions"], max.into(), 1, MAX_SESSIONS.into());
    }
    faults.into_result()
}

/// A session's variables together with its agent's, which they are laid over: both count for the limits.
pub fn session_env(agent: &EnvVars, session: &EnvVars) -> Result<(), Vec<FieldError>> {
    let mut merged = agent.clone();
    merged.extend(session.clone());
    let mut faults = Faults::default();
    env_vars(&mut faults, &merged);
    faults.into_result()
}

fn image(faults: &mut Faults, image: &str) {
    let path = ["harness_image"];
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    if image.chars().count() > IMAGE_CHARS {
        faults.add(TOO_BIG, &path, format!("is longer than {IMAGE_CHARS} characters"));
    } else if image.is_empty() {
        faults.add(TOO_SMALL, &path, "is empty; null takes the harness's own");
    } else if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.bytes().all(allowed) {
        faults.add(INVALID, &path, "is no image reference, like registry.example/name:tag");
    }
}

/// The patterns of a list that are ones, each with its place.
fn patterns(faults: &mut Faults, path: &[&str], list: &[String], max: usize) -> Vec<(usize, EgressPattern)> {
    faults.count(path, list.len(), max);
    let mut parsed = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        match text.parse::<EgressPattern>() {
            Ok(pattern) => parsed.push((index, pattern)),
            Err(error) => {
                let code = if error == PatternError::TooLong { TOO_BIG } else { INVALID };
                let place = index.to_string();
                faults.add(code, &[path, [place.as_str()].as_slice()].concat(), error.to_string());
            }
        }
    }
    parsed
}

/// A credential bound to a host that its sandbox may not reach would never be of use: it is a mistake in one of both.
fn credential_hosts(faults: &mut Faults, name: &str, hosts: &[String], allowed: &[(usize, EgressPattern)]) {
    let path = ["env_var_hosts", name];
    if hosts.is_empty() {
        faults.add(TOO_SMALL, &path, "names no host");
    }
    for (index, host) in patterns(faults, &path, hosts, ENV_HOSTS) {
        if !allowed.is_empty() && !allowed.iter().any(|(_, pattern)| pattern.covers(&host)) {
            faults.add(
                INVALID,
                &["env_var_hosts", name, &index.to_string()],
                format!("{host} is not allowed by allow_out; add it there or remove it here"),
            );
        }
    }
}

fn mcp_servers(faults: &mut Faults, servers: &[McpServer]) {
    faults.count(&["mcp_servers"], servers.len(), MCP_SERVERS);
    let mut names = BTreeSet::new();
    for (index, server) in servers.iter().enumerate() {
        let index = index.to_string();
        let field = |name| ["mcp_servers", index.as_str(), name];
        let name = match server {
            McpServer::Named(name) => name,
            McpServer::Http { name, url, headers } => {
                http_server(faults, &index, url, headers);
                name
            }
            McpServer::Command { name, command, args } => {
                if command.is_empty() {
                    faults.add(TOO_SMALL, &field("command"), "is empty");
                }
                faults.block(&field("command"), command, MCP_VALUE_CHARS);
                faults.count(&field("args"), args.len(), MCP_ARGS);
                for (at, arg) in args.iter().enumerate() {
                    faults.block(&["mcp_servers", &index, "args", &at.to_string()], arg, MCP_VALUE_CHARS);
                }
                name
            }
        };
        let path: &[&str] = match server {
            McpServer::Named(_) => &["mcp_servers", &index],
            _ => &field("name"),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=MCP_NAME_CHARS).contains(&name.len()) || !name.bytes().all(plain) {
            faults.add(
                INVALID,
                path,
                format!("is no name: 1 to {MCP_NAME_CHARS} letters, digits, ., _ and -"),
            );
        } else if !names.insert(name) {
            faults.add(INVALID, path, format!("names a second server {name}"));
        }
    }
}

fn http_server(
    faults: &mut Faults,
    index: &str,
    url: &str,
    headers: &std::collections::BTreeMap<String, String>,
) {
    let path = ["mcp_servers", index, "url"];
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    if url.len() > MCP_VALUE_CHARS {
        faults.add(TOO_BIG, &path, format!("is longer than {MCP_VALUE_CHARS} characters"));
    } else if host.is_none_or(str::is_empty) || !url.bytes().all(|b| b.is_ascii_graphic()) {
        faults.add(INVALID, &path, "is no http:// or https:// address");
    }
    let path = ["mcp_servers", index, "headers"];
    faults.count(&path, headers.len(), MCP_HEADERS);
    for (name, value) in headers {
        let path = ["mcp_servers", index, "headers", name];
        if name.is_empty() || !name.bytes().all(is_token) {
            faults.add(INVALID, &path, "is no name of a header");
        }
        if value.chars().any(char::is_control) {
            faults.add(INVALID, &path, "has a control character in it");
        }
        faults.block(&path, value, MCP_VALUE_CHARS);
    }
}

/// A character of a header's name: RFC 9110, 5.6.2.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::validate::{RESERVED, limits};
    use crate::model::{AgentId, ResourceAmounts, Resources};

    fn valid() -> Agent {
        Agent {
            id: AgentId::new(),
            name: "builder".into(),
            model: "claude".into(),
            prompt: None,
            harness_id: "shell".into(),
            harness_image: None,
            repo_url: None,
            branch: Some("main".into()),
            requirements: None,
            mcp_servers: vec![],
            env_vars: EnvVars::new(),
            env_var_hosts: [].into(),
            allow_out: vec![],
            deny_out: vec![],
            attached_skill_ids: vec![],
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

    fn faults_of(change: impl FnOnce(&mut Agent)) -> Vec<(String, String)> {
        let mut changed = valid();
        change(&mut changed);
        let faults = agent(&changed).err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.path.join("."), fault.code)).collect()
    }

    fn one(path: &str, code: &str) -> Vec<(String, String)> {
        vec![(path.to_owned(), code.to_owned())]
    }

    #[test]
    fn what_lies_on_a_limit_passes_and_what_lies_beyond_is_named() {
        assert_eq!(faults_of(|agent| agent.name = "ü".repeat(limits::NAME_CHARS)), []);
        assert_eq!(faults_of(|agent| agent.name = "ü".repeat(limits::NAME_CHARS + 1)), one("name", TOO_BIG));
        assert_eq!(faults_of(|agent| agent.name = "   ".into()), one("name", TOO_SMALL));
        assert_eq!(faults_of(|agent| agent.model = "\u{9b}31m".into()), one("model", INVALID));
        assert_eq!(faults_of(|agent| agent.prompt = Some("x".repeat(PROMPT_BYTES))), []);
        assert_eq!(
            faults_of(|agent| agent.prompt = Some("x".repeat(PROMPT_BYTES + 1))),
            one("prompt", TOO_BIG)
        );
        assert_eq!(faults_of(|agent| agent.preload_memory_limit = 51), one("preload_memory_limit", TOO_BIG));
        assert_eq!(faults_of(|agent| agent.max_sessions = Some(0)), one("max_sessions", TOO_SMALL));
    }

    #[test]
    fn variables_keep_to_their_names_number_and_size() {
        let vars = |count: usize| (0..count).map(|n| (format!("K{n}"), "v".to_owned())).collect::<EnvVars>();
        assert_eq!(faults_of(|agent| agent.env_vars = vars(limits::ENV_KEYS)), []);
        assert_eq!(faults_of(|agent| agent.env_vars = vars(limits::ENV_KEYS + 1)), one("env_vars", TOO_BIG));
        let sized = |bytes: usize| EnvVars::from([("K".to_owned(), "x".repeat(bytes - r#"{"K":""}"#.len()))]);
        assert_eq!(faults_of(|agent| agent.env_vars = sized(limits::ENV_JSON_BYTES)), []);
        assert_eq!(
            faults_of(|agent| agent.env_vars = sized(limits::ENV_JSON_BYTES + 1)),
            one("env_vars", TOO_BIG)
        );
        for name in limits::RESERVED_ENV.into_iter().chain(["LAP_", "LAP_ANYTHING"]) {
            let found = faults_of(|agent| agent.env_vars = [(name.to_owned(), String::new())].into());
            assert_eq!(found, one(&format!("env_vars.{name}"), RESERVED));
        }
    }

    #[test]
    fn a_credential_is_bound_only_to_hosts_that_can_be_reached() {
        let bind = |agent: &mut Agent, allow: &[&str], hosts: &[&str]| {
            agent.allow_out = allow.iter().map(|&host| host.to_owned()).collect();
            let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
            agent.env_vars = [("GH_TOKEN".to_owned(), "ghp_1".to_owned())].into();
            agent.env_var_hosts = [("GH_TOKEN".to_owned(), hosts)].into();
        };
        assert_eq!(faults_of(|agent| bind(agent, &[], &["api.github.com"])), []);
        assert_eq!(faults_of(|agent| bind(agent, &["*.github.com"], &["api.github.com"])), []);
        assert_eq!(
            faults_of(|agent| bind(agent, &["*.github.com"], &["not a host", "evil.com"])),
            [one("env_var_hosts.GH_TOKEN.0", INVALID), one("env_var_hosts.GH_TOKEN.1", INVALID)].concat()
        );
        assert_eq!(faults_of(|agent| bind(agent, &[], &[])), one("env_var_hosts.GH_TOKEN", TOO_SMALL));
        let unbound = |agent: &mut Agent| {
            bind(agent, &[], &["api.github.com"]);
            agent.env_vars.clear();
        };
        assert_eq!(faults_of(unbound), one("env_var_hosts.GH_TOKEN", INVALID));
    }

    #[test]
    fn a_request_for_more_than_its_limit_is_refused() {
        let cpu = |cpu: &str| ResourceAmounts { cpu: Some(cpu.to_owned()), ..ResourceAmounts::default() };
        let ask = |request: &str, limit: &str| Resources {
            requests: cpu(request),
            limits: cpu(limit),
            runtime_class: Some("gvisor".into()),
        };
        assert_eq!(faults_of(|agent| agent.resources = ask("500m", "0.5")), []);
        assert_eq!(
            faults_of(|agent| agent.resources = ask("2", "500m")),
            one("resources.requests.cpu", TOO_BIG)
        );
        assert_eq!(
            faults_of(|agent| agent.resources = ask("1", "lots")),
            one("resources.limits.cpu", INVALID)
        );
    }

    #[test]
    fn mcp_servers_have_names_of_their_own_and_addresses() {
        let http = |name: &str, url: &str| McpServer::Http {
            name: name.into(),
            url: url.into(),
            headers: [].into(),
        };
        assert_eq!(faults_of(|agent| agent.mcp_servers = vec![http("a", "https://host/mcp")]), []);
        assert_eq!(
            faults_of(|agent| {
                agent.mcp_servers = vec![http("a", "file:///etc/passwd"), McpServer::Named("a".into())];
            }),
            [one("mcp_servers.0.url", INVALID), one("mcp_servers.1", INVALID)].concat()
        );
        let headers = [("X Y".to_owned(), "a\r\nb".to_owned())].into();
        let server = McpServer::Http { name: "a".into(), url: "http://h".into(), headers };
        assert_eq!(
            faults_of(|agent| agent.mcp_servers = vec![server]),
            [one("mcp_servers.0.headers.X Y", INVALID), one("mcp_servers.0.headers.X Y", INVALID)].concat()
        );
    }
}
