//! Exactly-once input: each sender numbers the bytes it types, the keeper writes each number once.
//!
//! A sender keeps what is not acknowledged ([`Unacknowledged`]) and sends it again after a reconnect; the keeper knows
//! how far each sender's stream has come ([`Accept`]) and drops what it has seen.

use std::collections::VecDeque;

use crate::limits::{INPUT_WINDOW, MAX_PAYLOAD};

/// What to do with input that arrives at a keeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Write the bytes from this index on; the earlier ones were written before.
    From(usize),
    /// All of it was written before.
    Duplicate,
    /// Bytes between are missing: the sender must go back to `expected`.
    Gap {
        /// The offset that would have been accepted.
        expected: u64,
    },
}

/// Judges `len` bytes at `offset` of a stream of which everything before `expected` was taken.
#[must_use]
pub fn accept(expected: u64, offset: u64, len: usize) -> Accept {
    if offset > expected {
        return Accept::Gap { expected };
    }
    let seen = expected - offset;
    if seen >= len as u64 { Accept::Duplicate } else { Accept::From(seen as usize) }
}

/// A sender's input that is not yet acknowledged, in order, with the flags it was sent with. Answers to queries
/// ([`crate::frame::flags::REPLY`]) are not numbered and do not belong here.
#[derive(Debug, Default)]
pub struct Unacknowledged {
    base: u64,
    end: u64,
    pieces: VecDeque<Piece>,
}

/// Bytes of one kind, never more than fit one frame.
#[derive(Debug)]
struct Piece {
    flags: u8,
    bytes: Vec<u8>,
    /// How many of them are acknowledged; only ever more than none in the first piece.
    done: usize,
}

/// What a sender that comes back finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resumed {
    /// The keeper knows the stream: send what is outstanding again and go on.
    Continues,
    /// The keeper does not know this stream, or not as ours. What was outstanding is dropped, since nobody can say
    /// whether it was written: open again with a new stream name, at offset 0.
    Forgotten,
}

impl Unacknowledged {
    /// Nothing outstanding, at offset 0.
    #[must_use]
    pub fn new() -> Unacknowledged {
        Unacknowledged::default()
    }

    /// The offset the next byte gets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset before which everything is acknowledged.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.base
    }

    /// How many more bytes may be sent now.
    #[must_use]
    pub fn room(&self) -> usize {
        INPUT_WINDOW.saturating_sub((self.end - self.base) as usize)
    }

    /// Takes `bytes` in and says at which offset to send them (in frames of at most [`MAX_PAYLOAD`]); `None`, and
    /// nothing taken, if there is no room.
    pub fn push(&mut self, flags: u8, bytes: &[u8]) -> Option<u64> {
        if bytes.len() > self.room() {
            return None;
        }
        let at = self.end;
        self.end += bytes.len() as u64;
        let mut rest = bytes;
        // Keystrokes come one at a time, and each in an allocation of its own would take far more than the window.
        if let Some(last) = self.pieces.back_mut()
            && last.flags == flags
        {
            let (fits, left) = rest.split_at(rest.len().min(MAX_PAYLOAD - last.bytes.len()));
            last.bytes.extend_from_slice(fits);
            rest = left;
        }
        for piece in rest.chunks(MAX_PAYLOAD) {
            self.pieces.push_back(Piece { flags, bytes: piece.to_vec(), done: 0 });
        }
        Some(at)
    }

    /// Everything before `offset` has been written to the program.
    pub fn ack(&mut self, offset: u64) {
        let mut newly = offset.min(self.end).saturating_sub(self.base) as usize;
        self.base += newly as u64;
        while let Some(first) = self.pieces.front_mut() {
            let left = first.bytes.len() - first.done;
            if newly < left {
                first.done += newly;
                return;
            }
            newly -= left;
            self.pieces.pop_front();
        }
    }

    /// Judges the `input_offset` of an `opened`.
    pub fn resume(&mut self, input_offset: u64) -> Resumed {
        if (self.base..=self.end).contains(&input_offset) {
            self.ack(input_offset);
            return Resumed::Continues;
        }
        *self = Unacknowledged::default();
        Resumed::Forgotten
    }

    /// What to send again after a reconnect: offset, flags, bytes, each no more than one frame takes.
    pub fn outstanding(&self) -> impl Iterator<Item = (u64, u8, &[u8])> {
        self.pieces.iter().scan(self.base, |at, piece| {
            let bytes = piece.bytes.get(piece.done..).unwrap_or_default();
            let offset = *at;
            *at += bytes.len() as u64;
            Some((offset, piece.flags, bytes))
        })
    }
}
