//! The hub's one connection to a sandbox's keeper: every terminal of that sandbox, and every viewer's input.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use lap_platform::sandbox::SandboxName;
use lap_wire::control::{
    self, ClientMessage, ErrorCode, Open, ServerMessage, WireError, from_payload, to_payload,
};
use lap_wire::frame::{Frame, FrameType};
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS};
use lap_wire::stream::StreamDecoder;
use lap_wire::{ChannelId, PROTOCOL};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::bell::Bell;
use super::outlet::{Framing, Io, Outlet};
use super::terminal::Terminal;

/// A keeper on the same machine answers in well under this; one across a cluster has a few round trips.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where frames of a channel go.
#[derive(Clone)]
enum Target {
    /// A terminal's output.
    Terminal(Weak<Terminal>),
    /// What a viewer that came back has missed of a terminal's output.
    CatchUp(Weak<Terminal>, u64),
    /// The acknowledgements of a viewer's input.
    Input(Weak<Terminal>, u64),
}

/// What the keeper said of a channel it opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// The keeper's `opened`.
    pub message: ServerMessage,
}

/// What its task wakes up for.
enum Event {
    /// So many bytes have come; 0 is the end.
    Read(io::Result<usize>),
    /// What waited is written.
    Flushed(io::Result<()>),
    /// There may be something to write.
    Changed,
    /// The server ends it.
    Shut,
    /// It is time to look whether the keeper is still there.
    Time,
}

/// See the module.
pub(super) struct Upstream {
    /// Whose keeper it is.
    pub sandbox: SandboxName,
    state: RefCell<State>,
    changed: Bell,
}

struct State {
    outlet: Option<Outlet>,
    targets: HashMap<u32, Target>,
    opening: HashMap<u32, oneshot::Sender<Result<Opened, WireError>>>,
    next_channel: u32,
}

impl Upstream {
    /// A connection over `io`, which must be driven by [`Upstream::run`].
    pub(super) fn new(sandbox: SandboxName, io: Box<dyn Io>) -> Rc<Upstream> {
        let state = State {
            outlet: Some(Outlet::new(io, Framing::Length)),
            targets: HashMap::new(),
            opening: HashMap::new(),
            next_channel: 1,
        };
        let upstream = Rc::new(Upstream { sandbox, state: RefCell::new(state), changed: Bell::default() });
        let hello = ClientMessage::Hello {
            versions: vec![PROTOCOL.to_owned()],
            name: concat!("lap-attach-server ", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat_ms: None,
            grant: None,
        };
        upstream.control(0, &hello);
        upstream
    }

    /// Whether it still stands.
    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().outlet.is_some()
    }

    /// Opens a channel for a terminal's output.
    pub(super) async fn open_terminal(
        self: &Rc<Self>,
        terminal: &Rc<Terminal>,
        open: Open,
    ) -> Result<(u32, Opened), WireError> {
        self.open(Target::Terminal(Rc::downgrade(terminal)), open, |channel| terminal.bind(self, channel))
            .await
    }

    /// Opens a channel for a viewer's input.
    pub(super) async fn open_input(
        &self,
        terminal: &Rc<Terminal>,
        viewer: u64,
        open: Open,
    ) -> Result<(u32, Opened), WireError> {
        self.open(Target::Input(Rc::downgrade(terminal), viewer), open, |_| {}).await
    }

    /// Opens a channel for what a viewer has missed; the terminal is told the answer.
    pub(super) fn open_catch_up(&self, terminal: &Rc<Terminal>, viewer: u64, open: Open) -> u32 {
        let channel = self.reserve(Target::CatchUp(Rc::downgrade(terminal), viewer));
        self.control(channel, &ClientMessage::Open(open));
        channel
    }

    fn reserve(&self, target: Target) -> u32 {
        let mut state = self.state.borrow_mut();
        let channel = state.next_channel;
        state.next_channel += 1;
        state.targets.insert(channel, target);
        channel
    }

    async fn open(
        &self,
        target: Target,
        open: Open,
        bind: impl FnOnce(u32),
    ) -> Result<(u32, Opened), WireError> {
        let (answer, answered) = oneshot::channel();
        if !self.is_open() {
            return Err(self.lost());
        }
        let channel = self.reserve(target);
        self.state.borrow_mut().opening.insert(channel, answer);
        // Before the keeper can say anything about it.
        bind(channel);
        self.control(channel, &ClientMessage::Open(open));
        match tokio::time::timeout(OPEN_TIMEOUT, answered).await {
            Ok(Ok(Ok(opened))) => Ok((channel, opened)),
            Ok(Ok(Err(error))) => {
                self.forget(channel);
                Err(error)
            }
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => {
                self.close(channel);
                Err(WireError::new(ErrorCode::TimedOut, "the sandbox did not answer in time").retryable())
            }
        }
    }

    fn lost(&self) -> WireError {
        let message = format!("the connection to sandbox {} is lost", self.sandbox);
        WireError::new(ErrorCode::SandboxLost, message).retryable()
    }

    /// Sends a control message on a channel.
    pub(super) fn control(&self, channel: u32, message: &ClientMessage) {
        match to_payload(message) {
            Ok(payload) => self.send(&control::frame(ChannelId(channel), 0, &payload)),
            Err(error) => tracing::error!(sandbox = %self.sandbox, %error, "message to a keeper not sent"),
        }
    }

    /// Whether so many bytes of input can be sent without the keeper being given up for not taking them.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.state.borrow().outlet.as_ref().is_some_and(|outlet| outlet.has_room(bytes))
    }

    /// Sends a frame, at once if the socket is idle. A keeper that takes nothing for too long is given up.
    pub(super) fn send(&self, frame: &Frame<'_>) {
        let mut state = self.state.borrow_mut();
        let Some(outlet) = state.outlet.as_mut() else { return };
        match outlet.send(frame) {
            Ok(super::outlet::Sent::Whole) => {}
            Ok(super::outlet::Sent::Partly) => self.changed.ring(),
            Err(error) => {
                tracing::warn!(sandbox = %self.sandbox, ?error, "keeper connection given up");
                state.outlet = None;
                self.changed.ring();
            }
        }
    }

    /// Closes a channel.
    pub(super) fn close(&self, channel: u32) {
        self.control(channel, &ClientMessage::Close);
        self.forget(channel);
    }

    fn forget(&self, channel: u32) {
        let mut state = self.state.borrow_mut();
        state.targets.remove(&channel);
        state.opening.remove(&channel);
    }

    /// Ends it: [`Upstream::run`] returns.
    pub(super) fn shut(&self) {
        self.state.borrow_mut().outlet = None;
        self.changed.ring();
    }

    /// Drives it until it ends; then tells its terminals.
    pub(super) async fn run(self: Rc<Self>) {
        let reason = self.drive().await;
        tracing::debug!(sandbox = %self.sandbox, reason, "keeper connection ended");
        let targets = {
            let mut state = self.state.borrow_mut();
            state.outlet = None;
            state.opening.clear();
            std::mem::take(&mut state.targets)
        };
        for target in targets.into_values() {
            if let Target::Terminal(terminal) = target
                && let Some(terminal) = terminal.upgrade()
            {
                terminal.upstream_lost();
            }
        }
    }

    async fn drive(&self) -> &'static str {
        let mut decoder = StreamDecoder::new();
        let heartbeat = Duration::from_millis(HEARTBEAT_MS);
        let dead_after = Duration::from_millis(DEAD_AFTER_MS);
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + heartbeat));
        loop {
            match poll_fn(|context| self.poll_event(context, &mut decoder, alarm.as_mut())).await {
                Event::Read(Ok(n)) if n > 0 => {
                    heard = Instant::now();
                    loop {
                        match decoder.next_frame() {
                            Ok(Some(frame)) => self.dispatch(&frame),
                            Ok(None) => break,
                            Err(error) => {
                                tracing::warn!(sandbox = %self.sandbox, %error, "malformed bytes from a keeper");
                                return "malformed";
                            }
                        }
                    }
                }
                Event::Read(_) => return "ended by the keeper",
                Event::Shut => return "ended by the server",
                Event::Flushed(Ok(())) | Event::Changed => {}
                Event::Flushed(Err(_)) => return "write failed",
                Event::Time => {
                    let silence = heard.elapsed();
                    if silence >= dead_after {
                        return "nothing heard for too long";
                    }
                    let next = if silence >= heartbeat {
                        self.send(&Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]));
                        Instant::now()
                    } else {
                        heard
                    };
                    alarm.as_mut().reset(next + heartbeat);
                }
            }
        }
    }

    /// What happens next, with one poll of each source.
    fn poll_event(
        &self,
        context: &mut Context<'_>,
        decoder: &mut StreamDecoder,
        alarm: Pin<&mut Sleep>,
    ) -> Poll<Event> {
        let mut state = self.state.borrow_mut();
        let Some(outlet) = state.outlet.as_mut() else { return Poll::Ready(Event::Shut) };
        if let Poll::Ready(read) = outlet.poll_read(context, &mut |bytes| decoder.push(bytes)) {
            return Poll::Ready(Event::Read(read));
        }
        if !outlet.is_empty()
            && let Poll::Ready(flushed) = outlet.poll_flush(context)
        {
            return Poll::Ready(Event::Flushed(flushed));
        }
        if self.changed.poll_rung(context).is_ready() {
            return Poll::Ready(Event::Changed);
        }
        alarm.poll(context).map(|()| Event::Time)
    }

    fn dispatch(&self, frame: &Frame<'_>) {
        if frame.channel == ChannelId::CONNECTION {
            match frame.kind {
                FrameType::Ping => {
                    self.send(&Frame::new(
                        FrameType::Pong,
                        ChannelId::CONNECTION,
                        frame.offset,
                        frame.payload,
                    ));
                }
                FrameType::Control => {
                    if let Ok(ServerMessage::Error(error)) = from_payload(frame.payload) {
                        tracing::warn!(sandbox = %self.sandbox, code = ?error.code, message = error.message, "keeper complains");
                    }
                }
                _ => {}
            }
            return;
        }
        let Some(target) = self.state.borrow().targets.get(&frame.channel.0).cloned() else { return };
        match target {
            Target::Terminal(terminal) => {
                let Some(terminal) = terminal.upgrade() else { return self.close(frame.channel.0) };
                match frame.kind {
                    FrameType::Output => terminal.output(frame.offset, frame.payload),
                    FrameType::Snapshot => terminal.snapshot_piece(frame.offset, frame.payload, frame.flags),
                    FrameType::Control => self.control_of_terminal(frame, &terminal),
                    _ => {}
                }
            }
            Target::CatchUp(terminal, viewer) => match (terminal.upgrade(), frame.kind) {
                (None, _) => self.close(frame.channel.0),
                (Some(terminal), FrameType::Output) => {
                    terminal.catch_up_output(viewer, frame.channel.0, frame.offset, frame.payload);
                }
                (Some(terminal), FrameType::Control) => match from_payload(frame.payload) {
                    Ok(message) => terminal.catch_up_message(viewer, frame.channel.0, &message),
                    Err(error) => self.misunderstood(&error),
                },
                _ => {}
            },
            Target::Input(terminal, viewer) => match frame.kind {
                FrameType::InputAck => {
                    if let Some(terminal) = terminal.upgrade() {
                        terminal.input_acked(viewer, frame.offset);
                    }
                }
                FrameType::Control => match from_payload::<ServerMessage>(frame.payload) {
                    Ok(opened @ ServerMessage::Opened { .. }) => self.answer(frame.channel.0, Ok(opened)),
                    Ok(ServerMessage::Error(error)) => {
                        if !self.answer_error(frame.channel.0, &error)
                            && let Some(terminal) = terminal.upgrade()
                        {
                            terminal.input_failed(viewer, error);
                        }
                    }
                    _ => {}
                },
                _ => {}
            },
        }
    }

    fn control_of_terminal(&self, frame: &Frame<'_>, terminal: &Rc<Terminal>) {
        match from_payload::<ServerMessage>(frame.payload) {
            Ok(opened @ ServerMessage::Opened { .. }) => {
                terminal.upstream_opened(&opened);
                self.answer(frame.channel.0, Ok(opened));
            }
            Ok(ServerMessage::Error(error)) if self.answer_error(frame.channel.0, &error) => {}
            Ok(message) => terminal.upstream_message(message),
            Err(error) => self.misunderstood(&error),
        }
    }

    fn misunderstood(&self, error: &impl std::fmt::Display) {
        tracing::warn!(sandbox = %self.sandbox, %error, "a keeper's message was not understood");
    }

    fn answer(&self, channel: u32, answer: Result<ServerMessage, WireError>) {
        if let Some(opening) = self.state.borrow_mut().opening.remove(&channel) {
            // Whoever asked may have gone away; the channel then closes with its terminal.
            let _ = opening.send(answer.map(|message| Opened { message }));
        }
    }

    /// Whether the error answers an open.
    fn answer_error(&self, channel: u32, error: &WireError) -> bool {
        let opening = self.state.borrow().opening.contains_key(&channel);
        if opening {
            self.answer(channel, Err(error.clone()));
        }
        opening
    }
}
