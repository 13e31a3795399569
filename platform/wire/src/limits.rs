//! Every bound of the protocol. Sizes in bytes, times in milliseconds.

/// Terminal bytes one frame may carry: small enough that an interactive frame never waits long behind a bulk one.
pub const MAX_PAYLOAD: usize = 32 * 1024;
/// The longest header: type, flags, a 5-byte channel and a 10-byte offset.
pub const MAX_HEADER: usize = 1 + 1 + 5 + 10;
/// One WebSocket message, or one length-prefixed frame on a byte stream; also the most JSON a control frame carries.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The largest offset: the last whole number a JSON reader that keeps numbers as doubles gets right. At 100 MB/s it is
/// reached after 2,800 years.
pub const MAX_OFFSET: u64 = (1 << 53) - 1;
/// What a `PING` carries, to be sent back: enough for a clock reading.
pub const MAX_PING: usize = 8;
/// What a reader may be sent beyond what it has acknowledged, when it does not say otherwise.
pub const DEFAULT_WINDOW: u32 = 1024 * 1024;
/// The largest window a reader may ask for: bounds what a peer must be ready to take at once.
pub const MAX_WINDOW: u32 = 8 * 1024 * 1024;
/// Output a keeper retains per terminal, for exact resume.
pub const KEEPER_RING: usize = 4 * 1024 * 1024;
/// Output a server retains per attached terminal for readers that are behind; empty while nobody is.
pub const HUB_RING: usize = 1024 * 1024;
/// Keystrokes sent and not yet acknowledged; a paste beyond it waits at the sender.
pub const INPUT_WINDOW: usize = 256 * 1024;
/// Input streams a keeper remembers per terminal, oldest forgotten first: more than viewers of one terminal.
pub const INPUT_STREAMS: usize = 256;
/// Channels on one connection.
pub const MAX_CHANNELS: usize = 1024;
/// Viewers of one terminal. Each is told of all the others, which must fit into one message.
pub const MAX_VIEWERS: usize = 128;
/// A viewer's name, as others are shown it: what is over is cut.
pub const MAX_NAME: usize = 200;
/// The opaque names of a person and of a seat.
pub const MAX_SEAT: usize = 64;
/// How long a keeper keeps the seats of a server that has gone without closing them, for it to come back to.
pub const SEAT_GRACE_MS: u64 = 10_000;
/// Channels on a connection that came with a grant: a client shows a terminal in one or two places.
pub const MAX_GRANTED_CHANNELS: usize = 4;
/// Scrollback one snapshot may carry.
pub const MAX_SNAPSHOT_SCROLLBACK: u32 = 1024 * 1024;
/// Scrollback in the snapshot a lapped reader is skipped ahead with: the screen matters, the link is slow already.
pub const SKIP_SCROLLBACK: u32 = 64 * 1024;
/// Terminal sizes: at least one cell, and no larger than a wall of screens.
pub const MIN_SIZE: u16 = 1;
/// See [`MIN_SIZE`]. A larger request is refused, not clamped.
pub const MAX_COLS: u16 = 1000;
/// See [`MIN_SIZE`].
pub const MAX_ROWS: u16 = 500;
/// A `ping` is sent after this silence, by both sides.
pub const HEARTBEAT_MS: u64 = 10_000;
/// A peer not heard of for this long is dead.
pub const DEAD_AFTER_MS: u64 = 30_000;
/// The longest silence a client may ask for instead of [`HEARTBEAT_MS`]: one on the server's own machine is told by
/// the kernel when the other end dies, and need not be woken to find out.
pub const MAX_HEARTBEAT_MS: u64 = 300_000;
/// The longest output is held back to be sent with what follows it, and only under load.
pub const COALESCE_MS: u64 = 2;
