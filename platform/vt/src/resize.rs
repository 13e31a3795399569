//! Taking a new size.
//!
//! The main screen and its scrollback are laid out anew: lines that were too long wrap where the new edge is. The
//! alternate screen is cut or padded, since whoever draws there draws again. Emulators differ in all of this, so
//! whoever follows a terminal by its bytes needs a new snapshot after a resize; this model's is the one policy.
//!
//! The screen keeps its first line in place while there is room below; where it was full, its last line stays
//! at the bottom, and rows go to the scrollback or come back from it. The cursor is never lost.

use crate::cell::Cell;
use crate::limits::Size;
use crate::model::{Model, Tables};
use crate::screen::{Row, Screen, trimmed};
use crate::scrollback::{Scrollback, Stored};

/// A place that goes where its text goes.
#[derive(Clone, Copy)]
struct Place {
    /// Among the rows of the scrollback and the screen together, from the oldest.
    row: usize,
    x: usize,
    /// Behind the character at `x`, not on it.
    pending_wrap: bool,
}

impl Model {
    pub(crate) fn resize(&mut self, size: Size) {
        let (cols, rows) = (usize::from(size.cols), usize::from(size.rows));
        self.resize_main(cols, rows);
        self.resize_alternate(cols, rows);
        let fresh = crate::model::default_tabs(cols);
        self.tabs.truncate(cols);
        self.tabs.extend_from_slice(&fresh[self.tabs.len()..]);
        (self.cols, self.rows) = (cols, rows);
        self.reset_region();
        self.main_region = None;
        self.follows_print = false;
        self.report_size_in_band();
    }

    fn resize_main(&mut self, cols: usize, rows: usize) {
        let history = self.scrollback.len();
        let saved = &self.main.saved;
        let saved = Place { row: history + saved.y, x: saved.x, pending_wrap: saved.pending_wrap };
        let live = Place { row: history + self.y, x: self.x, pending_wrap: self.pending_wrap };
        // Under the alternate screen the saved cursor is the one that counts.
        let cursor = if self.modes.alternate { saved } else { live };
        let first = Place { row: history, x: 0, pending_wrap: false };
        let was_full = last_used(self.main.rows.iter(), cursor.row - history) + 1 == self.rows;

        let mut places = [cursor, saved, first];
        let old_rows = self.scrollback.iter().chain(self.main.rows.iter().map(Stored::from));
        let mut laid_out = lay_out(old_rows, self.cols, cols, &mut self.tables, &mut places);
        let [cursor, saved, first] = places;

        let last = last_used(laid_out.iter(), cursor.row);
        let lowest = (last + 1).saturating_sub(rows);
        let start = if was_full { lowest } else { first.row.max(lowest) }.min(cursor.row);

        let mut scrollback = Scrollback::new(self.scrollback.limit());
        for row in laid_out.drain(..start) {
            let cells = row.trimmed();
            scrollback.push(cells, row.wrapped, self.tables.cost(cells));
        }
        scrollback.set_pushed(self.scrollback.pushed());
        self.scrollback = scrollback;
        laid_out.resize_with(rows, || Row::blank(cols));
        if let Some(row) = laid_out.last_mut() {
            row.wrapped = false;
        }
        for row in &mut laid_out {
            row.cells.resize(cols, Cell::default());
        }
        self.main.rows = laid_out.into();

        let y = |place: Place| place.row.saturating_sub(start).min(rows - 1);
        let autowrap = self.modes.autowrap;
        (self.main.saved.x, self.main.saved.y) = (saved.x, y(saved));
        self.main.saved.pending_wrap &= saved.pending_wrap;
        if !self.modes.alternate {
            (self.x, self.y) = (cursor.x, y(cursor));
            self.pending_wrap = cursor.pending_wrap && autowrap;
        }
    }

    /// Rows that do not fit go away at the bottom, or at the top where the cursor needs it.
    fn resize_alternate(&mut self, cols: usize, rows: usize) {
        let shown = self.modes.alternate;
        let above = if shown { (self.y + 1).saturating_sub(rows) } else { 0 };
        let Screen { rows: screen, saved, .. } = &mut self.alternate;
        screen.drain(..above);
        let cut_below = screen.len() > rows;
        screen.resize_with(rows, || Row::blank(cols));
        for row in screen.iter_mut() {
            if row.cells.get(cols).is_some_and(|cell| cell.is_spacer()) {
                row.cells[cols - 1] = row.cells[cols - 1].orphaned();
            }
            row.wrapped &= cols == self.cols;
            row.cells.resize(cols, Cell::default());
        }
        if cut_below && let Some(row) = screen.back_mut() {
            row.wrapped = false;
        }
        saved.x = saved.x.min(cols - 1);
        saved.y = saved.y.saturating_sub(above).min(rows - 1);
        saved.pending_wrap = false;
        if shown {
            self.x = self.x.min(cols - 1);
            self.y -= above;
            self.pending_wrap = false;
        }
    }
}

/// The last row with anything on it, or the cursor's where that is lower.
fn last_used<'a>(rows: impl DoubleEndedIterator<Item = &'a Row> + ExactSizeIterator, cursor: usize) -> usize {
    let last = rows.enumerate().rev().find(|(_, row)| !trimmed(&row.cells).is_empty());
    last.map_or(cursor, |(index, _)| index.max(cursor))
}

/// Joins rows into lines and breaks the lines at the new width.
fn lay_out<'a, const N: usize>(
    rows: impl Iterator<Item = Stored<'a>>,
    old_cols: usize,
    cols: usize,
    tables: &mut Tables,
    places: &mut [Place; N],
) -> Vec<Row> {
    let mut out = Vec::new();
    let mut line = Vec::new();
    // Where in the line each place is, for those in it.
    let mut offsets = [None; N];
    let before = *places;
    for (index, row) in rows.enumerate() {
        for (place, offset) in before.iter().zip(&mut offsets).filter(|(place, _)| place.row == index) {
            *offset = Some(line.len() + place.x + usize::from(place.pending_wrap));
        }
        let len = match row.wrapped {
            // A gap, left because a wide character did not fit, is no part of the line.
            true if row.cell(old_cols - 1).is_blank() => old_cols - 1,
            true => old_cols,
            false => row.len(),
        };
        line.extend((0..len).map(|x| row.cell(x)));
        if !row.wrapped {
            break_line(&mut line, cols, tables, &mut out, &offsets, places);
            line.clear();
            offsets = [None; N];
        }
    }
    out
}

fn break_line<const N: usize>(
    line: &mut Vec<Cell>,
    cols: usize,
    tables: &mut Tables,
    out: &mut Vec<Row>,
    offsets: &[Option<usize>; N],
    places: &mut [Place; N],
) {
    if cols == 1 {
        // Half a wide character is a space; on a single column there is room for that half only.
        line.retain(|cell| !cell.is_spacer());
        line.iter_mut().filter(|cell| cell.is_wide()).for_each(|cell| *cell = cell.orphaned());
    }
    let content = line.iter().rposition(|cell| !cell.is_blank()).map_or(0, |last| last + 1);
    let mut from = 0;
    loop {
        let mut to = (from + cols).min(content);
        let is_last = to == content;
        let gap = !is_last && line[to].is_spacer();
        if gap {
            to -= 1;
        }
        // Colour behind the text goes as far as there is room; it does not make lines of its own.
        let end = if is_last { (from + cols).min(line.len()) } else { to };
        let mut cells = Vec::with_capacity(cols);
        cells.extend_from_slice(&line[from..end]);
        if gap {
            let erasing = tables.pen(line[to]).erasing();
            cells.push(Cell::blank(tables.pens.number(&erasing)));
        } else if let Some(edge) = cells.last_mut().filter(|cell| !is_last && cell.is_blank()) {
            // A row goes on only behind something printed.
            *edge = edge.orphaned();
        }
        for (offset, place) in offsets.iter().zip(places.iter_mut()) {
            let Some(offset) = offset.filter(|offset| *offset >= from) else { continue };
            let x = (offset - from).min(cols - 1);
            let behind = is_last && offset - from == cols && offset == content;
            *place = Place { row: out.len(), x, pending_wrap: behind };
        }
        out.push(Row { cells, wrapped: !is_last });
        if is_last {
            return;
        }
        from = to;
    }
}
