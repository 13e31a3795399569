//! Processes below the keeper: which there are, and how those that ended did.

use std::collections::BTreeSet;
use std::fs;

use lap_wire::control::ExitStatus;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::clock::wall_ms;
use crate::signal_names::name_of;

/// Makes the keeper the parent of orphans among its descendants, as PID 1 is anyway.
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Collects every child that has ended, its own and adopted ones.
pub(crate) fn reap() -> Vec<(Pid, ExitStatus)> {
    let mut ended = Vec::new();
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended.extend(exit_status(status).map(|status| (pid, status))),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return ended,
        }
    }
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    let code = status.exit_status();
    let signal = status.terminating_signal().map(name_of);
    (code.is_some() || signal.is_some()).then(|| ExitStatus { code, signal, at_ms: wall_ms() })
}

/// A process that is running, as `/proc` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
}

/// Everything that belongs to the program whose first process is `leader`: its session, its group, and whatever
/// descends from it.
pub(crate) fn of_program(leader: Pid) -> Vec<Pid> {
    let leader = leader.as_raw_nonzero().get();
    let all = running();
    let mut found = below(leader, &all);
    found.extend(all.iter().filter(|p| [p.pid, p.group, p.session].contains(&leader)).map(|p| p.pid));
    pids(&found)
}

/// Everything below the keeper: all programs and whatever they left behind.
pub(crate) fn of_keeper() -> Vec<Pid> {
    pids(&below(rustix::process::getpid().as_raw_nonzero().get(), &running()))
}

fn pids(found: &BTreeSet<i32>) -> Vec<Pid> {
    let own = rustix::process::getpid();
    found.iter().filter_map(|pid| Pid::from_raw(*pid)).filter(|pid| *pid != own && !pid.is_init()).collect()
}

/// Sends a signal to each; one that has just ended is what was wanted.
pub(crate) fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = rustix::process::kill_process(*pid, signal);
    }
}

/// Whether a process has declared that SIGTERM means nothing to it, as interactive shells do.
pub(crate) fn ignores_term(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())) else {
        return false;
    };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (libc::SIGTERM - 1)) != 0
}

fn below(root: i32, all: &[Process]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut roots = vec![root];
    while let Some(parent) = roots.pop() {
        let children = all.iter().filter(|p| p.parent == parent);
        roots.extend(children.map(|p| p.pid).filter(|pid| found.insert(*pid)));
    }
    found
}

/// All that run; what has ended and only waits to be reaped is not among them.
fn running() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(pid, &fs::read(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// `pid (name) state parent group session ...`, where the name may hold anything, parentheses included.
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let end_of_name = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    let mut number = || fields.next()?.parse().ok();
    Some(Process { pid, parent: number()?, group: number()?, session: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let process = Process { pid: 7, parent: 1, group: 5, session: 3 };
        assert_eq!(parse_stat(7, b"7 (a) R 9 (b) S 1 5 3 34816 7 0"), Some(process));
        assert_eq!(parse_stat(7, b"7 (a) Z 1 5 3 0"), None);
        assert_eq!(parse_stat(7, b"7 (a"), None);
        assert_eq!(parse_stat(7, b"7 (a) S 1 5"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let process = |pid, parent| Process { pid, parent, group: 0, session: 0 };
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 9)];
        assert_eq!(below(1, &all), BTreeSet::from([2, 3, 4]));
    }
}
