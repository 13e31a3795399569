//! Flow control and resume: a reader is never sent past its credit and never a stream with a hole.

use lap_wire::flow::{Cursor, Next, Resume, Since, resume};
use lap_wire::limits::{DEFAULT_WINDOW, MAX_PAYLOAD, MAX_WINDOW};
use lap_wire::{Epoch, Ring};
use proptest::prelude::*;

/// What a reader was sent, in order.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Bytes { from: u64, to: u64 },
    Snapshot { at: u64 },
}

/// A reader at the other end of a link that keeps order: what it was sent, how much of that it has processed.
#[derive(Default)]
struct Reader {
    sent: Vec<Sent>,
    /// Bytes it has processed, counted over `Sent::Bytes` only.
    processed: u64,
    acked: u64,
}

impl Reader {
    fn sent_bytes(&self) -> u64 {
        self.sent.iter().map(|s| if let Sent::Bytes { from, to } = s { to - from } else { 0 }).sum()
    }

    /// Processes up to `n` more bytes, and the snapshots between and right behind them.
    fn process(&mut self, n: u64) {
        self.processed = (self.processed + n).min(self.sent_bytes());
        let mut left = self.processed;
        for sent in &self.sent {
            match *sent {
                Sent::Snapshot { at } => self.acked = at,
                Sent::Bytes { from, to } => {
                    self.acked = from + left.min(to - from);
                    left -= left.min(to - from);
                    if self.acked < to {
                        break;
                    }
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Output(usize),
    /// The sender sends until it can no more, or so many frames.
    Send(usize),
    /// The reader processes so many bytes and acknowledges.
    Process(u64),
    /// It acknowledges what it has not seen.
    Lie(u64),
    /// A snapshot it asked for, or of a resize, at the stream's end.
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0usize..40_000).prop_map(Op::Output),
        5 => (1usize..6).prop_map(Op::Send),
        4 => (0u64..60_000).prop_map(Op::Process),
        1 => any::<u64>().prop_map(Op::Lie),
        2 => Just(Op::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_reader_gets_the_stream_in_bytes_and_declared_skips_within_its_credit(
        window in prop_oneof![1u32..5_000, 5_000u32..100_000],
        start in 0u64..1 << 50,
        honest: bool,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut ring = Ring::starting_at(16 * 1024, start);
        let mut cursor = Cursor::new(start, window);
        let mut reader = Reader { acked: start, ..Reader::default() };
        // Where the reader's copy of the stream has come to, and whether it ever lied.
        let (mut at, mut lied) = (start, false);
        for op in ops {
            match op {
                Op::Output(n) => ring.push(&vec![b'x'; n]),
                Op::Send(frames) => for _ in 0..frames {
                    match cursor.next(&ring) {
                        Next::Send { from, len } => {
                            prop_assert_eq!(from, at, "no hole, no repetition");
                            prop_assert!(len > 0 && len <= MAX_PAYLOAD);
                            prop_assert!(ring.read(from, len).is_some_and(|(a, b)| a.len() + b.len() == len));
                            cursor.sent(len);
                            at += len as u64;
                            reader.sent.push(Sent::Bytes { from, to: at });
                        }
                        Next::Lapped => {
                            prop_assert!(at < ring.start(), "skipped only what is gone");
                            at = ring.end();
                            cursor.skip_to(at);
                            reader.sent.push(Sent::Snapshot { at });
                        }
                        Next::CaughtUp => { prop_assert_eq!(at, ring.end()); break }
                        Next::NoCredit => break,
                    }
                    prop_assert_eq!(cursor.next_offset(), at);
                    prop_assert!(cursor.in_flight() <= u64::from(window));
                    prop_assert!(lied || reader.sent_bytes() - reader.processed <= u64::from(window));
                },
                Op::Process(n) => {
                    reader.process(n);
                    cursor.ack(reader.acked);
                }
                Op::Lie(_) if honest => {}
                Op::Lie(offset) => {
                    lied |= offset > reader.acked;
                    cursor.ack(offset);
                }
                Op::Snapshot => {
                    at = ring.end().max(at);
                    cursor.skip_to(at);
                    reader.sent.push(Sent::Snapshot { at });
                }
            }
            // Never more in flight than is true, so that nobody waits for an acknowledgement that cannot come.
            if !lied && reader.sent.iter().all(|s| matches!(s, Sent::Bytes { .. })) {
                prop_assert_eq!(cursor.in_flight(), reader.sent_bytes() - reader.processed);
            }
        }
        // Whatever happened: once the reader has processed everything, it can be sent everything.
        reader.process(u64::MAX / 2);
        cursor.ack(reader.acked.max(at));
        prop_assert_eq!(cursor.in_flight(), 0);
        prop_assert!(cursor.next(&ring) != Next::NoCredit);
    }

    #[test]
    fn going_on_exactly_needs_the_same_stream_size_and_every_byte(
        (start, len) in (0u64..1_000, 0usize..6_000),
        (offset, generation, same_epoch) in (0u64..8_000, 0u32..3, any::<bool>()),
    ) {
        let mut ring = Ring::starting_at(4096, start);
        ring.push(&vec![b'x'; len]);
        let (epoch, other) = (Epoch(7), Epoch(8));
        let since = Since { epoch: if same_epoch { epoch } else { other }, offset, size_generation: generation };
        let outcome = resume(Some(since), epoch, 1, &ring);
        let exact = same_epoch && generation == 1 && ring.read(offset, 1).is_some();
        prop_assert_eq!(outcome, if exact { Resume::Exact(offset) } else { Resume::Snapshot });
    }
}

#[test]
fn who_was_never_here_begins_with_a_snapshot() {
    assert_eq!(resume(None, Epoch(7), 0, &Ring::new(4096)), Resume::Snapshot);
}

#[test]
fn a_reader_that_never_acknowledges_gets_one_window_and_one_snapshot() {
    let mut ring = Ring::new(4096);
    let mut cursor = Cursor::new(0, 10_000);
    let (mut bytes, mut snapshots) = (0, 0);
    for _ in 0..1_000 {
        ring.push(&[b'x'; 3_000]);
        match cursor.next(&ring) {
            Next::Send { len, .. } => {
                cursor.sent(len);
                bytes += len;
            }
            Next::Lapped => {
                cursor.skip_to(ring.end());
                snapshots += 1;
            }
            Next::CaughtUp | Next::NoCredit => {}
        }
    }
    assert!(bytes <= 10_000 && snapshots <= 1, "{bytes} bytes, {snapshots} snapshots");
}

#[test]
fn a_lapped_reader_is_skipped_again_once_it_has_the_snapshot() {
    let mut ring = Ring::new(4096);
    let mut cursor = Cursor::new(0, 1_000);
    ring.push(&[b'x'; 10_000]);
    assert_eq!(cursor.next(&ring), Next::Lapped);
    cursor.skip_to(10_000);
    ring.push(&[b'x'; 10_000]);
    assert_eq!(cursor.next(&ring), Next::NoCredit, "the snapshot is still on its way");
    cursor.ack(9_999);
    assert_eq!((cursor.next(&ring), cursor.acked()), (Next::NoCredit, 0), "nothing between was ever sent");
    cursor.ack(10_000);
    assert_eq!(cursor.next(&ring), Next::Lapped);
}

#[test]
fn a_window_of_zero_is_the_default_and_none_is_over_the_limit() {
    for (asked, given) in [(0, DEFAULT_WINDOW), (1, 1), (u32::MAX, MAX_WINDOW)] {
        assert_eq!(Cursor::new(5, asked).credit(), u64::from(given));
    }
}
