//! A keeper that keeps the protocol's promises and checks that the other side keeps its own.

use std::collections::{BTreeMap, BTreeSet};

use lap_wire::control::{self, ClientMessage, ErrorCode, How, Mode, ServerMessage, Size, WireError};
use lap_wire::flow::{Cursor, Next, Resume, resume};
use lap_wire::frame::flags;
use lap_wire::input::{Accept, accept};
use lap_wire::keeper::{Call, Info, Reply};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, Epoch, Frame, FrameType, PROTOCOL, Ring};

/// What a terminal printed at an offset: any shift or repetition shows.
pub(super) fn output_byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

enum Channel {
    Terminal { cursor: Cursor, input: Option<String>, output: bool },
    File { path: String, bytes: Vec<u8> },
}

/// What is true of one connection.
#[derive(Default)]
struct Connection {
    decoder: StreamDecoder,
    greeted: bool,
    channels: BTreeMap<ChannelId, Channel>,
    ever: BTreeSet<ChannelId>,
}

/// One terminal, `t`, and a disk.
pub(super) struct Keeper {
    pub(super) ring: Ring,
    pub(super) generation: u32,
    /// What the program has read of each typist, by stream name.
    pub(super) typed: BTreeMap<String, Vec<u8>>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Input is refused so many times before it is taken.
    pub(super) refuse: u32,
    /// It answers nothing, though it hears.
    pub(super) hangs: bool,
    connection: Connection,
    pub(super) out: Vec<u8>,
}

impl Keeper {
    pub(super) fn new() -> Keeper {
        Keeper {
            ring: Ring::new(4096),
            generation: 1,
            typed: BTreeMap::new(),
            files: BTreeMap::new(),
            refuse: 0,
            hangs: false,
            connection: Connection::default(),
            out: Vec::new(),
        }
    }

    /// The connection is gone, with all that was only on it.
    pub(super) fn unplug(&mut self) {
        self.connection = Connection::default();
        self.out.clear();
    }

    pub(super) fn open_channels(&self) -> usize {
        self.connection.channels.len()
    }

    pub(super) fn print(&mut self, n: usize) {
        let at = self.ring.end();
        let bytes: Vec<u8> = (at..at + n as u64).map(output_byte).collect();
        self.ring.push(&bytes);
    }

    fn send(&mut self, frame: &Frame<'_>) {
        if !self.hangs {
            stream::encode(frame, &mut self.out);
        }
    }

    fn say(&mut self, channel: ChannelId, message: &ServerMessage) {
        self.send(&control::frame(channel, 0, &control::to_payload(message).unwrap()));
    }

    fn fail(&mut self, channel: ChannelId, code: ErrorCode) {
        self.say(channel, &ServerMessage::Error(WireError::new(code, "no").retryable()));
    }

    /// Takes in some bytes, cut anywhere.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let mut decoder = std::mem::take(&mut self.connection.decoder);
        decoder.push(bytes);
        while let Some(frame) = decoder.next_frame().expect("a server sends whole frames") {
            self.frame(&frame);
        }
        self.connection.decoder = decoder;
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let channel = frame.channel;
        if frame.kind == FrameType::Control {
            let message: ClientMessage = control::from_payload(frame.payload).unwrap();
            if let ClientMessage::Open(_) = message {
                assert!(self.connection.ever.insert(channel), "channel {channel} was used here before");
            }
            self.known(channel);
            return self.message(channel, message);
        }
        self.known(channel);
        match frame.kind {
            FrameType::Ack => {
                if let Some(Channel::Terminal { cursor, .. }) = self.connection.channels.get_mut(&channel) {
                    cursor.ack(frame.offset);
                }
            }
            FrameType::Input => self.input(frame),
            FrameType::Ping => self.send(&Frame { kind: FrameType::Pong, ..*frame }),
            FrameType::Pong => {}
            other => panic!("a server sends no {other:?}"),
        }
    }

    /// No number is used that this connection has not opened.
    fn known(&self, channel: ChannelId) {
        let known = channel == ChannelId::CONNECTION || self.connection.ever.contains(&channel);
        assert!(known, "channel {channel} is used and was never opened on this connection");
    }

    fn message(&mut self, channel: ChannelId, message: ClientMessage) {
        match message {
            ClientMessage::Hello { versions, .. } => {
                assert_eq!(versions, [PROTOCOL]);
                assert!(!std::mem::replace(&mut self.connection.greeted, true), "greeted twice");
                let welcome = ServerMessage::Welcome {
                    version: PROTOCOL.into(),
                    server: "test".into(),
                    instance: Epoch(1),
                    heartbeat_ms: 10_000,
                    max_message: 65_536,
                    max_channels: 1024,
                };
                self.say(channel, &welcome);
            }
            _ if !self.connection.greeted => panic!("{message:?} before hello"),
            ClientMessage::Open(open) if open.session == "t" => {
                let epoch = Epoch(7);
                let head = self.ring.end();
                let (how, offset) = match resume(open.since, epoch, self.generation, &self.ring) {
                    Resume::Exact(at) => (How::Exact, at),
                    Resume::Snapshot => (How::Snapshot, head),
                };
                let input_offset =
                    open.input.as_ref().map_or(0, |name| self.typed.entry(name.clone()).or_default().len());
                let opened = ServerMessage::Opened {
                    epoch,
                    offset,
                    head,
                    how,
                    size: Size::default(),
                    size_generation: self.generation,
                    input_offset: input_offset as u64,
                    mode: Mode::Interact,
                    title: None,
                };
                self.say(channel, &opened);
                if how == How::Snapshot {
                    self.snapshot(channel);
                }
                let cursor = Cursor::new(offset, open.window);
                let terminal = Channel::Terminal { cursor, input: open.input, output: true };
                self.connection.channels.insert(channel, terminal);
            }
            ClientMessage::Open(_) => self.fail(channel, ErrorCode::NotFound),
            ClientMessage::Close => {
                if self.connection.channels.remove(&channel).is_some() {
                    self.say(channel, &ServerMessage::Closed { reason: "closed as asked".into() });
                } else {
                    self.fail(channel, ErrorCode::ChannelNotOpen);
                }
            }
            ClientMessage::StdinEof => {
                if let Some(Channel::File { path, bytes }) = self.connection.channels.remove(&channel) {
                    self.files.insert(path, bytes);
                    self.say(channel, &ServerMessage::Closed { reason: "complete".into() });
                }
            }
            ClientMessage::Call { request, call } => {
                let reply = self.call(call);
                self.say(channel, &ServerMessage::Reply { request, reply });
            }
            ClientMessage::Typing => {}
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn call(&mut self, call: Call) -> Reply {
        match call {
            Call::WriteFile { channel, path, .. } => {
                assert!(self.connection.ever.insert(channel), "channel {channel} was used here before");
                self.connection.channels.insert(channel, Channel::File { path, bytes: Vec::new() });
                Reply::Done
            }
            // Each is told by its number, so that an answer to another shows.
            Call::Signal { signal, .. } => {
                Reply::Info(Info { version: signal, pid: 1, started_ms: 0, busy_us: 0, connections: 1 })
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn input(&mut self, frame: &Frame<'_>) {
        let channel = frame.channel;
        let taken = match self.connection.channels.get_mut(&channel) {
            Some(Channel::Terminal { .. }) if self.refuse > 0 => {
                self.refuse -= 1;
                return self.fail(channel, ErrorCode::InputOverflow);
            }
            Some(Channel::Terminal { input: Some(name), .. }) => self.typed.get_mut(name).unwrap(),
            Some(Channel::File { bytes, .. }) => bytes,
            // It crossed with the channel's end.
            _ => return,
        };
        match accept(taken.len() as u64, frame.offset, frame.payload.len()) {
            Accept::From(at) => taken.extend_from_slice(&frame.payload[at..]),
            Accept::Duplicate => {}
            Accept::Gap { .. } => return self.fail(channel, ErrorCode::InputGap),
        }
        let end = taken.len() as u64;
        self.send(&Frame::new(FrameType::InputAck, channel, end, &[]));
    }

    /// A snapshot here is its offset, so that pieces of different ones cannot be mixed up.
    fn snapshot(&mut self, channel: ChannelId) {
        let at = self.ring.end();
        for of in [flags::FIRST, flags::LAST] {
            let payload = at.to_be_bytes();
            self.send(&Frame::new(FrameType::Snapshot, channel, at, &payload).with_flags(of));
        }
    }

    /// Sends what each reader is owed and has credit for.
    pub(super) fn serve(&mut self) {
        let mut channels = std::mem::take(&mut self.connection.channels);
        for (channel, reader) in &mut channels {
            let Channel::Terminal { cursor, output: true, .. } = reader else { continue };
            loop {
                match cursor.next(&self.ring) {
                    Next::Send { from, len } => {
                        let (a, b) = self.ring.read(from, len.min(700)).unwrap();
                        let bytes = [a, b].concat();
                        self.send(&Frame::new(FrameType::Output, *channel, from, &bytes));
                        cursor.sent(bytes.len());
                    }
                    Next::Lapped => {
                        let (from, to) = (cursor.next_offset(), self.ring.end());
                        self.say(*channel, &ServerMessage::Skipped { from, to });
                        self.snapshot(*channel);
                        cursor.skip_to(to);
                    }
                    Next::CaughtUp | Next::NoCredit => break,
                }
            }
        }
        self.connection.channels = channels;
    }

    pub(super) fn resize(&mut self) {
        self.generation += 1;
        let (size, size_generation) = (Size::default(), self.generation);
        let end = self.ring.end();
        let mut channels = std::mem::take(&mut self.connection.channels);
        for (channel, reader) in &mut channels {
            let Channel::Terminal { cursor, .. } = reader else { continue };
            cursor.skip_to(end);
            self.say(*channel, &ServerMessage::Resized { size, size_generation });
            self.snapshot(*channel);
        }
        self.connection.channels = channels;
    }
}
