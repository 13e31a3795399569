//! Cursors in a snapshot: the saved ones and, last of all, the live one.

use std::fmt::Write as _;

use super::{Writer, put};
use crate::charset::Charsets;
use crate::model::Printed;
use crate::screen::{Saved, Screen};
use crate::style::Pen;

impl Writer<'_> {
    fn move_to(&mut self, x: usize, y: usize) {
        put!(self, "\x1b[{};{}H", y + 1, x + 1);
    }

    /// Puts the cursor at the right edge with a wrap pending, by printing the edge's character again. Where there
    /// is none, a space is printed: some other place has to repair that.
    fn move_to_edge(&mut self, screen: &Screen, y: usize, origin_top: usize) {
        let row = &screen.rows[y];
        let last = self.model.cols - 1;
        let x = if row.cells[last].is_spacer() { last - 1 } else { last };
        self.move_to(x, y - origin_top);
        if row.cells[x].is_blank() {
            self.set_pen(*self.model.tables.pen(row.cells[x]));
            self.out.push(' ');
        } else {
            self.cell(row.cells[x]);
        }
    }

    /// Puts the live cursor where a screen's saved one is, with all that DECSC saves.
    pub(super) fn saved_cursor(&mut self, screen: &Screen) {
        let saved = &screen.saved;
        if saved.origin {
            self.out.push_str("\x1b[?6h");
        }
        if saved.pending_wrap {
            self.move_to_edge(screen, saved.y, 0);
        } else {
            self.move_to(saved.x, saved.y);
        }
        self.set_pen(Pen { style: saved.style, link: 0 });
        self.set_charsets(saved.charsets);
    }

    /// The same, saved, and the live cursor's settings back to where rows are written with.
    pub(super) fn save_cursor_of(&mut self, screen: &Screen) {
        self.saved_cursor(screen);
        self.out.push_str("\x1b7");
        self.leave_origin(&screen.saved);
        self.set_charsets(Charsets::default());
    }

    pub(super) fn leave_origin(&mut self, saved: &Saved) {
        if saved.origin {
            self.out.push_str("\x1b[?6l");
        }
    }

    /// Whether printing the edge for a saved cursor has changed something: the row was wrapped, or is blank there
    /// by now.
    pub(super) fn edge_needs_repair(&self, screen: &Screen) -> bool {
        let row = &screen.rows[screen.saved.y];
        screen.saved.pending_wrap && (row.wrapped || row.cells[self.model.cols - 1].is_blank())
    }

    pub(super) fn repair_edge(&mut self, screen: &Screen) {
        if !self.edge_needs_repair(screen) {
            return;
        }
        let (y, last) = (screen.saved.y, self.model.cols - 1);
        let row = &screen.rows[y];
        let edge = row.cells[last];
        if edge.is_blank() {
            self.move_to(last, y);
            self.set_pen(*self.model.tables.pen(edge));
            self.out.push_str("\x1b[X");
        }
        if !row.wrapped {
            return;
        }
        if edge.is_blank() {
            self.move_to(last, y);
        } else {
            self.move_to_edge(screen, y, 0);
        }
        // The next row's first character makes the wrap again. Where that one fills its row (a terminal of one or
        // two columns), it has undone that row's wrap in turn.
        for row in screen.rows.range(y + 1..) {
            let first = row.cells[0];
            if first.is_blank() {
                self.set_pen(*self.model.tables.pen(first));
                self.out.push_str(" \r\x1b[X");
                break;
            }
            self.cell(first);
            if !row.wrapped || super::rows::width(first) < self.model.cols {
                break;
            }
        }
    }

    /// The live cursor, and what is set only with it: pen, character sets, insert mode, no wrapping.
    pub(super) fn live_cursor(&mut self) {
        let model = self.model;
        if model.follows_print {
            return self.print_again(&model.printed);
        }
        let origin_top = if model.modes.origin { model.top } else { 0 };
        if model.pending_wrap {
            self.move_to_edge(model.screen(), model.y, origin_top);
            // So that the stream does not end with a print, which REP would repeat.
            put!(self, "\x1b[{}", super::sgr_of(&model.brush.style()));
        } else {
            self.move_to(model.x, model.y.saturating_sub(origin_top));
        }
        self.set_pen(model.brush.pen());
        self.set_charsets(model.charsets);
        self.print_modes();
        self.single_shift(model.shift);
    }

    fn print_again(&mut self, printed: &Printed) {
        let model = self.model;
        let origin_top = if model.modes.origin { model.top } else { 0 };
        let (x, y) = (printed.x, printed.y);
        self.move_to(x, y.saturating_sub(origin_top));
        self.set_pen(model.brush.pen());
        self.set_charsets(model.charsets);
        if printed.inserted {
            put!(self, "\x1b[{}P", printed.width);
            // A wide character that did not fit above: deleting it has parted the rows, wrapping joins them.
            let above = (y > origin_top).then(|| &model.screen().rows[y - 1]);
            let gap = above.is_some_and(|row| row.wrapped && row.cells[model.cols - 1].is_blank());
            if printed.width == 2 && x == 0 && gap {
                self.move_to(model.cols - 1, y - origin_top - 1);
            }
        }
        self.print_modes();
        self.single_shift(printed.shift);
        self.out.push_str(&printed.raw);
    }

    fn print_modes(&mut self) {
        if self.model.modes.insert {
            self.out.push_str("\x1b[4h");
        }
        if !self.model.modes.autowrap {
            self.out.push_str("\x1b[?7l");
        }
    }

    fn single_shift(&mut self, shift: u8) {
        match shift {
            2 => self.out.push_str("\x1bN"),
            3 => self.out.push_str("\x1bO"),
            _ => {}
        }
    }
}
