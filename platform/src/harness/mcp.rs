//! How a harness is given MCP servers in its terminal: in the form, and at the place, that its file in the catalog names.
//! Over ACP they are part of the protocol.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Harness, McpFormat};
use crate::model::McpServer;

/// Where a file goes that a harness is told of: within the workspace.
const FILE: &str = ".lap/mcp.json";
/// Gemini's settings of a folder.
const GEMINI_FILE: &str = ".gemini/settings.json";

/// An MCP server as a harness is given it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolServer {
    /// Its name within the harness.
    pub name: String,
    /// Where it is.
    pub place: ToolPlace,
}

/// Where an MCP server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToolPlace {
    /// Reached over HTTP.
    Http {
        /// Its address.
        url: String,
        /// Sent with every request.
        headers: BTreeMap<String, String>,
    },
    /// Started beside the harness.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its environment, on top of the harness's.
        env: BTreeMap<String, String>,
    },
}

/// How a harness is given its MCP servers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ToldTools {
    /// Arguments; `{file}` stands for where [`ToldTools::file`] is.
    pub arguments: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// A file, by its path in the workspace, or in the directory the harness starts in.
    pub file: Option<ToolFile>,
}

/// A file with MCP servers in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolFile {
    /// Its path.
    pub path: &'static str,
    /// Whether that is from the directory the harness starts in, where a repository may have one of its own.
    pub in_cwd: bool,
    /// What is in it.
    pub contents: String,
}

impl ToolServer {
    /// One that an agent names; nothing where only the gateway knows where it is.
    #[must_use]
    pub fn of(server: &McpServer) -> Option<ToolServer> {
        match server.clone() {
            McpServer::Named(_) => None,
            McpServer::Http { name, url, headers } => {
                Some(ToolServer { name, place: ToolPlace::Http { url, headers } })
            }
            McpServer::Command { name, command, args } => {
                let argv = std::iter::once(command).chain(args).collect();
                Some(ToolServer { name, place: ToolPlace::Command { argv, env: BTreeMap::new() } })
            }
        }
    }
}

impl Harness {
    /// How its terminal is given these servers; nothing where there are none, or it has no way to take them.
    #[must_use]
    pub fn told_tools(&self, servers: &[ToolServer]) -> Option<ToldTools> {
        let mcp = self.mcp.as_ref().filter(|_| !servers.is_empty())?;
        let file =
            |path, in_cwd, contents: Value| Some(ToolFile { path, in_cwd, contents: contents.to_string() });
        Some(match mcp.format {
            McpFormat::McpServersJson => ToldTools {
                arguments: mcp.args.clone(),
                file: file(FILE, false, json!({ "mcpServers": by_name(servers, claude) })),
                ..ToldTools::default()
            },
            McpFormat::GeminiJson => ToldTools {
                file: file(GEMINI_FILE, true, json!({ "mcpServers": by_name(servers, gemini) })),
                ..ToldTools::default()
            },
            McpFormat::OpencodeJson => ToldTools {
                env: BTreeMap::from([(
                    "OPENCODE_CONFIG_CONTENT".to_owned(),
                    json!({ "mcp": by_name(servers, opencode) }).to_string(),
                )]),
                ..ToldTools::default()
            },
            McpFormat::CodexToml => codex(servers),
            // It reads them from its own configuration alone.
            McpFormat::HermesYaml => return None,
        })
    }
}

fn by_name(servers: &[ToolServer], form: impl Fn(&ToolPlace) -> Value) -> Map<String, Value> {
    servers.iter().map(|server| (server.name.clone(), form(&server.place))).collect()
}

fn claude(place: &ToolPlace) -> Value {
    match place {
        ToolPlace::Http { url, headers } => json!({ "type": "http", "url": url, "headers": headers }),
        ToolPlace::Command { argv, env } => {
            json!({ "type": "stdio", "command": argv.first(), "args": argv.get(1..), "env": env })
        }
    }
}

fn gemini(place: &ToolPlace) -> Value {
    match place {
        ToolPlace::Http { url, headers } => json!({ "httpUrl": url, "headers": headers, "trust": true }),
        ToolPlace::Command { argv, env } => {
            json!({ "command": argv.first(), "args": argv.get(1..), "env": env, "trust": true })
        }
    }
}

fn opencode(place: &ToolPlace) -> Value {
    match place {
        ToolPlace::Http { url, headers } => json!({ "type": "remote", "url": url, "headers": headers }),
        ToolPlace::Command { argv, env } => json!({ "type": "local", "command": argv, "environment": env }),
    }
}

/// As `-c` arguments, which everybody on the machine can read: values of headers and variables go by the environment.
fn codex(servers: &[ToolServer]) -> ToldTools {
    // A string in JSON is one in TOML.
    let quoted = |text: &str| Value::from(text).to_string();
    let mut told = ToldTools::default();
    let mut count = 0;
    for server in servers {
        let mut table = String::new();
        // Writing into a string cannot fail.
        match &server.place {
            ToolPlace::Http { url, headers } => {
                let _ = write!(table, "url={}", quoted(url));
                let mut by_env = Vec::new();
                for (name, value) in headers {
                    count += 1;
                    let variable = format!("LAP_MCP_HEADER_{count}");
                    by_env.push(format!("{}={}", quoted(name), quoted(&variable)));
                    told.env.insert(variable, value.clone());
                }
                if !by_env.is_empty() {
                    let _ = write!(table, ",env_http_headers={{{}}}", by_env.join(","));
                }
            }
            ToolPlace::Command { argv, env } => {
                let command = argv.first().map(String::as_str).unwrap_or_default();
                let args: Vec<String> = argv.iter().skip(1).map(|word| quoted(word)).collect();
                let _ = write!(table, "command={},args=[{}]", quoted(command), args.join(","));
                let names: Vec<String> = env.keys().map(|name| quoted(name)).collect();
                if !names.is_empty() {
                    let _ = write!(table, ",env_vars=[{}]", names.join(","));
                }
                told.env.extend(env.clone());
            }
        }
        told.arguments.extend(["-c".to_owned(), format!("mcp_servers.{}={{{table}}}", quoted(&server.name))]);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Catalog;

    fn servers() -> Vec<ToolServer> {
        let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer secret".to_owned())]);
        let http = McpServer::Http { name: "docs".to_owned(), url: "https://m".to_owned(), headers };
        let mut own = ToolServer::of(&McpServer::Command {
            name: "own".to_owned(),
            command: "/bin/x".to_owned(),
            args: vec!["a \"b\"".to_owned()],
        })
        .unwrap();
        if let ToolPlace::Command { env, .. } = &mut own.place {
            env.insert("TOKEN".to_owned(), "t-1".to_owned());
        }
        vec![ToolServer::of(&http).unwrap(), own]
    }

    fn told(id: &str) -> ToldTools {
        Catalog::built_in().unwrap().get(id).unwrap().told_tools(&servers()).unwrap()
    }

    fn json_of(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_harness_is_given_them_in_its_own_form() {
        let claude = told("claude-code");
        assert_eq!(claude.arguments, ["--mcp-config", "{file}", "--strict-mcp-config"]);
        let file = claude.file.unwrap();
        assert_eq!((file.path, file.in_cwd), (".lap/mcp.json", false));
        let contents = json_of(&file.contents);
        assert_eq!(contents["mcpServers"]["docs"]["headers"]["Authorization"], "Bearer secret");
        assert_eq!(contents["mcpServers"]["own"]["args"], json!(["a \"b\""]));
        let gemini = json_of(&told("gemini").file.unwrap().contents);
        assert_eq!(gemini["mcpServers"]["own"]["env"]["TOKEN"], "t-1");
        let opencode = json_of(&told("opencode").env["OPENCODE_CONFIG_CONTENT"]);
        assert_eq!(opencode["mcp"]["own"]["command"], json!(["/bin/x", "a \"b\""]));
        assert_eq!(opencode["mcp"]["docs"]["type"], "remote");
    }

    #[test]
    fn what_everybody_can_read_has_no_secret_in_it() {
        let codex = told("codex");
        let arguments = codex.arguments.join(" ");
        assert!(!arguments.contains("secret") && !arguments.contains("t-1"), "{arguments}");
        assert_eq!(
            (codex.env["LAP_MCP_HEADER_1"].as_str(), codex.env["TOKEN"].as_str()),
            ("Bearer secret", "t-1")
        );
        for pair in codex.arguments.chunks(2) {
            assert_eq!(pair[0], "-c");
            let table: toml::Table = pair[1].parse().unwrap();
            assert_eq!(table["mcp_servers"].as_table().unwrap().len(), 1);
        }
    }

    #[test]
    fn without_any_or_without_a_way_nothing_is_said() {
        let catalog = Catalog::built_in().unwrap();
        assert_eq!(catalog.get("claude-code").unwrap().told_tools(&[]), None);
        assert_eq!(catalog.get("shell").unwrap().told_tools(&servers()), None);
        assert_eq!(catalog.get("hermes").unwrap().told_tools(&servers()), None);
    }
}
