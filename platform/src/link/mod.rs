//! The one link from a server to each sandbox's keeper. Terminals, calls, files and programs run to completion are all
//! channels and calls on it; whoever needs a sandbox asks for them here and never sees a connection.
//!
//! A link is made when something is asked of it and closed a few seconds after nothing is. It breaks at any byte and is
//! mended by itself: the keeper is connected to again, every channel is opened again where it was, every call that has
//! no answer yet is sent again. Who owns a channel is told ([`Sink::broken`], [`Sink::opened`]) and says how it is to be
//! opened now ([`Sink::open`]). Whatever is asked meanwhile is kept, up to a bound and a time, and then answered
//! definitely. After [`GIVE_UP`] without a connection, or as soon as the runtime says that the sandbox is gone,
//! everything on the link ends with the reason.
//!
//! - `core`: all of that as a state machine without IO, clock or owners; its laws are tested over a link that is cut at
//!   any byte.
//! - [`LocalLinks`], [`LocalLink`], [`ChannelGuard`]: the links on the thread that drives them. A frame goes from the
//!   read to [`Sink::frame`], and one that is sent to the idle stream, within one wake-up and without a copy.
//! - [`Links`], [`Keeper`]: the same from any thread.
//! - [`Connect`]: how a stream to a keeper is made, elsewhere than on the links' thread.

mod bell;
mod channel;
mod connect;
mod core;
mod drive;
mod error;
mod file;
mod keeper;
#[cfg(test)]
mod law;
mod links;
mod local;
mod once;
mod outlet;
mod run;

use std::time::Duration;

use lap_wire::control::{How, Mode, Open, ServerMessage, Size};
use lap_wire::{Epoch, Frame};

pub use self::channel::{Channel, ChannelEvent, InputSender};
pub use self::connect::{Connect, ConnectError};
pub use self::error::LinkError;
pub use self::keeper::Keeper;
pub use self::links::{Links, UnstartedLinks};
pub use self::local::{ChannelGuard, LocalLink, LocalLinks, Refused};
pub use self::once::ask_once;
pub use self::run::{Run, RunOutput};
pub use crate::sandbox::Dialed;

/// How long a keeper that cannot be reached is looked for before everything that waits for it ends.
pub const GIVE_UP: Duration = Duration::from_secs(120);
/// What opening a channel may take for the first time, with connecting. Over a cluster it has a few round trips.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// What a call may take, beyond any grace it was given itself, with connecting.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Who owns a channel: told what happens on it, from the links' thread, and must return at once.
///
/// [`Sink::open`] is called from within [`LocalLink::open`] or by the link; all else is called by the link alone and
/// never from within a call of the owner's, so an owner may use its guard, open and drop channels in any of these.
pub trait Sink {
    /// How to open the channel now: for the first time, or again on a new connection, at its position and with its size
    /// as they are now.
    fn open(&self) -> Opening;

    /// It is open, for the first time or again. Input that is not acknowledged goes out again from
    /// [`Opened::input_offset`].
    fn opened(&self, opened: &Opened);

    /// An `OUTPUT`, `SNAPSHOT` or `INPUT_ACK` frame. Its payload lies where it was read; its channel number means
    /// nothing to the owner.
    fn frame(&self, frame: &Frame<'_>);

    /// A control message, in order with the frames; `at` is the output offset it stands at.
    fn message(&self, at: u64, message: ServerMessage);

    /// The connection is lost. Nothing can be sent until [`Sink::opened`]; or [`Sink::closed`] follows.
    fn broken(&self);

    /// The end: refused, closed by the keeper, or the link was given up. Nothing follows.
    fn closed(&self, why: LinkError);
}

/// What a channel is opened for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opening {
    /// A program's stream.
    Program(Open),
    /// A file to be written: its bytes are `INPUT` from offset 0, `stdin_eof` completes it, `closed` follows. Opened
    /// again it begins anew, since the keeper keeps nothing of a file that was not completed.
    File {
        /// Absolute, or relative to the keeper's working directory.
        path: String,
        /// Permission bits, as in chmod.
        mode: u32,
    },
}

/// The keeper's `opened`, as documented at [`ServerMessage::Opened`]. For a file only [`Opened::input_offset`], 0, means
/// anything.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
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

impl Opened {
    /// What a message says of an opening; the message back if it is another.
    fn of(message: ServerMessage) -> Result<Opened, Box<ServerMessage>> {
        match message {
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
            } => Ok(Opened { epoch, offset, head, how, size, size_generation, input_offset, mode, title }),
            other => Err(Box::new(other)),
        }
    }

    /// A file that is to be written from its beginning.
    fn of_file() -> Opened {
        Opened {
            epoch: Epoch(0),
            offset: 0,
            head: 0,
            how: How::Exact,
            size: Size::default(),
            size_generation: 0,
            input_offset: 0,
            mode: Mode::Interact,
            title: None,
        }
    }
}
