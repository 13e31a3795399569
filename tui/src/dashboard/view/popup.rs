//! Boxes over the lists.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::Canvas;
use super::text::width;
use crate::dashboard::event::Hit;

/// Columns between a box's border and what is in it, on each side.
const MARGIN: u16 = 2;

/// A box in the middle of the screen, at most that large. Returns the place inside.
pub(super) fn open(canvas: &mut Canvas<'_>, screen: Rect, size: (u16, u16), title: &str) -> Rect {
    let wide = size.0.min(screen.width.saturating_sub(2));
    let high = size.1.min(screen.height.saturating_sub(2));
    let area = Rect {
        x: screen.x + (screen.width - wide) / 2,
        // A little above the middle looks like the middle.
        y: screen.y + (screen.height - high) * 2 / 5,
        width: wide,
        height: high,
    };
    clear(canvas, area);
    border(canvas, area, canvas.theme.border_focus);
    let line = Rect { x: area.x + MARGIN, width: wide.saturating_sub(2 * MARGIN), height: 1, ..area };
    let style = canvas.theme.accent;
    canvas.pieces(line, 0, 0, &[(" ", style), (title, style), (" ", style)]);
    canvas.shown.hit(area, Hit::Layer);
    Rect {
        x: area.x + MARGIN + 1,
        y: area.y + 1,
        width: wide.saturating_sub(2 * MARGIN + 2),
        height: high.saturating_sub(2),
    }
}

/// Empties a place: nothing of what lay there shines through.
pub(super) fn clear(canvas: &mut Canvas<'_>, area: Rect) {
    let area = area.intersection(canvas.buf.area);
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = canvas.buf.cell_mut((x, y)) {
                cell.reset();
                cell.set_style(canvas.theme.text);
            }
        }
        // The left half of a wide character that began before the place would cover its first column.
        if let Some(before) = area.left().checked_sub(1)
            && let Some(cell) = canvas.buf.cell_mut((before, y))
            && width(cell.symbol()) > 1
        {
            cell.set_symbol(" ");
        }
    }
}

/// A line around a place.
pub(super) fn border(canvas: &mut Canvas<'_>, area: Rect, style: Style) {
    if area.width < 2 || area.height < 2 {
        return;
    }
    let across = "─".repeat(usize::from(area.width - 2));
    canvas.buf.set_string(area.x, area.y, format!("╭{across}╮"), style);
    canvas.buf.set_string(area.x, area.bottom() - 1, format!("╰{across}╯"), style);
    for y in area.y + 1..area.bottom() - 1 {
        canvas.buf.set_string(area.x, y, "│", style);
        canvas.buf.set_string(area.right() - 1, y, "│", style);
    }
}

/// The keys of a box in its last line: what goes on at the left, what goes back after it. Both can be clicked.
pub(super) fn buttons(canvas: &mut Canvas<'_>, area: Rect, buttons: &[(&str, &str, Hit)]) {
    let y = area.height.saturating_sub(1);
    let mut x = 0;
    for (key, does, hit) in buttons {
        let key_style = canvas.theme.key.add_modifier(Modifier::BOLD);
        let end = canvas.pieces(
            area,
            x,
            y,
            &[(key, key_style), (" ", canvas.theme.dim), (does, canvas.theme.text)],
        );
        let place = Rect { x: area.x + x, y: area.y + y, width: end - x, height: 1 };
        canvas.shown.hit(place, *hit);
        x = end + 3;
    }
}
