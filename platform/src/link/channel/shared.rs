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
    pub(super) max_bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) inbox: VecDeque<ChannelEvent>,
    pub(super) bytes: usize,
    pub(super) messages: usize,
    /// Nothing more will come, and why.
    pub(super) end: Option<LinkError>,
    /// Where what has been taken ends; nowhere in the middle of a snapshot.
    pub(super) since: Option<Since>,
    pub(super) was_open: bool,
    pub(super) is_open: bool,
    pub(super) epoch: Epoch,
    /// Of what has been taken.
    pub(super) size_generation: u32,
    /// To be acknowledged.
    pub(super) ack: Option<u64>,
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
    /// Of a channel whose keeper may have `max_bytes` of output and snapshots on the way.
    pub(super) fn new(max_bytes: usize) -> Shared {
        let state = State {
            inbox: VecDeque::new(),
            bytes: 0,
            messages: 0,
            end: None,
            since: None,
            was_open: false,
            is_open: false,
            epoch: Epoch(0),
            size_generation: 0,
            ack: None,
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
            max_bytes,
        }
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

    /// The next event; taking it makes room, and is where a new connection goes on.
    pub(super) fn take(&mut self) -> Option<Result<ChannelEvent, LinkError>> {
        let Some(event) = self.inbox.pop_front() else { return self.end.clone().map(Err) };
        match &event {
            ChannelEvent::Output { offset, bytes } => {
                self.bytes -= bytes.len();
                if let Some(since) = &mut self.since {
                    since.offset = offset + bytes.len() as u64;
                }
            }
            ChannelEvent::Snapshot { offset, flags: of, bytes } => {
                self.bytes -= bytes.len();
                let (epoch, size_generation) = (self.epoch, self.size_generation);
                let whole = of & flags::LAST != 0;
                self.since = whole.then_some(Since { epoch, offset: *offset, size_generation });
            }
            ChannelEvent::Message(message) => {
                self.messages -= 1;
                match message {
                    ServerMessage::Resized { size_generation, .. } => {
                        self.size_generation = *size_generation;
                        // A snapshot follows; before its end there is no position.
                        self.since = None;
                    }
                    ServerMessage::Skipped { .. } => self.since = None,
                    _ => {}
                }
            }
        }
        Some(Ok(event))
    }

    /// What was not taken comes again, in its place among what else comes.
    pub(super) fn broken(&mut self) {
        (self.is_open, self.held_until) = (false, None);
        self.inbox.clear();
        (self.bytes, self.messages) = (0, 0);
    }

    /// It is open, for the first time or again.
    pub(super) fn opened(&mut self, opened: &Opened) -> Result<(), LinkError> {
        if !self.was_open {
            (self.was_open, self.epoch, self.base) = (true, opened.epoch, opened.input_offset);
        } else if self.epoch != opened.epoch {
            return Err(LinkError::Closed("its program has ended and was started anew".to_owned()));
        } else {
            let at = opened.input_offset.checked_sub(self.base);
            // A stream into which nothing was typed has nothing to lose.
            if self.input.end() > 0 && at.is_none_or(|at| self.input.resume(at) == Resumed::Forgotten) {
                return Err(LinkError::Lost("its keeper no longer knows what was typed".to_owned()));
            }
            if self.size_generation != opened.size_generation {
                let (size, size_generation) = (opened.size, opened.size_generation);
                self.message(ServerMessage::Resized { size, size_generation });
            }
        }
        self.size_generation = opened.size_generation;
        let (epoch, offset, size_generation) = (self.epoch, opened.offset, self.size_generation);
        self.since = (opened.how == How::Exact).then_some(Since { epoch, offset, size_generation });
        (self.sent, self.eof_sent, self.is_open) = (self.input.acked(), false, true);
        self.held_until = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shared: &Shared) -> Option<Result<ChannelEvent, LinkError>> {
        shared.lock().take()
    }

    #[test]
    fn adjacent_output_is_joined_and_a_gap_is_not() {
        let inbox = Shared::new(100);
        inbox.arrive(|state| state.output(0, b"ab"));
        inbox.arrive(|state| state.output(2, b"cd"));
        inbox.arrive(|state| state.output(9, b"z"));
        assert_eq!(take(&inbox), Some(Ok(ChannelEvent::Output { offset: 0, bytes: b"abcd".to_vec() })));
        assert_eq!(take(&inbox), Some(Ok(ChannelEvent::Output { offset: 9, bytes: b"z".to_vec() })));
        assert_eq!(take(&inbox), None);
    }

    #[test]
    fn more_than_the_credit_ends_the_channel_and_taking_makes_room_again() {
        let inbox = Shared::new(4);
        inbox.arrive(|state| state.output(0, b"abcd"));
        assert!(take(&inbox).is_some());
        inbox.arrive(|state| state.output(4, b"efgh"));
        assert!(inbox.lock().end.is_none());
        inbox.arrive(|state| state.output(8, b"i"));
        assert!(matches!(inbox.lock().end, Some(LinkError::Protocol(_))));
    }

    #[test]
    fn what_arrived_before_the_end_can_still_be_taken() {
        let inbox = Shared::new(4);
        inbox.arrive(|state| state.output(0, b"ab"));
        inbox.end(LinkError::Lost("eof".to_owned()));
        assert!(matches!(take(&inbox), Some(Ok(ChannelEvent::Output { .. }))));
        assert_eq!(take(&inbox), Some(Err(LinkError::Lost("eof".to_owned()))));
    }
}
