//! How what a program prints reaches its viewers: straight away where the socket is idle, from the shared ring where it
//! is not, by a snapshot where the ring has moved on.

use std::rc::Rc;
use std::time::Duration;

use lap_wire::control::{ClientMessage, How, ServerMessage};
use lap_wire::flow::{Cursor, Next};
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::limits::{MAX_PAYLOAD, MAX_SNAPSHOT_SCROLLBACK, SKIP_SCROLLBACK};
use lap_wire::{ChannelId, Ring};
use tokio::time::Instant;

use super::super::recorder::{GATHER, Needs, Recorder};
use super::catch_up::CatchUp;
use super::viewer::{Outgoing, Snapshot, Viewer};
use super::{Served, State, Terminal};

/// The largest snapshot taken from a keeper: its scrollback, and a screen of the largest size in which every cell has a
/// style of its own.
pub(in crate::hub) const MAX_SNAPSHOT: usize = 16 * 1024 * 1024;
/// A snapshot this small is kept for the next viewer while the program prints nothing.
const KEEP_SNAPSHOT: usize = 16 * 1024;
/// The keeper is told how far its output was taken each time this much more was: a fraction of its window, so that it
/// never waits, and rarely, so that an echo costs it nothing.
const ACK_EVERY: u64 = 256 * 1024;
/// A viewer that takes at least this many bytes a second gets every byte: the keeper is not told to go on before the
/// most advanced viewer did. A slower one holds nobody up and is skipped ahead.
const FULL_STREAM_RATE: u64 = 32 * 1024 * 1024;
/// How far behind [`FULL_STREAM_RATE`] the most advanced viewer may be at any time.
const FULL_STREAM_SLACK: u64 = 1024 * 1024;
/// Output that comes in pieces of at least this many bytes may be a flood.
const FLOOD_PIECE: usize = 2 * 1024;
/// While somebody types, the keeper of a terminal that floods is told so this often: twice as often as it needs.
const TELL_TYPING: Duration = Duration::from_millis(50);
/// When to look again whether the viewer that is waited for still comes on.
const HOLD_CHECK: Duration = Duration::from_millis(40);

/// A terminal's output on its way.
pub(super) struct Flow {
    pub ring: Ring,
    /// A snapshot whose pieces are arriving.
    assembling: Option<Vec<u8>>,
    /// The last small snapshot, while nothing was printed after it.
    recent: Option<Rc<Snapshot>>,
    /// Scrollback of the snapshot that was asked for and is not yet here; one at a time.
    asked: Option<u32>,
    /// A snapshot comes unasked: after an open, a resize, a skip.
    announced: bool,
    /// How far the keeper was told that its output was taken.
    acked: u64,
    /// Since when the keeper waits for the most advanced viewer, and where that one was.
    hold: Option<(Instant, u64)>,
    hold_check: bool,
    /// When the keeper was last told that somebody types.
    told_typing: Option<Instant>,
}

impl Flow {
    pub(super) fn new(ring: Ring) -> Flow {
        Flow {
            ring,
            assembling: None,
            recent: None,
            asked: None,
            announced: false,
            acked: 0,
            hold: None,
            hold_check: false,
            told_typing: None,
        }
    }

    /// A snapshot follows that everybody goes on with.
    pub(super) fn barrier(&mut self) {
        self.announced = true;
        self.recent = None;
    }
}

impl Terminal {
    /// The keeper has opened the terminal's channel, for the first time or again.
    pub(in crate::hub) fn upstream_opened(&self, opened: &ServerMessage) {
        let ServerMessage::Opened { epoch, offset, how, size, size_generation, title, .. } = opened else {
            return;
        };
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let again = state.epoch == *epoch && state.flow.ring.end() == *offset && *how == How::Exact;
        state.epoch = *epoch;
        state.size = *size;
        state.size_generation = *size_generation;
        state.title.clone_from(title);
        state.requested_size = None;
        state.responder = lap_wire::control::Responder::Model;
        let flow = &mut state.flow;
        (flow.assembling, flow.recent, flow.asked, flow.announced) = (None, None, None, false);
        flow.acked = *offset;
        if !again {
            flow.ring.restart(*offset);
        }
        if *how == How::Snapshot {
            flow.barrier();
        }
        state.give_up_catching_up();
        state.settle();
    }

    /// The program has printed.
    pub(in crate::hub) fn output(self: &Rc<Self>, offset: u64, payload: &[u8]) {
        let now = Instant::now();
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let end = state.flow.ring.end();
        if offset != end {
            // A keeper is not trusted to be right. Seen before: dropped. A hole: nobody is shown one.
            let Some(seen) = end.checked_sub(offset).filter(|s| *s < payload.len() as u64) else {
                if offset > end {
                    state.flow.ring.restart(offset);
                    state.everybody_wants_a_snapshot();
                }
                return;
            };
            drop(guard);
            return self.output(end, &payload[seen as usize..]);
        }
        state.flow.recent = None;
        let len = payload.len();
        let echo = state.metrics.printed(&mut state.watch, len, now);
        for viewer in &mut state.viewers {
            let inline = viewer.is_current(offset) && viewer.cursor.credit() >= len as u64;
            if inline && viewer.connection.output_now(viewer.channel, offset, payload, now) {
                viewer.sent_output(len, now);
                state.metrics.output_bytes.add(len as u64);
            }
        }
        if echo {
            state.metrics.echo_sent(now);
        }
        // Sent first, then kept for those it could not be sent to, and for those who may come back.
        state.flow.ring.push(payload);
        let end = state.flow.ring.end();
        for viewer in &state.viewers {
            if viewer.cursor.next_offset() < end && viewer.can_go_on() {
                viewer.connection.wake(viewer.channel, now);
            }
        }
        match state.recorder.as_mut().map(|recorder| recorder.output(offset, payload)) {
            Some(Needs::Snapshot) => state.ask_for_snapshot(),
            Some(Needs::Time) => self.look_again(),
            Some(Needs::Nothing) | None => {}
        }
        self.printed(state, now);
        if len >= FLOOD_PIECE {
            self.give_way(state, now);
        }
        state.forget_what_nobody_needs();
        self.grant(state, now);
    }

    /// Output that may be a flood, whose keeper may not know that somebody types elsewhere.
    fn give_way(&self, state: &mut State, now: Instant) {
        let within =
            |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < TELL_TYPING);
        let typed = self.hub.upgrade().is_some_and(|hub| within(hub.typed.get()));
        if typed
            && !within(state.flow.told_typing)
            && let Some(upstream) = &state.upstream
        {
            state.flow.told_typing = Some(now);
            upstream.control(ChannelId::CONNECTION.0, &ClientMessage::Typing);
        }
    }

    /// Looks after the recorder in a while, and until it needs no more looking after.
    fn look_again(self: &Rc<Self>) {
        let terminal = Rc::downgrade(self);
        let Some(hub) = self.hub.upgrade() else { return };
        hub.spawn(async move {
            loop {
                tokio::time::sleep(GATHER).await;
                let Some(terminal) = terminal.upgrade() else { return };
                let mut state = terminal.state.borrow_mut();
                match state.recorder.as_mut().map(Recorder::look_again) {
                    Some(Needs::Time) => {}
                    Some(Needs::Snapshot) => return state.ask_for_snapshot(),
                    Some(Needs::Nothing) | None => return,
                }
            }
        });
    }

    /// A piece of a snapshot has come from the keeper.
    pub(in crate::hub) fn snapshot_piece(&self, offset: u64, piece: &[u8], flag: u8) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if flag & flags::FIRST != 0 {
            state.flow.assembling = Some(Vec::new());
        }
        let Some(bytes) = state.flow.assembling.as_mut() else { return };
        if bytes.len() + piece.len() > MAX_SNAPSHOT {
            tracing::warn!(session = %self.session, "a keeper's snapshot is over the limit");
            state.flow.assembling = None;
            return;
        }
        bytes.extend_from_slice(piece);
        if flag & flags::LAST == 0 {
            return;
        }
        let Some(bytes) = state.flow.assembling.take() else { return };
        let announced = std::mem::take(&mut state.flow.announced);
        let answer = if flag & flags::ANSWER != 0 { state.flow.asked.take() } else { None };
        let scrollback = answer.unwrap_or(SKIP_SCROLLBACK);
        if offset > state.flow.ring.end() {
            state.flow.ring.restart(offset);
        }
        let snapshot = Rc::new(Snapshot { bytes, offset, scrollback });
        if let Some(recorder) = &mut state.recorder
            && (announced || recorder.wants_snapshot())
            && recorder.snapshot(state.epoch, offset, state.size_generation, state.size, &snapshot.bytes)
            && let (Some(status), Some(directory)) = (&state.exit, self.directory())
        {
            directory.exited(self.session, status);
        }
        for at in 0..state.viewers.len() {
            let viewer = &state.viewers[at];
            let takes = match viewer.wants {
                Some(least) => least <= scrollback || announced && viewer.opened,
                // After a resize everybody starts over; after a skip of the keeper's nobody has what was skipped.
                None => {
                    announced
                        && viewer.opened
                        && (viewer.size_generation != state.size_generation
                            || viewer.cursor.next_offset() < state.flow.ring.start())
                }
            };
            if takes {
                state.deliver(at, &snapshot);
            }
        }
        state.flow.recent = (snapshot.bytes.len() <= KEEP_SNAPSHOT).then_some(snapshot);
        state.ask_for_snapshot();
        state.forget_what_nobody_needs();
    }

    /// Sends a viewer the next at most `size` bytes it is to have.
    pub(in crate::hub) fn serve(self: &Rc<Self>, id: u64, size: usize, now: Instant) -> Served {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) else { return Served::Nothing };
        if let Some(outgoing) = &mut viewer.outgoing {
            let n = viewer.connection.send_piece(viewer.channel, outgoing, size, now);
            if viewer.connection.acknowledges() {
                viewer.snapshot_unacked = (viewer.snapshot_unacked.0 + n as u64, outgoing.snapshot.offset);
            }
            state.metrics.snapshot_bytes.add(n as u64);
            if outgoing.sent == outgoing.snapshot.bytes.len() {
                viewer.outgoing = None;
                viewer.finish(state.exit.as_ref(), state.flow.ring.end());
            }
            return Served::Sent(n);
        }
        if !viewer.can_go_on() {
            return Served::Nothing;
        }
        viewer.join(&state.flow.ring);
        let ring = viewer.catch_up.as_ref().map_or(&state.flow.ring, CatchUp::ring);
        match viewer.cursor.next(ring) {
            Next::Send { from, len } => {
                let len = len.min(size);
                let Some((a, b)) = ring.read(from, len) else { return Served::Nothing };
                viewer.connection.frame(FrameType::Output, 0, viewer.channel, from, a, b, now);
                viewer.sent_output(len, now);
                if let Some(catch_up) = &mut viewer.catch_up {
                    catch_up.taken(viewer.cursor.next_offset());
                }
                state.metrics.output_bytes.add(len as u64);
                viewer.finish(state.exit.as_ref(), state.flow.ring.end());
                self.grant(state, now);
                Served::Sent(len)
            }
            Next::CaughtUp => {
                viewer.finish(state.exit.as_ref(), state.flow.ring.end());
                Served::Nothing
            }
            Next::NoCredit => Served::Nothing,
            Next::Lapped => {
                viewer.wants = Some(0);
                state.ask_for_snapshot();
                Served::Nothing
            }
        }
    }

    /// A viewer has processed everything before `offset`.
    pub(in crate::hub) fn acked(&self, id: u64, offset: u64, now: Instant) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) else { return };
        viewer.cursor.ack(offset);
        if offset >= viewer.snapshot_unacked.1 {
            viewer.snapshot_unacked.0 = 0;
        }
        if viewer.can_go_on() && viewer.cursor.next_offset() < state.flow.ring.end() {
            viewer.connection.wake(viewer.channel, now);
        }
        state.forget_what_nobody_needs();
    }

    /// A viewer asks for a snapshot.
    pub(in crate::hub) fn wants_snapshot(&self, id: u64, scrollback: u32) {
        let mut state = self.state.borrow_mut();
        if let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) {
            viewer.wants = Some(scrollback.min(MAX_SNAPSHOT_SCROLLBACK));
            state.ask_for_snapshot();
        }
    }

    /// Tells the keeper to go on, once enough was taken; see [`FULL_STREAM_RATE`].
    fn grant(self: &Rc<Self>, state: &mut State, now: Instant) {
        let end = state.flow.ring.end();
        let lead =
            state.viewers.iter().filter(|v| v.opened && v.visible).map(|v| v.cursor.next_offset()).max();
        let target = match (lead, state.flow.hold) {
            (Some(lead), None) if lead < end => {
                state.flow.hold = Some((now, lead));
                lead
            }
            (Some(lead), Some((since, from))) if lead < end => {
                let due = FULL_STREAM_RATE * now.saturating_duration_since(since).as_millis() as u64 / 1000;
                if lead.saturating_sub(from) + FULL_STREAM_SLACK >= due { lead } else { end }
            }
            _ => {
                state.flow.hold = None;
                end
            }
        };
        if target >= state.flow.acked + ACK_EVERY {
            state.flow.acked = target;
            if let Some(upstream) = &state.upstream {
                upstream.send(&Frame::new(FrameType::Ack, ChannelId(state.channel), target, &[]));
            }
        }
        if target < end && !state.flow.hold_check {
            state.flow.hold_check = true;
            let terminal = self.clone();
            if let Some(hub) = self.hub.upgrade() {
                hub.spawn(async move {
                    tokio::time::sleep(HOLD_CHECK).await;
                    let mut state = terminal.state.borrow_mut();
                    state.flow.hold_check = false;
                    terminal.grant(&mut state, Instant::now());
                });
            }
        }
    }
}

impl State {
    /// A viewer goes on with the very next byte, of a stream that has come to `head`.
    pub(super) fn go_on(&mut self, at: usize, from: u64, head: u64) {
        let viewer = &mut self.viewers[at];
        viewer.cursor = Cursor::new(from, viewer.window);
        self.open(at, How::Exact, from, head);
        self.resume_serving(at);
    }

    /// A viewer can go on only with a snapshot.
    pub(super) fn begin_anew(&mut self, at: usize) {
        let viewer = &mut self.viewers[at];
        viewer.wants = Some(viewer.scrollback.min(MAX_SNAPSHOT_SCROLLBACK));
        let wanted = viewer.wants;
        match self.flow.recent.clone() {
            Some(recent) if Some(recent.scrollback) >= wanted && recent.offset == self.flow.ring.end() => {
                self.deliver(at, &recent);
            }
            _ => self.ask_for_snapshot(),
        }
    }

    /// Tells a viewer how its channel begins.
    fn open(&mut self, at: usize, how: How, offset: u64, head: u64) {
        let viewer = &mut self.viewers[at];
        viewer.opened = true;
        self.metrics.opened(how);
        viewer.size_generation = self.size_generation;
        viewer.ready_at = Some(head);
        viewer.tell(&ServerMessage::Opened {
            epoch: self.epoch,
            offset,
            head,
            how,
            size: self.size,
            size_generation: self.size_generation,
            input_offset: viewer.input.as_ref().map_or(0, |i| i.offset),
            mode: viewer.mode,
            title: self.title.clone(),
        });
        let (attention, text) = self.attention.clone();
        if attention != lap_wire::control::Attention::None {
            viewer.tell(&ServerMessage::Attention { state: attention, text });
        }
        if self.location.exclusive_input {
            let mine = self.lease == Some(viewer.id);
            viewer.tell(&ServerMessage::Lease { holder: self.lease, mine });
        }
    }

    /// Gives a viewer a snapshot to go on with.
    fn deliver(&mut self, at: usize, snapshot: &Rc<Snapshot>) {
        let (generation, size, end) = (self.size_generation, self.size, self.flow.ring.end());
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
            self.metrics.skips.add(1);
            self.metrics.skipped_bytes.add(snapshot.offset - next);
        }
        viewer.wants = None;
        viewer.ready_at = Some(end);
        viewer.outgoing = Some(Outgoing { snapshot: snapshot.clone(), sent: 0 });
        self.metrics.snapshots.add(1);
        viewer.connection.wake(viewer.channel, Instant::now());
    }

    /// Asks the keeper for a snapshot if somebody waits for one that is not already on its way.
    pub(super) fn ask_for_snapshot(&mut self) {
        if self.flow.asked.is_some() {
            return;
        }
        let announced = self.flow.announced;
        let viewers = self.viewers.iter().filter_map(|viewer| {
            let least = viewer.wants?;
            let comes = announced && (viewer.opened || least <= SKIP_SCROLLBACK);
            (!comes).then_some(least)
        });
        let recorder = self.recorder.as_ref().filter(|r| r.wants_snapshot() && !announced).map(|_| 0);
        let Some(wanted) = viewers.chain(recorder).max() else { return };
        if let Some(upstream) = &self.upstream {
            // Who was skipped wants 0 and is given a little: what can still be of use of the history.
            let scrollback = wanted.max(SKIP_SCROLLBACK);
            self.flow.asked = Some(scrollback);
            upstream.control(self.channel, &ClientMessage::Snapshot { scrollback });
        }
    }

    fn everybody_wants_a_snapshot(&mut self) {
        for viewer in &mut self.viewers {
            viewer.wants.get_or_insert(0);
            viewer.outgoing = None;
        }
        self.ask_for_snapshot();
    }

    pub(super) fn resume_serving(&self, at: usize) {
        if let Some(viewer) = self.viewers.get(at) {
            viewer.connection.wake(viewer.channel, Instant::now());
        }
    }

    pub(super) fn resume_all(&self) {
        (0..self.viewers.len()).for_each(|at| self.resume_serving(at));
    }

    pub(super) fn start_recording(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
        let (epoch, generation, end) = (self.epoch, self.size_generation, self.flow.ring.end());
        if let Some(recorder) = &mut self.recorder
            && !recorder.continues(epoch, generation, end)
        {
            self.ask_for_snapshot();
        }
    }

    /// Lets go of what every viewer has acknowledged. Whoever comes back for more gets it from the keeper.
    fn forget_what_nobody_needs(&mut self) {
        let needing = self.viewers.iter().filter(|v| v.can_go_on() && v.catch_up.is_none());
        let oldest = needing.map(|v| v.cursor.acked()).min();
        let end = self.flow.ring.end();
        self.flow.ring.release(oldest.unwrap_or(end));
    }
}

impl Viewer {
    /// Whether bytes of the ring are what it needs.
    pub(super) fn can_go_on(&self) -> bool {
        self.opened && self.visible && self.wants.is_none()
    }

    fn sent_output(&mut self, len: usize, now: Instant) {
        self.cursor.sent(len);
        self.progressed = Some(now);
        if !self.connection.acknowledges() {
            self.cursor.ack(self.cursor.next_offset());
        }
    }

    /// What is due once it has everything: `ready`, and the program's exit.
    fn finish(&mut self, exit: Option<&lap_wire::control::ExitStatus>, end: u64) {
        if self.outgoing.is_some() || self.wants.is_some() {
            return;
        }
        let next = self.cursor.next_offset();
        if self.ready_at.is_some_and(|at| next >= at) {
            self.ready_at = None;
            self.tell(&ServerMessage::Ready);
        }
        if let (Some(status), false) = (exit, self.exit_sent)
            && next >= end
        {
            self.exit_sent = true;
            self.tell(&ServerMessage::Exit(status.clone()));
        }
    }
}

impl super::super::connection::Connection {
    /// Sends the next piece of a snapshot; says how many bytes it was.
    fn send_piece(&self, channel: u32, outgoing: &mut Outgoing, size: usize, now: Instant) -> usize {
        let bytes = &outgoing.snapshot.bytes;
        let n = size.clamp(1, MAX_PAYLOAD).min(bytes.len() - outgoing.sent);
        let end = outgoing.sent + n;
        let first = if outgoing.sent == 0 { flags::FIRST } else { 0 };
        let last = if end == bytes.len() { flags::LAST } else { 0 };
        let piece = &bytes[outgoing.sent..end];
        self.frame(FrameType::Snapshot, first | last, channel, outgoing.snapshot.offset, piece, &[], now);
        outgoing.sent = end;
        n
    }
}
