//! What all recordings take together, kept within a bound.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use lap_platform::model::SessionId;

use super::RecordingConfig;

/// A file of a recording.
struct Part {
    path: PathBuf,
    bytes: u64,
    /// Whether its session is being recorded now.
    live: bool,
    /// Whether it is the older half of its recording.
    older: bool,
    written: SystemTime,
}

/// Removes recordings until all together take no more than they may: of sessions that have ended first, the oldest
/// first, then older halves of those that go on. What is being written stays: each recording is rotated at its share of
/// the whole, see [`share`].
pub(super) fn make_room(config: &RecordingConfig, is_live: impl Fn(SessionId) -> bool) -> io::Result<()> {
    let mut parts = Vec::new();
    let entries = match fs::read_dir(&config.directory) {
        // Nothing has been recorded yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // What is not one of ours is not ours to remove.
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".cast")) else { continue };
        let (id, older) = name.strip_suffix(".older").map_or((name, false), |id| (id, true));
        let (Ok(session), Ok(metadata)) = (id.parse::<SessionId>(), entry.metadata()) else { continue };
        parts.push(Part {
            path: entry.path(),
            bytes: metadata.len(),
            live: is_live(session),
            older,
            written: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        });
    }
    let mut total: u64 = parts.iter().map(|part| part.bytes).sum();
    parts.retain(|part| !part.live || part.older);
    parts.sort_by_key(|part| (part.live, part.written, !part.older));
    for part in parts {
        if total <= config.total_bytes {
            break;
        }
        match fs::remove_file(&part.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => total -= part.bytes,
        }
    }
    Ok(())
}

/// Bytes one of `live` recordings may take, its older half included.
pub(super) fn share(config: &RecordingConfig, live: usize) -> u64 {
    config.max_bytes.min(config.total_bytes / live.max(1) as u64)
}
