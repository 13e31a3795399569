//! A terminal's rows as cells of the screen.

use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use lap_vt::{
    Attributes, BACKGROUND, CellText, CellView, FOREGROUND, Rgb, RowView, Terminal, Underline,
    standard_palette,
};
use ratatui::buffer::{Buffer, Cell, CellDiffOption};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

use super::ColorDepth;

/// Paints the terminal's lines from `line` on, from column `column` on, into `area`. What is beyond the terminal is
/// left as it was.
pub(super) fn paint(
    terminal: &Terminal,
    line: i32,
    column: u16,
    area: Rect,
    depth: ColorDepth,
    buf: &mut Buffer,
) {
    let painter = Painter { terminal, depth, inverse: terminal.modes().reverse_video };
    for y in 0..area.height {
        let Some(row) = terminal.row(line + i32::from(y)) else { continue };
        painter.row(&row, column, Rect { y: area.y + y, height: 1, ..area }, buf);
    }
}

struct Painter<'a> {
    terminal: &'a Terminal,
    depth: ColorDepth,
    inverse: bool,
}

impl Painter<'_> {
    fn row(&self, row: &RowView<'_>, column: u16, area: Rect, buf: &mut Buffer) {
        let columns = self.terminal.size().cols.saturating_sub(column).min(area.width);
        for x in 0..columns {
            let cell = row.cell(column + x);
            let Some(target) = buf.cell_mut((area.x + x, area.y)) else { continue };
            target.reset();
            target.set_style(self.style(&cell));
            let fits = cell.width < 2 || x + 1 < columns;
            // The right half of a wide character that began outside is blank; within, its left half covers it.
            if cell.width > 0 && fits {
                set_text(target, &cell);
            }
        }
    }

    fn style(&self, cell: &CellView<'_>) -> Style {
        let look = cell.style;
        let has = |attribute| look.attributes.contains(attribute);
        let mut modifier = Modifier::empty();
        let table = [
            (Attributes::BOLD, Modifier::BOLD),
            (Attributes::DIM, Modifier::DIM),
            (Attributes::ITALIC, Modifier::ITALIC),
            (Attributes::BLINK, Modifier::SLOW_BLINK),
            (Attributes::HIDDEN, Modifier::HIDDEN),
            (Attributes::STRIKE, Modifier::CROSSED_OUT),
        ];
        for (attribute, shown) in table {
            if has(attribute) {
                modifier |= shown;
            }
        }
        if has(Attributes::INVERSE) != self.inverse {
            modifier |= Modifier::REVERSED;
        }
        if look.underline != Underline::None {
            modifier |= Modifier::UNDERLINED;
        }
        let mut style = Style::new().add_modifier(modifier);
        if self.depth != ColorDepth::Mono {
            style =
                style.fg(self.color(look.foreground, FOREGROUND)).bg(self.color(look.background, BACKGROUND));
            if look.underline != Underline::None {
                style = style.underline_color(self.color(look.underline_color, FOREGROUND));
            }
        }
        style
    }

    fn color(&self, color: lap_vt::Color, default: u8) -> Color {
        let colors = self.terminal.colors();
        match color {
            lap_vt::Color::Default => colors.dynamic.get(&default).map_or(Color::Reset, |rgb| self.rgb(*rgb)),
            lap_vt::Color::Ansi(i) => match colors.palette.get(&i) {
                Some(rgb) => self.rgb(*rgb),
                None => named(i),
            },
            lap_vt::Color::Indexed(i) => match colors.palette.get(&i) {
                Some(rgb) => self.rgb(*rgb),
                None => Color::Indexed(i),
            },
            lap_vt::Color::Rgb(r, g, b) => self.rgb(Rgb(r, g, b)),
        }
    }

    fn rgb(&self, rgb: Rgb) -> Color {
        match self.depth {
            ColorDepth::True => Color::Rgb(rgb.0, rgb.1, rgb.2),
            ColorDepth::Palette | ColorDepth::Mono => Color::Indexed(nearest(rgb)),
        }
    }
}

/// What makes the outer terminal take two of an emoji's parts for one picture: each part has cells of its own here.
const JOINER: char = '\u{200d}';

/// What makes it take one for another, with a colour of its own: each stands in cells of its own here too.
const SKIN_TONES: RangeInclusive<char> = '\u{1f3fb}'..='\u{1f3ff}';
/// Letters of which the outer terminal makes a flag, of one or two cells each as it likes.
const FLAG_LETTERS: RangeInclusive<char> = '\u{1f1e6}'..='\u{1f1ff}';

/// Characters that take cells in programs' reckoning and show nothing: fillers, tone marks alone.
const UNSEEN: [char; 6] = ['\u{3164}', '\u{ffa0}', '\u{302e}', '\u{302f}', '\u{16ff0}', '\u{16ff1}'];

/// What is shown for a character: what takes as many cells on every terminal, whatever stands beside it.
fn apart(c: char) -> char {
    if UNSEEN.contains(&c) {
        ' '
    } else if c == '\u{ad}' {
        '-'
    } else if c == '☰' {
        '≡'
    } else if SKIN_TONES.contains(&c) {
        ' '
    } else if FLAG_LETTERS.contains(&c) {
        char::from_u32(u32::from('A') + (u32::from(c) - u32::from(*FLAG_LETTERS.start()))).unwrap_or(c)
    } else {
        c
    }
}

/// A character the outer terminal might draw wider than its place would push the rest of the row aside, and a joiner
/// at the end of one would draw whatever is printed next into it, wherever that should be.
fn set_text(target: &mut Cell, cell: &CellView<'_>) {
    match cell.text {
        CellText::Blank => {}
        CellText::Char(c) => {
            target.set_char(apart(c));
        }
        CellText::Cluster(text) => {
            let text = text.trim_end_matches(JOINER);
            let first = text.chars().next().unwrap_or(' ');
            if text.width() <= usize::from(cell.width) && apart(first) == first {
                target.set_symbol(text);
            } else {
                target.set_char(apart(first));
            }
        }
    }
    let width = target.symbol().width();
    if width > usize::from(cell.width) {
        target.set_char('\u{fffd}');
    } else if width == 0 {
        // A sign that stands in a cell of its own, as with most terminals, for instance a vowel's in Tamil.
        target.set_diff_option(CellDiffOption::ForcedWidth(NonZeroU16::MIN));
    }
}

fn named(index: u8) -> Color {
    const NAMES: [Color; 16] = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
        Color::DarkGray,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
        Color::White,
    ];
    NAMES.get(usize::from(index)).copied().unwrap_or(Color::Indexed(index))
}

/// The nearest of the palette's cube and greys; the first sixteen are the person's own and may be anything.
fn nearest(rgb: Rgb) -> u8 {
    let level = |v: u8| match v {
        0..48 => 0u8,
        48..115 => 1,
        _ => (v - 35) / 40,
    };
    let cube = 16 + 36 * level(rgb.0) + 6 * level(rgb.1) + level(rgb.2);
    let mean = (u16::from(rgb.0) + u16::from(rgb.1) + u16::from(rgb.2)) / 3;
    let grey = 232 + (mean.saturating_sub(3) / 10).min(23) as u8;
    let distance = |index: u8| {
        let other = standard_palette(index);
        let part = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        part(rgb.0, other.0) + part(rgb.1, other.1) + part(rgb.2, other.2)
    };
    if distance(grey) < distance(cube) { grey } else { cube }
}

#[cfg(test)]
mod tests {
    use lap_vt::{Limits, Size};
    use ratatui::buffer::CellWidth;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    fn painted(bytes: &str, cols: u16, rows: u16, area: Rect, depth: ColorDepth) -> Buffer {
        let mut terminal = Terminal::new(Size { cols, rows }, Limits::default());
        terminal.feed(bytes.as_bytes());
        let mut buf = Buffer::empty(area);
        paint(&terminal, 0, 0, area, depth, &mut buf);
        buf
    }

    const AREA: Rect = Rect { x: 0, y: 0, width: 10, height: 2 };

    fn text(buf: &Buffer, y: u16) -> String {
        (0..buf.area.width).map(|x| buf[(x, y)].symbol().to_owned()).collect()
    }

    #[test]
    fn styles_are_those_the_program_asked_for() {
        let buf = painted(
            "\x1b[1;3;4;31;48;2;1;2;3;58;5;9mA\x1b[0;7;9;38;5;200mB\x1b[0;93mC",
            10,
            2,
            AREA,
            ColorDepth::True,
        );
        let a = &buf[(0, 0)];
        assert_eq!((a.fg, a.bg, a.underline_color), (Color::Red, Color::Rgb(1, 2, 3), Color::Indexed(9)));
        assert_eq!(a.modifier, Modifier::BOLD | Modifier::ITALIC | Modifier::UNDERLINED);
        let b = &buf[(1, 0)];
        assert_eq!((b.fg, b.modifier), (Color::Indexed(200), Modifier::REVERSED | Modifier::CROSSED_OUT));
        assert_eq!(buf[(2, 0)].fg, Color::LightYellow);
    }

    #[test]
    fn fewer_colours_are_shown_where_there_are_fewer() {
        let bytes = "\x1b[1;38;2;255;0;0;48;2;250;250;250mA";
        let buf = painted(bytes, 10, 2, AREA, ColorDepth::Palette);
        assert_eq!((buf[(0, 0)].fg, buf[(0, 0)].bg), (Color::Indexed(196), Color::Indexed(231)));
        let buf = painted(bytes, 10, 2, AREA, ColorDepth::Mono);
        assert_eq!((buf[(0, 0)].fg, buf[(0, 0)].bg), (Color::Reset, Color::Reset));
        assert_eq!(buf[(0, 0)].modifier, Modifier::BOLD);
    }

    #[test]
    fn wide_and_combined_characters_keep_their_places() {
        let buf = painted("漢x\u{301}e", 10, 2, AREA, ColorDepth::True);
        assert_eq!(buf[(0, 0)].symbol(), "漢");
        assert_eq!(buf[(2, 0)].symbol(), "x\u{301}");
        assert_eq!(buf[(3, 0)].symbol(), "e");
        let family = painted("👨\u{200d}👩\u{200d}👧", 10, 2, AREA, ColorDepth::True);
        assert_eq!([0, 2, 4].map(|x| family[(x, 0)].symbol()), ["👨", "👩", "👧"], "the model has three");
        let narrow = Rect { width: 1, ..AREA };
        assert_eq!(
            painted("漢", 10, 2, narrow, ColorDepth::True)[(0, 0)].symbol(),
            " ",
            "no half characters"
        );
    }

    #[test]
    fn nothing_is_joined_with_what_stands_beside_it() {
        let samples = [
            "👍🏽!",
            "👩🏽\u{200d}💻!",
            "🇩🇪🇫🇷!",
            "1\u{fe0f}\u{20e3}!",
            "❤\u{fe0f}!",
            "🏳\u{fe0f}\u{200d}🌈!",
            "🏽🏽🇩!",
        ];
        for sample in samples {
            let mut terminal = Terminal::new(Size { cols: 20, rows: 1 }, Limits::default());
            terminal.feed(sample.as_bytes());
            let area = Rect { width: 20, height: 1, ..AREA };
            let mut buf = Buffer::empty(area);
            paint(&terminal, 0, 0, area, ColorDepth::True, &mut buf);
            // A terminal that joins clusters takes what is written in one go for these.
            let written: Vec<&str> = {
                let mut x = 0;
                std::iter::from_fn(|| {
                    let symbol = (x < 20).then(|| buf[(x, 0)].symbol())?;
                    x += symbol.width().max(1) as u16;
                    Some(symbol)
                })
                .collect()
            };
            let line = written.concat();
            assert_eq!(line.graphemes(true).collect::<Vec<_>>(), written, "{sample:?}");
            let mark = line.split('!').next().map(UnicodeWidthStr::width);
            assert_eq!(mark, Some(usize::from(terminal.cursor().x) - 1), "{sample:?}");
        }
    }

    #[test]
    fn colours_the_program_has_set_are_shown() {
        let buf = painted(
            "\x1b]4;1;rgb:12/34/56\x07\x1b]11;rgb:00/00/80\x07\x1b[31mA",
            10,
            2,
            AREA,
            ColorDepth::True,
        );
        assert_eq!((buf[(0, 0)].fg, buf[(0, 0)].bg), (Color::Rgb(0x12, 0x34, 0x56), Color::Rgb(0, 0, 0x80)));
    }

    #[test]
    fn scrollback_is_painted_by_its_lines() {
        let mut terminal = Terminal::new(Size { cols: 10, rows: 2 }, Limits::default());
        terminal.feed(b"one\r\ntwo\r\nthree\r\nfour");
        let mut buf = Buffer::empty(AREA);
        paint(&terminal, -2, 0, AREA, ColorDepth::True, &mut buf);
        assert_eq!([text(&buf, 0).trim(), text(&buf, 1).trim()], ["one", "two"]);
    }

    #[test]
    fn characters_whose_width_is_in_doubt_keep_their_place() {
        // A vowel sign, a soft hyphen, a trigram, a Khmer sign, a Hangul filler, and what comes after.
        let buf =
            painted("\u{b95}\u{bbe}|a\u{ad}b|\u{2630}|\r\n\u{17d8}|\u{3164}|", 10, 2, AREA, ColorDepth::True);
        assert_eq!(text(&buf, 0), "\u{b95}\u{bbe}|a-b|≡| ");
        assert_eq!(text(&buf, 1), "\u{fffd}|  |     ");
        assert_eq!(CellWidth::cell_width(&buf[(1, 0)]), 1);
    }
}
