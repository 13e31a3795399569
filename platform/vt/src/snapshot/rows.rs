//! Rows in a snapshot, written as one flow of lines.

use std::fmt::Write as _;

use super::{Writer, put};
use crate::cell::Cell;
use crate::screen::Row;
use crate::scrollback::Stored;
use crate::style::{Color, Pen};

impl<'a> From<&'a Row> for Stored<'a> {
    fn from(row: &'a Row) -> Stored<'a> {
        Stored { front: &row.cells, back: &[], wrapped: row.wrapped }
    }
}

impl Writer<'_> {
    /// Writes rows one below the other, with the cursor at the start of a blank row. New lines are made only
    /// under the default pen, since a scrolled-in row takes its background; blanks are skipped or erased, so that
    /// they stay blanks.
    pub(super) fn flow<'a>(&mut self, rows: impl Iterator<Item = Stored<'a>>) {
        let mut new_lines = 0usize;
        let mut joined = false;
        for (index, row) in rows.enumerate() {
            if index > 0 && !joined {
                new_lines += 1;
            }
            if !joined && !row.wrapped && row.iter().all(|cell| cell == Cell::default()) {
                continue;
            }
            self.new_lines(&mut new_lines);
            self.row(row, joined);
            joined = row.wrapped;
        }
        self.new_lines(&mut new_lines);
    }

    fn new_lines(&mut self, count: &mut usize) {
        if *count > 0 {
            self.set_pen(Pen::default());
            (0..*count).for_each(|_| self.out.push_str("\r\n"));
            *count = 0;
        }
    }

    fn row(&mut self, row: Stored<'_>, joined: bool) {
        let cols = self.model.cols;
        let end = if row.wrapped { cols } else { row.len() - trailing_blanks(row) };
        let mut x = if joined { self.first_of_joined(row) } else { 0 };
        while x < end {
            let cell = row.cell(x);
            if !cell.is_blank() {
                self.cell(cell);
                x += width(cell);
                continue;
            }
            let run = (x..end).take_while(|x| row.cell(*x) == cell).count();
            let pen = *self.model.tables.pen(cell);
            if pen != Pen::default() {
                self.set_pen(pen);
                if x + run == cols {
                    self.out.push_str("\x1b[K");
                } else {
                    put!(self, "\x1b[{run}X");
                }
            }
            if x + run < end {
                put!(self, "\x1b[{run}C");
            } else if row.wrapped && run > 1 {
                // To the last column: the wide character that follows does not fit there, and wraps.
                put!(self, "\x1b[{}C", run - 1);
            }
            x += run;
        }
    }

    /// The first cell of a row that continues the one above: it has to be printed, or there is no wrap. Where it
    /// is a blank, a space is printed and erased. The wrap may have scrolled in a row with the pen's background,
    /// which is erased.
    fn first_of_joined(&mut self, row: Stored<'_>) -> usize {
        let cell = row.cell(0);
        if cell.is_blank() {
            self.set_pen(Pen::default());
            self.out.push_str(" \r\x1b[X");
            return 0;
        }
        self.cell(cell);
        let next = width(cell);
        if self.pen.style.background != Color::Default && next < self.model.cols {
            self.set_pen(Pen::default());
            self.out.push_str("\x1b[K");
        }
        next
    }

    /// Prints a cell that is no blank, in its pen.
    pub(super) fn cell(&mut self, cell: Cell) {
        let tables = &self.model.tables;
        if self.pen_number != Some(cell.style()) {
            self.set_pen(*tables.pen(cell));
            self.pen_number = Some(cell.style());
        }
        tables.push_text(cell, &mut self.out);
    }
}

pub(super) fn width(cell: Cell) -> usize {
    if cell.is_wide() { 2 } else { 1 }
}

fn trailing_blanks(row: Stored<'_>) -> usize {
    (0..row.len()).rev().take_while(|x| row.cell(*x) == Cell::default()).count()
}
