//! Files written into the sandbox: whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lap_wire::control::{ErrorCode, WireError};
use lap_wire::input::{Accept, accept};

use crate::clock::random;

/// Permission bits a file may be given.
const MODE_BITS: u32 = 0o7777;

/// A file on its way. Dropped before it is complete, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct FileWriter {
    file: File,
    /// Beside its place, so that the rename stays on one file system; `None` once it is there.
    temporary: Option<PathBuf>,
    place: PathBuf,
    mode: u32,
    taken: u64,
}

impl FileWriter {
    /// Begins a file at `path`, making its folders.
    pub(crate) fn create(path: &Path, mode: u32) -> Result<FileWriter, WireError> {
        let place = path.to_path_buf();
        let fault = |error| unwritable(&place, &error);
        if path.file_name().is_none() {
            return Err(fault(io::ErrorKind::InvalidInput.into()));
        }
        if mode & !MODE_BITS != 0 {
            return Err(WireError::new(ErrorCode::Invalid, format!("{mode:#o} are no permission bits")));
        }
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
            return Err(fault(io::ErrorKind::IsADirectory.into()));
        }
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(fault)?;
        }
        // Short whatever the name is, since names have a longest length.
        let temporary = path.with_file_name(format!(".lap-{:016x}", random()));
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(fault)?;
        Ok(FileWriter { file, temporary: Some(temporary), place, mode, taken: 0 })
    }

    /// Its next bytes; gives how far the file has come. What was sent before is passed over.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<u64, WireError> {
        let fresh = match accept(self.taken, offset, bytes.len()) {
            Accept::Duplicate => return Ok(self.taken),
            Accept::From(index) => bytes.get(index..).unwrap_or_default(),
            Accept::Gap { expected } => {
                let message = format!("the bytes at {offset} leave a gap; go on at {expected}");
                return Err(WireError::new(ErrorCode::InputGap, message).send_again_from(expected));
            }
        };
        self.file.write_all(fresh).map_err(|error| unwritable(&self.place, &error))?;
        self.taken += fresh.len() as u64;
        Ok(self.taken)
    }

    /// That was all: the file takes its place.
    pub(crate) fn finish(mut self) -> Result<(), WireError> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let done = self
            .file
            .set_permissions(fs::Permissions::from_mode(self.mode))
            .and_then(|()| fs::rename(temporary, &self.place));
        done.map_err(|error| unwritable(&self.place, &error))?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> WireError {
    let fault = WireError::new(ErrorCode::Invalid, format!("cannot write {}: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => fault.retryable(),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        let mut writer = FileWriter::create(&path, 0o640).unwrap();
        assert_eq!(writer.write(0, b"hello ").unwrap(), 6);
        assert_eq!(writer.write(3, b"lo world").unwrap(), 11);
        assert_eq!(writer.write(12, b"x").unwrap_err().code, ErrorCode::InputGap);
        assert!(!path.exists());
        writer.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello world");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);

        let mut second = FileWriter::create(&path, 0o600).unwrap();
        second.write(0, b"other").unwrap();
        drop(second);
        assert_eq!(fs::read(&path).unwrap(), b"hello world");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn places_that_cannot_be_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_path_buf(), folder.path().join(".."), PathBuf::new()] {
            assert_eq!(FileWriter::create(&path, 0o600).unwrap_err().code, ErrorCode::Invalid, "{path:?}");
        }
        assert!(FileWriter::create(&folder.path().join("f"), 0o100_644).is_err());
    }
}
