//! Who may be sent what next, and how somebody who comes back goes on.

use serde::{Deserialize, Serialize};

use crate::ids::Epoch;
use crate::limits::{DEFAULT_WINDOW, MAX_PAYLOAD, MAX_WINDOW};
use crate::ring::Ring;

/// A reader's place in a stream and its credit: it may be sent at most `window` bytes beyond what it acknowledged.
///
/// A snapshot that skips it ahead does not forgive what was sent before: those bytes count as in flight until it
/// acknowledges the snapshot, and it is not skipped again before. So a reader that never acknowledges gets one window
/// and one snapshot, not an endless row of them, and a slow one gets each snapshot as late, hence as fresh, as it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    next: u64,
    acked: u64,
    window: u32,
    skip: Option<Skip>,
}

/// A part of the stream that a snapshot stood for, until the reader has acknowledged the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Skip {
    /// The bytes before this were sent.
    from: u64,
    /// The snapshot's offset.
    to: u64,
    /// Bytes sent between the two all the same, after an earlier snapshot that is not acknowledged either.
    sent: u64,
}

/// What can be done for a reader now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send these bytes of the ring.
    Send {
        /// Their offset.
        from: u64,
        /// How many, at most [`MAX_PAYLOAD`].
        len: usize,
    },
    /// It has everything.
    CaughtUp,
    /// It must acknowledge first.
    NoCredit,
    /// The ring has overtaken it: only a snapshot can bring it back.
    Lapped,
}

impl Cursor {
    /// A reader that has everything before `at`. A window of 0 is the default one; one over [`MAX_WINDOW`] is cut.
    #[must_use]
    pub fn new(at: u64, window: u32) -> Cursor {
        let window = if window == 0 { DEFAULT_WINDOW } else { window.min(MAX_WINDOW) };
        Cursor { next: at, acked: at, window, skip: None }
    }

    /// The offset of the next byte it is to be sent.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The offset before which it has processed everything.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Bytes sent and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let unsent = self.skip.map_or(0, |skip| skip.to - skip.from - skip.sent);
        self.next - self.acked - unsent
    }

    /// Bytes it may be sent now.
    #[must_use]
    pub fn credit(&self) -> u64 {
        u64::from(self.window).saturating_sub(self.in_flight())
    }

    /// What to do for it.
    #[must_use]
    pub fn next(&self, ring: &Ring) -> Next {
        let credit = self.credit();
        if self.next < ring.start() {
            return if credit == 0 || self.skip.is_some() { Next::NoCredit } else { Next::Lapped };
        }
        let have = ring.end().saturating_sub(self.next);
        if have == 0 {
            return Next::CaughtUp;
        }
        if credit == 0 {
            return Next::NoCredit;
        }
        Next::Send { from: self.next, len: have.min(credit).min(MAX_PAYLOAD as u64) as usize }
    }

    /// `len` bytes were sent.
    pub fn sent(&mut self, len: usize) {
        self.next += len as u64;
    }

    /// The reader acknowledges. What it cannot have seen yet is not believed.
    pub fn ack(&mut self, offset: u64) {
        let mut offset = offset.min(self.next);
        if let Some(skip) = self.skip {
            if offset >= skip.to {
                self.skip = None;
            } else {
                offset = offset.min(skip.from);
            }
        }
        self.acked = self.acked.max(offset);
    }

    /// A snapshot that stands for everything before `at` takes the place of the bytes up to there. One that stands for
    /// no more than was sent already (asked for, or after a resize) skips nothing.
    pub fn skip_to(&mut self, at: u64) {
        if at <= self.next {
            return;
        }
        let skip = match self.skip {
            Some(skip) => Skip { to: at, sent: skip.sent + (self.next - skip.to), ..skip },
            None => Skip { from: self.next, to: at, sent: 0 },
        };
        self.skip = Some(skip);
        self.next = at;
    }

    /// The stream goes on elsewhere (a new epoch, an upstream that came back with a snapshot): the reader is sent a
    /// snapshot and starts over at `at`, with nothing in flight.
    pub fn restart(&mut self, at: u64) {
        *self = Cursor { next: at, acked: at, skip: None, ..*self };
    }
}

/// Where somebody was when it left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Whose offsets these are.
    pub epoch: Epoch,
    /// It has everything before this.
    #[serde(deserialize_with = "crate::ids::offset")]
    pub offset: u64,
    /// The size generation of the screen it has.
    pub size_generation: u32,
}

/// How an open goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// With the very next byte.
    Exact(u64),
    /// With a snapshot.
    Snapshot,
}

/// Exact if it is the same stream at the same size and the ring still has every byte since, else a snapshot: nothing
/// in between. Bytes are never replayed across a resize, since the screen they were written for is gone.
#[must_use]
pub fn resume(since: Option<Since>, epoch: Epoch, size_generation: u32, ring: &Ring) -> Resume {
    match since {
        Some(s)
            if s.epoch == epoch
                && s.size_generation == size_generation
                && (ring.start()..=ring.end()).contains(&s.offset) =>
        {
            Resume::Exact(s.offset)
        }
        _ => Resume::Snapshot,
    }
}
