//! Ending programs, and the keeper itself: SIGTERM, a grace, SIGKILL, until nothing is left.

use std::time::{Duration, Instant};

use lap_wire::control::{ErrorCode, ServerMessage, WireError};
use lap_wire::keeper::Reply;
use rustix::process::{Pid, Signal};

use crate::connection::ConnectionId;
use crate::keeper::Keeper;
use crate::limits::{FIRST_LOOK, KILL_AGAIN, KILL_PATIENCE, MAX_GRACE_MS};
use crate::processes::{self, ignores_term, signal_all};
use crate::program::ProgramKey;

/// Who is to hear when it is done: the connection and its call.
pub(crate) type Asker = (ConnectionId, u64);

/// What is to be left with no process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// One program.
    Program(ProgramKey),
    /// Every program, and every orphan.
    Everything,
}

/// An end under way.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) target: Target,
    asker: Option<Asker>,
    /// When those that are deaf to SIGTERM are looked for next, and how long after that again: a shell is deaf
    /// only between its commands.
    look_at: Instant,
    look_again_in: Duration,
    /// When SIGKILL is due, first or again.
    kill_at: Instant,
    /// When it is given up; set by the first SIGKILL.
    give_up_at: Option<Instant>,
}

/// How a stop stands.
enum Outcome {
    Going,
    Gone,
    Hangs,
}

impl Keeper {
    /// Begins to end something.
    pub(crate) fn stop(&mut self, target: Target, grace_ms: u64, asker: Option<Asker>, now: Instant) {
        let victims = self.victims(target);
        signal_all(&victims, Signal::TERM);
        // What is stopped does not end.
        signal_all(&victims, Signal::CONT);
        let kill_at = now + Duration::from_millis(grace_ms.min(MAX_GRACE_MS));
        let (look_at, look_again_in) = (now, FIRST_LOOK);
        self.stops.push(Stop { target, asker, look_at, look_again_in, kill_at, give_up_at: None });
        self.advance_stops(now);
    }

    fn on_terminal(&self, target: Target) -> bool {
        match target {
            Target::Program(key) => self.programs.get(&key).is_some_and(|p| p.on_terminal()),
            Target::Everything => self.programs.values().any(|p| p.on_terminal()),
        }
    }

    fn victims(&mut self, target: Target) -> Vec<Pid> {
        match target {
            Target::Program(key) => self.programs.get_mut(&key).map(|p| p.processes()).unwrap_or_default(),
            Target::Everything => {
                let mut all = processes::of_keeper();
                // Those that are not reaped yet, and those a missing /proc does not show.
                all.extend(self.programs.values().filter(|p| p.exit.is_none()).map(|p| p.pid));
                all
            }
        }
    }

    /// Looks how far the stops have come: called when a child has ended and when one is due.
    pub(crate) fn advance_stops(&mut self, now: Instant) {
        for mut stop in std::mem::take(&mut self.stops) {
            match self.advance(&mut stop, now) {
                Outcome::Going => self.stops.push(stop),
                Outcome::Gone => self.stopped(&stop, Reply::Done, now),
                Outcome::Hangs => {
                    let text = "something is left that not even SIGKILL has ended; it hangs in the kernel";
                    self.stopped(&stop, Reply::Failed(WireError::new(ErrorCode::TimedOut, text)), now);
                }
            }
        }
    }

    fn advance(&mut self, stop: &mut Stop, now: Instant) -> Outcome {
        let victims = self.victims(stop.target);
        let reaped = match stop.target {
            Target::Program(key) => self.programs.get(&key).is_none_or(|p| p.exit.is_some()),
            Target::Everything => true,
        };
        if victims.is_empty() && reaped {
            return Outcome::Gone;
        }
        if now >= stop.look_at && self.on_terminal(stop.target) {
            // An interactive shell ignores SIGTERM, and ends when its terminal does.
            let deaf: Vec<Pid> = victims.iter().copied().filter(|pid| ignores_term(*pid)).collect();
            signal_all(&deaf, Signal::HUP);
            stop.look_at = now + stop.look_again_in;
            stop.look_again_in *= 2;
        }
        if now >= stop.kill_at {
            if stop.give_up_at.is_some_and(|at| now >= at) {
                return Outcome::Hangs;
            }
            signal_all(&victims, Signal::KILL);
            stop.give_up_at.get_or_insert(now + KILL_PATIENCE);
            stop.kill_at = now + KILL_AGAIN;
        }
        Outcome::Going
    }

    fn stopped(&mut self, stop: &Stop, reply: Reply, now: Instant) {
        if let Some((connection, request)) = stop.asker
            && let Some(connection) = self.connections.get_mut(&connection)
        {
            connection.tell(lap_wire::ChannelId::CONNECTION, &ServerMessage::Reply { request, reply });
        }
        if stop.target == Target::Everything {
            self.ended_at.get_or_insert(now);
        }
    }

    /// When a stop wants to be looked at again.
    pub(crate) fn stops_due(&self) -> Option<Instant> {
        let looks = |stop: &Stop| self.on_terminal(stop.target).then_some(stop.look_at);
        self.stops.iter().map(|stop| looks(stop).map_or(stop.kill_at, |at| at.min(stop.kill_at))).min()
    }
}
