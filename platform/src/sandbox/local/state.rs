use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::layout::Place;
use crate::sandbox::SandboxState;

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
        Err(error) => {
            SandboxState::Gone { reason: format!("what is known about it cannot be read: {error}") }
        }
    }
}

/// Nobody but its parent learns how a process ended, and a keeper has none that stays; its log may know.
fn end_of(place: &Place, pid: i32) -> String {
    let ended = format!("the sandbox's keeper (process {pid}) was killed or crashed");
    match tail(&place.log(), 1) {
        Ok(last) if !last.trim().is_empty() => format!("{ended}; its last words: {}", last.trim()),
        _ => ended,
    }
}

/// The last lines of a file, at most [`LOG_TAIL`] bytes. One that is not there has none.
pub(super) fn tail(path: &Path, lines: u32) -> io::Result<String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
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
    use super::*;

    #[test]
    fn the_tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(file.path(), 2).unwrap(), "two\nthree\n");
        assert_eq!(tail(file.path(), 9).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(tail(file.path(), 0).unwrap(), "");
        assert_eq!(tail(Path::new("/nonexistent/file"), 2).unwrap(), "");
    }
}
