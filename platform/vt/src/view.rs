//! Reading a terminal: rows and cells for painting, text for selecting and searching.

use crate::cell::Cell;
use crate::colors::Colors;
use crate::model::{Link, Model, Tables};
use crate::modes::{Modes, SYNCHRONIZED};
use crate::screen::trimmed;
use crate::scrollback::Stored;
use crate::style::Style;
use crate::terminal::Terminal;

/// The cursor's place on the screen and its look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Column, from 0.
    pub x: u16,
    /// Row of the screen, from 0.
    pub y: u16,
    /// Not hidden by the program (DECTCEM).
    pub visible: bool,
    /// Its form.
    pub shape: CursorShape,
    /// Blinking. Where the program has not said, this is whether DECSET 12 asked for it.
    pub blinking: bool,
}

/// The form of the cursor (DECSCUSR).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CursorShape {
    /// The program has not said: the viewer's own.
    #[default]
    Default,
    /// The whole cell.
    Block,
    /// A line below the character.
    Underline,
    /// A line before it.
    Bar,
}

/// A place in a terminal: a line as [`Terminal::row`] counts them, and a column from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Point {
    /// 0 is the screen's first row, -1 the newest of the scrollback.
    pub line: i32,
    /// Column, from 0.
    pub x: u16,
}

/// One row, of the screen or of the scrollback.
#[derive(Clone, Copy)]
pub struct RowView<'a> {
    tables: &'a Tables,
    row: Stored<'a>,
    cols: usize,
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub struct CellView<'a> {
    /// What stands in it.
    pub text: CellText<'a>,
    /// Columns it takes: 1 or 2, or 0 for the right half of a wide character.
    pub width: u8,
    /// Its look.
    pub style: &'a Style,
    /// The hyperlink it is part of.
    pub link: Option<&'a Link>,
}

/// A cell's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellText<'a> {
    /// Nothing was printed here (or it is the right half of a wide character): to be shown as a space.
    Blank,
    /// One character.
    Char(char),
    /// A character with combining ones.
    Cluster(&'a str),
}

impl CellText<'_> {
    /// Appends the text, a space for a blank.
    pub fn push_to(&self, text: &mut String) {
        match self {
            CellText::Blank => text.push(' '),
            CellText::Char(c) => text.push(*c),
            CellText::Cluster(cluster) => text.push_str(cluster),
        }
    }
}

impl<'a> RowView<'a> {
    /// All cells, as many as the terminal has columns.
    pub fn cells(&self) -> impl Iterator<Item = CellView<'a>> + use<'a> {
        let RowView { tables, row, cols } = *self;
        (0..cols).map(move |x| view(tables, row.cell(x)))
    }

    /// One cell; a blank one beyond the last column.
    pub fn cell(&self, x: u16) -> CellView<'a> {
        view(self.tables, self.row.cell(usize::from(x)))
    }

    /// Whether the line goes on in the next row because it was too long.
    pub fn wrapped(&self) -> bool {
        self.row.wrapped
    }

    /// The row's text without the blanks at its end.
    pub fn text(&self) -> String {
        self.text_between(0, self.cols)
    }

    /// The text of the columns `from..to`, without the blanks at the end of the row.
    pub(crate) fn text_between(&self, from: usize, to: usize) -> String {
        let mut text = String::new();
        // A gap, left because a wide character did not fit, is no text.
        let gap = self.row.wrapped && self.row.cell(self.cols - 1).is_blank();
        let end = self.row.len().min(if gap { self.cols - 1 } else { self.cols });
        for x in from..to.min(end) {
            let cell = view(self.tables, self.row.cell(x));
            if cell.width > 0 {
                cell.text.push_to(&mut text);
            }
        }
        if !self.row.wrapped && to >= self.row.len() {
            text.truncate(text.trim_end_matches(' ').len());
        }
        text
    }
}

fn view(tables: &Tables, cell: Cell) -> CellView<'_> {
    let pen = tables.pen(cell);
    let text = match (cell.cluster(), cell.character()) {
        (Some(cluster), _) => CellText::Cluster(tables.clusters.get(cluster)),
        (None, Some(c)) => CellText::Char(c),
        (None, None) => CellText::Blank,
    };
    let width = if cell.is_wide() { 2 } else { u8::from(!cell.is_spacer()) };
    let link = (pen.link != 0).then(|| tables.links.get(pen.link));
    CellView { text, width, style: &pen.style, link }
}

impl Model {
    /// Line 0 is the screen's first row, -1 the newest of the scrollback. The alternate screen has none.
    pub(crate) fn line(&self, line: i32) -> Option<Stored<'_>> {
        if let Ok(y) = usize::try_from(line) {
            let row = self.screen().rows.get(y)?;
            return Some(Stored { front: &row.cells, back: &[], wrapped: row.wrapped });
        }
        if self.modes.alternate {
            return None;
        }
        self.scrollback.get(self.scrollback.len().checked_sub(line.unsigned_abs() as usize)?)
    }
}

impl Terminal {
    /// A row: 0 is the first of the screen, -1 the newest of the scrollback, `-scrollback_len()` the oldest.
    /// Nothing outside of these; in the alternate screen the scrollback is out of reach.
    pub fn row(&self, line: i32) -> Option<RowView<'_>> {
        let model = self.model();
        Some(RowView { tables: &model.tables, row: model.line(line)?, cols: model.cols })
    }

    /// Rows of scrollback that can be read: none while the alternate screen is shown.
    pub fn scrollback_len(&self) -> usize {
        let model = self.model();
        if model.modes.alternate { 0 } else { model.scrollback.len() }
    }

    /// Rows that have ever gone into the scrollback, those included that it no longer has. The difference of two readings
    /// says by how many rows older text has moved up; a resize moves it in another way.
    pub fn rows_pushed(&self) -> u64 {
        self.model().scrollback.pushed()
    }

    /// What the scrollback counts, in bytes: the unit of [`crate::Limits::scrollback_bytes`].
    pub fn scrollback_bytes(&self) -> usize {
        self.model().scrollback.cost()
    }

    /// The cursor.
    pub fn cursor(&self) -> Cursor {
        let model = self.model();
        let (shape, blinking) = match model.cursor_style {
            1 | 2 => (CursorShape::Block, model.cursor_style == 1),
            3 | 4 => (CursorShape::Underline, model.cursor_style == 3),
            5 | 6 => (CursorShape::Bar, model.cursor_style == 5),
            _ => (CursorShape::Default, model.passive.is_on(12)),
        };
        Cursor { x: model.x as u16, y: model.y as u16, visible: model.modes.cursor_visible, shape, blinking }
    }

    /// The modes a viewer has to know.
    pub fn modes(&self) -> Modes {
        let model = self.model();
        let (mouse, mouse_encoding) = model.passive.mouse();
        Modes {
            alternate_screen: model.modes.alternate,
            application_cursor: model.modes.application_cursor,
            application_keypad: model.modes.application_keypad,
            bracketed_paste: model.passive.is_on(2004),
            mouse,
            mouse_encoding,
            alternate_scroll: model.passive.alternate_scroll(),
            focus_events: model.passive.is_on(1004),
            synchronized_output: model.passive.is_on(SYNCHRONIZED),
            reverse_video: model.passive.is_on(5),
            newline: model.modes.newline,
            kitty_keyboard: model.screen().keyboard.flags(),
            modify_other_keys: model.modify_keys[4].unwrap_or(0),
            color_scheme_reports: model.passive.is_on(2031),
        }
    }

    /// The window's title, where one was set.
    pub fn title(&self) -> Option<&str> {
        self.model().titles.window.as_deref()
    }

    /// The working directory the program named (OSC 7), as a `file:` URL.
    pub fn directory(&self) -> Option<&str> {
        self.model().directory.as_deref()
    }

    /// The colours the program has set.
    pub fn colors(&self) -> &Colors {
        &self.model().colors
    }

    /// The text from one place to another, both included. Rows that wrapped are one line.
    pub fn text(&self, from: Point, to: Point) -> String {
        let oldest = -(self.scrollback_len() as i32);
        let newest = i32::from(self.size().rows) - 1;
        let mut text = String::new();
        for line in from.line.max(oldest)..=to.line.min(newest) {
            let Some(row) = self.row(line) else { continue };
            let first = if line == from.line { usize::from(from.x) } else { 0 };
            let last = if line == to.line { usize::from(to.x) + 1 } else { usize::MAX };
            text.push_str(&row.text_between(first, last));
            if line != to.line && !row.wrapped() {
                text.push('\n');
            }
        }
        text
    }

    /// The screen's text, a line for each row, without blanks at the ends.
    pub fn screen_text(&self) -> String {
        let rows = &self.model().screen().rows;
        let mut text = String::new();
        for y in 0..rows.len() {
            text.push_str(&self.row(y as i32).map(|row| row.text()).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// How many rows of the screen, from the first, have something on them.
    pub fn used_rows(&self) -> usize {
        let rows = &self.model().screen().rows;
        rows.iter().rposition(|row| !trimmed(&row.cells).is_empty()).map_or(0, |y| y + 1)
    }
}
