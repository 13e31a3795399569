//! What a client of `lap.attach.v1` may say, and what is done about it.

use std::rc::Rc;
use std::time::Duration;

use lap_platform::model::SessionId;
use lap_wire::close::CloseCode;
use lap_wire::control::{
    ClientMessage, ErrorCode, Mode, Open, ServerMessage, Stream, WireError, from_payload,
};
use lap_wire::frame::{Frame, FrameType, frames};
use lap_wire::limits::{HEARTBEAT_MS, MAX_CHANNELS, MAX_HEARTBEAT_MS, MAX_MESSAGE};
use lap_wire::{ChannelId, PROTOCOL};
use tokio::time::Instant;

use super::connection::{Channel, Connection, Kind, check_grant};
use super::terminal::{MAX_VIEWERS, NewViewer};

/// The longest name a client may give itself, and its input streams, in bytes.
pub(super) const MAX_NAME: usize = 200;

/// A connection ends with this code and reason.
type Close = (u16, &'static str);

/// Does what a WebSocket message says.
pub(super) fn message(connection: &Rc<Connection>, bytes: &[u8]) -> Result<(), Close> {
    for frame in frames(bytes) {
        let frame = frame.map_err(|error| {
            connection.error(0, WireError::new(ErrorCode::Malformed, error.to_string()));
            (CloseCode::Malformed.code(), "malformed frame")
        })?;
        if connection.state.borrow().name.is_none() {
            hello(connection, &frame)?;
        } else if frame.channel == ChannelId::CONNECTION {
            on_connection(connection, &frame)?;
        } else {
            on_channel(connection, &frame)?;
        }
        if connection.is_closing() {
            return Ok(());
        }
    }
    Ok(())
}

fn parse(connection: &Connection, frame: &Frame<'_>) -> Result<ClientMessage, Close> {
    from_payload(frame.payload).map_err(|error| {
        connection.error(frame.channel.0, WireError::new(ErrorCode::Malformed, error.to_string()));
        (CloseCode::Malformed.code(), "not a message of the protocol")
    })
}

fn hello(connection: &Connection, frame: &Frame<'_>) -> Result<(), Close> {
    let message = match frame.kind {
        FrameType::Control if frame.channel == ChannelId::CONNECTION => parse(connection, frame)?,
        _ => return Err(unexpected(connection, 0, "the first message is `hello` on channel 0")),
    };
    let ClientMessage::Hello { versions, name, heartbeat_ms, .. } = message else {
        return Err(unexpected(connection, 0, "the first message is `hello`"));
    };
    if !versions.iter().any(|v| v == PROTOCOL) {
        let text = format!("this server speaks {PROTOCOL} only");
        connection.error(0, WireError::new(ErrorCode::UnsupportedVersion, text));
        return Err((CloseCode::Malformed.code(), "no version in common"));
    }
    if name.len() > MAX_NAME {
        return Err(unexpected(connection, 0, "the client's name is longer than 200 bytes"));
    }
    let heartbeat_ms = heartbeat_ms.unwrap_or(HEARTBEAT_MS).clamp(HEARTBEAT_MS, MAX_HEARTBEAT_MS);
    connection.greeted(name, Duration::from_millis(heartbeat_ms));
    let Some(hub) = connection.hub.upgrade() else { return Err((CloseCode::Restart.code(), "going away")) };
    let welcome = ServerMessage::Welcome {
        version: PROTOCOL.to_owned(),
        server: concat!("lap-attach-server ", env!("CARGO_PKG_VERSION")).to_owned(),
        instance: hub.instance,
        heartbeat_ms,
        max_message: MAX_MESSAGE as u32,
        max_channels: MAX_CHANNELS as u32,
    };
    connection.event(0, 0, &welcome);
    Ok(())
}

fn unexpected(connection: &Connection, channel: u32, what: &'static str) -> Close {
    connection.error(channel, WireError::new(ErrorCode::UnexpectedMessage, what));
    (CloseCode::Malformed.code(), what)
}

fn on_connection(connection: &Connection, frame: &Frame<'_>) -> Result<(), Close> {
    match frame.kind {
        FrameType::Ping => {
            let pong = Frame::new(FrameType::Pong, ChannelId::CONNECTION, frame.offset, frame.payload);
            connection.small_frame(&pong);
            Ok(())
        }
        FrameType::Pong => {
            connection.answered(frame.payload, Instant::now());
            Ok(())
        }
        FrameType::Control => match parse(connection, frame)? {
            ClientMessage::Call { .. } | ClientMessage::Typing => {
                let error = WireError::new(ErrorCode::NotAllowed, "that is for keepers; use the REST API");
                connection.error(0, error);
                Ok(())
            }
            _ => Err(unexpected(connection, 0, "this message does not belong on channel 0")),
        },
        _ => Err(unexpected(connection, 0, "this frame does not belong on channel 0")),
    }
}

fn on_channel(connection: &Rc<Connection>, frame: &Frame<'_>) -> Result<(), Close> {
    let channel = frame.channel.0;
    match frame.kind {
        FrameType::Input => with_viewer(connection, channel, |terminal, viewer| {
            terminal.input(viewer, frame.flags, frame.offset, frame.payload)
        }),
        FrameType::Ack => {
            // Acks of a channel that has just closed are still on their way.
            let _ = viewer_of(connection, channel).map(|(terminal, viewer)| {
                terminal.acked(viewer, frame.offset, Instant::now());
            });
        }
        FrameType::Control => return control(connection, channel, parse(connection, frame)?),
        _ => return Err(unexpected(connection, channel, "this frame is not for a server")),
    }
    Ok(())
}

fn control(connection: &Rc<Connection>, channel: u32, message: ClientMessage) -> Result<(), Close> {
    match message {
        ClientMessage::Open(open) => {
            let refused = begin_open(connection, channel, open).err();
            if let Some(error) = refused {
                connection.error(channel, error);
            }
        }
        ClientMessage::Resize(size) if !size.is_valid() => connection.error(channel, bad_size()),
        ClientMessage::Resize(size) => {
            if !while_opening(connection, channel, |wanted, _| *wanted = Some(size)) {
                with_viewer(connection, channel, |terminal, viewer| {
                    terminal.resize(viewer, size);
                    Ok(())
                });
            }
        }
        ClientMessage::Visible { visible } => {
            if !while_opening(connection, channel, |_, seen| *seen = visible) {
                with_viewer(connection, channel, |terminal, viewer| {
                    terminal.visible(viewer, visible);
                    Ok(())
                });
            }
        }
        message @ (ClientMessage::Signal { .. } | ClientMessage::StdinEof) => {
            with_viewer(connection, channel, |terminal, viewer| terminal.forward(viewer, &message));
        }
        ClientMessage::Snapshot { scrollback } => with_viewer(connection, channel, |terminal, viewer| {
            terminal.wants_snapshot(viewer, scrollback);
            Ok(())
        }),
        ClientMessage::Lease { action } => {
            with_viewer(connection, channel, |terminal, viewer| terminal.lease(viewer, action));
        }
        ClientMessage::Close => {
            if let Some(Channel::Open { terminal, viewer }) = connection.remove_channel(channel) {
                terminal.detach(viewer);
            }
        }
        ClientMessage::Responder { .. } => {
            connection
                .error(channel, WireError::new(ErrorCode::NotAllowed, "the server decides who answers"));
        }
        ClientMessage::Hello { .. } | ClientMessage::Call { .. } | ClientMessage::Typing => {
            return Err(unexpected(connection, channel, "this message belongs on channel 0"));
        }
    }
    Ok(())
}

fn bad_size() -> WireError {
    WireError::new(ErrorCode::BadSize, "a terminal has 1 to 1000 columns and 1 to 500 rows")
}

type Target = (Rc<super::terminal::Terminal>, u64);

fn viewer_of(connection: &Connection, channel: u32) -> Result<Target, WireError> {
    match connection.state.borrow().channels.get(&channel) {
        Some(Channel::Open { terminal, viewer }) => Ok((terminal.clone(), *viewer)),
        Some(Channel::Opening { .. }) => {
            Err(WireError::new(ErrorCode::ChannelNotOpen, "the channel is still being opened").retryable())
        }
        None => Err(WireError::new(ErrorCode::ChannelNotOpen, "the channel is not open")),
    }
}

fn with_viewer(
    connection: &Connection,
    channel: u32,
    act: impl FnOnce(&Rc<super::terminal::Terminal>, u64) -> Result<(), WireError>,
) {
    let done = viewer_of(connection, channel).and_then(|(terminal, viewer)| act(&terminal, viewer));
    if let Err(error) = done {
        connection.error(channel, error);
    }
}

/// Changes what a channel that is being opened will begin with; false if it is not being opened.
fn while_opening(
    connection: &Connection,
    channel: u32,
    change: impl FnOnce(&mut Option<lap_wire::control::Size>, &mut bool),
) -> bool {
    match connection.state.borrow_mut().channels.get_mut(&channel) {
        Some(Channel::Opening { size, visible }) => {
            change(size, visible);
            true
        }
        _ => false,
    }
}

/// Checks an `open` and puts it to work.
pub(super) fn begin_open(connection: &Connection, channel: u32, open: Open) -> Result<(), WireError> {
    if open.size.is_some_and(|s| !s.is_valid()) {
        return Err(bad_size());
    }
    if open.stream == Stream::Stderr || open.mode == Mode::Input {
        return Err(WireError::new(ErrorCode::Invalid, "a session's terminal has no such stream or mode"));
    }
    if open.input.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err(WireError::new(ErrorCode::Invalid, "`input` is a name of 1 to 200 bytes"));
    }
    if open.mode == Mode::Interact && !connection.grant.may_type {
        let error =
            WireError::new(ErrorCode::NotAllowed, "this token may watch terminals but not type into them");
        return Err(error.with_hint("open the channel in mode `view`"));
    }
    let mut state = connection.state.borrow_mut();
    if state.channels.contains_key(&channel) {
        return Err(WireError::new(ErrorCode::UnexpectedMessage, "the channel is open already"));
    }
    if state.channels.len() >= MAX_CHANNELS {
        let text = format!("a connection has at most {MAX_CHANNELS} channels");
        return Err(WireError::new(ErrorCode::TooManyChannels, text));
    }
    state.channels.insert(channel, Channel::Opening { size: open.size, visible: open.visible });
    state.opens.push((channel, open));
    Ok(())
}

/// Opens a channel: finds the terminal, prepares the way of what will be typed, attaches the viewer.
pub(super) async fn open(connection: &Rc<Connection>, channel: u32, open: Open) -> Result<(), WireError> {
    let session: SessionId = open
        .session
        .parse()
        .map_err(|_| WireError::new(ErrorCode::NotFound, format!("there is no session {}", open.session)))?;
    check_grant(&connection.grant, session)?;
    let hub = connection
        .hub
        .upgrade()
        .ok_or_else(|| WireError::new(ErrorCode::Overloaded, "the server is going away").retryable())?;
    let terminal = hub.terminal(session, open.since).await?;
    if terminal.is_full() {
        let text = format!("a session has at most {MAX_VIEWERS} viewers");
        return Err(WireError::new(ErrorCode::Overloaded, text).retryable());
    }
    let _pin = terminal.pin();
    let id = hub.next_id();
    let input = match open.mode {
        Mode::Interact => Some(terminal.open_input(id, open.input.clone()).await?),
        _ => None,
    };
    let (size, visible, name) = {
        let mut state = connection.state.borrow_mut();
        let name = state.name.clone().unwrap_or_default();
        match state.channels.get_mut(&channel) {
            Some(entry @ Channel::Opening { .. }) => {
                let opened = Channel::Open { terminal: terminal.clone(), viewer: id };
                let Channel::Opening { size, visible } = std::mem::replace(entry, opened) else {
                    return Ok(());
                };
                (size, visible, name)
            }
            // Closed again while it was being opened.
            _ => {
                if let (Some(input), Some(upstream)) = (input, terminal.upstream()) {
                    upstream.close(input.channel);
                }
                return Ok(());
            }
        }
    };
    terminal.attach(NewViewer {
        id,
        connection: connection.clone(),
        channel,
        name,
        mode: open.mode,
        size,
        visible,
        window: open.window,
        scrollback: open.scrollback,
        since: open.since,
        input,
    });
    if let Kind::Tty(_) = connection.kind {
        super::tty::opened(connection);
    }
    Ok(())
}
