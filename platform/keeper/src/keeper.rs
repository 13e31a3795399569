//! The loop. A turn of it: wait, read what is ready, send what that brought to whoever can take it, and only a little
//! later, when nothing else is to be done, let a model catch up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lap_wire::Epoch;
use lap_wire::control::Stream;

use crate::cli::say;
use crate::clock::{random, wall_ms};
use crate::connection::{Connection, ConnectionId, Programs};
use crate::daemon::Config;
use crate::grants::Grants;
use crate::limits::{MEND_AGAIN, MODEL_DELAY, MODEL_SLICE, PEER_READ, PROGRAM_READ, TERM_GRACE, TYPING};
use crate::poller::{Poller, Ready, Source};
use crate::processes;
use crate::program::ProgramKey;
use crate::signals::Signals;
use crate::socket::Listener;
use crate::spawn::BaseEnv;
use crate::stop::Stop;

/// See the module.
pub(crate) struct Keeper {
    pub(crate) listener: Listener,
    /// After a fault: when connections are accepted again.
    pub(crate) accept_from: Option<Instant>,
    /// After the socket could not be made again: when that is tried once more.
    mend_at: Option<Instant>,
    signals: Signals,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) programs: Programs,
    last_id: u64,
    /// Tells one life of a keeper from the next.
    pub(crate) instance: Epoch,
    pub(crate) started_ms: u64,
    /// The longest turn since somebody last asked.
    pub(crate) busiest: Duration,
    /// When somebody last typed, anywhere.
    pub(crate) typed: Option<Instant>,
    /// Whom servers have let in.
    pub(crate) grants: Grants,
    pub(crate) stops: Vec<Stop>,
    /// When everything had ended; the keeper goes when its readers have all ([`crate::leave`]).
    pub(crate) ended_at: Option<Instant>,
    /// What programs have in their environment beneath what they are given.
    pub(crate) base_env: BaseEnv,
    /// One buffer for all reads.
    pub(crate) scratch: Vec<u8>,
    /// The program whose model was fed last.
    fed: ProgramKey,
    /// While a model is behind: when it may be fed.
    feed_from: Option<Instant>,
}

impl Keeper {
    /// A keeper that listens. Takes the process over: its signals and its orphans.
    pub(crate) fn new(config: &Config) -> io::Result<Keeper> {
        let signals = Signals::new()?;
        processes::adopt_orphans()?;
        Ok(Keeper {
            listener: Listener::new(&config.socket)?,
            accept_from: None,
            mend_at: None,
            signals,
            connections: BTreeMap::new(),
            programs: BTreeMap::new(),
            last_id: 0,
            instance: Epoch(random()),
            started_ms: wall_ms(),
            busiest: Duration::ZERO,
            typed: None,
            grants: Grants::default(),
            stops: Vec::new(),
            ended_at: None,
            base_env: if config.inherit_env { BaseEnv::Keepers } else { BaseEnv::Empty },
            scratch: vec![0; PEER_READ.max(PROGRAM_READ)],
            fed: 0,
            feed_from: None,
        })
    }

    /// Until it is told to end; gives the exit status.
    pub(crate) fn run(mut self) -> i32 {
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            if self.leaves_at().is_some_and(|at| at <= now) {
                return 0;
            }
            if let Err(error) = self.wait(now, &mut ready) {
                say(&format!("lap-keeper: cannot wait for descriptors: {error}\n"));
                return 1;
            }
            let begun = Instant::now();
            self.turn(&ready, begun);
            self.busiest = self.busiest.max(begun.elapsed());
        }
    }

    /// A number nothing else in this keeper has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn is_typing(&self, now: Instant) -> bool {
        self.typed.is_some_and(|at| now.saturating_duration_since(at) < TYPING)
    }

    fn wait(&mut self, now: Instant, ready: &mut Vec<Ready>) -> io::Result<()> {
        let typing = self.is_typing(now);
        let mut due = self.due(now);
        let (mut behind, mut waited_for) = (false, false);
        let mut held = Vec::new();
        for (key, program) in &mut self.programs {
            behind |= program.has_model_work();
            waited_for |= program.holds_still();
            due = earliest(due, program.drain_deadline());
            if let Some(until) = program.held_until(typing, now) {
                held.push(*key);
                due = earliest(due, Some(until));
            }
        }
        let mut poller = Poller::default();
        poller.add(Source::Signals, self.signals.as_fd(), true, false);
        let accepts = self.accept_from.is_none();
        poller.add(Source::Listener, self.listener.as_socket().as_fd(), accepts, false);
        if let Some(watch) = self.listener.watch() {
            poller.add(Source::Path, watch, true, false);
        }
        for (id, connection) in &self.connections {
            poller.add(Source::Peer(*id), connection.socket.as_fd(), true, connection.wants_to_write());
        }
        for (key, program) in &self.programs {
            let input = program.writable().filter(|_| !program.input.is_empty());
            for stream in [Stream::Output, Stream::Stderr] {
                let source = Source::Output(*key, stream);
                let output = program.readable(stream).filter(|_| !held.contains(key));
                match (output, input) {
                    (Some(fd), _) => {
                        poller.add(source, fd, true, program.on_terminal() && input.is_some());
                    }
                    (None, Some(fd)) if program.on_terminal() && stream == Stream::Output => {
                        poller.add(source, fd, false, true);
                    }
                    (None, _) => {}
                }
            }
            if let Some(fd) = input.filter(|_| !program.on_terminal()) {
                poller.add(Source::Input(*key), fd, false, true);
            }
        }
        self.feed_from = behind.then(|| self.feed_from.unwrap_or(now + MODEL_DELAY));
        due = earliest(due, if waited_for { Some(now) } else { self.feed_from });
        let timeout = due.map(|at| at.saturating_duration_since(now));
        poller.wait(timeout, ready)
    }

    /// When something is to be done though nothing has arrived.
    fn due(&self, now: Instant) -> Option<Instant> {
        let acks = self.connections.values().filter_map(Connection::acks_due).min();
        let own = [
            self.heartbeats_due(),
            self.stops_due(),
            self.seats_due(now),
            self.accept_from,
            self.mend_at,
            self.leaves_at(),
        ];
        let due = own.into_iter().chain([acks]);
        due.fold(None, earliest)
    }

    fn turn(&mut self, ready: &[Ready], now: Instant) {
        let typing = self.is_typing(now);
        // Peers first: a keystroke goes ahead of what is read.
        for Ready { source, read, write } in ready {
            if let Source::Peer(id) = source {
                if *write
                    && let Some(connection) = self.connections.get_mut(id)
                    && connection.writable(now).is_err()
                {
                    self.hang_up(*id, now);
                }
                if *read {
                    self.hear(*id, now);
                }
            }
        }
        for Ready { source, read, write } in ready {
            match source {
                Source::Output(key, stream) => {
                    let Some(program) = self.programs.get_mut(key) else { continue };
                    if *write && !program.input.is_empty() {
                        program.write();
                        self.acknowledge(*key, now);
                    }
                    let Some(program) = self.programs.get_mut(key) else { continue };
                    if *read && program.read(*stream, &mut self.scratch, now, typing) {
                        program.take_events();
                        self.wake(*key, now);
                    }
                }
                Source::Input(key) => {
                    if let Some(program) = self.programs.get_mut(key) {
                        program.write();
                        self.acknowledge(*key, now);
                    }
                }
                Source::Listener => self.accept(now),
                Source::Path => self.mend_socket(now),
                Source::Signals => self.on_signals(now),
                Source::Peer(_) => {}
            }
        }
        self.expire_seats(now);
        self.settle(now);
        self.pump_all(now);
        self.on_time(now);
        let idle = ready.is_empty() && self.feed_from.is_some_and(|at| at <= now);
        if idle || self.programs.values().any(|p| p.holds_still()) {
            self.feed_one(now);
        }
        self.pump_all(now);
    }

    fn on_signals(&mut self, now: Instant) {
        let arrived = self.signals.take();
        if arrived.child {
            for (pid, status) in processes::reap() {
                let found = self.programs.iter_mut().find(|(_, p)| p.pid == pid && p.exit.is_none());
                // Others are orphans that were adopted: reaping them is all there is to do.
                if let Some((key, program)) = found {
                    let key = *key;
                    program.has_ended(status, now);
                    self.wake(key, now);
                }
            }
            self.advance_stops(now);
        }
        if arrived.terminate && !self.is_shutting_down() {
            self.shut_down(TERM_GRACE.as_millis() as u64, None, now);
        }
    }

    /// Something has happened to the folder of the socket: it is made again if its path is gone.
    fn mend_socket(&mut self, now: Instant) {
        // Whoever waits at the old one is not to be lost with it.
        self.accept(now);
        self.mend_at = None;
        if let Err(error) = self.listener.mend() {
            say(&format!("lap-keeper: cannot make the socket again: {error}\n"));
            self.mend_at = Some(now + MEND_AGAIN);
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.heartbeats_due().is_some_and(|at| at <= now) {
            self.check_heartbeats(now);
        }
        if self.stops_due().is_some_and(|at| at <= now) {
            self.advance_stops(now);
        }
        if self.accept_from.is_some_and(|at| at <= now) {
            self.accept_from = None;
        }
        if self.mend_at.is_some_and(|at| at <= now) {
            self.mend_socket(now);
        }
        let mut drained = Vec::new();
        for (key, program) in &mut self.programs {
            if program.stop_draining(now) {
                drained.push(*key);
            }
        }
        for key in drained {
            self.wake(key, now);
        }
    }

    /// Something has happened to a program: its readers are looked at.
    pub(crate) fn wake(&mut self, key: ProgramKey, now: Instant) {
        let Some(program) = self.programs.get(&key) else { return };
        let first = program.is_interactive(now);
        for (id, channel) in &program.attached {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.schedule(*channel, first);
            }
        }
    }

    /// Sends a program's readers what is there, as far as their sockets take it.
    pub(crate) fn serve(&mut self, key: ProgramKey, now: Instant) {
        self.wake(key, now);
        self.pump_all(now);
    }

    fn pump_all(&mut self, now: Instant) {
        let mut broken = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection.pump(&mut self.programs, now).is_err() {
                broken.push(*id);
            }
        }
        for id in broken {
            self.hang_up(id, now);
        }
    }

    /// Tells every sender how far its input has been written.
    pub(crate) fn acknowledge(&mut self, key: ProgramKey, now: Instant) {
        let Some(program) = self.programs.get(&key) else { return };
        for (id, channel) in &program.attached {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let Some(reader) = connection.reader(*channel) else { continue };
            let Some(written) = reader.input.as_deref().map(|name| program.input.written(name)) else {
                continue;
            };
            if written > reader.input_acked {
                reader.input_acked = written;
                connection.acknowledge(*channel, written, now);
            }
        }
    }

    /// One slice for one model, in turn; those that somebody waits for go first.
    fn feed_one(&mut self, now: Instant) {
        let waited_for = self.programs.iter().find(|(_, p)| p.holds_still()).map(|(key, _)| *key);
        let after = || self.programs.range(self.fed + 1..).chain(self.programs.range(..=self.fed));
        let next = waited_for.or_else(|| after().find(|(_, p)| p.has_model_work()).map(|(key, _)| *key));
        let Some(key) = next else { return };
        self.fed = key;
        let Some(program) = self.programs.get_mut(&key) else { return };
        let told = (program.title.generation, program.attention.generation);
        let caught_up = program.feed_model(MODEL_SLICE);
        let news = told != (program.title.generation, program.attention.generation);
        if news || (caught_up && waited_for.is_some()) {
            self.wake(key, now);
        }
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS};
    use lap_wire::stream::StreamDecoder;
    use lap_wire::{ChannelId, FrameType};

    use super::*;

    #[test]
    fn a_keeper_that_stood_still_asks_its_peers_before_it_gives_them_up() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            socket: folder.path().join("s"),
            log: None,
            open_files: None,
            inherit_env: false,
            detach: false,
        };
        let mut keeper = Keeper::new(&config).unwrap();
        let _peer = UnixStream::connect(&config.socket).unwrap();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        keeper.accept(start);
        // Stopped for 45 s: it has neither pinged nor listened meanwhile.
        keeper.check_heartbeats(after(45_000));
        assert_eq!(keeper.connections.len(), 1, "nobody asked it anything yet");
        assert_eq!(keeper.heartbeats_due(), Some(after(45_000 + DEAD_AFTER_MS - HEARTBEAT_MS)));
        keeper.check_heartbeats(after(45_000 + DEAD_AFTER_MS - HEARTBEAT_MS));
        assert!(keeper.connections.is_empty());
    }

    #[test]
    fn a_silent_peer_is_pinged_once_and_given_up_when_it_stays_silent() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            socket: folder.path().join("s"),
            log: None,
            open_files: None,
            inherit_env: false,
            detach: false,
        };
        let mut keeper = Keeper::new(&config).unwrap();
        let mut peer = UnixStream::connect(&config.socket).unwrap();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        keeper.accept(start);
        assert_eq!(keeper.heartbeats_due(), Some(after(HEARTBEAT_MS)));

        for ms in [HEARTBEAT_MS - 1, HEARTBEAT_MS, HEARTBEAT_MS + 1, DEAD_AFTER_MS - 1] {
            keeper.check_heartbeats(after(ms));
        }
        keeper.pump_all(start);
        assert_eq!(keeper.heartbeats_due(), Some(after(DEAD_AFTER_MS)));
        keeper.check_heartbeats(after(DEAD_AFTER_MS));
        assert!(keeper.connections.is_empty());
        assert_eq!(keeper.heartbeats_due(), None, "with nobody there, nothing is due");

        let (mut bytes, mut decoder) = (Vec::new(), StreamDecoder::new());
        peer.read_to_end(&mut bytes).unwrap();
        decoder.push(&bytes);
        let ping = decoder.next_frame().unwrap().unwrap();
        assert_eq!(
            (ping.kind, ping.channel, ping.payload.len()),
            (FrameType::Ping, ChannelId::CONNECTION, 8)
        );
        assert_eq!(decoder.next_frame(), Ok(None), "one ping for one silence");
    }
}
