//! Which of a connection's channels is served next while its socket is the bottleneck: interactive ones first, the
//! others in turn by deficit round robin (Shreedhar and Varghese 1995), so that each gets its share of bytes whatever
//! the size of its frames.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A channel is interactive for this long after it was typed into.
const INTERACTIVE: Duration = Duration::from_millis(250);
/// Bytes an interactive channel may send first in that time; a flood that was typed into is still a flood.
const INTERACTIVE_BYTES: usize = 16 * 1024;
/// Bytes a bulk channel may send in its turn.
const QUANTUM: usize = 32 * 1024;

/// A channel's standing.
#[derive(Debug)]
struct Entry {
    channel: u32,
    typed: Option<Instant>,
    interactive_left: usize,
    deficit: usize,
    queued: bool,
}

/// The order in which channels with something to send are served.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    entries: Vec<Entry>,
    interactive: VecDeque<u32>,
    bulk: VecDeque<u32>,
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    /// Which channel.
    pub channel: u32,
    /// Whether it goes before bulk, and past the link's limit for it.
    pub interactive: bool,
    /// Bytes it may send now.
    pub bytes: usize,
}

impl Scheduler {
    /// A channel was typed into: what it prints next is the answer somebody waits for.
    pub(super) fn typed(&mut self, channel: u32, now: Instant) {
        let entry = self.entry(channel);
        entry.typed = Some(now);
        entry.interactive_left = INTERACTIVE_BYTES;
        if entry.queued {
            self.bulk.retain(|c| *c != channel);
            if !self.interactive.contains(&channel) {
                self.interactive.push_back(channel);
            }
        }
    }

    /// Whether so many bytes of a channel may go past the link's limit, without waiting for a turn: they are the answer
    /// to what was typed. They count as such.
    pub(super) fn overtakes(&mut self, channel: u32, bytes: usize, now: Instant) -> bool {
        let entry = self.entry(channel);
        let overtakes = entry.is_interactive(now) && entry.interactive_left >= bytes;
        if overtakes {
            entry.interactive_left -= bytes;
        }
        overtakes
    }

    /// A channel has something to send.
    pub(super) fn wake(&mut self, channel: u32, now: Instant) {
        let entry = self.entry(channel);
        if entry.queued {
            return;
        }
        entry.queued = true;
        entry.deficit = 0;
        if entry.is_interactive(now) {
            self.interactive.push_back(channel)
        } else {
            self.bulk.push_back(channel)
        }
    }

    /// Whose turn it is. Its turn goes on until [`Scheduler::used`] or [`Scheduler::idle`] says otherwise.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Turn> {
        while let Some(&channel) = self.interactive.front() {
            let entry = self.entry(channel);
            if entry.is_interactive(now) {
                return Some(Turn { channel, interactive: true, bytes: entry.interactive_left });
            }
            self.interactive.pop_front();
            self.bulk.push_back(channel);
        }
        let &channel = self.bulk.front()?;
        let entry = self.entry(channel);
        if entry.deficit == 0 {
            entry.deficit = QUANTUM;
        }
        Some(Turn { channel, interactive: false, bytes: entry.deficit })
    }

    /// The channel whose turn it was sent `bytes` and has more.
    pub(super) fn used(&mut self, turn: Turn, bytes: usize) {
        let entry = self.entry(turn.channel);
        if turn.interactive {
            entry.interactive_left = entry.interactive_left.saturating_sub(bytes);
            if self.interactive.pop_front().is_some() {
                self.interactive.push_back(turn.channel);
            }
        } else {
            entry.deficit = entry.deficit.saturating_sub(bytes);
            if entry.deficit == 0 && self.bulk.pop_front().is_some() {
                self.bulk.push_back(turn.channel);
            }
        }
    }

    /// The channel has nothing to send now, or may not.
    pub(super) fn idle(&mut self, channel: u32) {
        self.entry(channel).queued = false;
        self.interactive.retain(|c| *c != channel);
        self.bulk.retain(|c| *c != channel);
    }

    /// The channel is no more.
    pub(super) fn remove(&mut self, channel: u32) {
        self.idle(channel);
        self.entries.retain(|e| e.channel != channel);
    }

    fn entry(&mut self, channel: u32) -> &mut Entry {
        let at = match self.entries.binary_search_by_key(&channel, |e| e.channel) {
            Ok(at) => at,
            Err(at) => {
                let new = Entry { channel, typed: None, interactive_left: 0, deficit: 0, queued: false };
                self.entries.insert(at, new);
                at
            }
        };
        &mut self.entries[at]
    }
}

impl Entry {
    fn is_interactive(&self, now: Instant) -> bool {
        self.interactive_left > 0
            && self.typed.is_some_and(|at| now.saturating_duration_since(at) < INTERACTIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_channels_share_by_bytes_not_by_frames() {
        let now = Instant::now();
        let mut scheduler = Scheduler::default();
        let frame = [0, 1_000, 32_000, 7_000];
        let mut sent = [0; 4];
        for channel in 1..=3 {
            scheduler.wake(channel, now);
        }
        for _ in 0..10_000 {
            let turn = scheduler.turn(now).unwrap();
            let n = frame[turn.channel as usize].min(turn.bytes);
            sent[turn.channel as usize] += n;
            scheduler.used(turn, n);
        }
        let most = sent[1..].iter().max().unwrap();
        let least = sent[1..].iter().min().unwrap();
        assert!(most - least <= 2 * QUANTUM, "{sent:?}");
    }

    #[test]
    fn a_channel_just_typed_into_goes_before_bulk_but_not_for_ever() {
        let now = Instant::now();
        let mut scheduler = Scheduler::default();
        for channel in [1, 2, 3] {
            scheduler.wake(channel, now);
        }
        scheduler.typed(3, now);
        assert_eq!(scheduler.turn(now).map(|t| (t.channel, t.interactive)), Some((3, true)));
        // It floods: after its allowance it is bulk like the others.
        let mut first = 0;
        while let Some(turn) = scheduler.turn(now).filter(|t| t.interactive) {
            first += turn.bytes.min(4096);
            scheduler.used(turn, turn.bytes.min(4096));
        }
        assert_eq!(first, INTERACTIVE_BYTES);
        // And with time the privilege ends by itself.
        scheduler.typed(2, now);
        let later = now + INTERACTIVE;
        assert!(!scheduler.turn(later).unwrap().interactive);
    }

    #[test]
    fn an_idle_channel_has_no_turn() {
        let now = Instant::now();
        let mut scheduler = Scheduler::default();
        scheduler.wake(1, now);
        scheduler.typed(1, now);
        scheduler.idle(1);
        assert_eq!(scheduler.turn(now), None);
        scheduler.wake(1, now);
        scheduler.remove(1);
        assert_eq!(scheduler.turn(now), None);
    }
}
