//! The attach hub: every viewer of every terminal, on one thread of its own.
//!
//! The thread runs a single-threaded runtime, so nothing here is locked, nothing is sent between threads, and REST
//! requests cannot slow a terminal down. A keystroke goes from the viewer's socket to the keeper's, and its echo from
//! the keeper's to the viewer's, each within one wake-up: read, look up, write, without a queue or a task in between.
//! Only a socket that is busy makes bytes wait, and then they wait in the terminal's ring, where a snapshot can take
//! their place.
//!
//! - `connection`: a client's WebSocket; `protocol` what it may say, `tty` the simple form of it.
//! - `terminal`: who looks at a terminal, and how its bytes reach them; `upstream`: the way to its keeper.
//! - `outlet`, `ws`, `bell`: bytes on a socket, and waking its task. `scheduler`, `pacing`: in which order, and how many at once.
//! - `size`: whose size counts. `recorder`: everything on disk.
//! - `metrics`: what is counted. `directory`: the rest of the server, as seen from here.

mod bell;
mod connection;
mod directory;
#[cfg(test)]
mod documented;
mod metrics;
mod outlet;
mod pacing;
mod protocol;
mod recorder;
mod scheduler;
#[cfg(test)]
mod simulated;
mod size;
mod terminal;
mod tty;
mod upstream;
mod ws;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lap_platform::model::SessionId;
use lap_platform::unix_socket;
use lap_wire::Epoch;
use lap_wire::close::CloseCode;
use lap_wire::control::{ErrorCode, ServerMessage, WireError};
use lap_wire::flow::Since;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use connection::{Connection, Kind};
pub use directory::{Directory, Location};
pub use metrics::{Census, HubMetrics};
use outlet::Io;
use recorder::Recordings;
pub use recorder::{
    DEFAULT_MAX_BYTES as DEFAULT_RECORDING_BYTES, DEFAULT_TOTAL_BYTES as DEFAULT_RECORDINGS_BYTES,
    RecordingConfig,
};
pub use size::SizePolicy;
use terminal::Terminal;
use upstream::Upstream;

/// Requests to the hub's thread that may wait.
const COMMANDS: usize = 256;
/// What a client is told to wait before it comes back to a server that restarts.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);
/// How long a keeper that cannot be reached is tried again, and at which intervals.
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
const RECONNECT_LAST: Duration = Duration::from_secs(5);
const RECONNECT_FOR: Duration = Duration::from_secs(120);
/// What viewers are told whose session runs in another sandbox by now.
const RESTARTED: &str = "the session was restarted";
/// How long draining may take; each connection's own goodbye is bounded below this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How the hub is to run.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Connections at the same time.
    pub max_connections: usize,
    /// `None`: nothing is recorded.
    pub recording: Option<RecordingConfig>,
}

/// What a connection may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The only session it may look at.
    pub only_session: Option<SessionId>,
    /// Whether it may type.
    pub may_type: bool,
}

/// A client's socket, of no runtime.
#[derive(Debug)]
pub enum ClientSocket {
    /// From anywhere.
    Tcp(std::net::TcpStream),
    /// From this machine.
    Unix(std::os::unix::net::UnixStream),
}

impl From<std::net::TcpStream> for ClientSocket {
    fn from(socket: std::net::TcpStream) -> ClientSocket {
        ClientSocket::Tcp(socket)
    }
}

impl ClientSocket {
    /// Into the runtime of this thread.
    fn into_io(self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            ClientSocket::Tcp(socket) => {
                // A keystroke's echo must not wait for more bytes to share a packet with.
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Box::new(tokio::net::TcpStream::from_std(socket)?)
            }
            ClientSocket::Unix(socket) => Box::new(unix_socket::Socket::new(socket)?),
        })
    }
}

/// The hub, for the rest of the server.
#[derive(Clone)]
pub struct HubHandle {
    commands: mpsc::Sender<Command>,
    slots: Arc<Semaphore>,
    recording: Option<RecordingConfig>,
    metrics: HubMetrics,
}

/// The right to one connection; taken before the upgrade, so that a full server can say so in HTTP.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _beside: Option<Box<dyn Any + Send>>,
}

impl Slot {
    /// Keeps something else as long as the connection lasts: what it counts against elsewhere.
    #[must_use]
    pub fn beside(self, other: impl Any + Send) -> Slot {
        Slot { _beside: Some(Box::new(other)), ..self }
    }
}

enum Command {
    Connect { socket: ClientSocket, leftover: Vec<u8>, kind: Kind, grant: Grant, slot: Slot },
    Record { session: SessionId },
    Forget { session: SessionId, done: oneshot::Sender<io::Result<()>> },
    Census { answer: oneshot::Sender<Census> },
    Drain { done: oneshot::Sender<()> },
}

/// Starts the hub's thread. It ends after [`HubHandle::drain`], or when every handle is gone.
pub fn start(config: HubConfig, directory: Arc<dyn Directory>) -> io::Result<(HubHandle, JoinHandle<()>)> {
    let (commands, waiting) = mpsc::channel(COMMANDS);
    let handle = HubHandle {
        commands,
        slots: Arc::new(Semaphore::new(config.max_connections)),
        recording: config.recording.clone(),
        metrics: HubMetrics::default(),
    };
    let metrics = handle.metrics.clone();
    let recordings = config.recording.map(|config| Recordings::start(config, metrics.clone())).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("lap-hub".to_owned()).spawn(move || {
        let (recordings, writer) = recordings.unzip();
        let hub = Hub::new(directory, recordings, metrics);
        LocalSet::new().block_on(&runtime, hub.clone().run(waiting));
        drop((hub, runtime));
        // Its queue ends with the hub; what is in it is still written.
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the recorder's thread panicked");
        }
    })?;
    Ok((handle, thread))
}

impl HubHandle {
    /// Room for one more connection, if there is.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.slots.clone().try_acquire_owned().ok().map(|permit| Slot { _permit: permit, _beside: None })
    }

    /// Takes over an upgraded socket that speaks `lap.attach.v1`. `leftover` was read from it already.
    pub async fn attach(&self, socket: impl Into<ClientSocket>, leftover: Vec<u8>, grant: Grant, slot: Slot) {
        let socket = socket.into();
        self.command(Command::Connect { socket, leftover, kind: Kind::Attach, grant, slot }).await;
    }

    /// Takes over an upgraded socket that speaks plain terminal bytes of one session.
    pub async fn tty(
        &self,
        session: SessionId,
        socket: impl Into<ClientSocket>,
        leftover: Vec<u8>,
        grant: Grant,
        slot: Slot,
    ) {
        let socket = socket.into();
        self.command(Command::Connect { socket, leftover, kind: Kind::Tty(session), grant, slot }).await;
    }

    /// Records a session's terminal from here on, until it ends.
    pub async fn record(&self, session: SessionId) {
        if self.recording.is_some() {
            self.command(Command::Record { session }).await;
        }
    }

    /// A session's recording; an error of kind `NotFound` if there is none.
    pub fn recording(&self, session: SessionId) -> io::Result<Vec<u8>> {
        match &self.recording {
            Some(recording) => recording.read(session),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes a session's recording, for good: the session is erased. Its terminal must have ended. Asked again it
    /// does nothing.
    ///
    /// # Errors
    /// It could not be removed now; ask again later.
    pub async fn forget_recording(&self, session: SessionId) -> io::Result<()> {
        let Some(recording) = &self.recording else { return Ok(()) };
        let (done, answered) = oneshot::channel();
        self.command(Command::Forget { session, done }).await;
        match answered.await {
            Ok(removed) => removed,
            // The hub has ended, and with it all writing.
            Err(_) => recording.remove(session),
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> &HubMetrics {
        &self.metrics
    }

    /// What is there now; nothing once it has ended.
    pub async fn census(&self) -> Census {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Census { answer }).await;
        answered.await.unwrap_or_default()
    }

    /// Tells every client to reconnect, closes their connections and ends the hub. Terminals go on in their sandboxes.
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        self.command(Command::Drain { done }).await;
        // An error means that the hub has ended already.
        let _ = drained.await;
    }

    async fn command(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!("a request came after the hub had ended");
        }
    }
}

/// The way to open a session's terminal, which one takes at a time. Who leaves it last takes it away, be it because
/// there is no such session or because the client has gone.
struct Gate<'a> {
    hub: &'a Hub,
    session: SessionId,
    lock: Rc<tokio::sync::Mutex<()>>,
}

impl Gate<'_> {
    fn of(hub: &Hub, session: SessionId) -> Gate<'_> {
        let lock = hub.gates.borrow_mut().entry(session).or_default().clone();
        Gate { hub, session, lock }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // The map's and this one.
        if Rc::strong_count(&self.lock) == 2 {
            self.hub.gates.borrow_mut().remove(&self.session);
        }
    }
}

/// The hub itself; lives on its thread.
pub(crate) struct Hub {
    pub(crate) directory: Arc<dyn Directory>,
    instance: Epoch,
    recordings: Option<Recordings>,
    metrics: HubMetrics,
    terminals: RefCell<HashMap<SessionId, Rc<Terminal>>>,
    /// One opening of a session's terminal at a time.
    gates: RefCell<HashMap<SessionId, Rc<tokio::sync::Mutex<()>>>>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    tasks: RefCell<JoinSet<()>>,
    ids: Cell<u64>,
    disconnected: Notify,
    /// When somebody last typed, into any terminal.
    typed: Cell<Option<tokio::time::Instant>>,
    draining: Cell<bool>,
}

impl Hub {
    fn new(directory: Arc<dyn Directory>, recordings: Option<Recordings>, metrics: HubMetrics) -> Rc<Hub> {
        let mut instance = [0; 8];
        if getrandom::fill(&mut instance).is_err() {
            tracing::warn!("no random bytes: clients cannot tell this server from its predecessor");
        }
        Rc::new(Hub {
            directory,
            instance: Epoch(u64::from_le_bytes(instance)),
            recordings,
            metrics,
            terminals: RefCell::default(),
            gates: RefCell::default(),
            connections: RefCell::default(),
            tasks: RefCell::default(),
            ids: Cell::new(1),
            disconnected: Notify::new(),
            typed: Cell::new(None),
            draining: Cell::new(false),
        })
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Connect { socket, leftover, kind, grant, slot } => {
                    if let Err(error) = self.connect(socket, leftover, kind, grant, slot) {
                        tracing::warn!(%error, "a connection could not be taken over");
                    }
                }
                Command::Record { session } => {
                    let hub = self.clone();
                    self.spawn(async move { hub.record(session).await });
                }
                Command::Forget { session, done } => match &self.recordings {
                    Some(recordings) => recordings.forget(session, done),
                    // Whoever asked may have gone away.
                    None => drop(done.send(Ok(()))),
                },
                Command::Census { answer } => {
                    // Whoever asked may have gone away.
                    let _ = answer.send(self.census());
                }
                Command::Drain { done } => {
                    self.drain().await;
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.drain().await;
    }

    fn census(&self) -> Census {
        let mut census = Census::default();
        for connection in self.connections.borrow().values() {
            match connection.kind {
                Kind::Attach => census.attach_connections += 1,
                Kind::Tty(_) => census.tty_connections += 1,
            }
        }
        for terminal in self.terminals.borrow().values() {
            terminal.count(&mut census);
        }
        census
    }

    /// Runs a task that ends with the hub.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }

    fn next_id(&self) -> u64 {
        self.ids.replace(self.ids.get() + 1)
    }

    fn connect(
        self: &Rc<Self>,
        socket: ClientSocket,
        leftover: Vec<u8>,
        kind: Kind,
        grant: Grant,
        slot: Slot,
    ) -> io::Result<()> {
        let io = socket.into_io()?;
        let id = self.next_id();
        let connection = Connection::new(id, kind, grant, Rc::downgrade(self), io);
        self.connections.borrow_mut().insert(id, connection.clone());
        if let Kind::Tty(_) = kind {
            tty::begin(&connection);
        }
        let hub = self.clone();
        self.spawn(async move {
            let _slot = slot;
            connection.run(leftover).await;
            hub.connections.borrow_mut().remove(&id);
            hub.disconnected.notify_one();
        });
        Ok(())
    }

    async fn drain(&self) {
        self.draining.set(true);
        let connections: Vec<_> = self.connections.borrow().values().cloned().collect();
        for connection in connections {
            let goaway = ServerMessage::Goaway {
                reason: "the server is restarting or stopping".to_owned(),
                reconnect_after_ms: RECONNECT_AFTER.as_millis() as u64,
            };
            connection.event(0, 0, &goaway);
            connection.close(CloseCode::Restart.code(), "server going away, reconnect");
        }
        let closed = async {
            while !self.connections.borrow().is_empty() {
                self.disconnected.notified().await;
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, closed).await.is_err() {
            tracing::warn!("some clients did not take their last bytes");
        }
    }

    /// A session's terminal, its upstream open. `since`: where the first viewer was, so that the upstream begins there.
    async fn terminal(
        self: &Rc<Self>,
        session: SessionId,
        since: Option<Since>,
    ) -> Result<Rc<Terminal>, WireError> {
        let gate = Gate::of(self, session);
        let _one_at_a_time = gate.lock.lock().await;
        let known = self.terminals.borrow().get(&session).cloned();
        if let Some(terminal) = known.as_ref().filter(|terminal| terminal.upstream().is_some()) {
            return Ok(terminal.clone());
        }
        let location = self.directory.locate(session).await?;
        if let Some(terminal) = known {
            if terminal.is_at(&location) {
                let error = WireError::new(ErrorCode::SandboxLost, "the sandbox cannot be reached now");
                return Err(error.retryable().with_hint("it is being tried again; so may you"));
            }
            self.end(&terminal, RESTARTED);
        }
        let terminal = Terminal::new(session, Rc::downgrade(self), location, self.metrics.clone());
        self.open(&terminal, since).await?;
        self.terminals.borrow_mut().insert(session, terminal.clone());
        Ok(terminal)
    }

    /// Connects a terminal to its keeper.
    async fn open(self: &Rc<Self>, terminal: &Rc<Terminal>, since: Option<Since>) -> Result<(), WireError> {
        let sandbox = terminal.location().sandbox;
        let io = self.directory.connect(&sandbox).await?;
        let upstream = Upstream::new(sandbox, Box::new(io));
        self.spawn(upstream.clone().run());
        let opened = upstream.open_terminal(terminal, terminal.upstream_open(since)).await;
        if opened.is_err() {
            upstream.shut();
        }
        opened.map(|_| ())
    }

    /// Lets go of a terminal that nobody needs.
    fn release(&self, session: SessionId) {
        let mut terminals = self.terminals.borrow_mut();
        if terminals.get(&session).is_some_and(|t| t.is_unused()) {
            let terminal = terminals.remove(&session);
            drop(terminals);
            if let Some(upstream) = terminal.and_then(|t| {
                let upstream = t.upstream();
                t.end("");
                upstream
            }) {
                upstream.shut();
            }
        }
    }

    /// A terminal's keeper went away: it is found again, or the terminal has ended.
    fn reconnect(self: &Rc<Self>, terminal: Rc<Terminal>) {
        let session = terminal.session;
        let current = self.terminals.borrow().get(&session).is_some_and(|t| Rc::ptr_eq(t, &terminal));
        if !current || self.draining.get() {
            return;
        }
        let hub = self.clone();
        self.spawn(async move {
            if let Some(reason) = hub.find_again(&terminal).await {
                hub.end(&terminal, &reason);
            }
        });
    }

    /// A terminal is no more; what its session may have next is another.
    fn end(&self, terminal: &Rc<Terminal>, reason: &str) {
        terminal.end(reason);
        let mut terminals = self.terminals.borrow_mut();
        if terminals.get(&terminal.session).is_some_and(|known| Rc::ptr_eq(known, terminal)) {
            terminals.remove(&terminal.session);
        }
    }

    /// Tries to reach a terminal's keeper again; gives the reason if that is over.
    async fn find_again(self: &Rc<Self>, terminal: &Rc<Terminal>) -> Option<String> {
        let until = tokio::time::Instant::now() + RECONNECT_FOR;
        let mut pause = RECONNECT_FIRST;
        loop {
            if terminal.is_unused() {
                return Some(String::new());
            }
            let failed = match self.directory.locate(terminal.session).await {
                Err(error) if !error.retryable => return Some(error.message),
                Err(error) => error,
                Ok(location) if !terminal.is_at(&location) => return Some(RESTARTED.to_owned()),
                Ok(_) => match self.open(terminal, Some(terminal.position())).await {
                    Ok(()) => {
                        self.metrics.reconnects.add(1);
                        terminal.reopen_inputs().await;
                        return None;
                    }
                    Err(error) => error,
                },
            };
            if tokio::time::Instant::now() >= until {
                return Some(failed.message);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_LAST);
        }
    }

    async fn record(self: &Rc<Self>, session: SessionId) {
        let Some(recordings) = self.recordings.clone() else { return };
        let config = recordings.config();
        let position = tokio::task::spawn_blocking(move || config.position(session)).await.ok().flatten();
        match self.terminal(session, position).await {
            Ok(terminal) if !terminal.is_recorded() => {
                let _pin = terminal.pin();
                terminal.record(recordings.recorder(session, position));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%session, error = error.message, "a terminal is not recorded"),
        }
    }
}
