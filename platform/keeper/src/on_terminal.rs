//! A program's terminal: the pseudo-terminal itself while there is output to come, what is remembered of it, and how
//! fast it is read.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use lap_wire::control::{ErrorCode, Size, WireError};
use rustix::process::Pid;

use crate::limits::STALLED;
use crate::pace::{Pace, READER_RATE, TYPING_RATE};
use crate::pty::Pty;
use crate::terminal::Terminal;

/// See the module.
pub(crate) struct OnTerminal {
    /// Until the output has ended.
    pty: Option<Pty>,
    pub(crate) terminal: Terminal,
    pace: Pace,
    /// How far the most advanced reader has been sent, and since when.
    front: (u64, Instant),
}

impl OnTerminal {
    /// A terminal whose program has just been started on it. `scrollback` is in bytes, `None` the model's default.
    pub(crate) fn new(
        pty: Pty,
        size: Size,
        ring: usize,
        scrollback: Option<usize>,
        now: Instant,
    ) -> OnTerminal {
        let terminal = Terminal::new(size, ring, scrollback);
        OnTerminal { pty: Some(pty), terminal, pace: Pace::new(now), front: (0, now) }
    }

    /// Its descriptor, until the output has ended.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pty.as_ref().map(AsFd::as_fd)
    }

    /// The output has ended, or is not waited for any more; whoever still has the terminal is hung up on.
    pub(crate) fn close(&mut self) {
        self.pty = None;
    }

    /// The program has ended: the output does when the last of its descendants closes the terminal.
    pub(crate) fn release(&mut self) {
        if let Some(pty) = &mut self.pty {
            pty.release();
        }
    }

    /// The process group in the foreground.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        self.pty.as_ref().and_then(Pty::foreground)
    }

    /// The character that ends input.
    pub(crate) fn end_of_file(&self) -> Option<u8> {
        self.pty.as_ref().and_then(Pty::end_of_file)
    }

    /// Another size, for the program and for the model. `false`: it has that size already.
    pub(crate) fn resize(&mut self, size: Size) -> Result<bool, WireError> {
        if let Some(pty) = &self.pty {
            let cannot = |e| WireError::new(ErrorCode::Internal, format!("cannot resize: {e}"));
            pty.resize(size).map_err(cannot)?;
        }
        Ok(self.terminal.resize(size))
    }

    /// The output goes on with this.
    pub(crate) fn took(&mut self, bytes: &[u8]) {
        self.terminal.push(bytes);
        self.pace.used(bytes);
    }

    /// A reader has been sent everything before `offset`.
    pub(crate) fn sent(&mut self, offset: u64, now: Instant) {
        if offset > self.front.0 {
            self.front = (offset, now);
        }
    }

    /// The most advanced reader may be another one now.
    pub(crate) fn forget_front(&mut self) {
        self.front.0 = 0;
    }

    /// Bytes that may be read now; `typing` says whether somebody does, anywhere.
    pub(crate) fn budget(&mut self, typing: bool, now: Instant) -> usize {
        self.pace.budget(self.rate(typing, now), now)
    }

    /// While it may not be read: when it may again.
    pub(crate) fn held_until(&mut self, typing: bool, now: Instant) -> Option<Instant> {
        (self.budget(typing, now) == 0).then(|| self.pace.resume_at())
    }

    /// Bytes per millisecond it may be read at ([`crate::pace`]), `None` for as fast as it goes.
    fn rate(&self, typing: bool, now: Instant) -> Option<u64> {
        if typing && self.pace.is_costly() {
            return Some(TYPING_RATE);
        }
        let (front, since) = self.front;
        let ring = self.terminal.ring();
        let far_behind = front > 0 && ring.end().saturating_sub(front) > ring.capacity() as u64 / 2;
        let progressing = now.saturating_duration_since(since) < STALLED;
        (far_behind && progressing).then_some(READER_RATE)
    }
}
