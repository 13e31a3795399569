//! The client of `lap.attach.v1`: many terminals over one WebSocket, that mends itself.
//!
//! - [`Core`] is the protocol without IO: commands, received messages and the time go in; events, messages to send and
//!   the next deadline come out. Everything that must never go wrong (output contiguous over any number of
//!   reconnects, input written exactly once) is decided there and tested there.
//! - [`AttachClient`] is the socket around it. It has no task of its own: whoever owns it awaits
//!   [`AttachClient::next`] in its own loop, so that a keystroke reaches the socket and output its reader without a
//!   hop in between.
//!
//! Back-pressure: the socket is read only while the caller asks for events, and the server sends no more than a
//! window beyond what the caller said it has [processed](Command::Processed). A caller that stops taking events holds
//! at most one message's worth of them here.

mod backoff;
mod channel;
mod connect;
mod core;
mod event;
#[cfg(test)]
mod heartbeat;
mod io;
#[cfg(test)]
mod law;
mod typing;

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use lap_wire::ChannelId;
use lap_wire::control::{LeaseAction, Mode, Size, Stream};
use lap_wire::limits::MAX_WINDOW;

pub use self::backoff::Backoff;
pub use self::connect::{ATTACH_PATH, Credentials, Endpoint};
pub use self::core::{Core, Lost};
pub use self::event::{ChannelEvent, Event, Link, Opened};
pub use self::io::{AttachClient, Locate};

/// Input accepted for a channel while the program takes none: a large paste. Beyond it input is refused, so that a
/// stuck program cannot make its viewer grow.
pub const MAX_QUEUED_INPUT: usize = 4 * 1024 * 1024;

/// A number no other channel of this process has or had.
#[must_use]
pub fn new_channel() -> ChannelId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    ChannelId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a channel is opened with, now and again after each reconnect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelSpec {
    /// The session's id.
    pub session: String,
    /// Which stream of it.
    pub stream: Stream,
    /// Watch, or watch and type.
    pub mode: Mode,
    /// The viewer's size; without one it does not count for the terminal's.
    pub size: Option<Size>,
    /// Whether it is looked at: a hidden channel is sent no output.
    pub visible: bool,
    /// Bytes of scrollback a snapshot should carry.
    pub scrollback: u32,
    /// Bytes the server may send beyond what was processed; 0 for the protocol's default.
    pub window: u32,
    /// Names the input stream, the same over reconnects: what makes input exactly once.
    pub input: Option<String>,
}

impl ChannelSpec {
    /// A visible channel to a session's terminal, with an input stream of its own if the mode can type. The window is
    /// the largest there is: over a long and fast link a smaller one would be what limits it.
    #[must_use]
    pub fn new(session: impl Into<String>, mode: Mode) -> ChannelSpec {
        let input = (mode != Mode::View).then(|| uuid::Uuid::new_v4().simple().to_string());
        ChannelSpec {
            session: session.into(),
            stream: Stream::Output,
            mode,
            size: None,
            visible: true,
            scrollback: 0,
            window: MAX_WINDOW,
            input,
        }
    }
}

/// What a caller wants of the connection. Data, so that a pure model can ask for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Opens a channel under a number from [`new_channel`]. It is opened again after each reconnect, until `Close`.
    Open {
        /// Its number.
        channel: ChannelId,
        /// What it is opened with.
        spec: ChannelSpec,
    },
    /// Types. Delivered exactly once, over reconnects too.
    Input {
        /// Where.
        channel: ChannelId,
        /// What.
        bytes: Bytes,
        /// A terminal's own answer to a query rather than something a person typed.
        reply: bool,
    },
    /// All output before `offset` has been dealt with: room for more.
    Processed {
        /// Of which channel.
        channel: ChannelId,
        /// An offset of its output.
        offset: u64,
    },
    /// The viewer's size has changed.
    Resize {
        /// Of which channel.
        channel: ChannelId,
        /// The new size.
        size: Size,
    },
    /// The viewer is (not) being looked at.
    Visible {
        /// Which.
        channel: ChannelId,
        /// Whether it is.
        visible: bool,
    },
    /// A signal to the program's process group.
    Signal {
        /// Of which channel.
        channel: ChannelId,
        /// A name like `SIGINT`.
        signal: String,
    },
    /// Nothing more will be typed.
    StdinEof {
        /// Where.
        channel: ChannelId,
    },
    /// A fresh snapshot, please.
    Snapshot {
        /// Of which channel.
        channel: ChannelId,
        /// Bytes of scrollback it should carry.
        scrollback: u32,
    },
    /// The right to type.
    Lease {
        /// Of which channel.
        channel: ChannelId,
        /// What to do with it.
        action: LeaseAction,
    },
    /// Ends the channel; the program goes on.
    Close {
        /// Which.
        channel: ChannelId,
    },
}

/// Why a command was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// No channel of that number, or it has ended.
    #[error("channel {0} is not open")]
    NotOpen(ChannelId),
    /// A number that is in use.
    #[error("channel {0} is open already")]
    InUse(ChannelId),
    /// More than [`MAX_QUEUED_INPUT`] waits to be typed.
    #[error("the program takes no input; {0} bytes were refused")]
    InputFull(usize),
    /// The channel only watches.
    #[error("channel {0} is read-only")]
    ReadOnly(ChannelId),
}
