//! A client that speaks `lap.attach.v1`, or the simple socket, byte by byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use lap_platform::model::SessionId;
use lap_wire::ChannelId;
use lap_wire::control::{
    ClientMessage, Mode, Open, ServerMessage, Size, WireError, from_payload, to_payload,
};
use lap_wire::flow::Since;
use lap_wire::frame::{Frame, FrameType, flags, frames};

use crate::world::PATIENCE;

/// What a client was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Control(u32, ServerMessage),
    Output(u32, u64, Vec<u8>),
    /// A whole one.
    Snapshot(u32, u64, Vec<u8>),
    InputAck(u32, u64),
    Close(u16),
    /// Of the simple socket.
    Raw(Vec<u8>),
    Pong,
}

/// A WebSocket client whose handshake is behind it.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    events: Vec<Event>,
    pieces: HashMap<u32, Vec<u8>>,
    /// Whether what arrives is acknowledged at once.
    pub(crate) acks: bool,
    raw: bool,
    close_reason: String,
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client {
            socket,
            buffer: Vec::new(),
            events: Vec::new(),
            pieces: HashMap::new(),
            acks: true,
            raw: false,
            close_reason: String::new(),
        }
    }

    pub(crate) fn raw(mut self) -> Client {
        self.raw = true;
        self
    }

    pub(crate) fn send_message(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            n if n < 126 => bytes.push(0x80 | n as u8),
            n if n < 65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        // A server that has closed already is seen by reading.
        let _ = self.socket.write_all(&bytes);
    }

    pub(crate) fn frame(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send_message(2, &bytes);
    }

    pub(crate) fn control(&mut self, channel: u32, message: &ClientMessage) {
        let payload = to_payload(message).unwrap();
        self.frame(&lap_wire::control::frame(ChannelId(channel), 0, &payload));
    }

    pub(crate) fn input(&mut self, channel: u32, offset: u64, bytes: &[u8]) {
        self.frame(&Frame::new(FrameType::Input, ChannelId(channel), offset, bytes));
    }

    pub(crate) fn ack(&mut self, channel: u32, offset: u64) {
        self.frame(&Frame::new(FrameType::Ack, ChannelId(channel), offset, &[]));
    }

    pub(crate) fn open(&mut self, channel: u32, open: Open) {
        self.control(channel, &ClientMessage::Open(open));
    }

    /// The next thing the server says.
    pub(crate) fn next(&mut self) -> Event {
        self.try_next().unwrap_or_else(|| panic!("nothing came"))
    }

    /// The same; nothing, if nothing comes within the socket's time-out.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        loop {
            if !self.events.is_empty() {
                return Some(self.events.remove(0));
            }
            if let Some((opcode, payload)) = self.take_message() {
                self.message(opcode, &payload);
                continue;
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Some(Event::Close(1006)),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::ConnectionReset => return Some(Event::Close(1006)),
                    std::io::ErrorKind::Interrupted => {}
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => return None,
                    _ => panic!("{error}"),
                },
            }
        }
    }

    /// Another sender on the same socket, for a thread of its own. Whoever reads answers nothing meanwhile.
    pub(crate) fn writer(&self) -> Client {
        let mut writer = Client::new(self.socket.try_clone().unwrap());
        writer.raw = self.raw;
        writer
    }

    /// Reads until `wanted` finds what it looks for, with the means to acknowledge.
    pub(crate) fn next_acking<T>(
        &mut self,
        channel: u32,
        mut wanted: impl FnMut(&mut Client, &Event) -> Option<T>,
    ) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            if let Some(found) = wanted(self, &event) {
                return found;
            }
            assert!(!matches!(event, Event::Close(_)), "closed: {event:?}");
            assert!(Instant::now() < until, "waited in vain on channel {channel}");
        }
    }

    pub(crate) fn until_pong(&mut self) {
        self.until_pong_and(|_| {});
    }

    /// Reads until the answer to a ping, showing what comes before.
    pub(crate) fn until_pong_and(&mut self, mut look: impl FnMut(&Event)) {
        self.until("the pong", |event| {
            look(event);
            matches!(event, Event::Pong).then_some(())
        });
    }

    pub(crate) fn until_close_reason(&mut self) -> (u16, String) {
        (self.until_close(), self.close_reason.clone())
    }

    fn take_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let (len, head) = match *self.buffer.get(1)? {
            126 => (usize::from(u16::from_be_bytes([*self.buffer.get(2)?, *self.buffer.get(3)?])), 4),
            127 => (u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()) as usize, 10),
            n => (usize::from(n), 2),
        };
        let payload = self.buffer.get(head..head + len)?.to_vec();
        let opcode = self.buffer[0] & 0xf;
        self.buffer.drain(..head + len);
        Some((opcode, payload))
    }

    fn message(&mut self, opcode: u8, payload: &[u8]) {
        match opcode {
            8 => {
                self.close_reason = String::from_utf8_lossy(&payload[2..]).into_owned();
                self.events.push(Event::Close(u16::from_be_bytes([payload[0], payload[1]])));
            }
            1 => panic!("a text message: {}", String::from_utf8_lossy(payload)),
            2 if self.raw => self.events.push(Event::Raw(payload.to_vec())),
            2 => {
                for frame in frames(payload) {
                    self.frame_arrived(&frame.unwrap());
                }
            }
            _ => {}
        }
    }

    fn frame_arrived(&mut self, frame: &Frame<'_>) {
        let channel = frame.channel.0;
        let event = match frame.kind {
            FrameType::Control => Event::Control(channel, from_payload(frame.payload).unwrap()),
            FrameType::Output => {
                if self.acks {
                    self.ack(channel, frame.offset + frame.payload.len() as u64);
                }
                Event::Output(channel, frame.offset, frame.payload.to_vec())
            }
            FrameType::Snapshot => {
                let pieces = self.pieces.entry(channel).or_default();
                if frame.flags & flags::FIRST != 0 {
                    pieces.clear();
                }
                pieces.extend_from_slice(frame.payload);
                if frame.flags & flags::LAST == 0 {
                    return;
                }
                let whole = std::mem::take(pieces);
                if self.acks {
                    self.ack(channel, frame.offset);
                }
                Event::Snapshot(channel, frame.offset, whole)
            }
            FrameType::InputAck => Event::InputAck(channel, frame.offset),
            FrameType::Ping => {
                self.frame(&Frame::new(FrameType::Pong, ChannelId(0), 0, frame.payload));
                return;
            }
            FrameType::Pong => Event::Pong,
            _ => return,
        };
        self.events.push(event);
    }

    /// Reads until `wanted` finds what it looks for.
    pub(crate) fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            if let Some(found) = wanted(&event) {
                return found;
            }
            assert!(!matches!(event, Event::Close(_)), "closed ({event:?}) before {what}");
            assert!(Instant::now() < until, "waited in vain: {what}");
        }
    }

    pub(crate) fn until_error(&mut self, channel: u32) -> WireError {
        self.until("an error", |e| match e {
            Event::Control(c, ServerMessage::Error(error)) if *c == channel => Some(error.clone()),
            _ => None,
        })
    }

    pub(crate) fn until_close(&mut self) -> u16 {
        self.until("the close", |e| match e {
            Event::Close(code) => Some(*code),
            _ => None,
        })
    }

    /// Reads until the channel's printed bytes, snapshot or output, contain `text`.
    pub(crate) fn until_text(&mut self, channel: u32, text: &str) -> String {
        let mut seen = String::new();
        self.until(text, |e| {
            match e {
                Event::Output(c, _, bytes) | Event::Snapshot(c, _, bytes) if *c == channel => {
                    seen.push_str(&String::from_utf8_lossy(bytes));
                }
                Event::Raw(bytes) => seen.push_str(&String::from_utf8_lossy(bytes)),
                _ => {}
            }
            let found = seen.contains(text).then(|| seen.clone());
            // A flood is not kept: what is looked for may straddle two pieces at the most.
            if seen.len() > 64 * 1024 {
                seen = seen.chars().rev().take(text.len()).collect::<Vec<_>>().into_iter().rev().collect();
            }
            found
        })
    }

    pub(crate) fn until_ready(&mut self, channel: u32) {
        self.until("ready", |e| {
            matches!(e, Event::Control(c, ServerMessage::Ready) if *c == channel).then_some(())
        });
    }
}

/// An open that types, at 80×24.
pub(crate) fn interact(session: SessionId, input: &str) -> Open {
    Open {
        size: Some(Size::default()),
        input: Some(input.to_owned()),
        ..Open::new(session.to_string(), Mode::Interact)
    }
}

/// An open that only watches.
pub(crate) fn view(session: SessionId) -> Open {
    Open { mode: Mode::View, size: None, input: None, ..interact(session, "") }
}

pub(crate) fn since(session: SessionId, since: Since) -> Open {
    Open { since: Some(since), ..view(session) }
}
