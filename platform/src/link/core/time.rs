//! What is done because time has passed.

use std::time::{Duration, Instant};

use lap_wire::control::ClientMessage;
use lap_wire::{ChannelId, Frame, FrameType};

use super::super::{GIVE_UP, LinkError, OPEN_TIMEOUT};
use super::{
    AFTER_KEEPERS, At, CONNECT_TIMEOUT, Core, HEARTBEAT, HELLO_TIMEOUT, Key, LINGER, PONG_WITHIN, Phase,
    Step, Told, Wire,
};

impl<O: Clone, C> Core<O, C> {
    /// Does what is due.
    pub(in crate::link) fn tick(&mut self, now: Instant, wire: &mut impl Wire) -> Step {
        if !self.is_connected() && self.down_since.is_some_and(|since| now >= since + GIVE_UP) {
            self.end(&LinkError::Lost(self.reason.clone()), now);
        }
        self.expire(now, wire);
        if self.is_needed() {
            self.idle_since = None;
        } else {
            let since = *self.idle_since.get_or_insert(now);
            if self.phase != Phase::Up || now >= since + LINGER {
                return Step::End;
            }
        }
        let mut step = Step::Nothing;
        match self.phase {
            Phase::Waiting(at) if at <= now => {
                self.phase = Phase::Connecting(now);
                step = Step::Connect;
            }
            Phase::Connecting(since) if now >= since + CONNECT_TIMEOUT => {
                let text = format!("connecting to it takes longer than {} s", CONNECT_TIMEOUT.as_secs());
                self.lost(&LinkError::Lost(text), now);
            }
            Phase::Greeting(since) if now >= since + HELLO_TIMEOUT => {
                let text = format!("its keeper did not answer within {} s", HELLO_TIMEOUT.as_secs());
                self.lost(&LinkError::Lost(text), now);
            }
            Phase::Up if self.dead_at.is_some_and(|at| at <= now) => {
                self.lost(&LinkError::Lost("its keeper has gone silent".to_owned()), now);
            }
            Phase::Up if self.dead_at.is_none() && now >= self.ping_due() + AFTER_KEEPERS => {
                self.dead_at = Some(self.ping_due().max(now - AFTER_KEEPERS) + PONG_WITHIN);
                wire.send(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]));
            }
            _ => {}
        }
        self.due = self.next_due(now);
        step
    }

    /// Gives up what has waited for too long.
    fn expire(&mut self, now: Instant, wire: &mut impl Wire) {
        let late: Vec<Key> = self
            .channels
            .iter()
            .filter(|(_, c)| c.by.is_some_and(|by| by <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            let Some(at) = self.channels.get(&key).map(|channel| channel.at) else { continue };
            if let At::Opening(number, _) = at {
                self.control(number, &ClientMessage::Close, wire);
            }
            self.end_channel(key, self.too_late("open", OPEN_TIMEOUT), now);
        }
        let late: Vec<u64> =
            self.calls.iter().filter(|(_, c)| c.by <= now).map(|(request, _)| *request).collect();
        for request in late {
            if let Some(call) = self.calls.remove(&request) {
                let why = self.too_late(call.name, call.by - call.asked);
                self.told.push_back(Told::Answer(call.waiting, Err(why)));
            }
        }
    }

    fn too_late(&self, call: &'static str, after: Duration) -> LinkError {
        match self.phase {
            Phase::Up => LinkError::TimedOut { call, after },
            _ => LinkError::Lost(self.reason.clone()),
        }
    }

    /// When the silence is long enough for a ping.
    fn ping_due(&self) -> Instant {
        let idle = self.heard + self.heartbeat;
        self.asked.map_or(idle, |at| idle.min(at + HEARTBEAT))
    }

    fn next_due(&self, now: Instant) -> Instant {
        let phase = match self.phase {
            Phase::Waiting(at) => at,
            Phase::Connecting(since) => since + CONNECT_TIMEOUT,
            Phase::Greeting(since) => since + HELLO_TIMEOUT,
            Phase::Up => self.dead_at.unwrap_or_else(|| self.ping_due() + AFTER_KEEPERS),
        };
        let give_up = self.down_since.filter(|_| !self.is_connected()).map(|since| since + GIVE_UP);
        let idle = self.idle_since.map(|since| since + LINGER);
        let channels = self.channels.values().filter_map(|channel| channel.by);
        let calls = self.calls.values().map(|call| call.by);
        let all = channels.chain(calls).chain(give_up).chain(idle).chain([phase]);
        all.min().unwrap_or(phase).max(now)
    }
}
