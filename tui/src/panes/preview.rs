//! A session's terminal to look at, in the dashboard's detail.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Instant;

use lap_platform::client::attach::Event;
use lap_vt::{CellText, Terminal};
use lap_wire::control::Mode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::ColorDepth;
use super::paint::paint;
use super::pane::{State, Viewed};
use super::render::{origin, write_message};
use super::state::Pane;
use super::style::PaneStyle;
use super::types::{Effect, HostColors, PaneSession};

/// One terminal without a size or a keyboard of its own.
pub struct Preview {
    pane: Pane,
    depth: ColorDepth,
}

impl Preview {
    /// Of this session; the effects open the channel, in mode view and without a size. It keeps no scrollback.
    #[must_use]
    pub fn open(session: PaneSession, depth: ColorDepth) -> (Preview, Vec<Effect>) {
        let (viewed, open) = Viewed::open(session, Mode::View, None, 0, HostColors::default());
        (Preview { pane: Pane { viewed, look: None, painted: RefCell::default() }, depth }, vec![open])
    }

    /// Whose it is.
    #[must_use]
    pub fn session(&self) -> &PaneSession {
        &self.pane.viewed.session
    }

    /// Takes what the attach connection says; events of other channels are ignored.
    pub fn handle(&mut self, event: &Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Event::Channel(channel, event) = event
            && *channel == self.pane.viewed.channel
        {
            self.pane.viewed.handle(event.clone(), now, &mut effects);
            // Somebody who only looks is rung no bells and has nothing put into the clipboard.
            effects.retain(|effect| matches!(effect, Effect::Attach(_)));
        }
        effects
    }

    /// Whether it is on the screen; hidden it is sent no output.
    pub fn set_shown(&mut self, shown: bool) -> Vec<Effect> {
        self.pane.viewed.set_shown(shown).into_iter().collect()
    }

    /// When [`Preview::take_dirty`] may say something new although nothing happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.pane.viewed.deadline()
    }

    /// Whether something has changed since this was last asked that is worth painting now.
    pub fn take_dirty(&mut self, now: Instant) -> bool {
        self.pane.viewed.tick(now);
        let viewed = &mut self.pane.viewed;
        viewed.dirty && !viewed.is_held(now) && std::mem::take(&mut viewed.dirty)
    }

    /// Paints the part of the terminal around its cursor.
    pub fn render(&self, area: Rect, buf: &mut Buffer, style: &PaneStyle) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let viewed = &self.pane.viewed;
        let (line, column) = origin(&self.pane, area);
        paint(&viewed.terminal, line, column, area, self.depth, buf);
        mark_cuts(&viewed.terminal, line, column, area, style, buf);
        let text = match &viewed.state {
            State::Connecting => "connecting…",
            State::Retrying(error, _) => error.message.as_str(),
            State::Closed(reason) => reason.as_str(),
            State::Live | State::Ended(_) => return,
        };
        write_message(buf, area, text, style.note);
    }

    /// Ends it; the effects close the channel.
    #[must_use]
    pub fn close(self) -> Vec<Effect> {
        vec![self.pane.viewed.close()]
    }
}

/// What stands at the edge of a line that goes on beyond it.
const CUT: &str = "…";

/// Marks the lines that go on beyond the area's edges, where there is something to see there.
fn mark_cuts(terminal: &Terminal, line: i32, column: u16, area: Rect, style: &PaneStyle, buf: &mut Buffer) {
    let cols = terminal.size().cols;
    for y in 0..area.height {
        let Some(row) = terminal.row(line + i32::from(y)) else { continue };
        let has_text = |mut cells: Range<u16>| {
            cells.any(|x| !matches!(row.cell(x).text, CellText::Blank | CellText::Char(' ')))
        };
        let (left, right) = (area.x, area.right() - 1);
        let mut mark = |x: u16| {
            if let Some(cell) = buf.cell_mut((x, area.y + y)) {
                cell.reset();
                cell.set_symbol(CUT).set_style(style.note);
            }
        };
        if has_text(0..column) {
            mark(left);
        }
        if has_text(column.saturating_add(area.width).min(cols)..cols) {
            mark(right);
            // The left half of a wide character would cover the mark.
            if right > left
                && let Some(cell) = buf.cell_mut((right - 1, area.y + y))
                && cell.symbol().width() > 1
            {
                cell.set_symbol(" ");
            }
        }
    }
}
