//! Reading a terminal's input: a stream of bytes cut into tokens, none of them lost.
//!
//! A token carries its own bytes, so that whoever only passes input on can do so unchanged, and still see its prefix
//! key, and tell a person's keys from the terminal's answers to queries.
//!
//! Input arrives in pieces, over a slow link with pauses between them. Only an Escape by itself, or Escape and one
//! letter, may be a key a person pressed: they are that when nothing follows for [`ESCAPE_TIME`]. Whatever else has
//! begun waits for its end, for [`SEQUENCE_TIME`] and so many bytes, and is never taken for text before.

use std::time::{Duration, Instant};

use super::InputEvent;
use super::scan::{self, Known, PASTE_END, Reach, pasted, sequence};

/// Escape by itself is told from the beginning of a sequence by what follows it within this time: longer than a
/// terminal takes to write a sequence, shorter than a person notices.
const ESCAPE_TIME: Duration = Duration::from_millis(15);
/// What has begun as a sequence is given up so long after it began: longer than the slowest link holds its rest back.
const SEQUENCE_TIME: Duration = Duration::from_secs(5);
/// The rest of a sequence whose Escape was taken for the key is still recognised so long after it.
const LATE_TIME: Duration = Duration::from_secs(2);
/// A paste that has brought no more for so long may never end: its terminal forgot to, or the mark was lost.
const PASTE_SILENCE: Duration = Duration::from_secs(1);
/// Then a read of at most so many bytes is a person's key and not more of the paste, which comes in large pieces,
const KEY_BYTES: usize = 32;
/// if nothing came for so long before it, as it does on a line so slow that it brings a paste in small ones.
const KEY_PAUSE: Duration = Duration::from_millis(200);

/// What bytes of input are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A key, the mouse or the focus.
    Event(InputEvent),
    /// The beginning of a paste.
    PasteBegin,
    /// Pasted bytes.
    Pasted,
    /// The end of a paste. Without bytes: it was given up.
    PasteEnd,
    /// The terminal's answer to a query.
    Reply,
    /// A whole sequence, or a byte, that is none of these.
    Unknown,
    /// A part of a sequence whose rest has not come, or of one that something else broke off.
    Broken,
}

/// A piece of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The bytes it came as.
    pub raw: Vec<u8>,
    /// What they are.
    pub what: What,
}

/// Cuts input into tokens. Holds at most one unfinished sequence. It has no clock: it is told the time.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// How many of the buffer's first bytes have been given out before, as a key that they were not after all.
    given: usize,
    /// When what the buffer begins with came, and when its last byte did.
    came: Option<(Instant, Instant)>,
    /// What was taken for a key because nothing followed it, and when.
    late: Option<(Vec<u8>, Instant)>,
    paste: Option<Paste>,
    /// Cursor reports that were asked for and have not come.
    reports: u32,
    /// The terminal does not know kitty's protocol.
    no_kitty: bool,
}

/// A paste that has not ended.
#[derive(Clone, Copy, Debug)]
struct Paste {
    /// When it began or last brought more than a key does.
    moved: Instant,
    /// When anything came.
    heard: Instant,
}

impl Parser {
    /// At the beginning of input.
    #[must_use]
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Takes what was read and gives every whole token.
    pub fn feed(&mut self, bytes: &[u8], now: Instant, tokens: &mut Vec<Token>) {
        if bytes.is_empty() {
            return;
        }
        self.hear(bytes, now, tokens);
        if let Some((begun, at)) = self.late.take()
            && now.saturating_duration_since(at) <= LATE_TIME
            && scan::is_rest(&begun, bytes)
        {
            self.given = begun.len();
            self.buffer = begun;
        }
        self.buffer.extend_from_slice(bytes);
        self.came = Some((self.came.map_or(now, |(first, _)| first), now));
        self.advance(false, now, tokens);
    }

    /// Whether nothing has begun that more input could belong to: text is then only text.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.paste.is_none() && self.late.is_none()
    }

    /// Whether what is unfinished is an Escape alone.
    #[must_use]
    pub fn is_escape(&self) -> bool {
        self.paste.is_none() && self.buffer == [0x1b]
    }

    /// The program has asked where the cursor is: the next report that looks like a key is none.
    pub fn expect_report(&mut self) {
        self.reports = self.reports.saturating_add(1);
    }

    /// Whether the terminal knows kitty's protocol; it does unless this says otherwise.
    pub fn set_kitty(&mut self, known: bool) {
        self.no_kitty = !known;
    }

    fn known(&self) -> Known {
        Known { report_due: self.reports > 0, kitty: !self.no_kitty }
    }

    /// When [`Parser::tick`] is due, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let (first, last) = self.came?;
        let ambiguous = self.paste.is_none() && self.given == 0 && scan::is_ambiguous(&self.buffer);
        Some(if ambiguous { last + ESCAPE_TIME } else { first + SEQUENCE_TIME })
    }

    /// Time has passed: what has waited for long enough is given up.
    pub fn tick(&mut self, now: Instant, tokens: &mut Vec<Token>) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.flush(now, tokens);
        }
    }

    /// Nothing more belongs to what is unfinished.
    pub fn flush(&mut self, now: Instant, tokens: &mut Vec<Token>) {
        self.advance(true, now, tokens);
    }

    /// Gives up a paste that has come to a stop when what comes is a key.
    fn hear(&mut self, bytes: &[u8], now: Instant, tokens: &mut Vec<Token>) {
        let Some(paste) = self.paste else { return };
        let since = |at| now.saturating_duration_since(at);
        let ends = self.buffer.iter().chain(bytes).copied().collect::<Vec<_>>();
        let is_key = bytes.len() <= KEY_BYTES
            && since(paste.moved) >= PASTE_SILENCE
            && since(paste.heard) >= KEY_PAUSE
            && !ends.windows(PASTE_END.len()).any(|window| window == PASTE_END);
        if is_key {
            self.flush(now, tokens);
            self.paste = None;
            tokens.push(Token { raw: Vec::new(), what: What::PasteEnd });
        } else {
            let moved = if bytes.len() > KEY_BYTES { now } else { paste.moved };
            self.paste = Some(Paste { moved, heard: now });
        }
    }

    fn advance(&mut self, last: bool, now: Instant, tokens: &mut Vec<Token>) {
        let mut at = 0;
        while at < self.buffer.len() {
            let rest = &self.buffer[at..];
            let reach = if self.paste.is_some() { pasted(rest) } else { sequence(rest, self.known()) };
            let (len, what) = match reach {
                Reach::Whole(len, what) => (len, what),
                Reach::Partial if !last => break,
                Reach::Partial if self.paste.is_some() => (rest.len(), What::Pasted),
                Reach::Partial => match scan::alone(rest).filter(|_| self.given == 0) {
                    Some((len, what)) => {
                        if len == rest.len() {
                            self.late = Some((rest.to_vec(), now));
                        }
                        (len, what)
                    }
                    None => (rest.len(), What::Broken),
                },
            };
            match what {
                What::PasteBegin => self.paste = Some(Paste { moved: now, heard: now }),
                What::PasteEnd => self.paste = None,
                _ => {}
            }
            let len = len.clamp(1, rest.len());
            let given = std::mem::take(&mut self.given).min(len);
            let raw = rest[given..len].to_vec();
            if what == What::Reply && scan::is_cursor_report(&rest[..len]) {
                self.reports = self.reports.saturating_sub(1);
            }
            tokens.push(Token { raw, what });
            at += len;
        }
        self.buffer.drain(..at);
        match &mut self.came {
            came if self.buffer.is_empty() => *came = None,
            Some((first, _)) if at > 0 => *first = now,
            _ => {}
        }
    }
}
