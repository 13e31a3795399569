//! Exactly-once input: whatever the link does, the program gets what was typed, once and in order.

use std::collections::VecDeque;

use lap_wire::input::{Accept, Resumed, Unacknowledged, accept};
use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};
use proptest::prelude::*;

/// A keeper: what the program was given is all it knows, its length is where the stream has come to.
#[derive(Default)]
struct Keeper {
    written: Vec<u8>,
}

impl Keeper {
    fn input(&mut self, offset: u64, bytes: &[u8]) -> Accept {
        let verdict = accept(self.written.len() as u64, offset, bytes.len());
        if let Accept::From(index) = verdict {
            self.written.extend_from_slice(&bytes[index..]);
        }
        verdict
    }
}

/// A sender, a connection that keeps order until it breaks and then forgets what was on its way, and a keeper.
#[derive(Default)]
struct Link {
    sender: Unacknowledged,
    typed: Vec<u8>,
    to_keeper: VecDeque<(u64, Vec<u8>)>,
    to_sender: VecDeque<u64>,
    keeper: Keeper,
}

impl Link {
    fn type_in(&mut self, bytes: &[u8]) {
        let room = self.sender.room();
        match self.sender.push(0, bytes) {
            Some(offset) => {
                assert_eq!(offset, self.typed.len() as u64);
                self.typed.extend_from_slice(bytes);
                self.to_keeper.push_back((offset, bytes.to_vec()));
            }
            None => assert!(bytes.len() > room),
        }
    }

    fn deliver(&mut self) {
        if let Some((offset, bytes)) = self.to_keeper.pop_front() {
            let verdict = self.keeper.input(offset, &bytes);
            assert!(!matches!(verdict, Accept::Gap { .. }), "{verdict:?} at {offset}");
            self.to_sender.push_back(self.keeper.written.len() as u64);
        }
    }

    fn acknowledge(&mut self) {
        if let Some(offset) = self.to_sender.pop_front() {
            self.sender.ack(offset);
        }
    }

    /// What was on its way is lost; the sender learns how far its stream has come, unless that answer is lost too.
    fn reconnect(&mut self, answered: bool) {
        self.to_keeper.clear();
        self.to_sender.clear();
        if answered {
            assert_eq!(self.sender.resume(self.keeper.written.len() as u64), Resumed::Continues);
        }
        for (offset, _, bytes) in self.sender.outstanding() {
            assert!(!bytes.is_empty() && bytes.len() <= MAX_PAYLOAD);
            self.to_keeper.push_back((offset, bytes.to_vec()));
        }
    }

    fn check(&self) {
        assert!(self.typed.starts_with(&self.keeper.written), "in order, nothing twice");
        let outstanding: Vec<u8> =
            self.sender.outstanding().flat_map(|(_, _, bytes)| bytes.to_vec()).collect();
        assert_eq!(outstanding, &self.typed[self.sender.acked() as usize..]);
        assert_eq!(self.sender.room(), INPUT_WINDOW - outstanding.len());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Type(Vec<u8>),
    Paste(usize),
    Deliver(usize),
    Acknowledge(usize),
    Reconnect(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 1..6).prop_map(Op::Type),
        1 => (1usize..120_000).prop_map(Op::Paste),
        5 => (1usize..6).prop_map(Op::Deliver),
        4 => (1usize..6).prop_map(Op::Acknowledge),
        1 => any::<bool>().prop_map(Op::Reconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_program_gets_what_was_typed_once_and_in_order(ops in prop::collection::vec(op(), 1..150)) {
        let mut link = Link::default();
        let mut key = 0u8;
        for op in ops {
            match op {
                Op::Type(bytes) => link.type_in(&bytes),
                Op::Paste(n) => {
                    let paste: Vec<u8> = (0..n).map(|_| { key = key.wrapping_mul(5).wrapping_add(3); key }).collect();
                    link.type_in(&paste);
                }
                Op::Deliver(n) => (0..n).for_each(|_| link.deliver()),
                Op::Acknowledge(n) => (0..n).for_each(|_| link.acknowledge()),
                Op::Reconnect(answered) => link.reconnect(answered),
            }
            link.check();
        }
        link.reconnect(true);
        while !link.to_keeper.is_empty() {
            link.deliver();
        }
        while !link.to_sender.is_empty() {
            link.acknowledge();
        }
        prop_assert_eq!(&link.keeper.written, &link.typed);
        prop_assert_eq!(link.sender.outstanding().count(), 0);
    }

    #[test]
    fn a_verdict_takes_every_new_byte_and_no_old_one(expected in 0u64..100, offset in 0u64..100, len in 0usize..100) {
        let new: Vec<u64> = (offset..offset + len as u64).filter(|at| *at >= expected).collect();
        match accept(expected, offset, len) {
            Accept::Gap { expected: at } => prop_assert!(offset > expected && at == expected),
            Accept::Duplicate => prop_assert!(offset <= expected && new.is_empty()),
            Accept::From(index) => {
                prop_assert_eq!(offset + index as u64, expected);
                prop_assert_eq!(new.len(), len - index);
                prop_assert!(!new.is_empty());
            }
        }
    }
}

#[test]
fn keystrokes_share_their_memory() {
    let mut sender = Unacknowledged::new();
    for _ in 0..INPUT_WINDOW {
        assert!(sender.push(0, b"x").is_some());
    }
    assert_eq!(sender.outstanding().count(), INPUT_WINDOW / MAX_PAYLOAD);
    assert_eq!((sender.room(), sender.push(0, b"x")), (0, None));
}

#[test]
fn pieces_of_different_kinds_stay_apart() {
    let mut sender = Unacknowledged::new();
    for (flags, bytes) in [(0, b"ab"), (0x40, b"cd"), (0, b"ef")] {
        sender.push(flags, bytes);
    }
    sender.ack(3);
    let left: Vec<_> = sender.outstanding().collect();
    assert_eq!(left, [(3, 0x40, &b"d"[..]), (4, 0, &b"ef"[..])]);
}

#[test]
fn a_stream_the_keeper_does_not_know_is_not_guessed_at() {
    for claimed in [0, 9, 100] {
        let mut sender = Unacknowledged::new();
        sender.push(0, &[b'x'; 20]);
        sender.ack(10);
        assert_eq!(sender.resume(claimed), Resumed::Forgotten, "{claimed}");
        assert_eq!((sender.end(), sender.outstanding().count()), (0, 0));
    }
}
