//! Writing a key as the program in a pane expects it.
//!
//! Three ways, by what the program asked for: kitty's keyboard protocol
//! (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>), xterm's modifyOtherKeys
//! (<https://invisible-island.net/xterm/modified-keys.html>), or neither, which is the VT220's way with xterm's
//! modifiers.

use crossterm::event::{KeyCode, KeyEventKind, KeyEventState, KeyModifiers};

use super::Key;
use super::functional::{self, Form};

/// Kitty's flags (the program pushes, or sets, a set of these).
pub mod kitty {
    /// Keys that would be ambiguous get a sequence of their own.
    pub const DISAMBIGUATE: u8 = 1;
    /// Repeats and releases are told.
    pub const EVENT_TYPES: u8 = 2;
    /// The shifted character and the one of a US keyboard are told.
    pub const ALTERNATES: u8 = 4;
    /// Every key is a sequence, also those that make text.
    pub const ALL_KEYS: u8 = 8;
    /// The text is told with them.
    pub const TEXT: u8 = 16;
}

/// The modes of a program that change how keys are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyModes {
    /// DECCKM.
    pub application_cursor: bool,
    /// DECKPAM.
    pub application_keypad: bool,
    /// LNM: Enter is CR LF.
    pub newline: bool,
    /// See [`kitty`].
    pub kitty: u8,
    /// 0, 1 or 2.
    pub modify_other_keys: u16,
}

impl From<lap_vt::Modes> for KeyModes {
    fn from(modes: lap_vt::Modes) -> KeyModes {
        KeyModes {
            application_cursor: modes.application_cursor,
            application_keypad: modes.application_keypad,
            newline: modes.newline,
            kitty: modes.kitty_keyboard,
            modify_other_keys: modes.modify_other_keys,
        }
    }
}

/// Appends what the program is to get for `key`; nothing where it is to get nothing.
pub fn encode_key(key: &Key, modes: &KeyModes, out: &mut Vec<u8>) {
    if modes.kitty != 0 {
        encode_kitty(key, modes, out);
    } else if key.is_down() {
        encode_legacy(key, modes, out);
    }
}

/// One more than a bit for each modifier: Shift 1, Alt 2, Ctrl 4, Super 8, Hyper 16, Meta 32.
fn modifier_number(modifiers: KeyModifiers) -> u32 {
    let bits = [
        (KeyModifiers::SHIFT, 1),
        (KeyModifiers::ALT, 2),
        (KeyModifiers::CONTROL, 4),
        (KeyModifiers::SUPER, 8),
        (KeyModifiers::HYPER, 16),
        (KeyModifiers::META, 32),
    ];
    1 + bits.iter().filter(|(modifier, _)| modifiers.contains(*modifier)).map(|(_, bit)| bit).sum::<u32>()
}

/// The modifiers of a key, with Shift where the code itself means it.
fn modifiers(key: &Key) -> KeyModifiers {
    let shift = if key.code == KeyCode::BackTab { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    key.modifiers | shift
}

/// The character of a key without Shift.
fn unshifted(c: char, modifiers: KeyModifiers) -> char {
    if !modifiers.contains(KeyModifiers::SHIFT) {
        return c;
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// What a character key makes with the Shift that is held.
fn shifted(key: &Key, c: char) -> char {
    if !key.modifiers.contains(KeyModifiers::SHIFT) {
        return c;
    }
    if let Some(shifted) = key.shifted {
        return shifted;
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

// Kitty's protocol.

fn encode_kitty(key: &Key, modes: &KeyModes, out: &mut Vec<u8>) {
    let has = |flag| modes.kitty & flag != 0;
    let all = has(kitty::ALL_KEYS);
    let mods = modifiers(key);
    if key.kind == KeyEventKind::Release {
        // Enter, Tab and Backspace keep to one byte each, so that a shell stays usable after a crash.
        let plain = matches!(key.code, KeyCode::Enter | KeyCode::Tab | KeyCode::BackTab | KeyCode::Backspace);
        if !has(kitty::EVENT_TYPES) || (plain && !all) {
            return;
        }
    }
    if is_modifier(key.code) && !all {
        return;
    }
    let event = match key.kind {
        _ if !has(kitty::EVENT_TYPES) => 1,
        KeyEventKind::Press => 1,
        KeyEventKind::Repeat => 2,
        KeyEventKind::Release => 3,
    };
    let keypad = key.state.contains(KeyEventState::KEYPAD);
    let only_shift = (mods - KeyModifiers::SHIFT).is_empty();
    if !all
        && event != 3
        && only_shift
        && let KeyCode::Char(c) = key.code
    {
        let mut bytes = [0; 4];
        out.extend_from_slice(shifted(key, c).encode_utf8(&mut bytes).as_bytes());
        return;
    }
    if !all
        && mods.is_empty()
        && !keypad
        && event != 3
        && let Some(byte) = plain_byte(key.code)
    {
        out.push(byte);
        return;
    }
    if modes.application_cursor
        && mods.is_empty()
        && event == 1
        && !keypad
        && !all
        && is_cursor(key.code)
        && let Some(form) = functional::legacy(key.code)
    {
        out.extend_from_slice(&[0x1b, b'O', form.letter]);
        return;
    }
    let form = match key.code {
        KeyCode::Char(c) if !keypad => Form { number: u32::from(unshifted(c, key.modifiers)), letter: b'u' },
        KeyCode::Enter if !keypad => Form { number: 13, letter: b'u' },
        KeyCode::Esc => Form { number: 27, letter: b'u' },
        KeyCode::Tab | KeyCode::BackTab => Form { number: 9, letter: b'u' },
        KeyCode::Backspace => Form { number: 127, letter: b'u' },
        code => match functional::kitty(code, keypad) {
            Some(form) => form,
            None => return,
        },
    };
    write_kitty(key, form, mods, event, modes.kitty, out);
}

/// `CSI number[:shifted[:base]] [; modifiers[:event] [; text]] letter`.
fn write_kitty(key: &Key, form: Form, mods: KeyModifiers, event: u8, flags: u8, out: &mut Vec<u8>) {
    let mut number = form.number.to_string();
    if flags & kitty::ALTERNATES != 0
        && let KeyCode::Char(c) = key.code
        && form.letter == b'u'
    {
        let with_shift = shifted(key, unshifted(c, key.modifiers));
        let with_shift = (u32::from(with_shift) != form.number
            && key.modifiers.contains(KeyModifiers::SHIFT))
        .then_some(with_shift);
        let base = key.base.filter(|base| u32::from(*base) != form.number);
        match (with_shift, base) {
            (Some(shifted), None) => number.push_str(&format!(":{}", u32::from(shifted))),
            (Some(shifted), Some(base)) => {
                number.push_str(&format!(":{}:{}", u32::from(shifted), u32::from(base)))
            }
            (None, Some(base)) => number.push_str(&format!("::{}", u32::from(base))),
            (None, None) => {}
        }
    }
    let mut modifier_number = modifier_number(mods);
    // Of keys that make text, as text, no locks are told; whatever is a sequence has them.
    let locks = [(KeyEventState::CAPS_LOCK, 64), (KeyEventState::NUM_LOCK, 128)];
    modifier_number +=
        locks.iter().filter(|(lock, _)| key.state.contains(*lock)).map(|(_, bit)| bit).sum::<u32>();
    let text = text(key, mods, event, flags);
    let mut middle = String::new();
    if modifier_number != 1 || event != 1 {
        middle = modifier_number.to_string();
        if event != 1 {
            middle.push_str(&format!(":{event}"));
        }
    }
    out.extend_from_slice(b"\x1b[");
    let bare = middle.is_empty() && text.is_none() && form.number == 1 && form.letter != b'u';
    if !bare {
        out.extend_from_slice(number.as_bytes());
    }
    if !middle.is_empty() || text.is_some() {
        out.push(b';');
        out.extend_from_slice(middle.as_bytes());
    }
    if let Some(text) = text {
        out.push(b';');
        out.extend_from_slice(text.as_bytes());
    }
    out.push(form.letter);
}

/// The third parameter: code points of the text a key makes.
fn text(key: &Key, mods: KeyModifiers, event: u8, flags: u8) -> Option<String> {
    if flags & kitty::TEXT == 0 || flags & kitty::ALL_KEYS == 0 || event == 3 {
        return None;
    }
    let points = |text: &str| text.chars().map(|c| u32::from(c).to_string()).collect::<Vec<_>>().join(":");
    if let Some(text) = &key.text {
        return Some(points(text)).filter(|text| !text.is_empty());
    }
    match key.code {
        KeyCode::Char(c) if (mods - KeyModifiers::SHIFT).is_empty() => {
            Some(u32::from(shifted(key, c)).to_string())
        }
        _ => None,
    }
}

fn is_modifier(code: KeyCode) -> bool {
    matches!(code, KeyCode::Modifier(_) | KeyCode::CapsLock | KeyCode::NumLock | KeyCode::ScrollLock)
}

fn is_cursor(code: KeyCode) -> bool {
    matches!(
        code,
        KeyCode::Up | KeyCode::Down | KeyCode::Left | KeyCode::Right | KeyCode::Home | KeyCode::End
    )
}

/// The three keys that stay one byte under kitty's protocol.
fn plain_byte(code: KeyCode) -> Option<u8> {
    match code {
        KeyCode::Enter => Some(b'\r'),
        KeyCode::Tab => Some(b'\t'),
        KeyCode::Backspace => Some(0x7f),
        _ => None,
    }
}

// xterm's way.

fn encode_legacy(key: &Key, modes: &KeyModes, out: &mut Vec<u8>) {
    let mods = modifiers(key);
    let keypad = key.state.contains(KeyEventState::KEYPAD);
    if keypad
        && modes.application_keypad
        && mods.is_empty()
        && !key.state.contains(KeyEventState::NUM_LOCK)
        && let Some(letter) = functional::application_keypad(key.code)
    {
        out.extend_from_slice(&[0x1b, b'O', letter]);
        return;
    }
    match key.code {
        KeyCode::Char(c) => legacy_char(key, c, mods, modes, out),
        KeyCode::Enter | KeyCode::Tab | KeyCode::BackTab | KeyCode::Backspace | KeyCode::Esc => {
            legacy_control(key.code, mods, modes, out);
        }
        code => legacy_functional(code, mods, modes, out),
    }
}

/// `CSI 27 ; modifiers ; code ~`.
fn other_key(code: u32, mods: KeyModifiers, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\x1b[27;{};{code}~", modifier_number(mods)).as_bytes());
}

fn legacy_char(key: &Key, written: char, mods: KeyModifiers, modes: &KeyModes, out: &mut Vec<u8>) {
    let control = mods.contains(KeyModifiers::CONTROL);
    let alt = mods.contains(KeyModifiers::ALT);
    let shift = mods.contains(KeyModifiers::SHIFT);
    let strange = !(mods - KeyModifiers::SHIFT - KeyModifiers::ALT - KeyModifiers::CONTROL).is_empty();
    // With Ctrl and Alt a key without a Latin character is the one in its place on a US keyboard, as in kitty itself.
    let place = key.base.filter(|_| (control || alt) && !written.is_ascii());
    let c = place.unwrap_or(written);
    let shifted = if place.is_some() { c } else { shifted(key, c) };
    let byte = control.then(|| control_byte(shifted).or_else(|| control_byte(unshifted(c, mods)))).flatten();
    let other = match modes.modify_other_keys {
        0 => false,
        // Only what would else be lost, and what would else be Backspace.
        1 => strange || (control && (byte.is_none() || (byte == Some(0x7f) && shift))),
        _ if (mods - KeyModifiers::SHIFT).is_empty() => shift && c.is_ascii_alphabetic(),
        _ => true,
    };
    if other {
        other_key(u32::from(shifted), mods, out);
        return;
    }
    if alt {
        out.push(0x1b);
    }
    if let Some(byte) = byte {
        out.push(byte);
    } else {
        let mut bytes = [0; 4];
        out.extend_from_slice(shifted.encode_utf8(&mut bytes).as_bytes());
    }
}

/// What Ctrl makes of a character.
fn control_byte(c: char) -> Option<u8> {
    Some(match c {
        'a'..='z' => c as u8 - b'a' + 1,
        ' ' | '@' | '2' | '`' => 0,
        '[' | '3' | '{' => 0x1b,
        '\\' | '4' | '|' => 0x1c,
        ']' | '5' | '}' => 0x1d,
        '^' | '6' | '~' => 0x1e,
        '_' | '7' | '/' => 0x1f,
        '?' | '8' => 0x7f,
        _ => return None,
    })
}

fn legacy_control(code: KeyCode, mods: KeyModifiers, modes: &KeyModes, out: &mut Vec<u8>) {
    let has = |modifier| mods.contains(modifier);
    let (shift, control) = (has(KeyModifiers::SHIFT), has(KeyModifiers::CONTROL));
    let (number, byte) = match code {
        KeyCode::Enter => (13, b'\r'),
        KeyCode::Tab | KeyCode::BackTab => (9, b'\t'),
        KeyCode::Backspace if control => (8, 0x08),
        KeyCode::Backspace => (127, 0x7f),
        _ => (27, 0x1b),
    };
    let strange = !(mods - KeyModifiers::SHIFT - KeyModifiers::ALT - KeyModifiers::CONTROL).is_empty();
    // As xterm does, which keeps what has bytes of its own.
    let other = match (modes.modify_other_keys, number) {
        (0, _) => false,
        (1, 13) => !(mods - KeyModifiers::ALT).is_empty(),
        (1, 9) => (control && !shift) || strange,
        (1, _) => strange,
        (_, 9) => !mods.is_empty() && mods != KeyModifiers::SHIFT,
        (_, 8) => mods != KeyModifiers::CONTROL,
        _ => !mods.is_empty(),
    };
    if other {
        other_key(number, mods, out);
        return;
    }
    if mods.contains(KeyModifiers::ALT) {
        out.push(0x1b);
    }
    if number == 9 && mods.contains(KeyModifiers::SHIFT) {
        out.extend_from_slice(b"\x1b[Z");
        return;
    }
    out.push(byte);
    if code == KeyCode::Enter && modes.newline {
        out.push(b'\n');
    }
}

fn legacy_functional(code: KeyCode, mods: KeyModifiers, modes: &KeyModes, out: &mut Vec<u8>) {
    let Some(form) = functional::legacy(code) else { return };
    let single = matches!(code, KeyCode::F(1..=4)) || (is_cursor(code) && modes.application_cursor);
    let number = modifier_number(mods);
    let text = match (number, form.letter) {
        (1, b'~') => format!("\x1b[{}~", form.number),
        (1, letter) if single => format!("\x1bO{}", char::from(letter)),
        (1, letter) => format!("\x1b[{}", char::from(letter)),
        (number, letter) => format!("\x1b[{};{number}{}", form.number, char::from(letter)),
    };
    out.extend_from_slice(text.as_bytes());
}
