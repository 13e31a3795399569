//! Putting text on the canvas: cut to its place, with an ellipsis where it was cut.

use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

pub(super) use crate::wrap::wrap;

use super::Canvas;

impl Canvas<'_> {
    /// Writes into a line of an area, from `x` (relative to it) on. Returns the columns used.
    pub(super) fn text(&mut self, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
        if x >= area.width || y >= area.height {
            return 0;
        }
        let cut = cut(text, usize::from(area.width - x));
        // Of what was there before only the background stays.
        let sub_modifier = style.add_modifier.complement();
        let style = Style { fg: style.fg.or(Some(Color::Reset)), sub_modifier, ..style };
        self.buf.set_string(area.x + x, area.y + y, &cut, style);
        width(&cut)
    }

    /// Writes several pieces one after the other. Returns the column after the last.
    pub(super) fn pieces(&mut self, area: Rect, x: u16, y: u16, pieces: &[(&str, Style)]) -> u16 {
        pieces.iter().fold(x, |x, (text, style)| x + self.text(area, x, y, text, *style))
    }

    /// Writes so that it ends at the area's right edge.
    pub(super) fn right(&mut self, area: Rect, y: u16, pieces: &[(&str, Style)]) {
        let total: u16 = pieces.iter().map(|(text, _)| width(text)).sum();
        self.pieces(area, area.width.saturating_sub(total), y, pieces);
    }

    /// Writes into the middle of a line.
    pub(super) fn centered(&mut self, area: Rect, y: u16, pieces: &[(&str, Style)]) {
        let total: u16 = pieces.iter().map(|(text, _)| width(text)).sum();
        self.pieces(area, area.width.saturating_sub(total) / 2, y, pieces);
    }

    /// Writes over several lines, broken between words. Returns the lines used, at most the area's height.
    pub(super) fn wrapped(&mut self, area: Rect, y: u16, text: &str, style: Style) -> u16 {
        let mut used = 0;
        for line in wrap(text, usize::from(area.width)) {
            if y + used >= area.height {
                break;
            }
            self.text(area, 0, y + used, &line, style);
            used += 1;
        }
        used
    }
}

/// Columns a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// The text in at most that many columns. Control characters, which titles and logs may have, become spaces.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.width() <= columns {
        return text;
    }
    let mut cut = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() >= columns {
            break;
        }
        used += grapheme.width();
        cut.push_str(grapheme);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("a\tb\u{1b}", 9), "a b ");
        assert_eq!(cut("abc", 0), "");
    }
}
