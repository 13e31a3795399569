//! One key with its modifiers, and how it is written: `ctrl-r`, `G`, `shift-tab`, `pgup`, `?`.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key as a person presses it. Two events that mean the same press compare equal: `shift-g` is `G`, and what a
/// terminal calls back-tab is `shift-tab`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const NAMED: &[(&str, KeyCode)] = &[
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("space", KeyCode::Char(' ')),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("minus", KeyCode::Char('-')),
];

const MODIFIERS: &[(&str, KeyModifiers)] =
    &[("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)];

impl Key {
    /// The key of that code and those modifiers.
    #[must_use]
    pub fn new(code: KeyCode, modifiers: KeyModifiers) -> Key {
        let mut modifiers = modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        let code = match code {
            KeyCode::BackTab => {
                modifiers |= KeyModifiers::SHIFT;
                KeyCode::Tab
            }
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::SHIFT) && c != ' ' => {
                modifiers -= KeyModifiers::SHIFT;
                KeyCode::Char(c.to_uppercase().next().unwrap_or(c))
            }
            // Control characters have no case: terminals differ in which one they say.
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => {
                KeyCode::Char(c.to_ascii_lowercase())
            }
            other => other,
        };
        Key { code, modifiers }
    }

    /// The character typed by it, if it types one.
    #[must_use]
    pub fn typed(self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if self.modifiers.is_empty() || self.modifiers == KeyModifiers::SHIFT => Some(c),
            _ => None,
        }
    }

    /// Its code without modifiers.
    #[must_use]
    pub fn code(self) -> KeyCode {
        self.code
    }

    /// Whether Ctrl is held.
    #[must_use]
    pub fn ctrl(self) -> bool {
        self.modifiers.contains(KeyModifiers::CONTROL)
    }

    /// Whether Alt is held.
    #[must_use]
    pub fn alt(self) -> bool {
        self.modifiers.contains(KeyModifiers::ALT)
    }

    /// Whether it is that key and no modifier is held.
    #[must_use]
    pub fn is(self, code: KeyCode) -> bool {
        self.code == code && self.modifiers.is_empty()
    }
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Key {
        Key::new(event.code, event.modifiers)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, modifier) in MODIFIERS {
            if self.modifiers.contains(*modifier) {
                f.write_str(name)?;
            }
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(n) => write!(f, "f{n}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A text that names no key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no key: write one like ctrl-r, alt-x, G, enter, f5 or ?")]
pub struct KeyError(pub String);

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        'prefix: loop {
            for (name, modifier) in MODIFIERS {
                if let Some((head, tail)) = rest.split_at_checked(name.len())
                    && head.eq_ignore_ascii_case(name)
                    && !tail.is_empty()
                {
                    modifiers |= *modifier;
                    rest = tail;
                    continue 'prefix;
                }
            }
            break;
        }
        let mut characters = rest.chars();
        let code = match (characters.next(), characters.next()) {
            (Some(c), None) => KeyCode::Char(c),
            (Some('f' | 'F'), Some(_)) if rest.get(1..).is_some_and(|n| n.parse::<u8>().is_ok()) => {
                match rest.get(1..).and_then(|n| n.parse().ok()) {
                    Some(n @ 1..=24) => KeyCode::F(n),
                    _ => return Err(KeyError(text.to_owned())),
                }
            }
            _ => match NAMED.iter().find(|(name, _)| rest.eq_ignore_ascii_case(name)) {
                Some((_, code)) => *code,
                None => return Err(KeyError(text.to_owned())),
            },
        };
        Ok(Key::new(code, modifiers))
    }
}

/// The key of lap's own in panes (`ui.prefix`).
///
/// # Errors
/// It is no key, or one that is typed into programs: with it as the prefix it could not be.
pub fn prefix(text: &str) -> Result<Key, String> {
    let key: Key = text.parse().map_err(|error: KeyError| error.to_string())?;
    let moves = matches!(
        key.code,
        KeyCode::Enter
            | KeyCode::Esc
            | KeyCode::Tab
            | KeyCode::Backspace
            | KeyCode::Up
            | KeyCode::Down
            | KeyCode::Left
            | KeyCode::Right
    );
    if key.typed().is_some() || (moves && key.modifiers.is_empty()) {
        return Err(format!("{text:?} is typed into programs: choose one like ctrl-], alt-x or f12"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same_key() {
        for text in
            ["ctrl-r", "G", "?", "shift-tab", "pgup", "alt-enter", "f12", "ctrl-alt-x", "space", "minus"]
        {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn presses_that_mean_the_same_are_equal() {
        let key = |code, modifiers| Key::from(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), "shift-tab".parse().unwrap());
        assert_eq!(key(KeyCode::Char('g'), KeyModifiers::SHIFT), "G".parse().unwrap());
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), "G".parse().unwrap());
        assert_eq!(key(KeyCode::Char('R'), KeyModifiers::CONTROL), "ctrl-r".parse().unwrap());
        assert_eq!("-".parse::<Key>().unwrap(), "minus".parse().unwrap());
    }

    #[test]
    fn a_key_that_is_typed_is_no_prefix() {
        for text in ["a", "G", "é", "space", "enter", "tab", "esc", "up"] {
            assert!(prefix(text).unwrap_err().contains("typed into programs"), "{text}");
        }
        for text in ["ctrl-]", "ctrl-b", "alt-x", "f12", "insert"] {
            assert_eq!(prefix(text).unwrap().to_string(), text);
        }
        assert!(prefix("hyper-x").unwrap_err().contains("is no key"));
    }

    #[test]
    fn what_is_no_key_is_refused_with_an_example() {
        for text in ["", "ctrl-", "hyper-x", "f0", "f99", "enterr", "ab"] {
            let error = text.parse::<Key>().unwrap_err();
            assert!(error.to_string().contains("ctrl-r"), "{text}");
        }
    }
}
