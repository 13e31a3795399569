//! The way out to one peer: what its socket takes is written at once, straight from where the bytes lie; only what it
//! does not take is copied, and then nothing more is produced for it until that is gone.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use lap_wire::frame::Header;
use lap_wire::stream;
use lap_wire::{ChannelId, Frame, FrameType};
use rustix::io::Errno;

use crate::limits::MAX_OUTBOX;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    blocked: bool,
}

impl Outbox {
    /// Whether the socket is full: nothing can be sent until it is writable.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.written
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether the peer has left more unread than it may.
    pub(crate) fn is_over(&self) -> bool {
        self.len() > MAX_OUTBOX
    }

    /// Adds a frame to be written with the next write.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        stream::encode(frame, &mut self.bytes);
    }

    /// Adds a frame with an offset and nothing else.
    pub(crate) fn push_bare(&mut self, kind: FrameType, channel: ChannelId, offset: u64) {
        self.push(&Frame::new(kind, channel, offset, &[]));
    }

    /// Sends a frame behind everything that waits, in one write. Its payload lies in two parts.
    pub(crate) fn send(&mut self, to: impl AsFd, header: &Header, a: &[u8], b: &[u8]) -> io::Result<()> {
        let header = header.as_bytes();
        let (prefix, n) = stream::prefix(header.len() + a.len() + b.len());
        let waiting = self.bytes.get(self.written..).unwrap_or_default();
        let parts = [waiting, prefix.get(..n).unwrap_or_default(), header, a, b];
        let mut sent = write(to, &parts)?;
        let all: usize = parts.iter().map(|p| p.len()).sum();
        self.blocked = sent < all;
        let old = sent.min(waiting.len());
        sent -= old;
        self.written += old;
        self.compact();
        if self.blocked {
            for part in &parts_after(&[prefix.get(..n).unwrap_or_default(), header, a, b], sent) {
                self.bytes.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, to: impl AsFd) -> io::Result<()> {
        let waiting = self.bytes.get(self.written..).unwrap_or_default();
        if !waiting.is_empty() {
            let sent = write(to, &[waiting])?;
            self.written += sent;
        }
        self.blocked = !self.is_empty();
        self.compact();
        Ok(())
    }

    fn compact(&mut self) {
        if self.is_empty() {
            self.written = 0;
            self.bytes.clear();
            // What a burst took is given back.
            if self.bytes.capacity() > 16 * 1024 {
                self.bytes = Vec::new();
            }
        } else if self.written > MAX_OUTBOX / 4 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
}

/// What is left of the parts after the first `skip` bytes.
fn parts_after<'a>(parts: &[&'a [u8]; 4], mut skip: usize) -> [&'a [u8]; 4] {
    parts.map(|part| {
        let n = skip.min(part.len());
        skip -= n;
        part.get(n..).unwrap_or_default()
    })
}

/// Writes as much as the socket takes, and says how much that was.
fn write(to: impl AsFd, parts: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = parts.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)).collect();
    loop {
        match rustix::io::writev(&to, &slices) {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_the_socket_does_not_take_is_sent_later_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (mut outbox, mut expected, mut got) = (Outbox::default(), Vec::new(), Vec::new());
        let payload: Vec<u8> = (0..30_000u32).map(|i| i as u8).collect();
        let mut blocked = 0;
        for i in 0..200u64 {
            let header = Header::new(FrameType::Output, 0, ChannelId(1), i);
            let (a, b) = payload.split_at((i as usize * 997) % payload.len());
            stream::encode(&Frame::new(FrameType::Output, ChannelId(1), i, &payload), &mut expected);
            outbox.send(&ours, &header, a, b).unwrap();
            while outbox.is_blocked() {
                blocked += 1;
                let mut chunk = [0; 10_007];
                let n = theirs.read(&mut chunk).unwrap();
                got.extend_from_slice(&chunk[..n]);
                outbox.flush(&ours).unwrap();
            }
        }
        drop(ours);
        theirs.set_nonblocking(false).unwrap();
        theirs.read_to_end(&mut got).unwrap();
        assert!(blocked > 0, "the socket was never full");
        assert!(got == expected);
    }
}
