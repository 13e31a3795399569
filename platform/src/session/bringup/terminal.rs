//! The step that starts the harness in a terminal.

use lap_wire::control::Size;
use lap_wire::keeper::{ProgramIo, ProgramSpec};
use serde_json::Value;

use super::{BringUp, Fault, Step, keeper_fault, steps};
use crate::link::Keeper;
use crate::model::{DeathCode, Phase};
use crate::sandbox::SandboxName;
use crate::session::TERMINAL_PROGRAM;

impl BringUp<'_> {
    /// Whether the harness has a terminal that can be started. On the user's own machine its program can be looked for
    /// beforehand; in an image only the start tells.
    pub(super) fn check_terminal(&self) -> Result<(), Fault> {
        if !self.harness.supports_tui() {
            let message =
                format!("{} has no terminal, and sessions without one cannot be run yet", self.harness.name);
            return Err(Step::Harness.failed(message));
        }
        match self.host() {
            Some(host) => self
                .harness
                .detect(host)
                .map(drop)
                .map_err(|missing| Step::Harness.failed_as(DeathCode::NotInstalled, missing)),
            None => Ok(()),
        }
    }

    /// Starts the harness on a terminal. It has the usual size until a viewer brings its own.
    pub(super) async fn terminal(&mut self, client: &Keeper, sandbox: &SandboxName) -> Result<(), Fault> {
        self.phase(Phase::HarnessListening, None).await?;
        let mut argv = self.harness.terminal_command(self.host());
        let (arguments, besides) = self.tell(client, sandbox).await?;
        argv.extend(arguments);
        let mut env = self.environment(sandbox);
        env.extend(besides);
        // Once: a restart goes on with what was begun, it does not begin it again.
        let asked = self.request.initial_prompt.as_deref().filter(|prompt| !prompt.is_empty());
        if let Some(prompt) = asked.filter(|_| !self.is_done(steps::PROMPTED)) {
            argv.extend(self.harness.prompted(prompt));
        }
        let spec = ProgramSpec {
            ring: self.inner.settings.ring_bytes,
            scrollback: self.inner.settings.scrollback_bytes,
            ..ProgramSpec::new(
                TERMINAL_PROGRAM,
                argv,
                env,
                self.workdir(sandbox),
                ProgramIo::Pty { size: Size::default() },
            )
        };
        if let Err(error) = client.start(spec).await {
            return Err(self.lost(Step::Harness, sandbox, keeper_fault(Step::Harness, error)).await);
        }
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| {
                record.program = Some(TERMINAL_PROGRAM.to_owned());
                record.steps.insert(steps::PROMPTED.to_owned(), Value::Bool(true));
            })
            .await?;
        Ok(())
    }
}
