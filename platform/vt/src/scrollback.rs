//! The rows that have left the main screen at its top, as many of the newest as fit in a number of bytes.
//!
//! All cells lie in one queue, so a row costs what its cells cost and no allocation of its own. What a row counts
//! is a function of its contents alone: two terminals with the same history and limit keep the same rows, which
//! is what lets a snapshot and its original agree.

use std::collections::VecDeque;

use crate::cell::Cell;

#[derive(Clone, Debug)]
pub(crate) struct Scrollback {
    cells: VecDeque<Cell>,
    lines: VecDeque<Line>,
    cost: usize,
    limit: usize,
    /// Rows there have ever been.
    pushed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Position of the first cell, counted from the beginning of time; the queue's front is the first line's.
    start: u64,
    cells: u16,
    wrapped: bool,
    cost: u32,
}

/// A row's cells may lie on both sides of the queue's seam.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) front: &'a [Cell],
    pub(crate) back: &'a [Cell],
    pub(crate) wrapped: bool,
}

impl Scrollback {
    pub(crate) fn new(limit: usize) -> Scrollback {
        Scrollback { cells: VecDeque::new(), lines: VecDeque::new(), cost: 0, limit, pushed: 0 }
    }

    /// Adds the newest row, which counts `cost` bytes, and forgets the oldest until all fit.
    pub(crate) fn push(&mut self, cells: &[Cell], wrapped: bool, cost: usize) {
        self.pushed += 1;
        if cost > self.limit {
            self.clear();
            return;
        }
        while self.cost + cost > self.limit {
            self.pop_front();
        }
        let start = self.lines.back().map_or(0, |line| line.start + u64::from(line.cells));
        self.cells.extend(cells);
        self.lines.push_back(Line { start, cells: cells.len() as u16, wrapped, cost: cost as u32 });
        self.cost += cost;
    }

    fn pop_front(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.cost -= line.cost as usize;
            self.cells.drain(..usize::from(line.cells));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.lines.clear();
        self.cost = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Rows that were ever pushed, whether they are still there or not.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The rows were laid out anew: none is newer than before.
    pub(crate) fn set_pushed(&mut self, pushed: u64) {
        self.pushed = pushed;
    }

    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Row `index`, counted from the oldest.
    pub(crate) fn get(&self, index: usize) -> Option<Stored<'_>> {
        let line = self.lines.get(index)?;
        let first = self.lines.front()?.start;
        let start = (line.start - first) as usize;
        let end = start + usize::from(line.cells);
        let (front, back) = self.cells.as_slices();
        let seam = front.len();
        Some(Stored {
            front: front.get(start.min(seam)..end.min(seam)).unwrap_or(&[]),
            back: back.get(start.max(seam) - seam..end.max(seam) - seam).unwrap_or(&[]),
            wrapped: line.wrapped,
        })
    }

    pub(crate) fn newest(&self) -> Option<Stored<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Stored<'_>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn set_newest_wrapped(&mut self, wrapped: bool) {
        if let Some(line) = self.lines.back_mut() {
            line.wrapped = wrapped;
        }
    }

    /// How many of the newest rows fit in this many bytes.
    pub(crate) fn fitting(&self, bytes: usize) -> usize {
        let mut left = bytes;
        let fits = |line: &&Line| {
            left.checked_sub(line.cost as usize).is_some_and(|rest| {
                left = rest;
                true
            })
        };
        self.lines.iter().rev().take_while(fits).count()
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter()
    }

    pub(crate) fn memory(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>() + self.lines.capacity() * size_of::<Line>()
    }
}

impl<'a> Stored<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Cell> + 'a {
        self.front.iter().chain(self.back).copied()
    }

    pub(crate) fn len(self) -> usize {
        self.front.len() + self.back.len()
    }

    /// The cell in this column; blank where the row was never printed on.
    pub(crate) fn cell(self, x: usize) -> Cell {
        self.front.get(x).or_else(|| self.back.get(x - self.front.len())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_longest_suffix_that_fits() {
        let mut scrollback = Scrollback::new(100);
        for (len, cost) in [(3, 40), (2, 30), (4, 50)] {
            scrollback.push(&vec![Cell::ascii(b'a' + len, 0); usize::from(len)], false, cost);
        }
        assert_eq!((scrollback.len(), scrollback.cost()), (2, 80));
        assert_eq!(scrollback.newest().map(Stored::len), Some(4));
        assert_eq!(scrollback.fitting(79), 1);
        assert_eq!(scrollback.fitting(80), 2);
        scrollback.push(&[], false, 101);
        assert_eq!(scrollback.len(), 0, "a row that does not fit leaves no suffix that does");
    }

    #[test]
    fn a_row_over_the_seam_of_the_queue_reads_whole() {
        let mut scrollback = Scrollback::new(1000);
        for n in 0..1000u32 {
            let cells: Vec<Cell> = (0..7).map(|x| Cell::blank(n * 7 + x)).collect();
            scrollback.push(&cells, false, 100);
            assert_eq!(scrollback.newest().map(|row| row.iter().collect()), Some(cells));
        }
        assert_eq!(scrollback.get(0).map(|row| row.cell(6)), Some(Cell::blank(990 * 7 + 6)));
    }
}
