//! A hub over a real keeper, and the means to make sessions.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lap_attach_server::hub::{self, Directory, Grant, HubConfig, HubHandle, Location, RecordingConfig};
use lap_platform::link::{Connect, ConnectError, Links};
use lap_platform::model::SessionId;
use lap_platform::sandbox::{Dialed, SandboxName};
use lap_wire::control::{
    Attention, ClientMessage, ErrorCode, ExitStatus, ServerMessage, Size, WireError, from_payload, to_payload,
};
use lap_wire::keeper::{Call, ProgramIo, ProgramSpec, Reply, SizePolicy};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, PROTOCOL};

use crate::client::{Client, Event, view};
use crate::wire::Wire;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Gives back what is typed, byte for byte.
pub(crate) const RAW_CAT: &str = "stty raw -echo; printf READY; exec cat";

/// What the hub told the rest of the server.
#[derive(Default)]
pub(crate) struct Heard {
    /// How many there are, and how many of them may type.
    pub(crate) viewers: HashMap<SessionId, (u32, u32)>,
    /// Whose programs have ended, and how.
    pub(crate) exits: Vec<(SessionId, Option<i32>)>,
    /// Whose end everybody has had.
    pub(crate) delivered: Vec<SessionId>,
    pub(crate) recording: bool,
}

/// Sessions by hand: each a program of one keeper.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(crate) locations: Arc<Mutex<HashMap<SessionId, Location>>>,
    pub(crate) heard: Mutex<Heard>,
    /// Rows say `dead` only once this is false.
    pub(crate) slow_to_die: AtomicBool,
    /// Whose attention the rest of the server panics at.
    pub(crate) faulty: Mutex<Option<SessionId>>,
}

#[async_trait]
impl Directory for Sessions {
    async fn locate(&self, session: SessionId) -> Result<Location, WireError> {
        let locations = self.locations.lock().unwrap();
        let missing = || WireError::new(ErrorCode::NotFound, format!("there is no session {session}"));
        locations.get(&session).cloned().ok_or_else(missing)
    }

    fn viewers(&self, session: SessionId, count: u32, interactive: u32) {
        self.heard.lock().unwrap().viewers.insert(session, (count, interactive));
    }

    fn attention(&self, session: SessionId, state: Attention, _: Option<String>) {
        let faulty = *self.faulty.lock().unwrap() == Some(session) && state == Attention::Bell;
        assert!(!faulty, "a fault on purpose");
    }

    fn activity(&self, _: SessionId, _: bool) {}

    fn recording(&self, _: SessionId, on: bool) {
        self.heard.lock().unwrap().recording = on;
    }

    async fn ended(&self, session: SessionId, status: &ExitStatus) {
        self.heard.lock().unwrap().exits.push((session, status.code));
        while self.slow_to_die.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    fn delivered(&self, session: SessionId) {
        self.heard.lock().unwrap().delivered.push(session);
    }
}

/// How keepers are reached: by a socket, or by one that can be cut.
struct Way {
    socket: PathBuf,
    wire: Option<Arc<Wire>>,
}

#[async_trait]
impl Connect for Way {
    async fn connect(&self, _: &SandboxName) -> Result<Dialed, ConnectError> {
        let unavailable = |error: std::io::Error| ConnectError::Unavailable(error.to_string());
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(unavailable)?;
        Ok(match &self.wire {
            Some(wire) => Dialed::Stream(Box::new(wire.stream(stream))),
            None => Dialed::Socket(stream.into_std().map_err(unavailable)?),
        })
    }
}

/// A hub and what goes with it.
pub(crate) struct Hub {
    pub(crate) hub: HubHandle,
    _links: Links,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A keeper's process, a hub, and the means to make sessions.
pub(crate) struct World {
    keeper: Child,
    socket: PathBuf,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) hub: HubHandle,
    pub(crate) wire: Arc<Wire>,
    cuttable: bool,
    pub(crate) runtime: tokio::runtime::Runtime,
    running: Option<Hub>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(false)
    }

    /// A world whose hub reaches the keeper over its [`Wire`].
    pub(crate) fn cuttable() -> World {
        World::with(true)
    }

    fn with(cuttable: bool) -> World {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("k.sock");
        let keeper = Command::new(env!("CARGO_BIN_EXE_lap-server"))
            .args(["__keeper", "run", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the keeper listens", || std::os::unix::net::UnixStream::connect(&socket).ok());
        let (sessions, wire) = (Arc::<Sessions>::default(), Arc::<Wire>::default());
        // Streams are made beside whatever a test does.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let way = Way { socket: socket.clone(), wire: cuttable.then(|| wire.clone()) };
        let running = World::start_hub(&dir, &sessions, way, &runtime);
        let hub = running.hub.clone();
        World { keeper, socket, dir, sessions, hub, wire, cuttable, runtime, running: Some(running) }
    }

    fn start_hub(
        dir: &tempfile::TempDir,
        sessions: &Arc<Sessions>,
        way: Way,
        runtime: &tokio::runtime::Runtime,
    ) -> Hub {
        let recording = RecordingConfig {
            directory: dir.path().join("recordings"),
            max_bytes: hub::DEFAULT_RECORDING_BYTES,
            total_bytes: hub::DEFAULT_RECORDINGS_BYTES,
        };
        let config = HubConfig {
            max_connections: 100,
            max_viewers: 128,
            recording: Some(recording),
            drain: Duration::from_secs(5),
        };
        let (links, unstarted) = Links::new(Arc::new(way), runtime.handle().clone());
        let (hub, thread) = hub::start(config, sessions.clone(), unstarted).unwrap();
        Hub { hub, _links: links, thread: Some(thread) }
    }

    /// Another server's hub over the same keeper, with what it tells its own sessions.
    pub(crate) fn another_hub(&self) -> (Hub, Arc<Sessions>) {
        let sessions =
            Arc::new(Sessions { locations: self.sessions.locations.clone(), ..Sessions::default() });
        let way = Way { socket: self.socket.clone(), wire: None };
        (World::start_hub(&self.dir, &sessions, way, &self.runtime), sessions)
    }

    /// Ends the hub as a stopping server does, and starts another over the same keeper.
    pub(crate) fn restart_hub(&mut self) {
        self.stop_hub();
        let way = Way { socket: self.socket.clone(), wire: self.cuttable.then(|| self.wire.clone()) };
        let running = World::start_hub(&self.dir, &self.sessions, way, &self.runtime);
        self.hub = running.hub.clone();
        self.running = Some(running);
    }

    pub(crate) fn stop_hub(&mut self) {
        if let Some(running) = self.running.take() {
            self.stop(running);
        }
    }

    pub(crate) fn stop(&self, mut hub: Hub) {
        self.runtime.block_on(async {
            hub.hub.drain().await;
            hub.hub.end().await;
        });
        if let Some(thread) = hub.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The keeper answers nothing from here on, and goes on when the world ends.
    pub(crate) fn stop_keeper(&self) {
        let id = self.keeper.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &id]).status().unwrap().success());
    }

    pub(crate) fn continue_keeper(&self) {
        let id = self.keeper.id().to_string();
        assert!(Command::new("kill").args(["-CONT", &id]).status().unwrap().success());
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
        let mut spec = ProgramSpec::new(
            id.to_string(),
            ["/bin/sh", "-c", script].map(String::from).to_vec(),
            [("PATH", "/usr/bin:/bin"), ("TERM", "xterm-256color")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            "/",
            ProgramIo::Pty { size: Size::default() },
        );
        (spec.size_policy, spec.exclusive_input) = (size_policy, exclusive_input);
        match self.call(Call::Start(spec)) {
            Reply::Started(_) => {}
            other => panic!("{other:?}"),
        }
        let sandbox = SandboxName(format!("s-{id}"));
        let location = Location { sandbox, program: id.to_string() };
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
        let mut socket = std::os::unix::net::UnixStream::connect(&self.socket).unwrap();
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
        self.connect_to(&self.hub)
    }

    pub(crate) fn connect_to(&self, hub: &HubHandle) -> Client {
        let mut client = self.connect_raw_to(hub, Grant { only_session: None, may_type: true });
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
        self.connect_raw_to(&self.hub, grant)
    }

    fn connect_raw_to(&self, hub: &HubHandle, grant: Grant) -> Client {
        let (client, server) = pair();
        let slot = hub.slot().expect("a full hub");
        self.runtime.block_on(hub.attach(server, Vec::new(), grant, slot));
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
