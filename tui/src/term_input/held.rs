//! Keys that are down, and who was told so: both halves of a press go the same way, or neither does.

use crossterm::event::{KeyCode, KeyEventState};

use super::Key;

/// More keys than hands can hold down; of more the first are forgotten.
const MAX_HELD: usize = 32;

/// Keys that somebody was told are down.
#[derive(Debug)]
pub struct Held<T> {
    keys: Vec<(KeyCode, bool, T)>,
}

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held { keys: Vec::new() }
    }
}

/// A key as it is known while it is down: Shift may go up before it, and its character with it.
fn identity(key: &Key) -> (KeyCode, bool) {
    let code = match key.code {
        KeyCode::Char(c) => KeyCode::Char(c.to_lowercase().next().unwrap_or(c)),
        KeyCode::BackTab => KeyCode::Tab,
        code => code,
    };
    (code, key.state.contains(KeyEventState::KEYPAD))
}

impl<T> Held<T> {
    /// `to` is told that the key went down.
    pub fn press(&mut self, key: &Key, to: T) {
        self.release(key);
        if self.keys.len() >= MAX_HELD {
            self.keys.remove(0);
        }
        let (code, keypad) = identity(key);
        self.keys.push((code, keypad, to));
    }

    /// The key went up: who is to be told, if somebody was told that it went down.
    pub fn release(&mut self, key: &Key) -> Option<T> {
        let (code, keypad) = identity(key);
        let at = self.keys.iter().position(|held| held.0 == code && held.1 == keypad)?;
        Some(self.keys.remove(at).2)
    }
}
