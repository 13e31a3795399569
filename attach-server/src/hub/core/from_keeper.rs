//! What the keeper tells of a terminal: its channels opened, broken and closed, and what comes on them.

use std::collections::HashSet;

use lap_platform::link::{LinkError, Opened};
use lap_wire::Frame;
use lap_wire::control::{ErrorCode, How, Mode, Open, ServerMessage, Viewer as Description, WireError};
use lap_wire::flow::Since;
use lap_wire::frame::FrameType;
use lap_wire::limits::{DEFAULT_WINDOW, SKIP_SCROLLBACK};
use tokio::time::Instant;

use super::input::Refusal;
use super::terminal::{Place, RESTARTED, Terminal};
use super::viewer::Input;
use super::{Effect, KeeperChannel, Key, ViewerId};

impl Terminal {
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

/// A client of the simple socket has no way to be told.
fn told_lost(bytes: u64) {
    if bytes > 0 {
        tracing::warn!(bytes, "typed into a simple socket, and not known to have been written");
    }
}
