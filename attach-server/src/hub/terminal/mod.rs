//! One terminal and everybody who looks at it: one upstream, however many viewers, each with its own position in what
//! the program prints.
//!
//! This file has who is there and what they may do; [`flow`] has how bytes reach them, [`catch_up`] how whoever comes
//! back gets what was printed meanwhile.

mod catch_up;
mod flow;
mod viewer;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

use lap_platform::model::SessionId;
use lap_wire::control::{
    Attention, ClientMessage, ErrorCode, ExitStatus, LeaseAction, Mode, Open, Responder, ServerMessage, Size,
    WireError,
};
use lap_wire::flow::Since;
use lap_wire::frame::{Frame, FrameType, flags};
use lap_wire::limits::{DEFAULT_WINDOW, HUB_RING, SKIP_SCROLLBACK};
use lap_wire::{ChannelId, Epoch, Ring};
use tokio::time::Instant;

use super::Hub;
use super::directory::{Directory, Location};
use super::metrics::{Census, HubMetrics, Stopwatch};
use super::recorder::{Needs, Recorder};
use super::size::{self, Candidate};
use super::upstream::Upstream;
#[cfg(test)]
pub(super) use flow::MAX_SNAPSHOT;
pub(super) use viewer::{InputChannel, NewViewer, Viewer};

/// Typing and output are reported as activity at most this often.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(1);

/// Viewers of one terminal. Each of them is told of all the others, which must fit into one message.
pub(super) const MAX_VIEWERS: usize = 128;

/// What serving a viewer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Served {
    /// So many bytes were sent; there may be more.
    Sent(usize),
    /// Nothing can be sent to it now.
    Nothing,
}

/// See the module.
pub(super) struct Terminal {
    /// Whose terminal it is.
    pub session: SessionId,
    hub: Weak<Hub>,
    pins: Cell<u32>,
    state: RefCell<State>,
}

/// Keeps a terminal that somebody is about to look at.
pub(super) struct Pin(Rc<Terminal>);

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.set(self.0.pins.get() - 1);
        if let Some(hub) = self.0.hub.upgrade() {
            hub.release(self.0.session);
        }
    }
}

struct State {
    location: Location,
    upstream: Option<Rc<Upstream>>,
    channel: u32,
    epoch: Epoch,
    size: Size,
    size_generation: u32,
    title: Option<String>,
    attention: (Attention, Option<String>),
    exit: Option<ExitStatus>,
    viewers: Vec<Viewer>,
    /// Counts acts of viewers: the one with the highest acted last.
    acts: u64,
    requested_size: Option<Size>,
    responder: Responder,
    lease: Option<u64>,
    recorder: Option<Recorder>,
    typed_at: Option<Instant>,
    printed_at: Option<Instant>,
    metrics: HubMetrics,
    watch: Stopwatch,
    flow: flow::Flow,
}

impl Terminal {
    pub(super) fn new(
        session: SessionId,
        hub: Weak<Hub>,
        location: Location,
        metrics: HubMetrics,
    ) -> Rc<Terminal> {
        let state = State {
            location,
            upstream: None,
            channel: 0,
            epoch: Epoch(0),
            size: Size::default(),
            size_generation: 0,
            title: None,
            attention: (Attention::None, None),
            exit: None,
            viewers: Vec::new(),
            acts: 0,
            requested_size: None,
            responder: Responder::Model,
            lease: None,
            recorder: None,
            typed_at: None,
            printed_at: None,
            metrics,
            watch: Stopwatch::default(),
            flow: flow::Flow::new(Ring::new(HUB_RING)),
        };
        Rc::new(Terminal { session, hub, pins: Cell::new(0), state: RefCell::new(state) })
    }

    /// Its upstream is this channel from here on.
    pub(super) fn bind(&self, upstream: &Rc<Upstream>, channel: u32) {
        let mut state = self.state.borrow_mut();
        state.upstream = Some(upstream.clone());
        state.channel = channel;
    }

    /// How its channel at the keeper is to be opened.
    pub(super) fn upstream_open(&self, since: Option<Since>) -> Open {
        self.state.borrow().upstream_open(since)
    }

    /// Where its upstream has come to, to go on from there after a reconnect.
    pub(super) fn position(&self) -> Since {
        let state = self.state.borrow();
        Since { epoch: state.epoch, offset: state.flow.ring.end(), size_generation: state.size_generation }
    }

    pub(super) fn location(&self) -> Location {
        self.state.borrow().location.clone()
    }

    /// Whether this is where it runs.
    pub(super) fn is_at(&self, location: &Location) -> bool {
        let state = self.state.borrow();
        (&state.location.sandbox, &state.location.program) == (&location.sandbox, &location.program)
    }

    pub(super) fn upstream(&self) -> Option<Rc<Upstream>> {
        self.state.borrow().upstream.clone().filter(|u| u.is_open())
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_unused(&self) -> bool {
        let state = self.state.borrow();
        state.viewers.is_empty() && state.recorder.is_none() && self.pins.get() == 0
    }

    /// Adds it and its viewers.
    pub(super) fn count(&self, census: &mut Census) {
        let state = self.state.borrow();
        census.terminals += 1;
        census.viewers += state.viewers.len() as u64;
        census.in_flight_bytes += state.viewers.iter().map(Viewer::unacknowledged).sum::<u64>();
    }

    /// Whether it has all the viewers it may have, those included that are about to be.
    pub(super) fn is_full(&self) -> bool {
        self.state.borrow().viewers.len() + self.pins.get() as usize >= MAX_VIEWERS
    }

    /// Keeps it while the pin lives.
    pub(super) fn pin(self: &Rc<Self>) -> Pin {
        self.pins.set(self.pins.get() + 1);
        Pin(self.clone())
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.state.borrow().recorder.is_some()
    }

    fn directory(&self) -> Option<std::sync::Arc<dyn Directory>> {
        self.hub.upgrade().map(|hub| hub.directory.clone())
    }

    // --- who is there

    /// A viewer is there; it is brought to the present by resuming exactly or by a snapshot.
    pub(super) fn attach(self: &Rc<Self>, new: NewViewer) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.acts += 1;
        let viewer = new.into_viewer(state.acts, state.size_generation);
        state.viewers.push(viewer);
        self.begin(state, state.viewers.len() - 1);
        state.settle();
        state.presence();
        self.tell_viewers(state);
    }

    /// A viewer has gone.
    pub(super) fn detach(&self, id: u64) {
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let Some(at) = state.viewers.iter().position(|v| v.id == id) else { return };
            let viewer = state.viewers.remove(at);
            if let (Some(input), Some(upstream)) = (&viewer.input, &state.upstream) {
                upstream.close(input.channel);
            }
            if state.lease == Some(id) {
                state.lease = None;
                state.lease_changed();
            }
            state.settle();
            state.presence();
            self.tell_viewers(state);
        }
        if let Some(hub) = self.hub.upgrade() {
            hub.release(self.session);
        }
    }

    /// A viewer's size has changed.
    pub(super) fn resize(&self, id: u64, size: Size) {
        self.act(id, |viewer| viewer.size = Some(size));
    }

    /// A viewer is (not) looked at.
    pub(super) fn visible(&self, id: u64, visible: bool) {
        self.act(id, |viewer| viewer.visible = visible);
        let state = self.state.borrow();
        if let Some(at) = state.viewers.iter().position(|v| v.id == id) {
            state.resume_serving(at);
        }
    }

    /// Something a viewer does that makes it the one who acted last.
    fn act(&self, id: u64, change: impl FnOnce(&mut Viewer)) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) else { return };
        state.acts += 1;
        viewer.acted = state.acts;
        change(viewer);
        state.settle();
        state.presence();
    }

    /// A viewer types. Errors are the viewer's to read; nothing was written then.
    pub(super) fn input(&self, id: u64, flag: u8, offset: u64, bytes: &[u8]) -> Result<(), WireError> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let active = state.active();
        let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) else { return Ok(()) };
        if viewer.mode == Mode::View {
            return Err(WireError::new(ErrorCode::NotWritable, "this terminal is open for viewing only"));
        }
        let reply = flag & flags::REPLY != 0;
        if reply && (active != Some(id) || state.responder == Responder::Model) {
            return Ok(());
        }
        if state.location.exclusive_input && state.lease != Some(id) {
            let error = WireError::new(ErrorCode::NotWritable, "another viewer has the right to type here");
            return Err(error.with_hint("ask for the lease first"));
        }
        let Some(input) = viewer.input.as_ref().filter(|input| input.name.is_some()) else {
            return Err(no_input_stream());
        };
        let Some(upstream) = state.upstream.as_ref().filter(|u| u.is_open()) else {
            return Err(
                WireError::new(ErrorCode::SandboxLost, "the sandbox cannot be reached now").retryable()
            );
        };
        // One client's paste must not cost the others their keeper.
        if !upstream.has_room(bytes.len()) {
            let error = WireError::new(ErrorCode::InputOverflow, "the sandbox takes no more input for now");
            return Err(error.retryable());
        }
        upstream
            .send(&Frame::new(FrameType::Input, ChannelId(input.channel), offset, bytes).with_flags(flag));
        if reply {
            return Ok(());
        }
        let now = Instant::now();
        state.metrics.typed(&mut state.watch, bytes.len(), now);
        viewer.connection.typed(viewer.channel, now);
        if let Some(hub) = self.hub.upgrade() {
            hub.typed.set(Some(now));
        }
        state.acts += 1;
        viewer.acted = state.acts;
        if active != Some(id) {
            state.settle();
            state.presence();
        }
        if state.typed_at.is_none_or(|at| now - at >= ACTIVITY_INTERVAL) {
            state.typed_at = Some(now);
            if let Some(directory) = self.directory() {
                directory.activity(self.session, true);
            }
        }
        Ok(())
    }

    /// The keeper has written a viewer's input up to `offset`.
    pub(super) fn input_acked(&self, id: u64, offset: u64) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(viewer) = state.viewers.iter().find(|v| v.id == id) {
            viewer.connection.input_ack(viewer.channel, offset);
        }
        state.metrics.written(&mut state.watch);
    }

    /// The keeper refused a viewer's input.
    pub(super) fn input_failed(&self, id: u64, error: WireError) {
        let state = self.state.borrow();
        if let Some(viewer) = state.viewers.iter().find(|v| v.id == id) {
            viewer.connection.error(viewer.channel, error);
        }
    }

    /// Passes a control message of a viewer that may type on to the keeper, over the viewer's own channel there: what
    /// the keeper says to it is then the viewer's to read.
    pub(super) fn forward(&self, id: u64, message: &ClientMessage) -> Result<(), WireError> {
        let state = self.state.borrow();
        let Some(viewer) = state.viewers.iter().find(|v| v.id == id) else { return Ok(()) };
        if viewer.mode == Mode::View {
            return Err(WireError::new(ErrorCode::NotWritable, "this terminal is open for viewing only"));
        }
        let (Some(input), Some(upstream)) = (&viewer.input, state.upstream.as_ref().filter(|u| u.is_open()))
        else {
            let error = WireError::new(ErrorCode::SandboxLost, "the sandbox cannot be reached now");
            return Err(error.retryable());
        };
        if *message == ClientMessage::StdinEof && input.name.is_none() {
            return Err(no_input_stream());
        }
        upstream.control(input.channel, message);
        Ok(())
    }

    /// A viewer wants, or gives back, the right to type.
    pub(super) fn lease(&self, id: u64, action: LeaseAction) -> Result<(), WireError> {
        let mut state = self.state.borrow_mut();
        let Some(viewer) = state.viewers.iter().find(|v| v.id == id) else { return Ok(()) };
        if viewer.mode == Mode::View {
            return Err(WireError::new(ErrorCode::NotWritable, "this terminal is open for viewing only"));
        }
        state.lease = match action {
            LeaseAction::Release => state.lease.filter(|holder| *holder != id),
            LeaseAction::Acquire => state.lease.or(Some(id)),
            LeaseAction::Steal => Some(id),
        };
        state.lease_changed();
        Ok(())
    }

    /// From here on everything the program prints is recorded too.
    pub(super) fn record(&self, recorder: Recorder) {
        let mut state = self.state.borrow_mut();
        state.start_recording(recorder);
        if let Some(directory) = self.directory() {
            directory.recording(self.session, true);
        }
    }

    // --- what the keeper tells

    /// The connection to the keeper has ended.
    pub(super) fn upstream_lost(self: &Rc<Self>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.reconnect(self.clone());
        }
    }

    /// After a new connection to the keeper: opens the ways of what viewers type again, and has them send again what
    /// may have been lost between here and there. The keeper drops what it has already.
    pub(super) async fn reopen_inputs(self: &Rc<Self>) {
        let names: Vec<_> = {
            let state = self.state.borrow();
            state.viewers.iter().filter_map(|v| Some((v.id, v.input.as_ref()?.name.clone()))).collect()
        };
        for (id, name) in names {
            let opened = self.open_input(id, name).await;
            let mut state = self.state.borrow_mut();
            let Some(viewer) = state.viewers.iter_mut().find(|v| v.id == id) else { continue };
            match opened {
                Ok(input) if input.name.is_none() => viewer.input = Some(input),
                Ok(input) => {
                    let text = format!("send again what comes after offset {}", input.offset);
                    viewer.input = Some(input);
                    viewer
                        .connection
                        .error(viewer.channel, WireError::new(ErrorCode::InputGap, text).retryable());
                }
                Err(error) => viewer.connection.error(viewer.channel, error),
            }
        }
    }

    /// Opens the keeper's channel for what a viewer types and asks; without a name it may only ask.
    pub(super) async fn open_input(
        self: &Rc<Self>,
        viewer: u64,
        name: Option<String>,
    ) -> Result<InputChannel, WireError> {
        let lost = || WireError::new(ErrorCode::SandboxLost, "the sandbox cannot be reached now").retryable();
        let upstream = self.upstream().ok_or_else(lost)?;
        let open = Open { mode: Mode::Input, input: name.clone(), scrollback: 0, ..self.upstream_open(None) };
        let (channel, opened) = upstream.open_input(self, viewer, open).await?;
        match opened.message {
            ServerMessage::Opened { input_offset: offset, .. } => Ok(InputChannel { name, channel, offset }),
            _ => Err(lost()),
        }
    }

    /// The terminal is no more: its viewers are told why.
    pub(super) fn end(&self, reason: &str) {
        let (viewers, recorder) = {
            let mut state = self.state.borrow_mut();
            if let Some(upstream) = state.upstream.take() {
                upstream.close(state.channel);
            }
            (std::mem::take(&mut state.viewers), state.recorder.take())
        };
        for viewer in viewers {
            viewer.connection.remove_channel(viewer.channel);
            let closed = ServerMessage::Closed { reason: reason.to_owned() };
            viewer.connection.event(viewer.channel, viewer.cursor.next_offset(), &closed);
        }
        if let Some(directory) = self.directory() {
            directory.viewers(self.session, 0, 0);
            directory.attention(self.session, Attention::None, None);
            if recorder.is_some() {
                directory.recording(self.session, false);
            }
        }
    }

    /// The keeper's message on the terminal's channel.
    pub(super) fn upstream_message(self: &Rc<Self>, message: ServerMessage) {
        match message {
            ServerMessage::Resized { size, size_generation } => {
                let mut state = self.state.borrow_mut();
                state.size = size;
                state.size_generation = size_generation;
                state.flow.barrier();
                if let Some(recorder) = &mut state.recorder {
                    recorder.resized(size);
                }
            }
            ServerMessage::Skipped { .. } => self.state.borrow_mut().flow.barrier(),
            ServerMessage::Exit(status) => {
                let mut state = self.state.borrow_mut();
                state.exit = Some(status.clone());
                // Its sandbox stays until this is told: the last screen comes first.
                let wanted = state.recorder.as_mut().map(|recorder| recorder.exited(&status));
                let waits = wanted == Some(Needs::Snapshot);
                if waits {
                    state.ask_for_snapshot();
                }
                state.resume_all();
                if !waits && let Some(directory) = self.directory() {
                    directory.exited(self.session, &status);
                }
            }
            ServerMessage::Title { title } => {
                let mut state = self.state.borrow_mut();
                state.title = Some(title.clone());
                state.tell_all(&ServerMessage::Title { title });
            }
            ServerMessage::Attention { state: attention, text } => {
                let mut state = self.state.borrow_mut();
                state.attention = (attention, text.clone());
                state.tell_all(&ServerMessage::Attention { state: attention, text: text.clone() });
                if let Some(directory) = self.directory() {
                    directory.attention(self.session, attention, text);
                }
            }
            ServerMessage::Closed { reason } => {
                self.end(&reason);
                if let Some(hub) = self.hub.upgrade() {
                    hub.release(self.session);
                }
            }
            ServerMessage::Error(error) => {
                tracing::warn!(session = %self.session, code = ?error.code, message = error.message, "keeper complains");
            }
            _ => {}
        }
    }

    fn tell_viewers(&self, state: &State) {
        if let Some(directory) = self.directory() {
            directory.viewers(
                self.session,
                state.people(|_| true),
                state.people(|v| v.mode == Mode::Interact),
            );
        }
    }

    fn printed(&self, state: &mut State, now: Instant) {
        if state.printed_at.is_none_or(|at| now - at >= ACTIVITY_INTERVAL) {
            state.printed_at = Some(now);
            if let Some(directory) = self.directory() {
                directory.activity(self.session, false);
            }
        }
    }
}

fn no_input_stream() -> WireError {
    let error = WireError::new(ErrorCode::NotWritable, "the channel was opened without an input stream");
    error.with_hint("name one in `open`, as `input`")
}

impl State {
    /// Whoever looks at it: somebody with two panes of it is one.
    fn people(&self, which: impl Fn(&Viewer) -> bool) -> u32 {
        let all = self.viewers.iter().filter(|v| which(v)).map(|v| v.connection.id);
        all.collect::<HashSet<u64>>().len() as u32
    }

    fn upstream_open(&self, since: Option<Since>) -> Open {
        Open {
            since,
            window: DEFAULT_WINDOW,
            scrollback: SKIP_SCROLLBACK,
            ..Open::new(&self.location.program, Mode::View)
        }
    }

    /// The viewer whose size counts and whose terminal answers queries.
    fn active(&self) -> Option<u64> {
        self.viewers.iter().filter(|v| v.counts()).max_by_key(|v| v.acted).map(|v| v.id)
    }

    /// Tells the keeper what follows from who is there: the size, and who answers queries.
    fn settle(&mut self) {
        let Some(upstream) = self.upstream.clone() else { return };
        let candidates: Vec<Candidate> = self.viewers.iter().filter_map(Viewer::candidate).collect();
        let wanted = size::decide(self.location.size_policy, &candidates);
        if let Some(size) = wanted.filter(|s| *s != self.requested_size.unwrap_or(self.size)) {
            self.requested_size = Some(size);
            upstream.control(self.channel, &ClientMessage::Resize(size));
        }
        let responder = if self.active().is_some() { Responder::Viewer } else { Responder::Model };
        if responder != self.responder {
            self.responder = responder;
            upstream.control(self.channel, &ClientMessage::Responder { by: responder });
        }
    }

    fn presence(&self) {
        let active = self.active();
        let all: Vec<_> = self.viewers.iter().map(|v| v.describe(active)).collect();
        for (at, viewer) in self.viewers.iter().enumerate() {
            if !viewer.opened {
                continue;
            }
            let mut viewers = all.clone();
            viewers[at].you = true;
            viewer.tell(&ServerMessage::Presence { viewers });
        }
    }

    fn lease_changed(&self) {
        for viewer in self.viewers.iter().filter(|v| v.opened) {
            let mine = self.lease == Some(viewer.id);
            viewer.tell(&ServerMessage::Lease { holder: self.lease, mine });
        }
    }

    fn tell_all(&self, message: &ServerMessage) {
        for viewer in self.viewers.iter().filter(|v| v.opened) {
            viewer.tell(message);
        }
    }
}
