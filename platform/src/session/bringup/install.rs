//! The step that installs the agent's requirements.

use std::time::Duration;

use serde_json::Value;

use super::{BringUp, Fault, Step, keeper_fault, steps};
use crate::link::{Keeper, Run};
use crate::model::Phase;
use crate::sandbox::SandboxName;
use crate::session::settings::timeouts;

const VENV_RUN: &str = "install-venv";
const PIP_RUN: &str = "install-pip";

/// Where the agent's requirements are installed.
pub(in crate::session) fn venv(workspace: &str) -> String {
    format!("{workspace}/.lap/venv")
}

impl BringUp<'_> {
    /// Installs the agent's requirements into a virtual environment of the sandbox's own, first in the harness's PATH:
    /// what the machine has installed is left as it is.
    pub(super) async fn install(&mut self, client: &Keeper, sandbox: &SandboxName) -> Result<(), Fault> {
        let Some(requirements) = self.agent.requirements.clone().filter(|text| !text.trim().is_empty())
        else {
            return Ok(());
        };
        if self.is_done(steps::INSTALL) {
            return Ok(());
        }
        self.phase(Phase::InstallingDeps, None).await?;
        let workspace = self.inner.runtime.workdir(sandbox);
        let file = format!("{workspace}/.lap/requirements.txt");
        let written = client.write_file(&file, 0o644, requirements.as_bytes()).await;
        if let Err(error) = written {
            return Err(self.lost(Step::Install, sandbox, keeper_fault(Step::Install, error)).await);
        }
        let venv = venv(&workspace);
        let python = format!("{venv}/bin/python");
        let make = ["python3", "-m", "venv", &venv];
        let fill =
            [&*python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", &file];
        let commands = [
            (VENV_RUN, "making a virtual environment", make.map(str::to_owned).to_vec()),
            (PIP_RUN, "installing requirements", fill.map(str::to_owned).to_vec()),
        ];
        for (id, doing, argv) in commands {
            let run = self.step(id, argv, sandbox, timeouts::INSTALL);
            if let Err(fault) = self.run(client, Step::Install, doing, run).await {
                return Err(self.lost(Step::Install, sandbox, fault).await);
            }
        }
        self.done(steps::INSTALL, Value::Bool(true)).await?;
        for id in [VENV_RUN, PIP_RUN] {
            let _ = client.remove(id).await;
        }
        Ok(())
    }

    fn step(&self, id: &str, argv: Vec<String>, sandbox: &SandboxName, timeout: Duration) -> Run {
        let (env, cwd) = (self.environment(sandbox), self.workdir(sandbox));
        Run { id: id.to_owned(), argv, env, cwd, stdin: Vec::new(), keep: 0, timeout }
    }
}
