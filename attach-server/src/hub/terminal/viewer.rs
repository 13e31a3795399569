//! Somebody who looks at a terminal.

use std::rc::Rc;

use lap_wire::control::{Mode, ServerMessage, Size, Viewer as Description};
use lap_wire::flow::{Cursor, Since};
use tokio::time::Instant;

use super::super::connection::Connection;
use super::super::size::Candidate;
use super::catch_up::CatchUp;

/// The keeper's channel for what a viewer types and asks.
#[derive(Debug)]
pub(in crate::hub) struct InputChannel {
    /// The input stream's name, the same over the viewer's reconnects; absent where the viewer types nothing.
    pub name: Option<String>,
    /// Its number.
    pub channel: u32,
    /// How far the stream had been written when it was opened.
    pub offset: u64,
}

/// A viewer that is about to be attached.
pub(in crate::hub) struct NewViewer {
    pub id: u64,
    pub connection: Rc<Connection>,
    pub channel: u32,
    pub name: String,
    pub mode: Mode,
    pub size: Option<Size>,
    pub visible: bool,
    pub window: u32,
    pub scrollback: u32,
    pub since: Option<Since>,
    pub input: Option<InputChannel>,
}

/// A snapshot on its way to a viewer.
pub(super) struct Outgoing {
    pub snapshot: Rc<Snapshot>,
    pub sent: usize,
}

/// Escape sequences that stand for everything before an offset.
pub(super) struct Snapshot {
    pub bytes: Vec<u8>,
    pub offset: u64,
    /// The scrollback that was asked for.
    pub scrollback: u32,
}

pub(in crate::hub) struct Viewer {
    pub id: u64,
    pub connection: Rc<Connection>,
    pub channel: u32,
    pub name: String,
    pub mode: Mode,
    pub size: Option<Size>,
    pub visible: bool,
    pub scrollback: u32,
    pub since: Option<Since>,
    pub input: Option<InputChannel>,
    /// When it last did something, by the terminal's count.
    pub acted: u64,
    pub window: u32,
    pub cursor: Cursor,
    /// The size generation of the screen it was last sent.
    pub size_generation: u32,
    /// Whether it was sent `opened`.
    pub opened: bool,
    /// `ready` is due once it has everything before this.
    pub ready_at: Option<u64>,
    pub exit_sent: bool,
    /// It can go on only with a snapshot that is still to come, carrying at least this much scrollback.
    pub(super) wants: Option<u32>,
    pub(super) outgoing: Option<Outgoing>,
    /// It is given what the keeper still has, until it is where the terminal's ring begins.
    pub(super) catch_up: Option<CatchUp>,
    /// Snapshot bytes sent, to be acknowledged with this offset.
    pub snapshot_unacked: (u64, u64),
    /// When it was last sent output.
    pub progressed: Option<Instant>,
}

impl NewViewer {
    pub(super) fn into_viewer(self, acted: u64, size_generation: u32) -> Viewer {
        Viewer {
            id: self.id,
            connection: self.connection,
            channel: self.channel,
            name: self.name,
            mode: self.mode,
            size: self.size,
            visible: self.visible,
            scrollback: self.scrollback,
            since: self.since,
            input: self.input,
            acted,
            window: self.window,
            cursor: Cursor::new(0, self.window),
            size_generation,
            opened: false,
            ready_at: None,
            exit_sent: false,
            wants: None,
            outgoing: None,
            catch_up: None,
            snapshot_unacked: (0, 0),
            progressed: None,
        }
    }
}

impl Viewer {
    /// Whether it counts for the size and may answer queries.
    pub(super) fn counts(&self) -> bool {
        self.mode == Mode::Interact && self.visible && self.size.is_some()
    }

    pub(super) fn candidate(&self) -> Option<Candidate> {
        let size = self.size.filter(|_| self.counts())?;
        Some(Candidate { size, acted: self.acted })
    }

    pub(super) fn describe(&self, active: Option<u64>) -> Description {
        Description {
            id: self.id,
            name: self.name.clone(),
            person: String::new(),
            mode: self.mode,
            size: self.size,
            active: active == Some(self.id),
            you: false,
        }
    }

    pub(super) fn tell(&self, message: &ServerMessage) {
        self.connection.event(self.channel, self.cursor.next_offset(), message);
    }

    /// Bytes sent to it that it has not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.cursor.in_flight() + self.snapshot_unacked.0
    }

    /// Whether the next output can go straight to it, `offset` being where that begins.
    pub(super) fn is_current(&self, offset: u64) -> bool {
        self.opened
            && self.visible
            && self.wants.is_none()
            && self.outgoing.is_none()
            && self.catch_up.is_none()
            && self.cursor.next_offset() == offset
    }
}
