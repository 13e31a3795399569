//! Moving the cursor, and saving it.

use crate::model::Model;
use crate::screen::Saved;
use crate::style::Pen;

impl Model {
    /// CUP: rows count from the region's top in origin mode.
    pub(crate) fn move_to(&mut self, row: usize, col: usize) {
        self.pending_wrap = false;
        self.x = col.min(self.cols - 1);
        self.y = if self.modes.origin { (row + self.top).min(self.bottom) } else { row.min(self.rows - 1) };
    }

    /// Up to the region's edge, or the screen's if the cursor is beyond it.
    pub(crate) fn move_up(&mut self, count: usize) {
        self.pending_wrap = false;
        let edge = if self.y >= self.top { self.top } else { 0 };
        self.y = self.y.saturating_sub(count).max(edge);
    }

    pub(crate) fn move_down(&mut self, count: usize) {
        self.pending_wrap = false;
        let edge = if self.y <= self.bottom { self.bottom } else { self.rows - 1 };
        self.y = (self.y + count).min(edge);
    }

    /// VPR: as CUP does it, past the region's edge unless in origin mode.
    pub(crate) fn move_rows_down(&mut self, count: usize) {
        self.pending_wrap = false;
        let edge = if self.modes.origin { self.bottom } else { self.rows - 1 };
        self.y = (self.y + count).min(edge.max(self.y));
    }

    pub(crate) fn move_to_column(&mut self, col: usize) {
        self.pending_wrap = false;
        self.x = col.min(self.cols - 1);
    }

    pub(crate) fn move_left(&mut self, count: usize) {
        self.move_to_column(self.x.saturating_sub(count));
    }

    pub(crate) fn move_right(&mut self, count: usize) {
        self.move_to_column(self.x + count);
    }

    /// To the next tab stop, or the last column.
    pub(crate) fn tab(&mut self) {
        let next = (self.x + 1..self.cols).find(|x| self.tabs[*x]);
        self.move_to_column(next.unwrap_or(self.cols - 1));
    }

    pub(crate) fn tab_back(&mut self) {
        let previous = (0..self.x).rev().find(|x| self.tabs[*x]);
        self.move_to_column(previous.unwrap_or(0));
    }

    /// IND: down, scrolling at the region's bottom.
    pub(crate) fn index(&mut self) {
        self.pending_wrap = false;
        if self.y == self.bottom {
            self.scroll_up(self.top, 1);
        } else if self.y + 1 < self.rows {
            self.y += 1;
        }
    }

    /// RI: up, scrolling at the region's top.
    pub(crate) fn reverse_index(&mut self) {
        self.pending_wrap = false;
        if self.y == self.top {
            self.scroll_down(self.top, 1);
        } else if self.y > 0 {
            self.y -= 1;
        }
    }

    pub(crate) fn line_feed(&mut self) {
        if self.modes.newline {
            self.x = 0;
        }
        self.index();
    }

    pub(crate) fn set_region(&mut self, top: usize, bottom: usize) {
        let bottom = bottom.min(self.rows - 1);
        if top < bottom {
            (self.top, self.bottom) = (top, bottom);
            self.move_to(0, 0);
        }
    }

    /// DECSC. The hyperlink is not part of it.
    pub(crate) fn save_cursor(&mut self) {
        let saved = Saved {
            x: self.x,
            y: self.y,
            pending_wrap: self.pending_wrap,
            style: self.brush.style(),
            charsets: self.charsets,
            origin: self.modes.origin,
        };
        self.screen_mut().saved = saved;
    }

    /// DECRC. In origin mode the cursor comes back inside the region.
    pub(crate) fn restore_cursor(&mut self) {
        let saved = self.screen().saved;
        self.x = saved.x.min(self.cols - 1);
        self.y = saved.y.min(self.rows - 1);
        self.pending_wrap = saved.pending_wrap && self.x == self.cols - 1;
        self.brush.change(|pen| *pen = Pen { style: saved.style, ..*pen });
        self.charsets = saved.charsets;
        self.modes.origin = saved.origin;
        if saved.origin {
            let inside = self.y.clamp(self.top, self.bottom);
            self.pending_wrap &= inside == self.y;
            self.y = inside;
        }
        self.pending_wrap &= self.modes.autowrap;
        if self.pending_wrap {
            let (y, last) = (self.y, self.cols - 1);
            let row = self.row_mut(y);
            row.wrapped = false;
            self.pending_wrap = !row.cells[last].is_blank();
        }
    }
}
