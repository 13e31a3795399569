//! The background server's log file, kept small.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The log of the server in the background, in the state directory.
pub(super) const LOG: &str = "server.log";
/// The one before it.
const OLD: &str = "server.log.1";
/// Bytes of one of the two; together they are some days of a busy server.
const CAP: u64 = 4 * 1024 * 1024;
/// Bytes read from its end to show the last lines.
const TAIL: u64 = 16 * 1024;

/// A log file that begins anew when it is full; the one before is kept. What the process itself writes to standard
/// error, a panic's words, goes there too.
pub(super) struct CappedLog {
    state: PathBuf,
    file: File,
    size: u64,
    cap: u64,
}

impl CappedLog {
    pub(super) fn open(state: &Path) -> io::Result<CappedLog> {
        let log = CappedLog::with_cap(state, CAP)?;
        rustix::stdio::dup2_stderr(&log.file)?;
        Ok(log)
    }

    fn with_cap(state: &Path, cap: u64) -> io::Result<CappedLog> {
        let file = append(&state.join(LOG))?;
        let size = file.metadata()?.len();
        Ok(CappedLog { state: state.to_owned(), file, size, cap })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        fs::rename(self.state.join(LOG), self.state.join(OLD))?;
        self.file = append(&self.state.join(LOG))?;
        self.size = 0;
        Ok(())
    }
}

impl Write for CappedLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + line.len() as u64 > self.cap {
            self.begin_anew()?;
            if self.cap == CAP {
                rustix::stdio::dup2_stderr(&self.file)?;
            }
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The last lines of a log; none where it cannot be read.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_beyond_two_files_of_its_cap() {
        let state = tempfile::tempdir().unwrap();
        let mut log = CappedLog::with_cap(state.path(), 100).unwrap();
        for n in 0..50 {
            writeln!(log, "line {n:02} of the log").unwrap();
        }
        let size = |name: &str| fs::metadata(state.path().join(name)).unwrap().len();
        assert!(size(LOG) <= 100 && size(OLD) <= 100);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 2);
        assert_eq!(last_lines(&state.path().join(LOG), 1), ["line 49 of the log"]);
    }

    #[test]
    fn one_that_was_there_is_continued() {
        let state = tempfile::tempdir().unwrap();
        writeln!(CappedLog::with_cap(state.path(), 100).unwrap(), "before").unwrap();
        writeln!(CappedLog::with_cap(state.path(), 100).unwrap(), "after").unwrap();
        assert_eq!(last_lines(&state.path().join(LOG), 5), ["before", "after"]);
        assert!(last_lines(&state.path().join("none"), 5).is_empty());
    }
}
