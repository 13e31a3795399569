//! The socket around [`Core`].

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};
use lap_wire::close::CloseCode;
use lap_wire::control::{ErrorCode, WireError};
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connect::{Socket, connect};
use super::{Command, CommandError, Core, Endpoint, Event, Lost};

/// Finds the server anew before each attempt to connect: after a restart it may be at another port, and one that died
/// may have to be started first. The error is a sentence; it is tried again.
pub type Locate = Box<dyn FnMut() -> BoxFuture<'static, Result<Endpoint, String>> + Send>;

/// A timer is set anew for a later deadline only if that is later by this much: not for each message.
const SLACK: Duration = Duration::from_secs(1);

/// A socket, and whether its other end is on this machine.
type Connecting = BoxFuture<'static, Result<(Socket, bool), Lost>>;

/// A connection that mends itself, driven by whoever awaits [`AttachClient::next`].
pub struct AttachClient {
    core: Core,
    locate: Locate,
    connecting: Option<Connecting>,
    socket: Option<Socket>,
    unflushed: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl AttachClient {
    /// A client of the server that `locate` finds; nothing happens before the first [`AttachClient::next`].
    /// `name` is what other viewers of a terminal see.
    #[must_use]
    pub fn new(name: impl Into<String>, locate: Locate) -> AttachClient {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        AttachClient {
            core: Core::new(name, seed, Instant::now()),
            locate,
            connecting: None,
            socket: None,
            unflushed: false,
            sleep: None,
        }
    }

    /// The same for a server that stays where it is.
    #[must_use]
    pub fn to(name: impl Into<String>, endpoint: Endpoint) -> AttachClient {
        AttachClient::new(name, Box::new(move || Box::pin(std::future::ready(Ok(endpoint.clone())))))
    }

    /// Does what the caller wants. What it makes to be sent goes out with the next [`AttachClient::next`], which
    /// therefore should follow at once.
    ///
    /// # Errors
    /// The command makes no sense now; nothing has changed.
    pub fn command(&mut self, command: Command) -> Result<(), CommandError> {
        self.core.command(command, Instant::now())
    }

    /// Ends the wait for the next attempt to connect.
    pub fn retry_now(&mut self) {
        self.core.retry_now(Instant::now());
    }

    /// The next event. Sends, receives, reconnects and keeps the connection alive only while awaited. Can be dropped
    /// at any point without losing anything.
    pub async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Sends what there is to send now, as far as the socket takes it, without waiting: for a caller that has just
    /// typed and does something else before the next [`AttachClient::next`].
    pub fn send_now(&mut self) {
        self.send(&mut Context::from_waker(Waker::noop()));
    }

    /// An event that is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// [`AttachClient::next`] for hand-written loops.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if self.core.tick(Instant::now()) {
                self.connect();
            }
            // After the tick, whose acknowledgements would else wait for whatever happens next.
            self.send(cx);
            if let Some(event) = self.core.poll_event() {
                return Poll::Ready(event);
            }
            let moved = self.progress(cx);
            if !self.core.is_connected() {
                self.socket = None;
            }
            if !self.core.is_connecting() {
                self.connecting = None;
            }
            if !moved && !self.core.has_events() && self.sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn connect(&mut self) {
        let located = (self.locate)();
        self.connecting = Some(Box::pin(async move {
            let endpoint = located.await.map_err(Lost::Failed)?;
            let same_machine = endpoint.same_machine;
            connect(endpoint).await.map(|socket| (socket, same_machine))
        }));
    }

    /// Moves connecting or reading on by one step; false where both must wait.
    fn progress(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(connecting) = &mut self.connecting {
            let Poll::Ready(made) = connecting.as_mut().poll(cx) else { return false };
            self.connecting = None;
            match made {
                Ok((socket, same_machine)) => {
                    self.socket = Some(socket);
                    self.core.connected(same_machine, Instant::now());
                }
                Err(why) => self.core.lost(why, Instant::now()),
            }
            return true;
        }
        let Some(socket) = &mut self.socket else { return false };
        let Poll::Ready(message) = Pin::new(socket).poll_next(cx) else { return false };
        let now = Instant::now();
        match message {
            Some(Ok(Message::Binary(bytes))) => self.core.received(&bytes, now),
            Some(Ok(Message::Close(frame))) => self.core.lost(closed(frame), now),
            // Pings are answered by the library; text means nothing here.
            Some(Ok(_)) => self.unflushed = true,
            Some(Err(error)) => self.core.lost(judge(&error), now),
            None => self.core.lost(Lost::Failed("the connection was lost".into()), now),
        }
        true
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        let Some(socket) = &mut self.socket else { return };
        if let Err(error) = drain(&mut self.core, socket, &mut self.unflushed, cx) {
            self.core.lost(judge(&error), Instant::now());
            self.socket = None;
        }
    }

    /// Waits for the core's deadline. A timer that is a little early only costs one more round; setting it for each
    /// message would cost something each time.
    fn sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.core.deadline() else { return Poll::Pending };
        let deadline = tokio::time::Instant::from_std(deadline);
        // A new one rather than a reset: tokio leaves a timer that is moved back where it was, and wakes for nothing.
        let late = |sleep: &Sleep| deadline > sleep.deadline() + SLACK;
        if self.sleep.as_ref().is_some_and(|sleep| late(sleep)) {
            self.sleep = None;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}

/// Hands everything there is to the socket, as far as it takes it.
fn drain(
    core: &mut Core,
    socket: &mut Socket,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Result<(), Error> {
    let mut socket = Pin::new(socket);
    while core.has_unsent() {
        if socket.as_mut().poll_ready(cx)?.is_pending() {
            return Ok(());
        }
        if let Some(message) = core.poll_send() {
            socket.as_mut().start_send(Message::Binary(message.into()))?;
            *unflushed = true;
        }
    }
    if *unflushed && socket.poll_flush(cx)?.is_ready() {
        *unflushed = false;
    }
    Ok(())
}

/// What a closing handshake says about trying again.
fn closed(frame: Option<CloseFrame>) -> Lost {
    let Some(frame) = frame else { return Lost::Failed("the server closed the connection".into()) };
    let reason = if frame.reason.is_empty() {
        "the server closed the connection".into()
    } else {
        frame.reason.to_string()
    };
    let code = match CloseCode::from_code(frame.code.into()) {
        Some(code) if !code.reconnect() => code,
        _ => return Lost::Failed(reason),
    };
    let code = match code {
        CloseCode::Unauthorized | CloseCode::Forbidden => ErrorCode::NotAllowed,
        CloseCode::Gone => ErrorCode::NotFound,
        _ => ErrorCode::Malformed,
    };
    Lost::Refused(WireError::new(code, reason))
}

fn judge(error: &Error) -> Lost {
    match error {
        Error::Capacity(_) => Lost::Refused(WireError::new(ErrorCode::Malformed, error.to_string())),
        Error::Io(io) => Lost::Failed(io.to_string()),
        other => Lost::Failed(other.to_string()),
    }
}
