//! One client's WebSocket: the task that reads it, its channels, and the end of it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use lap_platform::model::SessionId;
use lap_wire::ChannelId;
use lap_wire::close::CloseCode;
use lap_wire::control::{ErrorCode, Open, ViewerSeat, WireError};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_MESSAGE};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::client_writer::{ClientWriter, Close, Event, Speaks};
use super::core::{NewViewer, Served};
use super::directory::Location;
use super::terminals::ViewerHandle;
use super::ws::{self, Decoder, Opcode};
use super::{Grant, Hub, protocol, tty};

/// Bytes one turn of a connection may send before other connections have theirs.
const TURN: usize = 512 * 1024;
/// How long a closing socket may take nothing of its last bytes.
const CLOSE_STUCK: Duration = Duration::from_secs(10);
/// How long a client that has everything may take to close its side.
const CLOSE_LINGER: Duration = Duration::from_secs(2);
/// How much more is read of it in that time and thrown away. Who sends more than this is not waiting for the end.
const CLOSE_LINGER_BYTES: usize = 1024 * 1024;
/// How long a client may take to say `hello`.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after a silence that made a ping due a client is given up.
const PONG_WITHIN: Duration = Duration::from_millis(DEAD_AFTER_MS - HEARTBEAT_MS);
/// A WebSocket's close frame has room for this much of a reason (RFC 6455, 5.5).
const MAX_REASON: usize = 123;

/// A channel of a connection.
pub(super) enum Channel {
    /// Its session's terminal is being looked up. Meanwhile the client may change how it will be opened.
    Locating { open: Box<Open>, lookup: AbortHandle },
    /// A viewer of a terminal.
    Open(ViewerHandle),
}

/// See the module.
pub(super) struct Connection {
    pub(super) writer: Rc<ClientWriter>,
    pub(super) grant: Grant,
    hub: Rc<Hub>,
    pub(super) channels: HashMap<u32, Channel>,
    /// Sessions being looked up, and for which channels.
    lookups: JoinSet<Result<Location, WireError>>,
    looked_up_for: HashMap<Id, u32>,
    /// What the client calls itself, once it has said `hello`.
    name: Option<String>,
    /// The silence after which it is sent a ping.
    heartbeat: Duration,
}

impl Connection {
    pub(super) fn new(writer: Rc<ClientWriter>, grant: Grant, hub: Rc<Hub>) -> Connection {
        Connection {
            writer,
            grant,
            hub,
            channels: HashMap::new(),
            lookups: JoinSet::new(),
            looked_up_for: HashMap::new(),
            name: None,
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
        }
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Whether the client has said who it is.
    pub(super) fn is_greeted(&self) -> bool {
        self.name.is_some()
    }

    /// The client has said who it is, and how long a silence is nothing unusual.
    pub(super) fn greeted(&mut self, name: String, heartbeat: Duration) {
        (self.name, self.heartbeat) = (Some(name), heartbeat);
    }

    /// Begins to open a channel, whose number is not in use: looks up where the session's terminal is.
    ///
    /// # Errors
    /// When it is clear already that it cannot be opened.
    pub(super) fn locate(&mut self, channel: u32, open: Open) -> Result<(), WireError> {
        let missing = || WireError::new(ErrorCode::NotFound, format!("there is no session {}", open.session));
        let session: SessionId = open.session.parse().map_err(|_| missing())?;
        if self.grant.only_session.is_some_and(|only| only != session) {
            let text = "this token opens another session's terminal only";
            return Err(WireError::new(ErrorCode::NotAllowed, text));
        }
        let directory = self.hub.directory.clone();
        let lookup = self.lookups.spawn_local(async move { directory.locate(session).await });
        self.looked_up_for.insert(lookup.id(), channel);
        self.channels.insert(channel, Channel::Locating { open: Box::new(open), lookup });
        Ok(())
    }

    /// A lookup has ended.
    fn located(&mut self, ended: Result<(Id, Result<Location, WireError>), JoinError>) {
        let (id, location) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(connection = self.writer.id, %error, "looking up a session panicked");
                }
                let text = "a fault of the server's; its log has it";
                (error.id(), Err(WireError::new(ErrorCode::Internal, text).retryable()))
            }
        };
        // Closed by the client meanwhile.
        let Some(channel) = self.looked_up_for.remove(&id) else { return };
        let Some(Channel::Locating { open, .. }) = self.channels.remove(&channel) else { return };
        match location.and_then(|location| self.attach(channel, *open, location)) {
            Ok(viewer) => {
                self.channels.insert(channel, Channel::Open(viewer));
            }
            Err(error) => self.writer.refuse(channel, error),
        }
    }

    fn attach(&self, channel: u32, open: Open, location: Location) -> Result<ViewerHandle, WireError> {
        // It was one when the lookup began.
        let session: SessionId = open.session.parse().map_err(|_| {
            WireError::new(ErrorCode::NotFound, format!("there is no session {}", open.session))
        })?;
        let terminal = self.hub.terminal(session, location, open.since);
        let seat = ViewerSeat {
            name: self.name.clone().unwrap_or_default(),
            person: self.hub.person(self.writer.id),
            seat: uuid::Uuid::new_v4().to_string(),
        };
        terminal.attach(NewViewer {
            id: self.hub.next_viewer(),
            client: self.writer.clone(),
            channel,
            mode: open.mode,
            size: open.size,
            visible: open.visible,
            window: open.window,
            scrollback: open.scrollback,
            since: open.since,
            input: open.input,
            seat,
        })
    }

    /// The client is through with a channel.
    pub(super) fn close_channel(&mut self, channel: u32) {
        self.writer.forget(channel);
        if let Some(Channel::Locating { lookup, .. }) = self.channels.remove(&channel) {
            lookup.abort();
            self.looked_up_for.remove(&lookup.id());
        }
    }

    /// Lets go of the channels that their terminals have let go of.
    fn drop_ended(&mut self) {
        while let Some(channel) = self.writer.take_ended() {
            self.close_channel(channel);
        }
    }

    /// Serves channels in their order until the socket or the link takes no more.
    fn pump(&self) {
        let mut budget = TURN;
        let now = Instant::now();
        while let Some((turn, size)) = self.writer.turn(now) {
            if budget == 0 {
                return self.writer.come_back();
            }
            let Some(Channel::Open(viewer)) = self.channels.get(&turn.channel) else {
                self.writer.idle(turn.channel);
                continue;
            };
            match viewer.serve(size, now) {
                Served::Sent(n) => {
                    budget = budget.saturating_sub(n);
                    self.writer.used(turn, n);
                }
                Served::Nothing => self.writer.idle(turn.channel),
            }
        }
    }

    /// Drives the connection until it ends, and leaves nothing of it behind.
    pub(super) async fn run(mut self, leftover: Vec<u8>) {
        let (code, reason) = self.drive(&leftover).await;
        // What it held is given back before the socket has taken its last bytes.
        self.channels.clear();
        self.lookups.abort_all();
        tracing::debug!(connection = self.writer.id, code, %reason, "connection ended");
        say_goodbye(&self.writer, code, &reason).await;
    }

    async fn drive(&mut self, leftover: &[u8]) -> Close {
        let mut decoder = Decoder::new(match self.writer.speaks {
            Speaks::Attach => MAX_MESSAGE,
            Speaks::Tty => tty::MAX_MESSAGE,
        });
        decoder.push(leftover);
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + HELLO_TIMEOUT));
        loop {
            if let Err(close) = self.take_messages(&mut decoder) {
                return close;
            }
            self.drop_ended();
            self.pump();
            if let Some(closing) = self.writer.closing() {
                return closing;
            }
            let reads = self.takes_messages();
            match poll_fn(|context| self.poll_event(context, &mut decoder, reads, alarm.as_mut())).await {
                Woken::By(Event::Read(Ok(n))) if n > 0 => heard = Instant::now(),
                Woken::By(Event::Read(_) | Event::Flushed(Err(_))) => {
                    return (1006, "the client went away".into());
                }
                Woken::By(Event::Flushed(Ok(())) | Event::Changed) => {}
                Woken::ByLookup(ended) => self.located(ended),
                Woken::ByTime => {
                    let silence = heard.elapsed();
                    // One that is not read cannot be heard; a socket that is gone fails when it is pinged.
                    let given_up = reads && silence >= self.heartbeat + PONG_WITHIN;
                    if self.name.is_none() || given_up {
                        return (CloseCode::TimedOut.code(), "nothing heard for too long".into());
                    }
                    let next = if silence >= self.heartbeat {
                        self.ping();
                        Instant::now() + PONG_WITHIN / 2
                    } else {
                        heard + self.heartbeat
                    };
                    alarm.as_mut().reset(next);
                }
            }
            if !reads && self.takes_messages() {
                // What the client was kept from saying is no silence of its own.
                heard = Instant::now();
            }
        }
    }

    fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        decoder: &mut Decoder,
        reads: bool,
        alarm: Pin<&mut Sleep>,
    ) -> Poll<Woken> {
        if let Poll::Ready(event) = self.writer.poll(context, decoder, reads) {
            return Poll::Ready(Woken::By(event));
        }
        if !self.lookups.is_empty()
            && let Poll::Ready(Some(ended)) = self.lookups.poll_join_next_with_id(context)
        {
            return Poll::Ready(Woken::ByLookup(ended));
        }
        alarm.poll(context).map(|()| Woken::ByTime)
    }

    fn ping(&self) {
        match self.writer.speaks {
            Speaks::Attach => {
                self.writer.small_frame(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]));
            }
            Speaks::Tty => self.writer.message(Opcode::Ping, &[]),
        }
    }

    /// Whether more of what the client says is to be read and taken in. A simple socket has no other flow control than
    /// not being read.
    fn takes_messages(&self) -> bool {
        self.writer.speaks == Speaks::Attach || tty::takes_messages(self)
    }

    fn take_messages(&mut self, decoder: &mut Decoder) -> Result<(), Close> {
        while self.takes_messages() {
            self.drop_ended();
            match decoder.next_message() {
                Ok(Some(ws::Incoming::Close)) => return Err((1000, "".into())),
                Ok(Some(ws::Incoming::Ping(payload))) => self.writer.message(Opcode::Pong, payload),
                Ok(Some(ws::Incoming::Binary(bytes))) => match self.writer.speaks {
                    Speaks::Attach => protocol::message(self, bytes)?,
                    Speaks::Tty => tty::message(self, bytes, false),
                },
                Ok(Some(ws::Incoming::Text(text))) => match self.writer.speaks {
                    Speaks::Attach => return Err((CloseCode::Malformed.code(), "frames are binary".into())),
                    Speaks::Tty => tty::message(self, text, true),
                },
                Ok(None) => return Ok(()),
                Err(close) => return Err((close.code, close.reason.into())),
            }
        }
        Ok(())
    }
}

/// What made a connection's task go on.
enum Woken {
    By(Event),
    ByLookup(Result<(Id, Result<Location, WireError>), JoinError>),
    ByTime,
}

/// Sends the close and sees to it that the client gets everything that was sent before, as long as it takes it.
async fn say_goodbye(writer: &ClientWriter, code: u16, reason: &str) {
    // 1006 and 1005 stand for a socket that is already gone and never travel.
    if code == 1006 || code == 1005 {
        return;
    }
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    writer.message(Opcode::Close, &payload);
    // Who comes back at once to go on where it was loses nothing.
    let mut left = if code == CloseCode::Restart.code() { 0 } else { CLOSE_LINGER_BYTES };
    loop {
        let waiting = writer.waiting();
        let patience = if waiting > 0 { CLOSE_STUCK } else { CLOSE_LINGER };
        match timeout(patience, poll_fn(|context| writer.poll_end(context, &mut left))).await {
            Ok(_) => return,
            Err(_) if writer.waiting() < waiting => {}
            Err(_) => {
                tracing::debug!(connection = writer.id, waiting, "the client did not end its side");
                return;
            }
        }
    }
}
