//! Messages on channels: to programs and to files.

use std::time::Instant;

use lap_wire::control::{ClientMessage, ErrorCode, Open, Responder, ServerMessage, Size, Stream, WireError};
use lap_wire::frame::flags;
use lap_wire::limits::{MAX_CHANNELS, MAX_GRANTED_CHANNELS};
use lap_wire::{ChannelId, Frame};

use crate::calls::{bad_signal, check_new_channel};
use crate::connection::{Channel, ConnectionId};
use crate::keeper::Keeper;
use crate::limits::MAX_INPUT_ID;
use crate::program::ProgramKey;
use crate::reader::{Reader, Wish};
use crate::seats::{SeatId, view_only};
use crate::signal_names;
use crate::spawn::bad_size;
use crate::viewers::{check_allowed, newcomer};

impl Keeper {
    /// A control message on a channel. What fails leaves the channel as it was.
    pub(crate) fn on_message(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        message: ClientMessage,
        now: Instant,
    ) -> Result<(), WireError> {
        if let ClientMessage::Open(open) = message {
            return self.open(id, channel, open, now);
        }
        if let ClientMessage::Close = message {
            return self.close(id, channel, "closed as asked");
        }
        if let ClientMessage::StdinEof = message
            && self.is_file(id, channel)
        {
            return self.finish_file(id, channel);
        }
        let (key, seat) = self.program_of(id, channel)?;
        match message {
            ClientMessage::Resize(size) => self.resize(key, seat, size, now),
            ClientMessage::Visible { visible } => {
                self.with_reader(id, channel, |reader| reader.set_visible(visible));
                if let (Some(seat), Some(program)) = (seat, self.programs.get_mut(&key)) {
                    program.seats.show(seat, visible);
                    self.decide(key, now);
                }
                Ok(())
            }
            ClientMessage::Signal { signal } => {
                self.check_signaller(id, channel)?;
                let signal = signal_names::by_name(&signal).ok_or_else(|| bad_signal(&signal))?;
                self.programs.get_mut(&key).map_or(Ok(()), |program| program.signal(signal))
            }
            ClientMessage::StdinEof => {
                self.check_writer(id, channel)?;
                if let Some(program) = self.programs.get_mut(&key) {
                    program.end_input();
                }
                Ok(())
            }
            ClientMessage::Snapshot { scrollback } => {
                if self.programs.get(&key).is_some_and(|program| !program.on_terminal()) {
                    return Err(WireError::new(ErrorCode::Invalid, "a program on pipes has no screen"));
                }
                self.with_reader(id, channel, |reader| reader.want_snapshot(scrollback));
                Ok(())
            }
            ClientMessage::Responder { .. } if seat.is_some() => {
                Err(WireError::new(ErrorCode::NotAllowed, "who answers is decided here"))
            }
            ClientMessage::Responder { by } => {
                if let Some(program) = self.programs.get_mut(&key) {
                    program.set_responder((by == Responder::Viewer).then_some(id));
                }
                Ok(())
            }
            ClientMessage::Lease { action } => self.lease(key, (id, channel), seat, action),
            ClientMessage::Hello { .. }
            | ClientMessage::Typing
            | ClientMessage::Call { .. }
            | ClientMessage::Open(_)
            | ClientMessage::Close => {
                Err(WireError::new(ErrorCode::UnexpectedMessage, "that belongs on channel 0"))
            }
        }
    }

    fn open(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        open: Open,
        now: Instant,
    ) -> Result<(), WireError> {
        let found = self.find(&open.session);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let allowed = connection.allowed.clone();
        if let Some(allowed) = &allowed {
            check_allowed(allowed, found.clone(), open.mode)?;
        }
        let key = found?;
        let most = if allowed.is_some() { MAX_GRANTED_CHANNELS } else { MAX_CHANNELS };
        check_new_channel(&connection.channels, channel, most)?;
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if let Some(Size { cols, rows }) = open.size.filter(|size| !size.is_valid()) {
            return Err(bad_size(cols, rows));
        }
        if open.input.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_INPUT_ID) {
            let message = format!("the name of an input stream has 1 to {MAX_INPUT_ID} bytes");
            return Err(WireError::new(ErrorCode::Invalid, message));
        }
        if open.stream == Stream::Stderr && program.on_terminal() {
            let message = "a program on a terminal has no standard error of its own";
            return Err(WireError::new(ErrorCode::Invalid, message));
        }
        let seat = self.take_seat(key, (id, channel), newcomer(&open, allowed.as_deref())?)?;
        let wish = Wish {
            stream: open.stream,
            mode: open.mode,
            output: open.output,
            seat,
            since: open.since,
            window: open.window,
            scrollback: open.scrollback,
            visible: open.visible,
            input: open.input,
        };
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.channels.insert(channel, Channel::Program(Box::new(Reader::new(key, wish, now))));
        if seat.is_some() {
            // Before it is told the terminal's size. That may find its own connection broken, which ends it.
            self.decide(key, now);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        connection.schedule(channel, false);
        program.attached.push((id, channel));
        program.forget_front();
        Ok(())
    }

    pub(crate) fn close(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        reason: &str,
    ) -> Result<(), WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        match connection.close(channel) {
            None => return Err(not_open(channel)),
            Some(Channel::Program(reader)) => {
                if let Some(program) = self.programs.get_mut(&reader.program) {
                    program.attached.retain(|attached| *attached != (id, channel));
                    if let Some(seat) = reader.seat {
                        program.seats.leave(seat);
                    }
                    program.forget_front();
                }
                self.release(reader.program, reader.stream);
            }
            Some(Channel::File(_)) => {}
        }
        self.tell(id, channel, &ServerMessage::Closed { reason: reason.into() });
        Ok(())
    }

    /// Bytes to a program or a file.
    pub(crate) fn on_input(
        &mut self,
        id: ConnectionId,
        frame: &Frame<'_>,
        now: Instant,
    ) -> Result<(), WireError> {
        let channel = frame.channel;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        if let Some(Channel::File(file)) = connection.channels.get_mut(&channel) {
            return match file.write(frame.offset, frame.payload) {
                Ok(taken) => {
                    connection.acknowledge(channel, taken, now);
                    Ok(())
                }
                // Not to be completed any more, whatever else is sent.
                Err(error) => {
                    connection.fail(channel, error);
                    self.close(id, channel, "the file could not be written")
                }
            };
        }
        let (key, seat) = self.program_of(id, channel)?;
        self.check_writer(id, channel)?;
        let Some(reader) = self.connections.get_mut(&id).and_then(|c| c.reader(channel)) else {
            return Ok(());
        };
        let Some(sender) = reader.input.clone() else {
            let message = "the channel was opened without the name of an input stream";
            return Err(WireError::new(ErrorCode::NotWritable, message));
        };
        let Some(program) = self.programs.get_mut(&key) else { return Ok(()) };
        if frame.flags & flags::REPLY != 0 {
            // Outside the sender's stream: written as it comes, or not at all.
            if seat.is_some() && program.seats.active() != seat {
                return Ok(());
            }
            program.input.reply(frame.payload);
            program.write();
            return Ok(());
        }
        program.typed(now);
        self.typed = Some(now);
        program.input.offer(&sender, frame.offset, frame.payload)?;
        program.write();
        let acted = seat.is_some_and(|seat| program.seats.typed(seat));
        // Also what was written before: its acknowledgement may have been lost.
        let written = program.input.written(&sender);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.acknowledge(channel, written, now);
        }
        self.acknowledge(key, now);
        if acted {
            self.decide(key, now);
        }
        Ok(())
    }

    /// A reader has processed everything before an offset.
    pub(crate) fn on_ack(&mut self, id: ConnectionId, channel: ChannelId, offset: u64, now: Instant) {
        // One that crossed with the end of its channel means nothing.
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(reader) = connection.reader(channel) else { return };
        reader.ack(offset, now);
        let (key, stream) = (reader.program, reader.stream);
        connection.schedule(channel, false);
        self.release(key, stream);
    }

    /// What every reader of a pipe has acknowledged is given up.
    pub(crate) fn release(&mut self, key: ProgramKey, stream: Stream) {
        let Some(program) = self.programs.get_mut(&key) else { return };
        if program.on_terminal() {
            return;
        }
        let mut slowest = None;
        for (id, channel) in &program.attached {
            let reader = self.connections.get_mut(id).and_then(|c| c.reader(*channel));
            let Some(reader) = reader.filter(|r| r.stream == stream && r.has_output()) else { continue };
            let Some(acked) = reader.acked() else { return };
            slowest = Some(slowest.map_or(acked, |slowest: u64| slowest.min(acked)));
        }
        // With no reader left, what was not acknowledged is for the next one.
        if let Some(slowest) = slowest {
            program.release(stream, slowest);
        }
    }

    fn is_file(&self, id: ConnectionId, channel: ChannelId) -> bool {
        let channels = self.connections.get(&id).map(|c| &c.channels);
        matches!(channels.and_then(|c| c.get(&channel)), Some(Channel::File(_)))
    }

    fn finish_file(&mut self, id: ConnectionId, channel: ChannelId) -> Result<(), WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(Channel::File(file)) = connection.channels.remove(&channel) else { return Ok(()) };
        let reason = match file.finish() {
            Ok(()) => "complete",
            Err(error) => {
                connection.fail(channel, error);
                "the file could not be written"
            }
        };
        connection.tell(channel, &ServerMessage::Closed { reason: reason.into() });
        Ok(())
    }

    /// What an open channel is to, and whose seat it is.
    fn program_of(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
    ) -> Result<(ProgramKey, Option<SeatId>), WireError> {
        let reader = self.connections.get_mut(&id).and_then(|c| c.reader(channel));
        reader.map(|reader| (reader.program, reader.seat)).ok_or_else(|| not_open(channel))
    }

    /// A viewer that only watches sends no signals either.
    fn check_signaller(&mut self, id: ConnectionId, channel: ChannelId) -> Result<(), WireError> {
        match self.connections.get_mut(&id).and_then(|c| c.reader(channel)) {
            Some(reader) if reader.seat.is_some() && !reader.may_write() => Err(view_only()),
            _ => Ok(()),
        }
    }

    pub(crate) fn with_reader(
        &mut self,
        id: ConnectionId,
        channel: ChannelId,
        change: impl FnOnce(&mut Reader),
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(reader) = connection.reader(channel) {
            change(reader);
            connection.schedule(channel, false);
        }
    }
}

fn not_open(channel: ChannelId) -> WireError {
    WireError::new(ErrorCode::ChannelNotOpen, format!("channel {channel} is not open"))
}
