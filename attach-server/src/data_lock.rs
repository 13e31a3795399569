//! One server per data directory: two would undo each other's work.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock's file in the data directory. It stays when the server ends: what counts is who holds it.
const FILE: &str = "lap.lock";

/// The data directory, held by this process. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

/// Why the data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server has it.
    #[error(
        "another lap server{} uses the data directory {dir}: use that one, stop it with `lap down`, or set \
         LAP_DATA_DIR to another directory",
        pid.map_or(String::new(), |pid| format!(" (process {pid})")),
        dir = dir.display()
    )]
    Taken {
        /// Its process id, unless it is just starting.
        pid: Option<u32>,
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be written to.
    #[error("cannot write to the data directory {dir}: {cause}. {}", advice(cause), dir = dir.display())]
    Unwritable {
        /// The directory.
        dir: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free some space there, or set LAP_DATA_DIR to another directory"
        }
        _ => "Make it writable for this user, or set LAP_DATA_DIR to another directory",
    }
}

impl DataLock {
    /// Takes the directory and writes down by whom.
    ///
    /// # Errors
    /// When another server has it, or nothing can be written there.
    pub(crate) fn take(dir: &Path) -> Result<DataLock, LockError> {
        let unwritable = |cause| LockError::Unwritable { dir: dir.to_owned(), cause };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(FILE))
            .map_err(unwritable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // What cannot be read is left out of the message.
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Taken { pid: holder.trim().parse().ok(), dir: dir.to_owned() });
            }
            Err(errno) => return Err(unwritable(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            file.sync_all()
        };
        write(&mut file).map_err(unwritable)?;
        Ok(DataLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_told_who_the_first_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let second = DataLock::take(dir.path()).unwrap_err();
        assert!(second.to_string().contains(&format!("(process {})", std::process::id())), "{second}");
        drop(first);
        DataLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_takes_no_files_is_named() {
        let missing = Path::new("/proc/self/net");
        let error = DataLock::take(missing).unwrap_err().to_string();
        assert!(error.contains("/proc/self/net") && error.contains("LAP_DATA_DIR"), "{error}");
    }
}
