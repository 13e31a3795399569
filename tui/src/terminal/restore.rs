//! What gives the terminal back, from wherever lap ends.

use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use rustix::fd::{AsFd, OwnedFd};
use rustix::termios::{OptionalActions, Termios, tcsetattr};

use super::tty::{LAST_WAIT, wait_writable};

/// How the terminal was found, and what undoes what was asked of it since.
pub(super) struct Found {
    pub(super) tty: OwnedFd,
    pub(super) termios: Termios,
    pub(super) undo: Vec<u8>,
}

/// A process has one terminal, and a panic has nobody to ask.
static FOUND: Mutex<Option<Found>> = Mutex::new(None);

/// From now on [`restore`] has something to restore.
pub(super) fn remember(found: Found) {
    *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
}

/// What undoes the present state is now this.
pub(super) fn set_undo(undo: &[u8]) {
    if let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        found.undo = undo.to_vec();
    }
}

/// Gives the terminal back as it was found. The second time it does nothing.
pub(super) fn restore() {
    let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let mut rest = &found.undo[..];
    let until = Instant::now() + LAST_WAIT;
    // A terminal that takes nothing is gone; nobody is left to tell.
    while !rest.is_empty() {
        match rustix::io::write(found.tty.as_fd(), rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                if !wait_writable(found.tty.as_fd(), left) {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    // At once: draining waits for a terminal that takes nothing for ever.
    let _ = tcsetattr(found.tty.as_fd(), OptionalActions::Now, &found.termios);
}

/// Makes a panic restore the terminal before it prints.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            print(info);
        }));
    });
}
