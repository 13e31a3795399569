//! Keys that are no characters, by the numbers and letters terminals know them by.
//!
//! Kitty's numbers: <https://sw.kovidgoyal.net/kitty/keyboard-protocol/#functional-key-definitions>. The forms ending
//! in `~` and in letters are xterm's, from the VT220 and before.

use crossterm::event::{KeyCode, MediaKeyCode, ModifierKeyCode};

/// How a key is written after `CSI`: `number ; modifiers letter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// The first parameter; 1 is left out where nothing follows it and the letter is not `u` or `~`.
    pub(super) number: u32,
    /// The final byte.
    pub(super) letter: u8,
}

/// Keys written with a letter of their own or `~`.
const LEGACY: [(KeyCode, u32, u8); 37] = [
    (KeyCode::Up, 1, b'A'),
    (KeyCode::Down, 1, b'B'),
    (KeyCode::Right, 1, b'C'),
    (KeyCode::Left, 1, b'D'),
    (KeyCode::KeypadBegin, 1, b'E'),
    (KeyCode::End, 1, b'F'),
    (KeyCode::Home, 1, b'H'),
    (KeyCode::F(1), 1, b'P'),
    (KeyCode::F(2), 1, b'Q'),
    (KeyCode::F(4), 1, b'S'),
    (KeyCode::Insert, 2, b'~'),
    (KeyCode::Delete, 3, b'~'),
    (KeyCode::PageUp, 5, b'~'),
    (KeyCode::PageDown, 6, b'~'),
    (KeyCode::Home, 7, b'~'),
    (KeyCode::End, 8, b'~'),
    (KeyCode::F(1), 11, b'~'),
    (KeyCode::F(2), 12, b'~'),
    (KeyCode::F(3), 13, b'~'),
    (KeyCode::F(4), 14, b'~'),
    (KeyCode::F(5), 15, b'~'),
    (KeyCode::F(6), 17, b'~'),
    (KeyCode::F(7), 18, b'~'),
    (KeyCode::F(8), 19, b'~'),
    (KeyCode::F(9), 20, b'~'),
    (KeyCode::F(10), 21, b'~'),
    (KeyCode::F(11), 23, b'~'),
    (KeyCode::F(12), 24, b'~'),
    (KeyCode::F(13), 25, b'~'),
    (KeyCode::F(14), 26, b'~'),
    (KeyCode::F(15), 28, b'~'),
    (KeyCode::F(16), 29, b'~'),
    (KeyCode::Menu, 29, b'~'),
    (KeyCode::F(17), 31, b'~'),
    (KeyCode::F(18), 32, b'~'),
    (KeyCode::F(19), 33, b'~'),
    (KeyCode::F(20), 34, b'~'),
];

/// Keys that only kitty's protocol has, by number.
const KITTY: [(u32, KeyCode); 34] = [
    (57358, KeyCode::CapsLock),
    (57359, KeyCode::ScrollLock),
    (57360, KeyCode::NumLock),
    (57361, KeyCode::PrintScreen),
    (57362, KeyCode::Pause),
    (57363, KeyCode::Menu),
    (57427, KeyCode::KeypadBegin),
    (57428, KeyCode::Media(MediaKeyCode::Play)),
    (57429, KeyCode::Media(MediaKeyCode::Pause)),
    (57430, KeyCode::Media(MediaKeyCode::PlayPause)),
    (57431, KeyCode::Media(MediaKeyCode::Reverse)),
    (57432, KeyCode::Media(MediaKeyCode::Stop)),
    (57433, KeyCode::Media(MediaKeyCode::FastForward)),
    (57434, KeyCode::Media(MediaKeyCode::Rewind)),
    (57435, KeyCode::Media(MediaKeyCode::TrackNext)),
    (57436, KeyCode::Media(MediaKeyCode::TrackPrevious)),
    (57437, KeyCode::Media(MediaKeyCode::Record)),
    (57438, KeyCode::Media(MediaKeyCode::LowerVolume)),
    (57439, KeyCode::Media(MediaKeyCode::RaiseVolume)),
    (57440, KeyCode::Media(MediaKeyCode::MuteVolume)),
    (57441, KeyCode::Modifier(ModifierKeyCode::LeftShift)),
    (57442, KeyCode::Modifier(ModifierKeyCode::LeftControl)),
    (57443, KeyCode::Modifier(ModifierKeyCode::LeftAlt)),
    (57444, KeyCode::Modifier(ModifierKeyCode::LeftSuper)),
    (57445, KeyCode::Modifier(ModifierKeyCode::LeftHyper)),
    (57446, KeyCode::Modifier(ModifierKeyCode::LeftMeta)),
    (57447, KeyCode::Modifier(ModifierKeyCode::RightShift)),
    (57448, KeyCode::Modifier(ModifierKeyCode::RightControl)),
    (57449, KeyCode::Modifier(ModifierKeyCode::RightAlt)),
    (57450, KeyCode::Modifier(ModifierKeyCode::RightSuper)),
    (57451, KeyCode::Modifier(ModifierKeyCode::RightHyper)),
    (57452, KeyCode::Modifier(ModifierKeyCode::RightMeta)),
    (57453, KeyCode::Modifier(ModifierKeyCode::IsoLevel3Shift)),
    (57454, KeyCode::Modifier(ModifierKeyCode::IsoLevel5Shift)),
];

/// The numbers kitty keeps for keys without text, those it has not given yet included.
pub(super) const KITTY_AREA: std::ops::RangeInclusive<u32> = 57344..=63743;

/// The keypad: kitty's number, the key it is, and the letter it has after `ESC O` in the application's keypad mode.
const KEYPAD: [(u32, KeyCode, u8); 28] = [
    (57399, KeyCode::Char('0'), b'p'),
    (57400, KeyCode::Char('1'), b'q'),
    (57401, KeyCode::Char('2'), b'r'),
    (57402, KeyCode::Char('3'), b's'),
    (57403, KeyCode::Char('4'), b't'),
    (57404, KeyCode::Char('5'), b'u'),
    (57405, KeyCode::Char('6'), b'v'),
    (57406, KeyCode::Char('7'), b'w'),
    (57407, KeyCode::Char('8'), b'x'),
    (57408, KeyCode::Char('9'), b'y'),
    (57409, KeyCode::Char('.'), b'n'),
    (57410, KeyCode::Char('/'), b'o'),
    (57411, KeyCode::Char('*'), b'j'),
    (57412, KeyCode::Char('-'), b'm'),
    (57413, KeyCode::Char('+'), b'k'),
    (57414, KeyCode::Enter, b'M'),
    (57415, KeyCode::Char('='), b'X'),
    (57416, KeyCode::Char(','), b'l'),
    (57417, KeyCode::Left, 0),
    (57418, KeyCode::Right, 0),
    (57419, KeyCode::Up, 0),
    (57420, KeyCode::Down, 0),
    (57421, KeyCode::PageUp, 0),
    (57422, KeyCode::PageDown, 0),
    (57423, KeyCode::Home, 0),
    (57424, KeyCode::End, 0),
    (57425, KeyCode::Insert, 0),
    (57426, KeyCode::Delete, 0),
];

/// `ESC O` letters of the keypad that stand for other keys, as some terminals send them.
pub(super) fn from_application_keypad(letter: u8) -> Option<KeyCode> {
    KEYPAD.iter().find(|entry| entry.2 == letter).map(|entry| entry.1)
}

/// The letter of a keypad key in the application's keypad mode.
pub(super) fn application_keypad(code: KeyCode) -> Option<u8> {
    KEYPAD.iter().find(|entry| entry.1 == code && entry.2 != 0).map(|entry| entry.2)
}

/// How xterm writes a key; nothing for characters and what xterm does not have.
pub(super) fn legacy(code: KeyCode) -> Option<Form> {
    if code == KeyCode::F(3) {
        return Some(Form { number: 1, letter: b'R' });
    }
    let (_, number, letter) = LEGACY.iter().find(|entry| entry.0 == code)?;
    Some(Form { number: *number, letter: *letter })
}

/// How kitty's protocol writes a key that makes no text.
pub(super) fn kitty(code: KeyCode, keypad: bool) -> Option<Form> {
    if keypad && let Some(entry) = KEYPAD.iter().find(|entry| entry.1 == code) {
        return Some(Form { number: entry.0, letter: b'u' });
    }
    match code {
        // Not the letter R, which is that of a cursor position report.
        KeyCode::F(3) => return Some(Form { number: 13, letter: b'~' }),
        KeyCode::F(n @ 13..=35) => return Some(Form { number: 57376 - 13 + u32::from(n), letter: b'u' }),
        KeyCode::Menu => {}
        _ => {
            if let Some(form) = legacy(code) {
                return Some(form);
            }
        }
    }
    let (number, _) = KITTY.iter().find(|entry| entry.1 == code)?;
    Some(Form { number: *number, letter: b'u' })
}

/// The key of `CSI number ~`.
pub(super) fn from_tilde(number: u32) -> Option<KeyCode> {
    match number {
        1 => return Some(KeyCode::Home),
        4 => return Some(KeyCode::End),
        _ => {}
    }
    LEGACY.iter().find(|entry| entry.2 == b'~' && entry.1 == number).map(|entry| entry.0)
}

/// The key of `CSI letter`, or of `ESC O letter`.
pub(super) fn from_letter(letter: u8) -> Option<KeyCode> {
    if letter == b'R' {
        return Some(KeyCode::F(3));
    }
    LEGACY.iter().find(|entry| entry.2 == letter && letter != b'~').map(|entry| entry.0)
}

/// The key of a number kitty gives to keys without text, and whether it is on the keypad.
pub(super) fn from_kitty(number: u32) -> Option<(KeyCode, bool)> {
    if let Some(entry) = KEYPAD.iter().find(|entry| entry.0 == number) {
        return Some((entry.1, true));
    }
    if (57376..=57398).contains(&number) {
        return Some((KeyCode::F((number - 57376) as u8 + 13), false));
    }
    KITTY.iter().find(|entry| entry.0 == number).map(|entry| (entry.1, false))
}
