//! A terminal that keeps the protocol's promises, and its end of the link: what the laws hold the client's core against.

use std::collections::VecDeque;

use bytes::Bytes;
use lap_wire::control::{
    ClientMessage, ErrorCode, How, Mode, ServerMessage, Size, WireError, from_payload, to_payload,
};
use lap_wire::flow::{Cursor, Next, Resume, Since, resume};
use lap_wire::frame::{Frame, FrameType, flags, frames};
use lap_wire::input::{Accept, accept};
use lap_wire::{ChannelId, Epoch, PROTOCOL, Ring};

/// Input the program may leave unread.
pub(super) const MAX_WAITING: usize = 40_000;

/// The output's byte at an offset: any shift or repetition shows.
pub(super) fn output_byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// One terminal and its end of the link.
pub(super) struct Terminal {
    pub(super) epoch: Epoch,
    pub(super) ring: Ring,
    pub(super) size_generation: u32,
    /// What was taken of the one typist's stream, and how much of it the program has read.
    pub(super) typed: Vec<u8>,
    pub(super) read: usize,
    /// How the next pieces of input are refused.
    pub(super) refusals: VecDeque<ErrorCode>,
    /// How much had been typed when the end of it was told.
    pub(super) ended_at: Option<usize>,
    pub(super) cursor: Option<(ChannelId, Cursor)>,
    pub(super) pieces: usize,
    /// How often it is not ready before it opens.
    pub(super) not_ready: u32,
}

impl Terminal {
    pub(super) fn new() -> Terminal {
        Terminal {
            epoch: Epoch(0xfeed),
            ring: Ring::new(4096),
            size_generation: 1,
            typed: Vec::new(),
            read: 0,
            refusals: VecDeque::new(),
            ended_at: None,
            cursor: None,
            pieces: 1,
            not_ready: 0,
        }
    }

    pub(super) fn print(&mut self, n: usize) {
        let at = self.ring.end();
        let bytes: Vec<u8> = (at..at + n as u64).map(output_byte).collect();
        self.ring.push(&bytes);
    }

    /// A snapshot here is its offset, again and again, so that pieces of different ones cannot be mixed up.
    pub(super) fn snapshot(&self, channel: ChannelId, out: &mut VecDeque<Bytes>) {
        let at = self.ring.end();
        for i in 0..self.pieces {
            let first = if i == 0 { flags::FIRST } else { 0 };
            let last = if i + 1 == self.pieces { flags::LAST } else { 0 };
            let payload = at.to_be_bytes();
            send(out, &Frame::new(FrameType::Snapshot, channel, at, &payload).with_flags(first | last));
        }
    }

    pub(super) fn take(&mut self, message: &[u8], out: &mut VecDeque<Bytes>) {
        for frame in frames(message) {
            let frame = frame.unwrap();
            let channel = frame.channel;
            match frame.kind {
                FrameType::Control => match from_payload::<ClientMessage>(frame.payload).unwrap() {
                    ClientMessage::Hello { versions, .. } => {
                        assert_eq!(versions, [PROTOCOL]);
                        let welcome = ServerMessage::Welcome {
                            version: PROTOCOL.into(),
                            server: "test".into(),
                            instance: Epoch(1),
                            heartbeat_ms: 10_000,
                            max_message: 65_536,
                            max_channels: 16,
                        };
                        say(out, channel, &welcome);
                    }
                    ClientMessage::Open(open) => self.open(channel, open.since, out),
                    ClientMessage::Snapshot { .. } => {
                        self.snapshot(channel, out);
                        let at = self.ring.end();
                        if let Some((_, cursor)) = &mut self.cursor {
                            cursor.skip_to(at);
                        }
                    }
                    ClientMessage::StdinEof => self.ended_at = Some(self.typed.len()),
                    other => panic!("nobody asked for {other:?}"),
                },
                FrameType::Ack => {
                    if let Some((_, cursor)) = &mut self.cursor {
                        cursor.ack(frame.offset);
                    }
                }
                FrameType::Input if frame.flags & flags::REPLY == 0 => {
                    if let Err(error) = self.input(frame.offset, frame.payload) {
                        say(out, channel, &ServerMessage::Error(error));
                    }
                }
                FrameType::Ping => send(out, &Frame::new(FrameType::Pong, channel, 0, frame.payload)),
                other => panic!("a client sends no {other:?}"),
            }
        }
    }

    pub(super) fn input(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WireError> {
        let taken = self.typed.len() as u64;
        let refuse = |code| Err(WireError::new(code, "not this").send_again_from(taken));
        match self.refusals.pop_front() {
            Some(ErrorCode::SandboxLost) => {
                return Err(WireError::new(ErrorCode::SandboxLost, "not now").retryable());
            }
            Some(code) => return refuse(code),
            None => {}
        }
        match accept(taken, offset, bytes.len()) {
            Accept::From(at) if self.typed.len() - self.read + bytes.len() - at > MAX_WAITING => {
                refuse(ErrorCode::InputOverflow)
            }
            Accept::From(at) => {
                self.typed.extend_from_slice(&bytes[at..]);
                Ok(())
            }
            Accept::Duplicate => Ok(()),
            Accept::Gap { .. } => refuse(ErrorCode::InputGap),
        }
    }

    /// The program reads what was typed.
    pub(super) fn read(&mut self, n: usize, out: &mut VecDeque<Bytes>) {
        self.read = self.typed.len().min(self.read.saturating_add(n));
        if let Some((channel, _)) = self.cursor {
            send(out, &Frame::new(FrameType::InputAck, channel, self.read as u64, &[]));
        }
    }

    pub(super) fn open(&mut self, channel: ChannelId, since: Option<Since>, out: &mut VecDeque<Bytes>) {
        if self.not_ready > 0 {
            self.not_ready -= 1;
            let error = WireError::new(ErrorCode::NotReady, "not yet").retryable();
            say(out, channel, &ServerMessage::Error(error));
            say(out, channel, &ServerMessage::Closed { reason: "not yet".into() });
            return;
        }
        let head = self.ring.end();
        let (how, offset) = match resume(since, self.epoch, self.size_generation, &self.ring) {
            Resume::Exact(at) => (How::Exact, at),
            Resume::Snapshot => (How::Snapshot, head),
        };
        let opened = ServerMessage::Opened {
            epoch: self.epoch,
            offset,
            head,
            how,
            size: Size::default(),
            size_generation: self.size_generation,
            input_offset: self.read as u64,
            mode: Mode::Interact,
            title: None,
        };
        say(out, channel, &opened);
        if how == How::Snapshot {
            self.snapshot(channel, out);
        }
        self.cursor = Some((channel, Cursor::new(offset, 3000)));
    }

    /// Sends what the cursor allows, as a server does.
    pub(super) fn serve(&mut self, out: &mut VecDeque<Bytes>) {
        while let Some((channel, mut cursor)) = self.cursor {
            match cursor.next(&self.ring) {
                Next::Send { from, len } => {
                    let (a, b) = self.ring.read(from, len.min(700)).unwrap();
                    let bytes = [a, b].concat();
                    send(out, &Frame::new(FrameType::Output, channel, from, &bytes));
                    cursor.sent(bytes.len());
                    self.cursor = Some((channel, cursor));
                }
                Next::Lapped => {
                    let (from, to) = (cursor.next_offset(), self.ring.end());
                    say(out, channel, &ServerMessage::Skipped { from, to });
                    self.snapshot(channel, out);
                    cursor.skip_to(to);
                    self.cursor = Some((channel, cursor));
                }
                Next::CaughtUp | Next::NoCredit => return,
            }
        }
    }

    pub(super) fn resize(&mut self, out: &mut VecDeque<Bytes>) {
        self.size_generation += 1;
        let Some((channel, cursor)) = &mut self.cursor else { return };
        cursor.skip_to(self.ring.end());
        let resized = ServerMessage::Resized { size: Size::default(), size_generation: self.size_generation };
        let channel = *channel;
        say(out, channel, &resized);
        self.snapshot(channel, out);
    }
}

pub(super) fn send(out: &mut VecDeque<Bytes>, frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    out.push_back(bytes.into());
}

pub(super) fn say(out: &mut VecDeque<Bytes>, channel: ChannelId, message: &ServerMessage) {
    send(out, &lap_wire::control::frame(channel, 0, &to_payload(message).unwrap()));
}
