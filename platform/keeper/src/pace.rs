//! How fast a flooding terminal is read.
//!
//! A program is not held up by whoever looks at it, with two exceptions. While its most advanced reader takes what it
//! can and is still more than half the ring behind, the program is slowed down to a rate that any reader worth the name
//! keeps up with, instead of being torn to pieces by skips. And while somebody types, anywhere in this sandbox, a
//! flood of short lines is read slowly: the kernel's terminal works through it line by line, which takes the processor
//! from the program that is typed into, and reading less is all that helps, since its writer then sleeps. A flood of
//! long lines costs ten times less for a byte, and is left alone.

use std::time::{Duration, Instant};

/// Bytes a terminal may put out at once before it counts as a flood: many full redraws of a large screen.
const BURST: u64 = 64 * 1024;
/// The floor that no reader's slowness takes a program below: 32 MB/s, in bytes per millisecond.
pub(crate) const READER_RATE: u64 = 32_000;
/// While somebody types: 2 MB/s, in bytes per millisecond.
pub(crate) const TYPING_RATE: u64 = 2_000;
/// How often a terminal that is held is looked at again.
const TICK: Duration = Duration::from_millis(1);
/// Lines of fewer bytes than this on average are short: a terminal passes on some 1.3 million lines a second however
/// long they are, so these keep a processor busy at less than 40 MB/s.
const SHORT_LINE: usize = 32;
/// How much of a read is looked at to tell, in bytes.
const SAMPLE: usize = 512;

/// A bucket that fills at whatever rate applies now.
#[derive(Debug)]
pub(crate) struct Pace {
    allowance: u64,
    filled: Instant,
    /// Whether the last output was of short lines.
    short_lines: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { allowance: BURST, filled: now, short_lines: false }
    }

    /// Bytes that may be read now. `rate` in bytes per millisecond, `None` for no limit.
    pub(crate) fn budget(&mut self, rate: Option<u64>, now: Instant) -> usize {
        let Some(rate) = rate else {
            (self.allowance, self.filled) = (BURST, now);
            return usize::MAX;
        };
        let elapsed = now.saturating_duration_since(self.filled).as_micros().min(1_000_000) as u64;
        let fresh = elapsed * rate / 1000;
        // Less than a byte is left to grow.
        if fresh > 0 {
            (self.allowance, self.filled) = ((self.allowance + fresh).min(BURST), now);
        }
        // Crumbs are not worth a system call each: the allowance is used in ticks.
        if self.allowance >= rate.min(BURST) { self.allowance as usize } else { 0 }
    }

    /// These were read.
    pub(crate) fn used(&mut self, bytes: &[u8]) {
        self.allowance = self.allowance.saturating_sub(bytes.len() as u64);
        // What is less than that is no flood, and says nothing of one.
        if let Some(sample) = bytes.get(..SAMPLE) {
            let lines = sample.iter().filter(|byte| **byte == b'\n').count();
            self.short_lines = lines * SHORT_LINE > SAMPLE;
        }
    }

    /// Whether its output is of the kind that takes the processor from others.
    pub(crate) fn is_costly(&self) -> bool {
        self.short_lines
    }

    /// When to look again after a budget of 0.
    pub(crate) fn resume_at(&self) -> Instant {
        self.filled + TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_held_to_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut read = 0;
        for ms in 0..=1000 {
            let n = pace.budget(Some(TYPING_RATE), start + Duration::from_millis(ms));
            pace.used(&vec![b'x'; n]);
            read += n as u64;
            if ms == 0 {
                assert_eq!(read, BURST);
            }
        }
        assert_eq!(read, BURST + 1000 * TYPING_RATE);
    }

    #[test]
    fn short_lines_are_told_from_long_ones() {
        let mut pace = Pace::new(Instant::now());
        pace.used(&b"y\r\n".repeat(1000));
        assert!(pace.is_costly());
        pace.used(&[b'x'; 4096]);
        assert!(!pace.is_costly());
        let log = "a line of a build's log, of no special length\r\n".repeat(80);
        pace.used(log.as_bytes());
        assert!(!pace.is_costly());
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing_new() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.used(&[b'x'; BURST as usize]);
        assert_eq!(pace.budget(Some(READER_RATE), now), 0);
        assert_eq!(pace.budget(None, now), usize::MAX, "no limit is no limit");
    }
}
