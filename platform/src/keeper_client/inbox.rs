//! What has arrived on one channel and has not been taken yet. Bounded in bytes by the credit the keeper was given, so
//! the connection's reader never waits for one channel's consumer, and one slow consumer never holds up the others.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lap_wire::control::ServerMessage;
use tokio::sync::Notify;

use super::KeeperError;

/// Control messages a channel may have waiting: titles, sizes, attention. A keeper that sends more without a word of
/// output in between is broken.
const MAX_MESSAGES: usize = 1024;

/// What arrives on a channel, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChannelEvent {
    /// Output of the program.
    Output {
        /// The absolute offset of its first byte.
        offset: u64,
        /// The bytes; pieces that arrived while nobody looked are joined.
        bytes: Vec<u8>,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// The output offset it stands for.
        offset: u64,
        /// `FIRST` and `LAST` of [`lap_wire::frame::flags`].
        flags: u8,
        /// Escape sequences.
        bytes: Vec<u8>,
    },
    /// Anything else: ready, resized, exit, title, attention, error, closed.
    Message(ServerMessage),
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<ChannelEvent>,
    bytes: usize,
    messages: usize,
    /// All input before this has been written to the program.
    input_acked: u64,
    /// Nothing more will come, and why.
    end: Option<KeeperError>,
}

/// One channel's queue: filled by the connection's reader, emptied by the channel's owner.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    arrived: Notify,
    input_progress: Notify,
    max_bytes: usize,
}

impl Inbox {
    /// One whose peer may have `max_bytes` of output and snapshots on the way.
    pub(super) fn new(max_bytes: usize) -> Inbox {
        Inbox { queue: Mutex::default(), arrived: Notify::new(), input_progress: Notify::new(), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Output arrived. An error when the keeper sent more than it had credit for.
    pub(super) fn push_output(&self, offset: u64, piece: &[u8]) -> Result<(), KeeperError> {
        let mut queue = self.lock();
        queue.bytes += piece.len();
        self.check(&queue)?;
        let joined = match queue.events.back_mut() {
            Some(ChannelEvent::Output { offset: from, bytes }) if *from + bytes.len() as u64 == offset => {
                bytes.extend_from_slice(piece);
                true
            }
            _ => false,
        };
        if !joined {
            queue.events.push_back(ChannelEvent::Output { offset, bytes: piece.to_vec() });
        }
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// A piece of a snapshot arrived.
    pub(super) fn push_snapshot(&self, offset: u64, flags: u8, piece: &[u8]) -> Result<(), KeeperError> {
        let mut queue = self.lock();
        queue.bytes += piece.len();
        self.check(&queue)?;
        queue.events.push_back(ChannelEvent::Snapshot { offset, flags, bytes: piece.to_vec() });
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// A control message arrived.
    pub(super) fn push_message(&self, message: ServerMessage) -> Result<(), KeeperError> {
        let mut queue = self.lock();
        queue.messages += 1;
        self.check(&queue)?;
        queue.events.push_back(ChannelEvent::Message(message));
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    fn check(&self, queue: &Queue) -> Result<(), KeeperError> {
        if queue.bytes > self.max_bytes || queue.messages > MAX_MESSAGES {
            return Err(KeeperError::Protocol("it sent more on a channel than it had credit for".to_owned()));
        }
        Ok(())
    }

    /// All input before `offset` has been written to the program.
    pub(super) fn input_acked(&self, offset: u64) {
        let mut queue = self.lock();
        queue.input_acked = queue.input_acked.max(offset);
        drop(queue);
        self.input_progress.notify_one();
    }

    /// Nothing more will come. What is queued can still be taken.
    pub(super) fn end(&self, why: KeeperError) {
        self.lock().end.get_or_insert(why);
        self.arrived.notify_one();
        self.input_progress.notify_one();
    }

    /// What can be taken now; `None` when nothing has arrived.
    pub(super) fn try_next(&self) -> Option<Result<ChannelEvent, KeeperError>> {
        let mut queue = self.lock();
        let Some(event) = queue.events.pop_front() else { return queue.end.clone().map(Err) };
        match &event {
            ChannelEvent::Output { bytes, .. } | ChannelEvent::Snapshot { bytes, .. } => {
                queue.bytes -= bytes.len()
            }
            ChannelEvent::Message(_) => queue.messages -= 1,
        }
        Some(Ok(event))
    }

    /// Waits until [`Inbox::try_next`] may have something. For one waiter.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until more than `before` input bytes are written, and says how many are.
    pub(super) async fn input_past(&self, before: u64) -> Result<u64, KeeperError> {
        loop {
            {
                let queue = self.lock();
                if queue.input_acked > before {
                    return Ok(queue.input_acked);
                }
                if let Some(end) = &queue.end {
                    return Err(end.clone());
                }
            }
            self.input_progress.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_output_is_joined_and_a_gap_is_not() {
        let inbox = Inbox::new(100);
        inbox.push_output(0, b"ab").unwrap();
        inbox.push_output(2, b"cd").unwrap();
        inbox.push_output(9, b"z").unwrap();
        assert_eq!(inbox.try_next(), Some(Ok(ChannelEvent::Output { offset: 0, bytes: b"abcd".to_vec() })));
        assert_eq!(inbox.try_next(), Some(Ok(ChannelEvent::Output { offset: 9, bytes: b"z".to_vec() })));
        assert_eq!(inbox.try_next(), None);
    }

    #[test]
    fn more_than_the_credit_is_an_error_and_taking_makes_room_again() {
        let inbox = Inbox::new(4);
        inbox.push_output(0, b"abcd").unwrap();
        assert!(inbox.try_next().is_some());
        inbox.push_output(4, b"efgh").unwrap();
        assert!(matches!(inbox.push_output(8, b"i"), Err(KeeperError::Protocol(_))));
    }

    #[test]
    fn what_arrived_before_the_end_can_still_be_taken() {
        let inbox = Inbox::new(4);
        inbox.push_message(ServerMessage::Ready).unwrap();
        inbox.end(KeeperError::Lost("eof".to_owned()));
        assert_eq!(inbox.try_next(), Some(Ok(ChannelEvent::Message(ServerMessage::Ready))));
        assert_eq!(inbox.try_next(), Some(Err(KeeperError::Lost("eof".to_owned()))));
    }

    #[test]
    fn a_flood_of_control_messages_is_an_error() {
        let inbox = Inbox::new(4);
        let flood = (0..=MAX_MESSAGES).find_map(|_| inbox.push_message(ServerMessage::Ready).err());
        assert!(matches!(flood, Some(KeeperError::Protocol(_))));
    }
}
