//! Processes that are not our children, named so that a recycled pid is never taken for them.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One process for all time: a pid can be given to another, the pid together with its start time cannot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its pid.
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since the machine was.
    pub(crate) start_time: u64,
    /// Which start of the machine that was.
    pub(crate) boot_id: String,
}

impl ProcessId {
    /// The process that has this pid now. `None`: there is none, or it only waits to be reaped.
    pub(crate) fn of(pid: i32) -> Option<ProcessId> {
        let stat = Stat::read(pid)?;
        Some(ProcessId { pid, start_time: stat.start_time, boot_id: boot_id() })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        ProcessId::of(self.pid).as_ref() == Some(self)
    }

    /// Whether the machine has been started again since.
    pub(crate) fn is_of_earlier_boot(&self) -> bool {
        self.boot_id != boot_id()
    }

    /// A descriptor of exactly this process. `None`: it has ended.
    pub(super) fn open(&self) -> io::Result<Option<PidFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only now: before the descriptor was open, the pid could still have been given away.
        Ok(self.is_alive().then_some(PidFd(fd)))
    }
}

/// A descriptor of a process; it stays that process's even when the pid is used again.
#[derive(Debug)]
pub(super) struct PidFd(OwnedFd);

impl PidFd {
    /// Kills it; one that has ended is what was wanted.
    pub(super) fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Waits for its end without asking again and again.
    #[allow(unsafe_code)]
    pub(super) async fn ended(self) -> io::Result<()> {
        // SAFETY: the descriptor is owned by what is registered, and not closed or replaced before that is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE) }?;
        fd.readable().await.map(|_| ())
    }
}

/// What of `/proc/<pid>/stat` matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    /// Its parent.
    pub(super) parent: i32,
    /// The session it belongs to.
    pub(super) session: i32,
    /// In clock ticks since the machine was started.
    pub(super) start_time: u64,
}

impl Stat {
    /// Of the process with this pid, unless it has ended.
    pub(super) fn read(pid: i32) -> Option<Stat> {
        Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state parent group session ... start_time`, where the name may hold anything, `)` included.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
        let mut fields = std::str::from_utf8(stat.get(after_name..)?).ok()?.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X" | "x") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        // proc(5): the start time is field 22; the session was field 6.
        let start_time = fields.nth(22 - 6 - 1)?.parse().ok()?;
        Some(Stat { parent, session, start_time })
    }
}

/// Every pid there is.
pub(super) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_not_another_with_its_pid() {
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        let earlier = ProcessId { start_time: own.start_time - 1, ..own.clone() };
        assert!(!earlier.is_alive());
        assert!(earlier.open().unwrap().is_none(), "no descriptor of a recycled pid");
        let before_reboot = ProcessId { boot_id: "other".to_owned(), ..own };
        assert!(!before_reboot.is_alive() && before_reboot.is_of_earlier_boot());
    }

    #[test]
    fn a_name_full_of_parentheses_does_not_confuse() {
        let stat = b"7 (a) S 1 2 3) S 9 8 5 34816 7 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        assert_eq!(Stat::parse(stat), Some(Stat { parent: 9, session: 5, start_time: 4711 }));
        assert_eq!(Stat::parse(b"7 (a) Z 9 8 5 0 0"), None, "ended, waiting to be reaped");
        assert_eq!(Stat::parse(b"7 (a"), None);
    }
}
