//! The palette.

use ratatui::layout::Rect;

use super::text::width;
use super::{Canvas, Layout, popup};
use crate::dashboard::event::Hit;
use crate::dashboard::model::{Palette, PaletteItem};

const WIDTH: u16 = 96;
const HEIGHT: u16 = 20;
/// Columns of the names.
const NAMES: u16 = 18;

pub(super) fn draw(palette: &Palette, canvas: &mut Canvas<'_>, layout: &Layout) {
    let title = if palette.choose.is_some() { "Which session?" } else { "Do or go to" };
    let area = popup::open(canvas, layout.screen, (WIDTH, HEIGHT), title);
    let theme = canvas.theme;
    let x = canvas.text(area, 0, 0, "› ", theme.key);
    canvas.text(area, x, 0, palette.input.text(), theme.text);
    let (cursor, _) = palette.input.cursor(usize::from(area.width.saturating_sub(x)));
    let column = area.x + x + u16::try_from(cursor).unwrap_or(0);
    canvas.shown.cursor = Some((column.min(area.right().saturating_sub(1)), area.y).into());
    let list = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    if palette.items.is_empty() {
        let text = if palette.input.text().is_empty() {
            "No session is running."
        } else {
            "Nothing is called that."
        };
        canvas.text(list, 0, 0, text, theme.dim);
    }
    let rows = usize::from(list.height);
    let top = palette.selected.saturating_sub(rows.saturating_sub(1));
    for (y, (at, item)) in (0..).zip(palette.items.iter().enumerate().skip(top).take(rows)) {
        line(canvas, list, y, item, at == palette.selected);
        canvas.shown.hit(Rect { y: list.y + y, height: 1, ..list }, Hit::PaletteItem(at));
    }
}

fn line(canvas: &mut Canvas<'_>, area: Rect, y: u16, item: &PaletteItem, selected: bool) {
    let theme = canvas.theme;
    let row = Rect { x: area.x.saturating_sub(1), y: area.y + y, width: area.width + 2, height: 1 };
    let base = if selected { theme.selection } else { theme.text };
    if selected {
        canvas.buf.set_style(row, theme.selection);
    }
    let note = width(&item.note) + 2;
    let room = Rect { width: area.width.saturating_sub(note), ..area };
    canvas.text(room, 0, y, &item.text, base);
    canvas.text(room, width(&item.text).max(NAMES) + 2, y, &item.about, base.patch(theme.dim));
    let mut x = 0;
    for (index, letter) in (0u32..).zip(item.text.chars()) {
        let mut bytes = [0; 4];
        let letter: &str = letter.encode_utf8(&mut bytes);
        // The last column may hold the ellipsis.
        if item.matched.binary_search(&index).is_ok() && x + 1 < room.width {
            canvas.text(room, x, y, letter, base.patch(theme.matched));
        }
        x += width(letter);
    }
    canvas.right(Rect { y: area.y + y, height: 1, ..area }, 0, &[(&item.note, base.patch(theme.dim))]);
}

#[cfg(test)]
mod tests {
    use crate::dashboard::view::testing::{press, sample, snapshot};

    #[test]
    fn a_few_letters_find_what_is_meant() {
        let mut model = sample();
        press(&mut model, &[":", "l", "o", "g", "i"]);
        snapshot("palette", &model, 100, 4..18);
    }
}
