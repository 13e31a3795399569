//! Keys on their way to the programs in panes, and the outer keyboard that serves them.

use crossterm::event::{KeyCode, KeyEventKind, KeyModifiers};

use super::tests::Stage;
use super::*;
use crate::term_input::{InputEvent, Key};

const NONE: KeyModifiers = KeyModifiers::NONE;

#[test]
fn programs_are_told_of_the_focus_and_the_outer_terminal_of_their_keyboard() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    stage.output(a, 0, "\x1b[?1004h\x1b[>3u");
    let kitty = |kitty| Effect::Keyboard(OuterKeys { kitty, ..OuterKeys::default() });
    assert!(stage.take().contains(&kitty(7)));
    let b = stage.open("b", Place::Right);
    assert_eq!(stage.typed(a), "\x1b[O");
    assert!(stage.take().contains(&kitty(5)));
    stage.command('h');
    assert_eq!((stage.typed(a), stage.typed(b)), ("\x1b[I".into(), String::new()));
    stage.handle(PaneEvent::Input(InputEvent::Focus(false)));
    assert_eq!(stage.typed(a), "\x1b[O", "the whole window has lost it");
}

#[test]
fn the_outer_keyboard_follows_the_focused_program() {
    let mut stage = Stage::new();
    let own = OuterKeys::default();
    let a = stage.open("a", Place::Right);
    assert!(stage.take().contains(&Effect::Keyboard(own)));
    for (asked, expected) in [
        ("\x1b[>4;2m", OuterKeys { modify_other_keys: 2, ..own }),
        ("\x1b=", OuterKeys { modify_other_keys: 2, keypad: true, ..own }),
        ("\x1b[>4m\x1b>", own),
        ("\x1b[>31u", OuterKeys { kitty: 31, ..own }),
    ] {
        stage.output(a, 0, asked);
        assert!(stage.take().contains(&Effect::Keyboard(expected)), "{asked:?}");
    }
    stage.open("b", Place::Right);
    assert!(stage.take().contains(&Effect::Keyboard(own)), "another program has the keyboard");
    stage.command('h');
    assert!(stage.take().contains(&Effect::Keyboard(OuterKeys { kitty: 31, ..own })));
    // In the lists nobody needs more than the lists do.
    let effects = stage.panes.set_shown(false);
    assert!(effects.contains(&Effect::Keyboard(own)), "{effects:?}");
}

/// A key with kitty's event types.
fn key(code: KeyCode, modifiers: KeyModifiers, kind: KeyEventKind) -> PaneEvent {
    PaneEvent::Input(InputEvent::Key(Key { kind, ..Key::new(code, modifiers) }))
}

#[test]
fn a_program_gets_both_halves_of_a_key_or_neither() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let b = stage.open("b", Place::Right);
    stage.output(a, 0, "\x1b[>11u");
    stage.output(b, 0, "\x1b[>11u");
    stage.take();
    let (press, release) = (KeyEventKind::Press, KeyEventKind::Release);
    let control = KeyCode::Modifier(crossterm::event::ModifierKeyCode::LeftControl);
    // Ctrl goes down before anybody can know that it belongs to the prefix: it goes up again for the same program.
    stage.handle(key(control, KeyModifiers::CONTROL, press));
    assert_eq!(stage.typed(b), "\x1b[57442;5u");
    stage.handle(key(KeyCode::Char(']'), KeyModifiers::CONTROL, press));
    stage.handle(key(KeyCode::Char(']'), KeyModifiers::CONTROL, KeyEventKind::Repeat));
    stage.handle(key(KeyCode::Char(']'), KeyModifiers::CONTROL, release));
    assert_eq!(stage.typed(b), "", "the prefix is nobody's");
    stage.handle(key(control, NONE, release));
    assert_eq!(stage.typed(b), "\x1b[57442;1:3u");
    // Shift after the prefix, and the command, which gives the keyboard to another pane.
    let shift = KeyCode::Modifier(crossterm::event::ModifierKeyCode::LeftShift);
    stage.handle(key(shift, KeyModifiers::SHIFT, press));
    stage.handle(key(shift, NONE, release));
    stage.handle(key(KeyCode::Char('h'), NONE, press));
    stage.handle(key(KeyCode::Char('h'), NONE, release));
    assert_eq!((stage.typed(a), stage.typed(b)), (String::new(), String::new()), "releases without a press");
    // A key that is down while the keyboard goes elsewhere goes up where it went down.
    stage.handle(key(KeyCode::Char('x'), NONE, press));
    stage.command('l');
    stage.handle(key(KeyCode::Char('x'), NONE, release));
    assert_eq!((stage.typed(a), stage.typed(b)), ("\x1b[120u\x1b[120;1:3u".into(), String::new()));
    // One that went down before lap was there.
    stage.handle(key(KeyCode::Enter, NONE, release));
    assert_eq!((stage.typed(a), stage.typed(b)), (String::new(), String::new()));
}

#[test]
fn a_sequence_that_is_not_known_goes_to_the_program_as_it_came() {
    let mut stage = Stage::new();
    let a = stage.open("a", Place::Right);
    let unknown = || PaneEvent::Input(InputEvent::Unknown(b"\x1b[57500;5u".to_vec()));
    stage.handle(unknown());
    assert_eq!(stage.typed(a), "\x1b[57500;5u");
    // Not in the middle of what is lap's own.
    stage.press(KeyCode::Char(']'), KeyModifiers::CONTROL);
    stage.handle(unknown());
    stage.press(KeyCode::Char('['), NONE);
    stage.handle(unknown());
    assert_eq!(stage.typed(a), "");
}
