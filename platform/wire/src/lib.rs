//! The attach protocol `lap.attach.v1`, from keeper to server to client.
//!
//! Everything here is pure: bytes and messages in, bytes and decisions out. No clock, no socket, no runtime, so the
//! keeper's poll loop, the server's hub and the clients share one implementation and the tests can drive all of it.
//!
//! - [`frame`]: one frame and its bytes; [`stream`]: frames on a byte stream.
//! - [`control`]: the JSON messages of control frames; [`keeper`]: what a server asks of a keeper.
//! - [`ring`]: the last bytes of a stream by absolute offset; [`flow`]: who may be sent what next, and how to resume.
//! - [`input`]: exactly-once input over reconnects. [`limits`]: every bound, named. [`close`]: why a socket ends.
//! - [`signals`]: their names, and the end of a program as one number.
//!
//! `docs/attach-protocol.md` is the specification; its byte examples are tests of this crate.
#![forbid(unsafe_code)]

pub mod close;
pub mod control;
pub mod flow;
pub mod frame;
mod ids;
pub mod input;
pub mod keeper;
pub mod limits;
pub mod ring;
pub mod signals;
pub mod stream;
mod varint;

pub use frame::{Frame, FrameError, FrameType};
pub use ids::{ChannelId, Epoch};
pub use ring::Ring;

/// The WebSocket subprotocol and the only version of the protocol there is so far.
pub const PROTOCOL: &str = "lap.attach.v1";
