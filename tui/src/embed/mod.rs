//! The server of this machine: found where it runs, started in the background where it does not, ended on demand.
//!
//! Whoever needs it asks [`ensure`]. The first to ask starts it; those who ask meanwhile wait for that one. It is this
//! very program under a hidden subcommand ([`background`]), in a session of its own, so that it outlives whoever
//! started it.

mod background;
mod down;
mod log;
mod presence;
mod revive;
mod start;

use std::path::PathBuf;

use lap_platform::client::ClientError;
use lap_platform::config::DirsError;
use lap_platform::secret::KeyError;

pub use background::{SUBCOMMAND, background};
pub use down::{Down, Ended, Ending};
pub use presence::{LocalServer, find};
pub use revive::{Revive, Revived};
pub use start::ensure;

/// Why there is no server on this machine. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// No place for its files.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// No key to show it.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// It is there and says nothing.
    #[error(
        "lap's server (process {pid}) at {url} does not answer: wait a moment, or end it with `lap down --force \
         --keep-sessions`"
    )]
    Silent {
        /// Its process.
        pid: u32,
        /// Its address.
        url: String,
    },
    /// It could not start, and said why.
    #[error("{0}")]
    Refused(String),
    /// It ended without a word.
    #[error("lap's server ended before it was ready{last}\n  its log is {log}", log = log.display())]
    Died {
        /// What it logged last.
        last: String,
        /// Where all of it is.
        log: PathBuf,
    },
    /// It does not get ready.
    #[error("lap's server is not ready after {seconds} s: look into {log}", log = log.display())]
    Late {
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// It was asked to end and has not.
    #[error(
        "the server (process {pid}) is still ending after {seconds} s: wait, or end it at once with `lap down --force`"
    )]
    Lingers {
        /// Its process.
        pid: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// Its API refused something.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system refuses.
    #[error("{doing}: {cause}")]
    System {
        /// What was tried.
        doing: String,
        /// The system's reason.
        cause: std::io::Error,
    },
}

impl EmbedError {
    fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> EmbedError {
        let doing = doing.into();
        move |cause| EmbedError::System { doing, cause }
    }
}
