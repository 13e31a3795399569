//! Keys in files that only their owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The most that is read of a key file: far more than one has, and no surprise when the path names something else.
const MAX_BYTES: u64 = 4096;

/// The text in a key file, or `None` where there is no such file.
///
/// # Errors
/// Where others may read it, where it is not ours, or where it cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let fault = |cause| KeyFileError::Io { path: path.to_owned(), doing: "read", cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let status = file.metadata().map_err(fault)?;
    if status.uid() != rustix::process::geteuid().as_raw() {
        return Err(KeyFileError::NotOurs { path: path.to_owned(), owner: status.uid() });
    }
    if status.mode() & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode: status.mode() & 0o777 });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(fault)?;
    let line = text.trim();
    if line.is_empty() {
        return Err(KeyFileError::Unreadable { path: path.to_owned() });
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}

/// Makes a key file that only we can read, all of it or none, and never over one that is there. Returns whether it was
/// made; where it was not, another process was first and its file is the one to read.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn create(path: &Path, line: &str) -> Result<bool, KeyFileError> {
    let fault = |cause| KeyFileError::Io { path: path.to_owned(), doing: "write", cause };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|error| fault(io::Error::other(error.to_string())))?;
    let draft = folder.join(format!(".key-{:016x}", u64::from_ne_bytes(unique)));
    let written = write_draft(&draft, line).and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    // The draft has a second name by now, or was never wanted.
    let _ = fs::remove_file(&draft);
    if matches!(written, Ok(true)) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
    }
    written.map_err(fault)
}

fn write_draft(draft: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(line.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others may read it.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 600 {path}`", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns it.
    #[error("{path} belongs to user {owner}, not to the one lap runs as: run lap as that user, or move the file away", path = path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
    },
    /// There is no key in it.
    #[error("{path} holds no key: restore it from a backup, or remove it together with the data it protects", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
    },
    /// Only the beginning of a key is in it.
    #[error("{path} is cut short, {chars} characters are left of its key: {mend}", path = path.display())]
    CutShort {
        /// Which.
        path: PathBuf,
        /// How many characters it has.
        chars: usize,
        /// What to do.
        mend: &'static str,
    },
    /// The system refuses.
    #[error("cannot {doing} {path}: {cause}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// `read` or `write`.
        doing: &'static str,
        /// Its reason.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_for_its_owner_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        assert!(read(&path).unwrap().is_none());
        assert!(create(&path, "first").unwrap());
        assert!(!create(&path, "second").unwrap());
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn one_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        create(&path, "first").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn an_empty_one_is_refused_rather_than_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        create(&path, "").unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Unreadable { .. })));
    }

    #[test]
    fn of_many_that_make_it_at_once_exactly_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        let made: Vec<bool> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || create(path, &format!("key {n}")).unwrap())
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
    }
}
