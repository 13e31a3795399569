//! What a client of `lap.attach.v1` may say, and what is done about it.

use std::time::Duration;

use lap_wire::close::CloseCode;
use lap_wire::control::{
    ClientMessage, ErrorCode, Mode, Open, ServerMessage, Stream, WireError, from_payload,
};
use lap_wire::frame::{Frame, FrameType, frames};
use lap_wire::limits::{HEARTBEAT_MS, MAX_CHANNELS, MAX_HEARTBEAT_MS, MAX_MESSAGE, MAX_NAME};
use lap_wire::{ChannelId, PROTOCOL};
use tokio::time::Instant;

use super::client_writer::Close;
use super::connection::{Channel, Connection};
use super::core::Client as _;
use super::terminals::ViewerHandle;

/// The longest name an input stream may have, in bytes: what a keeper takes.
const MAX_INPUT_NAME: usize = 64;

/// Does what a WebSocket message says.
pub(super) fn message(connection: &mut Connection, bytes: &[u8]) -> Result<(), Close> {
    for frame in frames(bytes) {
        let frame = frame.map_err(|error| {
            connection.writer.error(0, WireError::new(ErrorCode::Malformed, error.to_string()));
            (CloseCode::Malformed.code(), "malformed frame".into())
        })?;
        if !connection.is_greeted() {
            hello(connection, &frame)?;
        } else if frame.channel == ChannelId::CONNECTION {
            on_connection(connection, &frame)?;
        } else {
            on_channel(connection, &frame)?;
        }
        if connection.writer.is_closing() {
            return Ok(());
        }
    }
    Ok(())
}

fn parse(connection: &Connection, frame: &Frame<'_>) -> Result<ClientMessage, Close> {
    from_payload(frame.payload).map_err(|error| {
        connection.writer.error(frame.channel.0, WireError::new(ErrorCode::Malformed, error.to_string()));
        (CloseCode::Malformed.code(), "not a message of the protocol".into())
    })
}

fn hello(connection: &mut Connection, frame: &Frame<'_>) -> Result<(), Close> {
    let message = match frame.kind {
        FrameType::Control if frame.channel == ChannelId::CONNECTION => parse(connection, frame)?,
        _ => return Err(unexpected(connection, 0, "the first message is `hello` on channel 0")),
    };
    let ClientMessage::Hello { versions, name, heartbeat_ms, .. } = message else {
        return Err(unexpected(connection, 0, "the first message is `hello`"));
    };
    if !versions.iter().any(|v| v == PROTOCOL) {
        let text = format!("this server speaks {PROTOCOL} only");
        connection.writer.error(0, WireError::new(ErrorCode::UnsupportedVersion, text));
        return Err((CloseCode::Malformed.code(), "no version in common".into()));
    }
    if name.len() > MAX_NAME {
        return Err(unexpected(connection, 0, "the client's name is longer than 200 bytes"));
    }
    let heartbeat_ms = heartbeat_ms.unwrap_or(HEARTBEAT_MS).clamp(HEARTBEAT_MS, MAX_HEARTBEAT_MS);
    connection.greeted(name, Duration::from_millis(heartbeat_ms));
    let welcome = ServerMessage::Welcome {
        version: PROTOCOL.to_owned(),
        server: concat!("lap-attach-server ", env!("CARGO_PKG_VERSION")).to_owned(),
        instance: connection.hub().instance,
        heartbeat_ms,
        max_message: MAX_MESSAGE as u32,
        max_channels: MAX_CHANNELS as u32,
    };
    connection.writer.event(0, 0, &welcome);
    Ok(())
}

fn unexpected(connection: &Connection, channel: u32, what: &'static str) -> Close {
    connection.writer.error(channel, WireError::new(ErrorCode::UnexpectedMessage, what));
    (CloseCode::Malformed.code(), what.into())
}

fn on_connection(connection: &Connection, frame: &Frame<'_>) -> Result<(), Close> {
    match frame.kind {
        FrameType::Ping => {
            let pong = Frame::new(FrameType::Pong, ChannelId::CONNECTION, frame.offset, frame.payload);
            connection.writer.small_frame(&pong);
            Ok(())
        }
        FrameType::Pong => {
            connection.writer.answered(frame.payload, Instant::now());
            Ok(())
        }
        FrameType::Control => match parse(connection, frame)? {
            ClientMessage::Call { .. } | ClientMessage::Typing => {
                let error = WireError::new(ErrorCode::NotAllowed, "that is for keepers; use the REST API");
                connection.writer.error(0, error);
                Ok(())
            }
            _ => Err(unexpected(connection, 0, "this message does not belong on channel 0")),
        },
        _ => Err(unexpected(connection, 0, "this frame does not belong on channel 0")),
    }
}

fn on_channel(connection: &mut Connection, frame: &Frame<'_>) -> Result<(), Close> {
    let channel = frame.channel.0;
    match frame.kind {
        FrameType::Input => {
            let (flags, offset, bytes) = (frame.flags, frame.offset, frame.payload);
            with_viewer(connection, channel, |viewer| viewer.input(flags, offset, bytes, Instant::now()));
        }
        FrameType::Ack => {
            // Acks of a channel that has just closed are still on their way.
            if let Some(Channel::Open(viewer)) = connection.channels.get(&channel) {
                viewer.acked(frame.offset, Instant::now());
            }
        }
        FrameType::Control => return control(connection, channel, parse(connection, frame)?),
        _ => return Err(unexpected(connection, channel, "this frame is not for a server")),
    }
    Ok(())
}

fn control(connection: &mut Connection, channel: u32, message: ClientMessage) -> Result<(), Close> {
    match message {
        ClientMessage::Open(open) => {
            if let Err(error) = begin_open(connection, channel, open) {
                connection.writer.error(channel, error);
            }
        }
        ClientMessage::Resize(size) if !size.is_valid() => connection.writer.error(channel, bad_size()),
        ClientMessage::Resize(size) => match connection.channels.get_mut(&channel) {
            Some(Channel::Locating { open, .. }) => open.size = Some(size),
            _ => with_viewer(connection, channel, |viewer| {
                viewer.resize(size);
                Ok(())
            }),
        },
        ClientMessage::Visible { visible } => match connection.channels.get_mut(&channel) {
            Some(Channel::Locating { open, .. }) => open.visible = visible,
            _ => with_viewer(connection, channel, |viewer| {
                viewer.visible(visible);
                Ok(())
            }),
        },
        ClientMessage::Signal { .. } | ClientMessage::StdinEof | ClientMessage::Lease { .. } => {
            with_viewer(connection, channel, |viewer| viewer.forward(&message));
        }
        ClientMessage::Snapshot { scrollback } => with_viewer(connection, channel, |viewer| {
            viewer.wants_snapshot(scrollback);
            Ok(())
        }),
        ClientMessage::Close => connection.close_channel(channel),
        ClientMessage::Responder { .. } => {
            let error = WireError::new(ErrorCode::NotAllowed, "that is for keepers alone");
            connection.writer.error(channel, error);
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

fn with_viewer(
    connection: &Connection,
    channel: u32,
    act: impl FnOnce(&ViewerHandle) -> Result<(), WireError>,
) {
    let not_open = |text| WireError::new(ErrorCode::ChannelNotOpen, text);
    let done = match connection.channels.get(&channel) {
        Some(Channel::Open(viewer)) => act(viewer),
        Some(Channel::Locating { .. }) => Err(not_open("the channel is still being opened").retryable()),
        None => Err(not_open("the channel is not open")),
    };
    if let Err(error) = done {
        connection.writer.error(channel, error);
    }
}

/// Checks an `open` and puts it to work.
fn begin_open(connection: &mut Connection, channel: u32, open: Open) -> Result<(), WireError> {
    let invalid = |text| Err(WireError::new(ErrorCode::Invalid, text));
    if open.size.is_some_and(|size| !size.is_valid()) {
        return Err(bad_size());
    }
    if open.viewer.is_some() {
        return Err(WireError::new(ErrorCode::NotAllowed, "whose seat it is the server says"));
    }
    if open.stream == Stream::Stderr || open.mode == Mode::Input || !open.output {
        return invalid("a session's terminal has no such stream or mode");
    }
    if open.input.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_INPUT_NAME) {
        return invalid("`input` is a name of 1 to 64 bytes");
    }
    if open.mode == Mode::Interact && !connection.grant.may_type {
        let text = "this token may watch terminals but not type into them";
        return Err(WireError::new(ErrorCode::NotAllowed, text).with_hint("open the channel in mode `view`"));
    }
    if connection.channels.contains_key(&channel) {
        return Err(WireError::new(ErrorCode::UnexpectedMessage, "the channel is open already"));
    }
    if connection.channels.len() >= MAX_CHANNELS {
        let text = format!("a connection has at most {MAX_CHANNELS} channels");
        return Err(WireError::new(ErrorCode::TooManyChannels, text));
    }
    connection.locate(channel, open)
}
