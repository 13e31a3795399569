//! How a viewer that comes back gets every byte it has missed.
//!
//! The hub's ring holds only what viewers that are here still need. The keeper has the last 4 MiB, whoever was here:
//! after a server was killed, or when a laptop wakes up. So the hub asks the keeper for what comes after the viewer's
//! last byte, on a channel for this viewer alone, and hands it on as fast as the viewer takes it, until the viewer is
//! where the terminal's ring begins. From there it is a viewer like all others.

use lap_platform::link::Opened;
use lap_wire::control::{How, Mode, Open};
use lap_wire::flow::{Resume, Since, resume};
use lap_wire::limits::MAX_PAYLOAD;
use lap_wire::{Frame, FrameType, Ring};
use tokio::time::Instant;

use super::terminal::Terminal;
use super::viewer::Viewer;
use super::{Effect, KeeperChannel, Key, ViewerId};

/// How far the keeper may be ahead of the viewer.
const WINDOW: u32 = 256 * 1024;
/// What is held for one viewer at the most: after a break the keeper may send some more before the viewer has taken what
/// was there.
const MAX_HELD: usize = 4 * WINDOW as usize;
/// The keeper is told how far the viewer has come each time it has come this much further.
const ACK_EVERY: u64 = 64 * 1024;

/// What one viewer has missed, on its way.
pub(super) struct CatchUp {
    number: u32,
    channel: Option<Box<dyn KeeperChannel>>,
    /// What has come and is not yet handed on.
    ring: Ring,
    acked: u64,
}

impl CatchUp {
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The viewer was sent everything before `offset`.
    pub(super) fn taken(&mut self, offset: u64) {
        self.ring.release(offset);
        let due = offset >= self.acked + ACK_EVERY || self.ring.is_empty();
        if due
            && let Some(channel) = &self.channel
            && channel.send(FrameType::Ack, 0, offset, &[])
        {
            self.acked = offset;
        }
    }
}

impl Terminal {
    /// Brings a viewer that is here to the present: from the ring, else from what the keeper has, else by a snapshot.
    /// Does nothing before both the terminal's channel and the viewer's seat have been opened.
    pub(super) fn begin(&mut self, at: usize, now: Instant) {
        let viewer = &mut self.viewers[at];
        if viewer.begun || viewer.seat.input_offset.is_none() || !self.opened {
            return;
        }
        viewer.begun = true;
        let (since, here) = (viewer.since, (self.place.epoch, self.place.size_generation));
        if let Resume::Exact(from) = resume(since, here.0, here.1, &self.flow.ring) {
            return self.go_on(at, from, self.flow.ring.end(), now);
        }
        match since {
            Some(since)
                if (since.epoch, since.size_generation) == here && since.offset < self.flow.ring.end() =>
            {
                self.catch_ups = self.catch_ups.wrapping_add(1);
                let number = self.catch_ups;
                let ring = Ring::starting_at(MAX_HELD, since.offset);
                viewer.catch_up = Some(CatchUp { number, channel: None, ring, acked: since.offset });
                self.effects.push(Effect::Open(Key::CatchUp(viewer.id, number)));
            }
            _ => self.begin_anew(at, now),
        }
    }

    /// How a catch-up's channel is opened: behind what has come of it.
    pub(super) fn open_catch_up(&self, id: ViewerId, number: u32) -> Option<Open> {
        let catch_up = self.viewers[self.catching_up(id, number)?].catch_up.as_ref()?;
        let since = Since {
            epoch: self.place.epoch,
            offset: catch_up.ring.end(),
            size_generation: self.place.size_generation,
        };
        let window = WINDOW.saturating_sub(catch_up.ring.len() as u32).max(MAX_PAYLOAD as u32);
        Some(Open { window, since: Some(since), ..Open::new(self.program(), Mode::View) })
    }

    /// A catch-up has its channel.
    pub(super) fn bound_catch_up(&mut self, id: ViewerId, number: u32, channel: Box<dyn KeeperChannel>) {
        let at = self.catching_up(id, number);
        if let Some(catch_up) = at.and_then(|at| self.viewers[at].catch_up.as_mut()) {
            catch_up.channel = Some(channel);
        }
    }

    /// The keeper has opened a catch-up's channel, for the first time or again.
    pub(super) fn catch_up_opened(&mut self, id: ViewerId, number: u32, opened: &Opened, now: Instant) {
        let Some(at) = self.catching_up(id, number) else { return };
        let viewer = &mut self.viewers[at];
        let Some(catch_up) = &mut viewer.catch_up else { return };
        let here = (self.place.epoch, self.place.size_generation, catch_up.ring.end());
        if opened.how != How::Exact || here != (opened.epoch, opened.size_generation, opened.offset) {
            return self.stop_catching_up(at, now);
        }
        if !viewer.opened {
            self.go_on(at, opened.offset, opened.head, now);
        }
    }

    /// What a viewer has missed.
    pub(super) fn catch_up_frame(&mut self, id: ViewerId, number: u32, frame: &Frame<'_>, now: Instant) {
        let Some(at) = self.catching_up(id, number) else { return };
        let viewer = &mut self.viewers[at];
        let Some(catch_up) = &mut viewer.catch_up else { return };
        if frame.kind != FrameType::Output {
            return;
        }
        // A keeper is not trusted to be right, nor to keep within the window.
        if catch_up.ring.end() != frame.offset
            || catch_up.ring.len() + frame.payload.len() > MAX_HELD
            || !viewer.opened
        {
            return self.stop_catching_up(at, now);
        }
        catch_up.ring.push(frame.payload);
        viewer.client.wake(viewer.channel, now);
    }

    /// Which viewer this catch-up is of, if it still is.
    pub(super) fn catching_up(&self, id: ViewerId, number: u32) -> Option<usize> {
        let is_this = |v: &Viewer| v.id == id && v.catch_up.as_ref().is_some_and(|c| c.number == number);
        self.viewers.iter().position(is_this)
    }

    /// A viewer cannot be given what it has missed, and gets a snapshot instead.
    pub(super) fn stop_catching_up(&mut self, at: usize, now: Instant) {
        let viewer = &mut self.viewers[at];
        viewer.catch_up = None;
        if viewer.opened {
            viewer.wants = Some(0);
            self.ask_for_snapshot();
        } else {
            self.begin_anew(at, now);
        }
    }
}

impl Viewer {
    /// Goes on from the terminal's ring, if it has come that far.
    pub(super) fn join(&mut self, ring: &Ring) {
        if self.cursor.next_offset() >= ring.start() {
            self.catch_up = None;
        }
    }
}
