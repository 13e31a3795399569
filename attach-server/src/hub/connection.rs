//! One client's WebSocket: its channels, the order in which they are served, and the task that drives it.
//!
//! Borrowing rule of the hub: a terminal may borrow a connection, a connection never holds its own borrow while it
//! calls a terminal.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use lap_platform::model::SessionId;
use lap_wire::ChannelId;
use lap_wire::close::CloseCode;
use lap_wire::control::{self, ErrorCode, Open, ServerMessage, Size, WireError, to_payload};
use lap_wire::frame::{Frame, FrameType, Header};
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_MESSAGE, MAX_PAYLOAD};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::bell::Bell;
use super::outlet::{Framing, Io, Outlet, SendError, Sent};
use super::pacing::Pacing;
use super::scheduler::Scheduler;
use super::terminal::{Served, Terminal};
use super::ws::{self, Decoder, Opcode};
use super::{Grant, Hub, protocol, tty};

/// Output this small of a channel that was just typed into goes out whatever the link's state: it is the echo.
const SMALL: usize = 1024;
/// Bytes one turn of a connection may send before other connections have theirs.
const TURN: usize = 512 * 1024;
/// How long a closing socket may take to accept its last bytes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client may take to say `hello`.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long after a silence that made a ping due a client is given up.
const PONG_WITHIN: Duration = Duration::from_millis(DEAD_AFTER_MS - HEARTBEAT_MS);

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `lap.attach.v1`.
    Attach,
    /// Plain terminal bytes of one session, its channel being [`tty::CHANNEL`].
    Tty(SessionId),
}

/// A channel of a connection.
pub(super) enum Channel {
    /// Asked for; the last size and visibility it told meanwhile.
    Opening { size: Option<Size>, visible: bool },
    /// A viewer of a terminal.
    Open { terminal: Rc<Terminal>, viewer: u64 },
}

/// What a connection's task wakes up for.
enum Event {
    /// So many bytes have come; 0 is the end.
    Read(io::Result<usize>),
    /// What waited is written.
    Flushed(io::Result<()>),
    /// There may be something to send, or to end.
    Changed,
    /// It is time to look whether the client is still there.
    Time,
}

/// See the module.
pub(super) struct Connection {
    /// Distinguishes connections in the log.
    pub id: u64,
    pub(super) kind: Kind,
    pub(super) grant: Grant,
    pub(super) hub: Weak<Hub>,
    pub(super) state: RefCell<State>,
    changed: Bell,
}

pub(super) struct State {
    outlet: Outlet,
    pacing: Pacing,
    scheduler: Scheduler,
    pub(super) channels: HashMap<u32, Channel>,
    /// What the client calls itself, once it has said `hello`.
    pub(super) name: Option<String>,
    /// The silence after which it is sent a ping.
    heartbeat: Duration,
    /// Opens that arrived and are to be worked on beside the reading.
    pub(super) opens: Vec<(u32, Open)>,
    /// Input offset of a `/tty` client, which does not number its own.
    pub(super) tty_input: u64,
    /// What a `/tty` client typed before its terminal was there, message by message.
    pub(super) tty_early: Vec<Vec<u8>>,
    closing: Option<(u16, &'static str)>,
}

impl Connection {
    pub(super) fn new(id: u64, kind: Kind, grant: Grant, hub: Weak<Hub>, io: Box<dyn Io>) -> Rc<Connection> {
        let state = State {
            outlet: Outlet::new(io, Framing::WebSocket),
            pacing: Pacing::new(Instant::now()),
            scheduler: Scheduler::default(),
            channels: HashMap::new(),
            name: None,
            heartbeat: Duration::from_millis(HEARTBEAT_MS),
            opens: Vec::new(),
            tty_input: 0,
            tty_early: Vec::new(),
            closing: None,
        };
        Rc::new(Connection { id, kind, grant, hub, state: RefCell::new(state), changed: Bell::default() })
    }

    /// The client has said who it is, and how long a silence is nothing unusual.
    pub(super) fn greeted(&self, name: String, heartbeat: Duration) {
        let mut state = self.state.borrow_mut();
        state.name = Some(name);
        state.heartbeat = heartbeat;
    }

    /// Output that has just arrived, for a channel that has everything before it: written at once if the socket is idle
    /// and the link has room. Says whether it was; if not, the channel's turn comes later.
    pub(super) fn output_now(&self, channel: u32, offset: u64, payload: &[u8], now: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.outlet.is_idle() || state.closing.is_some() {
            return false;
        }
        let len = payload.len();
        let fits = matches!(self.kind, Kind::Tty(_))
            || state.pacing.bulk_room() >= len as u64
            || len <= SMALL && state.scheduler.overtakes(channel, len, now);
        if !fits {
            state.pacing.bulk_waits();
            return false;
        }
        drop(state);
        self.frame(FrameType::Output, 0, channel, offset, payload, &[], now);
        true
    }

    /// Sends a frame of terminal bytes; the socket keeps what it cannot take now.
    #[allow(
        clippy::too_many_arguments,
        reason = "a frame's fields, of which a struct would only be built here"
    )]
    pub(super) fn frame(
        &self,
        kind: FrameType,
        flags: u8,
        channel: u32,
        offset: u64,
        a: &[u8],
        b: &[u8],
        now: Instant,
    ) {
        let mut state = self.state.borrow_mut();
        let sent = match self.kind {
            Kind::Attach => {
                let header = Header::new(kind, flags, ChannelId(channel), offset);
                state.pacing.sent((header.as_bytes().len() + a.len() + b.len()) as u64, now);
                let sent = state.outlet.frame(&header, a, b);
                if let Some(mark) = state.pacing.mark(now) {
                    self.after(&mut state, sent);
                    let ping = Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &mark);
                    state.outlet.send_later(&ping)
                } else {
                    sent
                }
            }
            Kind::Tty(_) => state.outlet.message(Opcode::Binary, a, b),
        };
        self.after(&mut state, sent);
    }

    fn after(&self, state: &mut State, sent: Result<Sent, SendError>) {
        match sent {
            Ok(Sent::Whole) => {}
            Ok(Sent::Partly) => self.changed.ring(),
            Err(error) => {
                let code = match error {
                    SendError::Overflow => (CloseCode::TooMany.code(), "too much queued for this client"),
                    SendError::Broken => (1006, ""),
                };
                state.closing.get_or_insert(code);
                self.changed.ring();
            }
        }
    }

    /// Tells the client something about a channel, in order with what was sent on it.
    pub(super) fn event(&self, channel: u32, offset: u64, message: &ServerMessage) {
        if let Kind::Tty(_) = self.kind {
            return tty::event(self, message);
        }
        match to_payload(message) {
            Ok(payload) => {
                let mut state = self.state.borrow_mut();
                let sent = state.outlet.send(&control::frame(ChannelId(channel), offset, &payload));
                self.after(&mut state, sent);
            }
            Err(error) => tracing::error!(connection = self.id, %error, "message to a client not sent"),
        }
    }

    /// Tells the client of an error.
    pub(super) fn error(&self, channel: u32, error: WireError) {
        self.event(channel, 0, &ServerMessage::Error(error));
    }

    /// Acknowledges input: with the echo if that came along, so that the client is woken once, and else right after.
    pub(super) fn input_ack(&self, channel: u32, offset: u64) {
        if let Kind::Attach = self.kind {
            let mut state = self.state.borrow_mut();
            let sent =
                state.outlet.send_later(&Frame::new(FrameType::InputAck, ChannelId(channel), offset, &[]));
            self.after(&mut state, sent);
        }
    }

    /// Sends a frame without payload worth scheduling (acknowledgements, pongs).
    pub(super) fn small_frame(&self, frame: &Frame<'_>) {
        if let Kind::Attach = self.kind {
            let mut state = self.state.borrow_mut();
            let sent = state.outlet.send(frame);
            self.after(&mut state, sent);
        }
    }

    pub(super) fn message(&self, opcode: Opcode, payload: &[u8]) {
        let mut state = self.state.borrow_mut();
        let sent = state.outlet.message(opcode, payload, &[]);
        self.after(&mut state, sent);
    }

    /// A channel has something to send.
    pub(super) fn wake(&self, channel: u32, now: Instant) {
        self.state.borrow_mut().scheduler.wake(channel, now);
        self.changed.ring();
    }

    /// A channel was typed into.
    pub(super) fn typed(&self, channel: u32, now: Instant) {
        self.state.borrow_mut().scheduler.typed(channel, now);
    }

    /// The client has answered a ping.
    pub(super) fn answered(&self, payload: &[u8], now: Instant) {
        self.state.borrow_mut().pacing.answered(payload, now);
    }

    /// Whether it says how far it has processed its output.
    pub(super) fn acknowledges(&self) -> bool {
        self.kind == Kind::Attach
    }

    /// A channel is no more.
    pub(super) fn remove_channel(&self, channel: u32) -> Option<Channel> {
        let mut state = self.state.borrow_mut();
        state.scheduler.remove(channel);
        state.channels.remove(&channel)
    }

    /// Ends the connection; what was sent before is still flushed.
    pub(super) fn close(&self, code: u16, reason: &'static str) {
        self.state.borrow_mut().closing.get_or_insert((code, reason));
        self.changed.ring();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.borrow().closing.is_some()
    }

    /// Serves channels in their order until the socket or the link takes no more.
    pub(super) fn pump(&self) {
        let mut budget = TURN;
        let now = Instant::now();
        loop {
            let (turn, terminal, viewer, size) = {
                let mut state = self.state.borrow_mut();
                if !state.outlet.is_idle() || state.closing.is_some() {
                    return;
                }
                let Some(turn) = state.scheduler.turn(now) else { return };
                let room = match self.kind {
                    Kind::Attach if !turn.interactive => state.pacing.bulk_room(),
                    _ => u64::MAX,
                };
                // Answered marks make room, and come through here again.
                if room == 0 {
                    state.pacing.bulk_waits();
                    if state.pacing.is_ignored(now) {
                        let close = (CloseCode::TimedOut.code(), "a ping was not answered");
                        state.closing.get_or_insert(close);
                    }
                    if let Some(mark) = state.pacing.mark(now) {
                        let ping = Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &mark);
                        let sent = state.outlet.send(&ping);
                        self.after(&mut state, sent);
                    }
                    return;
                }
                if budget == 0 {
                    self.changed.ring();
                    return;
                }
                let Some(Channel::Open { terminal, viewer }) = state.channels.get(&turn.channel) else {
                    state.scheduler.idle(turn.channel);
                    continue;
                };
                let (terminal, viewer) = (terminal.clone(), *viewer);
                let size = state.pacing.frame_size(MAX_PAYLOAD).min(turn.bytes);
                (turn, terminal, viewer, size)
            };
            match terminal.serve(viewer, size, now) {
                Served::Sent(n) => {
                    budget = budget.saturating_sub(n);
                    self.state.borrow_mut().scheduler.used(turn, n);
                }
                Served::Nothing => self.state.borrow_mut().scheduler.idle(turn.channel),
            }
        }
    }

    /// Drives the connection until it ends, and leaves nothing of it behind.
    pub(super) async fn run(self: Rc<Self>, leftover: Vec<u8>) {
        let mut opens = JoinSet::new();
        let (code, reason) = self.drive(&leftover, &mut opens).await;
        opens.abort_all();
        while opens.join_next().await.is_some() {}
        let channels = std::mem::take(&mut self.state.borrow_mut().channels);
        for channel in channels.into_values() {
            if let Channel::Open { terminal, viewer } = channel {
                terminal.detach(viewer);
            }
        }
        tracing::debug!(connection = self.id, code, reason, "connection ended");
        self.say_goodbye(code, reason).await;
    }

    async fn say_goodbye(&self, code: u16, reason: &str) {
        // 1006 and 1005 stand for a socket that is already gone and never travel.
        if code == 1006 || code == 1005 {
            return;
        }
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.message(Opcode::Close, &payload);
        let shutdown = poll_fn(|context| self.state.borrow_mut().outlet.poll_shutdown(context));
        if !matches!(timeout(CLOSE_TIMEOUT, shutdown).await, Ok(Ok(()))) {
            tracing::debug!(connection = self.id, "the client did not take the last bytes");
        }
    }

    async fn drive(self: &Rc<Self>, leftover: &[u8], opens: &mut JoinSet<()>) -> (u16, &'static str) {
        let mut decoder = Decoder::new(MAX_MESSAGE);
        decoder.push(leftover);
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + HELLO_TIMEOUT));
        loop {
            if let Err(close) = self.take_messages(&mut decoder) {
                return close;
            }
            self.spawn_opens(opens);
            self.pump();
            if let Some(closing) = self.state.borrow().closing {
                return closing;
            }
            match poll_fn(|context| self.poll_event(context, &mut decoder, opens, alarm.as_mut())).await {
                Event::Read(Ok(n)) if n > 0 => heard = Instant::now(),
                Event::Read(_) | Event::Flushed(Err(_)) => return (1006, "the client went away"),
                Event::Flushed(Ok(())) | Event::Changed => {}
                Event::Time => {
                    let silence = heard.elapsed();
                    let heartbeat = self.state.borrow().heartbeat;
                    if self.state.borrow().name.is_none() || silence >= heartbeat + PONG_WITHIN {
                        return (CloseCode::TimedOut.code(), "nothing heard for too long");
                    }
                    let next = if silence >= heartbeat {
                        self.ping();
                        Instant::now() + PONG_WITHIN / 2
                    } else {
                        heard + heartbeat
                    };
                    alarm.as_mut().reset(next);
                }
            }
        }
    }

    /// What happens next. One poll of each source and no future made for the purpose: this is on the way of every
    /// keystroke.
    fn poll_event(
        &self,
        context: &mut Context<'_>,
        decoder: &mut Decoder,
        opens: &mut JoinSet<()>,
        alarm: Pin<&mut Sleep>,
    ) -> Poll<Event> {
        let outlet = &mut self.state.borrow_mut().outlet;
        if let Poll::Ready(read) = outlet.poll_read(context, &mut |bytes| decoder.push(bytes)) {
            return Poll::Ready(Event::Read(read));
        }
        if !outlet.is_empty()
            && let Poll::Ready(flushed) = outlet.poll_flush(context)
        {
            return Poll::Ready(Event::Flushed(flushed));
        }
        if self.changed.poll_rung(context).is_ready() {
            return Poll::Ready(Event::Changed);
        }
        if !opens.is_empty() && opens.poll_join_next(context).is_ready() {
            return Poll::Ready(Event::Changed);
        }
        alarm.poll(context).map(|()| Event::Time)
    }

    fn ping(&self) {
        match self.kind {
            Kind::Attach => {
                self.small_frame(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]));
            }
            Kind::Tty(_) => self.message(Opcode::Ping, &[]),
        }
    }

    fn take_messages(self: &Rc<Self>, decoder: &mut Decoder) -> Result<(), (u16, &'static str)> {
        loop {
            match decoder.next_message() {
                Ok(Some(ws::Incoming::Close)) => return Err((1000, "")),
                Ok(Some(ws::Incoming::Ping(payload))) => self.message(Opcode::Pong, payload),
                Ok(Some(ws::Incoming::Binary(bytes))) => match self.kind {
                    Kind::Attach => protocol::message(self, bytes)?,
                    Kind::Tty(_) => tty::input(self, bytes, false),
                },
                Ok(Some(ws::Incoming::Text(text))) => match self.kind {
                    Kind::Attach => return Err((CloseCode::Malformed.code(), "frames are binary")),
                    Kind::Tty(_) => tty::input(self, text, true),
                },
                Ok(None) => return Ok(()),
                Err(close) => return Err((close.code, close.reason)),
            }
        }
    }

    fn spawn_opens(self: &Rc<Self>, opens: &mut JoinSet<()>) {
        let wanted = std::mem::take(&mut self.state.borrow_mut().opens);
        for (channel, open) in wanted {
            let connection = self.clone();
            opens.spawn_local(async move {
                if let Err(error) = protocol::open(&connection, channel, open).await {
                    connection.remove_channel(channel);
                    let reason = error.message.clone();
                    connection.error(channel, error);
                    connection.event(channel, 0, &ServerMessage::Closed { reason });
                }
            });
        }
    }
}

/// The session a token was made for is the only one it opens.
pub(super) fn check_grant(grant: &Grant, session: SessionId) -> Result<(), WireError> {
    match grant.only_session {
        Some(only) if only != session => {
            Err(WireError::new(ErrorCode::NotAllowed, "this token opens another session's terminal only"))
        }
        _ => Ok(()),
    }
}
