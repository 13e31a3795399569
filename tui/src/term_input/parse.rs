//! Reading a terminal's input: a stream of bytes cut into tokens, none of them lost.
//!
//! A token carries its own bytes, so that whoever only passes input on can do so unchanged, and still see its prefix
//! key, and tell a person's keys from the terminal's answers to queries.

use std::ops::Range;

use super::{InputEvent, decode};

/// The longest control sequence; what is longer is passed on as it is.
const MAX_SEQUENCE: usize = 1024;
/// The longest string (an answer with colours, a clipboard): longer ones are passed on in pieces.
const MAX_STRING: usize = 64 * 1024;

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// What bytes of input are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A key, the mouse or the focus.
    Event(InputEvent),
    /// The beginning of a paste.
    PasteBegin,
    /// Pasted bytes.
    Pasted,
    /// The end of a paste.
    PasteEnd,
    /// The terminal's answer to a query.
    Reply,
    /// None of these.
    Other,
}

/// A piece of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The bytes it came as.
    pub raw: Vec<u8>,
    /// What they are.
    pub what: What,
}

/// Cuts input into tokens. Holds at most one unfinished sequence.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    pasting: bool,
}

/// How far a sequence goes.
enum Reach {
    /// It ends here, and is that.
    Whole(usize, What),
    /// More bytes must come.
    Partial,
}

impl Parser {
    /// At the beginning of input.
    #[must_use]
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Takes what was read and gives every whole token.
    pub fn feed(&mut self, bytes: &[u8], tokens: &mut Vec<Token>) {
        self.buffer.extend_from_slice(bytes);
        self.advance(false, tokens);
    }

    /// Whether a sequence is unfinished. If nothing follows for some 20 ms it was a person's Escape or Alt after all:
    /// [`Parser::flush`].
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty() && !self.pasting
    }

    /// Whether what is unfinished is an Escape alone.
    #[must_use]
    pub fn is_escape(&self) -> bool {
        !self.pasting && self.buffer == [0x1b]
    }

    /// Whether a paste is going on.
    #[must_use]
    pub fn is_pasting(&self) -> bool {
        self.pasting
    }

    /// Nothing more belongs to what is unfinished.
    pub fn flush(&mut self, tokens: &mut Vec<Token>) {
        self.advance(true, tokens);
    }

    fn advance(&mut self, last: bool, tokens: &mut Vec<Token>) {
        let mut at = 0;
        while at < self.buffer.len() {
            let rest = &self.buffer[at..];
            let (len, what) = if self.pasting {
                match pasted(rest) {
                    Some(found) => found,
                    None => break,
                }
            } else {
                match sequence(rest) {
                    Reach::Whole(len, what) => (len, what),
                    Reach::Partial if last => alone(rest),
                    Reach::Partial => break,
                }
            };
            match what {
                What::PasteBegin => self.pasting = true,
                What::PasteEnd => self.pasting = false,
                _ => {}
            }
            let len = len.clamp(1, rest.len());
            tokens.push(Token { raw: rest[..len].to_vec(), what });
            at += len;
        }
        self.buffer.drain(..at);
    }
}

/// The next token within a paste; nothing where only the beginning of its end is there.
fn pasted(bytes: &[u8]) -> Option<(usize, What)> {
    if bytes.starts_with(PASTE_END) {
        return Some((PASTE_END.len(), What::PasteEnd));
    }
    let end =
        (0..bytes.len()).find(|at| PASTE_END.starts_with(&bytes[*at..bytes.len().min(at + PASTE_END.len())]));
    match end {
        Some(0) => None,
        Some(at) => Some((at, What::Pasted)),
        None => Some((bytes.len(), What::Pasted)),
    }
}

/// An unfinished sequence that nothing follows: Escape, or Alt and the next byte.
fn alone(bytes: &[u8]) -> (usize, What) {
    match bytes {
        [0x1b, next @ (b'[' | b'O' | b']' | b'P' | b'_' | b'^' | b'X')] => (2, decode::alt(*next)),
        [0x1b] => (1, decode::escape()),
        [0x1b, 0x1b] => (2, decode::alt(0x1b)),
        _ => (bytes.len(), What::Other),
    }
}

fn sequence(bytes: &[u8]) -> Reach {
    match bytes {
        [0x1b] => Reach::Partial,
        [0x1b, b'[', ..] => csi(bytes, 2),
        [0x1b, b'O', ..] => ss3(bytes),
        [0x1b, b']' | b'P' | b'_' | b'^' | b'X', ..] => string(bytes),
        // Alt with a key that is a sequence itself, as rxvt writes it.
        [0x1b, 0x1b, b'[' | b'O', ..] => match sequence(&bytes[1..]) {
            Reach::Whole(len, what) => Reach::Whole(len + 1, decode::with_alt(what)),
            Reach::Partial => Reach::Partial,
        },
        [0x1b, 0x1b] => Reach::Partial,
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
        _ => return Reach::Whole(before + 1, What::Other),
    };
    let have = &bytes[..len.min(bytes.len())];
    match std::str::from_utf8(have).map(|text| text.chars().next()) {
        Ok(Some(c)) => Reach::Whole(before + len, decode::character(c, alt)),
        Err(error) if error.error_len().is_none() && have.len() < len => Reach::Partial,
        _ => Reach::Whole(before + 1, What::Other),
    }
}

/// `ESC O letter`.
fn ss3(bytes: &[u8]) -> Reach {
    match bytes.get(2) {
        None => Reach::Partial,
        Some(letter) => match decode::ss3(*letter) {
            Some(what) => Reach::Whole(3, what),
            // Alt and O, and then something else.
            None => Reach::Whole(2, decode::alt(b'O')),
        },
    }
}

/// `CSI parameters intermediates final`, with the two forms that do not keep to it.
fn csi(bytes: &[u8], start: usize) -> Reach {
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
            0x20..=0x3f => {}
            0x40..=0x7e => {
                let len = at + 1;
                let sequence = &bytes[..len];
                if sequence == PASTE_BEGIN {
                    return Reach::Whole(len, What::PasteBegin);
                }
                return Reach::Whole(len, decode::csi(&bytes[start..at], *byte));
            }
            // Not a sequence any more: what it was is passed on, and this byte begins anew.
            _ => return Reach::Whole(at, What::Other),
        }
    }
    if bytes.len() - start < MAX_SEQUENCE { Reach::Partial } else { Reach::Whole(bytes.len(), What::Other) }
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

/// `ESC ] … ST` and its like: only a terminal's answers look so.
fn string(bytes: &[u8]) -> Reach {
    let body: Range<usize> = 2..bytes.len().min(MAX_STRING);
    for at in body {
        match bytes[at] {
            0x07 => return Reach::Whole(at + 1, What::Reply),
            0x1b => {
                return match bytes.get(at + 1) {
                    None => Reach::Partial,
                    Some(b'\\') => Reach::Whole(at + 2, What::Reply),
                    // Broken off by another sequence.
                    Some(_) => Reach::Whole(at, broken(bytes, at)),
                };
            }
            _ => {}
        }
    }
    if bytes.len() < MAX_STRING { Reach::Partial } else { Reach::Whole(bytes.len(), What::Reply) }
}

/// A string that another sequence broke off: where it is only its first two bytes, somebody pressed Alt.
fn broken(bytes: &[u8], at: usize) -> What {
    if at == 2 { decode::alt(bytes[1]) } else { What::Other }
}
