//! Writing the mouse as the program in a pane expects it.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lap_vt::{Modes, MouseEncoding, MouseTracking};

/// The largest coordinate the first encoding, of a byte each, can say.
const MAX_BYTE_COORDINATE: u16 = 223;
/// And the one with UTF-8 characters.
const MAX_UTF8_COORDINATE: u16 = 2015;

/// Whether the program takes the mouse at all.
#[must_use]
pub fn takes_mouse(modes: &Modes) -> bool {
    modes.mouse != MouseTracking::Off
}

/// Appends what the program is to get for a mouse event at a cell of its own screen, counted from 0; nothing where it
/// has not asked for such events.
pub fn encode_mouse(event: &MouseEvent, column: u16, row: u16, modes: &Modes, out: &mut Vec<u8>) {
    let Some(code) = code(event.kind, modes.mouse) else { return };
    let released = matches!(event.kind, MouseEventKind::Up(_));
    let held = if modes.mouse == MouseTracking::X10 { 0 } else { modifier_bits(event.modifiers) };
    let (x, y) = (column.saturating_add(1), row.saturating_add(1));
    match modes.mouse_encoding {
        // Cells stand in for pixels, which nobody here knows.
        MouseEncoding::Sgr | MouseEncoding::SgrPixels => {
            let last = if released { 'm' } else { 'M' };
            out.extend_from_slice(format!("\x1b[<{};{x};{y}{last}", code + held).as_bytes());
        }
        encoding => {
            // These cannot say which button was released.
            let code = if released { 3 + held } else { code + held };
            match encoding {
                MouseEncoding::Urxvt => {
                    out.extend_from_slice(format!("\x1b[{};{x};{y}M", code + 32).as_bytes());
                }
                MouseEncoding::Utf8 if x <= MAX_UTF8_COORDINATE && y <= MAX_UTF8_COORDINATE => {
                    out.extend_from_slice(b"\x1b[M");
                    for number in [code, x, y] {
                        let c = char::from_u32(u32::from(number) + 32).unwrap_or(' ');
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                MouseEncoding::Default if x <= MAX_BYTE_COORDINATE && y <= MAX_BYTE_COORDINATE => {
                    out.extend_from_slice(b"\x1b[M");
                    out.extend([code, x, y].map(|number| (number + 32) as u8));
                }
                _ => {}
            }
        }
    }
}

fn code(kind: MouseEventKind, tracking: MouseTracking) -> Option<u16> {
    let button = |button| match button {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    };
    let (code, needs) = match kind {
        MouseEventKind::Down(b) => (button(b), MouseTracking::X10),
        MouseEventKind::Up(b) => (button(b), MouseTracking::Normal),
        MouseEventKind::Drag(b) => (button(b) + 32, MouseTracking::Button),
        MouseEventKind::Moved => (3 + 32, MouseTracking::Any),
        MouseEventKind::ScrollUp => (64, MouseTracking::Normal),
        MouseEventKind::ScrollDown => (65, MouseTracking::Normal),
        MouseEventKind::ScrollLeft => (66, MouseTracking::Normal),
        MouseEventKind::ScrollRight => (67, MouseTracking::Normal),
    };
    let rank = |tracking| match tracking {
        MouseTracking::Off => 0,
        MouseTracking::X10 => 1,
        MouseTracking::Normal => 2,
        MouseTracking::Button => 3,
        MouseTracking::Any => 4,
    };
    (rank(tracking) >= rank(needs)).then_some(code)
}

fn modifier_bits(modifiers: KeyModifiers) -> u16 {
    let bits = [(KeyModifiers::SHIFT, 4), (KeyModifiers::ALT, 8), (KeyModifiers::CONTROL, 16)];
    bits.iter().filter(|(modifier, _)| modifiers.contains(*modifier)).map(|(_, bit)| bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: MouseEventKind, at: (u16, u16), modifiers: KeyModifiers, modes: Modes) -> Vec<u8> {
        let event = MouseEvent { kind, column: 0, row: 0, modifiers };
        let mut out = Vec::new();
        encode_mouse(&event, at.0, at.1, &modes, &mut out);
        out
    }

    fn modes(mouse: MouseTracking, mouse_encoding: MouseEncoding) -> Modes {
        Modes { mouse, mouse_encoding, ..Modes::default() }
    }

    const LEFT_DOWN: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
    const RIGHT_UP: MouseEventKind = MouseEventKind::Up(MouseButton::Right);
    const NONE: KeyModifiers = KeyModifiers::NONE;

    #[test]
    fn each_encoding_says_the_same_in_its_own_way() {
        let cases: [(MouseEncoding, &[u8], &[u8]); 4] = [
            (MouseEncoding::Default, b"\x1b[M \x21\x22", b"\x1b[M#\x2b\x22"),
            (MouseEncoding::Utf8, b"\x1b[M \x21\x22", b"\x1b[M#\x2b\x22"),
            (MouseEncoding::Urxvt, b"\x1b[32;1;2M", b"\x1b[35;11;2M"),
            (MouseEncoding::Sgr, b"\x1b[<0;1;2M", b"\x1b[<2;11;2m"),
        ];
        for (encoding, down, up) in cases {
            let modes = modes(MouseTracking::Normal, encoding);
            assert_eq!(encoded(LEFT_DOWN, (0, 1), NONE, modes), down, "{encoding:?}");
            assert_eq!(encoded(RIGHT_UP, (10, 1), NONE, modes), up, "{encoding:?}");
        }
    }

    #[test]
    fn what_an_encoding_cannot_say_is_not_said() {
        let x10 = modes(MouseTracking::Normal, MouseEncoding::Default);
        assert_eq!(encoded(LEFT_DOWN, (222, 0), NONE, x10), b"\x1b[M \xff\x21");
        assert_eq!(encoded(LEFT_DOWN, (223, 0), NONE, x10), b"");
        let utf8 = modes(MouseTracking::Normal, MouseEncoding::Utf8);
        assert_eq!(encoded(LEFT_DOWN, (223, 0), NONE, utf8), "\x1b[M \u{100}!".as_bytes());
        assert_eq!(encoded(LEFT_DOWN, (3000, 0), NONE, utf8), b"");
        let sgr = modes(MouseTracking::Normal, MouseEncoding::Sgr);
        assert_eq!(encoded(LEFT_DOWN, (3000, 0), NONE, sgr), b"\x1b[<0;3001;1M");
    }

    #[test]
    fn a_program_gets_only_the_events_it_asked_for() {
        let got =
            |kind, tracking| !encoded(kind, (0, 0), NONE, modes(tracking, MouseEncoding::Sgr)).is_empty();
        let drag = MouseEventKind::Drag(MouseButton::Left);
        let table = [
            (MouseTracking::Off, [false, false, false, false]),
            (MouseTracking::X10, [true, false, false, false]),
            (MouseTracking::Normal, [true, true, false, false]),
            (MouseTracking::Button, [true, true, true, false]),
            (MouseTracking::Any, [true, true, true, true]),
        ];
        for (tracking, expected) in table {
            let kinds = [LEFT_DOWN, RIGHT_UP, drag, MouseEventKind::Moved];
            assert_eq!(kinds.map(|kind| got(kind, tracking)), expected, "{tracking:?}");
        }
    }

    #[test]
    fn modifiers_and_the_wheel_are_told() {
        let sgr = modes(MouseTracking::Any, MouseEncoding::Sgr);
        let all = KeyModifiers::ALT | KeyModifiers::CONTROL | KeyModifiers::SHIFT;
        assert_eq!(encoded(MouseEventKind::ScrollUp, (4, 5), all, sgr), b"\x1b[<92;5;6M");
        assert_eq!(encoded(MouseEventKind::ScrollDown, (0, 0), NONE, sgr), b"\x1b[<65;1;1M");
        assert_eq!(encoded(MouseEventKind::Moved, (0, 0), NONE, sgr), b"\x1b[<35;1;1M");
    }
}
