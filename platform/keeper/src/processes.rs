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
pub(crate) struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    /// In clock ticks since the machine's start: tells a process from a later one of the same number.
    started: u64,
}

impl Process {
    /// Its number, as the kernel gives and takes it.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Whether it is in that process group.
    pub(crate) fn is_in(&self, group: Pid) -> bool {
        self.group == group.as_raw_nonzero().get()
    }
}

/// A program's first process: its number, and when it started, where the system tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leader {
    pub(crate) pid: Pid,
    started: Option<u64>,
}

impl Leader {
    /// Of a child that has not been reaped yet, so that its number is its own.
    pub(crate) fn of(pid: Pid) -> Leader {
        let number = pid.as_raw_nonzero().get();
        let stat = fs::read(format!("/proc/{number}/stat")).ok();
        Leader { pid, started: stat.and_then(|stat| parse_stat(number, &stat)).map(|p| p.started) }
    }
}

/// Everything that belongs to the program with this first process: its session, its group, and whatever descends from
/// it. Only among the keeper's own descendants, whoever else has those numbers by now.
pub(crate) fn of_program(leader: Leader) -> Vec<Process> {
    members(leader, rustix::process::getpid().as_raw_nonzero().get(), &running())
}

/// Everything below the keeper: all programs and whatever they left behind.
pub(crate) fn of_keeper() -> Vec<Pid> {
    pids(&below(rustix::process::getpid().as_raw_nonzero().get(), &running()))
}

fn members(leader: Leader, keeper: i32, all: &[Process]) -> Vec<Process> {
    let number = leader.pid.as_raw_nonzero().get();
    let ours = below(keeper, all);
    let first = all.iter().find(|p| p.pid == number);
    // A number is given again only when no process, group or session of it is left.
    let is_another = |p: &Process| !ours.contains(&p.pid) || leader.started.is_some_and(|at| at != p.started);
    if first.is_some_and(is_another) {
        return Vec::new();
    }
    let descended = below(number, all);
    let belongs = |p: &&Process| {
        descended.contains(&p.pid) || (ours.contains(&p.pid) && [p.pid, p.group, p.session].contains(&number))
    };
    all.iter().filter(belongs).copied().collect()
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
    let (parent, group, session) = (number()?, number()?, number()?);
    // The start is the 22nd field of all, the session the 6th.
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, group, session, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let process = Process { pid: 7, parent: 1, group: 5, session: 3, started: 99 };
        let stat = b"7 (a) R 9 (b) S 1 5 3 34816 7 0 1 2 3 4 5 6 7 8 20 0 1 0 99 1000 2";
        assert_eq!(parse_stat(7, stat), Some(process));
        assert_eq!(parse_stat(7, b"7 (a) S 1 5 3 34816 7 0"), None);
        assert_eq!(parse_stat(7, b"7 (a) Z 1 5 3 0"), None);
        assert_eq!(parse_stat(7, b"7 (a"), None);
        assert_eq!(parse_stat(7, b"7 (a) S 1 5"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let process = |pid, parent| Process { pid, parent, group: 0, session: 0, started: 0 };
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 9)];
        assert_eq!(below(1, &all), BTreeSet::from([2, 3, 4]));
    }

    #[test]
    fn only_descendants_belong_to_a_program_whoever_has_its_numbers() {
        const KEEPER: i32 = 10;
        let process = |pid, parent, group, session, started| Process { pid, parent, group, session, started };
        let leader = Leader { pid: Pid::from_raw(20).unwrap(), started: Some(5) };
        let found =
            |all: &[Process]| members(leader, KEEPER, all).iter().map(|p| p.pid).collect::<BTreeSet<_>>();
        let keeper = process(KEEPER, 1, KEEPER, KEEPER, 1);
        let first = process(20, KEEPER, 20, 20, 5);
        let job = process(21, 20, 21, 20, 6);
        let own_session = process(22, 21, 22, 22, 7);
        let stranger = process(30, 1, 20, 20, 3);
        assert_eq!(found(&[keeper, first, job, own_session, stranger]), BTreeSet::from([20, 21, 22]));
        // The first has ended, and its jobs are the keeper's children.
        let orphan = process(21, KEEPER, 21, 20, 6);
        assert_eq!(found(&[keeper, orphan, stranger]), BTreeSet::from([21]));
        // All have ended, and the number is somebody else's: a stranger's, or that of another program's child.
        for (parent, started) in [(1, 5), (1, 900), (KEEPER, 900), (40, 900)] {
            let other = process(40, KEEPER, 40, 40, 2);
            let again = process(20, parent, 20, 20, started);
            let below_it = process(23, 20, 20, 20, 901);
            assert_eq!(found(&[keeper, other, again, below_it]), BTreeSet::new(), "{parent} {started}");
        }
    }
}
