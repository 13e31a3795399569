//! One program: what it is connected to, its output and input, and how it ended.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use lap_wire::control::{Attention, ErrorCode, ExitStatus, Size, Stream, WireError};
use lap_wire::keeper::{self as wire, ProgramIo, ProgramSpec};
use lap_wire::limits::KEEPER_RING;
use lap_wire::{ChannelId, Epoch, Ring};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::clock::{random, wall_ms};
use crate::connection::ConnectionId;
use crate::input::{InputQueue, Wrote};
use crate::limits::{DRAIN, MAX_NOTIFICATION, MAX_TITLE, PROGRAM_READ, PROGRAM_READ_TYPING, TYPING};
use crate::model::Event;
use crate::on_terminal::OnTerminal;
use crate::pipes::Pipes;
use crate::processes::{self, Leader, Process};
use crate::pty::Pty;
use crate::seats::Seats;
use crate::spawn::{self, BaseEnv};
use crate::terminal::Terminal;

/// Which program, for as long as the keeper lives.
pub(crate) type ProgramKey = u64;

/// A read shorter than this has emptied the terminal: the kernel hands out its buffer in pages.
const SHORT: usize = 2048;

/// A value that readers are told of when it changes.
#[derive(Debug, Default)]
pub(crate) struct Told<T> {
    pub(crate) value: T,
    /// Rises with each change.
    pub(crate) generation: u32,
}

impl<T: PartialEq> Told<T> {
    fn set(&mut self, value: T) {
        if self.value != value {
            self.value = value;
            self.generation = self.generation.wrapping_add(1);
        }
    }
}

/// What a program is connected to.
pub(crate) enum Io {
    Terminal(Box<OnTerminal>),
    Pipes(Pipes),
}

/// See the module.
pub(crate) struct Program {
    pub(crate) id: String,
    pub(crate) epoch: Epoch,
    pub(crate) pid: Pid,
    leader: Leader,
    started_ms: u64,
    pub(crate) io: Io,
    pub(crate) input: InputQueue,
    pub(crate) exit: Option<ExitStatus>,
    /// When output is no longer waited for, once the program has ended.
    drain_until: Option<Instant>,
    /// Nothing of its session is left, so its numbers may be somebody else's.
    gone: bool,
    /// The channels to it.
    pub(crate) attached: Vec<(ConnectionId, ChannelId)>,
    pub(crate) title: Told<Option<String>>,
    pub(crate) attention: Told<(Attention, Option<String>)>,
    /// The connection that took the answering of queries from the model.
    responder: Option<ConnectionId>,
    /// Who looks at it.
    pub(crate) seats: Seats,
    /// When it was last typed into.
    typed: Option<Instant>,
}

/// What is said where the system has no terminal to give.
const NO_TERMINAL: &str = "this machine has no terminal (pty) left: end sessions that are not needed, or have more of them \
                           allowed (Linux: sysctl kernel.pty.max; macOS: kern.tty.ptmx_max)";

impl Program {
    /// Starts what [`spawn::check`] has passed.
    pub(crate) fn start(spec: &ProgramSpec, base: BaseEnv, now: Instant) -> Result<Program, WireError> {
        let ring = if spec.ring == 0 { KEEPER_RING } else { spec.ring as usize };
        let unavailable = |error: std::io::Error| {
            WireError::new(ErrorCode::StartFailed, format!("cannot start {}: {error}", spec.id)).retryable()
        };
        let (io, pid) = match spec.io {
            ProgramIo::Pty { size } => {
                let pty = Pty::open(size).map_err(|error| match error.kind() {
                    // Linux has no space and POSIX tells to try again; but it lasts as long as others have theirs.
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::WouldBlock => {
                        WireError::new(ErrorCode::StartFailed, NO_TERMINAL)
                    }
                    _ => unavailable(error),
                })?;
                let child = spawn::spawn(spec, base, Some(&pty))?;
                let scrollback = Some(spec.scrollback as usize).filter(|s| *s > 0);
                let io = OnTerminal::new(pty, size, ring, scrollback, now);
                (Io::Terminal(Box::new(io)), child.id())
            }
            ProgramIo::Pipes => {
                let mut child = spawn::spawn(spec, base, None)?;
                (Io::Pipes(Pipes::of(&mut child, ring).map_err(unavailable)?), child.id())
            }
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| WireError::new(ErrorCode::Internal, "the program has no process id"))?;
        Ok(Program {
            id: spec.id.clone(),
            epoch: Epoch(random()),
            pid,
            leader: Leader::of(pid),
            started_ms: wall_ms(),
            io,
            input: InputQueue::default(),
            exit: None,
            drain_until: None,
            gone: false,
            attached: Vec::new(),
            title: Told::default(),
            attention: Told::default(),
            responder: None,
            seats: Seats::new(spec.size_policy, spec.exclusive_input),
            typed: None,
        })
    }

    /// As peers are told of it.
    pub(crate) fn describe(&self) -> wire::Program {
        let io = match &self.io {
            Io::Terminal(io) => ProgramIo::Pty { size: io.terminal.size() },
            Io::Pipes(_) => ProgramIo::Pipes,
        };
        wire::Program {
            id: self.id.clone(),
            epoch: self.epoch,
            pid: self.pid.as_raw_nonzero().get() as u32,
            io,
            output: self.ring(Stream::Output).end(),
            started_ms: self.started_ms,
            exit: self.exit.clone(),
            title: self.title.value.clone(),
            attention: self.attention.value.0,
        }
    }

    /// The last output on that stream. A terminal has one stream only.
    pub(crate) fn ring(&self, stream: Stream) -> &Ring {
        match &self.io {
            Io::Terminal(io) => io.terminal.ring(),
            Io::Pipes(pipes) => &pipes.get(stream).ring,
        }
    }

    pub(crate) fn terminal(&mut self) -> Option<&mut Terminal> {
        match &mut self.io {
            Io::Terminal(io) => Some(&mut io.terminal),
            Io::Pipes(_) => None,
        }
    }

    /// Size and size generation; pipes have neither.
    pub(crate) fn size(&self) -> (Size, u32) {
        match &self.io {
            Io::Terminal(io) => (io.terminal.size(), io.terminal.size_generation()),
            Io::Pipes(_) => (Size::default(), 0),
        }
    }

    /// How it ended, once nothing more comes on that stream.
    pub(crate) fn ended(&self, stream: Stream) -> Option<&ExitStatus> {
        self.exit.as_ref().filter(|_| !self.is_open(stream))
    }

    fn is_open(&self, stream: Stream) -> bool {
        match &self.io {
            Io::Terminal(io) => stream == Stream::Output && io.fd().is_some(),
            Io::Pipes(pipes) => pipes.get(stream).fd.is_some(),
        }
    }

    /// The descriptor that stream is to be read from now, if it is to be read now.
    pub(crate) fn readable(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match (&self.io, stream) {
            (Io::Terminal(_), Stream::Stderr) => None,
            (Io::Terminal(io), Stream::Output) if io.terminal.holds_still() => None,
            (Io::Terminal(io), Stream::Output) => io.fd(),
            (Io::Pipes(pipes), _) => {
                let pipe = pipes.get(stream);
                pipe.fd.as_ref().filter(|_| pipe.room() > 0).map(AsFd::as_fd)
            }
        }
    }

    /// The descriptor input goes to, while there is one.
    pub(crate) fn writable(&self) -> Option<BorrowedFd<'_>> {
        match &self.io {
            Io::Terminal(io) => io.fd(),
            Io::Pipes(pipes) => pipes.stdin.as_ref().map(AsFd::as_fd),
        }
    }

    /// Reads what is there, within a turn's bounds; says whether anything came, or the end.
    pub(crate) fn read(&mut self, stream: Stream, scratch: &mut [u8], now: Instant, typing: bool) -> bool {
        let turn = if typing && !self.is_interactive(now) { PROGRAM_READ_TYPING } else { PROGRAM_READ };
        let mut budget = match &mut self.io {
            Io::Terminal(io) => io.budget(typing, now).min(turn),
            Io::Pipes(_) => turn,
        };
        let mut news = false;
        while budget > 0 {
            let Some(fd) = self.readable(stream) else { break };
            let room = match &self.io {
                Io::Terminal(_) => budget,
                Io::Pipes(pipes) => pipes.get(stream).room().min(budget),
            };
            let buffer = scratch.split_at_mut(room.min(scratch.len())).0;
            match rustix::io::read(fd, &mut *buffer) {
                Ok(n) if n > 0 => {
                    self.took(stream, &buffer[..n]);
                    (news, budget) = (true, budget - n);
                    if n < SHORT || budget < SHORT {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The last process that had the terminal has closed it (EIO), or the pipe (0).
                Ok(_) | Err(_) => {
                    self.close_output(stream);
                    return true;
                }
            }
        }
        news
    }

    fn took(&mut self, stream: Stream, bytes: &[u8]) {
        match &mut self.io {
            Io::Terminal(io) => io.took(bytes),
            Io::Pipes(pipes) => pipes.get_mut(stream).ring.push(bytes),
        }
    }

    fn close_output(&mut self, stream: Stream) {
        match &mut self.io {
            Io::Terminal(io) => io.close(),
            Io::Pipes(pipes) => pipes.get_mut(stream).fd = None,
        }
    }

    /// While it is held back by its pace: when it may be read again.
    pub(crate) fn held_until(&mut self, typing: bool, now: Instant) -> Option<Instant> {
        match &mut self.io {
            Io::Terminal(io) => io.held_until(typing, now),
            Io::Pipes(_) => None,
        }
    }

    /// A reader has been sent everything before `offset`.
    pub(crate) fn sent(&mut self, offset: u64, now: Instant) {
        if let Io::Terminal(io) = &mut self.io {
            io.sent(offset, now);
        }
    }

    /// Bytes before `offset` are wanted by no reader of that stream: a pipe has room for others.
    pub(crate) fn release(&mut self, stream: Stream, offset: u64) {
        if let Io::Pipes(pipes) = &mut self.io {
            pipes.get_mut(stream).ring.release(offset);
        }
    }

    /// Somebody has typed: a bell is answered by that.
    pub(crate) fn typed(&mut self, now: Instant) {
        self.typed = Some(now);
        if self.attention.value.0 == Attention::Bell {
            self.attention.set((Attention::None, None));
        }
    }

    /// Whether its output is likely the echo of what somebody types.
    pub(crate) fn is_interactive(&self, now: Instant) -> bool {
        self.typed.is_some_and(|at| now.saturating_duration_since(at) < TYPING)
    }

    /// Writes what input it takes.
    pub(crate) fn write(&mut self) {
        // Not by `writable`, which would borrow all of the program.
        let fd = match &self.io {
            Io::Terminal(io) => io.fd(),
            Io::Pipes(pipes) => pipes.stdin.as_ref().map(AsFd::as_fd),
        };
        let Some(fd) = fd else { return self.input.close() };
        match self.input.write_to(fd) {
            Wrote::Blocked => {}
            Wrote::All if !self.input.has_ended() => {}
            Wrote::All => self.close_stdin(),
            Wrote::Broken => {
                self.input.close();
                self.close_stdin();
            }
        }
    }

    fn close_stdin(&mut self) {
        if let Io::Pipes(pipes) = &mut self.io {
            pipes.stdin = None;
        }
    }

    /// Nothing more is typed.
    pub(crate) fn end_input(&mut self) {
        let last = match &self.io {
            Io::Terminal(io) => io.end_of_file(),
            Io::Pipes(_) => None,
        };
        if last.is_some() || matches!(self.io, Io::Pipes(_)) {
            self.input.end(last);
            self.write();
        }
    }

    /// Gives the terminal another size. `Ok(false)`: it has that size already.
    pub(crate) fn resize(&mut self, size: Size) -> Result<bool, WireError> {
        if !size.is_valid() {
            return Err(spawn::bad_size(size.cols, size.rows));
        }
        let Io::Terminal(io) = &mut self.io else {
            return Err(WireError::new(ErrorCode::Invalid, "a program on pipes has no size"));
        };
        io.resize(size)
    }

    /// Who answers queries, where a server decides that itself: this connection's active viewer, or the model.
    pub(crate) fn set_responder(&mut self, connection: Option<ConnectionId>) {
        self.responder = connection;
        self.choose_responder();
    }

    /// The model answers queries where nobody else is to.
    pub(crate) fn choose_responder(&mut self) {
        let on = self.responder.is_none() && self.seats.active().is_none();
        if let Io::Terminal(io) = &mut self.io {
            io.terminal.set_replies(on);
        }
    }

    /// A connection has ended, and all its channels with it; says whether it had any here.
    pub(crate) fn detach(&mut self, connection: ConnectionId) -> bool {
        let before = self.attached.len();
        self.attached.retain(|(id, _)| *id != connection);
        if self.responder == Some(connection) {
            self.set_responder(None);
        }
        self.forget_front();
        self.attached.len() < before
    }

    /// The most advanced reader may be another one now.
    pub(crate) fn forget_front(&mut self) {
        if let Io::Terminal(io) = &mut self.io {
            io.forget_front();
        }
    }

    /// Feeds the model a slice; says whether it has caught up by that.
    pub(crate) fn feed_model(&mut self, budget: usize) -> bool {
        let Io::Terminal(io) = &mut self.io else { return false };
        io.terminal.feed(budget);
        let current = io.terminal.is_current();
        self.take_events();
        current
    }

    /// Whether the model is behind.
    pub(crate) fn has_model_work(&self) -> bool {
        matches!(&self.io, Io::Terminal(io) if !io.terminal.is_current())
    }

    /// Whether the model is behind and somebody waits for it.
    pub(crate) fn holds_still(&self) -> bool {
        matches!(&self.io, Io::Terminal(io) if io.terminal.holds_still())
    }

    /// What the model has found in the output goes where it belongs.
    pub(crate) fn take_events(&mut self) {
        let Io::Terminal(io) = &mut self.io else { return };
        let mut replied = false;
        for event in io.terminal.events() {
            match event {
                Event::Reply(bytes) => {
                    self.input.reply(&bytes);
                    replied = true;
                }
                Event::Title(title) => {
                    self.title.set(Some(clipped(&title, MAX_TITLE)).filter(|t| !t.is_empty()))
                }
                Event::Bell => self.wants(Attention::Bell, None),
                Event::Notification(text) => {
                    self.wants(Attention::Bell, Some(clipped(&text, MAX_NOTIFICATION)));
                }
                Event::Working => self.wants(Attention::Working, None),
                Event::Waiting => self.wants(Attention::WaitingInput, None),
            }
        }
        if replied {
            self.write();
        }
    }

    fn wants(&mut self, attention: Attention, text: Option<String>) {
        if self.exit.is_none() {
            self.attention.set((attention, text));
        }
    }

    /// It has ended. Its output may still be on the way.
    pub(crate) fn has_ended(&mut self, status: ExitStatus, now: Instant) {
        self.wants(Attention::Exited, None);
        self.exit = Some(status);
        self.drain_until = Some(now + DRAIN);
        self.input.close();
        self.close_stdin();
        if let Io::Terminal(io) = &mut self.io {
            io.release();
        }
        self.gone = processes::of_program(self.leader).is_empty();
    }

    /// When to stop waiting for output of what it left behind.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        let open = self.is_open(Stream::Output) || self.is_open(Stream::Stderr);
        self.drain_until.filter(|_| open)
    }

    /// Past the deadline, streams that something else still holds open are closed; not one that waits for its
    /// reader, since that one's bytes are the program's own. Says whether anything was closed.
    pub(crate) fn stop_draining(&mut self, now: Instant) -> bool {
        if self.drain_deadline().is_none_or(|until| now < until) {
            return false;
        }
        let mut closed = false;
        for stream in [Stream::Output, Stream::Stderr] {
            if self.is_open(stream) && self.readable(stream).is_some() {
                self.close_output(stream);
                closed = true;
            }
        }
        if !closed {
            self.drain_until = Some(now + DRAIN);
        }
        closed
    }

    /// Whether it has ended and all its output is in.
    pub(crate) fn is_finished(&self) -> bool {
        self.exit.is_some() && !self.is_open(Stream::Output) && !self.is_open(Stream::Stderr)
    }

    /// Whether output is left that only a reader can make room for.
    pub(crate) fn waits_for_reader(&self) -> bool {
        [Stream::Output, Stream::Stderr].iter().any(|s| self.is_open(*s) && self.readable(*s).is_none())
    }

    /// What is left of it: processes of its session, its group, or descended from it.
    pub(crate) fn processes(&mut self) -> Vec<Pid> {
        let mut left: Vec<Pid> = self.members().iter().filter_map(Process::pid).collect();
        if self.exit.is_none() && !left.contains(&self.pid) {
            // It has ended and is not reaped yet, or there is no /proc to see it in.
            left.push(self.pid);
        }
        left
    }

    fn members(&mut self) -> Vec<Process> {
        if self.gone {
            return Vec::new();
        }
        let members = processes::of_program(self.leader);
        self.gone = self.exit.is_some() && members.is_empty();
        members
    }

    /// Whether signals to it go to a terminal's session.
    pub(crate) fn on_terminal(&self) -> bool {
        matches!(self.io, Io::Terminal(_))
    }

    /// Sends a signal to the terminal's foreground group, or to the program's own group.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), WireError> {
        let ended = || WireError::new(ErrorCode::NotFound, "the program has ended");
        let members = self.members();
        let foreground = match &self.io {
            Io::Terminal(io) => io.foreground(),
            Io::Pipes(_) => None,
        };
        // A group's number is its own while somebody is in it, and the program's while it is not reaped. A foreground
        // group that is gone already leaves the program's own.
        let is_ours = |group: &Pid| {
            (*group == self.pid && self.exit.is_none()) || members.iter().any(|member| member.is_in(*group))
        };
        let sent = [foreground, Some(self.pid)]
            .into_iter()
            .flatten()
            .filter(is_ours)
            .any(|group| rustix::process::kill_process_group(group, signal).is_ok());
        if sent { Ok(()) } else { Err(ended()) }
    }
}

/// At most `max` bytes of a text, whole characters.
fn clipped(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default().to_owned()
}
