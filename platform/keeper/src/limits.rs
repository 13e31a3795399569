//! The keeper's own bounds; those of the protocol are in [`lap_wire::limits`].

use std::time::Duration;

/// Connections at once. A server needs one, a second while it reconnects; each client that is let in here has one.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// Grants at once: those that are used and those that somebody may still come with.
pub(crate) const MAX_GRANTS: usize = 192;
/// The fewest characters of a grant's token: one that cannot be guessed has more.
pub(crate) const MIN_TOKEN: usize = 16;
/// The most characters of a grant's token.
pub(crate) const MAX_TOKEN: usize = 128;
/// The longest time a grant may give a client to come, in milliseconds: one hour.
pub(crate) const MAX_GRANT_MS: u64 = 3_600_000;
/// Programs that have not been removed: all of them must fit into one message ([`lap_wire::limits::MAX_MESSAGE`]).
pub(crate) const MAX_PROGRAMS: usize = 64;
/// The longest program id, in bytes.
pub(crate) const MAX_PROGRAM_ID: usize = 64;
/// The longest name of an input stream, in bytes: what a server takes too.
pub(crate) const MAX_INPUT_ID: usize = lap_wire::limits::MAX_NAME;
/// Largest ring a program may ask for, in bytes: 16 times the default.
pub(crate) const MAX_RING: u32 = 64 * 1024 * 1024;
/// Largest scrollback a model may be asked to keep, in bytes.
pub(crate) const MAX_SCROLLBACK: u32 = 64 * 1024 * 1024;
/// Bytes of a title passed on: a line of a dashboard, and small enough that [`MAX_PROGRAMS`] of them fit a message.
pub(crate) const MAX_TITLE: usize = 256;
/// Bytes of a notification's text passed on.
pub(crate) const MAX_NOTIFICATION: usize = 1024;

/// Files being written on one connection: each takes a descriptor, of which a process commonly has 1024.
pub(crate) const MAX_FILES: usize = 32;

/// Unsent control frames of one connection, in bytes: 16 of the largest. A peer that asks on and never reads is
/// disconnected when it has more; nothing else a peer is sent is queued.
pub(crate) const MAX_OUTBOX: usize = 1024 * 1024;
/// How long no connection is accepted after one could not be.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// When the socket is tried to be made again after it could not be.
pub(crate) const MEND_AGAIN: Duration = Duration::from_secs(5);
/// Bytes read from one connection before the others have their turn.
pub(crate) const PEER_READ: usize = 64 * 1024;
/// Bytes sent on one connection before the others have their turn.
pub(crate) const PEER_WRITE: usize = 256 * 1024;
/// Bytes of messages gathered for one connection before they are written.
pub(crate) const PEER_TELL: usize = 64 * 1024;
/// Bytes read from one program before the others have their turn.
pub(crate) const PROGRAM_READ: usize = 64 * 1024;
/// The same while somebody types into another program: one page of the kernel's terminal, so that a keystroke waits for
/// some 50 µs of somebody else's flood and not for a millisecond.
pub(crate) const PROGRAM_READ_TYPING: usize = 4 * 1024;
/// How long output may lie before the model is fed with it: an echo is on its viewer's screen by then, and has not had to
/// share the processor with the model.
pub(crate) const MODEL_DELAY: Duration = Duration::from_millis(1);
/// Bytes the model is fed before the descriptors are looked at again: some 60 µs, about as long as the kernel takes to hand on
/// the next pages of a flood, so that the model is fed while there is nothing to read.
pub(crate) const MODEL_SLICE: usize = 4 * 1024;
/// Changes of size the model has yet to reach; beyond it the model is fed at once.
pub(crate) const MAX_CHANGES: usize = 64;
/// Answers of the model that wait to be written, in bytes. A program that asks without reading loses the rest.
pub(crate) const MAX_REPLIES: usize = 64 * 1024;
/// Pieces in a program's input queue, whose bytes [`lap_wire::limits::INPUT_WINDOW`] bounds: keystrokes of two viewers
/// in turn make one piece each.
pub(crate) const MAX_INPUT_PIECES: usize = 4096;

/// How long an acknowledgement of input waits for the echo to go with, so that one wake-up of the peer serves both.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(lap_wire::limits::COALESCE_MS);
/// How long output is still read after its program has ended, when something it left behind keeps the stream open.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
/// Between SIGTERM and SIGKILL when the keeper itself is told to end by a signal: what a pod is commonly given is 30 s.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(10);
/// Longest grace a caller may ask for: one hour.
pub(crate) const MAX_GRACE_MS: u64 = 3_600_000;
/// How long after SIGTERM those that ignore it are looked for a second time; each later look waits twice as long.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(50);
/// SIGKILL is sent again at this distance while something is left, since a process may fork between look and kill.
pub(crate) const KILL_AGAIN: Duration = Duration::from_millis(100);
/// How long after the first SIGKILL the keeper gives up on a process: it hangs in the kernel.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a keeper that ends waits for the acknowledgement of what was sent, and for output still on its way to it.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);
/// A reader that still has something to get and has taken nothing for this long is not waited for at the end.
pub(crate) const STILL_TAKING: Duration = Duration::from_secs(2);
/// How long a keeper that ends waits for readers at most, however well they go on.
pub const LAST_WORDS_AT_MOST: Duration = Duration::from_secs(30);

/// For this long after a keystroke anywhere, terminals that flood are read slowly (see [`crate::pace`]).
pub(crate) const TYPING: Duration = Duration::from_millis(100);
/// A reader that has taken nothing for this long is not one to slow a program down for.
pub(crate) const STALLED: Duration = Duration::from_millis(100);
