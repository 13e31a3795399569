//! What a caller is told.

use std::time::Duration;

use bytes::Bytes;
use lap_wire::control::{Attention, ExitStatus, How, Mode, Size, Viewer, WireError};
use lap_wire::{ChannelId, Epoch};

/// Something happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// To the connection, and so to every channel of it.
    Link(Link),
    /// To one channel.
    Channel(ChannelId, ChannelEvent),
}

/// How the connection is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// It stands; channels are being opened (again).
    Connected {
        /// The server's program and version.
        server: String,
        /// Whether this is another server process than before the connection was lost.
        restarted: bool,
    },
    /// It is lost or could not be made, and will be tried again.
    Reconnecting {
        /// How many attempts have failed in a row.
        attempt: u32,
        /// When the next one comes.
        retry_in: Duration,
        /// What went wrong.
        reason: String,
    },
    /// The server refuses this client for good; nothing is tried again until [`super::Core::retry_now`].
    Refused {
        /// Why.
        error: WireError,
    },
}

/// What a channel began with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// One life of the program's output.
    pub epoch: Epoch,
    /// Where the channel begins.
    pub offset: u64,
    /// Queries in output before this have been answered, whoever reads it now.
    pub head: u64,
    /// With the next byte, or with a snapshot.
    pub how: How,
    /// The terminal's size.
    pub size: Size,
    /// What was granted.
    pub mode: Mode,
    /// The terminal's title.
    pub title: Option<String>,
}

/// Something happened to a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChannelEvent {
    /// It is open, for the first time or again.
    Opened(Opened),
    /// The whole terminal as escape sequences for a fresh one of the size last told. Takes the place of everything
    /// before.
    Snapshot {
        /// The output it stands for ends here.
        offset: u64,
        /// The sequences.
        bytes: Bytes,
    },
    /// More output, always beginning where the last output or snapshot ended.
    Output {
        /// The first byte's offset.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// What was missing has been sent: from here on it is live.
    Ready,
    /// The terminal has a new size; a snapshot follows.
    Resized {
        /// The new size.
        size: Size,
    },
    /// This viewer was too slow: these bytes are left out, a snapshot follows.
    Skipped {
        /// The first byte left out.
        from: u64,
        /// The first byte that comes again.
        to: u64,
    },
    /// The program has ended.
    Exit(ExitStatus),
    /// Who looks at this terminal.
    Presence(Vec<Viewer>),
    /// The session wants something, or no longer does.
    Attention {
        /// What.
        state: Attention,
        /// The notification's text.
        text: Option<String>,
    },
    /// The program has set its title.
    Title(String),
    /// Who may type.
    Lease {
        /// The viewer that has the right.
        holder: Option<u64>,
        /// Whether that is us.
        mine: bool,
    },
    /// Something was refused; the channel goes on.
    Error(WireError),
    /// It could not be opened now, and will be tried again.
    Retrying {
        /// Why not.
        error: WireError,
        /// When the next try comes.
        retry_in: Duration,
    },
    /// These many typed bytes may not have reached the program: the terminal they were typed into is gone, or nobody
    /// knows them any more. What is typed from here on does.
    InputLost(usize),
    /// It has ended for good.
    Closed {
        /// Why.
        reason: String,
    },
}
