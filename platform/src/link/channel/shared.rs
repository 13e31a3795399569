//! What has arrived on a channel and was not taken, and what is to be sent on it: between the links' thread and whoever
//! uses the channel.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lap_wire::Epoch;
use lap_wire::control::{ClientMessage, How, ServerMessage};
use lap_wire::flow::Since;
use lap_wire::frame::flags;
use lap_wire::input::{Resumed, Unacknowledged};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::{LinkError, Opened};
use super::{ChannelEvent, MAX_MESSAGES};

/// Both ends' view of one channel.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// The inbox has something.
    pub(super) arrived: Notify,
    /// Input was acknowledged.
    pub(super) progress: Notify,
    /// The links' thread has something to send, or to end.
    pub(super) to_do: Notify,
    /// What the inbox may hold: what the keeper was given credit for on two connections, and a snapshot.
    max_bytes: usize,
    /// What of it is kept when the connection is lost. The rest comes again; without the first of it a connection that
    /// breaks often might bring nothing further.
    kept: usize,
}

/// Where a stream's reader is.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// Nowhere in the middle of a snapshot.
    since: Option<Since>,
    epoch: Epoch,
    size_generation: u32,
}

impl Position {
    /// Goes past an event.
    fn pass(&mut self, event: &ChannelEvent) {
        match event {
            ChannelEvent::Output { offset, bytes } => {
                if let Some(since) = &mut self.since {
                    since.offset = offset + bytes.len() as u64;
                }
            }
            ChannelEvent::Snapshot { offset, flags: of, .. } => {
                let Position { epoch, size_generation, .. } = *self;
                let whole = of & flags::LAST != 0;
                self.since = whole.then_some(Since { epoch, offset: *offset, size_generation });
            }
            ChannelEvent::Message(ServerMessage::Resized { size_generation, .. }) => {
                self.size_generation = *size_generation;
                // A snapshot follows; before its end there is no position.
                self.since = None;
            }
            ChannelEvent::Message(ServerMessage::Skipped { .. }) => self.since = None,
            ChannelEvent::Message(_) => {}
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    inbox: VecDeque<ChannelEvent>,
    bytes: usize,
    messages: usize,
    /// Nothing more will come, and why.
    pub(super) end: Option<LinkError>,
    /// Where what has been taken ends.
    taken: Position,
    was_open: bool,
    pub(super) is_open: bool,
    /// To be acknowledged.
    pub(super) ack: Option<u64>,
    /// What was said to be dealt with last: one that was sent may have been lost with its connection.
    acknowledged: Option<u64>,
    pub(super) outgoing: VecDeque<ClientMessage>,
    pub(super) input: Unacknowledged,
    /// Where the keeper had come when the channel was opened first: offset 0 of `input`.
    pub(super) base: u64,
    /// What of `input` has been sent on this connection.
    pub(super) sent: u64,
    pub(super) eof: bool,
    pub(super) eof_sent: bool,
    pub(super) held_until: Option<Instant>,
    /// Nobody uses it any more.
    pub(super) dropped: bool,
}

impl Shared {
    /// Of a channel whose keeper may send `window` bytes beyond what was acknowledged, and `snapshot` bytes of one.
    pub(super) fn new(window: usize, snapshot: usize) -> Shared {
        let kept = window / 2;
        let state = State {
            inbox: VecDeque::new(),
            bytes: 0,
            messages: 0,
            end: None,
            taken: Position { since: None, epoch: Epoch(0), size_generation: 0 },
            was_open: false,
            is_open: false,
            ack: None,
            acknowledged: None,
            outgoing: VecDeque::new(),
            input: Unacknowledged::new(),
            base: 0,
            sent: 0,
            eof: false,
            eof_sent: false,
            held_until: None,
            dropped: false,
        };
        Shared {
            state: Mutex::new(state),
            arrived: Notify::new(),
            progress: Notify::new(),
            to_do: Notify::new(),
            max_bytes: kept + window + snapshot,
            kept,
        }
    }

    /// The connection is lost.
    pub(super) fn broken(&self) {
        self.lock().broken(self.kept);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self, why: LinkError) {
        self.lock().end.get_or_insert(why);
        self.arrived.notify_one();
        self.progress.notify_one();
        self.to_do.notify_one();
    }

    /// Puts something into the inbox, unless the keeper has sent more than it may.
    pub(super) fn arrive(&self, put: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        put(&mut state);
        let over = state.bytes > self.max_bytes || state.messages > MAX_MESSAGES;
        drop(state);
        if over {
            self.end(LinkError::Protocol("it sent more on a channel than it had credit for".to_owned()));
        }
        self.arrived.notify_one();
    }
}

impl State {
    /// Has everything before this acknowledged, on this connection and on each that follows.
    pub(super) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(Some(offset));
        self.ack = self.acknowledged;
    }

    pub(super) fn output(&mut self, offset: u64, piece: &[u8]) {
        self.bytes += piece.len();
        match self.inbox.back_mut() {
            Some(ChannelEvent::Output { offset: from, bytes }) if *from + bytes.len() as u64 == offset => {
                bytes.extend_from_slice(piece);
            }
            _ => self.inbox.push_back(ChannelEvent::Output { offset, bytes: piece.to_vec() }),
        }
    }

    pub(super) fn snapshot(&mut self, offset: u64, piece_flags: u8, piece: &[u8]) {
        self.bytes += piece.len();
        self.inbox.push_back(ChannelEvent::Snapshot { offset, flags: piece_flags, bytes: piece.to_vec() });
    }

    pub(super) fn message(&mut self, message: ServerMessage) {
        self.messages += 1;
        self.inbox.push_back(ChannelEvent::Message(message));
    }

    /// The next event; taking it makes room.
    pub(super) fn take(&mut self) -> Option<Result<ChannelEvent, LinkError>> {
        let Some(event) = self.inbox.pop_front() else { return self.end.clone().map(Err) };
        match &event {
            ChannelEvent::Output { bytes, .. } | ChannelEvent::Snapshot { bytes, .. } => {
                self.bytes -= bytes.len()
            }
            ChannelEvent::Message(_) => self.messages -= 1,
        }
        self.taken.pass(&event);
        Some(Ok(event))
    }

    /// Where a new connection goes on: behind everything that has arrived.
    pub(super) fn since(&self, first: Option<Since>) -> Option<Since> {
        if !self.was_open {
            return first;
        }
        let mut position = self.taken;
        self.inbox.iter().for_each(|event| position.pass(event));
        position.since
    }

    /// What has arrived is kept up to some bytes; what is behind them comes again, in its place among all else.
    fn broken(&mut self, kept: usize) {
        (self.is_open, self.held_until) = (false, None);
        let mut room = kept;
        let mut keep = 0;
        for event in &mut self.inbox {
            match event {
                ChannelEvent::Output { bytes, .. } => {
                    bytes.truncate(room);
                    room -= bytes.len();
                }
                ChannelEvent::Snapshot { bytes, .. } if bytes.len() <= room => room -= bytes.len(),
                // Half a piece is none.
                ChannelEvent::Snapshot { .. } => room = 0,
                ChannelEvent::Message(_) => {}
            }
            if room == 0 {
                break;
            }
            keep += 1;
        }
        // The one that was cut is kept if anything of it was.
        let cut =
            matches!(self.inbox.get(keep), Some(ChannelEvent::Output { bytes, .. }) if !bytes.is_empty());
        self.inbox.truncate(keep + usize::from(cut));
        self.messages = self.inbox.iter().filter(|event| matches!(event, ChannelEvent::Message(_))).count();
        self.bytes = kept - room;
    }

    /// It is open, for the first time or again.
    pub(super) fn opened(&mut self, opened: &Opened) -> Result<(), LinkError> {
        let Opened { epoch, offset, size_generation, .. } = *opened;
        if !self.was_open {
            (self.was_open, self.base) = (true, opened.input_offset);
            let since = Since { epoch, offset, size_generation };
            self.taken = Position { since: Some(since), epoch, size_generation };
            self.taken.since = self.taken.since.filter(|_| opened.how == How::Exact);
        } else if self.taken.epoch != epoch {
            return Err(LinkError::Closed("its program has ended and was started anew".to_owned()));
        } else {
            let at = opened.input_offset.checked_sub(self.base);
            // A stream into which nothing was typed has nothing to lose.
            if self.input.end() > 0 && at.is_none_or(|at| self.input.resume(at) == Resumed::Forgotten) {
                return Err(LinkError::Lost("its keeper no longer knows what was typed".to_owned()));
            }
            let mut arrived = self.taken;
            self.inbox.iter().for_each(|event| arrived.pass(event));
            if arrived.size_generation != size_generation {
                self.message(ServerMessage::Resized { size: opened.size, size_generation });
            }
        }
        (self.sent, self.eof_sent, self.is_open) = (self.input.acked(), false, true);
        self.held_until = None;
        self.ack = self.acknowledged;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_said_again_on_the_next_connection() {
        let shared = Shared::new(1024, 0);
        let mut state = shared.lock();
        let opened = Opened::of_file();
        state.opened(&opened).unwrap();
        assert_eq!(state.ack, None);
        state.acknowledge(100);
        assert_eq!(state.ack.take(), Some(100), "sent, and lost with its connection");
        state.broken(512);
        state.opened(&opened).unwrap();
        assert_eq!(state.ack.take(), Some(100));
        state.acknowledge(50);
        assert_eq!(state.ack.take(), Some(100), "it never goes back");
    }

    fn take(shared: &Shared) -> Option<Result<ChannelEvent, LinkError>> {
        shared.lock().take()
    }

    #[test]
    fn adjacent_output_is_joined_and_a_gap_is_not() {
        let inbox = Shared::new(100, 0);
        inbox.arrive(|state| state.output(0, b"ab"));
        inbox.arrive(|state| state.output(2, b"cd"));
        inbox.arrive(|state| state.output(9, b"z"));
        assert_eq!(take(&inbox), Some(Ok(ChannelEvent::Output { offset: 0, bytes: b"abcd".to_vec() })));
        assert_eq!(take(&inbox), Some(Ok(ChannelEvent::Output { offset: 9, bytes: b"z".to_vec() })));
        assert_eq!(take(&inbox), None);
    }

    #[test]
    fn more_than_the_credit_ends_the_channel_and_taking_makes_room_again() {
        let inbox = Shared::new(4, 0);
        inbox.arrive(|state| state.output(0, b"abcdef"));
        assert!(take(&inbox).is_some());
        inbox.arrive(|state| state.output(6, b"ghijkl"));
        assert!(inbox.lock().end.is_none());
        inbox.arrive(|state| state.output(12, b"m"));
        assert!(matches!(inbox.lock().end, Some(LinkError::Protocol(_))));
    }

    fn opened(offset: u64) -> Opened {
        Opened { epoch: Epoch(1), offset, size_generation: 1, ..Opened::of_file() }
    }

    #[test]
    fn of_what_was_not_taken_when_the_connection_broke_some_is_kept_and_the_rest_asked_for_again() {
        let inbox = Shared::new(8, 100);
        inbox.lock().opened(&opened(10)).unwrap();
        inbox.arrive(|state| state.output(10, b"ab"));
        inbox.arrive(|state| state.message(ServerMessage::Ready));
        inbox.arrive(|state| state.output(12, b"cdefgh"));
        inbox.arrive(|state| state.message(ServerMessage::Ready));
        inbox.broken();
        let since = inbox.lock().since(None).unwrap();
        assert_eq!(since.offset, 14);
        inbox.lock().opened(&opened(14)).unwrap();
        inbox.arrive(|state| state.output(14, b"efgh"));
        let taken: Vec<_> = std::iter::from_fn(|| take(&inbox)).map(Result::unwrap).collect();
        let output = |offset, bytes: &[u8]| ChannelEvent::Output { offset, bytes: bytes.to_vec() };
        let ready = ChannelEvent::Message(ServerMessage::Ready);
        assert_eq!(taken, [output(10, b"ab"), ready, output(12, b"cdefgh")]);
        let state = inbox.lock();
        assert_eq!((state.bytes, state.messages), (0, 0));
    }

    #[test]
    fn in_the_middle_of_a_snapshot_there_is_no_position() {
        let inbox = Shared::new(8, 100);
        inbox.lock().opened(&opened(10)).unwrap();
        inbox.arrive(|state| state.snapshot(20, flags::FIRST, b"x"));
        assert_eq!(inbox.lock().since(None), None);
        inbox.arrive(|state| state.snapshot(20, flags::LAST, b"y"));
        assert_eq!(inbox.lock().since(None).map(|since| since.offset), Some(20));
        inbox.arrive(|state| state.snapshot(30, flags::FIRST, b"a whole piece"));
        inbox.broken();
        assert_eq!(inbox.lock().since(None).map(|since| since.offset), Some(20), "half a snapshot is none");
    }

    #[test]
    fn what_arrived_before_the_end_can_still_be_taken() {
        let inbox = Shared::new(4, 0);
        inbox.arrive(|state| state.output(0, b"ab"));
        inbox.end(LinkError::Lost("eof".to_owned()));
        assert!(matches!(take(&inbox), Some(Ok(ChannelEvent::Output { .. }))));
        assert_eq!(take(&inbox), Some(Err(LinkError::Lost("eof".to_owned()))));
    }
}
