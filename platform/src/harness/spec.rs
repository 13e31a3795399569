//! What a harness is: what starts it, and how it takes what it is given.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Host;
use super::host::FALLBACK_SHELL;

/// Stands for the user's login shell in [`Harness::command`].
const SHELL: &str = "{shell}";

/// A program that is an agent, or a shell: what starts it and how it takes what it is given.
///
/// Templates may name `{model}`, `{api_base}`, `{api_key}`, `{cwd}`, `{instructions}`, `{instructions_json}` (as a string in
/// JSON or TOML), `{prompt}` and `{file}`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harness {
    /// What agents call it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it can be used, the usual way first.
    pub family: Vec<Family>,
    /// The container image that has it; none on one machine.
    #[serde(default)]
    pub image: Option<String>,
    /// Starts its terminal: the program and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Starts it speaking ACP on its standard input and output.
    #[serde(default)]
    pub acp_command: Vec<String>,
    /// Arguments that choose its model there.
    #[serde(default)]
    pub acp_model_args: Vec<String>,
    /// Environment that does.
    #[serde(default)]
    pub acp_model_env: BTreeMap<String, String>,
    /// The mode to set there where it is to ask before it does something, if that is not how it begins.
    #[serde(default)]
    pub acp_ask_mode: Option<String>,
    /// The command that installs what speaks ACP, where that is another program.
    #[serde(default)]
    pub acp_install: Option<String>,
    /// Environment it is always given; agents' and sessions' own go over it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Environment where its workspace begins empty: it need not ask whether what is in there is to be trusted. A
    /// repository is another matter, since its settings may run commands.
    #[serde(default)]
    pub empty_workspace_env: BTreeMap<String, String>,
    /// Variables of the user's own environment it is given on one machine, such as keys people sign in with.
    #[serde(default)]
    pub host_env: Vec<String>,
    /// The command that installs it, or what else to do, for people.
    #[serde(default)]
    pub install: Option<String>,
    /// The file in the workspace that it reads instructions from.
    #[serde(default)]
    pub instructions_file: Option<String>,
    /// Arguments that give it instructions without a file.
    #[serde(default)]
    pub instructions_args: Vec<String>,
    /// Arguments that give its terminal its first prompt. Without any it takes none.
    #[serde(default)]
    pub prompt_args: Vec<String>,
    /// Where it looks for skills.
    #[serde(default)]
    pub skills_dir: Option<String>,
    /// Whether it is of no use without a model: an agent must then name one.
    #[serde(default = "yes")]
    pub needs_model: bool,
    /// Arguments that choose its model.
    #[serde(default)]
    pub model_args: Vec<String>,
    /// How it is given MCP servers.
    #[serde(default)]
    pub mcp: Option<Mcp>,
    /// How it is pointed at the model gateway.
    #[serde(default)]
    pub gateway: Gateway,
    /// How it is told not to ask for permission.
    #[serde(default)]
    pub bypass: Bypass,
    /// Files without which a dialog stands in the way at its first start. Never written to a user's own home.
    #[serde(default)]
    pub seed: Vec<Seed>,
}

fn yes() -> bool {
    true
}

/// How a harness can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// It has a terminal.
    Terminal,
    /// It answers messages.
    Api,
}

/// How a harness is given MCP servers when it runs in its terminal.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// The form in which it reads them.
    pub format: McpFormat,
    /// Arguments that name the file; without any it is part of the harness's own configuration file.
    #[serde(default)]
    pub args: Vec<String>,
}

/// Forms of a list of MCP servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McpFormat {
    /// `{"mcpServers": {…}}`.
    McpServersJson,
    /// `[mcp_servers.x]` of Codex's `config.toml`.
    CodexToml,
    /// `mcp.x` of `opencode.json`.
    OpencodeJson,
    /// `mcpServers.x` of Gemini's `settings.json`.
    GeminiJson,
    /// `mcp_servers:` of Hermes' `config.yaml`.
    HermesYaml,
}

/// How a harness is pointed at the model gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Environment, with templates.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Arguments that choose its model there, where they are others.
    #[serde(default)]
    pub model_args: Vec<String>,
    /// Whether it takes a gateway only from a file in its home.
    #[serde(default)]
    pub by_file: bool,
    /// Environment of the program that speaks ACP, with templates: over all other, and where the agent names a model.
    #[serde(default)]
    pub acp_env: BTreeMap<String, String>,
}

/// How a harness is told not to ask for permission.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bypass {
    /// Arguments of its terminal.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The mode to set over ACP.
    #[serde(default)]
    pub acp_mode: Option<String>,
}

/// A file put in place before the first start.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Where; `~` is the home directory in the sandbox.
    pub path: String,
    /// What, with templates.
    pub contents: String,
}

impl Harness {
    /// Whether it has a terminal.
    #[must_use]
    pub fn supports_tui(&self) -> bool {
        self.family.contains(&Family::Terminal)
    }

    /// What starts its terminal on this host, or in an image where there is none. Empty when nothing does (a custom
    /// command that is not configured).
    #[must_use]
    pub fn terminal_command(&self, host: Option<&Host>) -> Vec<String> {
        let shell = host.map_or(FALLBACK_SHELL, |host| &host.shell);
        self.command.iter().map(|part| if part == SHELL { shell.to_owned() } else { part.clone() }).collect()
    }

    /// Whether its terminal can be given a first prompt.
    #[must_use]
    pub fn takes_prompt(&self) -> bool {
        !self.prompt_args.is_empty()
    }

    /// The arguments that give its terminal this first prompt.
    #[must_use]
    pub fn prompted(&self, prompt: &str) -> Vec<String> {
        self.prompt_args.iter().map(|part| part.replace("{prompt}", prompt)).collect()
    }

    /// What is wrong with it, beyond what its types can say.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let id_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(id_char) {
            faults.push(format!("id: {:?} is not 1 to 64 of a-z, 0-9 and -", self.id));
        }
        if self.name.trim().is_empty() {
            faults.push("name: must not be empty".to_owned());
        }
        if self.family.is_empty() {
            faults.push("family: must name terminal, api or both".to_owned());
        }
        for (field, argv) in [("command", &self.command), ("acp_command", &self.acp_command)] {
            if argv.first().is_some_and(|program| program.trim().is_empty()) {
                faults.push(format!("{field}: the program's name is empty"));
            }
        }
        for name in self
            .env
            .keys()
            .chain(self.empty_workspace_env.keys())
            .chain(self.gateway.env.keys())
            .chain(self.bypass.env.keys())
            .chain(&self.host_env)
        {
            if name.is_empty() || name.contains(['=', '\0']) {
                faults.push(format!("{name:?} cannot be the name of an environment variable"));
            }
        }
        faults
    }
}
