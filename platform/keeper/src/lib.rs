//! The keeper: the program inside every sandbox that owns its terminals.
//!
//! A terminal must outlive whoever looks at it, so neither viewer nor server holds it: the keeper does. It starts
//! programs on pseudo-terminals or pipes and keeps for each the last output by absolute offset, a model of the screen,
//! and the exit status until somebody has stored it. Peers reach it over a unix socket, speaking `lap.attach.v1`
//! ([`lap_wire`]) on a byte stream; in a pod [`connect`] joins that socket to the stdio of an exec.
//!
//! One thread, one poll loop, no runtime. A byte that a terminal puts out goes to every reader whose socket is idle in
//! the same turn of the loop; the model is fed when nothing else is to be done. An idle keeper is not woken at all,
//! but for the heartbeats of its peers.
//!
//! - [`run`] is the keeper, [`connect`] the connector, [`main`] both behind a command line, and [`dial`] opens a socket
//!   whose path may be longer than the kernel's own limit.
//! - [`unsaved`] counts what would be lost with a workspace.

mod calls;
mod channels;
mod cli;
mod clock;
mod connection;
mod connector;
mod daemon;
mod files;
mod grants;
mod input;
mod keeper;
mod leave;
mod limits;
mod model;
mod on_terminal;
mod outbox;
mod pace;
pub mod path_watch;
mod peers;
mod pipes;
mod poller;
mod processes;
mod program;
mod pty;
mod reader;
mod seats;
mod signal_names;
mod signals;
mod socket;
mod spawn;
mod stop;
mod terminal;
mod unsaved;
mod viewers;

pub use cli::{VERSION, main};
pub use connector::connect;
pub use daemon::{Config, run};
pub use limits::LAST_WORDS_AT_MOST;
pub use socket::dial;
pub use unsaved::{Unsaved, unsaved};
