//! What was typed into one channel and is not yet known to be written, and how it gets there whoever refuses it.
//!
//! Bytes are numbered and sent once each in order. Whoever refuses some says which it would have ([`WireError`]'s
//! `expected`), and the stream goes back there by itself: at once where bytes were missing in between, a little later
//! where nobody took them. Refused input is never the end of a stream. What is lost for certain is told once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lap_wire::ChannelId;
use lap_wire::control::{ClientMessage, ErrorCode, WireError};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::input::Unacknowledged;
use lap_wire::limits::MAX_PAYLOAD;

use super::channel::Out;

/// Input that nobody took is tried again after this long, if nothing is acknowledged before.
const RETRY: Duration = Duration::from_millis(250);
/// Each further try waits twice as long, up to this.
const RETRY_LAST: Duration = Duration::from_secs(2);
/// What is tried: enough to find out, and little to send in vain.
const PROBE: usize = 4 * 1024;

/// Why nothing is sent for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// The program has as much as it takes: a little is tried first.
    Full,
    /// It cannot be reached.
    Lost,
}

/// A pause after a refusal.
#[derive(Clone, Copy, Debug)]
struct Pause {
    why: Held,
    /// When a little is tried.
    retry_at: Instant,
    wait: Duration,
    /// Where what was tried ends: it is over once everything before is acknowledged.
    tried: Option<u64>,
}

/// See the module. Offsets are the stream's own unless said otherwise; on the wire they are higher by `shift`.
pub(super) struct Typing {
    channel: ChannelId,
    unacked: Unacknowledged,
    /// Wire offset of a byte minus its offset in `unacked`: not 0 once the other side counts from elsewhere.
    shift: u64,
    /// The next byte to be sent; before `unacked`'s end after a refusal.
    next: u64,
    /// Typed, and beyond the window.
    queue: VecDeque<Bytes>,
    queued: usize,
    pause: Option<Pause>,
    /// Where it went back to last, on the wire, and when: what was on its way then is refused too, with the same words.
    went_back: Option<(u64, Instant)>,
    /// Bytes from here to the first that is kept were dropped, on the wire: they were not allowed.
    dropped: Option<u64>,
    /// The end of input is to be told behind everything typed.
    eof: bool,
}

impl Typing {
    pub(super) fn new(channel: ChannelId) -> Typing {
        Typing {
            channel,
            unacked: Unacknowledged::new(),
            shift: 0,
            next: 0,
            queue: VecDeque::new(),
            queued: 0,
            pause: None,
            went_back: None,
            dropped: None,
            eof: false,
        }
    }

    /// Bytes that are kept beyond the window.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.queued += bytes.len();
        self.queue.push_back(bytes.clone());
    }

    /// Nothing more will be typed.
    pub(super) fn end(&mut self) {
        self.eof = true;
    }

    /// There is no connection: what was sent is sent again once there is.
    pub(super) fn disconnected(&mut self) {
        (self.pause, self.went_back) = (None, None);
    }

    /// When it tries again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.retry_at)
    }

    /// Tries again what nobody took, if it is time.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Out<'_>) {
        let Some(pause) = self.pause.as_mut().filter(|pause| pause.retry_at <= now) else { return };
        pause.wait = (pause.wait * 2).min(RETRY_LAST);
        pause.retry_at = now + pause.wait;
        self.probe(out);
    }

    /// Everything before `offset`, on the wire, has been written.
    pub(super) fn acked(&mut self, offset: u64, out: &mut Out<'_>) {
        let before = self.unacked.acked();
        self.unacked.ack(offset.saturating_sub(self.shift));
        let acked = self.unacked.acked();
        self.next = self.next.max(acked);
        if acked > before {
            self.dropped = None;
            match self.pause {
                // Room where there was none: not all of it goes at once, to be refused again.
                Some(Pause { tried: None, .. }) if acked < self.unacked.end() => return self.probe(out),
                Some(Pause { tried: Some(tried), .. }) if acked < tried => return,
                _ => self.pause = None,
            }
        }
        self.send(out);
    }

    /// Input was refused. Says whether that is all there is to it, and how many bytes are lost for certain.
    pub(super) fn refused(&mut self, error: &WireError, now: Instant, out: &mut Out<'_>) -> (bool, usize) {
        let first = self.shift + self.unacked.acked();
        let kept = self.unacked.end() > self.unacked.acked();
        match error.code {
            ErrorCode::InputGap | ErrorCode::InputOverflow => {
                let expected = error.expected.unwrap_or(first);
                let lost = self.go_back(expected);
                if error.code == ErrorCode::InputOverflow {
                    self.hold(Held::Full, now);
                } else if self.pause.is_some_and(|pause| pause.why == Held::Full) {
                    // It was on its way when the one before it was refused.
                } else if self.went_back.is_some_and(|(to, at)| to == expected && now < at + RETRY) {
                    // So was this, or it is refused again: either way not at once.
                    self.hold(Held::Full, now);
                } else {
                    self.pause = None;
                    self.went_back = Some((expected, now));
                    self.send(out);
                }
                (true, lost)
            }
            ErrorCode::SandboxLost if kept => {
                let known = self.pause.is_some();
                self.next = self.unacked.acked();
                self.hold(Held::Lost, now);
                (known, 0)
            }
            ErrorCode::NotWritable if kept || self.queued > 0 => {
                // Whoever may not type now may later, but not what was typed before.
                let from = self.dropped.unwrap_or(first);
                let end = self.shift + self.unacked.end();
                self.start_over(end);
                self.dropped = Some(from);
                (false, 0)
            }
            _ => (false, 0),
        }
    }

    /// The channel is open (again), and everything before `offset`, on the wire, has been written. `same_life`: by the
    /// program it was typed for. Sends again what is missing; gives the number of bytes that are lost.
    pub(super) fn opened(&mut self, same_life: bool, offset: u64, out: &mut Out<'_>) -> usize {
        (self.pause, self.went_back) = (None, None);
        let lost = if same_life { self.go_back(offset) } else { self.give_up(offset) };
        self.unacked.ack(offset.saturating_sub(self.shift));
        self.next = self.unacked.acked();
        self.send(out);
        lost
    }

    /// Sends on from here, on the wire; gives the number of bytes that are lost where that cannot be.
    fn go_back(&mut self, expected: u64) -> usize {
        let (first, end) = (self.shift + self.unacked.acked(), self.shift + self.unacked.end());
        if (first..=end).contains(&expected) {
            self.next = expected - self.shift;
            return 0;
        }
        if self.dropped.is_some_and(|dropped| (dropped..first).contains(&expected)) {
            let kept: Vec<Vec<u8>> = self.unacked.outstanding().map(|(_, _, bytes)| bytes.to_vec()).collect();
            let queue = std::mem::take(&mut self.queue);
            self.start_over(expected);
            for bytes in kept {
                self.unacked.push(0, &bytes);
            }
            self.queued = queue.iter().map(Bytes::len).sum();
            self.queue = queue;
            return 0;
        }
        self.give_up(expected)
    }

    /// Nobody can say whether what is kept was written: typing it again could do it twice, and typing what comes after
    /// it could mean something else.
    fn give_up(&mut self, expected: u64) -> usize {
        let lost = (self.unacked.end() - self.unacked.acked()) as usize + self.queued;
        self.start_over(expected);
        lost
    }

    /// With nothing kept, the next byte having this offset on the wire.
    fn start_over(&mut self, offset: u64) {
        self.unacked = Unacknowledged::new();
        (self.shift, self.next) = (offset, 0);
        self.queue.clear();
        self.queued = 0;
        self.dropped = None;
    }

    fn hold(&mut self, why: Held, now: Instant) {
        let again = Pause { why, retry_at: now + RETRY, wait: RETRY, tried: None };
        self.pause = Some(match self.pause {
            Some(pause) => Pause { why, tried: None, ..pause },
            None => again,
        });
    }

    /// Sends a little of what was refused.
    fn probe(&mut self, out: &mut Out<'_>) {
        let from = self.next.max(self.unacked.acked());
        let piece = self.unacked.outstanding().find_map(|(at, _, bytes)| {
            let skip = from.saturating_sub(at) as usize;
            bytes
                .get(skip..)
                .filter(|rest| !rest.is_empty())
                .map(|rest| rest[..rest.len().min(PROBE)].to_vec())
        });
        // All of it was taken after all.
        let Some(piece) = piece else {
            self.pause = None;
            return self.send(out);
        };
        if let Some(pause) = &mut self.pause {
            pause.tried = Some(from + piece.len() as u64);
        }
        out.frame(&Frame::new(FrameType::Input, self.channel, from + self.shift, &piece));
    }

    /// Sends what may be sent.
    pub(super) fn send(&mut self, out: &mut Out<'_>) {
        if self.pause.is_some() {
            return;
        }
        self.fill_window();
        for (at, flags, bytes) in self.unacked.outstanding() {
            let skip = self.next.saturating_sub(at) as usize;
            let Some(rest) = bytes.get(skip..).filter(|rest| !rest.is_empty()) else { continue };
            let offset = at + skip as u64;
            let frame = Frame::new(FrameType::Input, self.channel, offset + self.shift, rest);
            out.frame(&frame.with_flags(flags));
        }
        self.next = self.unacked.end();
        // Behind what is typed, and only once that was taken: it could be refused.
        if self.eof && self.queue.is_empty() && self.unacked.acked() == self.unacked.end() {
            self.eof = false;
            out.message(self.channel, &ClientMessage::StdinEof);
        }
    }

    fn fill_window(&mut self) {
        while let Some(bytes) = self.queue.front_mut() {
            let n = bytes.len().min(MAX_PAYLOAD).min(self.unacked.room());
            if n == 0 {
                return;
            }
            let piece = bytes.split_to(n);
            if bytes.is_empty() {
                self.queue.pop_front();
            }
            self.queued -= n;
            if self.unacked.push(0, &piece).is_none() {
                return;
            }
        }
    }
}
