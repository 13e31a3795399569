//! Input as events.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyEventState, KeyModifiers, MouseEvent};

use super::latin;

/// A key, with everything a terminal can say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Which key: for characters, as it is without Shift where the terminal tells.
    pub code: KeyCode,
    /// What was held.
    pub modifiers: KeyModifiers,
    /// Pressed, repeated or released.
    pub kind: KeyEventKind,
    /// Whether it is on the keypad, and the locks.
    pub state: KeyEventState,
    /// The character with Shift, where the terminal tells.
    pub shifted: Option<char>,
    /// The character in the place of this key on a US keyboard, where the terminal tells.
    pub base: Option<char>,
    /// The text it makes, where the terminal tells.
    pub text: Option<String>,
}

impl Key {
    /// A key that was pressed.
    #[must_use]
    pub fn new(code: KeyCode, modifiers: KeyModifiers) -> Key {
        Key::from(KeyEvent::new(code, modifiers))
    }

    /// How it is called in a command: the character with the Shift that is held, and where that is no Latin one the one
    /// in its place on a US keyboard. So commands are where they are, whatever the keyboard writes.
    #[must_use]
    pub fn command(&self) -> (KeyCode, KeyModifiers) {
        let KeyCode::Char(c) = self.code else { return (self.code, self.modifiers) };
        let shift = self.modifiers.contains(KeyModifiers::SHIFT);
        let modifiers = self.modifiers - KeyModifiers::SHIFT;
        let written = if shift { self.shifted.unwrap_or_else(|| upper(c)) } else { c };
        if written.is_ascii() {
            return (KeyCode::Char(written), modifiers);
        }
        let Some(place) = self.base.filter(char::is_ascii).or_else(|| latin::place(c)) else {
            return (KeyCode::Char(written), modifiers);
        };
        let shift = shift || c.is_uppercase();
        (KeyCode::Char(if shift { latin::shifted(place) } else { place }), modifiers)
    }

    /// Whether its place on the keyboard is only guessed, from a character that is no Latin one: keyboards differ.
    #[must_use]
    pub fn is_guessed(&self) -> bool {
        matches!(self.code, KeyCode::Char(c) if !c.is_ascii())
            && !self.base.is_some_and(|base| base.is_ascii())
    }

    /// The character it types, if it types one.
    #[must_use]
    pub fn typed(&self) -> Option<char> {
        let KeyCode::Char(c) = self.code else { return None };
        if !(self.modifiers - KeyModifiers::SHIFT).is_empty() {
            return None;
        }
        let shift = self.modifiers.contains(KeyModifiers::SHIFT);
        Some(if shift { self.shifted.unwrap_or_else(|| upper(c)) } else { c })
    }

    /// Whether it went down (or repeats).
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.kind != KeyEventKind::Release
    }
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Key {
        let KeyEvent { code, modifiers, kind, state } = event;
        Key { code, modifiers, kind, state, shifted: None, base: None, text: None }
    }
}

/// Something the outer terminal sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InputEvent {
    /// A key.
    Key(Key),
    /// The mouse, in cells from the top left.
    Mouse(MouseEvent),
    /// A paste, as the terminal sent it.
    Paste(Vec<u8>),
    /// The window has got the keyboard, or lost it.
    Focus(bool),
    /// A whole sequence that is not known here: the program may know it.
    Unknown(Vec<u8>),
}

impl InputEvent {
    /// From crossterm's event, where it is input at all.
    #[must_use]
    pub fn from_crossterm(event: crossterm::event::Event) -> Option<InputEvent> {
        use crossterm::event::Event;
        match event {
            Event::Key(key) => Some(InputEvent::Key(key.into())),
            Event::Mouse(mouse) => Some(InputEvent::Mouse(mouse)),
            Event::Paste(text) => Some(InputEvent::Paste(text.into_bytes())),
            Event::FocusGained => Some(InputEvent::Focus(true)),
            Event::FocusLost => Some(InputEvent::Focus(false)),
            Event::Resize(..) => None,
        }
    }
}
