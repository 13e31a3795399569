//! A hub over a real keeper, and a client that speaks `lap.attach.v1` byte by byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lap_attach_server::hub::{
    self, Directory, Grant, HubConfig, HubHandle, Location, RecordingConfig, SizePolicy,
};
use lap_platform::model::SessionId;
use lap_platform::sandbox::{KeeperStream, SandboxName};
use lap_wire::control::{
    Attention, ClientMessage, ErrorCode, ExitStatus, Mode, Open, ServerMessage, Size, WireError,
    from_payload, to_payload,
};
use lap_wire::flow::Since;
use lap_wire::frame::{Frame, FrameType, flags, frames};
use lap_wire::keeper::{Call, ProgramIo, ProgramSpec, Reply};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, PROTOCOL};

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Gives back what is typed, byte for byte.
pub(crate) const RAW_CAT: &str = "stty raw -echo; printf READY; exec cat";

/// What the hub told the rest of the server.
#[derive(Default)]
pub(crate) struct Told {
    /// How many there are, and how many of them may type.
    pub(crate) viewers: HashMap<SessionId, (u32, u32)>,
    pub(crate) exits: Vec<(SessionId, Option<i32>)>,
    pub(crate) recording: bool,
}

/// Sessions by hand: each a program of one keeper.
pub(crate) struct Sessions {
    socket: PathBuf,
    pub(crate) locations: Mutex<HashMap<SessionId, Location>>,
    pub(crate) told: Mutex<Told>,
}

#[async_trait]
impl Directory for Sessions {
    async fn locate(&self, session: SessionId) -> Result<Location, WireError> {
        let locations = self.locations.lock().unwrap();
        let missing = || WireError::new(ErrorCode::NotFound, format!("there is no session {session}"));
        locations.get(&session).cloned().ok_or_else(missing)
    }

    async fn connect(&self, _: &SandboxName) -> Result<KeeperStream, WireError> {
        match tokio::net::UnixStream::connect(&self.socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(WireError::new(ErrorCode::SandboxLost, error.to_string()).retryable()),
        }
    }

    fn viewers(&self, session: SessionId, count: u32, interactive: u32) {
        self.told.lock().unwrap().viewers.insert(session, (count, interactive));
    }

    fn attention(&self, _: SessionId, _: Attention, _: Option<String>) {}

    fn activity(&self, _: SessionId, _: bool) {}

    fn recording(&self, _: SessionId, on: bool) {
        self.told.lock().unwrap().recording = on;
    }

    fn exited(&self, session: SessionId, status: &ExitStatus) {
        self.told.lock().unwrap().exits.push((session, status.code));
    }
}

/// A keeper's process, a hub, and the means to make sessions.
pub(crate) struct World {
    keeper: Child,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) hub: HubHandle,
    pub(crate) runtime: tokio::runtime::Runtime,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("k.sock");
        let keeper = Command::new(env!("CARGO_BIN_EXE_lap-server"))
            .args(["__keeper", "run", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the keeper listens", || std::os::unix::net::UnixStream::connect(&socket).ok());
        let sessions = Arc::new(Sessions { socket, locations: Mutex::default(), told: Mutex::default() });
        let (hub, thread) = World::start_hub(&dir, &sessions);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        World { keeper, dir, sessions, hub, runtime, thread: Some(thread) }
    }

    fn start_hub(
        dir: &tempfile::TempDir,
        sessions: &Arc<Sessions>,
    ) -> (HubHandle, std::thread::JoinHandle<()>) {
        let recording = RecordingConfig {
            directory: dir.path().join("recordings"),
            max_bytes: hub::DEFAULT_RECORDING_BYTES,
            total_bytes: hub::DEFAULT_RECORDINGS_BYTES,
        };
        hub::start(HubConfig { max_connections: 100, recording: Some(recording) }, sessions.clone()).unwrap()
    }

    /// Ends the hub as a stopping server does, and starts another over the same keeper.
    pub(crate) fn restart_hub(&mut self) {
        self.stop_hub();
        let (hub, thread) = World::start_hub(&self.dir, &self.sessions);
        (self.hub, self.thread) = (hub, Some(thread));
    }

    pub(crate) fn stop_hub(&mut self) {
        self.runtime.block_on(self.hub.drain());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The keeper answers nothing from here on, and goes on when the world ends.
    pub(crate) fn stop_keeper(&self) {
        let id = self.keeper.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &id]).status().unwrap().success());
    }

    pub(crate) fn kill_keeper(&mut self) {
        self.keeper.kill().unwrap();
        self.keeper.wait().unwrap();
    }

    /// A session whose program is this shell script, on an 80×24 terminal.
    pub(crate) fn session(&self, script: &str) -> SessionId {
        self.session_with(script, SizePolicy::Latest, false)
    }

    pub(crate) fn session_with(
        &self,
        script: &str,
        size_policy: SizePolicy,
        exclusive_input: bool,
    ) -> SessionId {
        let id = SessionId::new();
        let spec = ProgramSpec::new(
            id.to_string(),
            ["/bin/sh", "-c", script].map(String::from).to_vec(),
            [("PATH", "/usr/bin:/bin"), ("TERM", "xterm-256color")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            "/",
            ProgramIo::Pty { size: Size::default() },
        );
        match self.call(Call::Start(spec)) {
            Reply::Started(_) => {}
            other => panic!("{other:?}"),
        }
        let sandbox = SandboxName(format!("s-{id}"));
        let location = Location { sandbox, program: id.to_string(), size_policy, exclusive_input };
        self.sessions.locations.lock().unwrap().insert(id, location);
        if script == RAW_CAT {
            self.settle(id);
        }
        id
    }

    /// Waits until the terminal no longer echoes by itself.
    fn settle(&self, session: SessionId) {
        let mut client = self.connect();
        client.open(1, view(session));
        client.until_text(1, "READY");
        client.control(1, &ClientMessage::Close);
    }

    /// A call to the keeper on a connection of its own.
    pub(crate) fn call(&self, call: Call) -> Reply {
        let mut socket = std::os::unix::net::UnixStream::connect(&self.sessions.socket).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.to_owned()],
            name: "test".to_owned(),
            heartbeat_ms: None,
            grant: None,
        };
        for message in [hello, ClientMessage::Call { request: 1, call }] {
            let payload = to_payload(&message).unwrap();
            let mut bytes = Vec::new();
            stream::encode(&lap_wire::control::frame(ChannelId(0), 0, &payload), &mut bytes);
            socket.write_all(&bytes).unwrap();
        }
        let mut decoder = StreamDecoder::new();
        let mut buffer = [0; 4096];
        loop {
            let n = socket.read(&mut buffer).unwrap();
            decoder.push(&buffer[..n]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                if let Ok(ServerMessage::Reply { reply, .. }) = from_payload(frame.payload) {
                    return reply;
                }
            }
        }
    }

    pub(crate) fn connect(&self) -> Client {
        let mut client = self.connect_raw(Grant { only_session: None, may_type: true });
        client.control(
            0,
            &ClientMessage::Hello {
                versions: vec![PROTOCOL.to_owned()],
                name: "test".to_owned(),
                heartbeat_ms: None,
                grant: None,
            },
        );
        client.until("welcome", |e| {
            matches!(e, Event::Control(0, ServerMessage::Welcome { .. })).then_some(())
        });
        client
    }

    /// A socket at the hub that has said nothing yet.
    pub(crate) fn connect_raw(&self, grant: Grant) -> Client {
        let (client, server) = pair();
        let slot = self.hub.slot().expect("a full hub");
        self.runtime.block_on(self.hub.attach(server, Vec::new(), grant, slot));
        Client::new(client)
    }

    pub(crate) fn connect_tty(&self, session: SessionId, may_type: bool) -> Client {
        let (client, server) = pair();
        let slot = self.hub.slot().expect("a full hub");
        let grant = Grant { only_session: Some(session), may_type };
        self.runtime.block_on(self.hub.tty(session, server, Vec::new(), grant, slot));
        Client::new(client)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_hub();
        // Ends its programs as well; it may be gone already, or be stopped.
        for signal in ["-TERM", "-CONT"] {
            let _ = Command::new("kill").arg(signal).arg(self.keeper.id().to_string()).status();
        }
        let _ = self.keeper.wait();
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

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
}

impl Client {
    fn new(socket: TcpStream) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client {
            socket,
            buffer: Vec::new(),
            events: Vec::new(),
            pieces: HashMap::new(),
            acks: true,
            raw: false,
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
            n => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
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
        loop {
            if !self.events.is_empty() {
                return self.events.remove(0);
            }
            if let Some((opcode, payload)) = self.take_message() {
                self.message(opcode, &payload);
                continue;
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Event::Close(1006),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Event::Close(1006);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing came: {error}"),
            }
        }
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
            8 => self.events.push(Event::Close(u16::from_be_bytes([payload[0], payload[1]]))),
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
