//! How what a program prints reaches its viewers: straight away where the socket is idle, from the shared ring where it
//! is not, by a snapshot where the ring has moved on.

use std::time::Duration;

use lap_wire::Ring;
use lap_wire::control::{How, ServerMessage};
use lap_wire::flow::{Cursor, Next};
use lap_wire::frame::FrameType;
use lap_wire::limits::HUB_RING;
use tokio::time::Instant;

use super::super::recorder::{GATHER, Needs, Recorder};
use super::catch_up::CatchUp;
use super::terminal::Terminal;
use super::{Effect, Piece, Served, ViewerId};

/// The keeper is told how far its output was taken each time this much more was: a fraction of its window, so that it
/// never waits, and rarely, so that an echo costs it nothing.
const ACK_EVERY: u64 = 256 * 1024;
/// A viewer that takes at least this many bytes a second gets every byte: the keeper is not told to go on before the
/// most advanced viewer did. A slower one holds nobody up and is skipped ahead.
const FULL_STREAM_RATE: u64 = 32 * 1024 * 1024;
/// How far behind [`FULL_STREAM_RATE`] the most advanced viewer may be at any time.
const FULL_STREAM_SLACK: u64 = 1024 * 1024;
/// When to look again whether the viewer that is waited for still comes on.
const HOLD_CHECK: Duration = Duration::from_millis(40);
/// Output that comes in pieces of at least this many bytes may be a flood.
const FLOOD_PIECE: usize = 2 * 1024;
/// While somebody types, the keeper of a terminal that floods is told so this often: twice as often as it needs.
const TELL_TYPING: Duration = Duration::from_millis(50);
/// Output is reported as activity at most this often.
pub(super) const ACTIVITY_INTERVAL: Duration = Duration::from_secs(1);

/// A terminal's output on its way.
#[derive(Debug)]
pub(super) struct Flow {
    pub ring: Ring,
    /// How far the keeper was told that its output was taken.
    acked: u64,
    /// Since when the keeper waits for the most advanced viewer, and where that one was.
    hold: Option<(Instant, u64)>,
    /// When to look at it again.
    hold_check: Option<Instant>,
    /// When the keeper was last told that somebody types.
    told_typing: Option<Instant>,
    /// When to look after the recorder.
    recorder_check: Option<Instant>,
    printed_at: Option<Instant>,
}

impl Flow {
    pub(super) fn new() -> Flow {
        Flow {
            ring: Ring::new(HUB_RING),
            acked: 0,
            hold: None,
            hold_check: None,
            told_typing: None,
            recorder_check: None,
            printed_at: None,
        }
    }

    /// The keeper's channel begins at `offset`, for the first time or again.
    pub(super) fn opened(&mut self, offset: u64) {
        (self.acked, self.hold) = (offset, None);
    }
}

impl Terminal {
    /// The program has printed.
    pub(super) fn printed(&mut self, offset: u64, payload: &[u8], now: Instant) {
        let end = self.flow.ring.end();
        // A keeper is not trusted to be right. Seen before: dropped. A hole: nobody is shown one.
        let (offset, payload) = match end.checked_sub(offset) {
            Some(seen) if seen >= payload.len() as u64 => return,
            Some(seen) => (end, payload.get(seen as usize..).unwrap_or_default()),
            None => {
                self.flow.ring.restart(offset);
                self.everybody_wants_a_snapshot();
                (offset, payload)
            }
        };
        self.snapshots.printed();
        let len = payload.len();
        let metrics = &self.shared.metrics;
        let echo = metrics.printed(&mut self.watch, len, now);
        for viewer in &mut self.viewers {
            let inline = viewer.is_current(offset) && viewer.cursor.credit() >= len as u64;
            if inline && viewer.client.output_now(viewer.channel, offset, payload, now) {
                viewer.sent_output(len, now);
                metrics.output_bytes.add(len as u64);
            }
        }
        if echo {
            metrics.echo_sent(now);
        }
        // Sent first, then kept for those it could not be sent to, and for those who may come back.
        self.flow.ring.push(payload);
        let end = self.flow.ring.end();
        for viewer in &self.viewers {
            if viewer.can_go_on() && viewer.cursor.next_offset() < end {
                viewer.client.wake(viewer.channel, now);
            }
        }
        match self.recorder.as_mut().map(|recorder| recorder.output(offset, payload)) {
            Some(Needs::Snapshot) => self.ask_for_snapshot(),
            Some(Needs::Time) => {
                self.flow.recorder_check = Some(now + GATHER);
                self.due_at(now + GATHER);
            }
            Some(Needs::Nothing) | None => {}
        }
        if self.flow.printed_at.is_none_or(|at| now.saturating_duration_since(at) >= ACTIVITY_INTERVAL) {
            self.flow.printed_at = Some(now);
            self.effects.push(Effect::Activity { typed: false });
        }
        if len >= FLOOD_PIECE {
            self.give_way(now);
        }
        self.forget_what_nobody_needs();
        self.grant(now);
    }

    /// Output that may be a flood, whose keeper may not know that somebody types elsewhere.
    fn give_way(&mut self, now: Instant) {
        let within =
            |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < TELL_TYPING);
        if within(self.shared.typed.get())
            && !within(self.flow.told_typing)
            && let Some(channel) = &self.output
        {
            self.flow.told_typing = Some(now);
            channel.typing();
        }
    }

    /// Sends a viewer the next at most `size` bytes it is to have.
    pub(in crate::hub) fn serve(&mut self, id: ViewerId, size: usize, now: Instant) -> Served {
        let Some(at) = self.at(id) else { return Served::Nothing };
        let served = self.send_next(at, size, now);
        self.look_at_the_end(now);
        served
    }

    fn send_next(&mut self, at: usize, size: usize, now: Instant) -> Served {
        let viewer = &mut self.viewers[at];
        if let Some((served, whole)) = viewer.send_piece(size, now) {
            if let Served::Sent(n) = served {
                self.shared.metrics.snapshot_bytes.add(n as u64);
            }
            if whole {
                self.finish(at);
            }
            return served;
        }
        if !viewer.can_go_on() {
            return Served::Nothing;
        }
        viewer.join(&self.flow.ring);
        let ring = viewer.catch_up.as_ref().map_or(&self.flow.ring, CatchUp::ring);
        match viewer.cursor.next(ring) {
            Next::Send { from, len } => {
                let len = len.min(size);
                let Some(bytes) = ring.read(from, len) else { return Served::Nothing };
                let piece =
                    Piece { kind: FrameType::Output, flags: 0, channel: viewer.channel, offset: from, bytes };
                viewer.client.frame(piece, now);
                viewer.sent_output(len, now);
                if let Some(catch_up) = &mut viewer.catch_up {
                    catch_up.taken(viewer.cursor.next_offset());
                }
                self.shared.metrics.output_bytes.add(len as u64);
                self.finish(at);
                self.grant(now);
                Served::Sent(len)
            }
            Next::CaughtUp => {
                self.finish(at);
                Served::Nothing
            }
            Next::NoCredit => Served::Nothing,
            Next::Lapped => {
                viewer.wants = Some(0);
                self.ask_for_snapshot();
                self.finish(at);
                Served::Nothing
            }
        }
    }

    /// A viewer has processed everything before `offset`.
    pub(in crate::hub) fn acked(&mut self, id: ViewerId, offset: u64, now: Instant) {
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        let before = viewer.unacknowledged();
        viewer.cursor.ack(offset);
        if offset >= viewer.snapshot_unacked.1 {
            viewer.snapshot_unacked.0 = 0;
        }
        if viewer.unacknowledged() < before {
            viewer.progressed = now;
        }
        if viewer.can_go_on() && viewer.cursor.next_offset() < self.flow.ring.end() {
            viewer.client.wake(viewer.channel, now);
        }
        self.forget_what_nobody_needs();
        self.look_at_the_end(now);
    }

    /// A viewer goes on with the very next byte, of a stream that has come to `head`.
    pub(super) fn go_on(&mut self, at: usize, from: u64, head: u64, now: Instant) {
        let viewer = &mut self.viewers[at];
        viewer.cursor = Cursor::new(from, viewer.window);
        self.open(at, How::Exact, from, head);
        let viewer = &self.viewers[at];
        viewer.client.wake(viewer.channel, now);
    }

    /// Tells the keeper to go on, once enough was taken; see [`FULL_STREAM_RATE`].
    pub(super) fn grant(&mut self, now: Instant) {
        let end = self.flow.ring.end();
        let lead =
            self.viewers.iter().filter(|v| v.opened && v.visible).map(|v| v.cursor.next_offset()).max();
        let target = match (lead, self.flow.hold) {
            (Some(lead), None) if lead < end => {
                self.flow.hold = Some((now, lead));
                lead
            }
            (Some(lead), Some((since, from))) if lead < end => {
                let due = FULL_STREAM_RATE * now.saturating_duration_since(since).as_millis() as u64 / 1000;
                if lead.saturating_sub(from) + FULL_STREAM_SLACK >= due { lead } else { end }
            }
            _ => {
                self.flow.hold = None;
                end
            }
        };
        if target >= self.flow.acked + ACK_EVERY {
            self.acknowledge(target);
        }
        if target < end && self.flow.hold_check.is_none() {
            self.flow.hold_check = Some(now + HOLD_CHECK);
            self.due_at(now + HOLD_CHECK);
        }
    }

    /// Tells the keeper that everything before `offset` was taken.
    pub(super) fn acknowledge(&mut self, offset: u64) {
        if let Some(channel) = &self.output
            && channel.send(FrameType::Ack, 0, offset, &[])
        {
            self.flow.acked = self.flow.acked.max(offset);
        }
    }

    /// Looks after what waits for time to pass.
    pub(super) fn flow_tick(&mut self, now: Instant) {
        if self.flow.hold_check.is_some_and(|at| at <= now) {
            self.flow.hold_check = None;
            self.grant(now);
        }
        if self.flow.recorder_check.is_some_and(|at| at <= now) {
            self.flow.recorder_check = None;
            match self.recorder.as_mut().map(Recorder::look_again) {
                Some(Needs::Time) => self.flow.recorder_check = Some(now + GATHER),
                Some(Needs::Snapshot) => self.ask_for_snapshot(),
                Some(Needs::Nothing) | None => {}
            }
        }
        for at in [self.flow.hold_check, self.flow.recorder_check].into_iter().flatten() {
            self.due_at(at);
        }
    }

    /// Lets go of what every viewer has acknowledged. Whoever comes back for more gets it from the keeper.
    pub(super) fn forget_what_nobody_needs(&mut self) {
        let needing = self.viewers.iter().filter(|v| v.can_go_on() && v.catch_up.is_none());
        let oldest = needing.map(|v| v.cursor.acked()).min();
        let end = self.flow.ring.end();
        self.flow.ring.release(oldest.unwrap_or(end));
    }

    /// What is due to a viewer once it has everything: `ready`, and what comes of the terminal's end.
    pub(super) fn finish(&mut self, at: usize) {
        let end = self.flow.ring.end();
        let viewer = &mut self.viewers[at];
        if viewer.outgoing.is_none()
            && viewer.wants.is_none()
            && viewer.ready_at.is_some_and(|at| viewer.cursor.next_offset() >= at)
        {
            viewer.ready_at = None;
            viewer.tell(&ServerMessage::Ready);
        }
        self.finish_end(at, end);
    }
}
