//! The ring against the simplest thing that could be right: a vector that keeps every byte.

use lap_wire::Ring;
use proptest::prelude::*;

/// Every byte the stream ever had, with what the ring promises about them.
struct Oracle {
    bytes: Vec<u8>,
    base: u64,
    /// The oldest byte the ring must still have; it may have older ones.
    kept_from: u64,
}

impl Oracle {
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    fn slice(&self, from: u64, to: u64) -> &[u8] {
        &self.bytes[(from - self.base) as usize..(to - self.base) as usize]
    }

    /// Bytes came, `reserved` of the ring's room were asked for: older ones may have gone.
    fn came(&mut self, bytes: &[u8], reserved: usize, capacity: usize) {
        let before = self.end();
        self.bytes.extend_from_slice(bytes);
        let newest = before + reserved as u64;
        self.kept_from = self.kept_from.max(newest.saturating_sub(capacity as u64)).min(self.end());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    /// Asked for, filled (cut to what was given).
    Read(usize, usize),
    /// Room asked for and not used at all.
    Asked(usize),
    Release(u64),
    Restart(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let size =
        || prop_oneof![4 => 0usize..20, 3 => 0usize..3_000, 2 => 3_000usize..9_000, 1 => 9_000usize..60_000];
    prop_oneof![
        5 => size().prop_map(Op::Push),
        5 => (size(), size()).prop_map(|(want, used)| Op::Read(want, used)),
        1 => size().prop_map(Op::Asked),
        // How far behind the end; small ones empty it.
        2 => prop_oneof![Just(0u64), 0u64..20_000].prop_map(Op::Release),
        1 => (0u64..1 << 40).prop_map(Op::Restart),
    ]
}

fn check(ring: &Ring, oracle: &Oracle, probe: u64) -> Result<(), TestCaseError> {
    let (start, end) = (ring.start(), ring.end());
    prop_assert_eq!(end, oracle.end());
    prop_assert!(start <= oracle.kept_from, "{} is gone, {} was promised", start, oracle.kept_from);
    prop_assert!(ring.len() <= ring.capacity() && ring.allocated() <= ring.capacity());
    prop_assert_eq!(ring.is_empty(), start == end);

    for from in [start, oracle.kept_from, end, start + probe % (end - start + 1)] {
        for max in [usize::MAX, (probe >> 32) as usize % 5_000, 0] {
            let Some((a, b)) = ring.read(from, max) else {
                return Err(TestCaseError::fail(format!("{from} is gone from {start}..{end}")));
            };
            let to = end.min(from.saturating_add(max as u64));
            prop_assert_eq!(&[a, b].concat(), oracle.slice(from, to));
        }
    }
    prop_assert!(ring.read(end + 1, 1).is_none());
    prop_assert!(start == 0 || ring.read(start - 1, 1).is_none());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_ring_is_the_end_of_the_stream(
        capacity in prop_oneof![Just(0usize), 1usize..70_000],
        start in prop_oneof![Just(0u64), 0u64..1 << 50],
        ops in prop::collection::vec((op(), any::<u64>()), 1..60),
        seed: u8,
    ) {
        let mut ring = Ring::starting_at(capacity, start);
        let capacity = ring.capacity();
        let mut oracle = Oracle { bytes: Vec::new(), base: start, kept_from: start };
        let mut next = u32::from(seed);
        let mut fresh = |n: usize| -> Vec<u8> {
            (0..n).map(|_| { next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (next >> 24) as u8 }).collect()
        };
        for (op, probe) in ops {
            match op {
                Op::Push(n) => {
                    let bytes = fresh(n);
                    ring.push(&bytes);
                    oracle.came(&bytes, n, capacity);
                }
                Op::Read(want, used) => {
                    let room = ring.space(want);
                    prop_assert!(!room.is_empty() && room.len() <= want.max(1));
                    let reserved = room.len();
                    let bytes = fresh(used.min(reserved));
                    room[..bytes.len()].copy_from_slice(&bytes);
                    ring.commit(bytes.len());
                    oracle.came(&bytes, reserved, capacity);
                }
                Op::Asked(want) => {
                    let reserved = ring.space(want).len();
                    oracle.came(&[], reserved, capacity);
                }
                Op::Release(behind) => {
                    let to = ring.end().saturating_sub(behind).max(oracle.base);
                    ring.release(to);
                    oracle.kept_from = oracle.kept_from.max(to);
                    prop_assert!(ring.start() >= to);
                }
                Op::Restart(at) => {
                    ring.restart(at);
                    oracle = Oracle { bytes: Vec::new(), base: at, kept_from: at };
                    prop_assert_eq!(ring.allocated(), 0);
                }
            }
            check(&ring, &oracle, probe)?;
        }
    }
}

#[test]
fn a_ring_that_nothing_was_written_to_takes_no_memory() {
    let mut ring = Ring::new(4 << 20);
    assert_eq!(ring.allocated(), 0);
    ring.push(b"prompt$ ");
    assert!(ring.allocated() <= 4096);
    ring.push(&[b'x'; 100_000]);
    ring.release(ring.end());
    assert_eq!(ring.allocated(), 0, "all of it was read");
    ring.push(b"$ ");
    assert_eq!(ring.read(ring.start(), 9).unwrap().0, b"$ ");
}

#[test]
fn releasing_what_has_not_come_yet_releases_what_has() {
    let mut ring = Ring::new(4096);
    ring.push(b"abc");
    ring.release(1_000);
    assert_eq!((ring.start(), ring.end()), (3, 3));
    ring.release(1);
    assert_eq!(ring.start(), 3, "and never goes back");
}

#[test]
fn room_is_never_more_than_the_ring_holds() {
    let mut ring = Ring::new(4096);
    ring.push(&[b'x'; 100]);
    assert_eq!(ring.space(usize::MAX).len(), 3_996, "up to where it wraps");
    assert_eq!(ring.len(), 100);
    ring.commit(3_996);
    assert_eq!(ring.space(usize::MAX).len(), 4096);
    assert!(ring.is_empty(), "what stood there is forgotten");
}

#[test]
fn more_than_the_capacity_leaves_its_end() {
    let mut ring = Ring::starting_at(4096, 5);
    let bytes: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    ring.push(&bytes);
    assert_eq!((ring.start(), ring.end()), (10_005 - 4096, 10_005));
    let (a, b) = ring.read(ring.start(), usize::MAX).unwrap();
    assert_eq!([a, b].concat(), bytes[10_000 - 4096..]);
}
