//! The terminal lap itself runs in: taken over whole, given back as it was found.
//!
//! - [`Tty`]: raw bytes in and out, and the raw mode.
//! - [`Screen`]: a whole screen for a dashboard: alternate screen, keyboard, paste, focus and mouse reports.
//! - [`Inputs`]: what the person does, as events.
//!
//! Whatever ends lap (an error, a panic, a signal), the terminal is restored before anything is printed.

mod backend;
mod clipboard;
mod inputs;
mod outlet;
mod restore;
mod screen;
mod signals;
mod tty;

use std::io;

pub use backend::ScreenBackend;
pub use clipboard::{Clipboard, Copied};
pub use inputs::{Inputs, TermInput};
pub use outlet::Outlet;
pub use restore::install_panic_hook;
pub use screen::{Reports, Screen, copy_sequence, host_colors};
pub use signals::{Signal, Signals};
pub use tty::Tty;

pub(crate) use signals::{stop_job, stop_self};
pub(crate) use tty::wait_writable;

/// Why lap cannot use its terminal.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// There is none.
    #[error(
        "lap needs a terminal here: its {0} is none. For scripts there are `lap sessions` and `lap exec`"
    )]
    None(&'static str),
    /// It cannot be opened or set.
    #[error("the terminal cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for TerminalError {
    fn from(errno: rustix::io::Errno) -> TerminalError {
        TerminalError::Io(errno.into())
    }
}
