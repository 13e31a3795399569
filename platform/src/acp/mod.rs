//! The Agent Client Protocol, version 1 (<https://agentclientprotocol.com>), as far as a conversation needs it: JSON-RPC
//! in lines on a program's standard input and output.
//!
//! All of it is plain data: what a line says, what a reply is made of, what to write. Programs differ in what they send,
//! add fields and print other things in between, so what is not understood is passed over and never an error; and what
//! is kept is bounded, since a program that means no good may send without end.
//!
//! - [`Lines`]: lines out of output that comes in pieces.
//! - [`Incoming`]: what a line says.
//! - [`Reply`]: an answer, as its parts arrive.
//! - `request`: what is written.

mod incoming;
mod lines;
mod reply;
pub mod request;

pub use incoming::{Incoming, RpcError};
pub use lines::Lines;
pub use reply::Reply;
