//! lap's server: the REST API, the attach hub, auth and metrics.
//!
//! - `server`: from its start to its end. `routes`: the API, each route with its description. `http`: what is about
//!   requests, whatever they ask for. `openapi`: the document all of it is gathered into.
//! - [`hub`]: the terminals. `session_terminals`: sessions as the hub sees them.
//! - `changes`: the feed. `watcher`: what the server itself does when something changes. [`metrics`]: what is counted.
//! - [`mcp`]: the tools that agents find the platform by.
//! - `recording`, `diagnose`, `agent_form`: what single routes need. [`logging`]: the log.
//! - `data_lock`, `presence`: one server on one data directory, and how it is found.

mod agent_form;
mod changes;
mod data_lock;
mod diagnose;
mod http;
pub mod hub;
mod landmarks;
pub mod logging;
pub mod mcp;
pub mod metrics;
mod openapi;
mod presence;
mod recording;
mod routes;
mod server;
mod session_terminals;
mod state;
mod watcher;

pub use data_lock::LockError;
pub use server::{RunOptions, Server, StartError, run, terminated};
