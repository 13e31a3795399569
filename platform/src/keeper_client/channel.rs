use std::sync::Arc;

use lap_wire::control::{ClientMessage, ErrorCode, How, Mode, Open, ServerMessage, Size, WireError};
use lap_wire::input::Unacknowledged;
use lap_wire::limits::{DEFAULT_WINDOW, MAX_PAYLOAD, MAX_SNAPSHOT_SCROLLBACK, MAX_WINDOW};
use lap_wire::{ChannelId, Epoch, Frame, FrameType};

use super::inbox::Inbox;
use super::link::Link;
use super::{CALL_TIMEOUT, ChannelEvent, KeeperClient, KeeperError, send_message};

/// What a snapshot may take beyond a channel's credit, which counts output only: its scrollback, and a screen of the
/// largest size with every cell styled.
const SNAPSHOT_ROOM: usize = MAX_SNAPSHOT_SCROLLBACK as usize + 16 * 1024 * 1024;

/// How a channel began: the keeper's `opened`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // Field by field as documented at `ServerMessage::Opened`.
pub struct Opened {
    pub epoch: Epoch,
    pub offset: u64,
    pub head: u64,
    pub how: How,
    pub size: Size,
    pub size_generation: u32,
    pub input_offset: u64,
    pub mode: Mode,
    pub title: Option<String>,
}

/// An open channel to one program's stream. Output is acknowledged as it is taken. Dropping it closes the channel; the
/// program goes on.
#[derive(Debug)]
pub struct Channel {
    shared: Arc<ChannelShared>,
    opened: Opened,
    /// Acknowledged after so many bytes, or when there is nothing else to do.
    ack_every: u64,
    taken: u64,
    acked: u64,
}

#[derive(Debug)]
struct ChannelShared {
    link: Arc<Link>,
    id: ChannelId,
    inbox: Arc<Inbox>,
}

impl Drop for ChannelShared {
    fn drop(&mut self) {
        self.link.end_channel(self.id);
    }
}

impl KeeperClient {
    /// Opens a channel and waits until the keeper has.
    ///
    /// # Errors
    /// `Refused` when the keeper does not let it be opened.
    pub async fn open(&self, open: Open) -> Result<Channel, KeeperError> {
        let window = if open.window == 0 { DEFAULT_WINDOW } else { open.window.min(MAX_WINDOW) };
        let (id, inbox) = self.link.begin_channel(window as usize + SNAPSHOT_ROOM)?;
        let shared = Arc::new(ChannelShared { link: Arc::clone(&self.link), id, inbox });
        let opening = async {
            self.send_message(id, &ClientMessage::Open(open)).await?;
            shared.opened().await
        };
        let opened = tokio::time::timeout(CALL_TIMEOUT, opening)
            .await
            .unwrap_or(Err(KeeperError::TimedOut { call: "open", after: CALL_TIMEOUT }))?;
        let taken = opened.offset;
        Ok(Channel { shared, opened, ack_every: u64::from(window / 4).max(1), taken, acked: taken })
    }

    /// A channel that the keeper opens by a call, not by `open`: the file being written.
    pub(super) fn bare_channel(&self) -> Result<BareChannel, KeeperError> {
        let (id, inbox) = self.link.begin_channel(0)?;
        Ok(BareChannel { shared: Arc::new(ChannelShared { link: Arc::clone(&self.link), id, inbox }) })
    }
}

impl ChannelShared {
    async fn next(&self) -> Result<ChannelEvent, KeeperError> {
        loop {
            if let Some(event) = self.inbox.try_next() {
                return event;
            }
            self.inbox.arrived().await;
        }
    }

    async fn opened(&self) -> Result<Opened, KeeperError> {
        match self.next().await? {
            ChannelEvent::Message(ServerMessage::Opened {
                epoch,
                offset,
                head,
                how,
                size,
                size_generation,
                input_offset,
                mode,
                title,
            }) => Ok(Opened { epoch, offset, head, how, size, size_generation, input_offset, mode, title }),
            ChannelEvent::Message(ServerMessage::Error(error)) => Err(KeeperError::Refused(error)),
            ChannelEvent::Message(ServerMessage::Closed { reason }) => {
                Err(KeeperError::Refused(WireError::new(ErrorCode::NotReady, reason)))
            }
            other => Err(KeeperError::Protocol(format!("before `opened` it sent {}", name_of(&other)))),
        }
    }
}

impl Channel {
    /// How it began.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What comes next. Taking it says that everything before it has been dealt with. Can be dropped while waiting.
    ///
    /// # Errors
    /// When the connection has ended; what arrived before is given out first.
    pub async fn next(&mut self) -> Result<ChannelEvent, KeeperError> {
        loop {
            if self.taken - self.acked >= self.ack_every {
                self.ack().await?;
            }
            if let Some(event) = self.shared.inbox.try_next() {
                let event = event?;
                match &event {
                    ChannelEvent::Output { offset, bytes } => self.taken = offset + bytes.len() as u64,
                    ChannelEvent::Message(ServerMessage::Skipped { to, .. }) => self.taken = *to,
                    _ => {}
                }
                return Ok(event);
            }
            if self.taken > self.acked {
                self.ack().await?;
            }
            self.shared.inbox.arrived().await;
        }
    }

    async fn ack(&mut self) -> Result<(), KeeperError> {
        let frame = Frame::new(FrameType::Ack, self.shared.id, self.taken, &[]);
        self.shared.link.send(frame).await?;
        self.acked = self.taken;
        Ok(())
    }

    /// Sends a message on it: a resize, a signal, who answers queries.
    ///
    /// # Errors
    /// When the connection has ended. What the keeper thinks of it arrives as an event.
    pub async fn send(&self, message: &ClientMessage) -> Result<(), KeeperError> {
        send_message(&self.shared.link, self.shared.id, message).await
    }

    /// The input side, to be used beside [`Channel::next`]. One per channel: its offsets begin where the keeper said.
    #[must_use]
    pub fn input(&self) -> InputSender {
        InputSender::new(Arc::clone(&self.shared), self.opened.input_offset)
    }
}

/// Types into a program, each byte once, no faster than the program takes them in.
#[derive(Debug)]
pub struct InputSender {
    shared: Arc<ChannelShared>,
    outstanding: Unacknowledged,
    base: u64,
}

impl InputSender {
    fn new(shared: Arc<ChannelShared>, base: u64) -> InputSender {
        InputSender { shared, outstanding: Unacknowledged::new(), base }
    }

    /// Where this sender began: the keeper has had everything before it already.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Sends `bytes`, waiting for room. Not all of them are sent if this is dropped while waiting.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), KeeperError> {
        for piece in bytes.chunks(MAX_PAYLOAD) {
            while self.outstanding.room() < piece.len() {
                self.progress().await?;
            }
            if let Some(at) = self.outstanding.push(0, piece) {
                self.shared
                    .link
                    .send(Frame::new(FrameType::Input, self.shared.id, self.base + at, piece))
                    .await?;
            }
        }
        Ok(())
    }

    /// Nothing more will be sent.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn eof(&mut self) -> Result<(), KeeperError> {
        send_message(&self.shared.link, self.shared.id, &ClientMessage::StdinEof).await
    }

    /// Waits until the program has taken in something of what is outstanding.
    async fn progress(&mut self) -> Result<(), KeeperError> {
        let had = self.outstanding.outstanding().next().map_or(self.outstanding.end(), |(at, ..)| at);
        let acked = self.shared.inbox.input_past(self.base + had).await?;
        self.outstanding.ack(acked - self.base);
        Ok(())
    }
}

/// A channel that carries bytes to the keeper and only messages back.
#[derive(Debug)]
pub(super) struct BareChannel {
    shared: Arc<ChannelShared>,
}

impl BareChannel {
    /// Its number, for the call that opens it.
    pub(super) fn id(&self) -> ChannelId {
        self.shared.id
    }

    /// Its input side.
    pub(super) fn input(&self) -> InputSender {
        InputSender::new(Arc::clone(&self.shared), 0)
    }

    /// The next message.
    pub(super) async fn next(&self) -> Result<ChannelEvent, KeeperError> {
        self.shared.next().await
    }
}

/// For messages about the protocol: never the bytes, which are the program's.
fn name_of(event: &ChannelEvent) -> &'static str {
    match event {
        ChannelEvent::Output { .. } => "output",
        ChannelEvent::Snapshot { .. } => "a snapshot",
        ChannelEvent::Message(_) => "another message",
    }
}
