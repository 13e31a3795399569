//! The program of an agent that speaks ACP, beside its terminal: started where none runs, come back to where one does.

use std::path::Path;

use lap_wire::control::{Mode, Open, Stream};
use lap_wire::flow::Since;
use lap_wire::keeper::{Program, ProgramIo, ProgramSpec};

use super::super::bringup::telling;
use super::super::work::told;
use super::super::{Inner, SessionError};
use crate::harness::Harness;
use crate::link::{Channel, Keeper, LinkError};
use crate::model::Agent;
use crate::store::{Conversation, SessionRecord};

/// The program's id at its keeper.
pub(super) const PROGRAM: &str = "acp";
/// Output that may be on its way: the longest line fits.
const WINDOW: u32 = 6 * 1024 * 1024;
/// What the keeper retains of its output that was not acknowledged; then the program waits.
const RING: u32 = 8 * 1024 * 1024;
/// The name of our input: whoever writes is one writer.
const INPUT: &str = "acp";

/// What a session's agent is, and where.
pub(super) struct Place {
    pub(super) record: SessionRecord,
    pub(super) agent: Agent,
    pub(super) harness: Harness,
    pub(super) keeper: Keeper,
    pub(super) cwd: String,
    /// What it is told besides.
    pub(super) instructions: Option<String>,
    /// Whether it can do harm to nothing but its sandbox.
    pub(super) confined: bool,
}

/// Its program, as it runs.
pub(super) struct Running {
    pub(super) output: Channel,
    pub(super) complaints: Channel,
}

impl Inner {
    /// Where a session's agent is; nothing where it cannot be spoken to, or not now.
    pub(super) async fn acp_place(&self, record: SessionRecord) -> Result<Option<Place>, SessionError> {
        let Some(sandbox) = record.sandbox.clone() else { return Ok(None) };
        let agent = self.store.agents().last_state(record.agent_id).await;
        let agent = agent.map_err(SessionError::of_agent(record.agent_id))?.agent;
        let Some(harness) = self.catalog.get(&agent.harness_id).cloned() else { return Ok(None) };
        Ok(Some(Place {
            keeper: self.links.keeper(&sandbox),
            cwd: self.workdir(&agent, &sandbox),
            instructions: told(&record).instructions,
            confined: !self.runtime.unconfined(),
            record,
            agent,
            harness,
        }))
    }

    /// The program, started where none runs.
    ///
    /// # Errors
    /// In words for whoever has asked, where it cannot be; or where the keeper cannot be reached.
    pub(super) async fn acp_program(&self, place: &Place) -> Result<Result<Program, String>, SessionError> {
        if let Some(program) = place.program().await? {
            return Ok(Ok(program));
        }
        place.keeper.remove(PROGRAM).await?;
        let argv = place.harness.acp_command.clone();
        let missing = argv.first().filter(|program| {
            !place.confined && which::which_in(program, Some(&self.host.path), Path::new("/")).is_err()
        });
        if let Some(program) = missing {
            let install = place.harness.acp_install.as_ref().or(place.harness.install.as_ref());
            let hint = install.map(|how| format!(": {how}")).unwrap_or_default();
            return Ok(Err(format!("{program} is not on the PATH{hint}")));
        }
        let Some(sandbox) = &place.record.sandbox else { return Ok(Err("its sandbox is gone".to_owned())) };
        let asked = self.store.sessions().request(place.record.id).await;
        let asked = asked.map_err(SessionError::of_session(place.record.id))?;
        let mut env = self.environment(&place.record, &place.agent, &place.harness, &asked.env_vars, sandbox);
        let telling = telling(&self.settings, &place.agent, self.runtime.unconfined());
        env.extend(place.harness.told_acp_env(&telling));
        let mut whole = argv;
        whole.extend(place.harness.told_acp_arguments(&telling));
        let spec = ProgramSpec {
            ring: RING,
            ..ProgramSpec::new(PROGRAM, whole, env, place.cwd.clone(), ProgramIo::Pipes)
        };
        match place.keeper.start(spec).await {
            Ok(program) => Ok(Ok(program)),
            Err(LinkError::Refused(error)) => Ok(Err(error.message)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Place {
    /// The program, where one runs.
    pub(super) async fn program(&self) -> Result<Option<Program>, SessionError> {
        let programs = self.keeper.programs().await?;
        Ok(programs.into_iter().find(|program| program.id == PROGRAM && program.exit.is_none()))
    }

    /// Comes to the program's output and input, at the place where they were left.
    pub(super) async fn attach(
        &self,
        program: &Program,
        conversation: &Conversation,
    ) -> Result<Running, SessionError> {
        let epoch = program.epoch;
        let since = |offset| Some(Since { epoch, offset, size_generation: 0 });
        let output = Open {
            since: since(conversation.read_at),
            window: WINDOW,
            input: Some(INPUT.to_owned()),
            ..Open::new(PROGRAM, Mode::Interact)
        };
        let mut output = self.keeper.open(output).await?;
        output.hold_back(u64::MAX);
        let complaints = Open { stream: Stream::Stderr, since: since(0), ..Open::new(PROGRAM, Mode::View) };
        let complaints = self.keeper.open(complaints).await?;
        Ok(Running { output, complaints })
    }
}
