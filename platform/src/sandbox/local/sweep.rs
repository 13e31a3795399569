//! Ending every process of a sandbox whose keeper could not: they carry its mark in their environment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;

use super::mark::Mark;
use super::process::{PidFd, ProcessId, Stat, all_pids};

/// Looks at most so often: a process may fork between the look and the kill, but each look finds all its children.
const ROUNDS: usize = 20;
/// How long a killed process may take to go. One that takes longer hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills everything that belongs to a sandbox. Gives the number of processes that would not go.
pub(super) async fn sweep(mark: &Mark) -> usize {
    for _ in 0..ROUNDS {
        let wanted = mark.clone();
        let found = tokio::task::spawn_blocking(move || of_sandbox(&wanted)).await.unwrap_or_default();
        if found.is_empty() {
            return 0;
        }
        tracing::info!(sandbox = %mark.name, processes = found.len(), "killing what a sandbox has left behind");
        let mut leaving = JoinSet::new();
        for fd in found {
            fd.kill();
            leaving.spawn(fd.ended());
        }
        let all = async { while leaving.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            return leaving.len();
        }
    }
    // Something forks faster than it is killed; the next reconcile goes on.
    1
}

/// Descriptors of every process that belongs to a sandbox.
fn of_sandbox(mark: &Mark) -> Vec<PidFd> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let all: BTreeMap<i32, Stat> = all_pids()
        .into_iter()
        .filter(|pid| *pid > 1 && *pid != own)
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect();
    let marked = all.keys().copied().filter(|pid| mark.is_on(*pid)).collect();
    let found = family(&all, marked);
    found
        .into_iter()
        .filter_map(|pid| {
            let id = ProcessId::of(pid)?;
            // The same process as was judged, not one that got its pid since.
            (all.get(&pid)?.start_time == id.start_time).then_some(())?;
            id.open().ok().flatten()
        })
        .collect()
}

/// Adds to the marked processes those that dropped their environment: descendants, and members of sessions that a
/// marked process leads.
fn family(all: &BTreeMap<i32, Stat>, marked: BTreeSet<i32>) -> BTreeSet<i32> {
    let mut found = marked;
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|(pid, _)| !found.contains(pid))
            .filter(|(_, stat)| found.contains(&stat.parent) || found.contains(&stat.session))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: i32, session: i32) -> Stat {
        Stat { parent, session, start_time: 0 }
    }

    #[test]
    fn descendants_and_members_of_a_marked_leaders_session_belong_and_others_do_not() {
        let all = BTreeMap::from([
            (10, stat(1, 10)),
            (11, stat(10, 10)),
            (12, stat(11, 12)), // dropped its environment, in a session of its own
            (13, stat(12, 12)),
            (14, stat(1, 10)), // an orphan in the marked leader's session
            (20, stat(1, 20)),
            (21, stat(20, 20)),
        ]);
        assert_eq!(family(&all, BTreeSet::from([10])), BTreeSet::from([10, 11, 12, 13, 14]));
        assert_eq!(
            family(&all, BTreeSet::from([21])),
            BTreeSet::from([21]),
            "not its session's unmarked leader"
        );
    }
}
