//! Rows in columns, the selected one marked.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Canvas;
use super::text::{cut, width};
use crate::dashboard::event::Hit;

/// Columns between columns.
const GAP: u16 = 2;
/// The mark of the selected row, and the space after it.
const MARK: u16 = 2;
/// Left free at the right, where the next thing begins or the screen ends.
const MARGIN: u16 = 1;

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Columns it needs; for a flexible one, the least.
    pub(super) width: u16,
    /// Its share of what is left over.
    pub(super) flex: u16,
    pub(super) right: bool,
    /// What a click on its title does.
    pub(super) hit: Option<Hit>,
    /// Whether the rows are sorted by it, and whether the other way round.
    pub(super) sorted: Option<bool>,
}

impl Column {
    pub(super) fn fixed(title: &'static str, width: u16) -> Column {
        Column { title, width, flex: 0, right: false, hit: None, sorted: None }
    }

    pub(super) fn flexible(title: &'static str, width: u16, flex: u16) -> Column {
        Column { flex, ..Column::fixed(title, width) }
    }
}

/// One cell.
pub(super) struct Cell {
    text: String,
    /// Stands after the text even where that is cut.
    tail: &'static str,
    style: Style,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, style: Style) -> Cell {
        Cell { text: text.into(), tail: "", style }
    }

    pub(super) fn tail(self, tail: &'static str) -> Cell {
        Cell { tail, ..self }
    }
}

/// Where each column is, in an area that wide.
fn places(columns: &[Column], total: u16) -> Vec<(u16, u16)> {
    let gaps = GAP * u16::try_from(columns.len().saturating_sub(1)).unwrap_or(0);
    let needed: u16 = columns.iter().map(|column| column.width).sum::<u16>() + gaps + MARK + MARGIN;
    let mut spare = total.saturating_sub(needed);
    let mut shares: u16 = columns.iter().map(|column| column.flex).sum();
    let mut x = MARK;
    columns
        .iter()
        .map(|column| {
            let extra = if column.flex == 0 { 0 } else { spare * column.flex / shares.max(1) };
            spare -= extra;
            shares -= column.flex;
            let place = (x, column.width + extra);
            x += place.1 + GAP;
            place
        })
        .collect()
}

/// Draws the titles.
pub(super) fn titles(canvas: &mut Canvas<'_>, area: Rect, columns: &[Column]) {
    let style = canvas.theme.heading;
    for (column, (x, wide)) in columns.iter().zip(places(columns, area.width)) {
        let arrow = match column.sorted {
            Some(false) => "↓",
            Some(true) => "↑",
            None => "",
        };
        let text = cut(&format!("{}{arrow}", column.title), usize::from(wide));
        let indent = if column.right { wide.saturating_sub(width(&text)) } else { 0 };
        canvas.text(area, x + indent, 0, &text, style);
        if let Some(hit) = column.hit {
            let place = Rect { x: area.x + x, y: area.y, width: wide, height: 1 };
            canvas.shown.hit(place.intersection(area), hit);
        }
    }
}

/// Draws one row, `y` lines below the area's top.
pub(super) fn row(
    canvas: &mut Canvas<'_>,
    area: Rect,
    y: u16,
    columns: &[Column],
    cells: &[Cell],
    selected: bool,
) {
    let line = Rect { y: area.y + y, height: 1, ..area };
    if selected {
        canvas.buf.set_style(line, canvas.theme.selection);
        canvas.text(line, 0, 0, "▌", canvas.theme.selection.patch(canvas.theme.accent));
    }
    for ((cell, column), (x, wide)) in cells.iter().zip(columns).zip(places(columns, area.width)) {
        let text = cut(&cell.text, usize::from(wide.saturating_sub(width(cell.tail)))) + cell.tail;
        let indent = if column.right { wide.saturating_sub(width(&text)) } else { 0 };
        let style = if selected { canvas.theme.selection.patch(cell.style) } else { cell.style };
        canvas.text(line, x + indent, 0, &text, style);
    }
}
