//! What the end-to-end suites are made of.
//!
//! - [`terminal`]: a program in a terminal, and a person in front of it. [`server`]: a server to kill and start again.

pub mod server;
pub mod terminal;
