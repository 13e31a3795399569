//! How much bulk a connection may have in flight, so that it fills the link and yet a keystroke's echo never stands
//! behind more than a few milliseconds of it.
//!
//! A slow link queues whatever it is sent somewhere on the way, where nothing can overtake it. So bulk is kept to what
//! the link carries in its own round trip plus [`QUEUE`]. Rate and round trip are found out as BBR does (Cardwell et
//! al. 2016), by how bulk arrives:
//!
//! - **Marks.** What is measured is the link, so all terminal bytes count that go over it, output and snapshots of all
//!   channels alike, and they are acknowledged by their arrival, not by what the client has made of them: behind each
//!   quarter of what may be in flight goes a `PING` with a number (a [mark](Pacing::mark)), and the `PONG` with that
//!   number says that everything before it is there. Whenever bulk has to wait, a mark is under way, so it never waits
//!   for ever.
//! - **The program's pace is not the link's.** A sample of the rate can only be too low, when there was too little to
//!   send. So the highest of the last rounds counts, and only a round in which bulk waited from the beginning makes an
//!   older one forgotten. A prompt that prints a line a minute says nothing about the link, and changes nothing.
//! - **Phases.** At first the allowance doubles each round trip until the rate grows no more. From then on it is tried
//!   now and then whether the link has more, twice as hard each time that it had; after each try the queue is let run
//!   dry for a round, which also shows the round trip as it is without one.

use std::collections::VecDeque;
use std::time::Duration;

use lap_wire::limits::{DEAD_AFTER_MS, MAX_PING};
use tokio::time::Instant;

/// Queueing that bulk may cause on the way.
const QUEUE: Duration = Duration::from_millis(8);
/// Always allowed: two packets and a little, below which a link would stand still between them.
const MIN_IN_FLIGHT: u64 = 4 * 1024;
/// Allowed until the link has been measured: what TCP's own first flight takes.
const FIRST_IN_FLIGHT: u64 = 16 * 1024;
/// A frame takes about this long on the wire, so that an interactive one waits no longer for it.
const FRAME_TIME: Duration = Duration::from_millis(4);
/// Smaller frames would be mostly headers.
const MIN_FRAME: usize = 1024;
/// A mark goes behind what the link carries in this time: often enough that what is known to be in flight is what is,
/// and seldom enough to cost nothing.
const MARK_TIME: Duration = Duration::from_millis(4);
/// And at the least behind each such part of what may be in flight.
const MARKS_IN_FLIGHT: u64 = 4;
/// Marks that may be unanswered; more would only come of frames far larger than what may be in flight.
const MAX_MARKS: usize = 256;
/// A client that lets the first mark go unanswered for this long never answers, and is told so by the connection's end.
const ANSWER_WITHIN: Duration = Duration::from_millis(DEAD_AFTER_MS);
/// Rounds for which a measured rate is believed: a whole cycle of phases, so that it holds from one try to the next.
const BELIEVED: u64 = 9;
/// Rounds at a steady allowance between two tries for more.
const STEADY: u32 = 6;
/// Growth of the rate in a round by which a link is taken to have more.
const GROWN: f64 = 1.15;
/// Rounds without such growth after which a link is full.
const FULL_AFTER: u32 = 2;

/// What is being found out about the link.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// How much it carries: twice as much each round, until so many rounds brought no more than this rate.
    Startup { best: f64, rounds: u32 },
    /// How long it is without a queue.
    Drain,
    /// Nothing, for so many more rounds.
    Steady(u32),
    /// Whether it carries so much more, this rate having been known before.
    Try { gain: f64, known: f64 },
}

/// The state of one connection's link.
#[derive(Debug)]
pub(super) struct Pacing {
    sent: u64,
    arrived: u64,
    arrived_at: Instant,
    /// Sent and not yet answered, oldest first.
    marks: VecDeque<Mark>,
    /// Where the newest mark was put.
    marked: u64,
    number: u64,
    /// When the first byte after the newest mark was sent.
    unmarked_since: Option<Instant>,
    phase: Phase,
    round: Round,
    /// Bytes per second and the round in which they were measured; falling rates in rising rounds.
    rates: VecDeque<(u64, f64)>,
    /// The shortest round trip of this cycle of phases, and of the one before.
    round_trip: [Option<Duration>; 2],
}

#[derive(Debug)]
struct Mark {
    number: u64,
    /// Everything before this had been sent.
    sent: u64,
    at: Instant,
    /// What had arrived then, and since when that was known.
    arrived: u64,
    arrived_at: Instant,
}

/// From one byte's leaving to its being known to have arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// How many full ones there were before.
    number: u64,
    /// It ends when everything before this has arrived.
    end: u64,
    /// Whether as much was in flight as may be when it began, and bulk has waited since.
    full: (bool, bool),
    /// The shortest time a mark took in it.
    shortest: Option<Duration>,
}

impl Pacing {
    /// A link of which nothing is known.
    #[must_use]
    pub(super) fn new(now: Instant) -> Pacing {
        Pacing {
            sent: 0,
            arrived: 0,
            arrived_at: now,
            marks: VecDeque::new(),
            marked: 0,
            number: 0,
            unmarked_since: None,
            phase: Phase::Startup { best: 0.0, rounds: 0 },
            round: Round::default(),
            rates: VecDeque::new(),
            round_trip: [None; 2],
        }
    }

    /// `bytes` were written to the socket.
    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.sent += bytes;
        self.unmarked_since.get_or_insert(now);
    }

    /// Bulk is there that may not be sent now: so it is the link that is being measured, not the program.
    pub(super) fn bulk_waits(&mut self) {
        self.round.full.1 = true;
    }

    /// The payload of a `PING` that is to be sent now, if one is due.
    #[must_use]
    pub(super) fn mark(&mut self, now: Instant) -> Option<[u8; MAX_PING]> {
        let waits = self.marks.is_empty() && self.bulk_room() == 0;
        let often = self.rate().map_or(u64::MAX, |rate| (rate * MARK_TIME.as_secs_f64()) as u64);
        let due = self.sent - self.marked >= often.min(self.allowed() / MARKS_IN_FLIGHT)
            && self.marks.len() < MAX_MARKS;
        if !(waits || due) {
            return None;
        }
        let since = self.unmarked_since.take()?;
        // After a pause the clock starts with the first byte, not with what arrived before the pause.
        if self.marks.is_empty() {
            self.arrived_at = self.arrived_at.max(since);
        }
        self.number += 1;
        self.marked = self.sent;
        self.marks.push_back(Mark {
            number: self.number,
            sent: self.sent,
            at: now,
            arrived: self.arrived,
            arrived_at: self.arrived_at,
        });
        Some(self.number.to_be_bytes())
    }

    /// A `PONG` has come. One that answers no mark (but a heartbeat, say) is nothing.
    pub(super) fn answered(&mut self, payload: &[u8], now: Instant) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        if self.marks.back().is_none_or(|newest| newest.number < number) {
            return;
        }
        let mut newest = None;
        while self.marks.front().is_some_and(|mark| mark.number <= number) {
            newest = self.marks.pop_front();
        }
        let Some(mark) = newest else { return };
        (self.arrived, self.arrived_at) = (mark.sent, now);
        let took = now.saturating_duration_since(mark.at);
        let shorter = |known: Option<Duration>| Some(known.map_or(took, |known| known.min(took)));
        self.round_trip[0] = shorter(self.round_trip[0]);
        self.round.shortest = shorter(self.round.shortest);
        let elapsed = now.saturating_duration_since(mark.arrived_at).max(Duration::from_micros(10));
        self.measured((mark.sent - mark.arrived) as f64 / elapsed.as_secs_f64());
        if self.arrived >= self.round.end {
            self.next_round();
        }
    }

    /// Whether the client has left the first mark unanswered for so long that it answers none.
    pub(super) fn is_ignored(&self, now: Instant) -> bool {
        let oldest = self.marks.front().map(|mark| now.saturating_duration_since(mark.at));
        self.arrived == 0 && oldest.is_some_and(|age| age >= ANSWER_WITHIN)
    }

    /// Bytes of bulk that may be sent now.
    #[must_use]
    pub(super) fn bulk_room(&self) -> u64 {
        self.allowed().saturating_sub(self.sent - self.arrived)
    }

    /// The size of frame that suits the link, at most `max`.
    #[must_use]
    pub(super) fn frame_size(&self, max: usize) -> usize {
        match self.rate() {
            Some(rate) => ((rate * FRAME_TIME.as_secs_f64()) as usize).clamp(MIN_FRAME, max),
            None => max.min(FIRST_IN_FLIGHT as usize / 4),
        }
    }

    fn allowed(&self) -> u64 {
        let (Some(rate), Some(round_trip)) = (self.rate(), self.shortest()) else { return FIRST_IN_FLIGHT };
        let seconds = match self.phase {
            Phase::Startup { .. } => 2.0 * (round_trip + QUEUE).as_secs_f64(),
            Phase::Drain => 0.75 * round_trip.as_secs_f64(),
            Phase::Steady(_) => (round_trip + QUEUE).as_secs_f64(),
            Phase::Try { gain, .. } => gain * (round_trip + QUEUE).as_secs_f64(),
        };
        // Until it was used in full once, the little that was seen is the program's pace.
        let least = if self.round.number == 0 { FIRST_IN_FLIGHT } else { MIN_IN_FLIGHT };
        ((rate * seconds) as u64).max(least)
    }

    /// Bytes per second.
    fn rate(&self) -> Option<f64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    fn shortest(&self) -> Option<Duration> {
        self.round_trip.into_iter().flatten().min()
    }

    fn measured(&mut self, rate: f64) {
        while self.rates.back().is_some_and(|(_, known)| *known <= rate) {
            self.rates.pop_back();
        }
        // Later ones of one round that are lower say nothing.
        if self.rates.back().is_none_or(|(round, _)| *round != self.round.number) {
            self.rates.push_back((self.round.number, rate));
        }
    }

    /// A round has ended: the phase goes on by what it has shown.
    fn next_round(&mut self) {
        let ended = self.round;
        let rate = self.rate().unwrap_or_default();
        if self.phase == Phase::Drain {
            self.round_trip[1] = self.round_trip[0].take();
            self.phase = Phase::Steady(STEADY);
        }
        if ended.full == (true, true) {
            self.full_round(rate, ended.shortest);
        }
        let began_full = self.sent - self.arrived >= self.allowed() * 3 / 4;
        let number = ended.number + u64::from(ended.full == (true, true));
        self.round = Round { number, end: self.sent, full: (began_full, false), shortest: None };
        while self.rates.len() > 1 && self.rates.front().is_some_and(|(round, _)| round + BELIEVED < number) {
            self.rates.pop_front();
        }
    }

    /// A round in which the link was used as far as it may be.
    fn full_round(&mut self, rate: f64, shortest: Option<Duration>) {
        self.phase = match self.phase {
            Phase::Startup { best, .. } if rate >= best * GROWN => Phase::Startup { best: rate, rounds: 0 },
            Phase::Startup { best, rounds } if rounds + 1 < FULL_AFTER => {
                Phase::Startup { best, rounds: rounds + 1 }
            }
            Phase::Startup { .. } => Phase::Drain,
            Phase::Drain => Phase::Drain,
            Phase::Steady(0) => Phase::Try { gain: 1.25, known: rate },
            Phase::Steady(rounds) => {
                // No moment without a long queue: the link has become slower, and what it was before is over.
                let usual = self.shortest().unwrap_or_default() + QUEUE;
                if shortest.is_some_and(|shortest| shortest > usual * 2) {
                    self.rates.retain(|(round, _)| *round == self.round.number);
                    Phase::Drain
                } else {
                    Phase::Steady(rounds - 1)
                }
            }
            Phase::Try { gain, known } if rate >= known * GROWN => {
                Phase::Try { gain: (gain * gain).min(2.0), known: rate }
            }
            Phase::Try { .. } => Phase::Drain,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a link did: the share of what it could have carried, and the longest queue, in the first seconds and later.
    struct Use {
        share: f64,
        at_first: Duration,
        later: Duration,
    }

    /// A link of `rate` bytes per second and `round_trip` seconds, and a program that is quiet for two seconds and then
    /// prints `program` bytes per second.
    fn simulate(rate: f64, round_trip: f64, program: f64) -> Use {
        const QUIET: f64 = 0.5;
        let start = Instant::now();
        let mut link = Pacing::new(start);
        let (settled, seconds) = (QUIET + 3.0 + 15.0 * round_trip, QUIET + 6.0 + 40.0 * round_trip);
        let (mut now, mut free_at, mut sent, mut delivered) = (0.0f64, 0.0f64, 0u64, 0u64);
        let (mut at_first, mut later) = (0.0f64, 0.0f64);
        // What arrives when: bytes, or a mark, whose answer takes the round trip.
        let mut arriving: VecDeque<(f64, u64, Option<[u8; MAX_PING]>)> = VecDeque::new();
        while now < seconds {
            let at = start + Duration::from_secs_f64(now);
            while arriving.front().is_some_and(|(t, ..)| *t <= now) {
                let (_, n, mark) = arriving.pop_front().unwrap();
                delivered += n;
                if let Some(mark) = mark {
                    link.answered(&mark, at);
                }
            }
            let printed = ((now - QUIET).max(0.0) * program) as u64;
            while printed > sent && link.bulk_room() > 0 {
                let n = (link.frame_size(32 * 1024) as u64).min(printed - sent);
                link.sent(n, at);
                sent += n;
                let queue = (free_at - now).max(0.0);
                if now > settled {
                    later = later.max(queue)
                } else {
                    at_first = at_first.max(queue)
                }
                free_at = free_at.max(now) + n as f64 / rate;
                arriving.push_back((free_at + round_trip, n, link.mark(at)));
            }
            if printed > sent {
                link.bulk_waits();
                arriving.extend(link.mark(at).map(|mark| (free_at.max(now) + round_trip, 0, Some(mark))));
                assert!(!link.marks.is_empty(), "bulk waits for nothing");
            }
            now = arriving.front().map_or(now + 0.001, |(t, ..)| t.min(now + 0.001).max(now + 1e-6));
        }
        let share = delivered as f64 / (rate.min(program) * (seconds - QUIET - round_trip));
        Use { share, at_first: Duration::from_secs_f64(at_first), later: Duration::from_secs_f64(later) }
    }

    #[test]
    fn bulk_fills_a_link_of_any_rate_and_length_and_hardly_queues() {
        for mbit in [0.1, 2.0, 30.0, 250.0] {
            for ms in [0, 10, 60, 300] {
                let (rate, round_trip) = (mbit * 125_000.0, ms as f64 / 1e3);
                for program in [2.0, 0.9] {
                    let used = simulate(rate, round_trip, program * rate);
                    let least = Duration::from_secs_f64((MIN_IN_FLIGHT + 2 * MIN_FRAME as u64) as f64 / rate);
                    let first = Duration::from_secs_f64(FIRST_IN_FLIGHT as f64 / rate);
                    let round_trip = Duration::from_millis(ms);
                    let what = format!("{mbit} Mbit/s, {ms} ms, program at {program} of it");
                    // The first seconds, in which the link is found out about, are part of it.
                    assert!(used.share >= 0.8, "{what}: {:.2} of it used", used.share);
                    let bound = QUEUE * 3 + round_trip * 2 / 5 + least;
                    assert!(used.later <= bound, "{what}: {:?} queued", used.later);
                    let bound = QUEUE * 3 + round_trip * 3 / 2 + first;
                    assert!(used.at_first <= bound, "{what}: {:?} queued at first", used.at_first);
                }
            }
        }
    }

    #[test]
    fn whoever_waits_has_something_to_wait_for_even_when_the_allowance_has_shrunk() {
        let now = Instant::now();
        let mut link = Pacing::new(now);
        // Not enough for a mark of its own when it was sent.
        link.sent(FIRST_IN_FLIGHT / MARKS_IN_FLIGHT - 1, now);
        assert_eq!(link.mark(now), None);
        // So slow a link that only the least may be in flight.
        link.round.number = 1;
        link.rates.push_back((1, 100.0));
        link.round_trip[0] = Some(Duration::from_millis(100));
        link.sent(1, now);
        assert_eq!(link.bulk_room(), 0);
        let mark = link.mark(now).expect("a mark while bulk waits");
        assert_eq!(link.mark(now), None);
        link.answered(&mark, now + Duration::from_secs(1));
        assert_eq!(link.bulk_room(), MIN_IN_FLIGHT);
    }

    #[test]
    fn answers_to_nothing_change_nothing() {
        let now = Instant::now();
        let mut link = Pacing::new(now);
        link.sent(FIRST_IN_FLIGHT, now);
        assert!(link.mark(now).is_some());
        for payload in [&[0; 8][..], &[0xff; 8], &[], &[1; 3]] {
            link.answered(payload, now);
            assert_eq!(link.bulk_room(), 0);
        }
        assert!(!link.is_ignored(now + ANSWER_WITHIN - Duration::from_millis(1)));
        assert!(link.is_ignored(now + ANSWER_WITHIN));
    }
}
