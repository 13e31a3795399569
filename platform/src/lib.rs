//! lap's domain: what a server and its clients share that is neither a screen nor a socket.
//!
//! - [`model`]: the API's types, once, for server and clients.
//! - [`acp`]: the protocol that coding agents are spoken to in.
//! - [`client`]: how a program talks to a server: the typed REST client and the change feed.
//! - [`config`]: all settings, parsed once.
//! - [`harness`]: which coding agents there are, and how each is started.
//! - [`link`]: the one link from a server to each sandbox's keeper.
//! - [`open_files`]: how many files a process may have open.
//! - [`plain_text`]: what a terminal printed, as lines.
//! - [`sandbox`]: where programs run, behind one trait, and the runtime for this machine.
//! - [`secret`]: encryption at rest, keys, tokens.
//! - [`session`]: the life of a session: brought up, watched over, ended.
//! - [`skill_file`]: a skill as the file that agents read.
//! - [`store`]: what must not be lost.
//! - [`unix_socket`]: what connects programs of one machine.

pub mod acp;
pub mod client;
pub mod config;
pub mod harness;
pub mod link;
pub mod model;
pub mod open_files;
pub mod plain_text;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod skill_file;
pub mod store;
pub mod unix_socket;
