//! Keys and the mouse, to whom they belong.

use std::time::Duration;

use crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Size};
use tokio::time::Instant;

use super::{App, Outgoing, TerminalCommand};
use crate::dashboard::actions::Action;
use crate::dashboard::event::{CLICK, Event, Hit};
use crate::dashboard::key::Key;
use crate::dashboard::model::Screen;
use crate::panes::PaneEvent;
use crate::term_input::{self, InputEvent};

/// Two clicks within this time on the same thing are a double click: what desktops use.
const DOUBLE_CLICK: Duration = Duration::from_millis(400);

/// From the terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A key, the mouse, a paste, the focus.
    Event(InputEvent),
    /// The terminal has another size.
    Resize(Size),
    /// Lap is to stop for now (SIGTSTP).
    Stop,
}

/// What was clicked before, and where a button went down.
#[derive(Debug, Default)]
pub(super) struct Clicks {
    last: Option<(Hit, Instant)>,
    down_in_panes: bool,
}

impl App {
    /// Takes what the terminal sends.
    pub fn input(&mut self, input: Input) {
        let event = match input {
            Input::Resize(size) => return self.event(Event::Resize(size)),
            Input::Stop => {
                self.outgoing.push(Outgoing::Terminal(TerminalCommand::Suspend));
                // Whoever had the terminal meanwhile has left something on it, and time has passed.
                self.outgoing.push(Outgoing::Terminal(TerminalCommand::Redraw));
                return self.event(Event::Tick);
            }
            Input::Event(event) => event,
        };
        match event {
            InputEvent::Mouse(mouse) => self.mouse(mouse),
            // Every pane may have asked for it, whatever lies over them now.
            InputEvent::Focus(_) => self.give_panes(event),
            _ if self.model.screen == Screen::Panes && self.model.layer.is_none() => self.give_panes(event),
            InputEvent::Key(key) if key.is_down() => self.key(&key),
            InputEvent::Key(_) | InputEvent::Unknown(_) => {}
            InputEvent::Paste(bytes) => {
                self.event(Event::Paste(String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }

    /// A key for the lists and what lies over them: text where text is typed, else a command by its place.
    fn key(&mut self, key: &term_input::Key) {
        let command = key.command();
        // From wherever the keyboard is: a list, a box, a field.
        if self.model.keymap.keys(Action::Suspend).contains(&Key::new(command.0, command.1)) {
            return self.outgoing.push(Outgoing::Terminal(TerminalCommand::StopJob));
        }
        // Which key it is was guessed from what it writes: good enough to move about, not to answer.
        if self.model.asks() && key.is_guessed() {
            return;
        }
        let typed = self.model.takes_text() && key.typed().is_some();
        let key = if typed { Key::from(key) } else { Key::new(command.0, command.1) };
        self.event(Event::Key(key));
    }

    fn give_panes(&mut self, event: InputEvent) {
        let effects = self.panes.handle(PaneEvent::Input(event), Instant::now().into_std());
        self.pane_effects(effects);
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        let position = Position::new(mouse.column, mouse.row);
        let pressed = matches!(mouse.kind, MouseEventKind::Down(_));
        let held = matches!(mouse.kind, MouseEventKind::Drag(_) | MouseEventKind::Up(_));
        let in_panes = self.layout.panes.is_some_and(|area| area.contains(position))
            && self.model.layer.is_none()
            && !matches!(self.hit(position), Some(Hit::Toast(_)));
        if pressed {
            self.clicks.down_in_panes = in_panes;
        }
        // A drag belongs to where it began.
        if if held { self.clicks.down_in_panes } else { in_panes } {
            return self.give_panes(InputEvent::Mouse(mouse));
        }
        let hit = self.hit(position);
        if mouse.kind == CLICK {
            let now = Instant::now();
            let last = self.clicks.last.take();
            let twice = last.is_some_and(|(last, at)| Some(last) == hit && now - at < DOUBLE_CLICK);
            if let (true, Some(hit)) = (twice, hit) {
                return self.event(Event::DoubleClick(hit));
            }
            self.clicks.last = hit.map(|hit| (hit, now));
        }
        let of_interest = mouse.kind == CLICK
            || matches!(mouse.kind, MouseEventKind::ScrollUp | MouseEventKind::ScrollDown);
        if of_interest {
            self.event(Event::Mouse(mouse.kind, hit));
        }
    }
}

impl From<Key> for term_input::Key {
    fn from(key: Key) -> term_input::Key {
        let mut modifiers = crossterm::event::KeyModifiers::NONE;
        modifiers.set(crossterm::event::KeyModifiers::CONTROL, key.ctrl());
        modifiers.set(crossterm::event::KeyModifiers::ALT, key.alt());
        term_input::Key::new(key.code(), modifiers)
    }
}

impl From<&term_input::Key> for Key {
    fn from(key: &term_input::Key) -> Key {
        // Where the terminal tells, the character with Shift is known: Shift and `;` is `:` only on some keyboards.
        match (key.shifted, key.modifiers.contains(crossterm::event::KeyModifiers::SHIFT)) {
            (Some(shifted), true) => Key::new(
                crossterm::event::KeyCode::Char(shifted),
                key.modifiers - crossterm::event::KeyModifiers::SHIFT,
            ),
            _ => Key::new(key.code, key.modifiers),
        }
    }
}
