//! The step that starts the harness in a terminal.

use lap_wire::control::Size;
use lap_wire::keeper::{ProgramIo, ProgramSpec};

use super::{BringUp, Fault, keeper_fault};
use crate::link::Keeper;
use crate::model::Phase;
use crate::sandbox::SandboxName;
use crate::session::TERMINAL_PROGRAM;

const STEP: &str = "harness";

impl BringUp<'_> {
    /// Whether the harness has a terminal that can be started. On the user's own machine its program can be looked for
    /// beforehand; in an image only the start tells.
    pub(super) fn check_terminal(&self) -> Result<(), Fault> {
        if !self.harness.supports_tui() {
            let message =
                format!("{} has no terminal, and sessions without one cannot be run yet", self.harness.name);
            return Err(Fault::Failed(STEP, message));
        }
        match self.host() {
            Some(host) => self
                .harness
                .detect(host)
                .map(drop)
                .map_err(|missing| Fault::Failed(STEP, missing.to_string())),
            None => Ok(()),
        }
    }

    /// Starts the harness on a terminal. It has the usual size until a viewer brings its own.
    pub(super) async fn terminal(&mut self, client: &Keeper, sandbox: &SandboxName) -> Result<(), Fault> {
        self.phase(Phase::HarnessListening, None).await?;
        let mut argv = self.harness.terminal_command(&self.inner.host);
        if let Some(prompt) = self.request.initial_prompt.as_deref().filter(|prompt| !prompt.is_empty()) {
            argv.extend(self.harness.prompted(prompt));
        }
        let spec = ProgramSpec {
            ring: self.inner.settings.ring_bytes,
            scrollback: self.inner.settings.scrollback_bytes,
            ..ProgramSpec::new(
                TERMINAL_PROGRAM,
                argv,
                self.environment(sandbox),
                self.workdir(sandbox),
                ProgramIo::Pty { size: Size::default() },
            )
        };
        if let Err(error) = client.start(spec).await {
            return Err(self.lost(STEP, sandbox, keeper_fault(STEP, error)).await);
        }
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| record.program = Some(TERMINAL_PROGRAM.to_owned()))
            .await?;
        Ok(())
    }
}
