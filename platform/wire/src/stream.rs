//! Frames on a byte stream (a unix socket, a pipe through `exec`): `varint length | frame`, again and again.

use crate::frame::{Frame, FrameError, FrameType};
use crate::limits::MAX_MESSAGE;
use crate::varint::{self, Decoded};

/// The longest length prefix: [`MAX_MESSAGE`] takes three bytes.
pub const MAX_PREFIX: usize = 3;

/// Bits in a prefix of that length.
const PREFIX_BITS: u32 = 7 * MAX_PREFIX as u32;

/// The length prefix of a frame of `len` bytes, at most [`MAX_MESSAGE`]: the bytes, and how many of them. A longer frame
/// is the caller's fault and gets a prefix that every reader refuses.
#[must_use]
pub fn prefix(len: usize) -> ([u8; MAX_PREFIX], usize) {
    debug_assert!(len <= MAX_MESSAGE, "a frame of {len} bytes");
    let mut bytes = [0; MAX_PREFIX];
    let n = varint::encode(len.min((1 << PREFIX_BITS) - 1) as u64, &mut bytes);
    (bytes, n)
}

/// Appends `frame` behind its length.
pub fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    let header = frame.header();
    let (bytes, n) = prefix(header.as_bytes().len() + frame.payload.len());
    out.extend_from_slice(&bytes[..n]);
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(frame.payload);
}

/// The frame that `bytes` begin with, and how many bytes it takes with its length: for bytes that need not be kept.
/// `Ok(None)`: more of them are needed. Of a frame of an unknown type that may be skipped only the length is given.
#[allow(clippy::type_complexity)]
pub fn first(bytes: &[u8]) -> Result<Option<(Option<Frame<'_>>, usize)>, FrameError> {
    let (len, n) = match varint::decode(bytes, PREFIX_BITS) {
        Decoded::Value(len, n) => (len as usize, n),
        Decoded::Incomplete => return Ok(None),
        Decoded::Invalid => return Err(FrameError::BadVarint),
    };
    if len > MAX_MESSAGE {
        return Err(FrameError::TooLarge(len));
    }
    let Some(frame) = bytes.get(n..n + len) else { return Ok(None) };
    match Frame::decode(frame)? {
        Some(frame) if frame.kind == FrameType::Batch => Err(FrameError::NestedBatch),
        frame => Ok(Some((frame, n + len))),
    }
}

/// Collects bytes as they arrive and gives back whole frames.
///
/// Take its frames until there are none after each read: then it never holds more than two messages and one read, and
/// no byte is moved more than once after it was read, however small the frames are or however they were cut.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    /// What is behind `end` is room that was read into before, kept so that it need not be cleared again.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl StreamDecoder {
    /// An empty one.
    #[must_use]
    pub fn new() -> StreamDecoder {
        StreamDecoder::default()
    }

    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// `want` bytes of room to read into; [`StreamDecoder::filled`] says how many were used. Without that call nothing
    /// was read.
    pub fn space(&mut self, want: usize) -> &mut [u8] {
        self.make_room(want);
        &mut self.buffer[self.end..self.end + want]
    }

    /// Of the `want` bytes that [`StreamDecoder::space`] gave, the first `used` hold what was read.
    pub fn filled(&mut self, want: usize, used: usize) {
        self.end = self.buffer.len().min(self.end + used.min(want));
    }

    /// Bytes taken in and not yet given back as frames.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.end - self.start
    }

    /// Memory it holds now.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives the memory back if nothing is buffered: for a connection that has gone quiet.
    pub fn shrink(&mut self) {
        if self.buffered() == 0 {
            *self = StreamDecoder::default();
        }
    }

    /// The next whole frame. `Ok(None)`: more bytes are needed. Frames of unknown ignorable types are passed over.
    /// After an error the stream cannot be used again.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        loop {
            let Some((frame, len)) = first(&self.buffer[self.start..self.end])? else { return Ok(None) };
            self.start += len;
            if let Some(frame) = frame {
                return Ok(Some(frame));
            }
        }
    }

    /// Room for `want` more bytes behind `end`.
    fn make_room(&mut self, want: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // A burst's room is given back.
            if self.buffer.len() > want.max(MAX_MESSAGE) {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end >= want {
            return;
        }
        // Moving no more than was read since the last move keeps the cost of moving below that of reading.
        if self.start >= self.end - self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() - self.end < want {
            self.buffer.resize(self.end + want, 0);
        }
    }
}
