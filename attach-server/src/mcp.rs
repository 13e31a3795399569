//! The platform's own MCP server, started beside every harness that takes MCP servers: what an agent remembers, and the
//! skills it has, as tools. It speaks MCP on its standard input and output, and with its session's token to the server.

use std::path::PathBuf;

use lap_platform::client::{Client, ClientError, MemoriesQuery};
use lap_platform::config::Environment;
use lap_platform::model::{AgentId, Memory, MemoryId, MemoryPatch, MemorySpec, MemoryType};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::{ServerHandler, ServiceExt, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;

/// The hidden subcommand: this program is then that server.
pub const SUBCOMMAND: &str = "__mcp";
/// The session's token.
pub(crate) const TOKEN: &str = "LAP_AGENT_TOKEN";
/// The agent's id.
const AGENT: &str = "AGENT_ID";
/// Memories that a search gives.
const FOUND: u32 = 20;

/// Serves until its standard input ends. `arguments`: the file that says where the server is.
///
/// # Errors
/// Where it was not started by a session.
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    let needed = |name: &str| {
        environment
            .filled(name)
            .ok_or_else(|| anyhow::anyhow!("{name} is not set: sessions start this program"))
    };
    let tools = Tools {
        place: arguments.into_iter().next().map(PathBuf::from),
        base_url: environment.filled("LAP_BASE_URL").map(str::to_owned),
        token: needed(TOKEN)?.to_owned(),
        agent: needed(AGENT)?.parse()?,
        tool_router: Tools::tool_router(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tools.serve(rmcp::transport::stdio()).await?.waiting().await?;
        Ok(())
    })
}

/// See the module.
#[derive(Clone, Debug)]
struct Tools {
    /// The file that says where the server of this machine is now.
    place: Option<PathBuf>,
    /// Where it is otherwise.
    base_url: Option<String>,
    token: String,
    agent: AgentId,
    tool_router: ToolRouter<Tools>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Search {
    /// Words to look for: each is found at the beginning of a word. Leave it empty for the newest memories.
    query: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Save {
    /// What to remember, in a sentence or two that will make sense without this conversation.
    text: String,
    /// `convention` (how things are done here), `constraint` (what must or must not be), `reference` (a fact, or where to
    /// find one) or `preference` (how somebody likes it).
    kind: Option<String>,
    /// Words to find it by, at most 8.
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Update {
    /// The memory's id, as a search gives it.
    id: String,
    /// What it is to say now.
    text: Option<String>,
    /// Whether to forget it: it is then told to nobody.
    #[serde(default)]
    forget: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Named {
    /// The skill's name.
    name: String,
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {}

#[tool_router(router = tool_router)]
impl Tools {
    /// Finds what is remembered from earlier sessions.
    #[tool(
        name = "search_memory",
        description = "Find what is remembered from earlier sessions about this work: conventions, constraints, facts, \
                       preferences. Search before you ask a person something that may be known."
    )]
    async fn search_memory(&self, Parameters(search): Parameters<Search>) -> Result<String, String> {
        let q = Some(search.query).filter(|query| !query.trim().is_empty());
        let query = MemoriesQuery { q, limit: Some(FOUND), ..MemoriesQuery::default() };
        let page = self.client()?.memories(self.agent, &query).await.map_err(words)?;
        if page.data.is_empty() {
            return Ok("Nothing like it is remembered.".to_owned());
        }
        Ok(page.data.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Remembers something for later sessions.
    #[tool(
        name = "save_memory",
        description = "Remember something for later sessions: what would have saved you time had you known it. Never a \
                       password, key or token."
    )]
    async fn save_memory(&self, Parameters(save): Parameters<Save>) -> Result<String, String> {
        let kind = save.kind.as_deref().map(kind).transpose()?;
        let spec = MemorySpec { text: save.text, tags: save.tags, kind, ..MemorySpec::default() };
        let memory = self.client()?.create_memory(self.agent, &spec).await.map_err(words)?;
        Ok(format!("Remembered as {}.", memory.id))
    }

    /// Corrects or forgets what is remembered.
    #[tool(
        name = "update_memory",
        description = "Correct something that is remembered, or forget it where it is no longer true."
    )]
    async fn update_memory(&self, Parameters(update): Parameters<Update>) -> Result<String, String> {
        let id: MemoryId = update.id.parse().map_err(|_| format!("{} is no id of a memory", update.id))?;
        let patch = MemoryPatch {
            text: update.text,
            disabled: update.forget.then_some(true),
            ..MemoryPatch::default()
        };
        self.client()?.patch_memory(self.agent, id, &patch).await.map_err(words)?;
        Ok(if update.forget { "Forgotten.".to_owned() } else { "Corrected.".to_owned() })
    }

    /// Lists the skills there are.
    #[tool(
        name = "list_skills",
        description = "List the skills there are: how things are done, and when each is of use."
    )]
    async fn list_skills(&self) -> Result<String, String> {
        let skills = self.client()?.all_skills(&Default::default()).await.map_err(words)?;
        if skills.is_empty() {
            return Ok("There are none.".to_owned());
        }
        let line = |skill: &lap_platform::model::Skill| format!("- {}: {}", skill.name, skill.description);
        Ok(skills.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Reads a skill.
    #[tool(name = "read_skill", description = "Read a skill: how something is done, step by step.")]
    async fn read_skill(&self, Parameters(named): Parameters<Named>) -> Result<String, String> {
        let client = self.client()?;
        let skills = client.all_skills(&Default::default()).await.map_err(words)?;
        let Some(skill) = skills.iter().find(|skill| skill.name == named.name) else {
            let names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
            return Err(format!("There is no skill {}; there are: {}", named.name, names.join(", ")));
        };
        Ok(client.skill(skill.id).await.map_err(words)?.content.unwrap_or_default())
    }
}

impl Tools {
    /// A client of the server as it is now: it may have been started again elsewhere.
    fn client(&self) -> Result<Client, String> {
        let told = self.place.as_ref().and_then(|place| std::fs::read(place).ok());
        let told = told.and_then(|told| serde_json::from_slice::<serde_json::Value>(&told).ok());
        let here = told.and_then(|told| told["url"].as_str().map(str::to_owned));
        let url = here.or(self.base_url.clone()).ok_or("The server is not to be found.")?;
        Client::new(&url, Some(&self.token)).map_err(words)
    }
}

fn line(memory: &Memory) -> String {
    let tags = memory.tags.iter().map(|tag| format!(", {tag}")).collect::<String>();
    format!("- {} [{}{tags}] {}", memory.id, memory.kind.as_str(), memory.text)
}

fn kind(word: &str) -> Result<MemoryType, String> {
    serde_json::from_value(word.into())
        .map_err(|_| format!("{word} is none of convention, constraint, reference, preference"))
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` asks for")]
fn words(error: ClientError) -> String {
    error.to_string()
}
