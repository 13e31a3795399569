//! What a keeper says, and what it means.

use std::time::{Duration, Instant};

use lap_wire::control::{ErrorCode, ServerMessage, WireError, from_payload};
use lap_wire::keeper::Reply;
use lap_wire::limits::{HEARTBEAT_MS, MAX_HEARTBEAT_MS};
use lap_wire::{ChannelId, Frame, FrameType, PROTOCOL};

use super::super::{LinkError, Opened};
use super::{At, Core, Key, Phase, Told, Wire};

impl<O: Clone, C> Core<O, C> {
    /// Something was read.
    pub(in crate::link) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
        self.dead_at = None;
    }

    /// A frame has come; gives the owner it is for. What else it means is told. An error ends the connection, by
    /// [`Core::lost`].
    pub(in crate::link) fn received(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        wire: &mut impl Wire,
    ) -> Result<Option<O>, LinkError> {
        let (kind, number) = (frame.kind, frame.channel);
        match kind {
            FrameType::Ping => {
                wire.send(&Frame { kind: FrameType::Pong, ..*frame });
                return Ok(None);
            }
            FrameType::Pong | FrameType::Ack => return Ok(None),
            FrameType::Input | FrameType::Batch => {
                return Err(LinkError::Protocol(format!("it sent a frame of type {kind:?}")));
            }
            FrameType::Control if number == ChannelId::CONNECTION => {
                let message = understood(frame.payload)?;
                return self.connection_message(message, now).map(|()| None);
            }
            FrameType::Control | FrameType::Output | FrameType::Snapshot | FrameType::InputAck => {}
        }
        if self.phase != Phase::Up {
            return Err(LinkError::Protocol("its first message is no welcome".to_owned()));
        }
        if number == ChannelId::CONNECTION || number.0 > self.last_number {
            return Err(LinkError::Protocol(format!("it sent on channel {number}, never opened here")));
        }
        // What comes late on a channel that this side has closed is nobody's.
        let Some(key) = self.numbers.get(&number).copied() else { return Ok(None) };
        let Some(channel) = self.channels.get(&key) else { return Ok(None) };
        if kind == FrameType::Control {
            let message = understood(frame.payload)?;
            self.channel_message(key, frame.offset, message, now);
            return Ok(None);
        }
        match channel.at {
            At::Open(_) => Ok(Some(channel.owner.clone())),
            At::Opening(..) | At::Down => {
                Err(LinkError::Protocol(format!("it sent a {kind:?} before `opened`")))
            }
        }
    }

    fn connection_message(&mut self, message: ServerMessage, now: Instant) -> Result<(), LinkError> {
        match message {
            ServerMessage::Welcome { version, heartbeat_ms, .. }
                if matches!(self.phase, Phase::Greeting(_)) =>
            {
                if version != PROTOCOL {
                    let text = format!("the sandbox's keeper speaks {version}, this server {PROTOCOL}");
                    return Err(LinkError::Refused(WireError::new(ErrorCode::UnsupportedVersion, text)));
                }
                self.heartbeat = Duration::from_millis(heartbeat_ms.clamp(HEARTBEAT_MS, MAX_HEARTBEAT_MS));
                self.phase = Phase::Up;
                self.due = now;
                Ok(())
            }
            ServerMessage::Error(error) => Err(match error.code {
                ErrorCode::UnsupportedVersion | ErrorCode::NotAllowed => LinkError::Refused(error),
                ErrorCode::Overloaded => LinkError::Lost(error.message),
                _ => LinkError::Protocol(error.message),
            }),
            ServerMessage::Goaway { reason, .. } => Err(LinkError::Lost(reason)),
            _ if self.phase != Phase::Up => {
                Err(LinkError::Protocol("its first message is no welcome".to_owned()))
            }
            ServerMessage::Reply { request, reply } => {
                self.useful = true;
                if let Some(key) = self.files.remove(&request) {
                    self.file_reply(key, reply, now);
                } else if let Some(call) = self.calls.remove(&request) {
                    let answer = match reply {
                        Reply::Failed(error) => Err(LinkError::Refused(error)),
                        reply => Ok(reply),
                    };
                    self.told.push_back(Told::Answer(call.waiting, answer));
                    self.rest(now);
                }
                // Else nobody waits for it any more.
                Ok(())
            }
            other => {
                tracing::debug!(?other, "a message from a keeper that this side has no use for");
                Ok(())
            }
        }
    }

    fn file_reply(&mut self, key: Key, reply: Reply, now: Instant) {
        match reply {
            Reply::Failed(error) => self.end_channel(key, LinkError::Refused(error), now),
            Reply::Done => self.is_open(key, Opened::of_file()),
            other => {
                let error = LinkError::Protocol(format!("it answered write_file with {other:?}"));
                self.end_channel(key, error, now);
            }
        }
    }

    fn channel_message(&mut self, key: Key, at: u64, message: ServerMessage, now: Instant) {
        let Some(channel) = self.channels.get(&key) else { return };
        match message {
            ServerMessage::Closed { reason } => self.end_channel(key, LinkError::Closed(reason), now),
            // What is wrong before it is open is the opening; on an open one it is for the owner.
            ServerMessage::Error(error) if !matches!(channel.at, At::Open(_)) => {
                self.useful = true;
                self.end_channel(key, LinkError::Refused(error), now);
            }
            message => match Opened::of(message) {
                Ok(opened) => self.is_open(key, opened),
                Err(message) => {
                    let owner = channel.owner.clone();
                    self.told.push_back(Told::Message(owner, at, *message));
                }
            },
        }
    }

    fn is_open(&mut self, key: Key, opened: Opened) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let At::Opening(number, _) = channel.at else { return };
        (channel.at, channel.was_open, channel.by) = (At::Open(number), true, None);
        self.useful = true;
        self.told.push_back(Told::Opened(channel.owner.clone(), opened));
    }
}

fn understood(payload: &[u8]) -> Result<ServerMessage, LinkError> {
    from_payload(payload).map_err(|error| LinkError::Protocol(error.to_string()))
}
