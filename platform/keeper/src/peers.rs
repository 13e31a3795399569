//! Connections: from accepting one to giving it up, and the frames that arrive on it.

use std::time::{Duration, Instant};

use lap_wire::control::{self, ClientMessage, ErrorCode, ServerMessage, Stream, WireError};
use lap_wire::keeper::Reply;
use lap_wire::limits::{DEAD_AFTER_MS, HEARTBEAT_MS, MAX_CHANNELS, MAX_MESSAGE};
use lap_wire::{ChannelId, Frame, FrameType, PROTOCOL};
use rustix::io::Errno;

use crate::cli::{VERSION, say};
use crate::connection::{Connection, ConnectionId};
use crate::keeper::Keeper;
use crate::limits::{ACCEPT_AGAIN, MAX_CONNECTIONS, PEER_READ};
use crate::viewers::not_allowed;

/// A peer that is silent for so long is sent a ping.
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// One that is silent for so long after that is given up. It is counted from the ping, not from when the peer was last
/// heard: a keeper that was itself stopped meanwhile has asked nobody.
const PATIENCE: Duration = Duration::from_millis(DEAD_AFTER_MS - HEARTBEAT_MS);

impl Keeper {
    /// Takes in whoever waits at the socket.
    pub(crate) fn accept(&mut self, now: Instant) {
        loop {
            match self.listener.accept() {
                Ok(Some(socket)) => {
                    let mut connection = Connection::new(socket, now);
                    if self.connections.len() < MAX_CONNECTIONS {
                        let id = self.next_id();
                        self.connections.insert(id, connection);
                    } else {
                        let text = format!("there are {MAX_CONNECTIONS} connections already");
                        let error = WireError::new(ErrorCode::Overloaded, text).retryable();
                        connection.fail(ChannelId::CONNECTION, error);
                        let _ = connection.writable(now);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    // Most likely out of descriptors: whoever waits goes on waiting, and is not to spin the loop.
                    say(&format!("lap-keeper: cannot accept a connection: {error}\n"));
                    self.accept_from = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    /// Reads what a peer has sent, as much as one turn allows, and acts on each whole frame.
    pub(crate) fn hear(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let buffer = self.scratch.split_at_mut(PEER_READ).0;
        let n = match rustix::io::read(&connection.socket, &mut *buffer) {
            Ok(n) if n > 0 => n,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(_) | Err(_) => return self.hang_up(id, now),
        };
        connection.decoder.push(&buffer[..n]);
        // Frames borrow from the decoder while the keeper acts on them.
        let mut decoder = std::mem::take(&mut connection.decoder);
        let outcome = loop {
            match decoder.next_frame() {
                Ok(None) => break Ok(()),
                Ok(Some(frame)) => {
                    if let Err(error) = self.on_frame(id, &frame, now) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(WireError::new(ErrorCode::Malformed, error.to_string())),
            }
        };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.decoder = decoder;
        if let Err(error) = outcome {
            connection.fail(ChannelId::CONNECTION, error);
            let _ = connection.writable(now);
            self.hang_up(id, now);
        }
    }

    /// Acts on one frame. An error ends the connection.
    fn on_frame(&mut self, id: ConnectionId, frame: &Frame<'_>, now: Instant) -> Result<(), WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.heard = now;
        connection.pinged = None;
        let channel = frame.channel;
        let may_be_hello = frame.kind == FrameType::Control && channel == ChannelId::CONNECTION;
        if !connection.greeted && !may_be_hello {
            return Err(WireError::new(ErrorCode::UnexpectedMessage, "a connection begins with hello"));
        }
        match frame.kind {
            FrameType::Control => {
                let message = control::from_payload(frame.payload);
                let message = message.map_err(|e| WireError::new(ErrorCode::Malformed, e.to_string()))?;
                if channel == ChannelId::CONNECTION {
                    self.on_connection_message(id, message, now)?;
                } else if let Err(error) = self.on_message(id, channel, message, now) {
                    self.fail(id, channel, error);
                }
            }
            FrameType::Input => {
                if let Err(error) = self.on_input(id, frame, now) {
                    self.fail(id, channel, error);
                }
            }
            FrameType::Ack => self.on_ack(id, channel, frame.offset, now),
            FrameType::Ping => {
                let pong = Frame::new(FrameType::Pong, channel, frame.offset, frame.payload);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.send_frame(&pong);
                }
            }
            FrameType::Pong => {}
            FrameType::Output | FrameType::Snapshot | FrameType::InputAck | FrameType::Batch => {
                let text = format!("{:?} is not for a keeper", frame.kind);
                return Err(WireError::new(ErrorCode::UnexpectedMessage, text));
            }
        }
        // A peer that asks on without reading is not asked to wait: it would wait for itself.
        match self.connections.get(&id) {
            Some(connection) if connection.is_over() => {
                Err(WireError::new(ErrorCode::Overloaded, "too many answers wait to be read"))
            }
            _ => Ok(()),
        }
    }

    fn on_connection_message(
        &mut self,
        id: ConnectionId,
        message: ClientMessage,
        now: Instant,
    ) -> Result<(), WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        match message {
            ClientMessage::Hello { versions, grant, .. } if !connection.greeted => {
                if !versions.iter().any(|version| version == PROTOCOL) {
                    let text = format!("this keeper speaks {PROTOCOL} only");
                    return Err(WireError::new(ErrorCode::UnsupportedVersion, text));
                }
                let before = match grant {
                    Some(token) => {
                        let (allowed, before) = self.grants.claim(&token, id, now)?;
                        connection.allowed = Some(allowed);
                        before
                    }
                    None => None,
                };
                connection.greeted = true;
                let welcome = ServerMessage::Welcome {
                    version: PROTOCOL.into(),
                    server: VERSION.into(),
                    instance: self.instance,
                    heartbeat_ms: HEARTBEAT_MS,
                    max_message: MAX_MESSAGE as u32,
                    max_channels: MAX_CHANNELS as u32,
                };
                connection.tell(ChannelId::CONNECTION, &welcome);
                if let Some(before) = before {
                    self.turn_away(before, now);
                }
                Ok(())
            }
            ClientMessage::Call { request, .. } if connection.allowed.is_some() => {
                let reply = Reply::Failed(not_allowed("this connection was let in for one program"));
                connection.tell(ChannelId::CONNECTION, &ServerMessage::Reply { request, reply });
                Ok(())
            }
            ClientMessage::Typing if connection.allowed.is_some() => {
                Err(not_allowed("this connection was let in for one program"))
            }
            ClientMessage::Typing if connection.greeted => {
                self.typed = Some(now);
                Ok(())
            }
            ClientMessage::Call { request, call } if connection.greeted => {
                if let Some(reply) = self.call(id, request, call, now) {
                    self.tell(id, ChannelId::CONNECTION, &ServerMessage::Reply { request, reply });
                }
                Ok(())
            }
            _ => Err(WireError::new(ErrorCode::UnexpectedMessage, "that is not for channel 0 now")),
        }
    }

    /// Queues a message.
    pub(crate) fn tell(&mut self, id: ConnectionId, channel: ChannelId, message: &ServerMessage) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.tell(channel, message);
        }
    }

    fn fail(&mut self, id: ConnectionId, channel: ChannelId, error: WireError) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.fail(channel, error);
        }
    }

    /// Ends a connection whose grant is no more, or is another connection's now.
    pub(crate) fn turn_away(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let error = not_allowed("the grant this connection came with is no more, or another's now");
            connection.fail(ChannelId::CONNECTION, error);
            // A peer that takes nothing now does not hear why.
            let _ = connection.writable(now);
            self.hang_up(id, now);
        }
    }

    /// Ends a connection. Programs go on.
    pub(crate) fn hang_up(&mut self, id: ConnectionId, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.lose_seats(&connection, now);
        if connection.allowed.is_some() {
            self.grants.left(id);
        }
        let mut pipes = Vec::new();
        for (key, program) in &mut self.programs {
            if program.detach(id) && !program.on_terminal() {
                pipes.push(*key);
            }
        }
        // It may have been the slowest reader, for whom the program was held up.
        for key in pipes {
            self.release(key, Stream::Output);
            self.release(key, Stream::Stderr);
        }
    }

    /// Pings whoever has been silent, and gives up whoever stays so.
    pub(crate) fn check_heartbeats(&mut self, now: Instant) {
        let mut dead = Vec::new();
        for (id, connection) in &mut self.connections {
            match connection.pinged {
                Some(at) if now >= at + PATIENCE => dead.push(*id),
                None if now >= connection.heard + HEARTBEAT => {
                    connection.pinged = Some(now);
                    let ping = Frame::new(FrameType::Ping, ChannelId::CONNECTION, 0, &[0; 8]);
                    connection.send_frame(&ping);
                }
                _ => {}
            }
        }
        for id in dead {
            self.hang_up(id, now);
        }
    }

    /// When [`Keeper::check_heartbeats`] has something to do.
    pub(crate) fn heartbeats_due(&self) -> Option<Instant> {
        let due = |c: &Connection| c.pinged.map_or(c.heard + HEARTBEAT, |at| at + PATIENCE);
        self.connections.values().map(due).min()
    }
}
