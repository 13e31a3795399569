//! A channel to a program's stream for any thread: what has arrived waits in a bounded inbox, what is to be sent in a
//! bounded window, and both go on over reconnects.

mod remote;
mod shared;

use std::cell::Cell;
use std::sync::Arc;

use lap_wire::control::{ClientMessage, Open, ServerMessage};
use lap_wire::frame::flags;
use lap_wire::limits::{DEFAULT_WINDOW, MAX_PAYLOAD, MAX_SNAPSHOT_SCROLLBACK, MAX_WINDOW};
use tokio::sync::oneshot;

use self::remote::{Remote, serve};
use self::shared::Shared;
use super::{Keeper, LinkError, Opened};

/// What a snapshot may take beyond a channel's credit, which counts output only: its scrollback, and a screen of the
/// largest size with every cell styled.
const SNAPSHOT_ROOM: usize = MAX_SNAPSHOT_SCROLLBACK as usize + 16 * 1024 * 1024;
/// Control messages that may wait in either direction: titles, sizes, attention. A keeper that sends more without a word
/// of output in between is broken.
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

/// Whoever uses a channel. When the last is gone the channel is closed.
#[derive(Debug)]
struct User {
    shared: Arc<Shared>,
    /// The links live as long as somebody uses a channel.
    _keeper: Keeper,
}

impl Drop for User {
    fn drop(&mut self) {
        self.shared.lock().dropped = true;
        self.shared.to_do.notify_one();
    }
}

/// An open channel to one program's stream. Output is acknowledged as it is taken; a connection that breaks is mended
/// without a word, though a terminal may then go on with a snapshot. Dropping it closes the channel; the program goes
/// on.
#[derive(Debug)]
pub struct Channel {
    user: Arc<User>,
    opened: Opened,
    /// Acknowledged after so many bytes, or when there is nothing else to do and nothing is held back.
    ack_every: u64,
    hold_back: bool,
    taken: u64,
    acked: u64,
}

impl Keeper {
    /// Opens a channel and waits until the keeper has.
    ///
    /// # Errors
    /// `Refused` when the keeper does not let it be opened.
    pub async fn open(&self, open: Open) -> Result<Channel, LinkError> {
        let window = if open.window == 0 { DEFAULT_WINDOW } else { open.window.min(MAX_WINDOW) };
        let (keeper, sandbox) = (self.clone(), self.sandbox().clone());
        let opening = self.links().run(move |links| async move {
            let shared = Arc::new(Shared::new(window as usize, SNAPSHOT_ROOM));
            // Dropped with this, wherever it is: then the channel is closed.
            let user = Arc::new(User { shared: shared.clone(), _keeper: keeper });
            let (opened, waiting) = oneshot::channel();
            let remote = Remote { shared, open, opened: Cell::new(Some(opened)) };
            links.spawn(serve(links.link(&sandbox), remote));
            let lost = || Err(LinkError::Lost("the server is stopping".to_owned()));
            let opened = waiting.await.unwrap_or_else(|_| lost())?;
            Ok((user, opened))
        });
        let (user, opened) = opening.await?;
        let taken = opened.offset;
        Ok(Channel {
            user,
            opened,
            ack_every: u64::from(window / 4).max(1),
            hold_back: false,
            taken,
            acked: taken,
        })
    }
}

impl Channel {
    /// How it began.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Acknowledges nothing before so many bytes of output were taken: the keeper of a program on pipes retains what is
    /// not acknowledged, so that another who opens the stream anew gets it again. Less than the channel's window.
    pub fn hold_back(&mut self, bytes: u64) {
        (self.ack_every, self.hold_back) = (bytes, true);
    }

    /// Acknowledges what was taken up to this offset: the keeper of a program on pipes retains what follows. For a channel
    /// that holds back.
    pub fn acknowledge(&mut self, offset: u64) {
        if offset > self.acked {
            self.acked = offset;
            self.user.shared.lock().acknowledge(offset);
            self.user.shared.to_do.notify_one();
        }
    }

    /// What comes next. Taking it says that everything before it has been dealt with. Can be dropped while waiting.
    ///
    /// # Errors
    /// When the channel has ended; what arrived before is given out first.
    pub async fn next(&mut self) -> Result<ChannelEvent, LinkError> {
        let shared = &self.user.shared;
        loop {
            let event = {
                let mut state = shared.lock();
                let event = state.take();
                let due = self.taken.saturating_sub(self.acked);
                if due >= self.ack_every || due > 0 && event.is_none() && !self.hold_back {
                    state.acknowledge(self.taken);
                    self.acked = self.taken;
                    shared.to_do.notify_one();
                }
                event
            };
            if let Some(event) = event {
                let event = event?;
                match &event {
                    ChannelEvent::Output { offset, bytes } => {
                        self.taken = self.taken.max(offset + bytes.len() as u64);
                    }
                    ChannelEvent::Snapshot { offset, flags: of, .. } if of & flags::LAST != 0 => {
                        self.taken = self.taken.max(*offset);
                    }
                    ChannelEvent::Message(ServerMessage::Skipped { to, .. }) => {
                        self.taken = self.taken.max(*to);
                    }
                    _ => {}
                }
                return Ok(event);
            }
            shared.arrived.notified().await;
        }
    }

    /// Sends a message on it, after a reconnect if there is no connection now: a resize, a signal.
    ///
    /// # Errors
    /// When the channel has ended, or too much waits already. What the keeper thinks of it arrives as an event.
    pub fn send(&self, message: ClientMessage) -> Result<(), LinkError> {
        let mut state = self.user.shared.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        if state.outgoing.len() >= MAX_MESSAGES {
            return Err(LinkError::Lost("too many messages wait for it".to_owned()));
        }
        state.outgoing.push_back(message);
        drop(state);
        self.user.shared.to_do.notify_one();
        Ok(())
    }

    /// The input side, to be used beside [`Channel::next`]. One per channel: its offsets begin where the keeper said.
    #[must_use]
    pub fn input(&self) -> InputSender {
        InputSender { user: self.user.clone(), base: self.opened.input_offset }
    }
}

/// Types into a program, each byte once, no faster than the program takes them in.
#[derive(Debug)]
pub struct InputSender {
    user: Arc<User>,
    base: u64,
}

impl InputSender {
    /// Where this sender began: the keeper has had everything before it already.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// How much the program's input has taken in, as far as is known: an absolute offset.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let state = self.user.shared.lock();
        state.base + state.input.acked()
    }

    /// Sends `bytes`, waiting for room. Not all of them are sent if this is dropped while waiting.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let shared = &self.user.shared;
        for piece in bytes.chunks(MAX_PAYLOAD) {
            loop {
                {
                    let mut state = shared.lock();
                    if let Some(end) = &state.end {
                        return Err(end.clone());
                    }
                    if state.input.push(0, piece).is_some() {
                        break;
                    }
                }
                shared.progress.notified().await;
            }
            shared.to_do.notify_one();
        }
        Ok(())
    }

    /// Nothing more will be sent.
    pub fn eof(&mut self) {
        self.user.shared.lock().eof = true;
        self.user.shared.to_do.notify_one();
    }
}
