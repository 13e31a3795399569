//! What an agent is made from and changed by, on the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use lap_platform::client::Client;
use lap_platform::model::{Agent, AgentPatch, AgentSpec, EnvVars};

use super::args::{Format, Output};
use super::connect::App;
use super::fault::{Exit, Fault};
use super::resolve;

/// The largest file that is read for a prompt or a specification: above every limit of the API.
const MAX_FILE: u64 = 1024 * 1024;

/// `lap agents create`.
#[derive(Args, Debug)]
pub(super) struct AgentForm {
    /// What to call it; the server finds a name where none is given.
    name: Option<String>,
    /// Which program it is: shell, claude-code, codex, …
    #[arg(long)]
    harness: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Take all of it from this file, JSON or YAML as `get` prints it; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// `lap agents update`.
#[derive(Args, Debug)]
pub(super) struct AgentChanges {
    /// Which agent.
    agent: String,
    /// Its new name.
    #[arg(long)]
    rename: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Leave this one without a value.
    #[arg(long, value_name = "FIELD", value_parser = ["prompt", "image", "repo", "branch", "requirements", "skills", "max-sessions"])]
    clear: Vec<String>,
    /// Remove this variable from those it has.
    #[arg(long, value_name = "KEY")]
    unset_env: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What can be given when it is made and afterwards.
#[derive(Args, Debug, Default)]
struct Fields {
    /// The model, as its gateway calls it.
    #[arg(long)]
    model: Option<String>,
    /// Its instructions.
    #[arg(long)]
    prompt: Option<String>,
    /// Its instructions, from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    /// An image instead of the harness's own.
    #[arg(long)]
    image: Option<String>,
    /// The repository its sessions begin with.
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// The branch of its repository; else the remote's own.
    #[arg(long)]
    branch: Option<String>,
    /// A pip requirements file.
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// A variable for its sandboxes; without a value it is taken from this environment, unseen.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// A host that a variable's value may be sent to.
    #[arg(long, value_name = "KEY=HOST")]
    env_host: Vec<String>,
    /// A host its sandboxes may reach; none given means no such list.
    #[arg(long, value_name = "HOST")]
    allow_out: Vec<String>,
    /// A host its sandboxes may not reach.
    #[arg(long, value_name = "HOST")]
    deny_out: Vec<String>,
    /// A skill of the library, by its name or id.
    #[arg(long)]
    skill: Vec<String>,
    /// Memories put into a session's prompt, 0 to 50.
    #[arg(long, value_name = "COUNT")]
    preload_memory_limit: Option<u32>,
    /// Seconds without activity after which a session of it ends.
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<u64>,
    /// The most live sessions of it.
    #[arg(long, value_name = "COUNT")]
    max_sessions: Option<u32>,
}

impl AgentForm {
    pub(super) fn output(&self) -> Format {
        self.output.output
    }

    pub(super) async fn spec(self, app: &App, client: &Client) -> Result<AgentSpec, Fault> {
        let spec = match &self.file {
            Some(path) => specification(&read(path)?)?,
            None => AgentSpec::default(),
        };
        let fields = self.fields;
        let prompt = fields.prompt()?;
        let mut env_vars = spec.env_vars;
        env_vars.extend(env(&fields.env, app)?);
        let mut env_var_hosts = spec.env_var_hosts;
        env_var_hosts.extend(hosts(&fields.env_host)?);
        let harness_id = self.harness.or(spec.harness_id);
        let model = match fields.model.or(Some(spec.model).filter(|model| !model.is_empty())) {
            Some(model) => model,
            None => default_model(app, client, harness_id.as_deref()).await?,
        };
        Ok(AgentSpec {
            name: self.name.or(spec.name),
            model,
            prompt: prompt.or(spec.prompt),
            harness_id,
            harness_image: fields.image.or(spec.harness_image),
            repo_url: fields.repo.or(spec.repo_url),
            branch: fields.branch.or(spec.branch),
            requirements: fields.requirements.as_deref().map(read).transpose()?.or(spec.requirements),
            mcp_servers: spec.mcp_servers,
            env_vars,
            env_var_hosts,
            allow_out: or(fields.allow_out, spec.allow_out),
            deny_out: or(fields.deny_out, spec.deny_out),
            skill_ids: or(resolve::skill_ids(client, &fields.skill).await?, spec.skill_ids),
            preload_memory_limit: fields.preload_memory_limit.or(spec.preload_memory_limit),
            resources: spec.resources,
            idle_timeout_seconds: fields.idle_timeout.or(spec.idle_timeout_seconds),
            max_sessions: fields.max_sessions.or(spec.max_sessions),
        })
    }
}

impl AgentChanges {
    pub(super) fn agent(&self) -> &str {
        &self.agent
    }

    pub(super) fn output(&self) -> Format {
        self.output.output
    }

    pub(super) async fn patch(
        &self,
        app: &App,
        client: &Client,
        before: &Agent,
    ) -> Result<AgentPatch, Fault> {
        let fields = &self.fields;
        let cleared = |field: &str| self.clear.iter().any(|cleared| cleared == field);
        if !self.unset_env.is_empty() || (!fields.env.is_empty() && !before.env_vars.is_empty()) {
            // The API takes the whole map, and tells values masked: what is there cannot be sent back.
            let rest: Vec<_> = before.env_vars.keys().filter(|key| !self.gives(key)).cloned().collect();
            if !rest.is_empty() {
                return Err(Fault::usage(
                    "variables are replaced together, and their values cannot be read back",
                )
                .hint(format!(
                    "give these too, as --env KEY=VALUE or from the environment: {}",
                    rest.join(", ")
                )));
            }
        }
        let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        let requirements = fields.requirements.as_deref().map(read).transpose()?;
        let skills = resolve::skill_ids(client, &fields.skill).await?;
        let env_vars = env(&fields.env, app)?;
        let replace_env = !fields.env.is_empty() || !self.unset_env.is_empty();
        let patch = AgentPatch {
            name: self.rename.clone(),
            model: fields.model.clone(),
            prompt: fields.prompt()?.map(Some).or_else(|| cleared("prompt").then_some(None)),
            harness_image: fields.image.clone().map(Some).or_else(|| cleared("image").then_some(None)),
            repo_url: fields.repo.clone().map(Some).or_else(|| cleared("repo").then_some(None)),
            branch: fields.branch.clone().map(Some).or_else(|| cleared("branch").then_some(None)),
            requirements: requirements.map(Some).or_else(|| cleared("requirements").then_some(None)),
            mcp_servers: None,
            env_vars: replace_env.then_some(env_vars),
            env_var_hosts: Some(hosts(&fields.env_host)?).filter(|hosts| !hosts.is_empty()),
            allow_out: some(&fields.allow_out),
            deny_out: some(&fields.deny_out),
            skill_ids: Some(skills).filter(|skills| !skills.is_empty() || cleared("skills")),
            preload_memory_limit: fields.preload_memory_limit,
            resources: None,
            idle_timeout_seconds: fields.idle_timeout,
            max_sessions: fields.max_sessions.map(Some).or_else(|| cleared("max-sessions").then_some(None)),
        };
        if patch == AgentPatch::default() {
            return Err(Fault::usage("nothing to change was given")
                .hint("`lap agents update --help` shows what can be"));
        }
        Ok(patch)
    }

    /// Whether the value of this variable is given, or given up.
    fn gives(&self, key: &str) -> bool {
        let given =
            self.fields.env.iter().map(|pair| pair.split_once('=').map_or(pair.as_str(), |(key, _)| key));
        given.chain(self.unset_env.iter().map(String::as_str)).any(|given| given == key)
    }
}

impl Fields {
    fn prompt(&self) -> Result<Option<String>, Fault> {
        match &self.prompt_file {
            Some(path) => read(path).map(Some),
            None => Ok(self.prompt.clone()),
        }
    }
}

/// The variables given as `KEY=VALUE`, or as `KEY` to be taken from the environment.
pub(super) fn env(given: &[String], app: &App) -> Result<EnvVars, Fault> {
    let pair = |given: &String| match given.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => match app.config.environment.get(given) {
            Some(value) => Ok((given.clone(), value.to_owned())),
            None => Err(Fault::usage(format!("{given} is not set in this environment"))
                .hint(format!("give it as --env {given}=VALUE"))),
        },
    };
    given.iter().map(pair).collect()
}

fn hosts(given: &[String]) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in given {
        let Some((key, host)) = pair.split_once('=') else {
            return Err(Fault::usage(format!("--env-host {pair}: write it as KEY=HOST")));
        };
        hosts.entry(key.to_owned()).or_default().push(host.to_owned());
    }
    Ok(hosts)
}

fn or<T>(given: Vec<T>, otherwise: Vec<T>) -> Vec<T> {
    if given.is_empty() { otherwise } else { given }
}

/// The text of a file, or of standard input.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    use std::io::Read;
    let fault =
        |error: std::io::Error| Fault::new(Exit::Failed, format!("cannot read {}: {error}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE + 1).read_to_string(&mut text).map_err(fault)?;
    } else {
        std::fs::File::open(path)
            .map_err(fault)?
            .take(MAX_FILE + 1)
            .read_to_string(&mut text)
            .map_err(fault)?;
    }
    if text.len() as u64 > MAX_FILE {
        return Err(Fault::usage(format!("{} is over {} KiB", path.display(), MAX_FILE / 1024)));
    }
    Ok(text)
}

/// What `lap agents get -o json|yaml` prints, less what only the server sets. (YAML contains JSON.)
fn specification(text: &str) -> Result<AgentSpec, Fault> {
    const OF_THE_SERVER: [&str; 7] = [
        "id",
        "supports_tui",
        "config_generation",
        "created_at",
        "updated_at",
        "session_count",
        "has_active_session",
    ];
    let wrong = |error: &dyn std::fmt::Display| Fault::usage(format!("the file is no agent: {error}"));
    let mut value: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| wrong(&error))?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| !OF_THE_SERVER.contains(&name.as_str()) && !value.is_null());
        if let Some(skills) = fields.remove("attached_skill_ids") {
            fields.insert("skill_ids".to_owned(), skills);
        }
        // The model may be given by flag or by the harness instead.
        fields.entry("model").or_insert_with(|| "".into());
        let masked = fields.get("env_vars").and_then(|vars| vars.as_object()).into_iter().flatten();
        let masked: Vec<_> =
            masked.filter(|(_, value)| value.as_str().is_some_and(|value| value.contains('…'))).collect();
        if let Some((key, _)) = masked.first() {
            return Err(Fault::usage(format!("the value of {key} in the file is masked"))
                .hint("write its value there, or remove it and give it with --env"));
        }
    }
    serde_json::from_value(value).map_err(|error| wrong(&error))
}

/// The model of an agent for which none was given: its harness's, else the gateway's, else none in particular.
async fn default_model(app: &App, client: &Client, harness: Option<&str>) -> Result<String, Fault> {
    let harness = harness.unwrap_or(&app.config.sessions.harness);
    let known = client.harnesses().await?;
    let of_harness =
        known.into_iter().find(|known| known.id == harness).and_then(|known| known.default_model);
    let of_gateway = || app.config.gateway.default_model.clone();
    // As in the dashboard: whatever the harness is set to.
    Ok(of_harness.or_else(of_gateway).unwrap_or_else(|| Agent::NO_MODEL.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_get_prints_makes_another() {
        let printed = r#"{"id":"0193a5b2-7c41-7d3e-9f00-0123456789ab","name":"a","model":"m","prompt":null,
            "harness_id":"shell","attached_skill_ids":[],"env_vars":{},"created_at":"2026-01-01T00:00:00Z",
            "session_count":3,"has_active_session":false,"supports_tui":true,"config_generation":2,
            "updated_at":"2026-01-01T00:00:00Z","max_sessions":2}"#;
        let spec = specification(printed).unwrap();
        assert_eq!((spec.name.as_deref(), spec.harness_id.as_deref()), (Some("a"), Some("shell")));
        assert_eq!(spec.max_sessions, Some(2));
        assert_eq!(specification("name: b\nmodel: m\nenv_vars:\n  A: b\n").unwrap().env_vars["A"], "b");
    }

    #[test]
    fn a_masked_value_is_not_taken_for_one() {
        let fault = specification("model: m\nenv_vars:\n  TOKEN: ghp_…9f\n").unwrap_err().to_string();
        assert!(fault.contains("TOKEN") && fault.contains("masked"), "{fault}");
        assert!(specification("model: m\nprotm: x\n").unwrap_err().to_string().contains("protm"));
    }
}
