//! What a whole sequence of a terminal's input means.

use crossterm::event::{
    KeyCode, KeyEventKind, KeyEventState, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::parse::What;
use super::scan::Known;
use super::{InputEvent, Key, functional};

fn key(code: KeyCode, modifiers: KeyModifiers) -> What {
    What::Event(InputEvent::Key(Key::new(code, modifiers)))
}

/// Escape by itself.
pub(super) fn escape() -> What {
    key(KeyCode::Esc, KeyModifiers::NONE)
}

/// Alt and an ASCII character, or Alt and Escape.
pub(super) fn alt(byte: u8) -> What {
    character(char::from(byte), true)
}

/// The same key with Alt held as well; nothing where it is no key.
pub(super) fn with_alt(what: What) -> Option<What> {
    let What::Event(InputEvent::Key(mut key)) = what else { return None };
    key.modifiers |= KeyModifiers::ALT;
    Some(What::Event(InputEvent::Key(key)))
}

/// A character that came as itself: text, or what Ctrl made of a key.
pub(super) fn character(c: char, alt: bool) -> What {
    let alt = if alt { KeyModifiers::ALT } else { KeyModifiers::NONE };
    let control = KeyModifiers::CONTROL | alt;
    match c {
        '\r' => key(KeyCode::Enter, alt),
        '\t' => key(KeyCode::Tab, alt),
        '\x7f' => key(KeyCode::Backspace, alt),
        '\x1b' => key(KeyCode::Esc, alt),
        '\0' => key(KeyCode::Char(' '), control),
        '\x01'..='\x1a' => key(KeyCode::Char(char::from(c as u8 - 1 + b'a')), control),
        '\x1c'..='\x1f' => key(KeyCode::Char(char::from(c as u8 - 0x1c + b'\\')), control),
        c if c.is_uppercase() => key(KeyCode::Char(c), alt | KeyModifiers::SHIFT),
        c => key(KeyCode::Char(c), alt),
    }
}

/// `ESC O letter`, with the number of the modifiers where there is one.
pub(super) fn ss3(number: Option<u8>, letter: u8) -> Option<What> {
    let (held, _) = modifiers(u32::from(number.unwrap_or(1)));
    if let Some(code) = functional::from_letter(letter) {
        return Some(key(code, held));
    }
    if let (Some(code), None) = (rxvt_arrow(letter), number) {
        return Some(key(code, KeyModifiers::CONTROL));
    }
    let code = functional::from_application_keypad(letter)?;
    let mut pressed = Key::new(code, held);
    pressed.state = KeyEventState::KEYPAD;
    Some(What::Event(InputEvent::Key(pressed)))
}

/// rxvt writes arrows in small letters: after `CSI` with Shift, after `ESC O` with Ctrl.
fn rxvt_arrow(letter: u8) -> Option<KeyCode> {
    matches!(letter, b'a'..=b'd').then(|| functional::from_letter(letter.to_ascii_uppercase())).flatten()
}

/// rxvt's `CSI number` and then, instead of `~`, `$` with Shift, `^` with Ctrl, `@` with both.
pub(super) fn rxvt(number: &[u8], last: u8) -> What {
    let held = match last {
        b'$' => KeyModifiers::SHIFT,
        b'^' => KeyModifiers::CONTROL,
        _ => KeyModifiers::SHIFT | KeyModifiers::CONTROL,
    };
    let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
    number.and_then(functional::from_tilde).map_or(What::Unknown, |code| key(code, held))
}

/// `CSI [ letter`: the Linux console's F1 to F5.
pub(super) fn console(letter: u8) -> What {
    match letter {
        b'A'..=b'E' => key(KeyCode::F(letter - b'A' + 1), KeyModifiers::NONE),
        _ => What::Unknown,
    }
}

/// `CSI body letter`. `known`: what is known of the terminal.
pub(super) fn csi(body: &[u8], letter: u8, known: Known) -> What {
    match (body.first(), letter) {
        (Some(b'<'), b'M' | b'm') => sgr_mouse(&body[1..], letter == b'm').unwrap_or(What::Unknown),
        // Device attributes, private modes, kitty's flags, XTVERSION's kin: only terminals send these.
        (Some(b'?' | b'>' | b'='), _) => What::Reply,
        (None, b'I') => What::Event(InputEvent::Focus(true)),
        (None, b'O') => What::Event(InputEvent::Focus(false)),
        (None, b'Z') => key(KeyCode::BackTab, KeyModifiers::SHIFT),
        // Status, window reports, modes (with `$`), parameters.
        (Some(_), b'n' | b't' | b'y' | b'x' | b'c') => What::Reply,
        (Some(_), b'M') => urxvt_mouse(body).unwrap_or(What::Unknown),
        (Some(_), b'^' | b'@') => rxvt(body, letter),
        (None, b'a'..=b'd') => {
            rxvt_arrow(letter).map_or(What::Unknown, |code| key(code, KeyModifiers::SHIFT))
        }
        // Kitty's F1, F2 and F4; st's Delete.
        (None, b'P' | b'Q' | b'S') if !known.kitty => What::Unknown,
        _ => keyboard(body, letter, known),
    }
}

/// Parameters of a keyboard sequence: each a list of numbers between colons.
fn parameters(body: &[u8]) -> Option<Vec<Vec<Option<u32>>>> {
    let text = std::str::from_utf8(body).ok()?;
    let number = |part: &str| if part.is_empty() { Some(None) } else { part.parse().ok().map(Some) };
    text.split(';').map(|parameter| parameter.split(':').map(number).collect()).collect()
}

/// Whether `CSI 1 ; number R` is F3 with these modifiers and not the cursor in the first row: xterm's, and locks.
fn is_f3(row: u32, number: u32) -> bool {
    row == 1 && (2..=256).contains(&number)
}

fn keyboard(body: &[u8], letter: u8, known: Known) -> What {
    let Some(parameters) = parameters(body) else { return What::Unknown };
    let at =
        |i: usize, j: usize| parameters.get(i).and_then(|p: &Vec<Option<u32>>| p.get(j)).copied().flatten();
    let number = at(0, 0).unwrap_or(1);
    let plain = parameters.iter().all(|parameter| parameter.len() == 1);
    if letter == b'R'
        && parameters.len() == 2
        && plain
        && (known.report_due || !is_f3(number, at(1, 0).unwrap_or(0)))
    {
        return What::Reply;
    }
    let other_keys = letter == b'~' && number == 27 && parameters.len() == 3;
    let (code, keypad) = match letter {
        b'u' => match from_number(number) {
            Some(found) => found,
            None => return What::Unknown,
        },
        b'~' if other_keys => match at(2, 0).and_then(from_number) {
            Some(found) => found,
            None => return What::Unknown,
        },
        b'~' => match functional::from_tilde(number) {
            Some(code) => (code, false),
            None => return What::Unknown,
        },
        _ => match functional::from_letter(letter) {
            Some(code) => (code, false),
            None => return What::Unknown,
        },
    };
    let (modifiers, mut state) = modifiers(at(1, 0).unwrap_or(1));
    if keypad {
        state |= KeyEventState::KEYPAD;
    }
    let kind = match at(1, 1) {
        Some(2) => KeyEventKind::Repeat,
        Some(3) => KeyEventKind::Release,
        _ => KeyEventKind::Press,
    };
    let text = if other_keys { None } else { parameters.get(2) };
    let text: Option<String> =
        text.and_then(|points| points.iter().map(|p| p.and_then(char::from_u32)).collect());
    let character = |j| if letter == b'u' { at(0, j).and_then(char::from_u32) } else { None };
    let code = if code == KeyCode::Tab && modifiers == KeyModifiers::SHIFT { KeyCode::BackTab } else { code };
    What::Event(InputEvent::Key(Key {
        code,
        modifiers,
        kind,
        state,
        shifted: character(1),
        base: character(2),
        text: text.filter(|text| !text.is_empty()),
    }))
}

/// A key by its number in kitty's protocol or modifyOtherKeys, and whether it is on the keypad.
fn from_number(number: u32) -> Option<(KeyCode, bool)> {
    let code = match number {
        9 => KeyCode::Tab,
        13 => KeyCode::Enter,
        27 => KeyCode::Esc,
        127 => KeyCode::Backspace,
        _ => {
            // Kitty's keys are in a private area of Unicode.
            if let Some(found) = functional::from_kitty(number) {
                return Some(found);
            }
            if functional::KITTY_AREA.contains(&number) {
                return None;
            }
            KeyCode::Char(char::from_u32(number).filter(|c| !c.is_control())?)
        }
    };
    Some((code, false))
}

fn modifiers(number: u32) -> (KeyModifiers, KeyEventState) {
    let bits = number.saturating_sub(1);
    let modifiers = [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
        (8, KeyModifiers::SUPER),
        (16, KeyModifiers::HYPER),
        (32, KeyModifiers::META),
    ];
    let locks = [(64, KeyEventState::CAPS_LOCK), (128, KeyEventState::NUM_LOCK)];
    (
        modifiers.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, modifier)| *modifier).collect(),
        locks.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, lock)| *lock).collect(),
    )
}

// The mouse.

fn sgr_mouse(body: &[u8], released: bool) -> Option<What> {
    let [code, x, y] = numbers(body)?;
    mouse(code, x, y, released)
}

fn urxvt_mouse(body: &[u8]) -> Option<What> {
    let [code, x, y] = numbers(body)?;
    let code = code.checked_sub(32)?;
    mouse(code, x, y, code & 3 == 3 && code & (32 | 64) == 0)
}

/// The three characters of the first encoding.
pub(super) fn x10_mouse(numbers: [u32; 3]) -> What {
    let [code, x, y] = numbers.map(|number| number.saturating_sub(32));
    mouse(code, x, y, code & 3 == 3 && code & (32 | 64) == 0).unwrap_or(What::Unknown)
}

fn numbers(body: &[u8]) -> Option<[u32; 3]> {
    let mut parts = std::str::from_utf8(body).ok()?.split(';').map(|part| part.parse().ok());
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn mouse(code: u32, x: u32, y: u32, released: bool) -> Option<What> {
    let button = match code & 3 {
        1 => MouseButton::Middle,
        2 => MouseButton::Right,
        // 3: a release that does not say of which; the left one's is what programs act on.
        _ => MouseButton::Left,
    };
    let kind = match (code & 64 != 0, code & 32 != 0) {
        (true, _) => match code & 3 {
            0 => MouseEventKind::ScrollUp,
            1 => MouseEventKind::ScrollDown,
            2 => MouseEventKind::ScrollLeft,
            _ => MouseEventKind::ScrollRight,
        },
        (false, true) if code & 3 == 3 => MouseEventKind::Moved,
        (false, true) => MouseEventKind::Drag(button),
        (false, false) if released => MouseEventKind::Up(button),
        (false, false) => MouseEventKind::Down(button),
    };
    let bits = [(4, KeyModifiers::SHIFT), (8, KeyModifiers::ALT), (16, KeyModifiers::CONTROL)];
    let modifiers = bits.iter().filter(|(bit, _)| code & bit != 0).map(|(_, modifier)| *modifier).collect();
    let column = u16::try_from(x.checked_sub(1)?).ok()?;
    let row = u16::try_from(y.checked_sub(1)?).ok()?;
    Some(What::Event(InputEvent::Mouse(MouseEvent { kind, column, row, modifiers })))
}
