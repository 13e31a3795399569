//! Painting panes: titles, lines between, terminals, and what there is to say about them.

use std::time::Instant;

use crossterm::cursor::SetCursorStyle;
use lap_vt::{Cursor, CursorShape, Point, Terminal};
use lap_wire::control::Mode;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::layout::{Axis, Layout};
use super::look::{Look, matches};
use super::paint::paint;
use super::pane::{State, Viewed};
use super::state::{Broken, Pane, Panes, below_title};
use super::style::PaneStyle;
use super::types::{ColorDepth, ShownCursor};
use crate::wrap::wrap;

/// What a place outside a smaller terminal looks like.
const OUTSIDE: char = '·';

/// The last whole picture of a terminal, shown while its program is in the middle of an update.
#[derive(Default)]
pub(super) struct Painted {
    picture: Option<Buffer>,
    cursor: Option<Position>,
}

impl Panes {
    /// Paints all panes and says where the cursor is.
    pub fn render(&self, buf: &mut Buffer, style: &PaneStyle) -> Option<ShownCursor> {
        let mut cursor = None;
        for (id, room) in self.rooms() {
            let Some(pane) = self.panes.get(&id) else { continue };
            let room = room.intersection(buf.area);
            if room.is_empty() {
                continue;
            }
            let focused = id == self.focus;
            self.title(pane, focused, room, buf, style);
            let shown = self.terminal(pane, below_title(room), buf, style);
            if focused {
                cursor = shown;
            }
        }
        if !self.zoomed
            && let Some(layout) = &self.layout
        {
            self.lines(layout, buf, style);
        }
        cursor
    }

    /// The columns between panes: the focused pane's are brighter.
    fn lines(&self, layout: &Layout, buf: &mut Buffer, style: &PaneStyle) {
        let focused =
            layout.places(self.area).into_iter().find(|(id, _)| *id == self.focus).map(|(_, room)| room);
        for line in layout.separators(self.area).iter().filter(|line| line.axis == Axis::Columns) {
            for position in line.area.intersection(buf.area).positions() {
                let beside = focused.is_some_and(|room| {
                    (room.x == position.x + 1 || room.right() == position.x)
                        && (room.y..room.bottom()).contains(&position.y)
                });
                let style = if beside { style.border_focused } else { style.border };
                if let Some(cell) = buf.cell_mut(position) {
                    cell.reset();
                    cell.set_char('│').set_style(style);
                }
            }
        }
    }

    fn title(&self, pane: &Pane, focused: bool, room: Rect, buf: &mut Buffer, style: &PaneStyle) {
        let (name_style, line_style) =
            if focused { (style.title_focused, style.border_focused) } else { (style.title, style.border) };
        let line = Rect { height: 1, ..room };
        for position in line.positions() {
            if let Some(cell) = buf.cell_mut(position) {
                cell.reset();
                cell.set_char('─').set_style(line_style);
            }
        }
        let viewed = &pane.viewed;
        let name = match &viewed.title {
            Some(title) if !title.is_empty() && *title != viewed.session.name => {
                format!(" {} · {} ", viewed.session.name, title)
            }
            _ => format!(" {} ", viewed.session.name),
        };
        let marks = self.marks(pane, focused);
        let right: usize = marks.iter().map(|(text, _)| text.width() + 3).sum();
        let width = usize::from(line.width);
        // The name gives way to what is the matter, but not wholly.
        let for_name = width.saturating_sub(1 + right).max(width.min(12));
        let x = line.x + 1.min(line.width);
        let (used, _) = write(buf, x, line.y, for_name.min(width.saturating_sub(1)), &name, name_style);
        let mut left = width.saturating_sub(1 + used + 1);
        let mut x = line.right().saturating_sub(1);
        for (text, warning) in marks.iter().rev() {
            let text = format!(" {text} ");
            let text_width = text.width();
            if text_width > left {
                break;
            }
            x -= text_width as u16;
            write(buf, x, line.y, text_width, &text, if *warning { style.warning } else { style.note });
            left = left.saturating_sub(text_width + 1);
            x = x.saturating_sub(1);
        }
    }

    /// What there is to say about a pane, and whether it is something to worry about.
    fn marks(&self, pane: &Pane, focused: bool) -> Vec<(String, bool)> {
        let viewed = &pane.viewed;
        let mut marks = Vec::new();
        let mut say = |text: String, warning: bool| marks.push((text, warning));
        if let Some(look) = &pane.look {
            if look.editing || (!look.query.is_empty() && look.cursor.is_some()) {
                say(format!("/{}{}", look.query, if look.editing { "▏" } else { "" }), false);
            }
            if look.cursor.is_some() || look.scroll > 0 {
                say(format!("↑ {}/{}", look.scroll, viewed.terminal.scrollback_len()), false);
            }
        }
        if self.zoomed && focused && self.panes.len() > 1 {
            say(format!("zoomed, {} more", self.panes.len() - 1), false);
        }
        if viewed.mode == Mode::View {
            say("view only".into(), false);
        } else if viewed.locked {
            say("somebody else types".into(), true);
        }
        if viewed.is_foreign_size() {
            let size = viewed.terminal.size();
            let whose =
                viewed.sized_by().map(|viewer| format!(", {}'s size", viewer.name)).unwrap_or_default();
            say(format!("{}×{}{whose}", size.cols, size.rows), false);
        }
        if viewed.has_skipped(self.now) {
            say("too slow: skipped ahead".into(), true);
        }
        match (&self.broken, &viewed.state) {
            (_, State::Ended(status)) => say(ended(status), true),
            (_, State::Closed(_)) => say("closed".into(), true),
            (Some(Broken::Until(at, _)), _) => {
                say(format!("reconnecting{}", in_seconds(*at, self.now)), true)
            }
            (Some(Broken::Refused(_)), _) => say("refused".into(), true),
            (None, State::Retrying(_, at)) => say(format!("waiting{}", in_seconds(*at, self.now)), true),
            (None, State::Connecting) => say("connecting".into(), false),
            (None, State::Live) => {}
        }
        marks
    }

    fn terminal(&self, pane: &Pane, area: Rect, buf: &mut Buffer, style: &PaneStyle) -> Option<ShownCursor> {
        if area.is_empty() {
            return None;
        }
        let viewed = &pane.viewed;
        let mut painted = pane.painted.borrow_mut();
        let held = viewed.is_held(self.now) && pane.look.is_none();
        let keep = held && painted.picture.as_ref().is_some_and(|picture| picture.area == area);
        if !keep {
            let mut picture = Buffer::empty(area);
            let (line, column) = origin(pane, area);
            if viewed.state != State::Connecting {
                fill_outside(&viewed.terminal, area, &mut picture, style.outside);
            }
            paint(&viewed.terminal, line, column, area, self.config.depth, &mut picture);
            if let Some(look) = &pane.look {
                mark_look(viewed, look, line, column, area, &mut picture, style);
            }
            let cursor = shown_cursor(pane).filter(|at| at.line >= line && at.x >= column);
            painted.cursor = cursor.map(|at| Position {
                x: area.x + (at.x - column),
                y: area.y + u16::try_from(at.line - line).unwrap_or(u16::MAX - area.y),
            });
            painted.picture = Some(picture);
        }
        if let Some(picture) = &painted.picture {
            for position in area.positions() {
                if let (Some(from), Some(to)) = (picture.cell(position), buf.cell_mut(position)) {
                    to.clone_from(from);
                }
            }
        }
        self.message(viewed, area, buf, style);
        let position = painted.cursor.filter(|at| area.contains(*at))?;
        let shape = if pane.look.is_some() {
            SetCursorStyle::SteadyBlock
        } else {
            cursor_style(viewed.terminal.cursor())
        };
        Some(ShownCursor { position, shape })
    }

    /// A sentence below, where keys no longer go to a program or nothing can be shown.
    fn message(&self, viewed: &Viewed, area: Rect, buf: &mut Buffer, style: &PaneStyle) {
        let prefix = self.prefix_name();
        let text = match (&viewed.state, &self.broken) {
            (State::Ended(status), _) => {
                format!("{} · r starts it again · x closes this pane", ended(status))
            }
            (State::Closed(reason), _) => format!("{reason} · r starts it again · x closes this pane"),
            (_, Some(Broken::Refused(reason))) => format!("{reason} · {prefix} r tries again"),
            (_, Some(Broken::Until(_, reason))) => {
                format!("{reason} · the session goes on · {prefix} r reconnects now")
            }
            (State::Retrying(error, _), None) => error.message.clone(),
            _ => return,
        };
        write_message(buf, area, &text, style.warning);
    }
}

/// A sentence on the last rows of a place, as many as it takes. Where there is no room for all of it, its beginning.
pub(super) fn write_message(buf: &mut Buffer, area: Rect, text: &str, style: Style) {
    let lines = wrap(text, usize::from(area.width.saturating_sub(2)));
    let high = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    for (y, line) in (area.bottom() - high..area.bottom()).zip(&lines) {
        write_line(buf, Rect { y, height: 1, ..area }, &format!(" {line} "), style);
    }
}

/// The first line and column of a terminal that are shown: where it is larger than its place, those around the cursor.
pub(super) fn origin(pane: &Pane, area: Rect) -> (i32, u16) {
    let terminal = &pane.viewed.terminal;
    let size = terminal.size();
    let cursor = match pane.look.as_ref().and_then(|look| look.cursor) {
        Some(cursor) => cursor,
        None => {
            let cursor = terminal.cursor();
            Point { line: i32::from(cursor.y), x: cursor.x }
        }
    };
    let (row, column) = around(terminal, cursor, area);
    let Some(look) = &pane.look else { return (row, column) };
    // The view is as high as the terminal; of that the rows around the cursor.
    let top = look.top();
    let below = (cursor.line - top - (i32::from(area.height) - 1)).max(0);
    let spare = i32::from(size.rows.saturating_sub(area.height));
    (top + if look.cursor.is_some() { below.min(spare) } else { spare }, column)
}

/// Paints a terminal where it does not fit: its part around the cursor, and a mark on what is outside of it. Says where
/// the cursor is.
pub(crate) fn paint_terminal(
    terminal: &Terminal,
    area: Rect,
    depth: ColorDepth,
    style: &PaneStyle,
    buf: &mut Buffer,
) -> Option<Position> {
    let cursor = terminal.cursor();
    let at = Point { line: i32::from(cursor.y), x: cursor.x };
    let (line, column) = around(terminal, at, area);
    fill_outside(terminal, area, buf, style.outside);
    paint(terminal, line, column, area, depth, buf);
    let shown = Position {
        x: area.x + cursor.x.saturating_sub(column),
        y: area.y + u16::try_from(at.line - line).unwrap_or(0),
    };
    Some(shown).filter(|shown| cursor.visible && area.contains(*shown))
}

/// The first line and column of the part of a screen around a place.
fn around(terminal: &Terminal, at: Point, area: Rect) -> (i32, u16) {
    let size = terminal.size();
    let column = at.x.saturating_sub(area.width.saturating_sub(1)).min(size.cols.saturating_sub(area.width));
    let row = at.line - (i32::from(area.height) - 1);
    (row.clamp(0, i32::from(size.rows.saturating_sub(area.height))), column)
}

/// A line of text in a row, the rest of it empty.
pub(crate) fn write_line(buf: &mut Buffer, row: Rect, text: &str, style: Style) {
    let (used, _) = write(buf, row.x, row.y, usize::from(row.width), text, style);
    for x in row.x + used as u16..row.right() {
        if let Some(cell) = buf.cell_mut((x, row.y)) {
            cell.reset();
        }
    }
}

/// The cursor as a place in the terminal, where there is one to show.
fn shown_cursor(pane: &Pane) -> Option<Point> {
    if let Some(look) = &pane.look {
        return look.cursor;
    }
    let cursor = pane.viewed.terminal.cursor();
    let live = pane.viewed.state == State::Live && cursor.visible;
    live.then_some(Point { line: i32::from(cursor.y), x: cursor.x })
}

fn cursor_style(cursor: Cursor) -> SetCursorStyle {
    match (cursor.shape, cursor.blinking) {
        (CursorShape::Default, _) => SetCursorStyle::DefaultUserShape,
        (CursorShape::Block, true) => SetCursorStyle::BlinkingBlock,
        (CursorShape::Block, false) => SetCursorStyle::SteadyBlock,
        (CursorShape::Underline, true) => SetCursorStyle::BlinkingUnderScore,
        (CursorShape::Underline, false) => SetCursorStyle::SteadyUnderScore,
        (CursorShape::Bar, true) => SetCursorStyle::BlinkingBar,
        (CursorShape::Bar, false) => SetCursorStyle::SteadyBar,
    }
}

fn fill_outside(terminal: &Terminal, area: Rect, buf: &mut Buffer, style: Style) {
    let size = terminal.size();
    if size.cols >= area.width && size.rows >= area.height {
        return;
    }
    for position in area.positions() {
        let outside = position.x - area.x >= size.cols || position.y - area.y >= size.rows;
        if outside && let Some(cell) = buf.cell_mut(position) {
            cell.set_char(OUTSIDE).set_style(style);
        }
    }
}

fn mark_look(
    viewed: &Viewed,
    look: &Look,
    line: i32,
    column: u16,
    area: Rect,
    buf: &mut Buffer,
    style: &PaneStyle,
) {
    let mut mark = |row: u16, from: u16, to: u16, style: Style| {
        for x in from.max(column)..=to {
            let x = x - column;
            if x >= area.width {
                break;
            }
            if let Some(cell) = buf.cell_mut((area.x + x, area.y + row)) {
                cell.set_style(style);
            }
        }
    };
    let last = viewed.terminal.size().cols.saturating_sub(1);
    for row in 0..area.height {
        let at = line + i32::from(row);
        if !look.query.is_empty() && look.cursor.is_some() {
            for (from, to) in matches(&viewed.terminal, at, &look.query) {
                mark(row, from, to, style.found);
            }
        }
        if let Some((from, to)) = look.selected()
            && (from.line..=to.line).contains(&at)
        {
            let first = if at == from.line { from.x } else { 0 };
            let end = if at == to.line { to.x } else { last };
            mark(row, first, end, style.selection);
        }
    }
}

fn ended(status: &lap_wire::control::ExitStatus) -> String {
    match (status.code, &status.signal) {
        (_, Some(signal)) => format!("ended by {signal}"),
        (Some(code), None) => format!("exited with status {code}"),
        (None, None) => "ended".into(),
    }
}

fn in_seconds(at: Instant, now: Instant) -> String {
    let left = at.saturating_duration_since(now);
    if left.as_millis() < 1000 { String::new() } else { format!(" in {} s", left.as_secs_f64().ceil()) }
}

/// Writes one line of text, cut to a width; says how many columns it took, and whether it was cut.
pub(super) fn write(
    buf: &mut Buffer,
    x: u16,
    y: u16,
    width: usize,
    text: &str,
    style: Style,
) -> (usize, bool) {
    let mut used = 0;
    for c in text.chars().filter(|c| !c.is_control()) {
        let w = c.width().unwrap_or(0);
        if used + w > width {
            return (used, true);
        }
        if w == 0 {
            continue;
        }
        if let Some(cell) = buf.cell_mut((x + used as u16, y)) {
            cell.reset();
            cell.set_char(c).set_style(style);
        }
        if w == 2
            && let Some(cell) = buf.cell_mut((x + used as u16 + 1, y))
        {
            cell.reset();
            cell.set_style(style);
        }
        used += w;
    }
    (used, false)
}
