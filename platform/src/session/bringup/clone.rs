//! The step that clones the agent's repository.

use serde_json::Value;

use super::{BringUp, Fault, Step, steps};
use crate::link::{Keeper, Run};
use crate::model::Phase;
use crate::sandbox::SandboxName;
use crate::session::settings::timeouts;

/// The folder in the workspace that has the repository.
pub(in crate::session) const FOLDER: &str = "repo";
/// Where it is cloned to, so that what a crash cuts short is not taken for it.
const UNFINISHED: &str = ".lap/cloning";
const RUN: &str = "clone";
/// A session that is restarted goes on in the workspace it had: a repository that is there already is left as it is.
const CLONE: &str = r#"[ -e "$1" ] && exit 0
rm -rf "$2"
git clone --progress --depth 1 ${3:+--branch "$3"} -- "$4" "$2" && mv "$2" "$1""#;

impl BringUp<'_> {
    /// Clones the repository, if there is one: the branch (the remote's own where none is said), and no history. With the means of the sandbox's own git and
    /// its credentials; nothing is asked for.
    pub(super) async fn clone_repository(
        &mut self,
        client: &Keeper,
        sandbox: &SandboxName,
    ) -> Result<(), Fault> {
        let Some(url) = self.inner.repo_url(&self.agent).map(str::to_owned) else { return Ok(()) };
        if self.is_done(steps::CLONE) {
            return Ok(());
        }
        let doing = format!("cloning {url}");
        self.phase(Phase::CloningRepo, Some(doing.clone())).await?;
        let mut env = self.environment(sandbox);
        env.insert("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned());
        // Its messages are shown, and in one language.
        env.insert("LC_ALL".to_owned(), "C".to_owned());
        let branch = self.agent.branch.as_deref().unwrap_or_default();
        let argv = ["sh", "-c", CLONE, "sh", FOLDER, UNFINISHED, branch, &url];
        let run = Run {
            id: RUN.to_owned(),
            argv: argv.map(str::to_owned).to_vec(),
            env,
            cwd: self.inner.runtime.workdir(sandbox),
            stdin: Vec::new(),
            keep: 0,
            timeout: timeouts::CLONE,
        };
        if let Err(fault) = self.run(client, Step::Clone, &doing, run).await {
            return Err(self.lost(Step::Clone, sandbox, fault).await);
        }
        self.done(steps::CLONE, Value::Bool(true)).await?;
        // Only now: until then another server could still have come for the result.
        let _ = client.remove(RUN).await;
        Ok(())
    }
}
