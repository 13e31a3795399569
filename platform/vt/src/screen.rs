//! One of the two screens: its rows, its saved cursor, its keyboard stack.

use std::collections::VecDeque;

use crate::cell::Cell;
use crate::charset::Charsets;
use crate::limits::MAX_KEYBOARD_STACK;
use crate::style::Style;

/// A row of exactly as many cells as the terminal has columns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    /// The text goes on in the next row: the line was too long for the terminal, not ended by the program.
    pub(crate) wrapped: bool,
}

impl Row {
    pub(crate) fn blank(cols: usize) -> Row {
        Row { cells: vec![Cell::default(); cols], wrapped: false }
    }

    pub(crate) fn fill(&mut self, cell: Cell) {
        self.cells.fill(cell);
        self.wrapped = false;
    }

    /// The cells without those at the end that nothing was ever printed on.
    pub(crate) fn trimmed(&self) -> &[Cell] {
        trimmed(&self.cells)
    }
}

pub(crate) fn trimmed(cells: &[Cell]) -> &[Cell] {
    let len = cells.iter().rposition(|cell| *cell != Cell::default()).map_or(0, |last| last + 1);
    &cells[..len]
}

/// What DECSC remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) pending_wrap: bool,
    pub(crate) style: Style,
    pub(crate) charsets: Charsets,
    pub(crate) origin: bool,
}

/// The kitty keyboard protocol's flags: those in force, and below them those to go back to. Empty is all zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Keyboard(Vec<u8>);

/// The five flags the protocol defines.
const KEYBOARD_FLAGS: u16 = 0b1_1111;

impl Keyboard {
    pub(crate) fn flags(&self) -> u8 {
        self.0.last().copied().unwrap_or(0)
    }

    pub(crate) fn push(&mut self, flags: u16) {
        if self.0.is_empty() {
            self.0.push(0);
        }
        self.0.push((flags & KEYBOARD_FLAGS) as u8);
        if self.0.len() > MAX_KEYBOARD_STACK + 1 {
            self.0.remove(1);
        }
    }

    pub(crate) fn pop(&mut self, count: usize) {
        let left = self.0.len().saturating_sub(count);
        self.0.truncate(left);
        self.settle();
    }

    pub(crate) fn set(&mut self, flags: u16, how: u16) {
        let flags = (flags & KEYBOARD_FLAGS) as u8;
        if self.0.is_empty() {
            self.0.push(0);
        }
        if let Some(top) = self.0.last_mut() {
            match how {
                1 => *top = flags,
                2 => *top |= flags,
                3 => *top &= !flags,
                _ => {}
            }
        }
        self.settle();
    }

    /// Nothing pushed and nothing set has one form only.
    fn settle(&mut self) {
        if self.0 == [0] {
            self.0.clear();
        }
    }

    /// The flags below every push, and then what was pushed, oldest first.
    pub(crate) fn entries(&self) -> Option<(u8, &[u8])> {
        self.0.split_first().map(|(base, pushed)| (*base, pushed))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Screen {
    pub(crate) rows: VecDeque<Row>,
    pub(crate) saved: Saved,
    pub(crate) keyboard: Keyboard,
}

impl Screen {
    pub(crate) fn new(cols: usize, rows: usize) -> Screen {
        Screen {
            rows: (0..rows).map(|_| Row::blank(cols)).collect(),
            saved: Saved::default(),
            keyboard: Keyboard::default(),
        }
    }

    /// Moves the rows `top..=bottom` up by `count` places. The rows that come in at the bottom are the ones that
    /// went out at the top, for the caller to clear.
    pub(crate) fn rotate_up(&mut self, top: usize, bottom: usize, count: usize) {
        if top == 0 && bottom + 1 == self.rows.len() {
            self.rows.rotate_left(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_left(count);
        }
    }

    /// The same downwards.
    pub(crate) fn rotate_down(&mut self, top: usize, bottom: usize, count: usize) {
        if top == 0 && bottom + 1 == self.rows.len() {
            self.rows.rotate_right(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_right(count);
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.rows.iter().map(|row| row.cells.capacity() * size_of::<Cell>() + size_of::<Row>()).sum()
    }
}
