//! Printing: characters into cells, wrapping at the right edge, combining, repeating.

use crate::cell::Cell;
use crate::charset::Charset;
use crate::limits::MAX_CLUSTER_BYTES;
use crate::model::Model;
use crate::width::columns;

const DELETE: char = '\x7f';

impl Model {
    /// Printable ASCII, as fast as it goes: whole stretches of a row at a time.
    pub(crate) fn print_ascii(&mut self, run: &[u8]) {
        let plain = self.charsets.get(self.charsets.locked) == Charset::Ascii && self.shift == 0;
        if !plain || self.modes.insert || !self.modes.autowrap {
            run.iter().for_each(|byte| self.print(char::from(*byte)));
            return;
        }
        let Some(last) = run.last() else { return };
        let style = self.pen_number();
        let mut rest = run;
        while !rest.is_empty() {
            if self.pending_wrap {
                self.wrap();
            }
            let (x, y) = (self.x, self.y);
            let (now, later) = rest.split_at(rest.len().min(self.cols - x));
            rest = later;
            self.x += now.len();
            self.touch(y, x, self.x);
            let end = self.x;
            for (cell, byte) in self.row_mut(y).cells[x..end].iter_mut().zip(now) {
                *cell = Cell::ascii(*byte, style);
            }
            if end == self.cols {
                self.x = end - 1;
                self.pending_wrap = true;
            }
            self.printed.x = end - 1;
        }
        self.printed.raw.clear();
        self.printed.raw.push(char::from(*last));
        self.printed.width = 1;
        self.printed.y = self.y;
        self.printed.inserted = false;
        self.printed.shift = 0;
        self.follows_print = true;
    }

    pub(crate) fn print(&mut self, raw: char) {
        if raw == DELETE {
            return;
        }
        let shift = std::mem::take(&mut self.shift);
        let c = if raw.is_ascii() {
            self.charsets.get(if shift == 0 { self.charsets.locked } else { shift }).map(raw)
        } else {
            raw
        };
        let width = columns(c);
        if width == 0 {
            return self.combine(c);
        }
        if width > self.cols {
            return;
        }
        if self.pending_wrap {
            self.wrap();
        }
        let mut joined = false;
        if self.x + width > self.cols {
            if self.modes.autowrap {
                self.erase(self.y, self.x, self.cols);
                joined = self.wrap();
            } else {
                self.x = self.cols - width;
            }
        }
        let (x, y) = (self.x, self.y);
        if self.modes.insert {
            self.insert_blanks(width);
        }
        let joined = joined || (width == 2 && x == 0 && self.fills_gap_above(y));
        self.touch(y, x, x + width);
        if joined {
            self.join_above(y);
        }
        let style = self.pen_number();
        let row = self.row_mut(y);
        if width == 1 {
            row.cells[x] = Cell::narrow(c, style);
        } else {
            row.cells[x..x + 2].copy_from_slice(&Cell::wide(c, style));
        }
        self.x += width;
        if self.x >= self.cols {
            self.x = self.cols - 1;
            self.pending_wrap = self.modes.autowrap;
        }
        self.printed.raw.clear();
        self.printed.raw.push(raw);
        self.printed.width = width;
        (self.printed.x, self.printed.y) = (x, y);
        self.printed.inserted = self.modes.insert;
        self.printed.shift = shift;
        self.follows_print = true;
    }

    /// Goes to the next row because the text does. Whether the two rows are now one line.
    fn wrap(&mut self) -> bool {
        self.pending_wrap = false;
        let below_region = self.y == self.rows - 1 && self.y != self.bottom;
        let single_row = self.y == self.bottom && self.top == self.bottom;
        self.x = 0;
        self.index();
        if single_row {
            if self.top == 0 && !self.modes.alternate {
                self.scrollback.set_newest_wrapped(true);
            }
            return false;
        }
        if below_region {
            return false;
        }
        self.mark_above_wrapped();
        true
    }

    fn mark_above_wrapped(&mut self) {
        let y = self.y;
        if y > self.top || (y > 0 && self.top != self.bottom) {
            self.row_mut(y - 1).wrapped = true;
        }
    }

    /// Whether the row above wrapped for want of a second column at its end: a wide character printed again at
    /// the start of this row is the one that did not fit there.
    fn fills_gap_above(&mut self, y: usize) -> bool {
        let (gap, last) = (self.erased(), self.cols - 1);
        if y > 0 {
            let above = &self.screen().rows[y - 1];
            above.wrapped && above.cells[last] == gap
        } else {
            !self.modes.alternate
                && self.scrollback.newest().is_some_and(|row| row.wrapped && row.cell(last) == gap)
        }
    }

    fn join_above(&mut self, y: usize) {
        if y == 0 {
            if !self.modes.alternate {
                self.scrollback.set_newest_wrapped(true);
            }
        } else {
            self.mark_above_wrapped();
        }
    }

    /// A character of no width joins the one printed last, or the one left of the cursor.
    fn combine(&mut self, c: char) {
        let (mut x, y) = if self.follows_print {
            (self.printed.x, self.printed.y)
        } else if self.pending_wrap {
            (self.x, self.y)
        } else if self.x > 0 {
            (self.x - 1, self.y)
        } else {
            return;
        };
        let row = &self.screen().rows[y];
        if x > 0 && row.cells[x].is_spacer() {
            x -= 1;
        }
        let cell = row.cells[x];
        let mut text = String::new();
        self.tables.push_text(cell, &mut text);
        if text.is_empty() {
            text.push(' ');
        }
        if text.len() + c.len_utf8() > MAX_CLUSTER_BYTES {
            return;
        }
        text.push(c);
        if self.tables.clusters.is_full() {
            self.collect();
        }
        let number = self.tables.clusters.number(text.as_str());
        self.row_mut(y).cells[x] = cell.with_cluster(number);
        if self.follows_print {
            self.printed.raw.push(c);
        }
    }

    /// REP: only directly after a character, as in xterm.
    pub(crate) fn repeat(&mut self, count: usize) {
        let Some(c) = self.printed.raw.chars().next() else { return };
        for _ in 0..count.min(self.cols * self.rows) {
            self.print(c);
        }
    }
}
