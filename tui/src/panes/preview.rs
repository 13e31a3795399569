//! A session's terminal to look at, in the dashboard's detail.

use std::cell::RefCell;
use std::time::Instant;

use lap_platform::client::attach::Event;
use lap_wire::control::Mode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::ColorDepth;
use super::paint::paint;
use super::pane::{State, Viewed};
use super::render::{origin, write};
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
        let text = match &viewed.state {
            State::Connecting => "connecting…",
            State::Retrying(error, _) => error.message.as_str(),
            State::Closed(reason) => reason.as_str(),
            State::Live | State::Ended(_) => return,
        };
        write(buf, area.x, area.bottom() - 1, usize::from(area.width), text, style.note);
    }

    /// Ends it; the effects close the channel.
    #[must_use]
    pub fn close(self) -> Vec<Effect> {
        vec![self.pane.viewed.close()]
    }
}
