//! A terminal's memory: the last bytes of its output and the model of its screen, which runs behind them.
//!
//! Readers are served from the ring at once; the model follows when there is time, and must have caught up only for a
//! snapshot, or where the ring is about to forget what the model has not seen. Changes of size stand in a queue at
//! their place in the output, so that the model applies them there however late it comes by.

use std::collections::VecDeque;

use lap_wire::Ring;
use lap_wire::control::Size;

use crate::limits::{MAX_CHANGES, MODEL_SLICE};
use crate::model::{Event, Model};

#[derive(Clone, Copy, Debug)]
enum Change {
    Size(Size),
    Replies(bool),
}

/// See the module.
pub(crate) struct Terminal {
    ring: Ring,
    model: Model,
    /// How far the model has come.
    fed: u64,
    changes: VecDeque<(u64, Change)>,
    size: Size,
    size_generation: u32,
    /// A reader waits for a snapshot: until it is made, the output stands still.
    snapshot_wanted: bool,
    /// Whether the model answers queries in output that comes from here on.
    replies: bool,
}

impl Terminal {
    /// An empty terminal. `scrollback` is in bytes, `None` the model's default.
    pub(crate) fn new(size: Size, ring: usize, scrollback: Option<usize>) -> Terminal {
        Terminal {
            ring: Ring::new(ring),
            model: Model::new(size, scrollback),
            fed: 0,
            changes: VecDeque::new(),
            size,
            size_generation: 0,
            snapshot_wanted: false,
            replies: true,
        }
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Rises with each change of size.
    pub(crate) fn size_generation(&self) -> u32 {
        self.size_generation
    }

    /// The output goes on. What falls out of the ring has gone through the model before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.ring.capacity()) {
            let kept_from =
                (self.ring.end() + piece.len() as u64).saturating_sub(self.ring.capacity() as u64);
            if self.fed < kept_from {
                self.feed((kept_from - self.fed) as usize);
            }
            self.ring.push(piece);
        }
    }

    /// The terminal has a new size from here on; says whether it is another one.
    pub(crate) fn resize(&mut self, size: Size) -> bool {
        if size == self.size {
            return false;
        }
        self.size = size;
        self.size_generation = self.size_generation.wrapping_add(1);
        self.change(Change::Size(size));
        true
    }

    /// Whether the model answers queries from here on.
    pub(crate) fn set_replies(&mut self, on: bool) {
        if on != self.replies {
            self.replies = on;
            self.change(Change::Replies(on));
        }
    }

    fn change(&mut self, change: Change) {
        if self.changes.len() >= MAX_CHANGES {
            self.feed(usize::MAX);
        }
        self.changes.push_back((self.ring.end(), change));
        if self.fed == self.ring.end() {
            self.feed(0);
        }
    }

    /// Whether the model has seen everything.
    pub(crate) fn is_current(&self) -> bool {
        self.fed == self.ring.end()
    }

    /// Feeds the model up to `budget` bytes, and the changes that lie on the way.
    pub(crate) fn feed(&mut self, mut budget: usize) {
        loop {
            while let Some((at, change)) = self.changes.front().copied()
                && at <= self.fed
            {
                self.changes.pop_front();
                match change {
                    Change::Size(size) => self.model.resize(size),
                    Change::Replies(on) => self.model.set_replies(on),
                }
            }
            let until = self.changes.front().map_or(self.ring.end(), |(at, _)| *at);
            let n = (until - self.fed).min(budget as u64) as usize;
            let Some((a, b)) = self.ring.read(self.fed, n).filter(|_| n > 0) else { return };
            self.model.feed(a);
            self.model.feed(b);
            self.fed += n as u64;
            budget -= n;
        }
    }

    /// What came out of the model.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.model.events().collect()
    }

    /// The screen after all output so far, with at most `scrollback` bytes of history. `None` while the model is
    /// further behind than can be made up for at once: the output is then held still until it has caught up.
    pub(crate) fn snapshot(&mut self, scrollback: usize) -> Option<Vec<u8>> {
        if self.ring.end() - self.fed <= MODEL_SLICE as u64 {
            self.feed(MODEL_SLICE);
        }
        self.snapshot_wanted = !self.is_current();
        (!self.snapshot_wanted).then(|| self.model.snapshot(scrollback))
    }

    /// Whether the output must stand still until the model has caught up, for a snapshot.
    pub(crate) fn holds_still(&self) -> bool {
        self.snapshot_wanted && !self.is_current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Terminal {
        Terminal::new(Size { cols: 80, rows: 24 }, 4096, None)
    }

    #[test]
    fn the_ring_never_forgets_what_the_model_has_not_seen() {
        let mut terminal = terminal();
        for len in [1, 4000, 4096, 100, 9000, 20_000, 3] {
            terminal.push(&vec![b'a'; len]);
            assert!(terminal.fed >= terminal.ring.start());
        }
        assert_eq!(terminal.ring.end(), 37_200);
    }

    #[test]
    fn a_change_of_size_waits_for_its_place_in_the_output() {
        let mut terminal = terminal();
        terminal.push(&[b'a'; 1000]);
        assert!(terminal.resize(Size { cols: 10, rows: 5 }));
        assert!(!terminal.resize(Size { cols: 10, rows: 5 }), "the same size is no change");
        terminal.push(&[b'b'; 1000]);
        terminal.feed(999);
        assert_eq!(terminal.changes.len(), 1);
        terminal.feed(1);
        assert_eq!((terminal.changes.len(), terminal.fed), (0, 1000));
        assert_eq!(terminal.size_generation(), 1);
    }

    #[test]
    fn changes_without_output_between_stay_bounded() {
        let mut terminal = terminal();
        terminal.push(b"x");
        for i in 0..10 * MAX_CHANGES {
            terminal.resize(Size { cols: 10 + (i % 2) as u16, rows: 5 });
            assert!(terminal.changes.len() <= MAX_CHANGES);
        }
    }
}
