//! One channel: where its output stands, what was typed and not yet written, and how it goes on after a reconnect.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use lap_wire::control::{ClientMessage, ErrorCode, How, Mode, Open, ServerMessage, Size, WireError};
use lap_wire::flow::Since;
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::limits::{DEFAULT_WINDOW, MAX_PAYLOAD};
use lap_wire::{ChannelId, Epoch};

use super::event::{ChannelEvent, Opened};
use super::typing::Typing;
use super::{Backoff, ChannelSpec, CommandError, MAX_QUEUED_INPUT};

/// The most one snapshot may be: the largest screen with every cell styled, and the scrollback. More is a fault of
/// the server's.
const MAX_SNAPSHOT: usize = 32 * 1024 * 1024;
/// What was processed is told at the latest after this much of it: large enough to cost nothing, small beside a window.
const ACK_BYTES: u64 = 64 * 1024;
/// And at the latest after this long. Not at once, since a keystroke's echo must not be followed by a frame that
/// wakes the server for nothing.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(50);

/// What a channel has to say to the connection it is on.
pub(super) struct Out<'a> {
    /// For the caller.
    pub(super) events: &'a mut VecDeque<super::Event>,
    /// For the server; `None` while there is no connection to it.
    pub(super) send: Option<&'a mut VecDeque<Vec<u8>>>,
}

impl Out<'_> {
    fn event(&mut self, channel: ChannelId, event: ChannelEvent) {
        self.events.push_back(super::Event::Channel(channel, event));
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        if let Some(send) = &mut self.send {
            let mut bytes = Vec::with_capacity(frame.payload.len() + lap_wire::limits::MAX_HEADER);
            frame.encode(&mut bytes);
            send.push_back(bytes);
        }
    }

    pub(super) fn message(&mut self, channel: ChannelId, message: &ClientMessage) {
        // Only names and numbers of our own: always well below the limit of a message.
        if let Ok(payload) = lap_wire::control::to_payload(message) {
            self.frame(&lap_wire::control::frame(channel, 0, &payload));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Asked for, or to be asked for when there is a connection.
    Opening,
    Open,
    /// Refused for now.
    Waiting(Instant),
}

/// A place in one life of the output.
#[derive(Clone, Copy, Debug)]
struct Place {
    epoch: Epoch,
    /// The caller has been given everything before this.
    offset: u64,
    size_generation: u32,
    /// Whether what the caller has is the screen at `offset`; not so between a gap and the snapshot that fills it.
    whole: bool,
}

pub(super) struct Channel {
    id: ChannelId,
    spec: ChannelSpec,
    state: State,
    place: Option<Place>,
    snapshot: Option<BytesMut>,
    processed: u64,
    acked: u64,
    /// The offset of a snapshot that the caller was given and that is not acknowledged: also where that offset was
    /// acknowledged before, as output or by opening there.
    snapshot_unacked: Option<u64>,
    ack_due: Option<Instant>,
    typing: Typing,
    backoff: Backoff,
    refusal: Option<WireError>,
}

impl Channel {
    pub(super) fn new(id: ChannelId, spec: ChannelSpec, seed: u64) -> Channel {
        Channel {
            id,
            spec,
            state: State::Opening,
            place: None,
            snapshot: None,
            processed: 0,
            acked: 0,
            snapshot_unacked: None,
            ack_due: None,
            typing: Typing::new(id),
            backoff: Backoff::new(seed),
            refusal: None,
        }
    }

    /// When it has something to do without being asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => Some(at),
            _ => self.ack_due.into_iter().chain(self.typing.deadline()).min(),
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Out<'_>) {
        match self.state {
            State::Waiting(at) if at <= now => self.open(out),
            State::Open => {
                if self.ack_due.is_some_and(|at| at <= now) {
                    self.send_ack(out);
                }
                self.typing.tick(now, out);
            }
            _ => {}
        }
    }

    /// The connection is gone: nothing is due until there is another.
    pub(super) fn disconnected(&mut self) {
        self.state = State::Opening;
        self.ack_due = None;
        self.typing.disconnected();
        if self.snapshot.take().is_some() {
            self.broken();
        }
    }

    /// Asks for the channel, going on where it was.
    pub(super) fn open(&mut self, out: &mut Out<'_>) {
        self.state = State::Opening;
        self.refusal = None;
        let since = self.place.filter(|p| p.whole).map(|p| Since {
            epoch: p.epoch,
            offset: p.offset,
            size_generation: p.size_generation,
        });
        let spec = self.spec.clone();
        let open = Open {
            stream: spec.stream,
            size: spec.size,
            since,
            window: spec.window,
            scrollback: spec.scrollback,
            visible: spec.visible,
            input: spec.input,
            ..Open::new(spec.session, spec.mode)
        };
        out.message(self.id, &ClientMessage::Open(open));
    }

    // What the caller wants.

    pub(super) fn type_in(
        &mut self,
        bytes: &Bytes,
        reply: bool,
        out: &mut Out<'_>,
    ) -> Result<(), CommandError> {
        if self.spec.mode == Mode::View {
            return Err(CommandError::ReadOnly(self.id));
        }
        if self.typing.queued() + bytes.len() > MAX_QUEUED_INPUT {
            return Err(CommandError::InputFull(bytes.len()));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if reply {
            // Outside the stream: an answer that is late is worse than none.
            if self.state == State::Open {
                for piece in bytes.chunks(MAX_PAYLOAD) {
                    out.frame(&Frame::new(FrameType::Input, self.id, 0, piece).with_flags(flags::REPLY));
                }
            }
            return Ok(());
        }
        self.typing.push(bytes);
        self.pump(out);
        Ok(())
    }

    /// Nothing more will be typed.
    pub(super) fn end_input(&mut self, out: &mut Out<'_>) {
        self.typing.end();
        self.pump(out);
    }

    pub(super) fn processed(&mut self, offset: u64, now: Instant, out: &mut Out<'_>) {
        let Some(place) = self.place else { return };
        self.processed = self.processed.max(offset.min(place.offset));
        let behind = self.processed - self.acked;
        if self.state != State::Open || (behind == 0 && !self.owes_snapshot()) {
            return;
        }
        let window = if self.spec.window == 0 { DEFAULT_WINDOW } else { self.spec.window };
        // The server may wait with the next one until it knows that this one was seen.
        if self.owes_snapshot() || behind >= ACK_BYTES.min(u64::from(window / 4).max(1)) {
            self.send_ack(out);
        } else if self.ack_due.is_none() {
            self.ack_due = Some(now + ACK_DELAY);
        }
    }

    pub(super) fn resize(&mut self, size: Size, out: &mut Out<'_>) {
        if self.spec.size != Some(size) {
            self.spec.size = Some(size);
            self.tell(&ClientMessage::Resize(size), out);
        }
    }

    pub(super) fn visible(&mut self, visible: bool, out: &mut Out<'_>) {
        if self.spec.visible != visible {
            self.spec.visible = visible;
            self.tell(&ClientMessage::Visible { visible }, out);
        }
    }

    /// Says something that means nothing later: a signal, a wish for the lease.
    pub(super) fn tell(&mut self, message: &ClientMessage, out: &mut Out<'_>) {
        // While opening, the open itself carries size and visibility; the server reads both in order.
        if !matches!(self.state, State::Waiting(_)) {
            out.message(self.id, message);
        }
    }

    // What the server says.

    pub(super) fn output(&mut self, offset: u64, bytes: Bytes, out: &mut Out<'_>) {
        let Some(place) = &mut self.place else { return };
        if !place.whole {
            // Between a gap and its snapshot: the snapshot stands for these bytes.
            return;
        }
        if offset != place.offset {
            self.broken();
            let scrollback = self.spec.scrollback;
            out.message(self.id, &ClientMessage::Snapshot { scrollback });
            return;
        }
        place.offset += bytes.len() as u64;
        out.event(self.id, ChannelEvent::Output { offset, bytes });
    }

    /// A piece of a snapshot. An error is the server's breach of the protocol.
    pub(super) fn snapshot(
        &mut self,
        offset: u64,
        flags: u8,
        bytes: Bytes,
        out: &mut Out<'_>,
    ) -> Result<(), String> {
        let Some(place) = &mut self.place else { return Err("a snapshot before the channel is open".into()) };
        let (first, last) = (flags & flags::FIRST != 0, flags & flags::LAST != 0);
        let whole = if first && last {
            self.snapshot = None;
            bytes
        } else if first {
            place.whole = false;
            self.snapshot = Some(BytesMut::from(&bytes[..]));
            return Ok(());
        } else {
            let Some(pieces) = &mut self.snapshot else {
                return Err("a snapshot without a beginning".into());
            };
            if pieces.len() + bytes.len() > MAX_SNAPSHOT {
                return Err("a snapshot without end".into());
            }
            pieces.extend_from_slice(&bytes);
            if !last {
                return Ok(());
            }
            self.snapshot.take().unwrap_or_default().freeze()
        };
        place.whole = true;
        place.offset = offset;
        self.snapshot_unacked = Some(offset);
        out.event(self.id, ChannelEvent::Snapshot { offset, bytes: whole });
        Ok(())
    }

    pub(super) fn input_ack(&mut self, offset: u64, out: &mut Out<'_>) {
        // One of before the channel was closed and opened again says nothing of this opening.
        if self.state == State::Open {
            self.typing.acked(offset, out);
        }
    }

    /// Whether the channel goes on.
    pub(super) fn message(&mut self, message: ServerMessage, now: Instant, out: &mut Out<'_>) -> bool {
        let event = match message {
            ServerMessage::Opened {
                epoch,
                offset,
                head,
                how,
                size,
                size_generation,
                input_offset,
                mode,
                title,
            } => {
                let place = Place { epoch, offset, size_generation, whole: false };
                self.opened(place, how, input_offset, out);
                ChannelEvent::Opened(Opened { epoch, offset, head, how, size, mode, title })
            }
            ServerMessage::Ready => ChannelEvent::Ready,
            ServerMessage::Resized { size, size_generation } => {
                if let Some(place) = &mut self.place {
                    place.size_generation = size_generation;
                }
                self.broken();
                ChannelEvent::Resized { size }
            }
            ServerMessage::Skipped { from, to } => {
                self.broken();
                ChannelEvent::Skipped { from, to }
            }
            ServerMessage::Exit(status) => ChannelEvent::Exit(status),
            ServerMessage::Presence { viewers } => ChannelEvent::Presence(viewers),
            ServerMessage::Attention { state, text } => ChannelEvent::Attention { state, text },
            ServerMessage::Title { title } => ChannelEvent::Title(title),
            ServerMessage::Lease { holder, mine } => ChannelEvent::Lease { holder, mine },
            ServerMessage::Error(error) => {
                if self.state == State::Opening {
                    return self.refused(error, out);
                }
                let (dealt_with, lost) = self.typing.refused(&error, now, out);
                if lost > 0 {
                    out.event(self.id, ChannelEvent::InputLost(lost));
                }
                if dealt_with {
                    return true;
                }
                ChannelEvent::Error(error)
            }
            ServerMessage::Closed { reason } => return self.closed(reason, now, out),
            // Messages of the connection and of keepers mean nothing on a channel.
            ServerMessage::Welcome { .. } | ServerMessage::Goaway { .. } | ServerMessage::Reply { .. } => {
                return true;
            }
        };
        out.event(self.id, event);
        if self.state == State::Open {
            self.pump(out);
        }
        true
    }

    /// An error while the channel is being opened; says whether it goes on.
    fn refused(&mut self, error: WireError, out: &mut Out<'_>) -> bool {
        // About something sent too early, such as a signal: the opening itself goes on.
        if error.code == ErrorCode::ChannelNotOpen {
            return true;
        }
        if error.retryable {
            // Told with the time of the next try, once the server has closed it.
            self.refusal = Some(error);
            return true;
        }
        let reason = error.message.clone();
        out.event(self.id, ChannelEvent::Error(error));
        out.event(self.id, ChannelEvent::Closed { reason });
        false
    }

    fn opened(&mut self, mut place: Place, how: How, input_offset: u64, out: &mut Out<'_>) {
        let before = self.place;
        let same_life = before.is_none_or(|b| b.epoch == place.epoch);
        place.whole =
            how == How::Exact && before.is_some_and(|b| b.whole && b.offset == place.offset && same_life);
        if how == How::Exact && !place.whole {
            // The very beginning of a program's output needs no snapshot: nothing came before it.
            place.whole = place.offset == 0 && before.is_none();
            if !place.whole {
                let scrollback = self.spec.scrollback;
                out.message(self.id, &ClientMessage::Snapshot { scrollback });
            }
        }
        self.state = State::Open;
        self.refusal = None;
        self.backoff.succeed();
        self.place = Some(place);
        self.snapshot = None;
        (self.processed, self.acked, self.ack_due) = (place.offset, place.offset, None);
        self.snapshot_unacked = None;
        // What was typed into a terminal that is gone is not typed into its successor.
        let lost = self.typing.opened(same_life, input_offset, out);
        if lost > 0 {
            out.event(self.id, ChannelEvent::InputLost(lost));
        }
    }

    fn closed(&mut self, reason: String, now: Instant, out: &mut Out<'_>) -> bool {
        let Some(error) = self.refusal.take() else {
            out.event(self.id, ChannelEvent::Closed { reason });
            return false;
        };
        let retry_in = self.backoff.fail();
        self.state = State::Waiting(now + retry_in);
        out.event(self.id, ChannelEvent::Retrying { error, retry_in });
        true
    }

    /// The caller's screen is no longer the terminal's: only a snapshot helps.
    fn broken(&mut self) {
        if let Some(place) = &mut self.place {
            place.whole = false;
        }
    }

    /// Whether the caller has processed a snapshot that the server has not been told of.
    fn owes_snapshot(&self) -> bool {
        self.snapshot_unacked.is_some_and(|offset| self.processed >= offset)
    }

    fn send_ack(&mut self, out: &mut Out<'_>) {
        self.ack_due = None;
        if self.processed > self.acked || self.owes_snapshot() {
            self.acked = self.processed;
            self.snapshot_unacked = self.snapshot_unacked.filter(|offset| *offset > self.processed);
            out.frame(&Frame::new(FrameType::Ack, self.id, self.acked, &[]));
        }
    }

    /// Sends what was typed, if the channel is open: only then are the offsets of this connection's stream known.
    fn pump(&mut self, out: &mut Out<'_>) {
        if self.state == State::Open {
            self.typing.send(out);
        }
    }
}
