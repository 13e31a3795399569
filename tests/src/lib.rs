//! What the end-to-end suites are made of.
//!
//! - [`terminal`]: a program in a terminal, and a person in front of it. [`server`]: a server to kill and start again.
//!   [`proxy`] and [`nginx`]: what stands between a client and a far server.

pub mod nginx;
pub mod proxy;
pub mod server;
pub mod terminal;
