//! Snapshots: asked of the keeper for whoever can go on only with one, and handed to everybody they help.

use std::rc::Rc;

use lap_wire::control::{Attention, ClientMessage, How, ServerMessage};
use lap_wire::flow::Cursor;
use lap_wire::frame::{FrameType, flags};
use lap_wire::limits::{MAX_PAYLOAD, MAX_SNAPSHOT_SCROLLBACK, SKIP_SCROLLBACK};
use tokio::time::Instant;

use super::terminal::Terminal;
use super::viewer::{Outgoing, Viewer};
use super::{Piece, Served};

/// The largest snapshot taken from a keeper: its scrollback, and a screen of the largest size in which every cell has a
/// style of its own.
pub(in crate::hub) const MAX_SNAPSHOT: usize = 16 * 1024 * 1024;
/// A snapshot this small is kept for the next viewer while the program prints nothing.
const KEEP_SNAPSHOT: usize = 16 * 1024;

/// Escape sequences that stand for everything before an offset.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub bytes: Vec<u8>,
    pub offset: u64,
    /// The scrollback that was asked for.
    pub scrollback: u32,
}

/// What is known of snapshots of one terminal.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// One whose pieces are arriving.
    assembling: Option<Vec<u8>>,
    /// The last small one, while nothing was printed after it.
    recent: Option<Rc<Snapshot>>,
    /// Scrollback of the one that was asked for and is not yet here; one at a time.
    asked: Option<u32>,
    /// One comes unasked: after an open, a resize, a skip. Until it is here, nobody has the screen that the terminal's
    /// position and size stand for.
    announced: bool,
}

impl Snapshots {
    /// One follows that everybody goes on with.
    pub(super) fn announce(&mut self) {
        self.announced = true;
        self.recent = None;
    }

    /// Whether one is to come unasked.
    pub(super) fn is_announced(&self) -> bool {
        self.announced
    }

    /// The program has printed since the last one.
    pub(super) fn printed(&mut self) {
        self.recent = None;
    }

    /// The keeper's channel was opened again: what was on its way or asked for will not come.
    pub(super) fn reopened(&mut self) {
        *self = Snapshots::default();
    }
}

impl Terminal {
    /// A piece of a snapshot has come from the keeper.
    pub(super) fn snapshot_piece(&mut self, offset: u64, piece: &[u8], flag: u8, now: Instant) {
        let snapshots = &mut self.snapshots;
        if flag & flags::FIRST != 0 {
            snapshots.assembling = Some(Vec::new());
        }
        let Some(bytes) = snapshots.assembling.as_mut() else { return };
        if bytes.len() + piece.len() > MAX_SNAPSHOT {
            tracing::warn!("a keeper's snapshot is over the limit");
            snapshots.assembling = None;
            return;
        }
        bytes.extend_from_slice(piece);
        if flag & flags::LAST == 0 {
            return;
        }
        let bytes = snapshots.assembling.take().unwrap_or_default();
        let announced = std::mem::take(&mut snapshots.announced);
        let answer = if flag & flags::ANSWER != 0 { snapshots.asked.take() } else { None };
        let scrollback = answer.unwrap_or(SKIP_SCROLLBACK);
        if offset > self.flow.ring.end() {
            self.flow.ring.restart(offset);
        }
        // A keeper that is not told skips nothing again, and so waits for this.
        self.acknowledge(offset);
        let snapshot = Rc::new(Snapshot { bytes, offset, scrollback });
        self.record_snapshot(&snapshot, announced);
        for at in 0..self.viewers.len() {
            let viewer = &self.viewers[at];
            let takes = match viewer.wants {
                Some(least) => least <= scrollback || announced && viewer.opened,
                // After a resize everybody starts over; after a skip of the keeper's nobody has what was skipped.
                None => {
                    announced
                        && viewer.opened
                        && (viewer.size_generation != self.place.size_generation
                            || viewer.cursor.next_offset() < self.flow.ring.start())
                }
            };
            if takes {
                self.deliver(at, &snapshot, now);
            }
        }
        self.snapshots.recent = (snapshot.bytes.len() <= KEEP_SNAPSHOT).then_some(snapshot);
        self.ask_for_snapshot();
        self.forget_what_nobody_needs();
    }

    /// A viewer can go on only with a snapshot.
    pub(super) fn begin_anew(&mut self, at: usize, now: Instant) {
        let viewer = &mut self.viewers[at];
        let wanted = viewer.scrollback.min(MAX_SNAPSHOT_SCROLLBACK);
        viewer.wants = Some(wanted);
        match self.snapshots.recent.clone() {
            Some(recent) if recent.scrollback >= wanted && recent.offset == self.flow.ring.end() => {
                self.deliver(at, &recent, now);
            }
            _ => self.ask_for_snapshot(),
        }
    }

    /// Gives a viewer a snapshot to go on with.
    fn deliver(&mut self, at: usize, snapshot: &Rc<Snapshot>, now: Instant) {
        let (generation, size, end) = (self.place.size_generation, self.place.size, self.flow.ring.end());
        if !self.viewers[at].opened {
            let viewer = &mut self.viewers[at];
            viewer.cursor = Cursor::new(snapshot.offset, viewer.window);
            self.open(at, How::Snapshot, snapshot.offset, end);
        }
        let viewer = &mut self.viewers[at];
        viewer.catch_up = None;
        if viewer.size_generation != generation {
            viewer.size_generation = generation;
            viewer.tell(&ServerMessage::Resized { size, size_generation: generation });
        }
        let next = viewer.cursor.next_offset();
        if snapshot.offset > next {
            viewer.tell(&ServerMessage::Skipped { from: next, to: snapshot.offset });
            viewer.cursor.skip_to(snapshot.offset);
            self.shared.metrics.skips.add(1);
            self.shared.metrics.skipped_bytes.add(snapshot.offset - next);
        }
        viewer.wants = None;
        viewer.ready_at = Some(end);
        viewer.outgoing = Some(Outgoing { snapshot: snapshot.clone(), sent: 0 });
        self.shared.metrics.snapshots.add(1);
        viewer.client.wake(viewer.channel, now);
    }

    /// Tells a viewer how its channel begins.
    pub(super) fn open(&mut self, at: usize, how: How, offset: u64, head: u64) {
        self.shared.metrics.opened(how);
        let viewer = &mut self.viewers[at];
        viewer.opened = true;
        viewer.size_generation = self.place.size_generation;
        viewer.ready_at = Some(head);
        viewer.tell(&ServerMessage::Opened {
            epoch: self.place.epoch,
            offset,
            head,
            how,
            size: self.place.size,
            size_generation: self.place.size_generation,
            input_offset: viewer.seat.input_offset.unwrap_or(0),
            mode: viewer.mode,
            title: self.title.clone(),
        });
        let (attention, text) = self.attention.clone();
        if attention != Attention::None {
            viewer.tell(&ServerMessage::Attention { state: attention, text });
        }
        if let Some((holder, mine)) = viewer.lease.take() {
            viewer.tell(&ServerMessage::Lease { holder, mine });
        }
        if let Some(viewers) = viewer.presence.take() {
            viewer.tell(&ServerMessage::Presence { viewers });
        }
    }

    /// Asks the keeper for a snapshot if somebody waits for one that is not already on its way.
    pub(super) fn ask_for_snapshot(&mut self) {
        if self.snapshots.asked.is_some() || !self.up {
            return;
        }
        let announced = self.snapshots.announced;
        let viewers = self.viewers.iter().filter_map(|viewer| {
            let least = viewer.wants?;
            let comes = announced && (viewer.opened || least <= SKIP_SCROLLBACK);
            (!comes).then_some(least)
        });
        let recorder = self.recorder.as_ref().filter(|r| r.wants_snapshot() && !announced).map(|_| 0);
        let Some(wanted) = viewers.chain(recorder).max() else { return };
        // Who was skipped wants 0 and is given a little: what can still be of use of the history.
        let scrollback = wanted.max(SKIP_SCROLLBACK);
        if let Some(channel) = &self.output
            && channel.control(&ClientMessage::Snapshot { scrollback })
        {
            self.snapshots.asked = Some(scrollback);
        }
    }

    /// Nobody has the stream whole any more.
    pub(super) fn everybody_wants_a_snapshot(&mut self) {
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.begun) {
            viewer.wants.get_or_insert(0);
            viewer.outgoing = None;
        }
        self.ask_for_snapshot();
    }
}

impl Viewer {
    /// Sends the next piece of the snapshot on its way; says how many bytes it was, and whether that was all of it.
    pub(super) fn send_piece(&mut self, size: usize, now: Instant) -> Option<(Served, bool)> {
        let outgoing = self.outgoing.as_mut()?;
        let bytes = &outgoing.snapshot.bytes;
        let n = size.clamp(1, MAX_PAYLOAD).min(bytes.len() - outgoing.sent);
        let end = outgoing.sent + n;
        let first = if outgoing.sent == 0 { flags::FIRST } else { 0 };
        let last = if end == bytes.len() { flags::LAST } else { 0 };
        let piece = Piece {
            kind: FrameType::Snapshot,
            flags: first | last,
            channel: self.channel,
            offset: outgoing.snapshot.offset,
            bytes: (&bytes[outgoing.sent..end], &[]),
        };
        self.client.frame(piece, now);
        outgoing.sent = end;
        self.progressed = now;
        let whole = last != 0;
        if self.client.acknowledges() {
            self.snapshot_unacked = (self.snapshot_unacked.0 + n as u64, outgoing.snapshot.offset);
        } else if whole {
            self.cursor.ack(outgoing.snapshot.offset);
        }
        if whole {
            self.outgoing = None;
        }
        Some((Served::Sent(n), whole))
    }
}
