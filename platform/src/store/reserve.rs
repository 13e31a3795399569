//! Space on the disk that is kept for ends: a session can be stopped when nothing else can be written any more. It is a
//! file beside the database, given up when an end needs it, and made again once there is room.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How much is kept: the log of some dozens of transactions, each a few pages, after which it is written over.
const BYTES: u64 = 1024 * 1024;
/// How much must be free for it to be made again.
const ROOM: u64 = 4 * BYTES;

/// The space kept beside one database.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn beside(database: &Path) -> Reserve {
        let mut name = database.as_os_str().to_owned();
        name.push(".reserve");
        Reserve(name.into())
    }

    /// Makes it, where it is not there and there is room.
    ///
    /// # Errors
    /// Where it cannot be made; then nothing is kept.
    pub(super) fn keep(&self) -> io::Result<()> {
        if fs::metadata(&self.0).is_ok_and(|about| about.len() >= BYTES) {
            return Ok(());
        }
        let disk = statvfs(self.0.parent().unwrap_or(Path::new("/")))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.0)?;
        let made = fallocate(&file, FallocateFlags::empty(), 0, BYTES);
        if made.is_err() {
            // A part of it, or a file system that keeps nothing in advance: then there is none.
            fs::remove_file(&self.0)?;
        }
        Ok(made?)
    }

    /// Gives it up. Says whether there was any.
    pub(super) fn release(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_takes_space_until_it_is_given_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("lap.db"));
        assert!(!reserve.release());
        for _ in 0..2 {
            reserve.keep().unwrap();
            let about = fs::metadata(folder.path().join("lap.db.reserve")).unwrap();
            assert!(about.blocks() * 512 >= BYTES);
        }
        assert!(reserve.release());
        assert!(!reserve.release());
    }
}
