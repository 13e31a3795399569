//! How a viewer that comes back gets every byte it has missed.
//!
//! The hub's ring holds only what viewers that are here still need. The keeper has the last 4 MiB, whoever was here:
//! after a server was killed, or when a laptop wakes up. So the hub asks the keeper for what comes after the viewer's
//! last byte, on a channel for this viewer alone, and hands it on as fast as the viewer takes it, until the viewer is
//! where the terminal's ring begins. From there it is a viewer like all others.

use std::rc::Rc;

use lap_wire::control::{How, Open, ServerMessage};
use lap_wire::flow::{Resume, Since, resume};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::{ChannelId, Ring};

use super::super::upstream::Upstream;
use super::viewer::Viewer;
use super::{State, Terminal};

/// How far the keeper may be ahead of the viewer.
const WINDOW: u32 = 256 * 1024;
/// The keeper is told how far the viewer has come each time it has come this much further.
const ACK_EVERY: u64 = 64 * 1024;

/// What one viewer has missed, on its way.
pub(super) struct CatchUp {
    upstream: Rc<Upstream>,
    /// The keeper's channel.
    channel: u32,
    ring: Ring,
    acked: u64,
}

impl CatchUp {
    /// What has come and is not yet handed on.
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The viewer was sent everything before `offset`.
    pub(super) fn taken(&mut self, offset: u64) {
        self.ring.release(offset);
        if offset >= self.acked + ACK_EVERY {
            self.acked = offset;
            self.upstream.send(&Frame::new(FrameType::Ack, ChannelId(self.channel), offset, &[]));
        }
    }
}

impl Drop for CatchUp {
    fn drop(&mut self) {
        self.upstream.close(self.channel);
    }
}

impl Terminal {
    /// Brings a new viewer to the present: from the ring, else from what the keeper has, else by a snapshot.
    pub(super) fn begin(self: &Rc<Self>, state: &mut State, at: usize) {
        let (since, here) = (state.viewers[at].since, (state.epoch, state.size_generation));
        if let Resume::Exact(from) = resume(since, here.0, here.1, &state.flow.ring) {
            return state.go_on(at, from, state.flow.ring.end());
        }
        match (since, state.upstream.clone()) {
            (Some(since), Some(upstream)) if (since.epoch, since.size_generation) == here => {
                let open = Open { window: WINDOW, scrollback: 0, ..state.upstream_open(Some(since)) };
                let viewer = &mut state.viewers[at];
                let channel = upstream.open_catch_up(self, viewer.id, open);
                let ring = Ring::starting_at(WINDOW as usize, since.offset);
                viewer.catch_up = Some(CatchUp { upstream, channel, ring, acked: since.offset });
            }
            _ => state.begin_anew(at),
        }
    }

    /// The keeper's message about what a viewer has missed.
    pub(in crate::hub) fn catch_up_message(&self, id: u64, channel: u32, message: &ServerMessage) {
        let mut state = self.state.borrow_mut();
        let Some(at) = state.catching_up(id, channel) else { return };
        match message {
            ServerMessage::Opened { epoch, offset, head, how: How::Exact, size_generation, .. } => {
                let opened = Since { epoch: *epoch, offset: *offset, size_generation: *size_generation };
                if state.viewers[at].since == Some(opened) && *size_generation == state.size_generation {
                    state.go_on(at, *offset, *head);
                } else {
                    state.stop_catching_up(at);
                }
            }
            // Something was left out, or the keeper does not have it any more.
            ServerMessage::Opened { .. }
            | ServerMessage::Error(_)
            | ServerMessage::Resized { .. }
            | ServerMessage::Skipped { .. }
            | ServerMessage::Closed { .. } => state.stop_catching_up(at),
            // The terminal's own channel tells the rest.
            _ => {}
        }
    }

    /// What a viewer has missed.
    pub(in crate::hub) fn catch_up_output(&self, id: u64, channel: u32, offset: u64, payload: &[u8]) {
        let mut state = self.state.borrow_mut();
        let Some(at) = state.catching_up(id, channel) else { return };
        let Some(catch_up) = &mut state.viewers[at].catch_up else { return };
        // A keeper is not trusted to be right, nor to keep within the window.
        if catch_up.ring.end() != offset || catch_up.ring.len() + payload.len() > WINDOW as usize {
            return state.stop_catching_up(at);
        }
        catch_up.ring.push(payload);
        state.resume_serving(at);
    }
}

impl State {
    /// Which viewer catches up on this channel.
    fn catching_up(&self, id: u64, channel: u32) -> Option<usize> {
        let is_this = |v: &Viewer| v.id == id && v.catch_up.as_ref().is_some_and(|c| c.channel == channel);
        self.viewers.iter().position(is_this)
    }

    /// A viewer cannot be given what it has missed, and gets a snapshot instead.
    fn stop_catching_up(&mut self, at: usize) {
        let viewer = &mut self.viewers[at];
        viewer.catch_up = None;
        if viewer.opened {
            viewer.wants = Some(0);
            self.ask_for_snapshot();
        } else {
            self.begin_anew(at);
        }
    }

    /// The keeper's channels are gone with the connection to it.
    pub(super) fn give_up_catching_up(&mut self) {
        for at in 0..self.viewers.len() {
            if self.viewers[at].catch_up.is_some() {
                self.stop_catching_up(at);
            }
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
