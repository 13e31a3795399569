//! How what a viewer types reaches the keeper: each byte once, whatever is refused or breaks on the way.
//!
//! Whoever numbers the bytes keeps them until they are acknowledged, and goes back to the offset the keeper expects
//! when some did not get through. A client of `lap.attach.v1` numbers its own: [`Relay`] passes its frames on and tells
//! it once where to go back to. A client of the simple socket does not: [`Sender`] numbers and keeps for it.

use std::collections::VecDeque;
use std::time::Duration;

use lap_wire::limits::{INPUT_WINDOW, MAX_PAYLOAD};
use tokio::time::Instant;

/// Bytes on the way to the keeper and not acknowledged, of one simple socket: half of what a program's queue takes.
const IN_FLIGHT: u64 = INPUT_WINDOW as u64 / 2;
/// When a program takes no more, it is tried again this much later, if nothing was acknowledged before.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// Why the keeper did not take input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Bytes before it are missing.
    Gap,
    /// The program takes no more for now.
    Overflow,
}

/// Passes on what a client numbers itself.
#[derive(Debug, Default)]
pub(super) struct Relay {
    /// The client has sent something of everything before this.
    end: u64,
    /// The client was told to go back to here; what it sent before it was told is dropped.
    waits_for: Option<u64>,
    /// Where it last went back to: gaps told of before that are no news.
    went_back_to: Option<u64>,
}

impl Relay {
    /// The client sent a frame. Says whether to pass it on; `up`: whether that can be done.
    pub(super) fn frame(&mut self, offset: u64, len: usize, up: bool) -> bool {
        self.end = self.end.max(offset + len as u64);
        if !up {
            return false;
        }
        match self.waits_for {
            Some(expected) if offset > expected => false,
            Some(expected) => {
                (self.waits_for, self.went_back_to) = (None, Some(expected));
                true
            }
            None => true,
        }
    }

    /// The frame could not be passed on after all: the client has to send it again.
    pub(super) fn unsent(&mut self, offset: u64) {
        self.waits_for = Some(offset);
    }

    /// The stream is open at the keeper, for the first time or again, and written up to `offset`. Gives where the
    /// client has to go back to, if it has sent more than that.
    pub(super) fn opened(&mut self, offset: u64) -> Option<u64> {
        self.went_back_to = None;
        self.waits_for = (self.end > offset).then_some(offset);
        self.waits_for
    }

    /// The keeper refused a frame and expects what comes at `expected`. Says whether that is news to the client.
    pub(super) fn refused(&mut self, refusal: Refusal, expected: u64) -> bool {
        // A frame from there on leaves no gap: this was said of one that was sent before the client went back.
        let old = refusal == Refusal::Gap && self.went_back_to == Some(expected);
        if old || self.waits_for.is_some_and(|at| at <= expected) {
            return false;
        }
        self.waits_for = Some(expected);
        true
    }
}

/// Numbers and keeps what a client of the simple socket types.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// Not acknowledged, from `base` on.
    held: VecDeque<u8>,
    base: u64,
    /// Everything before this is on its way.
    next: u64,
    /// The keeper has opened the stream on the present connection.
    up: bool,
    /// When to try again, after the program took no more.
    retry_at: Option<Instant>,
    went_back_to: Option<u64>,
}

impl Sender {
    /// The client typed.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
    }

    /// Whether so much is held that no more is to be read from the client.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= INPUT_WINDOW
    }

    /// What to send next, and at which offset.
    pub(super) fn next(&self) -> Option<(u64, &[u8])> {
        if !self.up || self.retry_at.is_some() {
            return None;
        }
        let room = IN_FLIGHT.saturating_sub(self.next - self.base) as usize;
        let at = (self.next - self.base) as usize;
        let (a, b) = self.held.as_slices();
        let rest = if at < a.len() { &a[at..] } else { b.get(at - a.len()..)? };
        let piece = &rest[..rest.len().min(room).min(MAX_PAYLOAD)];
        (!piece.is_empty()).then_some((self.next, piece))
    }

    /// It was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.next += bytes as u64;
    }

    /// It could not be sent for now.
    pub(super) fn unsent(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY);
    }

    /// When to ask [`Sender::next`] again, if nothing happens before.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    /// The program was given everything before `offset`.
    pub(super) fn acked(&mut self, offset: u64) {
        let known = offset.min(self.base + self.held.len() as u64);
        if known > self.base {
            self.held.drain(..(known - self.base) as usize);
            self.held.shrink_to(INPUT_WINDOW);
            self.base = known;
            self.next = self.next.max(known);
            self.retry_at = None;
        }
    }

    /// The connection to the keeper is down.
    pub(super) fn broken(&mut self) {
        self.up = false;
    }

    /// The stream is open at the keeper, for the first time or again, and written up to `offset`. Gives how many bytes
    /// nobody can say of whether they were written.
    pub(super) fn opened(&mut self, offset: u64) -> u64 {
        (self.up, self.retry_at, self.went_back_to) = (true, None, None);
        self.go_back(offset)
    }

    /// The keeper refused a piece and expects what comes at `expected`. Gives how many bytes are lost.
    pub(super) fn refused(&mut self, refusal: Refusal, expected: u64, now: Instant) -> u64 {
        match refusal {
            Refusal::Gap if self.went_back_to == Some(expected) => return 0,
            Refusal::Gap => {}
            Refusal::Overflow => self.retry_at = Some(now + RETRY),
        }
        self.went_back_to = Some(expected);
        self.go_back(expected)
    }

    /// Goes on at `offset`. If that is nothing that is held, the keeper does not know this stream (any more): what was
    /// on its way is given up, what was not goes on at the keeper's number.
    fn go_back(&mut self, offset: u64) -> u64 {
        if (self.base..=self.base + self.held.len() as u64).contains(&offset) {
            // Taken by the keeper and not yet written: kept until acknowledged, and not sent again.
            self.next = offset;
            return 0;
        }
        let lost = self.next - self.base;
        self.held.drain(..lost as usize);
        (self.base, self.next) = (offset, offset);
        lost
    }
}

#[cfg(test)]
mod tests {
    use lap_wire::input::{Accept, accept};
    use proptest::prelude::*;

    use super::*;

    /// A keeper's side of one stream, whose program reads when it is told to.
    #[derive(Default)]
    struct Keeper {
        taken: Vec<u8>,
        written: u64,
        room: usize,
    }

    impl Keeper {
        fn offer(&mut self, offset: u64, bytes: &[u8]) -> Result<(), (Refusal, u64)> {
            let taken = self.taken.len() as u64;
            match accept(taken, offset, bytes.len()) {
                Accept::Duplicate => Ok(()),
                Accept::Gap { expected } => Err((Refusal::Gap, expected)),
                Accept::From(at) if bytes.len() - at > self.room => Err((Refusal::Overflow, taken)),
                Accept::From(at) => {
                    self.taken.extend_from_slice(&bytes[at..]);
                    self.room -= bytes.len() - at;
                    Ok(())
                }
            }
        }

        /// The program reads up to `n` bytes.
        fn read(&mut self, n: usize) {
            let n = n.min(self.taken.len() - self.written as usize);
            self.written += n as u64;
            self.room += n;
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Type(usize),
        /// So many frames arrive at the keeper.
        Up(usize),
        /// So many answers come back.
        Down(usize),
        Read(usize),
        Cut,
        Open,
        Wait,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..90_000usize).prop_map(Step::Type),
            2 => (1..10usize).prop_map(Step::Type),
            6 => (1..5usize).prop_map(Step::Up),
            6 => (1..5usize).prop_map(Step::Down),
            3 => (1..120_000usize).prop_map(Step::Read),
            1 => Just(Step::Cut),
            3 => Just(Step::Open),
            2 => Just(Step::Wait),
        ]
    }

    enum Answer {
        Ack(u64),
        Refused(Refusal, u64),
    }

    struct World {
        sender: Sender,
        keeper: Keeper,
        up: VecDeque<(u64, Vec<u8>)>,
        down: VecDeque<Answer>,
        typed: Vec<u8>,
        now: Instant,
    }

    impl World {
        fn pump(&mut self) {
            self.sender.tick(self.now);
            while let Some((offset, bytes)) = self.sender.next() {
                let bytes = bytes.to_vec();
                self.sender.sent(bytes.len());
                self.up.push_back((offset, bytes));
            }
            let flying: u64 = self.sender.next - self.sender.base;
            assert!(flying <= IN_FLIGHT, "{flying} bytes on the way");
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Type(_) if self.sender.is_full() => {}
                Step::Type(n) => {
                    let bytes: Vec<u8> = (0..n).map(|i| (self.typed.len() + i) as u8 ^ 0x5a).collect();
                    self.sender.push(&bytes);
                    self.typed.extend(bytes);
                }
                Step::Up(n) => {
                    for _ in 0..n {
                        let Some((offset, bytes)) = self.up.pop_front() else { break };
                        self.down.push_back(match self.keeper.offer(offset, &bytes) {
                            Ok(()) => Answer::Ack(self.keeper.written),
                            Err((refusal, expected)) => Answer::Refused(refusal, expected),
                        });
                    }
                }
                Step::Down(n) => {
                    for _ in 0..n {
                        match self.down.pop_front() {
                            Some(Answer::Ack(offset)) => self.sender.acked(offset),
                            Some(Answer::Refused(refusal, expected)) => {
                                assert_eq!(
                                    self.sender.refused(refusal, expected, self.now),
                                    0,
                                    "nothing is lost"
                                );
                            }
                            None => break,
                        }
                    }
                }
                Step::Read(n) => {
                    self.keeper.read(n);
                    if self.sender.up {
                        self.down.push_back(Answer::Ack(self.keeper.written));
                    }
                }
                Step::Cut => {
                    self.sender.broken();
                    self.up.clear();
                    self.down.clear();
                }
                Step::Open if !self.sender.up => {
                    assert_eq!(self.sender.opened(self.keeper.written), 0);
                }
                Step::Open => {}
                Step::Wait => self.now += RETRY,
            }
            self.pump();
        }
    }

    proptest! {
        #[test]
        fn what_is_typed_into_a_simple_socket_is_written_once_whatever_is_refused_or_breaks(
            steps in prop::collection::vec(step(), 1..150),
        ) {
            let mut world = World {
                sender: Sender::default(),
                keeper: Keeper { room: INPUT_WINDOW, ..Keeper::default() },
                up: VecDeque::new(), down: VecDeque::new(), typed: Vec::new(), now: Instant::now(),
            };
            for step in &steps {
                world.step(step);
            }
            // Everything goes well from here on.
            for _ in 0..200 {
                for step in [Step::Open, Step::Up(100), Step::Read(1 << 20), Step::Down(100), Step::Wait] {
                    world.step(&step);
                }
            }
            prop_assert!(world.keeper.taken == world.typed, "{} of {}", world.keeper.taken.len(), world.typed.len());
            prop_assert!(world.sender.held.is_empty() && !world.sender.is_full());
        }

        /// A client that does what the protocol's document says of refused input.
        #[test]
        fn a_client_that_goes_back_when_told_gets_everything_through_a_relay(
            steps in prop::collection::vec(step(), 1..150),
        ) {
            let mut relay = Relay::default();
            let mut keeper = Keeper { room: INPUT_WINDOW, ..Keeper::default() };
            let (mut typed, mut next) = (0u64, 0u64);
            let mut is_up = false;
            let (mut up, mut down) = (VecDeque::<(u64, usize)>::new(), VecDeque::new());
            let heal = [Step::Open, Step::Up(100), Step::Read(1 << 20), Step::Down(100)];
            for step in steps.iter().chain(heal.iter().cycle().take(4_000)) {
                match *step {
                    Step::Type(n) if typed - keeper.written + (n as u64) < INPUT_WINDOW as u64 => typed += n as u64,
                    Step::Up(n) => for _ in 0..n {
                        let Some((offset, len)) = up.pop_front() else { break };
                        let bytes: Vec<u8> = (offset..).map(|i| i as u8).take(len).collect();
                        if let Err(refused) = keeper.offer(offset, &bytes) {
                            down.push_back(refused);
                        }
                    },
                    Step::Down(n) => for _ in 0..n {
                        let Some((refusal, expected)) = down.pop_front() else { break };
                        if relay.refused(refusal, expected) {
                            next = expected;
                        }
                    },
                    Step::Read(n) => keeper.read(n),
                    Step::Cut => { is_up = false; up.clear(); down.clear(); }
                    Step::Open if !is_up => {
                        is_up = true;
                        if let Some(expected) = relay.opened(keeper.written) {
                            next = expected;
                        }
                    }
                    _ => {}
                }
                while next < typed {
                    let len = (typed - next).min(MAX_PAYLOAD as u64) as usize;
                    if relay.frame(next, len, is_up) {
                        up.push_back((next, len));
                    }
                    next += len as u64;
                }
            }
            prop_assert_eq!(keeper.taken.len() as u64, typed);
            prop_assert!(keeper.taken.iter().enumerate().all(|(i, b)| *b == i as u8));
        }
    }

    #[test]
    fn a_keeper_that_has_forgotten_the_stream_costs_what_was_on_the_way_and_no_more() {
        let now = Instant::now();
        let mut sender = Sender::default();
        assert_eq!(sender.opened(0), 0);
        sender.push(b"on its way, ");
        let sent = sender.next().map_or(0, |(_, bytes)| bytes.len());
        sender.sent(sent);
        sender.acked(3);
        sender.push(b"and not yet");
        assert_eq!(sender.refused(Refusal::Gap, 1, now), 9);
        assert_eq!(sender.next(), Some((1, &b"and not yet"[..])));
    }

    #[test]
    fn a_burst_that_is_refused_sends_its_client_back_once() {
        let mut relay = Relay::default();
        assert_eq!(relay.opened(0), None);
        assert!((0..8).all(|n| relay.frame(n * 10, 10, true)));
        assert!(relay.refused(Refusal::Overflow, 20));
        assert!((3..8).all(|_| !relay.refused(Refusal::Gap, 20)));
        assert!(!relay.frame(80, 10, true), "what was sent before the client was told");
        assert!(relay.frame(20, 10, true) && relay.frame(30, 10, true));
        assert!(!relay.refused(Refusal::Gap, 20), "said of the burst");
        assert!(relay.refused(Refusal::Overflow, 20), "said of what was sent again");
    }
}
