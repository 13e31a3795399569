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
    /// What its longest cell takes; a flexible one is given no more while another wants it.
    pub(super) wanted: u16,
    pub(super) right: bool,
    /// What a click on its title does.
    pub(super) hit: Option<Hit>,
    /// Whether the rows are sorted by it, and whether the other way round.
    pub(super) sorted: Option<bool>,
}

impl Column {
    pub(super) fn fixed(title: &'static str, width: u16) -> Column {
        Column { title, width, flex: 0, wanted: 0, right: false, hit: None, sorted: None }
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

/// Tells the columns what these rows hold.
pub(super) fn fit<'a>(columns: &mut [Column], rows: impl Iterator<Item = &'a [Cell]>) {
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.wanted = column.wanted.max(width(&cell.text).saturating_add(width(cell.tail)));
        }
    }
}

/// Where each column is, in an area that wide. What is left over goes, by their shares, to flexible columns that are
/// cut; what none of them wants is the first one's.
fn places(columns: &[Column], total: u16) -> Vec<(u16, u16)> {
    let gaps = GAP * u16::try_from(columns.len().saturating_sub(1)).unwrap_or(0);
    let mut widths: Vec<u16> = columns.iter().map(|column| column.width).collect();
    let mut spare = total.saturating_sub(widths.iter().sum::<u16>() + gaps + MARK + MARGIN);
    // Each round satisfies a column or spends everything.
    for _ in 0..=columns.len() {
        let wants = |at: usize, column: &Column| match widths.get(at) {
            Some(width) if column.flex > 0 => column.wanted.saturating_sub(*width),
            _ => 0,
        };
        let hungry: Vec<(usize, u16, u16)> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| (at, column.flex, wants(at, column)))
            .filter(|(_, _, wants)| *wants > 0)
            .collect();
        let mut shares: u16 = hungry.iter().map(|(_, flex, _)| flex).sum();
        let mut round = spare;
        for (at, flex, wants) in hungry {
            let share = round * flex / shares.max(1);
            round -= share;
            shares -= flex;
            let extra = share.min(wants);
            spare -= extra;
            if let Some(width) = widths.get_mut(at) {
                *width += extra;
            }
        }
    }
    if let Some(first) = columns.iter().position(|column| column.flex > 0).and_then(|at| widths.get_mut(at)) {
        *first += spare;
    }
    let mut x = MARK;
    let place = |width: u16| {
        let place = (x, width);
        x += width + GAP;
        place
    };
    widths.into_iter().map(place).collect()
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
