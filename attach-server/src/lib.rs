//! lap's server: the REST API, the attach hub, auth and metrics.
//!
//! - [`error`]: what becomes of errors. [`auth`]: who may do what. [`origin`]: which pages may.
//! - [`state`]: what a handler needs. [`limits`]: how many there may be. [`metrics`]: what is counted.
//! - [`run`]: a server from its start to its end. [`listen`]: connections. [`logging`]: the log.

mod agent_form;
pub mod auth;
mod data_lock;
mod diagnose;
mod directory;
pub mod error;
mod extract;
mod feed;
pub mod hub;
mod idempotency;
pub mod limits;
pub mod listen;
pub mod logging;
pub mod metrics;
mod observe;
mod openapi;
pub mod origin;
mod presence;
mod recording;
pub mod request_id;
mod routes;
mod run;
mod schema;
pub mod state;
mod timeout;
mod watcher;

pub use data_lock::LockError;
pub use run::{RunOptions, Server, StartError, run, terminated};
