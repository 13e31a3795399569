//! Who looks at a terminal and what they may do, and what the keeper tells of it.

use std::collections::HashSet;
use std::rc::Rc;

use lap_platform::link::{LinkError, Opened};
use lap_wire::Epoch;
use lap_wire::Frame;
use lap_wire::control::{
    Attention, ClientMessage, ErrorCode, How, Mode, Open, ServerMessage, Size, Viewer as Description,
    WireError,
};
use lap_wire::flow::Since;
use lap_wire::frame::{FrameType, flags};
use lap_wire::limits::{DEFAULT_WINDOW, SKIP_SCROLLBACK};
use tokio::time::Instant;

use super::super::metrics::{Census, Stopwatch};
use super::super::recorder::Recorder;
use super::ending::Exit;
use super::flow::{ACTIVITY_INTERVAL, Flow};
use super::input::Refusal;
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
    program: String,
    /// Where whoever needed it first had come to: the keeper's channel begins there, if it can.
    first_since: Option<Since>,
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

    // --- what clients say

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

    fn pump_input(&mut self, at: usize, now: Instant) {
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

    fn begin_recording(&mut self) {
        let (place, end) = (self.place, self.flow.ring.end());
        if let Some(recorder) = &mut self.recorder
            && !recorder.continues(place.epoch, place.size_generation, end)
        {
            self.ask_for_snapshot();
        }
    }

    // --- what the keeper says

    /// How to open a channel now, for the first time or again. `None`: it is not needed any more.
    pub(in crate::hub) fn open_of(&self, key: Key) -> Option<Open> {
        match key {
            Key::Output => Some(Open {
                since: if self.opened { self.position() } else { self.first_since },
                window: DEFAULT_WINDOW,
                scrollback: SKIP_SCROLLBACK,
                ..Open::new(&self.program, Mode::View)
            }),
            Key::Seat(id) => self.at(id).map(|at| self.viewers[at].open_seat(&self.program)),
            Key::CatchUp(id, number) => self.open_catch_up(id, number),
        }
    }

    /// Where the output has come to. `None` while the screen there is still to come.
    fn position(&self) -> Option<Since> {
        let Place { epoch, size_generation, .. } = self.place;
        let here = Since { epoch, offset: self.flow.ring.end(), size_generation };
        (!self.snapshots.is_announced()).then_some(here)
    }

    /// A channel that was to be opened.
    pub(in crate::hub) fn bound(&mut self, key: Key, channel: Box<dyn KeeperChannel>) {
        match key {
            Key::Output if self.closing.is_none() => self.output = Some(channel),
            Key::Output => {}
            Key::Seat(id) => {
                if let Some(at) = self.at(id).filter(|_| self.closing.is_none()) {
                    self.viewers[at].seat.channel = Some(channel);
                }
            }
            Key::CatchUp(id, number) => self.bound_catch_up(id, number, channel),
        }
    }

    /// The keeper has opened a channel, for the first time or again.
    pub(in crate::hub) fn opened(&mut self, key: Key, opened: &Opened, now: Instant) {
        match key {
            Key::Output => self.output_opened(opened, now),
            Key::Seat(id) => self.seat_opened(id, opened, now),
            Key::CatchUp(id, number) => self.catch_up_opened(id, number, opened, now),
        }
    }

    fn output_opened(&mut self, opened: &Opened, now: Instant) {
        if self.opened && self.place.epoch != opened.epoch {
            // Another life of the program, whose offsets mean something else.
            return self.end(WireError::new(ErrorCode::SandboxLost, RESTARTED).retryable(), now);
        }
        let again = self.opened && self.flow.ring.end() == opened.offset && opened.how == How::Exact;
        let (first, generation) = (!self.opened, self.place.size_generation);
        (self.up, self.opened) = (true, true);
        self.place =
            Place { epoch: opened.epoch, size: opened.size, size_generation: opened.size_generation };
        self.title.clone_from(&opened.title);
        self.snapshots.reopened();
        self.flow.opened(opened.offset);
        if !again {
            self.flow.ring.restart(opened.offset);
        }
        if opened.how == How::Snapshot {
            self.snapshots.announce();
        }
        if first {
            self.begin_recording();
        } else {
            self.shared.metrics.reconnects.add(1);
            if generation != opened.size_generation
                && let Some(recorder) = &mut self.recorder
            {
                recorder.resized(opened.size);
            }
        }
        for at in 0..self.viewers.len() {
            self.begin(at, now);
        }
        // What was asked for on the connection before will not come on this one.
        self.ask_for_snapshot();
    }

    fn seat_opened(&mut self, id: ViewerId, opened: &Opened, now: Instant) {
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        let again = viewer.seat.input_offset.replace(opened.input_offset).is_some();
        viewer.seat.up = true;
        match &mut viewer.input {
            Input::None => {}
            Input::Relayed(relay) => {
                let back = relay.opened(opened.input_offset);
                if again && viewer.opened {
                    viewer.client.input_ack(viewer.channel, opened.input_offset);
                }
                if let Some(offset) = back.filter(|_| viewer.opened) {
                    let text = format!("send again what comes after offset {offset}");
                    let error = WireError::new(ErrorCode::InputGap, text).send_again_from(offset);
                    viewer.tell(&ServerMessage::Error(error));
                }
            }
            Input::Kept(sender) => {
                let lost = sender.opened(opened.input_offset);
                told_lost(lost);
                self.pump_input(at, now);
            }
        }
        self.begin(at, now);
    }

    /// A frame that is no control message.
    pub(in crate::hub) fn frame(&mut self, key: Key, frame: &Frame<'_>, now: Instant) {
        match (key, frame.kind) {
            (Key::Output, FrameType::Output) => self.printed(frame.offset, frame.payload, now),
            (Key::Output, FrameType::Snapshot) => {
                self.snapshot_piece(frame.offset, frame.payload, frame.flags, now);
            }
            (Key::Seat(id), FrameType::InputAck) => self.input_acked(id, frame.offset, now),
            (Key::CatchUp(id, number), _) => self.catch_up_frame(id, number, frame, now),
            _ => {}
        }
    }

    fn input_acked(&mut self, id: ViewerId, offset: u64, now: Instant) {
        self.shared.metrics.written(&mut self.watch);
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        if let Input::Kept(sender) = &mut viewer.input {
            sender.acked(offset);
            self.pump_input(at, now);
        } else if viewer.opened {
            viewer.client.input_ack(viewer.channel, offset);
        } else {
            // `opened` is to say it, and that comes first.
            viewer.seat.input_offset = viewer.seat.input_offset.max(Some(offset));
        }
    }

    /// A control message.
    pub(in crate::hub) fn message(&mut self, key: Key, message: ServerMessage, now: Instant) {
        match key {
            Key::Output => self.output_message(message),
            Key::Seat(id) => self.seat_message(id, message, now),
            Key::CatchUp(id, number) => {
                // Something was left out, or the keeper does not have it any more.
                if matches!(
                    message,
                    ServerMessage::Error(_) | ServerMessage::Resized { .. } | ServerMessage::Skipped { .. }
                ) && let Some(at) = self.catching_up(id, number)
                {
                    self.stop_catching_up(at, now);
                }
            }
        }
    }

    fn output_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Resized { size, size_generation } => {
                (self.place.size, self.place.size_generation) = (size, size_generation);
                self.snapshots.announce();
                if let Some(recorder) = &mut self.recorder {
                    recorder.resized(size);
                }
            }
            ServerMessage::Skipped { .. } => self.snapshots.announce(),
            ServerMessage::Exit(status) => self.program_ended(status),
            ServerMessage::Title { title } => {
                self.title = Some(title.clone());
                self.tell_all(&ServerMessage::Title { title });
            }
            ServerMessage::Attention { state, text } => {
                self.attention = (state, text.clone());
                self.tell_all(&ServerMessage::Attention { state, text: text.clone() });
                self.effects.push(Effect::Attention(state, text));
            }
            ServerMessage::Presence { viewers } => {
                let people = |which: fn(&Description) -> bool| {
                    let all = viewers.iter().filter(|viewer| which(viewer)).map(|viewer| &viewer.person);
                    all.collect::<HashSet<_>>().len() as u32
                };
                let interactive = people(|viewer| viewer.mode == Mode::Interact);
                self.effects.push(Effect::Viewers { people: people(|_| true), interactive });
            }
            ServerMessage::Error(error) => {
                tracing::warn!(program = self.program, code = ?error.code, message = error.message, "keeper complains");
            }
            _ => {}
        }
    }

    /// What the keeper says to one viewer. What it says to all of them is passed on from the terminal's own channel,
    /// where it stands in order with the output.
    fn seat_message(&mut self, id: ViewerId, message: ServerMessage, now: Instant) {
        let Some(at) = self.at(id) else { return };
        let viewer = &mut self.viewers[at];
        match message {
            ServerMessage::Presence { viewers } => viewer.tell_presence(viewers),
            ServerMessage::Lease { holder, mine } => viewer.tell_lease(holder, mine),
            ServerMessage::Error(error) => {
                let refusal = match error.code {
                    ErrorCode::InputGap => Some(Refusal::Gap),
                    ErrorCode::InputOverflow => Some(Refusal::Overflow),
                    _ => None,
                };
                let Some((refusal, expected)) = refusal.zip(error.expected) else {
                    return viewer.tell(&ServerMessage::Error(error));
                };
                match &mut viewer.input {
                    Input::None => {}
                    Input::Relayed(relay) => {
                        if relay.refused(refusal, expected) {
                            viewer.tell(&ServerMessage::Error(error));
                        }
                    }
                    Input::Kept(sender) => {
                        told_lost(sender.refused(refusal, expected, now));
                        self.pump_input(at, now);
                    }
                }
            }
            _ => {}
        }
    }

    /// The connection to the keeper is down; what was opened will be opened again, or [`Terminal::closed`].
    pub(in crate::hub) fn broken(&mut self, key: Key) {
        match key {
            Key::Output => {
                self.up = false;
                self.effects.push(Effect::Locate);
            }
            Key::Seat(id) => {
                if let Some(at) = self.at(id) {
                    let viewer = &mut self.viewers[at];
                    viewer.seat.up = false;
                    if let Input::Kept(sender) = &mut viewer.input {
                        sender.broken();
                    }
                }
            }
            Key::CatchUp(..) => {}
        }
    }

    /// A channel is no more, and will not be opened again.
    pub(in crate::hub) fn closed(&mut self, key: Key, why: LinkError, now: Instant) {
        match key {
            Key::Output => {
                (self.output, self.up) = (None, false);
                self.effects.push(Effect::Lost(why.into()));
            }
            Key::Seat(id) => {
                let Some(at) = self.at(id) else { return };
                // With the sandbox goes the terminal, whose own channel says why.
                if self.closing.is_some()
                    || (self.opened && !matches!(why, LinkError::Refused(_) | LinkError::TimedOut { .. }))
                {
                    let viewer = &mut self.viewers[at];
                    (viewer.seat.channel, viewer.seat.up) = (None, false);
                    return;
                }
                let error = WireError::from(why);
                let viewer = self.viewers.remove(at);
                let reason = error.message.clone();
                viewer.tell(&ServerMessage::Error(error));
                viewer.tell(&ServerMessage::Closed { reason });
                viewer.client.ended(viewer.channel);
                if self.is_unused() {
                    self.effects.push(Effect::Unused);
                }
            }
            Key::CatchUp(id, number) => {
                if let Some(at) = self.catching_up(id, number).filter(|_| self.closing.is_none()) {
                    self.stop_catching_up(at, now);
                }
            }
        }
    }

    fn tell_all(&self, message: &ServerMessage) {
        for viewer in self.viewers.iter().filter(|viewer| viewer.opened) {
            viewer.tell(message);
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

/// A client of the simple socket has no way to be told.
fn told_lost(bytes: u64) {
    if bytes > 0 {
        tracing::warn!(bytes, "typed into a simple socket, and not known to have been written");
    }
}
