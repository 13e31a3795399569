//! The step that tells the harness what its session is for. What it was told is kept with the session, for whoever asks.

use serde_json::Value;

use super::{BringUp, Fault, Step, keeper_fault, steps};
use crate::harness::{Instructions, Telling, ToldTools, prompt};
use crate::link::{Keeper, Run};
use crate::model::{Agent, EnvVars, MemoryId, Told};
use crate::sandbox::SandboxName;
use crate::session::work;

/// How long looking whether a file is there may take.
const LOOK: std::time::Duration = std::time::Duration::from_secs(10);
/// Its run's id.
const RUN: &str = "look";
/// What of a repository git does not look at.
const EXCLUDE: &str = ".git/info/exclude";

impl BringUp<'_> {
    /// Puts files in place, and gives the arguments that go behind the harness's command and the environment that goes over
    /// its own.
    pub(super) async fn tell(
        &mut self,
        client: &Keeper,
        sandbox: &SandboxName,
    ) -> Result<(Vec<String>, EnvVars), Fault> {
        let cwd = self.workdir(sandbox);
        let settings = &self.inner.settings;
        let telling =
            Telling { cwd: &cwd, ..telling(settings, &self.agent, self.inner.runtime.unconfined()) };
        let before = work::told(&self.record);
        let store = &self.inner.store;
        let limit = self.agent.preload_memory_limit;
        let memories = store.memories().to_tell(self.agent.id, limit).await;
        let memories = memories.map_err(|error| Fault::Again(error.into()))?;
        let skills = self.skills().await?;
        let skills = skills.into_iter().map(|skill| (self.told_skill(&skill, &telling), skill)).collect();
        let skills = self.place_skills(client, &cwd, skills, &before).await?;
        let agents = self.agent.prompt.as_deref().unwrap_or_default();
        let instructions = prompt(&memories, agents, &skills).map_err(|error| Step::Files.failed(error))?;
        let telling = Telling { instructions: &instructions, ..telling };

        let mut arguments = self.harness.told_arguments(&telling);
        let home = self.inner.runtime.home().unwrap_or_default();
        for (path, contents) in self.harness.told_files(&telling) {
            let path = path.replacen('~', home, 1);
            let written = client.write_file(&path, 0o600, contents.as_bytes()).await;
            written.map_err(|error| keeper_fault(Step::Files, error))?;
        }
        let mut files: Vec<String> = skills.iter().map(|(skill, _)| skill.path.clone()).collect();
        let delivered = match self.harness.told_instructions(&telling) {
            Instructions::None => None,
            Instructions::Arguments(more) => {
                arguments.extend(more);
                Some("arguments".to_owned())
            }
            Instructions::File(name) => {
                let path = format!("{cwd}/{name}");
                let ours = before.delivered.as_deref() == Some(&name);
                // What a repository says of itself is not written over.
                if !ours && self.is_there(client, &path, &cwd).await {
                    Some(format!("not: the repository has its own {name}"))
                } else {
                    let written = client.write_file(&path, 0o644, instructions.as_bytes()).await;
                    written.map_err(|error| keeper_fault(Step::Files, error))?;
                    files.push(name.clone());
                    Some(name)
                }
            }
            Instructions::NoWay => Some(format!("not: {} takes none", self.harness.name)),
        };
        let mut env = EnvVars::new();
        let servers = self.inner.tool_servers(&self.agent, self.record.id);
        let mut given = Vec::new();
        if let Some(tools) = self.harness.told_tools(&servers)
            && let Some(path) = self.place_tools(client, &cwd, sandbox, &tools, &before, &mut files).await?
        {
            arguments.extend(tools.arguments.iter().map(|part| part.replace("{file}", &path)));
            env = tools.env;
            given = servers.into_iter().map(|server| server.name).collect();
        }
        files.retain(|file| !file.starts_with('~'));
        self.exclude(client, &cwd, &files).await?;
        let memories: Vec<MemoryId> = memories.iter().map(|memory| memory.id).collect();
        self.apply(&memories, &before).await?;
        let told = Told {
            model: Some(telling.model.to_owned()).filter(|model| !model.is_empty()),
            instructions: delivered.is_some().then(|| instructions.clone()),
            delivered,
            initial_prompt: self.request.initial_prompt.clone().filter(|prompt| !prompt.is_empty()),
            memories,
            skills: skills.into_iter().map(|(skill, _)| skill).collect(),
            mcp_servers: given,
            files,
        };
        let told = serde_json::to_value(told).unwrap_or(Value::Null);
        self.done(steps::TOLD, told).await?;
        Ok((arguments, env))
    }

    /// Counts the use of memories this session was not told before. One that is killed between this and storing what was
    /// told counts twice, which is better than never.
    async fn apply(&self, memories: &[MemoryId], before: &Told) -> Result<(), Fault> {
        let new: Vec<MemoryId> =
            memories.iter().filter(|id| !before.memories.contains(id)).copied().collect();
        let applied = self.inner.store.memories().applied(&new).await;
        applied.map_err(|error| Fault::Again(error.into()))
    }

    /// Puts the file with the MCP servers in place, and says where it is; nothing where a repository has taken its place.
    async fn place_tools(
        &self,
        client: &Keeper,
        cwd: &str,
        sandbox: &SandboxName,
        tools: &ToldTools,
        before: &Told,
        files: &mut Vec<String>,
    ) -> Result<Option<String>, Fault> {
        let Some(file) = &tools.file else { return Ok(Some(String::new())) };
        let path = if file.in_cwd {
            format!("{cwd}/{}", file.path)
        } else {
            format!("{}/{}", self.inner.runtime.workdir(sandbox), file.path)
        };
        let ours = !file.in_cwd || before.files.iter().any(|before| before == file.path);
        if !ours && self.is_there(client, &path, cwd).await {
            return Ok(None);
        }
        // It may hold credentials.
        let written = client.write_file(&path, 0o600, file.contents.as_bytes()).await;
        written.map_err(|error| keeper_fault(Step::Files, error))?;
        if file.in_cwd {
            files.push(file.path.to_owned());
        }
        Ok(Some(path))
    }

    /// Keeps what was put into a repository out of what git sees: it is nobody's work.
    async fn exclude(&self, client: &Keeper, cwd: &str, files: &[String]) -> Result<(), Fault> {
        if files.is_empty() || self.inner.repo_url(&self.agent).is_none() {
            return Ok(());
        }
        let lines: String = files.iter().map(|file| format!("/{file}\n")).collect();
        let text = format!("# Put here by lap for the agent.\n{lines}");
        let written = client.write_file(&format!("{cwd}/{EXCLUDE}"), 0o644, text.as_bytes()).await;
        written.map_err(|error| keeper_fault(Step::Files, error))
    }

    /// Whether a repository has a file of that name. A workspace without one begins empty, and what is there when it is
    /// brought up again was put there by us or by who worked in it.
    pub(super) async fn is_there(&self, client: &Keeper, path: &str, cwd: &str) -> bool {
        if self.inner.repo_url(&self.agent).is_none() {
            return false;
        }
        let argv = ["test", "-e", path].map(str::to_owned).to_vec();
        let (env, cwd) = (EnvVars::new(), cwd.to_owned());
        let run = Run { id: RUN.to_owned(), argv, env, cwd, stdin: Vec::new(), keep: 0, timeout: LOOK };
        // Where nothing can look, nothing is written over.
        client.run_once(run).await.map_or(true, |output| output.exit.code == Some(0))
    }
}

/// What there is to tell a harness, but for its instructions and where it starts.
pub(in crate::session) fn telling<'a>(
    settings: &'a crate::session::SessionSettings,
    agent: &'a Agent,
    unconfined: bool,
) -> Telling<'a> {
    let key = settings.gateway_key.as_ref().map_or("", |key| key.expose());
    Telling {
        model: Some(agent.model.as_str()).filter(|model| *model != Agent::NO_MODEL).unwrap_or_default(),
        instructions: "",
        gateway: settings.gateway_base.as_deref().map(|base| (base, key)),
        cwd: "",
        confined: !unconfined,
    }
}
