//! How many files this process may have open. A server needs several for each session and some for every client, and
//! systems allow a process few (256 on macOS, 1024 on Linux) unless it asks for more; programs that it starts get what
//! they would have had without it, since some cannot bear more.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for clients: neither dashboard nor `lap` can connect to a server that has no descriptor left, not even to end
/// the sessions that have them.
pub const RESERVE: u64 = 64;
/// Asked for where the system names no bound.
const ENOUGH: u64 = 65_536;

/// What was allowed before it was raised.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises what is allowed to what the system lets this process ask for, and gives what is allowed then; none is no
/// limit.
///
/// # Errors
/// The system refuses.
pub fn raise() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    BEFORE.get_or_init(|| limit.current);
    let aim = allowed_at_most();
    if limit.current.is_none_or(|current| current >= aim) {
        return Ok(limit.current);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(aim), maximum: limit.maximum })?;
    Ok(Some(aim))
}

/// What [`raise`] aims at.
#[must_use]
pub fn allowed_at_most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(ENOUGH)
}

/// A line for whoever looks at the configuration.
#[must_use]
pub fn told() -> String {
    format!("# open files: at most {}, of which {RESERVE} are kept for clients", allowed_at_most())
}

/// What programs are to be allowed: as much as this process was before [`raise`]. None if it never asked for more, or
/// there was no limit.
#[must_use]
pub fn for_programs() -> Option<u64> {
    *BEFORE.get()?
}

/// Whether there is room for one thing more beside what is kept for clients. Where that cannot be told, there is.
#[must_use]
pub fn has_room() -> bool {
    let Some(allowed) = getrlimit(Resource::Nofile).current else { return true };
    // Linux and macOS both show a process its own here.
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return false };
    leaves_reserve(allowed, open.count() as u64)
}

fn leaves_reserve(allowed: u64, open: u64) -> bool {
    open.saturating_add(RESERVE) < allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_what_nothing_else_takes() {
        assert!(leaves_reserve(256, 191));
        assert!(!leaves_reserve(256, 192) && !leaves_reserve(256, 256));
        assert!(!leaves_reserve(64, 0) && !leaves_reserve(10, 20));
    }

    #[test]
    fn what_was_allowed_before_is_kept_for_programs() {
        let before = getrlimit(Resource::Nofile);
        let now = raise().unwrap();
        assert_eq!(for_programs(), before.current);
        assert!(now.is_none_or(|now| now >= before.current.unwrap_or(0)));
        assert_eq!(raise().unwrap(), now, "a second time changes nothing");
        assert_eq!(for_programs(), before.current);
        assert!(has_room());
    }
}
