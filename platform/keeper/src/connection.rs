//! One peer: its socket, its channels, and whose turn it is on the way out.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use lap_wire::control::{self, ErrorCode, ServerMessage, WireError};
use lap_wire::frame::Header;
use lap_wire::keeper::Reply;
use lap_wire::stream::StreamDecoder;
use lap_wire::{ChannelId, Frame, FrameType};

use crate::files::FileWriter;
use crate::grants::Allowed;
use crate::limits::{ACK_DELAY, PEER_TELL, PEER_WRITE};
use crate::outbox::Outbox;
use crate::program::{Program, ProgramKey};
use crate::reader::{Reader, Step};

/// Which connection, for as long as the keeper lives.
pub(crate) type ConnectionId = u64;
/// All programs, by key.
pub(crate) type Programs = BTreeMap<ProgramKey, Program>;

/// What a channel is for.
#[derive(Debug)]
pub(crate) enum Channel {
    /// A program's output, input, or both.
    Program(Box<Reader>),
    /// A file that is being written.
    File(Box<FileWriter>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: UnixStream,
    pub(crate) decoder: StreamDecoder,
    outbox: Outbox,
    /// Control frames wait to be written.
    urgent: bool,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    /// Readers that may be owed something, in the order they are looked at.
    queue: VecDeque<ChannelId>,
    /// The reader in the middle of a snapshot: one at a time, since each takes memory.
    snapshot_of: Option<ChannelId>,
    /// Readers that wait for that.
    snapshots_waiting: Vec<ChannelId>,
    /// Readers whose input is to be acknowledged, and when at the latest.
    acks: Vec<(ChannelId, u64)>,
    acks_due: Option<Instant>,
    /// What it may do, where a server has let it in for one program.
    pub(crate) allowed: Option<Rc<Allowed>>,
    /// Whether `hello` has come.
    pub(crate) greeted: bool,
    /// When a whole frame last came.
    pub(crate) heard: Instant,
    /// When a ping was sent, if one was since then.
    pub(crate) pinged: Option<Instant>,
    /// When its socket last took something.
    moved: Instant,
}

impl Connection {
    pub(crate) fn new(socket: UnixStream, now: Instant) -> Connection {
        Connection {
            socket,
            decoder: StreamDecoder::new(),
            outbox: Outbox::default(),
            urgent: false,
            channels: BTreeMap::new(),
            queue: VecDeque::new(),
            snapshot_of: None,
            snapshots_waiting: Vec::new(),
            acks: Vec::new(),
            acks_due: None,
            allowed: None,
            greeted: false,
            heard: now,
            pinged: None,
            moved: now,
        }
    }

    /// Queues a control message for a channel.
    pub(crate) fn tell(&mut self, channel: ChannelId, message: &ServerMessage) {
        self.tell_at(channel, 0, message);
    }

    fn tell_at(&mut self, channel: ChannelId, offset: u64, message: &ServerMessage) {
        let payload = control::to_payload(message).or_else(|error| {
            // Whoever asked is told at least that there is no answer.
            let error = WireError::new(ErrorCode::Internal, format!("cannot be said: {error}"));
            control::to_payload(&match message {
                ServerMessage::Reply { request, .. } => {
                    ServerMessage::Reply { request: *request, reply: Reply::Failed(error) }
                }
                _ => ServerMessage::Error(error),
            })
        });
        if let Ok(payload) = payload {
            self.send_frame(&control::frame(channel, offset, &payload));
        }
    }

    /// Queues an error for a channel.
    pub(crate) fn fail(&mut self, channel: ChannelId, error: WireError) {
        self.tell(channel, &ServerMessage::Error(error));
    }

    /// Queues a frame that goes out at the end of this turn.
    pub(crate) fn send_frame(&mut self, frame: &Frame<'_>) {
        self.outbox.push(frame);
        self.urgent = true;
    }

    /// A channel's reader.
    pub(crate) fn reader(&mut self, channel: ChannelId) -> Option<&mut Reader> {
        match self.channels.get_mut(&channel) {
            Some(Channel::Program(reader)) => Some(reader),
            _ => None,
        }
    }

    /// All its readers.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.channels.values().filter_map(|channel| match channel {
            Channel::Program(reader) => Some(&**reader),
            Channel::File(_) => None,
        })
    }

    /// When its socket last took something, or it was made.
    pub(crate) fn moved(&self) -> Instant {
        self.moved
    }

    /// Looks at a reader in the next [`Connection::pump`]; before the others if somebody types there.
    pub(crate) fn schedule(&mut self, channel: ChannelId, first: bool) {
        let Some(Channel::Program(reader)) = self.channels.get_mut(&channel) else { return };
        if reader.queued && !first {
            return;
        }
        reader.queued = true;
        if first {
            self.queue.retain(|queued| *queued != channel);
            self.queue.push_front(channel);
        } else {
            self.queue.push_back(channel);
        }
    }

    /// Acknowledges a reader's input with the next write, or a little later when there is none.
    pub(crate) fn acknowledge(&mut self, channel: ChannelId, offset: u64, now: Instant) {
        self.acks.retain(|(queued, _)| *queued != channel);
        self.acks.push((channel, offset));
        self.acks_due.get_or_insert(now + ACK_DELAY);
    }

    /// When acknowledgements go out at the latest.
    pub(crate) fn acks_due(&self) -> Option<Instant> {
        self.acks_due.filter(|_| !self.outbox.is_blocked())
    }

    /// Whether it waits for its socket to take more.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.outbox.is_blocked() || self.urgent || !self.queue.is_empty()
    }

    /// Whether the peer has left more unread than it may.
    pub(crate) fn is_over(&self) -> bool {
        self.outbox.is_over()
    }

    /// Forgets a channel.
    pub(crate) fn close(&mut self, channel: ChannelId) -> Option<Channel> {
        let closed = self.channels.remove(&channel);
        self.queue.retain(|queued| *queued != channel);
        self.acks.retain(|(queued, _)| *queued != channel);
        self.snapshots_waiting.retain(|queued| *queued != channel);
        if self.snapshot_of == Some(channel) {
            self.release_snapshot();
        }
        closed
    }

    fn release_snapshot(&mut self) {
        self.snapshot_of = None;
        for channel in std::mem::take(&mut self.snapshots_waiting) {
            self.schedule(channel, false);
        }
    }

    /// The socket takes more.
    pub(crate) fn writable(&mut self, now: Instant) -> io::Result<()> {
        let before = self.outbox.len();
        let flushed = self.outbox.flush(&self.socket);
        if self.outbox.len() < before {
            self.moved = now;
        }
        flushed
    }

    /// Sends what is owed, as long as the socket takes it and the turn's share lasts.
    pub(crate) fn pump(&mut self, programs: &mut Programs, now: Instant) -> io::Result<()> {
        let mut share = PEER_WRITE;
        while !self.outbox.is_blocked() && share > 0 {
            let Some(channel) = self.queue.pop_front() else { break };
            let slot = self.snapshot_of.is_none_or(|taken| taken == channel);
            let Some(Channel::Program(reader)) = self.channels.get_mut(&channel) else { continue };
            reader.queued = false;
            let Some(program) = programs.get_mut(&reader.program) else { continue };
            let mut first = program.is_interactive(now);
            match reader.step(program, slot) {
                Step::Idle => {
                    self.settle_snapshot(channel);
                    continue;
                }
                Step::Queue => {
                    if !self.snapshots_waiting.contains(&channel) {
                        self.snapshots_waiting.push(channel);
                    }
                    continue;
                }
                Step::Tell(offset, message) => {
                    self.tell_at(channel, offset, &message);
                    // What it is about goes out with it, and many of them not all at once.
                    first = true;
                    if self.outbox.len() > PEER_TELL {
                        self.outbox.flush(&self.socket)?;
                    }
                }
                Step::Send { kind, flags, offset, a, b } => {
                    gather_acks(&mut self.acks, &mut self.acks_due, &mut self.outbox);
                    self.urgent = false;
                    share = share.saturating_sub(a.len() + b.len());
                    self.outbox.send(&self.socket, &Header::new(kind, flags, channel, offset), a, b)?;
                    program.sent(reader.position(), now);
                    reader.has_moved(now);
                }
            }
            self.settle_snapshot(channel);
            self.schedule(channel, first);
        }
        if self.outbox.is_blocked() || !(self.urgent || self.acks_due.is_some_and(|due| due <= now)) {
            return Ok(());
        }
        gather_acks(&mut self.acks, &mut self.acks_due, &mut self.outbox);
        self.urgent = false;
        self.outbox.flush(&self.socket)
    }

    fn settle_snapshot(&mut self, channel: ChannelId) {
        if self.reader(channel).is_some_and(|reader| reader.in_snapshot()) {
            self.snapshot_of = Some(channel);
        } else if self.snapshot_of == Some(channel) {
            self.release_snapshot();
        }
    }
}

fn gather_acks(acks: &mut Vec<(ChannelId, u64)>, due: &mut Option<Instant>, outbox: &mut Outbox) {
    for (channel, offset) in acks.drain(..) {
        outbox.push_bare(FrameType::InputAck, channel, offset);
    }
    *due = None;
}
