//! The attach hub: every viewer of every terminal, on one thread of its own.
//!
//! The thread runs a single-threaded runtime, so nothing here is locked, nothing is sent between threads, and REST
//! requests cannot slow a terminal down. A keystroke goes from the viewer's socket to the keeper's, and its echo from
//! the keeper's to the viewer's, each within one wake-up: read, look up, write, without a queue or a task in between.
//! Only a socket that is busy makes bytes wait, and then they wait in the terminal's ring, where a snapshot can take
//! their place.
//!
//! Arrows point one way: this file makes connections, a connection calls terminals, and a terminal knows a client's
//! socket and a keeper's channel only as something to write to.
//!
//! - `core`: a terminal and its viewers as plain data, without IO. `terminals`: the same with what it wants done.
//! - `connection`: a client's WebSocket, read; `protocol` what it may say, `tty` the simple form of it.
//! - `client_writer`, `outlet`, `ws`, `bell`: bytes on a client's socket, and waking its task. `scheduler`, `pacing`: in
//!   which order, and how many at once.
//! - `recorder`: everything on disk. `metrics`: what is counted. `directory`: the rest of the server, as seen from here.
//!
//! The links to keepers (`lap_platform::link`) are driven by this thread, for the rest of the server too.

mod bell;
mod client_writer;
mod connection;
mod core;
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
mod terminals;
mod tty;
mod ws;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use lap_platform::link::{LocalLinks, UnstartedLinks};
use lap_platform::model::SessionId;
use lap_platform::unix_socket;
use lap_wire::Epoch;
use lap_wire::close::CloseCode;
use lap_wire::control::{ErrorCode, ServerMessage, WireError};
use lap_wire::flow::Since;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use client_writer::{ClientWriter, Speaks};
use connection::Connection;
use core::{Client as _, RESTARTED, Shared, Terminal, ViewerId};
pub use directory::{Directory, Location};
pub use metrics::{Census, HubMetrics};
use outlet::Io;
use recorder::Recordings;
pub use recorder::{
    DEFAULT_MAX_BYTES as DEFAULT_RECORDING_BYTES, DEFAULT_TOTAL_BYTES as DEFAULT_RECORDINGS_BYTES,
    RecordingConfig,
};
use terminals::TerminalHandle;

/// Requests to the hub's thread that may wait.
const COMMANDS: usize = 256;
/// What a client is told to wait before it comes back to a server that restarts.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// How the hub is to run.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Connections at the same time.
    pub max_connections: usize,
    /// Viewers of one terminal at the same time, at this server.
    pub max_viewers: usize,
    /// `None`: nothing is recorded.
    pub recording: Option<RecordingConfig>,
    /// How long clients may take their last bytes when the server stops.
    pub drain: Duration,
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

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `lap.attach.v1`.
    Attach,
    /// Plain terminal bytes of one session.
    Tty(SessionId),
}

enum Command {
    Connect { socket: ClientSocket, leftover: Vec<u8>, kind: Kind, grant: Grant, slot: Slot },
    Record { session: SessionId },
    Forget { session: SessionId, done: oneshot::Sender<io::Result<()>> },
    Census { answer: oneshot::Sender<Census> },
    Drain { done: oneshot::Sender<()> },
    End,
}

/// Starts the hub's thread, which drives the links to keepers as well. It ends after [`HubHandle::end`], or when every
/// handle is gone.
pub fn start(
    config: HubConfig,
    directory: Arc<dyn Directory>,
    links: UnstartedLinks,
) -> io::Result<(HubHandle, JoinHandle<()>)> {
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
        LocalSet::new().block_on(&runtime, async move {
            let (links, running) = links.start();
            let shared = Shared { metrics, typed: Cell::new(None), max_viewers: config.max_viewers };
            let hub = Hub::new(directory, links, recordings, shared, config.drain);
            let driven = tokio::task::spawn_local(running);
            hub.run(waiting).await;
            // What sessions do at their keepers ends with the links.
            driven.abort();
        });
        drop(runtime);
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

    /// Tells every client to reconnect, and closes their connections. Terminals go on in their sandboxes, and the links
    /// to their keepers until [`HubHandle::end`].
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        self.command(Command::Drain { done }).await;
        // An error means that the hub has ended already.
        let _ = drained.await;
    }

    /// Ends the hub's thread, with what is still on it.
    pub async fn end(&self) {
        self.command(Command::End).await;
    }

    async fn command(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!("a request came after the hub had ended");
        }
    }
}

/// The hub itself; lives on its thread.
pub(crate) struct Hub {
    directory: Arc<dyn Directory>,
    links: LocalLinks,
    /// Changes with each start of the server.
    instance: Epoch,
    recordings: Option<Recordings>,
    shared: Rc<Shared>,
    terminals: RefCell<HashMap<SessionId, Rc<TerminalHandle>>>,
    connections: RefCell<HashMap<u64, Rc<ClientWriter>>>,
    drain: Duration,
    tasks: RefCell<JoinSet<()>>,
    ids: Cell<u64>,
    disconnected: Notify,
}

/// A connection that is counted; dropping it takes it off, however its task ends.
struct Connected {
    hub: Rc<Hub>,
    id: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.hub.connections.borrow_mut().remove(&self.id);
        self.hub.disconnected.notify_one();
    }
}

impl Hub {
    fn new(
        directory: Arc<dyn Directory>,
        links: LocalLinks,
        recordings: Option<Recordings>,
        shared: Shared,
        drain: Duration,
    ) -> Rc<Hub> {
        let mut instance = [0; 8];
        if getrandom::fill(&mut instance).is_err() {
            tracing::warn!("no random bytes: clients cannot tell this server from its predecessor");
        }
        Rc::new(Hub {
            directory,
            links,
            instance: Epoch(u64::from_le_bytes(instance)),
            recordings,
            shared: Rc::new(shared),
            terminals: RefCell::default(),
            connections: RefCell::default(),
            drain,
            tasks: RefCell::default(),
            ids: Cell::new(1),
            disconnected: Notify::new(),
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
                }
                Command::End => break,
            }
        }
        self.drain().await;
        // Tasks and terminals hold the hub.
        let tasks = self.tasks.take();
        drop(tasks);
        let terminals = self.terminals.take();
        drop(terminals);
    }

    fn census(&self) -> Census {
        let mut census = Census::default();
        for writer in self.connections.borrow().values() {
            match writer.speaks {
                Speaks::Attach => census.attach_connections += 1,
                Speaks::Tty => census.tty_connections += 1,
            }
        }
        for terminal in self.terminals.borrow().values() {
            terminal.count(&mut census);
        }
        census
    }

    /// Runs a task that ends with the hub. One that panics is logged, and what it held is given back.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a task of the hub's panicked");
            }
        });
    }

    fn next_id(&self) -> u64 {
        self.ids.replace(self.ids.get() + 1)
    }

    /// A number no viewer had before.
    fn next_viewer(&self) -> ViewerId {
        ViewerId(self.next_id())
    }

    /// Who a connection's viewers are, to keepers: the same for all of them, and another for every other connection.
    fn person(&self, connection: u64) -> String {
        format!("{:016x}-{connection}", self.instance.0)
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
        let speaks = match kind {
            Kind::Attach => Speaks::Attach,
            Kind::Tty(_) => Speaks::Tty,
        };
        let writer = Rc::new(ClientWriter::new(id, speaks, io));
        self.connections.borrow_mut().insert(id, writer.clone());
        let connected = Connected { hub: self.clone(), id };
        self.spawn(async move {
            let mut connection = Connection::new(writer, grant, connected.hub.clone());
            if let Kind::Tty(session) = kind {
                tty::begin(&mut connection, session);
            }
            connection.run(leftover).await;
            drop((connected, slot));
        });
        Ok(())
    }

    async fn drain(&self) {
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
        if tokio::time::timeout(self.drain, closed).await.is_err() {
            tracing::warn!("some clients did not take their last bytes");
        }
    }

    /// A session's terminal at that place. `since`: where whoever comes first was, so that its output begins there.
    fn terminal(
        self: &Rc<Self>,
        session: SessionId,
        location: Location,
        since: Option<Since>,
    ) -> Rc<TerminalHandle> {
        let known = self.terminals.borrow().get(&session).cloned();
        if let Some(known) = known {
            if known.is_at(&location) {
                return known;
            }
            known.end(WireError::new(ErrorCode::SandboxLost, RESTARTED).retryable());
        }
        let core = Terminal::new(self.shared.clone(), location.program.clone(), since);
        let link = self.links.link(&location.sandbox);
        let terminal = TerminalHandle::new(session, Rc::downgrade(self), location, link, core);
        self.terminals.borrow_mut().insert(session, terminal.clone());
        terminal
    }

    /// Lets go of a terminal that nobody needs, or that has ended.
    fn release(&self, terminal: &Rc<TerminalHandle>) {
        if terminal.is_released() {
            return;
        }
        terminal.set_released();
        let mut terminals = self.terminals.borrow_mut();
        if terminals.get(&terminal.session).is_some_and(|known| Rc::ptr_eq(known, terminal)) {
            terminals.remove(&terminal.session);
        }
    }

    async fn record(self: &Rc<Self>, session: SessionId) {
        let Some(recordings) = self.recordings.clone() else { return };
        let config = recordings.config();
        let position = tokio::task::spawn_blocking(move || config.position(session)).await.ok().flatten();
        match self.directory.locate(session).await {
            Ok(location) => {
                self.terminal(session, location, position).record(|| recordings.recorder(session, position));
            }
            Err(error) => tracing::warn!(%session, error = error.message, "a terminal is not recorded"),
        }
    }
}
