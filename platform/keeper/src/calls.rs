//! What a server asks of a keeper, beyond channels.

use std::path::Path;
use std::time::Instant;

use lap_wire::ChannelId;
use lap_wire::control::{ErrorCode, ServerMessage, WireError};
use lap_wire::keeper::{Call, Grant, Info, ProgramSpec, Reply};
use lap_wire::limits::MAX_CHANNELS;

use crate::connection::{Channel, ConnectionId};
use crate::files::FileWriter;
use crate::keeper::Keeper;
use crate::limits::{MAX_FILES, MAX_PROGRAMS};
use crate::program::{Program, ProgramKey};
use crate::signal_names;
use crate::spawn;
use crate::stop::Target;

impl Keeper {
    /// Answers a call; `None` for one that is answered when it is done.
    pub(crate) fn call(&mut self, id: ConnectionId, request: u64, call: Call, now: Instant) -> Option<Reply> {
        let answer = match call {
            Call::Start(spec) => self.start(&spec, now),
            Call::Programs => {
                Ok(Reply::Programs { programs: self.programs.values().map(Program::describe).collect() })
            }
            Call::Signal { id, signal } => self.signal(&id, &signal),
            Call::Stop { id: program, grace_ms } => match self.find(&program) {
                Ok(key) => {
                    self.stop(Target::Program(key), grace_ms, Some((id, request)), now);
                    return None;
                }
                Err(error) => Err(error),
            },
            Call::Remove { id } => self.remove(&id),
            Call::WriteFile { channel, path, mode } => self.open_file(id, channel, &path, mode),
            Call::Grant(grant) => self.grant(&grant, now),
            Call::Revoke { token } => {
                if let Some(connection) = self.grants.revoke(&token) {
                    self.turn_away(connection, now);
                }
                Ok(Reply::Done)
            }
            Call::Info => Ok(Reply::Info(self.info())),
            Call::Shutdown { grace_ms } => {
                self.shut_down(grace_ms, Some((id, request)), now);
                return None;
            }
        };
        Some(answer.unwrap_or_else(Reply::Failed))
    }

    /// The program of that name.
    pub(crate) fn find(&self, id: &str) -> Result<ProgramKey, WireError> {
        let found = self.programs.iter().find(|(_, program)| program.id == id);
        let found = found.map(|(key, _)| *key);
        found.ok_or_else(|| WireError::new(ErrorCode::NotFound, format!("there is no program {id:?}")))
    }

    fn start(&mut self, spec: &ProgramSpec, now: Instant) -> Result<Reply, WireError> {
        spawn::check(spec)?;
        if let Some(there) = self.programs.values().find(|p| p.id == spec.id) {
            return Ok(Reply::Started(there.describe()));
        }
        if self.is_shutting_down() {
            return Err(WireError::new(ErrorCode::NotReady, "the keeper is ending"));
        }
        if self.programs.len() >= MAX_PROGRAMS {
            let message = format!("there are {MAX_PROGRAMS} programs already");
            return Err(
                WireError::new(ErrorCode::Overloaded, message).with_hint("Remove those that have ended.")
            );
        }
        let program = Program::start(spec, self.base_env, now)?;
        let described = program.describe();
        let key = self.next_id();
        self.programs.insert(key, program);
        Ok(Reply::Started(described))
    }

    fn signal(&mut self, id: &str, name: &str) -> Result<Reply, WireError> {
        let signal = signal_names::by_name(name).ok_or_else(|| bad_signal(name))?;
        let key = self.find(id)?;
        let program = self.programs.get_mut(&key);
        program.map_or(Ok(()), |program| program.signal(signal)).map(|()| Reply::Done)
    }

    fn remove(&mut self, id: &str) -> Result<Reply, WireError> {
        let key = match self.find(id) {
            Ok(key) => key,
            // It has been removed before, by a call whose answer was lost.
            Err(_) => return Ok(Reply::Done),
        };
        if self.programs.get(&key).is_some_and(|p| p.exit.is_none()) {
            let message = format!("the program {id:?} is still running");
            return Err(WireError::new(ErrorCode::NotReady, message).with_hint("Stop it first."));
        }
        self.grants.forget(key);
        let attached = self.programs.remove(&key).map(|p| p.attached).unwrap_or_default();
        for (connection, channel) in attached {
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.close(channel);
                connection.tell(channel, &ServerMessage::Closed { reason: "the program was removed".into() });
            }
        }
        Ok(Reply::Done)
    }

    fn grant(&mut self, grant: &Grant, now: Instant) -> Result<Reply, WireError> {
        let key = self.find(&grant.program)?;
        if self.programs.get(&key).is_some_and(|program| !program.on_terminal()) {
            return Err(WireError::new(ErrorCode::Invalid, "a program on pipes is for its server alone"));
        }
        self.grants.add(grant, key, now).map(|()| Reply::Done)
    }

    fn open_file(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        path: &str,
        mode: u32,
    ) -> Result<Reply, WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(Reply::Done) };
        check_new_channel(&connection.channels, channel, MAX_CHANNELS)?;
        let files = connection.channels.values().filter(|c| matches!(c, Channel::File(_))).count();
        if files >= MAX_FILES {
            let message = format!("{MAX_FILES} files are being written on this connection already");
            return Err(WireError::new(ErrorCode::Overloaded, message).retryable());
        }
        let file = FileWriter::create(Path::new(path), mode)?;
        connection.channels.insert(channel, Channel::File(Box::new(file)));
        Ok(Reply::Done)
    }

    fn info(&mut self) -> Info {
        Info {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_ms: self.started_ms,
            busy_us: std::mem::take(&mut self.busiest).as_micros().min(u128::from(u64::MAX)) as u64,
            connections: self.connections.len() as u32,
        }
    }
}

/// Whether a channel of that number may be opened.
pub(crate) fn check_new_channel<T>(
    open: &std::collections::BTreeMap<ChannelId, T>,
    channel: ChannelId,
    most: usize,
) -> Result<(), WireError> {
    if channel == ChannelId::CONNECTION || open.contains_key(&channel) {
        let message = format!("channel {channel} cannot be opened: it is in use");
        return Err(WireError::new(ErrorCode::UnexpectedMessage, message));
    }
    if open.len() >= most {
        let message = format!("this connection has {most} channels already");
        return Err(WireError::new(ErrorCode::TooManyChannels, message));
    }
    Ok(())
}

/// The refusal of a name that is no signal's.
pub(crate) fn bad_signal(name: &str) -> WireError {
    let error = WireError::new(ErrorCode::BadSignal, format!("there is no signal {name:?}"));
    error.with_hint("Names are written as SIGINT.")
}
