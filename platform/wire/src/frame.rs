//! One frame: `u8 type | u8 flags | varint channel | varint offset | payload`.
//!
//! A WebSocket binary message holds one frame, or one `BATCH` frame whose payload is several, each behind a varint
//! length. On a byte stream every frame stands behind a varint length ([`crate::stream`]).

use crate::ids::ChannelId;
use crate::limits::{MAX_HEADER, MAX_MESSAGE, MAX_OFFSET, MAX_PAYLOAD, MAX_PING};
use crate::stream::{MAX_PREFIX, prefix};
use crate::varint::{self, Decoded};

/// What a frame is. A number is never given to another type, not even when its own is retired.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FrameType {
    /// JSON ([`crate::control`]); on channel 0 about the connection, else about that channel, in order with its output.
    Control = 0x01,
    /// Terminal bytes to a reader. Offset: the absolute offset of the first one.
    Output = 0x02,
    /// Bytes to the program. Offset: their place in the sender's own input stream ([`crate::input`]), but see
    /// [`flags::REPLY`].
    Input = 0x03,
    /// Escape sequences that turn a fresh terminal into this one. Offset: the output offset they stand for.
    Snapshot = 0x04,
    /// A reader has processed all output before this offset: room for more, and a measure of the link.
    Ack = 0x05,
    /// All input before this offset has been written to the program.
    InputAck = 0x06,
    /// 8 bytes to be sent back in a `PONG`.
    Ping = 0x07,
    /// The answer to a `PING`, its payload unchanged.
    Pong = 0x08,
    /// Several frames in one WebSocket message. Never nested.
    Batch = 0x0f,
}

impl FrameType {
    /// Every type, for tests and documentation.
    pub const ALL: [FrameType; 9] = [
        FrameType::Control,
        FrameType::Output,
        FrameType::Input,
        FrameType::Snapshot,
        FrameType::Ack,
        FrameType::InputAck,
        FrameType::Ping,
        FrameType::Pong,
        FrameType::Batch,
    ];

    fn from_byte(byte: u8) -> Option<FrameType> {
        FrameType::ALL.into_iter().find(|t| *t as u8 == byte)
    }

    /// The most bytes of payload a frame of this type has.
    #[must_use]
    pub fn max_payload(self) -> usize {
        match self {
            FrameType::Output | FrameType::Input | FrameType::Snapshot => MAX_PAYLOAD,
            FrameType::Ping | FrameType::Pong => MAX_PING,
            FrameType::Control | FrameType::Ack | FrameType::InputAck | FrameType::Batch => MAX_MESSAGE,
        }
    }
}

/// Flags. What is not listed for a type is zero when sent and ignored when read.
pub mod flags {
    /// On `INPUT`: a terminal's own answer to a query (DA, DSR, OSC colours), not a keystroke. Dropped unless its
    /// sender is the one who answers for this terminal. It stands outside the sender's input stream: its offset is 0
    /// and means nothing, it is written as it comes, never acknowledged and never sent again, since an answer that is
    /// late is worse than none, and one that is dropped must leave no gap among the keystrokes.
    pub const REPLY: u8 = 0x01;
    /// On `SNAPSHOT`: the last piece of this snapshot.
    pub const LAST: u8 = 0x02;
    /// On `SNAPSHOT`: the first piece; whatever was collected before it is void.
    pub const FIRST: u8 = 0x04;
    /// On `SNAPSHOT`: made with at least the scrollback that was last asked for with `snapshot`, and so the answer to it.
    /// Others come unasked: after an open, a resize, a skip.
    pub const ANSWER: u8 = 0x08;
    /// On a frame of a type the reader does not know: it may be skipped. Without it the connection ends.
    pub const IGNORABLE: u8 = 0x80;
}

/// One frame, its payload borrowed from where it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: FrameType,
    /// See [`flags`].
    pub flags: u8,
    /// Which channel it belongs to.
    pub channel: ChannelId,
    /// An absolute offset; what it counts depends on the type.
    pub offset: u64,
    /// Raw bytes, or JSON.
    pub payload: &'a [u8],
}

/// Why bytes are not a frame. Each ends the connection: after one of these nothing that follows can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside the header or a batch's item.
    #[error("truncated frame")]
    Truncated,
    /// A number that is too large or not in its shortest form.
    #[error("malformed number in a frame header")]
    BadVarint,
    /// A type this side does not know, without [`flags::IGNORABLE`].
    #[error("unknown frame type {0:#04x}")]
    UnknownType(u8),
    /// Over [`MAX_PAYLOAD`] of terminal bytes, over [`MAX_PING`] in a ping, or over [`MAX_MESSAGE`] in all.
    #[error("frame of {0} bytes is over the limit")]
    TooLarge(usize),
    /// A batch inside a batch, or on a byte stream.
    #[error("a batch where there may be none")]
    NestedBatch,
}

/// A frame header's bytes, without allocation: the data path writes it and the payload with one vectored write.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl Header {
    /// The header of a frame.
    #[must_use]
    pub fn new(kind: FrameType, flags: u8, channel: ChannelId, offset: u64) -> Header {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = kind as u8;
        bytes[1] = flags;
        let mut len = 2;
        len += varint::encode(u64::from(channel.0), &mut bytes[len..]);
        len += varint::encode(offset, &mut bytes[len..]);
        Header { bytes, len: len as u8 }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl<'a> Frame<'a> {
    /// A frame with flags 0.
    #[must_use]
    pub fn new(kind: FrameType, channel: ChannelId, offset: u64, payload: &'a [u8]) -> Frame<'a> {
        Frame { kind, flags: 0, channel, offset, payload }
    }

    /// The same with flags.
    #[must_use]
    pub fn with_flags(self, flags: u8) -> Frame<'a> {
        Frame { flags, ..self }
    }

    /// Its header alone.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(self.kind, self.flags, self.channel, self.offset)
    }

    /// Bytes of header and payload.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.header().as_bytes().len() + self.payload.len()
    }

    /// Appends the whole frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header().as_bytes());
        out.extend_from_slice(self.payload);
    }

    /// The frame that `bytes` are, all of them. `Ok(None)`: of an unknown type that may be skipped.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(FrameError::TooLarge(bytes.len()));
        }
        let [kind, flags, rest @ ..] = bytes else { return Err(FrameError::Truncated) };
        let Some(kind) = FrameType::from_byte(*kind) else {
            return if flags & self::flags::IGNORABLE != 0 {
                Ok(None)
            } else {
                Err(FrameError::UnknownType(*kind))
            };
        };
        let (channel, rest) = take_varint(rest, 32)?;
        let (offset, payload) = take_varint(rest, 64)?;
        if payload.len() > kind.max_payload() {
            return Err(FrameError::TooLarge(payload.len()));
        }
        // With this, a reader may add a frame's length to its offset without looking.
        if offset > MAX_OFFSET - payload.len() as u64 {
            return Err(FrameError::BadVarint);
        }
        Ok(Some(Frame { kind, flags: *flags, channel: ChannelId(channel as u32), offset, payload }))
    }
}

fn take_varint(bytes: &[u8], max_bits: u32) -> Result<(u64, &[u8]), FrameError> {
    match varint::decode(bytes, max_bits) {
        Decoded::Value(value, n) => Ok((value, &bytes[n..])),
        Decoded::Incomplete => Err(FrameError::Truncated),
        Decoded::Invalid => Err(FrameError::BadVarint),
    }
}

/// The frames of one WebSocket message: the one it is, or those of a batch.
#[must_use]
pub fn frames(message: &[u8]) -> Frames<'_> {
    Frames { rest: message, batch: false, done: false }
}

/// See [`frames`]. Ends after the first error.
#[derive(Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    batch: bool,
    done: bool,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.done {
                return None;
            }
            match self.step() {
                Ok(Some(frame)) if frame.kind == FrameType::Batch => {
                    if self.batch {
                        self.done = true;
                        return Some(Err(FrameError::NestedBatch));
                    }
                    (self.batch, self.done, self.rest) = (true, frame.payload.is_empty(), frame.payload);
                }
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<'a> Frames<'a> {
    fn step(&mut self) -> Result<Option<Frame<'a>>, FrameError> {
        if !self.batch {
            self.done = true;
            return Frame::decode(self.rest);
        }
        let (len, rest) = take_varint(self.rest, 32)?;
        let item = rest.get(..len as usize).ok_or(FrameError::Truncated)?;
        self.rest = &rest[item.len()..];
        self.done = self.rest.is_empty();
        Frame::decode(item)
    }
}

/// Packs frames into one WebSocket message: a single one stays as it is, several become a `BATCH`.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    frames: usize,
}

impl BatchBuilder {
    /// Adds a frame if the message stays within [`MAX_MESSAGE`]; says whether it did. An empty builder takes every
    /// frame that is within the protocol's limits.
    #[must_use]
    pub fn push(&mut self, frame: &Frame<'_>) -> bool {
        let len = frame.encoded_len();
        if self.frames == 0 {
            if len > MAX_MESSAGE {
                return false;
            }
            frame.encode(&mut self.bytes);
            self.frames = 1;
            return true;
        }
        // The first frame gets a batch's header and its own length put before it when the second comes.
        let first = if self.frames == 1 { MAX_HEADER + MAX_PREFIX } else { 0 };
        if self.bytes.len() + first + MAX_PREFIX + len > MAX_MESSAGE {
            return false;
        }
        if self.frames == 1 {
            let batch = Header::new(FrameType::Batch, 0, ChannelId::CONNECTION, 0);
            let (prefix, n) = prefix(self.bytes.len());
            let before = batch.as_bytes().iter().chain(&prefix[..n]).copied();
            self.bytes.splice(..0, before);
        }
        crate::stream::encode(frame, &mut self.bytes);
        self.frames += 1;
        true
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The message, leaving the builder empty.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.frames = 0;
        std::mem::take(&mut self.bytes)
    }
}
