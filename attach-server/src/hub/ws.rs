//! The server's side of WebSocket framing (RFC 6455), as much of it as a terminal needs: whole messages in, one
//! message per write out, no extension, no allocation per frame. The upgrade itself is the HTTP server's.

/// The longest header of a frame that a server sends.
pub(super) const MAX_HEADER: usize = 10;
/// Control frames carry at most this (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// Memory for bytes that wait for the rest of their message, kept while none do.
const KEPT: usize = 4 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opcode {
    /// A piece of a message begun before.
    Continuation = 0x0,
    /// UTF-8.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The connection ends.
    Close = 0x8,
    /// Answer with the same payload.
    Ping = 0x9,
    /// The answer.
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        [Continuation, Text, Binary, Close, Ping, Pong].into_iter().find(|o| *o as u8 == bits)
    }

    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a whole, unmasked message of `len` bytes.
#[must_use]
pub(super) fn header(opcode: Opcode, len: usize) -> ([u8; MAX_HEADER], usize) {
    let mut bytes = [0; MAX_HEADER];
    bytes[0] = 0x80 | opcode as u8;
    if len < 126 {
        bytes[1] = len as u8;
        (bytes, 2)
    } else if let Ok(short) = u16::try_from(len) {
        bytes[1] = 126;
        bytes[2..4].copy_from_slice(&short.to_be_bytes());
        (bytes, 4)
    } else {
        bytes[1] = 127;
        bytes[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        (bytes, 10)
    }
}

/// Why a connection is closed: the code and a reason of at most 123 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CloseReason {
    /// RFC 6455, 7.4, and the protocol's own from 4400 on.
    pub code: u16,
    /// For people.
    pub reason: &'static str,
}

/// The codes RFC 6455 has for what can go wrong here; the protocol's own are [`lap_wire::close::CloseCode`].
pub(super) mod close {
    use super::CloseReason;

    /// Not WebSocket as RFC 6455 has it.
    pub(crate) const PROTOCOL: CloseReason =
        CloseReason { code: 1002, reason: "not a WebSocket frame this server takes" };
    /// A message over the limit.
    pub(crate) const TOO_BIG: CloseReason = CloseReason { code: 1009, reason: "message over the limit" };
}

/// A whole message from a client.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Incoming<'a> {
    /// Bytes.
    Binary(&'a [u8]),
    /// Text; its UTF-8 is not checked here.
    Text(&'a [u8]),
    /// To be answered with [`Opcode::Pong`].
    Ping(&'a [u8]),
    /// The client closes.
    Close,
}

/// Takes the bytes of a socket apart into messages. Holds at most one message and one read.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    /// A message whose pieces are still arriving.
    partial: Vec<u8>,
    partial_opcode: Option<Opcode>,
    max_message: usize,
}

struct FrameHead {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    head: usize,
    len: usize,
}

impl Decoder {
    /// For messages of at most `max_message` bytes.
    #[must_use]
    pub(super) fn new(max_message: usize) -> Decoder {
        Decoder { buffer: Vec::new(), start: 0, partial: Vec::new(), partial_opcode: None, max_message }
    }

    /// Takes in what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None`: more bytes are needed. After an error the connection is to be closed.
    pub(super) fn next_message(&mut self) -> Result<Option<Incoming<'_>>, CloseReason> {
        loop {
            let Some(frame) = self.frame_head()? else { return Ok(None) };
            let begin = self.start + frame.head;
            let end = begin + frame.len;
            if self.buffer.len() < end {
                return Ok(None);
            }
            self.start = end;
            unmask(&mut self.buffer[begin..end], frame.mask);
            match (frame.opcode, frame.fin, self.partial_opcode) {
                (Opcode::Close, ..) => return Ok(Some(Incoming::Close)),
                (Opcode::Ping, ..) => return Ok(Some(Incoming::Ping(&self.buffer[begin..end]))),
                (Opcode::Pong, ..) => {}
                (Opcode::Continuation, _, None) => return Err(close::PROTOCOL),
                (Opcode::Continuation, fin, Some(opcode)) => {
                    if self.partial.len() + frame.len > self.max_message {
                        return Err(close::TOO_BIG);
                    }
                    self.partial.extend_from_slice(&self.buffer[begin..end]);
                    if fin {
                        self.partial_opcode = None;
                        // Swapped into the buffer's place so that the message can be lent out.
                        let rest = self.buffer.split_off(end);
                        self.buffer = std::mem::take(&mut self.partial);
                        let len = self.buffer.len();
                        self.buffer.extend_from_slice(&rest);
                        self.start = len;
                        return Ok(Some(message(opcode, &self.buffer[..len])));
                    }
                }
                (_, _, Some(_)) => return Err(close::PROTOCOL),
                (opcode, true, None) => return Ok(Some(message(opcode, &self.buffer[begin..end]))),
                (opcode, false, None) => {
                    self.partial_opcode = Some(opcode);
                    self.partial.clear();
                    self.partial.extend_from_slice(&self.buffer[begin..end]);
                }
            }
        }
    }

    fn frame_head(&self) -> Result<Option<FrameHead>, CloseReason> {
        let bytes = &self.buffer[self.start..];
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(close::PROTOCOL)?;
        let fin = first & 0x80 != 0;
        // Reserved bits belong to extensions, of which none was agreed; a client must mask.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(close::PROTOCOL);
        }
        let short = usize::from(second & 0x7f);
        if opcode.is_control() && (short > MAX_CONTROL || !fin) {
            return Err(close::PROTOCOL);
        }
        let (extra, len) = match short {
            126 => match rest {
                [a, b, ..] => (2, usize::from(u16::from_be_bytes([*a, *b]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(long) => (8, usize::try_from(u64::from_be_bytes(*long)).map_err(|_| close::TOO_BIG)?),
                None => return Ok(None),
            },
            _ => (0, short),
        };
        if len > self.max_message {
            return Err(close::TOO_BIG);
        }
        let Some(mask) = rest.get(extra..).and_then(|r| r.first_chunk::<4>()) else { return Ok(None) };
        Ok(Some(FrameHead { opcode, fin, mask: *mask, head: 2 + extra + 4, len }))
    }
}

fn message(opcode: Opcode, payload: &[u8]) -> Incoming<'_> {
    if opcode == Opcode::Text { Incoming::Text(payload) } else { Incoming::Binary(payload) }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client_frame(opcode: Opcode, fin: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let (mut head, n) = header(opcode, payload.len());
        head[0] = (u8::from(fin) << 7) | opcode as u8;
        head[1] |= 0x80;
        let mut out = head[..n].to_vec();
        out.extend_from_slice(&mask);
        let mut body = payload.to_vec();
        unmask(&mut body, mask);
        out.extend_from_slice(&body);
        out
    }

    fn owned(incoming: &Incoming<'_>) -> (u8, Vec<u8>) {
        match incoming {
            Incoming::Binary(b) => (2, b.to_vec()),
            Incoming::Text(b) => (1, b.to_vec()),
            Incoming::Ping(b) => (9, b.to_vec()),
            Incoming::Close => (8, Vec::new()),
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragmentation_and_any_split_of_the_stream(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..400), 1usize..5), 1..8),
            mask in any::<[u8; 4]>(),
            splits in prop::collection::vec(1usize..97, 1..50),
        ) {
            let mut wire = Vec::new();
            let mut want = Vec::new();
            for (text, payload, pieces) in &messages {
                let opcode = if *text { Opcode::Text } else { Opcode::Binary };
                want.push((opcode as u8, payload.clone()));
                let size = payload.len().div_ceil(*pieces).max(1);
                let chunks: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(size).collect() };
                for (i, chunk) in chunks.iter().enumerate() {
                    let op = if i == 0 { opcode } else { Opcode::Continuation };
                    wire.extend(client_frame(op, i + 1 == chunks.len(), mask, chunk));
                    // A control frame may stand between the pieces of a message.
                    wire.extend(client_frame(Opcode::Pong, true, mask, b"x"));
                }
            }
            let mut decoder = Decoder::new(1024);
            let mut got = Vec::new();
            let mut rest = wire.as_slice();
            for n in splits.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*n).min(rest.len()));
                rest = later;
                decoder.push(now);
                while let Some(message) = decoder.next_message().unwrap() {
                    got.push(owned(&message));
                }
            }
            prop_assert_eq!(got, want);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::new(256);
            for chunk in bytes.chunks(64) {
                decoder.push(chunk);
                loop {
                    match decoder.next_message() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
                prop_assert!(decoder.buffer.len() <= 256 + 14 + 64 && decoder.partial.len() <= 256);
            }
        }
    }

    #[test]
    fn what_rfc_6455_forbids_ends_the_connection() {
        let frame = client_frame(Opcode::Binary, true, [1, 2, 3, 4], b"abc");
        let mut unmasked = frame.clone();
        unmasked[1] &= 0x7f;
        let mut reserved = frame.clone();
        reserved[0] |= 0x40;
        let mut unknown = frame.clone();
        unknown[0] = 0x83;
        let lonely = client_frame(Opcode::Continuation, true, [0; 4], b"abc");
        let cut_ping = client_frame(Opcode::Ping, false, [0; 4], b"abc");
        for bad in [unmasked, reserved, unknown, lonely, cut_ping] {
            let mut decoder = Decoder::new(100);
            decoder.push(&bad);
            assert_eq!(decoder.next_message(), Err(close::PROTOCOL));
        }
        let mut decoder = Decoder::new(100);
        decoder.push(&client_frame(Opcode::Binary, true, [0; 4], &[0; 101])[..8]);
        assert_eq!(
            decoder.next_message(),
            Err(close::TOO_BIG),
            "refused by its header, before its bytes arrive"
        );
    }
}
