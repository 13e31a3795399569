//! The sending half of a client's socket: what is written to it, in which order, and how much at once.
//!
//! Terminals write here directly, so nothing in it calls a terminal: whatever a terminal is asked to do for its socket
//! comes from the connection's own task, which [`ClientWriter::poll`] wakes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use lap_wire::ChannelId;
use lap_wire::close::CloseCode;
use lap_wire::control::{self, ServerMessage, WireError, to_payload};
use lap_wire::frame::{Frame, FrameType, Header};
use lap_wire::limits::MAX_PAYLOAD;
use tokio::time::Instant;

use super::bell::Bell;
use super::core::{Client, Piece};
use super::outlet::{Io, Outlet, SendError, Sent};
use super::pacing::Pacing;
use super::scheduler::{Scheduler, Turn};
use super::tty;
use super::ws::{Decoder, Opcode};

/// Output this small of a channel that was just typed into goes out whatever the link's state: it is the echo.
const SMALL: usize = 1024;

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    /// `lap.attach.v1`.
    Attach,
    /// Plain terminal bytes.
    Tty,
}

/// Why a connection ends: a WebSocket close code and a reason.
pub(super) type Close = (u16, Cow<'static, str>);

/// What a connection's task wakes up for.
pub(super) enum Event {
    /// So many bytes have come; 0 is the end.
    Read(io::Result<usize>),
    /// What waited is written.
    Flushed(io::Result<()>),
    /// There may be something to send, to read, or to end.
    Changed,
}

/// See the module.
pub(super) struct ClientWriter {
    /// Distinguishes connections in the log.
    pub id: u64,
    pub speaks: Speaks,
    state: RefCell<State>,
    changed: Bell,
}

struct State {
    outlet: Outlet,
    pacing: Pacing,
    scheduler: Scheduler,
    /// Channels that terminals have let go of.
    ended: Vec<u32>,
    /// What becomes of a simple socket.
    tty: tty::Fate,
    closing: Option<Close>,
}

impl ClientWriter {
    pub(super) fn new(id: u64, speaks: Speaks, io: Box<dyn Io>) -> ClientWriter {
        let state = State {
            outlet: Outlet::new(io),
            pacing: Pacing::new(Instant::now()),
            scheduler: Scheduler::default(),
            ended: Vec::new(),
            tty: tty::Fate::default(),
            closing: None,
        };
        ClientWriter { id, speaks, state: RefCell::new(state), changed: Bell::default() }
    }

    fn after(&self, state: &mut State, sent: Result<Sent, SendError>) {
        match sent {
            Ok(Sent::Whole) => {}
            Ok(Sent::Partly) => self.changed.ring(),
            Err(error) => {
                let code = match error {
                    SendError::Overflow => {
                        (CloseCode::TooMany.code(), "too much queued for this client".into())
                    }
                    SendError::Broken => (1006, "".into()),
                };
                state.closing.get_or_insert(code);
                self.changed.ring();
            }
        }
    }

    /// Tells the client of an error.
    pub(super) fn error(&self, channel: u32, error: WireError) {
        self.event(channel, 0, &ServerMessage::Error(error));
    }

    /// Tells the client that a channel could not be had.
    pub(super) fn refuse(&self, channel: u32, error: WireError) {
        let reason = error.message.clone();
        self.error(channel, error);
        self.event(channel, 0, &ServerMessage::Closed { reason });
    }

    /// Sends a frame that is not worth scheduling (pings and pongs).
    pub(super) fn small_frame(&self, frame: &Frame<'_>) {
        if self.speaks == Speaks::Attach {
            let mut state = self.state.borrow_mut();
            let sent = state.outlet.send(frame);
            self.after(&mut state, sent);
        }
    }

    /// Sends a WebSocket message that is no frame of the attach protocol.
    pub(super) fn message(&self, opcode: Opcode, payload: &[u8]) {
        let mut state = self.state.borrow_mut();
        let sent = state.outlet.message(opcode, payload, &[]);
        self.after(&mut state, sent);
    }

    /// The client has answered a ping.
    pub(super) fn answered(&self, payload: &[u8], now: Instant) {
        self.state.borrow_mut().pacing.answered(payload, now);
    }

    /// Ends the connection; what was sent before is still flushed.
    pub(super) fn close(&self, code: u16, reason: impl Into<Cow<'static, str>>) {
        self.state.borrow_mut().closing.get_or_insert((code, reason.into()));
        self.changed.ring();
    }

    /// Why the connection is to end, if it is.
    pub(super) fn closing(&self) -> Option<Close> {
        self.state.borrow().closing.clone()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.borrow().closing.is_some()
    }

    /// A channel that a terminal has let go of.
    pub(super) fn take_ended(&self) -> Option<u32> {
        self.state.borrow_mut().ended.pop()
    }

    /// Whose turn it is to send, and how many bytes. `None`: nobody's, or the socket or the link takes no more.
    pub(super) fn turn(&self, now: Instant) -> Option<(Turn, usize)> {
        let mut state = self.state.borrow_mut();
        if !state.outlet.is_idle() || state.closing.is_some() {
            return None;
        }
        let turn = state.scheduler.turn(now)?;
        if self.speaks == Speaks::Attach && !turn.interactive && state.pacing.bulk_room() == 0 {
            // An answered mark makes room, and comes through here again.
            state.pacing.bulk_waits();
            if state.pacing.is_ignored(now) {
                let close = (CloseCode::TimedOut.code(), "a ping was not answered".into());
                state.closing.get_or_insert(close);
            }
            if let Some(mark) = state.pacing.mark(now) {
                let sent = state.outlet.send(&ping(&mark));
                self.after(&mut state, sent);
            }
            return None;
        }
        let size = match self.speaks {
            Speaks::Attach => state.pacing.frame_size(MAX_PAYLOAD),
            Speaks::Tty => MAX_PAYLOAD,
        };
        Some((turn, size.min(turn.bytes)))
    }

    /// The channel whose turn it was has sent so much and may have more.
    pub(super) fn used(&self, turn: Turn, bytes: usize) {
        self.state.borrow_mut().scheduler.used(turn, bytes);
    }

    /// The channel has nothing to send now.
    pub(super) fn idle(&self, channel: u32) {
        self.state.borrow_mut().scheduler.idle(channel);
    }

    /// The channel is no more.
    pub(super) fn forget(&self, channel: u32) {
        self.state.borrow_mut().scheduler.remove(channel);
    }

    /// Others have their turn first.
    pub(super) fn come_back(&self) {
        self.changed.ring();
    }

    /// What happens next. One poll of each source and no future made for the purpose: this is on the way of every
    /// keystroke. `reads`: whether more is to be read of what the client says.
    pub(super) fn poll(&self, context: &mut Context<'_>, decoder: &mut Decoder, reads: bool) -> Poll<Event> {
        let outlet = &mut self.state.borrow_mut().outlet;
        if reads && let Poll::Ready(read) = outlet.poll_read(context, &mut |bytes| decoder.push(bytes)) {
            return Poll::Ready(Event::Read(read));
        }
        if !outlet.is_empty()
            && let Poll::Ready(flushed) = outlet.poll_flush(context)
        {
            return Poll::Ready(Event::Flushed(flushed));
        }
        self.changed.poll_rung(context).map(|()| Event::Changed)
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.state.borrow().outlet.waiting()
    }

    /// Ends the sending side, once what waited is written, then reads up to `left` more bytes and throws them away until
    /// the client ends its own: a socket that is closed with something unread in it takes with it what was sent last.
    pub(super) fn poll_end(&self, context: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>> {
        let outlet = &mut self.state.borrow_mut().outlet;
        ready!(outlet.poll_shutdown(context))?;
        while *left > 0 {
            match ready!(outlet.poll_read(context, &mut |_| {}))? {
                0 => break,
                n => *left = left.saturating_sub(n),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn ping(mark: &[u8]) -> Frame<'_> {
    Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, mark)
}

impl Client for ClientWriter {
    fn output_now(&self, channel: u32, offset: u64, payload: &[u8], now: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.outlet.is_idle() || state.closing.is_some() {
            return false;
        }
        let len = payload.len();
        let fits = self.speaks == Speaks::Tty
            || state.pacing.bulk_room() >= len as u64
            || len <= SMALL && state.scheduler.overtakes(channel, len, now);
        if !fits {
            state.pacing.bulk_waits();
            return false;
        }
        drop(state);
        let bytes = (payload, &[][..]);
        self.frame(Piece { kind: FrameType::Output, flags: 0, channel, offset, bytes }, now);
        true
    }

    fn frame(&self, piece: Piece<'_>, now: Instant) {
        let (a, b) = piece.bytes;
        let mut state = self.state.borrow_mut();
        if self.speaks == Speaks::Tty {
            let sent = state.outlet.message(Opcode::Binary, a, b);
            return self.after(&mut state, sent);
        }
        let header = Header::new(piece.kind, piece.flags, ChannelId(piece.channel), piece.offset);
        state.pacing.sent((header.as_bytes().len() + a.len() + b.len()) as u64, now);
        let mut sent = state.outlet.frame(&header, a, b);
        if let Some(mark) = state.pacing.mark(now) {
            self.after(&mut state, sent);
            sent = state.outlet.send_later(&ping(&mark));
        }
        self.after(&mut state, sent);
    }

    fn event(&self, channel: u32, offset: u64, message: &ServerMessage) {
        if self.speaks == Speaks::Tty {
            let close = self.state.borrow_mut().tty.event(self.id, message);
            if let Some((code, reason)) = close {
                self.close(code, reason);
            }
            return;
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

    /// With the echo if that comes along, so that the client is woken once, and else right after.
    fn input_ack(&self, channel: u32, offset: u64) {
        if self.speaks == Speaks::Attach {
            let mut state = self.state.borrow_mut();
            let sent =
                state.outlet.send_later(&Frame::new(FrameType::InputAck, ChannelId(channel), offset, &[]));
            self.after(&mut state, sent);
        }
    }

    fn wake(&self, channel: u32, now: Instant) {
        self.state.borrow_mut().scheduler.wake(channel, now);
        self.changed.ring();
    }

    fn typed(&self, channel: u32, now: Instant) {
        self.state.borrow_mut().scheduler.typed(channel, now);
    }

    fn acknowledges(&self) -> bool {
        self.speaks == Speaks::Attach
    }

    fn ended(&self, channel: u32) {
        self.state.borrow_mut().ended.push(channel);
        self.changed.ring();
    }
}
