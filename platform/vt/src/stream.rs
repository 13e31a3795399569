//! From bytes to the model: splits the stream into text, sequences and strings, however it was cut into chunks,
//! and keeps the tail, the bytes since the last point at which nothing was open.

use crate::dcs::Dcs;
use crate::limits::{MAX_DCS_BYTES, MAX_OSC_BYTES, MAX_SEQUENCE_BYTES};
use crate::model::Model;
use crate::sequence::{BEL, CAN, ESC, SUB, State};
use crate::skip::skippable;

#[derive(Default)]
pub(crate) struct Stream {
    parser: vte::Parser,
    state: State,
    /// What a fresh parser needs to be told to come to `state`. Bytes that have had their effect already are not
    /// in it (control characters inside a sequence), nor those without any.
    tail: Vec<u8>,
    /// The content of the open string does not matter, and is not kept.
    void: bool,
}

/// An OSC that will have no effect, whatever follows: numbers alone have.
const VOID_OSC: &[u8] = b"\x1b]x";
/// A control sequence that is ignored up to its end.
const IGNORED_CSI: &[u8] = b"\x1b[0<";
/// The same for device control strings, in their head and in their content.
const IGNORED_DCS: &[u8] = b"\x1bP0<";
const VOID_DCS: &[u8] = b"\x1bPq";
/// The byte that makes the head of any control sequence or device control string an ignored one.
const SPOILER: u8 = b'<';
/// How far ahead text beyond ASCII is looked at, in bytes: more than a row of it, and more than one character.
const WIDE_WINDOW: usize = 512;
/// `ESC` and more intermediates than `vte` keeps: further ones change nothing.
const MAX_ESCAPE_TAIL: usize = 4;

impl Stream {
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    pub(crate) fn memory(&self) -> usize {
        self.tail.capacity()
    }

    pub(crate) fn feed(&mut self, model: &mut Model, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let used = match self.state {
                State::Ground if *first == ESC => self.head(model, rest),
                State::Ground => self.text(model, rest),
                State::Character => self.continue_character(model, *first),
                state if state.is_head() => self.head(model, rest),
                _ => self.string(model, rest),
            };
            rest = rest.get(used..).unwrap_or(&[]);
        }
    }

    /// Text and control characters up to the next ESC.
    fn text(&mut self, model: &mut Model, bytes: &[u8]) -> usize {
        let mut at = skippable(model, bytes);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                0x20..=0x7e => {
                    let run = printable_prefix(&bytes[at..]);
                    model.print_ascii(run);
                    at += run.len();
                }
                ESC => break,
                0x7f => at += 1,
                0x80.. => {
                    at += self.wide_text(model, &bytes[at..]);
                    if self.state != State::Ground {
                        break;
                    }
                }
                _ => {
                    model.control(byte);
                    at += 1;
                }
            }
        }
        at
    }

    /// Characters beyond ASCII. What is not UTF-8 is shown as U+FFFD, once for each maximal part of a character;
    /// a lone byte that would be a C1 control is nothing, nor are C1 controls written in two bytes.
    fn wide_text(&mut self, model: &mut Model, bytes: &[u8]) -> usize {
        // A window, so that bytes of which every one is wrong are not looked through for every one.
        let window = &bytes[..bytes.len().min(WIDE_WINDOW)];
        let end = window.iter().position(u8::is_ascii).unwrap_or(window.len());
        let run = &window[..end];
        let (text, error) = match std::str::from_utf8(run) {
            Ok(text) => (text, None),
            Err(error) => {
                let (valid, _) = run.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), Some(error.error_len()))
            }
        };
        for c in text.chars() {
            character(model, c);
        }
        let bad = &run[text.len()..];
        match error {
            None => end,
            Some(Some(len)) => {
                replace(model, bad);
                text.len() + len
            }
            Some(None) if end == bytes.len() => {
                self.state = State::Character;
                self.tail.extend_from_slice(bad);
                end
            }
            // The window ends inside a character: the next one begins with it.
            Some(None) if end == window.len() => text.len(),
            Some(None) => {
                replace(model, bad);
                end
            }
        }
    }

    /// One more byte for a character begun in an earlier chunk.
    fn continue_character(&mut self, model: &mut Model, byte: u8) -> usize {
        self.tail.push(byte);
        match std::str::from_utf8(&self.tail) {
            Ok(text) => {
                for c in text.chars() {
                    character(model, c);
                }
            }
            Err(error) if error.error_len().is_none() => return 1,
            Err(_) => {
                self.tail.pop();
                replace(model, &self.tail);
                self.tail.clear();
                self.state = State::Ground;
                return 0;
            }
        }
        self.tail.clear();
        self.state = State::Ground;
        1
    }

    /// The head of a sequence, up to its final byte or the introducer of a string.
    fn head(&mut self, model: &mut Model, bytes: &[u8]) -> usize {
        let room = MAX_SEQUENCE_BYTES.saturating_sub(self.tail.len());
        if room == 0 {
            self.spoil(model);
        }
        let window = &bytes[..bytes.len().min(room.max(1))];
        if self.state == State::Ground
            && let Some(length) = whole_control_sequence(window)
        {
            self.parser.advance(model, &window[..length]);
            return length;
        }
        let mut begin = None;
        let mut used = window.len();
        let mut state = self.state;
        for (at, &byte) in window.iter().enumerate() {
            if byte == ESC {
                begin = Some(at);
            }
            state = state.after(byte);
            if !state.is_head() {
                used = at + 1;
                break;
            }
        }
        let head = &window[..used];
        self.state = state;
        self.void = false;
        if state == State::Ground {
            self.tail.clear();
            self.parser.advance(model, head);
            return used;
        }
        if begin.is_some() {
            self.tail.clear();
        }
        let counts = |byte: &u8| matches!(*byte, 0x20..=0x7e | ESC);
        self.tail.extend(head[begin.unwrap_or(0)..].iter().filter(|byte| counts(byte)));
        self.parser.advance(model, head);
        match state {
            State::EscapeIntermediate => self.tail.truncate(MAX_ESCAPE_TAIL),
            State::CsiIgnore => self.put_tail(IGNORED_CSI),
            State::DcsIgnore => self.put_tail(IGNORED_DCS),
            State::DcsString => self.void = model.dcs == Dcs::Ignored,
            _ => {}
        }
        used
    }

    /// A head that has become too long is one that is ignored.
    fn spoil(&mut self, model: &mut Model) {
        self.parser.advance(model, &[SPOILER]);
        self.state = self.state.after(SPOILER);
        match self.state {
            State::DcsIgnore => self.put_tail(IGNORED_DCS),
            _ => self.put_tail(IGNORED_CSI),
        }
    }

    fn put_tail(&mut self, tail: &[u8]) {
        self.tail.clear();
        self.tail.extend_from_slice(tail);
    }

    /// The content of a string, up to its terminator. `vte` is told of the terminator only.
    fn string(&mut self, model: &mut Model, bytes: &[u8]) -> usize {
        let is_osc = self.state == State::OscString;
        let ends = |byte: &u8| matches!(*byte, ESC | CAN | SUB) || (is_osc && *byte == BEL);
        let end = bytes.iter().position(ends);
        self.collect(model, &bytes[..end.unwrap_or(bytes.len())]);
        let Some(end) = end else { return bytes.len() };
        let terminator = bytes[end];
        let cancelled = matches!(terminator, CAN | SUB);
        match self.state {
            State::OscString if !cancelled && !self.void => {
                model.system_command(self.tail.get(2..).unwrap_or(&[]), terminator == BEL);
            }
            State::DcsString => {
                let content = self.tail.iter().position(|byte| *byte == b'q').map(|q| &self.tail[q + 1..]);
                model.end_dcs(content.filter(|_| !cancelled && !self.void));
            }
            _ => {}
        }
        model.follows_print = false;
        self.parser.advance(model, &[terminator]);
        self.state = self.state.after_string(terminator);
        self.void = false;
        self.tail.clear();
        if self.state == State::Escape {
            self.tail.push(ESC);
        }
        end + 1
    }

    fn collect(&mut self, model: &mut Model, content: &[u8]) {
        let (max, void_tail) = match self.state {
            State::OscString => (MAX_OSC_BYTES, VOID_OSC),
            State::DcsString => (MAX_DCS_BYTES, VOID_DCS),
            _ => return,
        };
        if self.void {
            return;
        }
        self.tail.extend(content.iter().filter(|byte| **byte >= 0x20).take(max + 1));
        let is_osc = self.state == State::OscString;
        let unknown = is_osc && self.tail.get(2).is_some_and(|first| !first.is_ascii_digit());
        if unknown || self.tail.len() > max {
            self.void = true;
            self.put_tail(void_tail);
            self.tail.shrink_to(MAX_SEQUENCE_BYTES);
            if !is_osc {
                model.dcs = Dcs::Ignored;
            }
        }
    }
}

/// The length of the control sequence at the start, where all of it is there and nothing breaks into it: nearly
/// every sequence. In each of its states the final byte is one of the same.
fn whole_control_sequence(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"\x1b[")?;
    let end = rest.iter().position(|byte| matches!(*byte, 0x40..=0x7e | ESC | CAN | SUB))?;
    (rest[end] >= 0x40).then_some(end + 3)
}

/// The longest prefix of printable ASCII, sixteen bytes at a time.
fn printable_prefix(bytes: &[u8]) -> &[u8] {
    let printable = |byte: &u8| byte.wrapping_sub(0x20) < 0x5f;
    let (blocks, _) = bytes.as_chunks::<16>();
    // Without a branch inside a block, the compiler compares it at once.
    let whole =
        blocks.iter().take_while(|block| block.iter().fold(true, |all, byte| all & printable(byte))).count();
    let at = whole * 16;
    let more = bytes[at..].iter().take_while(|byte| printable(byte)).count();
    &bytes[..at + more]
}

/// A character beyond ASCII. C1 controls are not obeyed, as in `control`.
fn character(model: &mut Model, c: char) {
    if c < '\u{a0}' { model.control(0x80) } else { model.print(c) }
}

fn replace(model: &mut Model, bad: &[u8]) {
    match bad {
        [0x80..=0x9f, ..] => model.control(0x80),
        _ => model.print(char::REPLACEMENT_CHARACTER),
    }
}
