//! What keys mean after the prefix: one table for dispatch, hints and help.

use crossterm::event::{KeyCode, KeyModifiers};

use super::layout::{Axis, Direction};
use crate::term_input::Key;

/// What can be done with panes from the keyboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    SendPrefix,
    Leave,
    Split(Axis),
    Focus(Direction),
    Next,
    Resize(Direction, u16),
    Zoom,
    Close,
    SwapPrevious,
    SwapNext,
    Scroll,
    PageUp,
    Search,
    Paste,
    Reconnect,
    TakeKeyboard,
    Restart,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

/// An entry of the help: its keys and what they do.
struct Entry {
    /// As shown.
    keys: &'static str,
    doc: &'static str,
    bindings: &'static [(KeyCode, KeyModifiers, Action)],
}

use Direction::{Down, Left, Right, Up};

const TABLE: &[Entry] = &[
    Entry { keys: "d", doc: "leave, sessions go on", bindings: &[(KeyCode::Char('d'), NONE, Action::Leave)] },
    Entry {
        keys: "% |",
        doc: "split right",
        bindings: &[
            (KeyCode::Char('%'), NONE, Action::Split(Axis::Columns)),
            (KeyCode::Char('|'), NONE, Action::Split(Axis::Columns)),
        ],
    },
    Entry {
        keys: "\" -",
        doc: "split down",
        bindings: &[
            (KeyCode::Char('"'), NONE, Action::Split(Axis::Rows)),
            (KeyCode::Char('-'), NONE, Action::Split(Axis::Rows)),
        ],
    },
    Entry {
        keys: "←↓↑→ hjkl",
        doc: "go to a pane",
        bindings: &[
            (KeyCode::Left, NONE, Action::Focus(Left)),
            (KeyCode::Down, NONE, Action::Focus(Down)),
            (KeyCode::Up, NONE, Action::Focus(Up)),
            (KeyCode::Right, NONE, Action::Focus(Right)),
            (KeyCode::Char('h'), NONE, Action::Focus(Left)),
            (KeyCode::Char('j'), NONE, Action::Focus(Down)),
            (KeyCode::Char('k'), NONE, Action::Focus(Up)),
            (KeyCode::Char('l'), NONE, Action::Focus(Right)),
        ],
    },
    Entry {
        keys: "o Tab",
        doc: "next pane",
        bindings: &[(KeyCode::Char('o'), NONE, Action::Next), (KeyCode::Tab, NONE, Action::Next)],
    },
    Entry {
        keys: "HJKL Ctrl+←↓↑→",
        doc: "resize",
        bindings: &[
            (KeyCode::Char('H'), NONE, Action::Resize(Left, 5)),
            (KeyCode::Char('J'), NONE, Action::Resize(Down, 5)),
            (KeyCode::Char('K'), NONE, Action::Resize(Up, 5)),
            (KeyCode::Char('L'), NONE, Action::Resize(Right, 5)),
            (KeyCode::Left, CONTROL, Action::Resize(Left, 1)),
            (KeyCode::Down, CONTROL, Action::Resize(Down, 1)),
            (KeyCode::Up, CONTROL, Action::Resize(Up, 1)),
            (KeyCode::Right, CONTROL, Action::Resize(Right, 1)),
        ],
    },
    Entry { keys: "z", doc: "zoom", bindings: &[(KeyCode::Char('z'), NONE, Action::Zoom)] },
    Entry {
        keys: "x",
        doc: "close the pane, its session goes on",
        bindings: &[(KeyCode::Char('x'), NONE, Action::Close)],
    },
    Entry {
        keys: "{ }",
        doc: "swap with the one before or after",
        bindings: &[
            (KeyCode::Char('{'), NONE, Action::SwapPrevious),
            (KeyCode::Char('}'), NONE, Action::SwapNext),
        ],
    },
    Entry {
        keys: "[ PageUp",
        doc: "look back, select and copy",
        bindings: &[(KeyCode::Char('['), NONE, Action::Scroll), (KeyCode::PageUp, NONE, Action::PageUp)],
    },
    Entry { keys: "/", doc: "search", bindings: &[(KeyCode::Char('/'), NONE, Action::Search)] },
    Entry { keys: "p", doc: "paste what was copied", bindings: &[(KeyCode::Char('p'), NONE, Action::Paste)] },
    Entry { keys: "r", doc: "reconnect now", bindings: &[(KeyCode::Char('r'), NONE, Action::Reconnect)] },
    Entry {
        keys: "t",
        doc: "take the keyboard from another viewer",
        bindings: &[(KeyCode::Char('t'), NONE, Action::TakeKeyboard)],
    },
    Entry {
        keys: "R",
        doc: "start an ended session again",
        bindings: &[(KeyCode::Char('R'), NONE, Action::Restart)],
    },
];

/// What a key after the prefix does.
pub(super) fn action(key: &Key, prefix: &Key) -> Option<Action> {
    if same(key, prefix) {
        return Some(Action::SendPrefix);
    }
    let (code, modifiers) = key.command();
    let bindings = TABLE.iter().flat_map(|entry| entry.bindings);
    bindings.clone().find(|(c, m, _)| *c == code && *m == modifiers).map(|(.., action)| *action)
}

/// The help: keys and what they do.
pub(super) fn help() -> Vec<(String, &'static str)> {
    TABLE.iter().map(|entry| (entry.keys.to_owned(), entry.doc)).collect()
}

/// Whether two keys are one, however the terminal wrote them.
pub(crate) fn same(a: &Key, b: &Key) -> bool {
    let control = |key: &Key| {
        // The old way to write Ctrl with a digit or a sign is one byte for several keys.
        let (code, modifiers) = key.command();
        let code = match code {
            KeyCode::Char('5') if modifiers == CONTROL => KeyCode::Char(']'),
            KeyCode::Char('4') if modifiers == CONTROL => KeyCode::Char('\\'),
            KeyCode::Char('6') if modifiers == CONTROL => KeyCode::Char('^'),
            KeyCode::Char('7') if modifiers == CONTROL => KeyCode::Char('_'),
            KeyCode::Char(c) if modifiers == CONTROL => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        (code, modifiers)
    };
    control(a) == control(b)
        || (a.base.is_some() && a.modifiers == b.modifiers && a.base.map(KeyCode::Char) == Some(b.code))
}

/// What a key is called, for people: `Ctrl-]`.
pub(crate) fn name(key: &Key) -> String {
    let mut name = String::new();
    for (modifier, text) in
        [(KeyModifiers::CONTROL, "Ctrl-"), (KeyModifiers::ALT, "Alt-"), (KeyModifiers::SUPER, "Super-")]
    {
        if key.modifiers.contains(modifier) {
            name.push_str(text);
        }
    }
    match key.code {
        KeyCode::Char(' ') => name.push_str("Space"),
        KeyCode::Char(c) => name.push(c),
        code => name.push_str(&code.to_string()),
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let keys: Vec<_> =
            TABLE.iter().flat_map(|entry| entry.bindings).map(|(code, m, _)| (*code, *m)).collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key), "{key:?} is bound twice");
        }
    }

    #[test]
    fn the_page_for_users_has_every_command() {
        let page = include_str!("../../../docs/terminals.md");
        for (keys, doc) in help() {
            let row = format!("| `{}` | {doc} |", keys.replace('|', "\\|"));
            assert!(page.contains(&row), "docs/terminals.md needs: {row}");
        }
    }

    #[test]
    fn a_shifted_key_is_found_however_the_terminal_writes_it() {
        let prefix = Key::new(KeyCode::Char(']'), CONTROL);
        let plain = Key::new(KeyCode::Char('%'), NONE);
        let kitty = Key { shifted: Some('%'), ..Key::new(KeyCode::Char('5'), KeyModifiers::SHIFT) };
        let crossterm = Key::new(KeyCode::Char('H'), KeyModifiers::SHIFT);
        assert_eq!(action(&plain, &prefix), Some(Action::Split(Axis::Columns)));
        assert_eq!(action(&kitty, &prefix), Some(Action::Split(Axis::Columns)));
        assert_eq!(action(&crossterm, &prefix), Some(Action::Resize(Left, 5)));
        assert_eq!(action(&Key::new(KeyCode::Char('5'), CONTROL), &prefix), Some(Action::SendPrefix));
        assert_eq!(name(&prefix), "Ctrl-]");
    }

    #[test]
    fn keys_are_found_by_their_places_on_keyboards_without_latin_letters() {
        let prefix = Key::new(KeyCode::Char(']'), CONTROL);
        // As kitty tells it, and as a terminal does that only sends the letter.
        let told = |c, base, modifiers| Key { base: Some(base), ..Key::new(KeyCode::Char(c), modifiers) };
        let sent = |c, modifiers| Key::new(KeyCode::Char(c), modifiers);
        let shift = KeyModifiers::SHIFT;
        for (key, expected) in [
            (told('ъ', ']', CONTROL), Action::SendPrefix),
            (told('в', 'd', NONE), Action::Leave),
            (told('я', 'z', NONE), Action::Zoom),
            (told('к', 'r', shift), Action::Restart),
            (told('х', '[', shift), Action::SwapPrevious),
            (told('δ', 'd', NONE), Action::Leave),
            (told('ד', 's', NONE), Action::Leave),
            (sent('в', NONE), Action::Leave),
            (sent('К', shift), Action::Restart),
            (sent('х', NONE), Action::Scroll),
            (sent('η', NONE), Action::Focus(Left)),
        ] {
            let found = action(&key, &prefix);
            // A Hebrew keyboard has another letter in that place: the one that is told counts.
            let wanted = if key.base == Some('s') { None } else { Some(expected) };
            assert_eq!(found, wanted, "{key:?}");
        }
    }
}
