//! Keys and pastes: to the program, unless the prefix or a look back takes them.

use crossterm::event::{KeyCode, KeyEventKind, KeyModifiers};
use lap_vt::Point;

use super::bindings::{self, Action};
use super::look::Look;
use super::pane::MAX_CLIPBOARD;
use super::state::{Keys, Pane, Panes};
use super::types::{CopiedBy, Effect, Place};
use crate::term_input::{InputEvent, Key, KeyModes, encode_key};

/// The largest paste: more than any text a person means to paste, less than the channel queues.
const MAX_PASTE: usize = 2 * 1024 * 1024;
/// What ends a paste; within one it would let the rest run as if it had been typed.
const PASTE_END: &[u8] = b"\x1b[201~";

impl Panes {
    pub(super) fn input(&mut self, event: InputEvent, effects: &mut Vec<Effect>) {
        match event {
            InputEvent::Key(key) => self.key(&key, effects),
            InputEvent::Mouse(mouse) => self.mouse(mouse, effects),
            InputEvent::Paste(bytes) => self.paste(&bytes, effects),
            InputEvent::Focus(focus) => self.set_outer_focus(focus),
            InputEvent::Unknown(bytes) => self.unknown(bytes, effects),
        }
    }

    fn key(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        if !key.is_down() {
            return self.key_up(key, effects);
        }
        match self.keys {
            Keys::Program => {
                if bindings::same(key, &self.config.prefix) {
                    self.keys = Keys::Prefix;
                    self.touch();
                } else {
                    self.key_in_pane(key, effects);
                }
            }
            // Shift on its way to a capital is no choice, and the prefix held down is not the prefix twice.
            _ if matches!(key.code, KeyCode::Modifier(_)) || key.kind == KeyEventKind::Repeat => {}
            Keys::Prefix => {
                self.keys = Keys::Program;
                self.touch();
                if let Some(action) = bindings::action(key, &self.config.prefix) {
                    self.act(action, effects);
                }
            }
            Keys::Resizing => match bindings::action(key, &self.config.prefix) {
                Some(action @ Action::Resize(..)) => self.act(action, effects),
                _ => {
                    self.keys = Keys::Program;
                    self.touch();
                    self.key(key, effects);
                }
            },
        }
    }

    /// A key has gone up: whoever was told that it went down is told, wherever keys go by now.
    fn key_up(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let Some(pane) = self.held.release(key).and_then(|id| self.panes.get_mut(&id)) else { return };
        if pane.viewed.has_program() {
            let mut bytes = Vec::new();
            encode_key(key, &KeyModes::from(pane.viewed.terminal.modes()), &mut bytes);
            effects.extend(pane.viewed.type_in(bytes));
        }
    }

    /// What no key here is: the program may know it.
    fn unknown(&mut self, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
        let keys = self.keys;
        let Some(pane) = self.focused_pane() else { return };
        if keys == Keys::Program && pane.look.is_none() && pane.viewed.has_program() {
            effects.extend(pane.viewed.type_in(bytes));
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::SendPrefix => {
                let prefix = self.config.prefix.clone();
                self.key_in_pane(&prefix, effects);
            }
            Action::Leave => effects.push(Effect::Leave),
            Action::Split(super::layout::Axis::Columns) => effects.push(Effect::Choose(Place::Right)),
            Action::Split(super::layout::Axis::Rows) => effects.push(Effect::Choose(Place::Down)),
            Action::Focus(direction) => {
                let next = self.layout.as_ref().and_then(|l| l.neighbour(self.area, self.focus, direction));
                if let Some(next) = next {
                    self.focus_on(next, effects);
                }
            }
            Action::Next => {
                if let Some(next) = self.in_order(1) {
                    self.focus_on(next, effects);
                }
            }
            Action::Resize(direction, cells) => {
                self.keys = Keys::Resizing;
                if let Some(layout) = &mut self.layout {
                    layout.resize(self.area, self.focus, direction, cells);
                }
                self.arrange(effects);
            }
            Action::Zoom => {
                self.zoomed = !self.zoomed && self.panes.len() > 1;
                self.arrange(effects);
            }
            Action::Close => self.close(effects),
            Action::SwapPrevious | Action::SwapNext => {
                let with = self.in_order(if action == Action::SwapNext { 1 } else { -1 });
                if let (Some(with), Some(layout)) = (with, &mut self.layout) {
                    layout.swap(self.focus, with);
                }
                self.arrange(effects);
            }
            Action::Scroll | Action::PageUp | Action::Search => self.look_back(action, effects),
            Action::Paste => {
                let text = self.copied.clone();
                self.paste(text.as_bytes(), effects);
            }
            Action::Reconnect => effects.push(Effect::Reconnect),
            Action::TakeKeyboard => {
                effects.extend(self.focused_pane().map(|pane| pane.viewed.take_keyboard()))
            }
            Action::Restart => self.restart(effects),
        }
    }

    fn focused_pane(&mut self) -> Option<&mut Pane> {
        self.panes.get_mut(&self.focus)
    }

    /// The pane so many places after the focused one, around the end.
    fn in_order(&self, by: isize) -> Option<super::layout::PaneId> {
        let order = self.layout.as_ref()?.panes();
        let here = order.iter().position(|pane| *pane == self.focus)?;
        let there = (here as isize + by).rem_euclid(order.len() as isize);
        order.get(there as usize).copied()
    }

    fn look_back(&mut self, action: Action, effects: &mut Vec<Effect>) {
        let Some(pane) = self.focused_pane() else { return };
        effects.extend(pane.viewed.wants_history());
        let terminal = &pane.viewed.terminal;
        let mut look = Look::with_keyboard(terminal);
        if let Some(old) = pane.look.take() {
            look.scroll = old.scroll;
            look.selection = old.selection;
            look.query = old.query;
            look.scroll_by(terminal, 0);
        }
        if action == Action::PageUp {
            look.page_by(terminal, -i32::from(terminal.size().rows));
        }
        look.editing = action == Action::Search;
        pane.look = Some(look);
        self.touch();
    }

    fn restart(&mut self, effects: &mut Vec<Effect>) {
        let Some(pane) = self.focused_pane() else { return };
        if !pane.viewed.has_program() {
            effects.push(Effect::Restart(pane.viewed.session.clone()));
        }
    }

    fn key_in_pane(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let id = self.focus;
        let Some(pane) = self.panes.get_mut(&id) else { return };
        if let Some(look) = &mut pane.look {
            if look.cursor.is_some() {
                self.look_key(key, effects);
                return;
            }
            if !matches!(key.code, KeyCode::Modifier(_)) {
                // Typing is about what is there now.
                pane.look = None;
                pane.viewed.dirty = true;
            }
        }
        if !pane.viewed.has_program() {
            match key.command().0 {
                KeyCode::Char('r') => self.restart(effects),
                KeyCode::Char('x') => self.close(effects),
                _ => {}
            }
            return;
        }
        let mut bytes = Vec::new();
        encode_key(key, &KeyModes::from(pane.viewed.terminal.modes()), &mut bytes);
        effects.extend(pane.viewed.type_in(bytes));
        self.held.press(key, id);
    }

    pub(super) fn paste(&mut self, bytes: &[u8], effects: &mut Vec<Effect>) {
        let Some(pane) = self.panes.get_mut(&self.focus) else { return };
        if bytes.len() > MAX_PASTE {
            let mib = bytes.len() / (1024 * 1024);
            effects.push(Effect::Notice(format!("a paste of {mib} MiB is too large: put it into a file")));
            return;
        }
        if let Some(look) = &mut pane.look {
            if look.editing {
                let text = String::from_utf8_lossy(bytes);
                text.chars().filter(|c| !c.is_control()).for_each(|c| look.push_query(c));
                pane.viewed.dirty = true;
                return;
            }
            pane.look = None;
        }
        if pane.viewed.has_program() {
            let bracketed = pane.viewed.terminal.modes().bracketed_paste;
            effects.extend(pane.viewed.type_in(pasted(bytes, bracketed)));
        }
    }

    fn look_key(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        if matches!(key.code, KeyCode::Modifier(_)) {
            return;
        }
        let Some(pane) = self.panes.get_mut(&self.focus) else { return };
        let Some(look) = &mut pane.look else { return };
        let terminal = &pane.viewed.terminal;
        pane.viewed.dirty = true;
        if look.editing {
            match key.code {
                KeyCode::Enter => {
                    look.editing = false;
                    if !look.find(terminal, true) {
                        effects.push(Effect::Notice(format!("nothing before has {:?}", look.query)));
                    }
                }
                KeyCode::Esc => look.editing = false,
                KeyCode::Backspace => {
                    look.query.pop();
                }
                _ if key.command() == (KeyCode::Char('u'), KeyModifiers::CONTROL) => look.query.clear(),
                _ => key.typed().into_iter().for_each(|c| look.push_query(c)),
            }
            return;
        }
        let page = i32::from(terminal.size().rows);
        let first = -i32::try_from(terminal.scrollback_len()).unwrap_or(i32::MAX);
        let Some(at) = look.cursor else { return };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let (code, _) = key.command();
        match code {
            KeyCode::Char('u') if control => look.page_by(terminal, -page / 2),
            KeyCode::Char('d') if control => look.page_by(terminal, page / 2),
            KeyCode::Char('b') if control => look.page_by(terminal, -page),
            KeyCode::Char('f') if control => look.page_by(terminal, page),
            KeyCode::Char('c') if control => pane.look = None,
            KeyCode::Up | KeyCode::Char('k') => look.move_by(terminal, -1, 0),
            KeyCode::Down | KeyCode::Char('j') => look.move_by(terminal, 1, 0),
            KeyCode::Left | KeyCode::Char('h') => look.move_by(terminal, 0, -1),
            KeyCode::Right | KeyCode::Char('l') => look.move_by(terminal, 0, 1),
            KeyCode::PageUp => look.page_by(terminal, -page),
            KeyCode::PageDown => look.page_by(terminal, page),
            KeyCode::Char('g') => look.move_to(terminal, Point { line: first, x: 0 }),
            KeyCode::Char('G') => look.move_to(terminal, Point { line: page - 1, x: 0 }),
            KeyCode::Home | KeyCode::Char('0' | '^') => look.move_to(terminal, Point { x: 0, ..at }),
            KeyCode::End | KeyCode::Char('$') => look.move_to(terminal, Point { x: u16::MAX, ..at }),
            KeyCode::Char('v' | ' ') => look.toggle_selection(),
            KeyCode::Char('/' | '?') => {
                look.query.clear();
                look.editing = true;
            }
            KeyCode::Char('n' | 'N') => {
                let back = code == KeyCode::Char('n');
                if !look.find(terminal, back) {
                    let side = if back { "before" } else { "after" };
                    effects.push(Effect::Notice(format!("nothing {side} has {:?}", look.query)));
                }
            }
            KeyCode::Char('y') | KeyCode::Enter => {
                let text = look.text(terminal);
                pane.look = None;
                if let Some(text) = text {
                    self.copy(text, effects);
                }
            }
            KeyCode::Esc if look.selection.is_some() => look.selection = None,
            KeyCode::Char('q') | KeyCode::Esc => pane.look = None,
            _ => {}
        }
    }

    /// Puts text into the person's clipboard, and keeps it for prefix p.
    pub(super) fn copy(&mut self, text: String, effects: &mut Vec<Effect>) {
        if text.len() > MAX_CLIPBOARD {
            let kib = text.len() / 1024;
            effects.push(Effect::Notice(format!(
                "{kib} KiB are too much for the clipboard: prefix p pastes them here"
            )));
        } else {
            effects.push(Effect::Copy(text.clone(), CopiedBy::Person));
        }
        self.copied = text;
    }
}

/// A paste as the program gets it: marked where it asked for that, with no mark inside that would end it early; else
/// as if typed, with Enter for each line.
fn pasted(bytes: &[u8], bracketed: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 12);
    if !bracketed {
        let mut rest = bytes.iter().copied().peekable();
        while let Some(byte) = rest.next() {
            match byte {
                b'\r' => {
                    rest.next_if_eq(&b'\n');
                    out.push(b'\r');
                }
                b'\n' => out.push(b'\r'),
                byte => out.push(byte),
            }
        }
        return out;
    }
    out.extend_from_slice(b"\x1b[200~");
    let begin = out.len();
    for byte in bytes {
        out.push(*byte);
        // Looked for in what is kept: taking one mark out must not make another of what was around it.
        if out[begin..].ends_with(PASTE_END) {
            out.truncate(out.len() - PASTE_END.len());
        }
    }
    out.extend_from_slice(PASTE_END);
    out
}

/// What the keys do while looking back.
pub(super) fn look_hints(look: &Look) -> Vec<(String, &'static str)> {
    let hints: &[(&str, &str)] = if look.editing {
        &[("Enter", "search"), ("Esc", "give up")]
    } else if look.cursor.is_some() {
        &[
            ("←↓↑→ hjkl", "move"),
            ("v", "select"),
            ("y", "copy"),
            ("/", "search"),
            ("n N", "next, previous"),
            ("g G", "oldest, newest"),
            ("q", "back to the program"),
        ]
    } else {
        &[]
    };
    hints.iter().map(|(keys, doc)| ((*keys).to_owned(), *doc)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_cannot_end_itself() {
        let evil = b"a\x1b[201~rm -rf\x1b[2\x1b[201~01~x";
        let got = pasted(evil, true);
        let body = &got[6..got.len() - 6];
        assert!(!body.windows(6).any(|w| w == PASTE_END));
        assert_eq!(body, b"arm -rfx");
    }

    #[test]
    fn lines_of_an_unmarked_paste_end_in_enter() {
        assert_eq!(pasted(b"a\nb\r\nc\rd", false), b"a\rb\rc\rd");
    }
}
