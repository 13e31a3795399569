//! `lap.attach.v1` by the same blocking means, over a WebSocket to a server or straight to a keeper's socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lap_wire::control::{self, ClientMessage, Mode, Open, ServerMessage, Size};
use lap_wire::frame::{Frame, FrameType, frames};
use lap_wire::keeper::{Call, Reply};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, PROTOCOL};

use crate::line::{Line, readable};
use crate::pty::{COLS, ROWS};
use crate::ws::WebSocket;

/// How long a server may take to answer anything here.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// One read from a keeper.
const READ: usize = 256 * 1024;

enum Pipe {
    Ws(WebSocket),
    Keeper(UnixStream, StreamDecoder),
}

/// What has come on a channel.
#[derive(Default)]
pub(crate) struct Seen {
    /// Output bytes.
    pub(crate) bytes: u64,
    /// Snapshots that were complete.
    pub(crate) snapshots: u64,
    /// Bytes the server says it left out.
    pub(crate) skipped: u64,
    /// Whether what was missing at the open has come.
    pub(crate) ready: bool,
    /// Something other than a reset has been shown: a snapshot that stands for some output, or output.
    pub(crate) printed: bool,
    /// The program has ended, or the channel has.
    pub(crate) ended: bool,
    /// The last `opened`.
    pub(crate) opened: Option<ServerMessage>,
    /// The last error.
    pub(crate) error: Option<control::WireError>,
    next: u64,
    acked: u64,
    owed: bool,
    typed: u64,
}

impl Seen {
    /// The offset before which everything was processed.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }
}

/// A connection with its channels.
pub(crate) struct Attach {
    pipe: Pipe,
    channels: BTreeMap<ChannelId, Seen>,
    reply: Option<Reply>,
    greeted: bool,
    out: Vec<u8>,
    /// An acknowledgement is sent for so many bytes, where more is there already.
    pub(crate) ack_every: u64,
}

impl Attach {
    /// Greets a server over an upgraded socket.
    pub(crate) fn over(socket: WebSocket) -> Result<Attach> {
        Attach::greet(Pipe::Ws(socket))
    }

    /// Connects to a keeper.
    pub(crate) fn keeper(socket: &Path) -> Result<Attach> {
        let stream = UnixStream::connect(socket).context("the keeper's socket")?;
        Attach::greet(Pipe::Keeper(stream, StreamDecoder::new()))
    }

    fn greet(pipe: Pipe) -> Result<Attach> {
        let mut attach = Attach {
            pipe,
            channels: BTreeMap::new(),
            reply: None,
            greeted: false,
            out: Vec::new(),
            ack_every: 64 * 1024,
        };
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.into()],
            name: "lap-bench".into(),
            heartbeat_ms: None,
            grant: None,
        };
        attach.control(ChannelId::CONNECTION, &hello)?;
        attach.wait("welcome", |a| a.greeted)?;
        Ok(attach)
    }

    /// Opens a channel of the usual size and waits for its `opened`.
    pub(crate) fn open(&mut self, id: u32, session: &str, mode: Mode) -> Result<ChannelId> {
        let size = (mode == Mode::Interact).then_some(Size { cols: COLS, rows: ROWS });
        self.open_sized(id, session, mode, size)
    }

    /// Opens a channel to type on that leaves the terminal's size to others.
    pub(crate) fn open_for_typing(&mut self, id: u32, session: &str) -> Result<ChannelId> {
        self.open_sized(id, session, Mode::Interact, None)
    }

    fn open_sized(&mut self, id: u32, session: &str, mode: Mode, size: Option<Size>) -> Result<ChannelId> {
        let input = (mode == Mode::Interact).then(|| uuid::Uuid::new_v4().to_string());
        let open = Open { size, input, ..Open::new(session, mode) };
        self.open_with(id, open)?;
        let channel = ChannelId(id);
        self.wait("opened", |a| a.seen(channel).is_some_and(|s| s.opened.is_some() || s.error.is_some()))?;
        match self.seen(channel).and_then(|s| s.error.clone()) {
            Some(error) => bail!("{}: {error}", session),
            None => Ok(channel),
        }
    }

    /// Sends an `open` and waits for nothing.
    pub(crate) fn open_with(&mut self, id: u32, open: Open) -> Result<()> {
        self.channels.insert(ChannelId(id), Seen::default());
        self.control(ChannelId(id), &ClientMessage::Open(open))
    }

    /// What has come on a channel.
    pub(crate) fn seen(&self, channel: ChannelId) -> Option<&Seen> {
        self.channels.get(&channel)
    }

    /// Asks a keeper.
    pub(crate) fn call(&mut self, call: Call) -> Result<Reply> {
        self.reply = None;
        self.control(ChannelId::CONNECTION, &ClientMessage::Call { request: 1, call })?;
        self.wait("a reply", |a| a.reply.is_some())?;
        self.reply.take().context("a reply")
    }

    /// Sends a control message.
    pub(crate) fn control(&mut self, channel: ChannelId, message: &ClientMessage) -> Result<()> {
        let payload = control::to_payload(message)?;
        self.send(&control::frame(channel, 0, &payload))
    }

    /// Types on a channel.
    pub(crate) fn input(&mut self, channel: ChannelId, bytes: &[u8]) -> Result<()> {
        let seen = self.channels.get_mut(&channel).context("a channel that is not open")?;
        let offset = seen.typed;
        seen.typed += bytes.len() as u64;
        self.send(&Frame::new(FrameType::Input, channel, offset, bytes))
    }

    fn send(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.out.clear();
        match &mut self.pipe {
            Pipe::Ws(socket) => {
                frame.encode(&mut self.out);
                socket.send(&self.out)
            }
            Pipe::Keeper(socket, _) => {
                stream::encode(frame, &mut self.out);
                Ok(socket.write_all(&self.out)?)
            }
        }
    }

    /// Waits for a condition that something received makes true.
    pub(crate) fn wait(&mut self, what: &str, done: impl Fn(&Attach) -> bool) -> Result<()> {
        let deadline = Instant::now() + ANSWER;
        while !done(self) {
            if !self.pump(deadline, &mut |_, _| {})? {
                bail!("no {what} within {ANSWER:?}");
            }
        }
        Ok(())
    }

    /// Acknowledges what was taken in: when there is no more to take in at once, and for every so many bytes. So an
    /// acknowledgement never stands between a key and its echo.
    fn acknowledge(&mut self) -> Result<()> {
        let caught_up = match &self.pipe {
            Pipe::Ws(socket) => !socket.has_message()?,
            Pipe::Keeper(..) => true,
        };
        let mut acks = Vec::new();
        for (channel, seen) in &mut self.channels {
            let behind = seen.next - seen.acked;
            if behind >= self.ack_every || caught_up && (behind > 0 || seen.owed) {
                (seen.acked, seen.owed) = (seen.next, false);
                acks.push((*channel, seen.next));
            }
        }
        for (channel, offset) in acks {
            self.send(&Frame::new(FrameType::Ack, channel, offset, &[]))?;
        }
        Ok(())
    }

    /// Takes in one message, or one read, and gives its output and snapshot bytes to `sink`; false at the deadline.
    pub(crate) fn pump(&mut self, deadline: Instant, sink: &mut dyn FnMut(ChannelId, &[u8])) -> Result<bool> {
        self.acknowledge()?;
        let mut todo = Todo::default();
        match &mut self.pipe {
            Pipe::Ws(socket) => {
                let Some(message) = socket.next(deadline)? else { return Ok(false) };
                for frame in frames(message) {
                    todo.take(&mut self.channels, &frame?, sink)?;
                }
            }
            Pipe::Keeper(socket, decoder) => {
                if !readable(socket.as_fd(), deadline)? {
                    return Ok(false);
                }
                let n = socket.read(decoder.space(READ))?;
                decoder.filled(READ, n);
                if n == 0 {
                    bail!("the keeper has closed the connection");
                }
                while let Some(frame) = decoder.next_frame()? {
                    todo.take(&mut self.channels, &frame, sink)?;
                }
            }
        }
        self.greeted |= todo.greeted;
        if todo.reply.is_some() {
            self.reply = todo.reply;
        }
        if let Some(payload) = todo.pong {
            self.send(&Frame::new(FrameType::Pong, ChannelId::CONNECTION, 0, &payload))?;
        }
        Ok(true)
    }
}

/// What receiving something asks to be sent.
#[derive(Default)]
struct Todo {
    pong: Option<Vec<u8>>,
    reply: Option<Reply>,
    greeted: bool,
}

impl Todo {
    fn take(
        &mut self,
        channels: &mut BTreeMap<ChannelId, Seen>,
        frame: &Frame<'_>,
        sink: &mut dyn FnMut(ChannelId, &[u8]),
    ) -> Result<()> {
        let after = frame.offset + frame.payload.len() as u64;
        match (frame.kind, channels.get_mut(&frame.channel)) {
            (FrameType::Output, Some(seen)) => {
                if seen.next != frame.offset {
                    bail!("a hole in the stream: {} came after {}", frame.offset, seen.next);
                }
                seen.next = after;
                seen.printed = true;
                seen.bytes += frame.payload.len() as u64;
                sink(frame.channel, frame.payload);
            }
            (FrameType::Snapshot, Some(seen)) => {
                sink(frame.channel, frame.payload);
                if frame.flags & lap_wire::frame::flags::LAST != 0 {
                    seen.snapshots += 1;
                    seen.next = frame.offset;
                    // Also where it is the offset that was acknowledged last: a snapshot is acknowledged for itself.
                    seen.owed = true;
                    seen.printed |= frame.offset > 0;
                }
            }
            (FrameType::Ping, _) => self.pong = Some(frame.payload.to_vec()),
            (FrameType::Control, seen) => match (control::from_payload(frame.payload)?, seen) {
                (ServerMessage::Welcome { .. }, _) => self.greeted = true,
                (ServerMessage::Reply { reply, .. }, _) => self.reply = Some(reply),
                (ServerMessage::Error(error), None) => bail!("{:?}: {error}", error.code),
                (ServerMessage::Error(error), Some(seen)) => seen.error = Some(error),
                (message @ ServerMessage::Opened { .. }, Some(seen)) => {
                    if let ServerMessage::Opened { offset, .. } = message {
                        (seen.next, seen.acked) = (offset, offset);
                    }
                    seen.opened = Some(message);
                }
                (ServerMessage::Skipped { from, to }, Some(seen)) => seen.skipped += to - from,
                (ServerMessage::Ready, Some(seen)) => seen.ready = true,
                (ServerMessage::Exit(_) | ServerMessage::Closed { .. }, Some(seen)) => seen.ended = true,
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

/// One channel of a connection as a line, another one beside it; what comes on that is only counted.
pub(crate) struct AttachLine {
    /// The connection.
    pub(crate) attach: Attach,
    channel: ChannelId,
    other: ChannelId,
}

impl AttachLine {
    /// The line of channels that are open.
    pub(crate) fn new(attach: Attach, channel: ChannelId, other: ChannelId) -> AttachLine {
        AttachLine { attach, channel, other }
    }
}

impl Line for AttachLine {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.attach.input(self.channel, bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
        let (channel, before) = (self.channel, out.len());
        loop {
            let more = self.attach.pump(deadline, &mut |from, bytes| {
                if from == channel {
                    out.extend_from_slice(bytes);
                }
            })?;
            if !more || out.len() > before {
                return Ok(more);
            }
        }
    }

    fn send_other(&mut self, bytes: &[u8]) -> Result<()> {
        self.attach.input(self.other, bytes)
    }

    fn other_bytes(&self) -> u64 {
        self.attach.seen(self.other).map_or(0, |seen| seen.bytes)
    }
}
