//! Input as events.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyEventState, KeyModifiers, MouseEvent};

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

    /// Whether it went down (or repeats).
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.kind != KeyEventKind::Release
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
