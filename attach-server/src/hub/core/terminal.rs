//! Who looks at a terminal, and what they may do.

use std::rc::Rc;

use lap_wire::Epoch;
use lap_wire::control::{Attention, ClientMessage, ErrorCode, Mode, ServerMessage, Size, WireError};
use lap_wire::flow::Since;
use lap_wire::frame::{FrameType, flags};
use tokio::time::Instant;

use super::super::metrics::{Census, Stopwatch};
use super::super::recorder::Recorder;
use super::ending::Exit;
use super::flow::{ACTIVITY_INTERVAL, Flow};
use super::snapshots::Snapshots;
use super::viewer::{Input, NewViewer, Viewer};
use super::{Effect, KeeperChannel, Key, Shared, ViewerId};

/// What viewers are told whose session runs in another sandbox by now.
pub(in crate::hub) const RESTARTED: &str = "the session was restarted";

/// Which life of the program this is, and the terminal's size in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub epoch: Epoch,
    pub size: Size,
    pub size_generation: u32,
}

/// See the module.
pub(in crate::hub) struct Terminal {
    pub(super) shared: Rc<Shared>,
    pub(super) program: String,
    /// Where whoever needed it first had come to: the keeper's channel begins there, if it can.
    pub(super) first_since: Option<Since>,
    pub(super) viewers: Vec<Viewer>,
    /// Numbers the catch-ups.
    pub(super) catch_ups: u32,
    /// The channel at the keeper on which the output comes.
    pub(super) output: Option<Box<dyn KeeperChannel>>,
    /// It is open on the present connection.
    pub(super) up: bool,
    /// It was open before.
    pub(super) opened: bool,
    pub(super) place: Place,
    pub(super) title: Option<String>,
    pub(super) attention: (Attention, Option<String>),
    pub(super) recorder: Option<Recorder>,
    /// The recording waits for the last screen.
    pub(super) recording_ends: bool,
    pub(super) exit: Option<Exit>,
    /// Why it cannot be had any more.
    pub(super) closing: Option<String>,
    pub(super) flow: Flow,
    pub(super) snapshots: Snapshots,
    typed_at: Option<Instant>,
    pub(super) watch: Stopwatch,
    pub(super) effects: Vec<Effect>,
    due: Option<Instant>,
}

impl Terminal {
    /// A terminal that is about to be opened at its keeper. `since`: where whoever needs it has come to.
    pub(in crate::hub) fn new(shared: Rc<Shared>, program: String, since: Option<Since>) -> Terminal {
        Terminal {
            shared,
            program,
            first_since: since,
            viewers: Vec::new(),
            catch_ups: 0,
            output: None,
            up: false,
            opened: false,
            place: Place { epoch: Epoch(0), size: Size::default(), size_generation: 0 },
            title: None,
            attention: (Attention::None, None),
            recorder: None,
            recording_ends: false,
            exit: None,
            closing: None,
            flow: Flow::new(),
            snapshots: Snapshots::default(),
            typed_at: None,
            watch: Stopwatch::default(),
            effects: vec![Effect::Open(Key::Output)],
            due: None,
        }
    }

    /// What is to be done, in this order.
    pub(in crate::hub) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When [`Terminal::tick`] has something to do, if nothing happens before.
    pub(in crate::hub) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn due_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Does what is due.
    pub(in crate::hub) fn tick(&mut self, now: Instant) {
        self.due = None;
        self.flow_tick(now);
        for at in 0..self.viewers.len() {
            let viewer = &mut self.viewers[at];
            if let Input::Kept(sender) = &mut viewer.input {
                sender.tick(now);
            }
            self.pump_input(at, now);
        }
        self.look_at_the_end(now);
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    pub(super) fn at(&self, id: ViewerId) -> Option<usize> {
        self.viewers.iter().position(|viewer| viewer.id == id)
    }

    /// Whether the keeper is looked for, and it is not known whether it will be found.
    pub(in crate::hub) fn is_out_of_reach(&self) -> bool {
        !self.up && self.closing.is_none()
    }

    /// Takes everything out of a terminal that is not to be trusted any more, and leaves one that has ended.
    pub(in crate::hub) fn abandon(&mut self) -> Terminal {
        let mut ended = Terminal::new(self.shared.clone(), String::new(), None);
        ended.effects.clear();
        ended.closing = Some(String::new());
        std::mem::replace(self, ended)
    }

    /// Tells everybody that it is no more.
    pub(in crate::hub) fn tell_viewers(&self, why: &WireError) {
        for viewer in &self.viewers {
            viewer.tell(&ServerMessage::Error(why.clone()));
            viewer.tell(&ServerMessage::Closed { reason: why.message.clone() });
            viewer.client.ended(viewer.channel);
        }
    }

    /// Whether everything it prints is recorded.
    pub(in crate::hub) fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Whether nobody needs it any more.
    pub(in crate::hub) fn is_unused(&self) -> bool {
        self.viewers.is_empty() && self.recorder.is_none()
    }

    /// Adds it and its viewers.
    pub(in crate::hub) fn count(&self, census: &mut Census) {
        census.terminals += 1;
        census.viewers += self.viewers.len() as u64;
        census.in_flight_bytes += self.viewers.iter().map(Viewer::unacknowledged).sum::<u64>();
    }

    /// A viewer comes; it is brought to the present once the keeper has given it its seat.
    ///
    /// # Errors
    /// When as many are here already as may be.
    pub(in crate::hub) fn attach(&mut self, new: NewViewer, now: Instant) -> Result<(), WireError> {
        let most = self.shared.max_viewers;
        if self.viewers.len() >= most {
            if self.is_unused() {
                self.effects.push(Effect::Unused);
            }
            let text = format!("a session has at most {most} viewers at this server");
            return Err(WireError::new(ErrorCode::Overloaded, text).retryable());
        }
        let viewer = new.into_viewer(now);
        self.effects.push(Effect::Open(Key::Seat(viewer.id)));
        self.viewers.push(viewer);
        Ok(())
    }

    /// A viewer has gone.
    pub(in crate::hub) fn detach(&mut self, id: ViewerId, now: Instant) {
        let Some(at) = self.at(id) else { return };
        self.viewers.remove(at);
        self.forget_what_nobody_needs();
        self.look_at_the_end(now);
        if self.is_unused() {
            self.effects.push(Effect::Unused);
        }
    }

    /// A viewer's size has changed.
    pub(in crate::hub) fn resize(&mut self, id: ViewerId, size: Size) {
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        viewer.size = Some(size);
        if let Some(channel) = &viewer.seat.channel {
            // What is not sent goes with the next opening.
            channel.control(&ClientMessage::Resize(size));
        }
    }

    /// A viewer is (not) looked at.
    pub(in crate::hub) fn visible(&mut self, id: ViewerId, visible: bool, now: Instant) {
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        viewer.visible = visible;
        if let Some(channel) = &viewer.seat.channel {
            channel.control(&ClientMessage::Visible { visible });
        }
        viewer.client.wake(viewer.channel, now);
        self.look_at_the_end(now);
    }

    /// A viewer types, at `offset` of its stream. Errors are the viewer's to read.
    pub(in crate::hub) fn input(
        &mut self,
        id: ViewerId,
        flag: u8,
        offset: u64,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), WireError> {
        let Some(at) = self.at(id) else { return Ok(()) };
        let viewer = &mut self.viewers[at];
        if viewer.mode == Mode::View {
            return Err(view_only());
        }
        if viewer.input_name.is_none() {
            return Err(no_input_stream());
        }
        if !viewer.opened {
            let text = "the channel is still being opened";
            return Err(WireError::new(ErrorCode::ChannelNotOpen, text).retryable());
        }
        let up = viewer.seat.up;
        if flag & flags::REPLY != 0 {
            if let Some(channel) = viewer.seat.channel.as_ref().filter(|_| up) {
                channel.send(FrameType::Input, flag, 0, bytes);
            }
            return Ok(());
        }
        let Input::Relayed(relay) = &mut viewer.input else { return Ok(()) };
        if relay.frame(offset, bytes.len(), up)
            && let Some(channel) = &viewer.seat.channel
            && !channel.send(FrameType::Input, flag, offset, bytes)
        {
            relay.unsent(offset);
            let text = format!("the sandbox takes no more input for now; send again from {offset}");
            return Err(WireError::new(ErrorCode::InputOverflow, text).send_again_from(offset));
        }
        self.typed(at, bytes.len(), now);
        Ok(())
    }

    /// A viewer types whose client numbers nothing and is not read while [`Terminal::takes_input`] says no.
    pub(in crate::hub) fn type_in(&mut self, id: ViewerId, bytes: &[u8], now: Instant) {
        let Some(at) = self.at(id) else { return };
        // What a watcher types is dropped, as a watcher's client expects.
        let Input::Kept(sender) = &mut self.viewers[at].input else { return };
        sender.push(bytes);
        self.pump_input(at, now);
        self.typed(at, bytes.len(), now);
    }

    /// Whether more is to be read of what a viewer types.
    pub(in crate::hub) fn takes_input(&self, id: ViewerId) -> bool {
        match self.at(id).map(|at| &self.viewers[at].input) {
            Some(Input::Kept(sender)) => !sender.is_full(),
            _ => true,
        }
    }

    pub(super) fn pump_input(&mut self, at: usize, now: Instant) {
        let viewer = &mut self.viewers[at];
        viewer.pump_input(now);
        if let Input::Kept(sender) = &viewer.input
            && let Some(retry) = sender.retry_at()
        {
            self.due_at(retry);
        }
    }

    fn typed(&mut self, at: usize, bytes: usize, now: Instant) {
        self.shared.metrics.typed(&mut self.watch, bytes, now);
        self.shared.typed.set(Some(now));
        let viewer = &self.viewers[at];
        viewer.client.typed(viewer.channel, now);
        if self.typed_at.is_none_or(|at| now.saturating_duration_since(at) >= ACTIVITY_INTERVAL) {
            self.typed_at = Some(now);
            self.effects.push(Effect::Activity { typed: true });
        }
    }

    /// Passes a control message of a viewer that may type on to the keeper, over the viewer's own channel there: what
    /// the keeper says to it is then the viewer's to read.
    pub(in crate::hub) fn forward(&mut self, id: ViewerId, message: &ClientMessage) -> Result<(), WireError> {
        let Some(at) = self.at(id) else { return Ok(()) };
        let viewer = &self.viewers[at];
        if viewer.mode == Mode::View {
            return Err(view_only());
        }
        if *message == ClientMessage::StdinEof && viewer.input_name.is_none() {
            return Err(no_input_stream());
        }
        let sent = viewer.seat.channel.as_ref().is_some_and(|channel| channel.control(message));
        if sent {
            return Ok(());
        }
        Err(WireError::new(ErrorCode::SandboxLost, "the sandbox cannot be reached now").retryable())
    }

    /// A viewer asks for a snapshot.
    pub(in crate::hub) fn wants_snapshot(&mut self, id: ViewerId, scrollback: u32) {
        let Some(at) = self.at(id) else { return };
        // One that has not begun gets one anyway, or does not need one.
        if self.viewers[at].begun {
            self.viewers[at].wants = Some(scrollback.min(lap_wire::limits::MAX_SNAPSHOT_SCROLLBACK));
            self.ask_for_snapshot();
        }
    }

    /// From here on everything the program prints is recorded too.
    pub(in crate::hub) fn record(&mut self, recorder: Recorder) {
        if self.recorder.is_some() || self.closing.is_some() {
            return;
        }
        self.recorder = Some(recorder);
        self.effects.push(Effect::Recording(true));
        if self.opened {
            self.begin_recording();
        }
    }

    pub(super) fn begin_recording(&mut self) {
        let (place, end) = (self.place, self.flow.ring.end());
        if let Some(recorder) = &mut self.recorder
            && !recorder.continues(place.epoch, place.size_generation, end)
        {
            self.ask_for_snapshot();
        }
    }
}

fn view_only() -> WireError {
    WireError::new(ErrorCode::NotWritable, "this terminal is open for viewing only")
}

fn no_input_stream() -> WireError {
    let error = WireError::new(ErrorCode::NotWritable, "the channel was opened without an input stream");
    error.with_hint("name one in `open`, as `input`")
}
