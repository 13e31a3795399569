//! A terminal and its viewers as plain data.
//!
//! Events come in as calls: what a client says, what the keeper sends, that time has passed. Bytes leave in the same
//! call through two sinks, [`Client`] and [`KeeperChannel`], so that an echo is on its viewer's socket before anything
//! else is done with it. Everything that is slower than a write is an [`Effect`], for whoever made the call to do
//! afterwards. No socket, task, lock or clock is known here, so all of it runs under test against a simulated keeper
//! and simulated clients (`law`).
//!
//! - `terminal`: who looks at a terminal and what they may do; `viewer`: one of them; `from_keeper`: what the keeper tells.
//! - `flow`: how output reaches viewers; `snapshots`: what takes the place of output that is gone; `catch_up`: how
//!   somebody who was away gets what was printed meanwhile.
//! - `input`: how what is typed reaches the keeper, each byte once.
//! - `ending`: the program's end, at each viewer's own pace.

mod catch_up;
mod ending;
mod flow;
mod from_keeper;
mod input;
#[cfg(test)]
mod law;
mod snapshots;
mod terminal;
mod viewer;

use std::cell::Cell;

use lap_wire::control::{Attention, ClientMessage, ExitStatus, ServerMessage, WireError};
use lap_wire::frame::FrameType;
use tokio::time::Instant;

use super::metrics::HubMetrics;

#[cfg(test)]
pub(super) use snapshots::MAX_SNAPSHOT;
pub(super) use terminal::{RESTARTED, Terminal};
pub(super) use viewer::NewViewer;

/// A viewer, for as long as the hub lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ViewerId(pub u64);

/// What the terminals of a hub have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Counts what happens.
    pub metrics: HubMetrics,
    /// When somebody last typed, into any terminal.
    pub typed: Cell<Option<Instant>>,
    /// Viewers one terminal may have at this server.
    pub max_viewers: usize,
}

/// A client's socket, as a terminal sees it. Nothing here calls back into the terminal.
pub(super) trait Client {
    /// Output that has just arrived, for a channel that has everything before it: written at once if the socket is idle
    /// and the link has room. Says whether it was; if not, the channel's turn comes later.
    fn output_now(&self, channel: u32, offset: u64, payload: &[u8], now: Instant) -> bool;
    /// Sends a frame of terminal bytes, which lie in two places; the socket keeps what it cannot take now.
    fn frame(&self, frame: Piece<'_>, now: Instant);
    /// Tells the client something about a channel, in order with what was sent on it.
    fn event(&self, channel: u32, offset: u64, message: &ServerMessage);
    /// Acknowledges input.
    fn input_ack(&self, channel: u32, offset: u64);
    /// A channel has something to be sent, or to be read.
    fn wake(&self, channel: u32, now: Instant);
    /// A channel was typed into.
    fn typed(&self, channel: u32, now: Instant);
    /// Whether it says how far it has processed its output, and numbers its input: a client of `lap.attach.v1` does.
    fn acknowledges(&self) -> bool;
    /// The terminal has let go of a channel.
    fn ended(&self, channel: u32);
}

/// A frame of terminal bytes for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// Output, or a part of a snapshot.
    pub kind: FrameType,
    /// The frame's flags.
    pub flags: u8,
    /// The client's channel.
    pub channel: u32,
    /// Where it stands in the stream.
    pub offset: u64,
    /// The bytes, in two places.
    pub bytes: (&'a [u8], &'a [u8]),
}

/// A channel at the keeper; dropping it closes it. Nothing here calls back into the terminal.
pub(super) trait KeeperChannel {
    /// Sends a frame. False: it was not sent, since the connection is down or takes no more for now.
    fn send(&self, kind: FrameType, flags: u8, offset: u64, payload: &[u8]) -> bool;
    /// Sends a control message. False as above.
    fn control(&self, message: &ClientMessage) -> bool;
    /// Tells the keeper that somebody types, into whichever terminal.
    fn typing(&self);
}

/// One of a terminal's channels at its keeper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    /// What the program prints, for all viewers.
    Output,
    /// A viewer's place there: what it types and asks, its size, who it is.
    Seat(ViewerId),
    /// What one viewer has missed. The number tells one from the next.
    CatchUp(ViewerId, u32),
}

/// What a terminal wants done.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Effect {
    /// Open this channel at the keeper, as [`Terminal::open_of`] says, and give it to [`Terminal::bound`].
    Open(Key),
    /// The connection to the keeper is down: find out whether the session still has its terminal there.
    Locate,
    /// Its channel at the keeper is closed for good: find out the session's own reason and [`Terminal::end`] it.
    Lost(WireError),
    /// The program has ended: say so, and say [`Terminal::row_is_dead`] once the session is known to be dead.
    Ended(ExitStatus),
    /// Everybody has had the end of it: the sandbox may go.
    Delivered,
    /// So many people look at it, and so many of them may type.
    Viewers {
        /// All of them.
        people: u32,
        /// Those who may type.
        interactive: u32,
    },
    /// The program wants something, or no longer does.
    Attention(Attention, Option<String>),
    /// Somebody typed, or the program printed.
    Activity {
        /// Which of the two.
        typed: bool,
    },
    /// Whether it is recorded.
    Recording(bool),
    /// Nobody needs it any more.
    Unused,
}

/// What serving a viewer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Served {
    /// So many bytes were sent; there may be more.
    Sent(usize),
    /// Nothing can be sent to it now.
    Nothing,
}
