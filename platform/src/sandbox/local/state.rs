//! Where a local sandbox stands, told from what is on record of its keeper.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::layout::Place;
use crate::sandbox::{SandboxState, Tail};

/// The most of a keeper's log that is ever read back, in bytes.
const LOG_TAIL: u64 = 256 * 1024;

/// Where the sandbox at this place stands.
pub(super) fn state_of(place: &Place) -> SandboxState {
    match place.keeper() {
        Ok(Some(keeper)) if keeper.is_alive() => SandboxState::Running,
        Ok(Some(keeper)) if keeper.is_of_earlier_boot() => {
            SandboxState::Gone { reason: "the machine was started again".to_owned() }
        }
        Ok(Some(keeper)) => SandboxState::Gone { reason: end_of(place, keeper.pid) },
        Ok(None) => SandboxState::Pending { detail: "its keeper has not been up yet".to_owned() },
        Err(error) => unreadable("what is known about it", &error),
    }
}

/// Where a sandbox stands of which something cannot be read. What was read and makes no sense, as after a power cut, is
/// lost; what could not be read may be there all the same.
pub(super) fn unreadable(what: &str, error: &io::Error) -> SandboxState {
    let words = format!("{what} cannot be read: {error}");
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => SandboxState::Gone { reason: words },
        _ => SandboxState::Unknown { detail: words },
    }
}

/// Nobody but its parent learns how a process ended, and a keeper has none that stays; its log may know.
fn end_of(place: &Place, pid: i32) -> String {
    let ended = format!("the sandbox's keeper (process {pid}) was killed or crashed");
    match tail(&place.log(), Tail { lines: 1, within: None }) {
        Ok(last) if !last.trim().is_empty() => format!("{ended}; its last words: {}", last.trim()),
        _ => ended,
    }
}

/// The last lines of a file, at most [`LOG_TAIL`] bytes. One that is not there has none. Lines have no times of their
/// own, but none is younger than the file's last change.
pub(super) fn tail(path: &Path, Tail { lines, within }: Tail) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    // A change in the future is one before the clock was set back: young enough.
    let age = about.modified()?.elapsed().unwrap_or_default();
    if within.is_some_and(|within| age > within) {
        return Ok(String::new());
    }
    let len = about.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    let start = text
        .trim_end_matches('\n')
        .rmatch_indices('\n')
        .nth(wanted.saturating_sub(1))
        .map_or(0, |(at, _)| at + 1);
    Ok(if wanted == 0 { String::new() } else { text.get(start..).unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_cannot_be_read_now_is_not_gone() {
        let state = |error: io::Error| unreadable("it", &error);
        for errno in [libc::EMFILE, libc::ENFILE, libc::EACCES, libc::EIO, libc::ENOMEM] {
            let unknown = state(io::Error::from_raw_os_error(errno));
            assert!(matches!(unknown, SandboxState::Unknown { .. }), "{unknown:?}");
        }
        let broken: serde_json::Error = serde_json::from_str::<u8>("{").unwrap_err();
        assert!(matches!(state(broken.into()), SandboxState::Gone { .. }));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthree\n").unwrap();
        let last = |lines| Tail { lines, within: None };
        assert_eq!(tail(file.path(), last(2)).unwrap(), "two\nthree\n");
        assert_eq!(tail(file.path(), last(9)).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(tail(file.path(), last(0)).unwrap(), "");
        assert_eq!(tail(Path::new("/nonexistent/file"), last(2)).unwrap(), "");
    }

    #[test]
    fn lines_are_as_young_as_the_files_last_change_at_the_most() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
        let within = |within| tail(file.path(), Tail { lines: 9, within: Some(within) }).unwrap();
        for (written, young) in [(now, true), (now - 2 * hour, false), (now + 2 * hour, true)] {
            file.as_file().set_modified(written).unwrap();
            assert_eq!(within(hour), if young { "one\n" } else { "" });
            assert_eq!(within(3 * hour), "one\n");
        }
    }
}
