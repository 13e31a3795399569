//! One connection, blocking, with a deadline on every wait.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use lap_wire::control::{
    self, ClientMessage, ErrorCode, ExitStatus, Mode, Open, ServerMessage, Viewer, ViewerSeat, WireError,
};
use lap_wire::flow::Since;
use lap_wire::frame::flags;
use lap_wire::keeper::{Call, Program, ProgramSpec, Reply};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, Frame, FrameType, PROTOCOL};

use super::PATIENCE;

/// A frame that arrived, control frames read.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Message(u32, ServerMessage),
    Output(u32, u64, Vec<u8>),
    Snapshot(u32, u64, u8, Vec<u8>),
    InputAck(u32, u64),
    Other(FrameType),
}

impl Got {
    pub fn channel(&self) -> u32 {
        match self {
            Got::Message(c, _) | Got::Output(c, ..) | Got::Snapshot(c, ..) | Got::InputAck(c, _) => *c,
            Got::Other(_) => 0,
        }
    }
}

pub struct Client {
    pub socket: UnixStream,
    decoder: StreamDecoder,
    /// Frames read and passed over while another was waited for.
    pub passed: VecDeque<Got>,
    requests: u64,
    /// Whether output is acknowledged as it is read.
    pub acks: bool,
}

impl Client {
    pub fn connect(path: &Path) -> Client {
        let mut client = Client::silent(path);
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.into()],
            name: "test".into(),
            heartbeat_ms: None,
            grant: None,
        };
        client.send(0, &hello);
        match client.next() {
            Got::Message(0, ServerMessage::Welcome { version, .. }) => assert_eq!(version, PROTOCOL),
            other => panic!("not a welcome: {other:?}"),
        }
        client
    }

    /// One that comes with a grant: `None` when it is turned away.
    pub fn granted(path: &Path, token: &str) -> Option<Client> {
        let mut client = Client::silent(path);
        let versions = vec![PROTOCOL.into()];
        let grant = Some(token.to_owned());
        client.send(0, &ClientMessage::Hello { versions, name: "x".into(), heartbeat_ms: None, grant });
        match client.next() {
            Got::Message(0, ServerMessage::Welcome { .. }) => Some(client),
            Got::Message(0, ServerMessage::Error(error)) => {
                assert_eq!(error.code, ErrorCode::NotAllowed);
                assert_eq!(client.read(), None, "it is hung up on");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// One that has not said hello.
    pub fn silent(path: &Path) -> Client {
        let socket = lap_keeper::dial(path).unwrap();
        Client::over(socket)
    }

    pub fn over(socket: UnixStream) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let decoder = StreamDecoder::new();
        Client { socket, decoder, passed: VecDeque::new(), requests: 0, acks: true }
    }

    pub fn send(&mut self, channel: u32, message: &ClientMessage) {
        let payload = control::to_payload(message).unwrap();
        self.send_frame(&control::frame(ChannelId(channel), 0, &payload));
    }

    pub fn send_frame(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        stream::encode(frame, &mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    pub fn input(&mut self, channel: u32, offset: u64, bytes: &[u8]) {
        self.send_frame(&Frame::new(FrameType::Input, ChannelId(channel), offset, bytes));
    }

    pub fn ack(&mut self, channel: u32, offset: u64) {
        self.send_frame(&Frame::new(FrameType::Ack, ChannelId(channel), offset, &[]));
    }

    /// The next frame, also of those passed over.
    pub fn next(&mut self) -> Got {
        self.passed.pop_front().unwrap_or_else(|| self.read().expect("the keeper hung up"))
    }

    /// The next frame of that channel; those of others are kept.
    pub fn next_of(&mut self, channel: u32) -> Got {
        self.find("more of a channel", |got| Some(got.clone()).filter(|got| got.channel() == channel))
    }

    /// The next frame from the socket; `None` when the keeper has hung up.
    pub fn read(&mut self) -> Option<Got> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                let got = read_frame(&frame);
                if let Got::Output(channel, offset, bytes) = &got
                    && self.acks
                {
                    let (channel, end) = (*channel, offset + bytes.len() as u64);
                    let mut ack = Vec::new();
                    stream::encode(&Frame::new(FrameType::Ack, ChannelId(channel), end, &[]), &mut ack);
                    // A keeper that has hung up may still have left frames to read.
                    let _ = self.socket.write_all(&ack);
                }
                return Some(got);
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.decoder.push(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Waits for a frame; those before it are kept.
    pub fn find<T>(&mut self, name: &str, mut wanted: impl FnMut(&Got) -> Option<T>) -> T {
        for at in 0..self.passed.len() {
            if let Some(found) = wanted(&self.passed[at]) {
                self.passed.remove(at);
                return found;
            }
        }
        loop {
            let got = self.read().unwrap_or_else(|| panic!("the keeper hung up before: {name}"));
            match wanted(&got) {
                Some(found) => return found,
                None => self.passed.push_back(got),
            }
        }
    }

    pub fn ask(&mut self, call: Call) -> u64 {
        self.requests += 1;
        self.send(0, &ClientMessage::Call { request: self.requests, call });
        self.requests
    }

    pub fn answer(&mut self, asked: u64) -> Reply {
        self.find("a reply", |got| match got {
            Got::Message(0, ServerMessage::Reply { request, reply }) if *request == asked => {
                Some(reply.clone())
            }
            _ => None,
        })
    }

    pub fn call(&mut self, call: Call) -> Reply {
        let asked = self.ask(call);
        self.answer(asked)
    }

    pub fn start(&mut self, spec: &ProgramSpec) -> Program {
        match self.call(Call::Start(spec.clone())) {
            Reply::Started(program) => program,
            other => panic!("not started: {other:?}"),
        }
    }

    pub fn program(&mut self, id: &str) -> Program {
        match self.call(Call::Programs) {
            Reply::Programs { programs } => programs.into_iter().find(|p| p.id == id).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn refused(&mut self, call: Call) -> WireError {
        match self.call(call) {
            Reply::Failed(error) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn open_with(&mut self, channel: u32, id: &str, change: impl FnOnce(&mut Open)) -> ServerMessage {
        let mut open = Open::new(id, Mode::View);
        change(&mut open);
        self.send(channel, &ClientMessage::Open(open));
        self.message(channel, "opened", |m| matches!(m, ServerMessage::Opened { .. }))
    }

    /// Opens a program at the beginning of its output.
    pub fn open(&mut self, channel: u32, id: &str) -> ServerMessage {
        let epoch = self.program(id).epoch;
        self.open_since(channel, id, Since { epoch, offset: 0, size_generation: 0 })
    }

    /// Opens where everything before the offset is had already.
    pub fn open_since(&mut self, channel: u32, id: &str, since: Since) -> ServerMessage {
        self.open_with(channel, id, |open| open.since = Some(since))
    }

    /// Takes a viewer's seat that is sent no output, and gives its number in `presence`.
    pub fn open_seat(&mut self, channel: u32, id: &str, seat: &str, change: impl FnOnce(&mut Open)) -> u64 {
        let viewer =
            ViewerSeat { name: format!("{seat}@test"), person: format!("p-{seat}"), seat: seat.into() };
        self.open_with(channel, id, |open| {
            (open.mode, open.output, open.viewer) = (Mode::Interact, false, Some(viewer));
            open.input = Some(format!("keys-{seat}"));
            change(open);
        });
        let presence = self.presence(channel, |viewers| viewers.iter().any(|v| v.you));
        presence.iter().find(|v| v.you).unwrap().id
    }

    /// The next presence told on a channel that is as wanted.
    pub fn presence(&mut self, channel: u32, wanted: impl Fn(&[Viewer]) -> bool) -> Vec<Viewer> {
        self.find("presence", |got| match got {
            Got::Message(c, ServerMessage::Presence { viewers }) if *c == channel && wanted(viewers) => {
                Some(viewers.clone())
            }
            _ => None,
        })
    }

    /// Everything the keeper has to say now: a ping is answered at once, what is settled at the end of that turn comes
    /// before the answer to the next.
    pub fn settle(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        for _ in 0..2 {
            self.send_frame(&Frame::new(FrameType::Ping, ChannelId(0), 0, &[0; 8]));
            loop {
                match self.next() {
                    Got::Other(FrameType::Pong) => break,
                    other => got.push(other),
                }
            }
        }
        got
    }

    /// Opens to type, as the sender of that name; gives how far its input was written.
    pub fn open_input(&mut self, channel: u32, id: &str, name: &str) -> u64 {
        let opened = self.open_with(channel, id, |open| {
            open.mode = Mode::Input;
            open.input = Some(name.into());
        });
        match opened {
            ServerMessage::Opened { input_offset, .. } => input_offset,
            other => panic!("{other:?}"),
        }
    }

    pub fn message(
        &mut self,
        channel: u32,
        name: &str,
        wanted: impl Fn(&ServerMessage) -> bool,
    ) -> ServerMessage {
        self.find(name, |got| match got {
            Got::Message(c, message) if *c == channel && wanted(message) => Some(message.clone()),
            _ => None,
        })
    }

    pub fn error(&mut self, channel: u32) -> ErrorCode {
        self.whole_error(channel).code
    }

    pub fn whole_error(&mut self, channel: u32) -> WireError {
        match self.message(channel, "an error", |m| matches!(m, ServerMessage::Error(_))) {
            ServerMessage::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn acked(&mut self, channel: u32, offset: u64) {
        self.find(&format!("input acknowledged to {offset}"), |got| match got {
            Got::InputAck(c, to) if *c == channel && *to >= offset => Some(()),
            _ => None,
        });
    }

    /// All output up to the exit, and the exit. Fails on a hole.
    pub fn output_to_exit(&mut self, channel: u32) -> (Vec<u8>, ExitStatus) {
        let (mut bytes, mut next) = (Vec::new(), None);
        loop {
            match self.next_of(channel) {
                Got::Output(_, offset, payload) => {
                    assert_eq!(*next.get_or_insert(offset), offset, "a hole in the output");
                    next = Some(offset + payload.len() as u64);
                    bytes.extend_from_slice(&payload);
                }
                Got::Message(_, ServerMessage::Exit(status)) => return (bytes, status),
                Got::Message(_, ServerMessage::Skipped { from, to }) => panic!("skipped {from}..{to}"),
                _ => {}
            }
        }
    }

    /// Reads output of a channel until its text contains that.
    pub fn read_until(&mut self, channel: u32, text: &str) -> String {
        let mut bytes = Vec::new();
        loop {
            match self.next_of(channel) {
                Got::Output(_, _, payload) => bytes.extend_from_slice(&payload),
                Got::Message(_, ServerMessage::Exit(status)) => {
                    panic!("it ended ({status:?}) before {text:?}: {:?}", String::from_utf8_lossy(&bytes))
                }
                _ => {}
            }
            let seen = String::from_utf8_lossy(&bytes);
            if seen.contains(text) {
                return seen.into_owned();
            }
        }
    }
}

/// A program's whole output, read by a connection of its own that opens it at the beginning.
pub fn output_of(path: &Path, program: &Program) -> (Vec<u8>, ExitStatus) {
    let mut client = Client::connect(path);
    let since = Since { epoch: program.epoch, offset: 0, size_generation: 0 };
    client.open_since(1, &program.id, since);
    client.output_to_exit(1)
}

fn read_frame(frame: &Frame<'_>) -> Got {
    let (channel, payload) = (frame.channel.0, frame.payload.to_vec());
    match frame.kind {
        FrameType::Control => Got::Message(channel, control::from_payload(frame.payload).unwrap()),
        FrameType::Output => Got::Output(channel, frame.offset, payload),
        FrameType::Snapshot => {
            Got::Snapshot(channel, frame.offset, frame.flags & (flags::FIRST | flags::LAST), payload)
        }
        FrameType::InputAck => Got::InputAck(channel, frame.offset),
        other => Got::Other(other),
    }
}
