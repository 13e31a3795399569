//! The mouse: the program's where it asked for it, else ours to focus, scroll, select and move lines.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lap_vt::Point;
use ratatui::layout::{Position, Rect};

use super::layout::PaneId;
use super::look::Look;
use super::render::origin;
use super::state::{Panes, below_title};
use super::types::Effect;
use crate::term_input::{encode_mouse, takes_mouse};

/// Rows one step of the wheel scrolls.
const WHEEL_ROWS: i32 = 3;

impl Panes {
    pub(super) fn mouse(&mut self, event: MouseEvent, effects: &mut Vec<Effect>) {
        let at = Position { x: event.column, y: event.row };
        match event.kind {
            MouseEventKind::Drag(_) if self.dragged.is_some() => {
                if let (Some(separator), Some(layout)) = (&self.dragged, &mut self.layout) {
                    layout.drag(separator, at);
                }
                self.arrange(effects);
                return;
            }
            MouseEventKind::Up(_) if self.dragged.take().is_some() => return,
            MouseEventKind::Drag(MouseButton::Left) if self.selecting.is_some() => {
                self.select_to(at);
                return;
            }
            MouseEventKind::Up(MouseButton::Left) if self.selecting.is_some() => {
                self.select_to(at);
                self.end_selection(effects);
                return;
            }
            MouseEventKind::Down(MouseButton::Left) if !self.zoomed => {
                let separators = self.layout.as_ref().map(|l| l.separators(self.area)).unwrap_or_default();
                self.dragged = separators.into_iter().find(|separator| separator.area.contains(at));
            }
            _ => {}
        }
        let Some((id, room)) = self.rooms().into_iter().find(|(_, room)| room.contains(at)) else { return };
        if matches!(event.kind, MouseEventKind::Down(_)) {
            self.focus_on(id, effects);
        }
        let content = below_title(room);
        if self.dragged.is_none() && content.contains(at) {
            self.mouse_in_pane(id, content, event, effects);
        }
    }

    fn mouse_in_pane(&mut self, id: PaneId, content: Rect, event: MouseEvent, effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&id) else { return };
        let (line, column) = origin(pane, content);
        let (x, y) = (event.column - content.x + column, event.row - content.y);
        let terminal = &pane.viewed.terminal;
        let modes = terminal.modes();
        // Shift makes the mouse ours, as in every terminal.
        let ours = event.modifiers.contains(KeyModifiers::SHIFT) || !pane.viewed.has_program();
        if takes_mouse(&modes) && !ours && pane.look.is_none() {
            let row = i32::from(y) + line;
            let size = terminal.size();
            if let Ok(row) = u16::try_from(row)
                && row < size.rows
                && x < size.cols
            {
                let mut bytes = Vec::new();
                encode_mouse(&event, x, row, &modes, &mut bytes);
                effects.extend(pane.viewed.type_in(bytes));
            }
            return;
        }
        match event.kind {
            MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
                let up = event.kind == MouseEventKind::ScrollUp;
                if modes.alternate_screen && !ours {
                    // Nothing to scroll back to: a pager gets what its own wheel would send.
                    if modes.alternate_scroll != Some(false) {
                        let letter = if up { b'A' } else { b'B' };
                        let introducer = if modes.application_cursor { b'O' } else { b'[' };
                        let arrow = [0x1b, introducer, letter].repeat(WHEEL_ROWS as usize);
                        effects.extend(pane.viewed.type_in(arrow));
                    }
                    return;
                }
                effects.extend(pane.viewed.wants_history());
                let terminal = &pane.viewed.terminal;
                let look = pane.look.get_or_insert_with(Look::default);
                look.scroll_by(terminal, if up { WHEEL_ROWS } else { -WHEEL_ROWS });
                if look.scroll == 0 && look.cursor.is_none() && look.selection.is_none() {
                    pane.look = None;
                }
                pane.viewed.dirty = true;
            }
            MouseEventKind::Down(MouseButton::Left) => {
                let point = Point { line: line + i32::from(y), x };
                let look = pane.look.get_or_insert_with(Look::default);
                look.selection = Some((point, point));
                look.clamp(terminal);
                self.selecting = Some(id);
                pane.viewed.dirty = true;
            }
            MouseEventKind::Down(MouseButton::Middle) if !self.copied.is_empty() => {
                let text = self.copied.clone();
                self.paste(text.as_bytes(), effects);
            }
            _ => {}
        }
    }

    /// The mouse's selection goes to here; beyond the pane's edge it scrolls.
    fn select_to(&mut self, at: Position) {
        let Some(id) = self.selecting else { return };
        let Some(content) = self.content(id).filter(|room| !room.is_empty()) else { return };
        let Some(pane) = self.panes.get_mut(&id) else { return };
        let Some(look) = &mut pane.look else { return };
        let terminal = &pane.viewed.terminal;
        if at.y < content.y {
            look.scroll_by(terminal, 1);
        } else if at.y >= content.bottom() {
            look.scroll_by(terminal, -1);
        }
        let (x, y) =
            (at.x.clamp(content.x, content.right() - 1), at.y.clamp(content.y, content.bottom() - 1));
        let (line, column) = origin(pane, content);
        let head = Point { line: line + i32::from(y - content.y), x: x - content.x + column };
        let Some(look) = &mut pane.look else { return };
        if let Some((_, old)) = &mut look.selection {
            *old = head;
        }
        look.clamp(&pane.viewed.terminal);
        pane.viewed.dirty = true;
    }

    /// The button is up: what is selected is copied. A mere click selects nothing.
    fn end_selection(&mut self, effects: &mut Vec<Effect>) {
        let Some(pane) = self.selecting.take().and_then(|id| self.panes.get_mut(&id)) else { return };
        let Some(look) = &mut pane.look else { return };
        pane.viewed.dirty = true;
        let clicked = look.selection.is_some_and(|(from, to)| from == to);
        if clicked {
            look.selection = None;
            if look.scroll == 0 && look.cursor.is_none() {
                pane.look = None;
            }
            return;
        }
        if let Some(text) = look.text(&pane.viewed.terminal) {
            self.copy(text, effects);
        }
    }
}
