//! Why a server does not start.

use std::io;

use lap_platform::config::DirsError;
use lap_platform::harness::CatalogFaults;
use lap_platform::sandbox::SandboxError;
use lap_platform::secret::KeyError;
use lap_platform::session::SessionError;
use lap_platform::store::StoreError;

use crate::data_lock::LockError;
use crate::openapi::BadDocument;
use crate::presence;

/// Why the server does not start. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No place for its files.
    #[error(transparent)]
    Dirs(#[from] DirsError),
    /// The data directory cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// No store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No sandboxes.
    #[error(transparent)]
    Sandboxes(#[from] SandboxError),
    /// Harnesses that are not what they should be.
    #[error("the harnesses as configured have faults:\n{0}")]
    Harnesses(#[from] CatalogFaults),
    /// The sessions could not be taken over.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// Nobody could connect.
    #[error("cannot listen on {address}: {cause}. {}", listen_advice(cause))]
    Listen {
        /// Where.
        address: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// Nobody could find it.
    #[error("cannot write {}/{}: {cause}. Make it writable, or set LAP_STATE_DIR to another directory",
        dir.display(), presence::FILE)]
    Presence {
        /// The state directory.
        dir: std::path::PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// A fault of this program.
    #[error(transparent)]
    Document(#[from] BadDocument),
    /// The system refuses something a server cannot do without.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
}

fn listen_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "Something listens there already: stop it, or set PORT to another port",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges: set PORT to a higher one",
        _ => "Check BIND_HOST and PORT",
    }
}

pub(super) fn system(what: &'static str, cause: io::Error) -> StartError {
    StartError::System { what, cause }
}
