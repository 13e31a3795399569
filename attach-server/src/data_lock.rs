//! One server per data directory: two would undo each other's work.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::landmarks::inode;

/// The lock's file in the data directory, with the process id of whoever holds it. It stays when the server ends: what
/// counts is who holds it.
const FILE: &str = "lap.lock";

/// The data directory, held by this process. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    /// Locked too: the file may be removed, the directory not without all that counts.
    directory: File,
    dir: PathBuf,
    file: Mutex<File>,
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
        let directory = File::open(dir).map_err(unwritable)?;
        let mut file = open(dir).map_err(unwritable)?;
        for held in [lock(&file), lock(&directory)] {
            if !held.map_err(unwritable)? {
                let mut holder = String::new();
                // What cannot be read is left out of the message.
                let _ = file.read_to_string(&mut holder);
                return Err(LockError::Taken { pid: holder.trim().parse().ok(), dir: dir.to_owned() });
            }
        }
        sign(&mut file).map_err(unwritable)?;
        Ok(DataLock { directory, dir: dir.to_owned(), file: Mutex::new(file) })
    }

    /// The lock's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Makes the lock's file again where it is gone or does not say who holds it; says whether that was needed. A
    /// directory that is away is waited for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn mend(&self) -> io::Result<bool> {
        let own = self.directory.metadata()?;
        let there = std::fs::metadata(&self.dir);
        if there.map_or(true, |there| (there.dev(), there.ino()) != (own.dev(), own.ino())) {
            return Ok(false);
        }
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = held.metadata()?;
        let is_ours = inode(&self.path()).is_ok_and(|there| there == (metadata.dev(), metadata.ino()));
        if !is_ours {
            let file = open(&self.dir)?;
            // Another server may just be finding out that the directory is taken.
            if !lock(&file)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *held = file;
        } else if std::fs::read_to_string(self.path()).is_ok_and(|text| text == signature()) {
            return Ok(false);
        }
        sign(&mut held).map(|()| true)
    }
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(FILE))
}

/// Locks a file, unless another process has it; says whether it did. Some file systems cannot lock directories: there
/// the file's lock has to do.
fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(_) if file.metadata()?.is_dir() => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

fn signature() -> String {
    format!("{}\n", std::process::id())
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(signature().as_bytes())?;
    file.sync_all()
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
    fn a_lock_whose_file_is_gone_or_cut_still_holds_and_says_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        assert!(!first.mend().unwrap(), "all is well");
        let others: [&dyn Fn(&Path); 4] = [
            &|file| std::fs::remove_file(file).unwrap(),
            &|file| drop(File::create(file).unwrap()),
            &|file| std::fs::write(file, "1").unwrap(),
            &|file| std::fs::rename(file, file.with_extension("away")).unwrap(),
        ];
        for other in others {
            other(&first.path());
            assert!(matches!(DataLock::take(dir.path()), Err(LockError::Taken { .. })));
            assert!(first.mend().unwrap());
            let second = DataLock::take(dir.path()).unwrap_err();
            assert!(second.to_string().contains(&format!("(process {})", std::process::id())), "{second}");
        }
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
