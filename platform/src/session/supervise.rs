//! Watching over a session that is ready: its program's end, its sandbox's end, and the time nobody uses it.

use std::sync::Arc;
use std::time::Duration;

use lap_wire::control::{ExitStatus, Mode, Open, ServerMessage};
use lap_wire::flow::Since;
use lap_wire::keeper::Program;

use super::driver::Next;
use super::idle::{Idle, Verdict};
use super::live::Entry;
use super::output::{TAIL_BYTES, Tail};
use super::{Inner, SessionError, TERMINAL_PROGRAM};
use crate::link::{Channel, ChannelEvent, Keeper, LinkError};
use crate::model::{Death, DeathCode, SessionStatus};
use crate::store::SessionRecord;

/// How long the last lines of output are waited for, when they are wanted as a reason.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// What made supervision stop.
enum Event {
    /// The terminal's program has ended.
    Exit(ExitStatus),
    /// The connection to its keeper has.
    Lost(LinkError),
    /// Something is different in the store, or at the hub, or with the sandbox.
    Poked,
    /// Time has come for what the idle rule said.
    Time(Verdict),
}

impl Inner {
    /// Watches over a session until something about it changes.
    pub(super) async fn supervise(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        record: SessionRecord,
    ) -> Result<Next, SessionError> {
        let Some(sandbox) = &record.sandbox else {
            self.conclude(entry.id, SessionStatus::Dead, sandbox_lost("its sandbox is not known")).await?;
            return Ok(Next::Again);
        };
        // The mark may be old: it is looked at again before it counts.
        if entry.take_gone()
            && let Some(reason) = self.gone(sandbox).await?
        {
            self.conclude(entry.id, SessionStatus::Dead, sandbox_gone(&reason)).await?;
            return Ok(Next::Again);
        }
        let keeper = self.links.keeper(sandbox);
        let program = record.program.as_deref().unwrap_or(TERMINAL_PROGRAM);
        let mut end = match watch_end(&keeper, program).await {
            Ok(channel) => channel,
            Err(error) if error.is_not_found() => {
                let death = sandbox_lost("its terminal is gone from its sandbox");
                self.conclude(entry.id, SessionStatus::Dead, death).await?;
                return Ok(Next::Again);
            }
            Err(error) => return self.unreachable(entry, &record, error.into()).await,
        };
        self.take_up_commands(&record);
        self.take_up_turns(entry.id);
        let mut idle = Idle::of(&record, entry, self.clock.now(), self.store.now());
        loop {
            let event = tokio::select! {
                event = end_of(&mut end) => event,
                () = entry.poked() => Event::Poked,
                verdict = idle.due(entry, &*self.clock) => Event::Time(verdict),
            };
            match event {
                Event::Exit(status) => return self.exited(entry, &keeper, program, &status).await,
                Event::Lost(error) => return self.unreachable(entry, &record, error.into()).await,
                Event::Poked => {
                    idle.save_activity(self, entry).await?;
                    let now = self
                        .store
                        .sessions()
                        .get(entry.id)
                        .await
                        .map_err(SessionError::of_session(entry.id))?;
                    self.take_up_turns(entry.id);
                    if entry.gone().is_some() || now.status != SessionStatus::Ready || now.ending {
                        return Ok(Next::Again);
                    }
                }
                Event::Time(verdict) => {
                    if idle.act(verdict, self, entry).await? {
                        return Ok(Next::Again);
                    }
                }
            }
        }
    }

    /// The keeper cannot be reached: either the sandbox is gone, or it is tried again.
    async fn unreachable(
        &self,
        entry: &Entry,
        record: &SessionRecord,
        error: SessionError,
    ) -> Result<Next, SessionError> {
        let Some(sandbox) = &record.sandbox else { return Ok(Next::Again) };
        let Some(reason) = self.gone(sandbox).await? else { return Err(error) };
        self.conclude(entry.id, SessionStatus::Dead, sandbox_gone(&reason)).await?;
        Ok(Next::Again)
    }

    /// The terminal's program has ended: the session is dead from here on, and then viewers are told.
    async fn exited(
        &self,
        entry: &Entry,
        keeper: &Keeper,
        program: &str,
        status: &ExitStatus,
    ) -> Result<Next, SessionError> {
        let mut reason = describe(status);
        if status.code != Some(0)
            && let Ok(Ok(lines)) = tokio::time::timeout(LAST_OUTPUT, last_output(keeper, program)).await
            && !lines.is_empty()
        {
            reason = format!("{reason}. It last printed:\n{}", lines.join("\n"));
        }
        let code = if status.signal.is_some() { DeathCode::Killed } else { DeathCode::Exited };
        self.conclude(
            entry.id,
            SessionStatus::Dead,
            Death { code, reason, exit_code: Some(status.shell_code()) },
        )
        .await?;
        Ok(Next::Again)
    }
}

fn sandbox_lost(reason: &str) -> Death {
    Death::new(DeathCode::SandboxLost, reason)
}

fn sandbox_gone(reason: &str) -> Death {
    sandbox_lost(&format!("its sandbox is gone: {reason}"))
}

/// How a program ended, for people.
pub(super) fn describe(status: &ExitStatus) -> String {
    match (status.code, &status.signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// A channel that hears of the program's end and takes none of its output.
async fn watch_end(keeper: &Keeper, program: &str) -> Result<Channel, LinkError> {
    keeper.open(Open { output: false, ..Open::new(program, Mode::View) }).await
}

async fn end_of(channel: &mut Channel) -> Event {
    loop {
        match channel.next().await {
            Ok(ChannelEvent::Message(ServerMessage::Exit(status))) => return Event::Exit(status),
            Ok(ChannelEvent::Message(ServerMessage::Closed { reason })) => {
                return Event::Lost(LinkError::Lost(reason));
            }
            Ok(_) => {}
            Err(error) => return Event::Lost(error),
        }
    }
}

/// The last lines of a terminal whose program has ended.
async fn last_output(keeper: &Keeper, program: &str) -> Result<Vec<String>, LinkError> {
    let programs = keeper.programs().await?;
    let Some(Program { epoch, output, .. }) = programs.into_iter().find(|p| p.id == program) else {
        return Ok(Vec::new());
    };
    // The position is good only together with the size generation, which an opening tells.
    let size_generation = watch_end(keeper, program).await?.opened().size_generation;
    let offset = output.saturating_sub(TAIL_BYTES as u64);
    let mut channel = keeper
        .open(Open {
            since: Some(Since { epoch, offset, size_generation }),
            ..Open::new(program, Mode::View)
        })
        .await?;
    let mut tail = Tail::default();
    loop {
        match channel.next().await? {
            ChannelEvent::Output { bytes, .. } | ChannelEvent::Snapshot { bytes, .. } => tail.push(&bytes),
            ChannelEvent::Message(ServerMessage::Exit(_) | ServerMessage::Closed { .. }) => {
                return Ok(tail.last_lines());
            }
            ChannelEvent::Message(_) => {}
        }
    }
}
