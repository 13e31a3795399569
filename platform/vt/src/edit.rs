//! Erasing, inserting, deleting, scrolling. Two things have to stay true: no half of a wide character without the
//! other, and no row marked as going on in the next when the two are no longer neighbours by printing.

use crate::cell::Cell;
use crate::model::Model;
use crate::style::Attributes;

impl Model {
    /// To be called before the cells `from..to` of a row are overwritten.
    pub(crate) fn touch(&mut self, y: usize, from: usize, to: usize) {
        let cols = self.cols;
        let row = self.row_mut(y);
        let splits_first = from == 1 && from < cols && row.cells[1].is_spacer();
        if from > 0 && from < cols && row.cells[from].is_spacer() {
            row.cells[from - 1] = row.cells[from - 1].orphaned();
        }
        if to > 0 && to < cols && row.cells[to].is_spacer() {
            row.cells[to] = row.cells[to].orphaned();
        }
        if to >= cols {
            row.wrapped = false;
        }
        if splits_first || from == 0 {
            self.part_from_above(y);
        }
    }

    /// A row that wrapped because a wide character did not fit at its end stays joined to the next one only while
    /// that character is there.
    fn part_from_above(&mut self, y: usize) {
        let last = self.cols - 1;
        if y > 0 {
            let above = self.row_mut(y - 1);
            if above.wrapped && above.cells[last].is_blank() {
                above.wrapped = false;
            }
        } else if !self.modes.alternate
            && self.scrollback.newest().is_some_and(|row| row.wrapped && row.cell(last).is_blank())
        {
            self.scrollback.set_newest_wrapped(false);
        }
    }

    pub(crate) fn erase(&mut self, y: usize, from: usize, to: usize) {
        if from < to {
            let erased = self.erased();
            self.touch(y, from, to);
            self.row_mut(y).cells[from..to].fill(erased);
        }
    }

    /// DECSED and DECSEL: protected cells stay.
    fn erase_selectively(&mut self, y: usize, from: usize, to: usize) {
        let mut x = from;
        while x < to {
            let cell = self.screen().rows[y].cells[x];
            let width = if cell.is_wide() { 2 } else { 1 };
            let end = (x + width).min(self.cols);
            if !self.tables.pen(cell).style.attributes.contains(Attributes::PROTECTED) {
                self.erase(y, x, end);
            }
            x = end;
        }
    }

    fn erase_part(&mut self, y: usize, from: usize, to: usize, selectively: bool) {
        if selectively { self.erase_selectively(y, from, to) } else { self.erase(y, from, to) }
    }

    /// EL and DECSEL.
    pub(crate) fn erase_in_line(&mut self, which: u16, selectively: bool) {
        let (from, to) = match which {
            0 => (self.x, self.cols),
            1 => (0, self.x + 1),
            2 => (0, self.cols),
            _ => return,
        };
        self.pending_wrap = false;
        self.erase_part(self.y, from, to, selectively);
    }

    /// ED and DECSED.
    pub(crate) fn erase_in_display(&mut self, which: u16, selectively: bool) {
        let (y, cols) = (self.y, self.cols);
        let (rows, part) = match which {
            0 => (y + 1..self.rows, (self.x, cols)),
            1 => (0..y, (0, self.x + 1)),
            2 => (0..self.rows, (0, 0)),
            3 if !selectively => return self.scrollback.clear(),
            _ => return,
        };
        self.pending_wrap = false;
        self.erase_part(y, part.0, part.1, selectively);
        for y in rows {
            self.erase_part(y, 0, cols, selectively);
        }
    }

    /// ECH.
    pub(crate) fn erase_characters(&mut self, count: usize) {
        self.pending_wrap = false;
        self.erase(self.y, self.x, (self.x + count).min(self.cols));
    }

    /// ICH, and printing in insert mode.
    pub(crate) fn insert_blanks(&mut self, count: usize) {
        let (x, y, cols) = (self.x, self.y, self.cols);
        let count = count.min(cols - x);
        let erased = self.erased();
        self.touch(y, x, x);
        let row = self.row_mut(y);
        if row.cells[x].is_spacer() {
            row.cells[x] = row.cells[x].orphaned();
        }
        // A wide character that the right edge cuts in two.
        let kept = cols - count;
        if kept > x && row.cells.get(kept).is_some_and(|cell| cell.is_spacer()) {
            row.cells[kept - 1] = row.cells[kept - 1].orphaned();
        }
        row.cells.copy_within(x..kept, x + count);
        row.cells[x..x + count].fill(erased);
        row.wrapped = false;
        if x == 0 {
            self.part_from_above(y);
        }
    }

    /// DCH.
    pub(crate) fn delete_characters(&mut self, count: usize) {
        self.pending_wrap = false;
        let (x, y, cols) = (self.x, self.y, self.cols);
        let count = count.min(cols - x);
        let erased = self.erased();
        self.touch(y, x, x + count);
        let row = self.row_mut(y);
        row.cells.copy_within(x + count..cols, x);
        row.cells[cols - count..].fill(erased);
        row.wrapped = false;
    }

    /// IL.
    pub(crate) fn insert_lines(&mut self, count: usize) {
        self.pending_wrap = false;
        if (self.top..=self.bottom).contains(&self.y) {
            self.scroll_down(self.y, count);
            self.x = 0;
        }
    }

    /// DL. Unlike scrolling, it keeps nothing of what it removes, not even at the top of the screen.
    pub(crate) fn delete_lines(&mut self, count: usize) {
        self.pending_wrap = false;
        if (self.top..=self.bottom).contains(&self.y) {
            self.remove_rows(self.y, count, false);
            self.x = 0;
        }
    }

    /// Rows `top..=bottom` move up; those that leave the top of the main screen go to the scrollback.
    pub(crate) fn scroll_up(&mut self, top: usize, count: usize) {
        self.remove_rows(top, count, top == 0 && !self.modes.alternate);
    }

    fn remove_rows(&mut self, top: usize, count: usize, keep: bool) {
        let bottom = self.bottom;
        if top > bottom {
            return;
        }
        let count = count.min(bottom - top + 1);
        let erased = self.erased();
        if keep && self.scrollback.limit() > 0 {
            for row in self.main.rows.iter().take(count) {
                let cells = row.trimmed();
                self.scrollback.push(cells, row.wrapped, self.tables.cost(cells));
            }
        }
        let screen = self.screen_mut();
        screen.rotate_up(top, bottom, count);
        for row in screen.rows.range_mut(bottom + 1 - count..=bottom) {
            row.fill(erased);
        }
        if top > 0 {
            screen.rows[top - 1].wrapped = false;
        }
        if bottom + 1 - count > top {
            screen.rows[bottom - count].wrapped = false;
        }
        // Nothing left of what stood below the newest row of the scrollback.
        let all_gone = bottom + 1 - count == top;
        if top == 0 && !self.modes.alternate && (!keep || all_gone) {
            self.scrollback.set_newest_wrapped(false);
        }
    }

    pub(crate) fn scroll_down(&mut self, top: usize, count: usize) {
        let bottom = self.bottom;
        if top > bottom {
            return;
        }
        let count = count.min(bottom - top + 1);
        let erased = self.erased();
        let screen = self.screen_mut();
        screen.rotate_down(top, bottom, count);
        for row in screen.rows.range_mut(top..top + count) {
            row.fill(erased);
        }
        screen.rows[bottom].wrapped = false;
        if top > 0 {
            screen.rows[top - 1].wrapped = false;
        } else if !self.modes.alternate {
            self.scrollback.set_newest_wrapped(false);
        }
    }

    /// DECALN.
    pub(crate) fn alignment_test(&mut self) {
        for row in &mut self.screen_mut().rows {
            row.fill(Cell::ascii(b'E', 0));
        }
        self.part_from_above(0);
        self.reset_region();
        self.move_to(0, 0);
    }
}
