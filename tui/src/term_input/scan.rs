//! How far a sequence goes in a terminal's input, and what it is. Pure: the same bytes are always the same.

use super::decode;
use super::parse::What;

/// The longest control sequence; what is longer is passed on as it is.
const MAX_SEQUENCE: usize = 1024;
/// The longest string (an answer with colours, a clipboard): longer ones are passed on in pieces.
const MAX_STRING: usize = 64 * 1024;

pub(super) const PASTE_BEGIN: &[u8] = b"\x1b[200~";
pub(super) const PASTE_END: &[u8] = b"\x1b[201~";

/// What tells sequences apart that terminals use for different things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// A cursor report has been asked for.
    pub(super) report_due: bool,
    /// The terminal may write keys as kitty's protocol has them.
    pub(super) kitty: bool,
}

/// How far a sequence goes.
pub(super) enum Reach {
    /// It ends here, and is that.
    Whole(usize, What),
    /// More bytes must come.
    Partial,
}

/// The next token within a paste; partial where only the beginning of its end is there.
pub(super) fn pasted(bytes: &[u8]) -> Reach {
    if bytes.starts_with(PASTE_END) {
        return Reach::Whole(PASTE_END.len(), What::PasteEnd);
    }
    let end =
        (0..bytes.len()).find(|at| PASTE_END.starts_with(&bytes[*at..bytes.len().min(at + PASTE_END.len())]));
    match end {
        Some(0) => Reach::Partial,
        Some(at) => Reach::Whole(at, What::Pasted),
        None => Reach::Whole(bytes.len(), What::Pasted),
    }
}

/// Whether this may be a key that a person pressed: Escape, or Alt with what also introduces sequences.
pub(super) fn is_ambiguous(bytes: &[u8]) -> bool {
    alone(bytes).is_some()
}

/// An unfinished sequence as the key it is if nothing follows it; nothing where it can be none.
pub(super) fn alone(bytes: &[u8]) -> Option<(usize, What)> {
    match bytes {
        [0x1b] => Some((1, decode::escape())),
        [0x1b, next @ (b'[' | b'O' | b']' | b'P' | b'_' | 0x1b)] => Some((2, decode::alt(*next))),
        // A key of its own in st; the first mouse encoding comes in one piece.
        [0x1b, b'[', b'M'] => Some((3, What::Unknown)),
        // Alt, and the number of a modifier that no letter follows.
        [0x1b, b'O', b'1'..=b'9'] => Some((2, decode::alt(b'O'))),
        // Escape, and Alt with one of these.
        [0x1b, 0x1b, b'[' | b'O'] => Some((1, decode::escape())),
        _ => None,
    }
}

/// Whether `rest`, read at once, goes on with a sequence whose beginning was taken for a key. Only what no person types
/// so fast counts: parameters, and the arrows.
pub(super) fn is_rest(begun: &[u8], rest: &[u8]) -> bool {
    let whole = [begun, rest].concat();
    let introducer = |len: usize| whole.get(len..).unwrap_or_default();
    match whole.get(..2) {
        _ if rest.len() < 2 => false,
        Some(b"\x1b[") => matches!(
            introducer(2),
            [b'<' | b'?' | b'>', b'0'..=b'9', ..]
                | [b'0'..=b'9', b'0'..=b'9' | b';' | b':' | b'~' | b'^' | b'@' | b'$', ..]
                | [b'0'..=b'9', b'A'..=b'Z' | b'a'..=b'z']
                | [b'A'..=b'D' | b'F' | b'H' | b'Z']
        ),
        Some(b"\x1b]") => matches!(introducer(2), [b'0'..=b'9', b'0'..=b'9' | b';', ..]),
        Some(b"\x1bP") => matches!(introducer(2), [b'0' | b'1', b'$' | b'+', ..] | [b'>' | b'!', b'|', ..]),
        Some(b"\x1b_") => matches!(introducer(2), [b'G', ..]),
        _ => false,
    }
}

/// Whether it is where the cursor is: `CSI row ; column R`.
pub(super) fn is_cursor_report(sequence: &[u8]) -> bool {
    sequence.starts_with(b"\x1b[") && sequence.ends_with(b"R") && sequence.get(2) != Some(&b'?')
}

/// What input begins with. `known`: what is known of the terminal.
pub(super) fn sequence(bytes: &[u8], known: Known) -> Reach {
    match bytes {
        [0x1b] => Reach::Partial,
        [0x1b, b'[', ..] => csi(bytes, 2, known),
        [0x1b, b'O', ..] => ss3(bytes),
        [0x1b, b']' | b'P' | b'_', ..] => string(bytes),
        // Alt with a key that is a sequence itself, as rxvt writes it.
        [0x1b, 0x1b, b'[' | b'O', ..] => match sequence(&bytes[1..], known) {
            Reach::Whole(len, what) => match decode::with_alt(what) {
                Some(what) => Reach::Whole(len + 1, what),
                None => Reach::Whole(1, decode::escape()),
            },
            Reach::Partial => Reach::Partial,
        },
        [0x1b, 0x1b] => Reach::Partial,
        // Escape, and then something of its own.
        [0x1b, 0x1b, ..] => Reach::Whole(1, decode::escape()),
        [0x1b, rest @ ..] => character(rest, true),
        _ => character(bytes, false),
    }
}

/// One character, after an Escape where `alt`.
fn character(bytes: &[u8], alt: bool) -> Reach {
    let before = usize::from(alt);
    let Some(&first) = bytes.first() else { return Reach::Partial };
    let len = match first {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Reach::Whole(before + 1, What::Unknown),
    };
    let have = &bytes[..len.min(bytes.len())];
    match std::str::from_utf8(have).map(|text| text.chars().next()) {
        Ok(Some(c)) => Reach::Whole(before + len, decode::character(c, alt)),
        Err(error) if error.error_len().is_none() && have.len() < len => Reach::Partial,
        _ => Reach::Whole(before + 1, What::Unknown),
    }
}

/// `ESC O letter`, or with the number of its modifiers before the letter.
fn ss3(bytes: &[u8]) -> Reach {
    let (number, at) = match bytes.get(2) {
        None => return Reach::Partial,
        Some(digit @ b'1'..=b'9') => (Some(digit - b'0'), 3),
        Some(_) => (None, 2),
    };
    match bytes.get(at) {
        None => Reach::Partial,
        Some(letter) => match decode::ss3(number, *letter) {
            Some(what) => Reach::Whole(at + 1, what),
            // Alt and O, and then something else.
            None => Reach::Whole(2, decode::alt(b'O')),
        },
    }
}

/// `CSI parameters intermediates final`, with the forms that do not keep to it.
fn csi(bytes: &[u8], start: usize, known: Known) -> Reach {
    match bytes.get(start) {
        None => return Reach::Partial,
        // The first mouse encoding: three bytes, or three characters, that may be anything.
        Some(b'M') => return x10_mouse(bytes, start + 1),
        // The Linux console's function keys.
        Some(b'[') => {
            let Some(letter) = bytes.get(start + 1) else { return Reach::Partial };
            return Reach::Whole(start + 2, decode::console(*letter));
        }
        Some(_) => {}
    }
    for (at, byte) in bytes.iter().enumerate().skip(start).take(MAX_SEQUENCE) {
        match byte {
            // rxvt ends a key with Shift in what is no end elsewhere; answers with `$` have two parameters.
            b'$' if at > start && bytes[start..at].iter().all(u8::is_ascii_digit) => {
                return Reach::Whole(at + 1, decode::rxvt(&bytes[start..at], b'$'));
            }
            0x20..=0x3f => {}
            0x40..=0x7e => {
                let len = at + 1;
                let what = match &bytes[..len] {
                    PASTE_BEGIN => What::PasteBegin,
                    PASTE_END => What::PasteEnd,
                    _ => decode::csi(&bytes[start..at], *byte, known),
                };
                return Reach::Whole(len, what);
            }
            // Not a sequence any more: what it was is passed on, and this byte begins anew.
            _ => return Reach::Whole(at, broken(bytes, at)),
        }
    }
    if bytes.len() - start < MAX_SEQUENCE { Reach::Partial } else { Reach::Whole(bytes.len(), What::Broken) }
}

fn x10_mouse(bytes: &[u8], start: usize) -> Reach {
    // Characters where the program chose UTF-8: a lead byte is never a coordinate there, and without UTF-8 one that
    // is followed by a continuation is rarer than somebody who uses 1005.
    let mut at = start;
    let mut numbers = [0u32; 3];
    for number in &mut numbers {
        match bytes.get(at..) {
            Some([first @ 0xc2..=0xdf, second @ 0x80..=0xbf, ..]) => {
                *number = u32::from(first & 0x1f) << 6 | u32::from(second & 0x3f);
                at += 2;
            }
            Some([byte, ..]) => {
                *number = u32::from(*byte);
                at += 1;
            }
            _ => return Reach::Partial,
        }
    }
    Reach::Whole(at, decode::x10_mouse(numbers))
}

/// `ESC ] … ST` and its like: a terminal's answers. What no answer begins with is Alt and a character.
fn string(bytes: &[u8]) -> Reach {
    let Some(first) = bytes.get(2) else { return Reach::Partial };
    // Colours and the like begin with a number, titles with a letter.
    let answers = matches!(
        (bytes[1], first),
        (b']', b'0'..=b'9' | b'L' | b'l' | b'I')
            | (b'P', b'0'..=b'9' | b'>' | b'!' | b'$' | b'+' | b'=' | b'?')
            | (b'_', b'G')
    );
    if !answers {
        return Reach::Whole(2, decode::alt(bytes[1]));
    }
    for (at, byte) in bytes.iter().enumerate().take(MAX_STRING).skip(2) {
        match byte {
            0x07 => return Reach::Whole(at + 1, What::Reply),
            0x1b => {
                return match bytes.get(at + 1) {
                    None => Reach::Partial,
                    Some(b'\\') => Reach::Whole(at + 2, What::Reply),
                    // Broken off by another sequence.
                    Some(_) => Reach::Whole(at, What::Broken),
                };
            }
            // No answer has one of these, and a person who presses a key is not to wait for the string's end.
            0x00..0x20 | 0x7f => return Reach::Whole(at, What::Broken),
            _ => {}
        }
    }
    if bytes.len() < MAX_STRING { Reach::Partial } else { Reach::Whole(bytes.len(), What::Broken) }
}

/// A control sequence that something else broke off: where it is only its first two bytes, somebody pressed Alt.
fn broken(bytes: &[u8], at: usize) -> What {
    if at == 2 { decode::alt(bytes[1]) } else { What::Broken }
}
