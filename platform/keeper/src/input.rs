//! What is to be written to a program: from viewers, each byte once, from the model, and the end of it all.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use lap_wire::control::{ErrorCode, WireError};
use lap_wire::input::{Accept, accept};
use lap_wire::limits::{INPUT_STREAMS, INPUT_WINDOW};
use rustix::io::Errno;

use crate::limits::{MAX_INPUT_PIECES, MAX_REPLIES};

/// A sender's numbered bytes, over all its connections.
#[derive(Debug)]
struct Sender {
    name: Rc<str>,
    /// Everything before this is queued or written.
    taken: u64,
    /// Everything before this is written.
    written: u64,
}

#[derive(Debug)]
struct Piece {
    /// Whose bytes these are; nobody counts the model's.
    sender: Option<Rc<str>>,
    bytes: Vec<u8>,
    written: usize,
}

/// What writing came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrote {
    /// All there was.
    All,
    /// The program takes no more for now.
    Blocked,
    /// The program no longer listens.
    Broken,
}

/// The bytes on their way into one program.
#[derive(Debug, Default)]
pub(crate) struct InputQueue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// Least recently used first.
    senders: Vec<Sender>,
    ended: bool,
}

impl InputQueue {
    /// How far the sender's stream has been written, 0 if it was never heard of.
    pub(crate) fn written(&self, sender: &str) -> u64 {
        self.senders.iter().rev().find(|s| *s.name == *sender).map_or(0, |s| s.written)
    }

    /// Remembers the sender from here on, at the expense of the one unused for longest.
    pub(crate) fn remember(&mut self, sender: &str) -> u64 {
        self.recall(sender).written
    }

    fn recall(&mut self, name: &str) -> &mut Sender {
        let sender = match self.senders.iter().rposition(|s| *s.name == *name) {
            Some(at) if at + 1 == self.senders.len() => None,
            Some(at) => Some(self.senders.remove(at)),
            None => {
                if self.senders.len() >= INPUT_STREAMS {
                    // One whose bytes are still queued is not forgotten; there are fewer of those than streams.
                    let idle = self.senders.iter().position(|s| s.written == s.taken).unwrap_or(0);
                    self.senders.remove(idle);
                }
                Some(Sender { name: name.into(), taken: 0, written: 0 })
            }
        };
        self.senders.extend(sender);
        let last = self.senders.len() - 1;
        &mut self.senders[last]
    }

    /// Takes in what a sender typed: its bytes from `offset` of its stream on, without those it sent before.
    pub(crate) fn offer(&mut self, sender: &str, offset: u64, bytes: &[u8]) -> Result<(), WireError> {
        if self.ended {
            return Err(WireError::new(ErrorCode::NotWritable, "the program's input has been closed"));
        }
        let (waiting, full) = (self.bytes, self.pieces.len() >= MAX_INPUT_PIECES);
        let known = self.recall(sender);
        let fresh = match accept(known.taken, offset, bytes.len()) {
            Accept::Duplicate => return Ok(()),
            Accept::From(index) => bytes.get(index..).unwrap_or_default(),
            Accept::Gap { expected } => {
                let message = format!("input at {offset} leaves a gap; go on at {expected}");
                return Err(WireError::new(ErrorCode::InputGap, message).send_again_from(expected));
            }
        };
        if waiting + fresh.len() > INPUT_WINDOW || full {
            let message =
                format!("the program has {waiting} bytes of input waiting and takes no more for now");
            return Err(WireError::new(ErrorCode::InputOverflow, message).send_again_from(known.taken));
        }
        known.taken += fresh.len() as u64;
        let name = known.name.clone();
        self.push(Some(name), fresh);
        Ok(())
    }

    /// Takes in an answer to a query, of the model's or of a viewer's terminal; dropped if the program has left too many
    /// unread.
    pub(crate) fn reply(&mut self, bytes: &[u8]) {
        if !self.ended && self.bytes + bytes.len() <= MAX_REPLIES {
            self.push(None, bytes);
        }
    }

    /// Nothing follows: for a terminal `last` is its end-of-file character.
    pub(crate) fn end(&mut self, last: Option<u8>) {
        match last {
            Some(byte) => self.push(None, &[byte]),
            None => self.ended = true,
        }
    }

    fn push(&mut self, sender: Option<Rc<str>>, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.sender == sender => last.bytes.extend_from_slice(bytes),
            _ => self.pieces.push_back(Piece { sender, bytes: bytes.to_vec(), written: 0 }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether [`InputQueue::end`] was called on it.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Writes what the program takes.
    pub(crate) fn write_to(&mut self, program: BorrowedFd<'_>) -> Wrote {
        while let Some(piece) = self.pieces.front_mut() {
            let rest = piece.bytes.get(piece.written..).unwrap_or_default();
            if !rest.is_empty() {
                let n = match rustix::io::write(program, rest) {
                    Ok(n) => n,
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => return Wrote::Blocked,
                    Err(_) => return Wrote::Broken,
                };
                piece.written += n;
                self.bytes = self.bytes.saturating_sub(n);
                let sender = piece.sender.clone();
                self.count(sender.as_deref(), n);
            }
            if self.pieces.front().is_some_and(|p| p.written == p.bytes.len()) {
                self.pieces.pop_front();
            }
        }
        Wrote::All
    }

    fn count(&mut self, sender: Option<&str>, n: usize) {
        let sender = self.senders.iter_mut().rev().find(|s| Some(&*s.name) == sender);
        if let Some(sender) = sender {
            sender.written += n as u64;
        }
    }

    /// The program is gone: what was not written never will be, and is never acknowledged.
    pub(crate) fn close(&mut self) {
        self.ended = true;
        self.pieces = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader, writer)
    }

    fn read(mut reader: &std::io::PipeReader) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let n = reader.read(&mut bytes).unwrap_or(0);
        bytes.truncate(n);
        bytes
    }

    #[test]
    fn what_is_sent_again_is_written_once() {
        let (reader, writer) = pipe();
        let mut queue = InputQueue::default();
        queue.offer("a", 0, b"hello").unwrap();
        queue.offer("a", 3, b"lo wor").unwrap();
        queue.offer("a", 0, b"hello wor").unwrap();
        queue.offer("b", 0, b"!").unwrap();
        queue.offer("a", 9, b"ld").unwrap();
        assert_eq!(queue.written("a"), 0, "queued is not written");
        assert_eq!(queue.write_to(writer.as_fd()), Wrote::All);
        assert_eq!(read(&reader), b"hello wor!ld");
        assert_eq!((queue.written("a"), queue.written("b"), queue.bytes), (11, 1, 0));
        let gap = queue.offer("a", 12, b"x").unwrap_err();
        assert_eq!(gap.code, ErrorCode::InputGap);
        assert!(gap.message.contains("11"));
    }

    #[test]
    fn input_beyond_the_window_is_refused_and_can_be_sent_again() {
        let (reader, writer) = pipe();
        let mut queue = InputQueue::default();
        let chunk = [b'x'; 32 * 1024];
        let mut offset = 0;
        while queue.offer("a", offset, &chunk).is_ok() {
            queue.write_to(writer.as_fd());
            offset += chunk.len() as u64;
        }
        assert!(queue.bytes <= INPUT_WINDOW);
        assert_eq!(queue.offer("a", offset, &chunk).unwrap_err().code, ErrorCode::InputOverflow);
        let mut got = read(&reader).len() as u64;
        queue.write_to(writer.as_fd());
        queue.offer("a", offset, &chunk).unwrap();
        while queue.written("a") < offset + chunk.len() as u64 {
            got += read(&reader).len() as u64;
            queue.write_to(writer.as_fd());
        }
        got += read(&reader).len() as u64;
        assert_eq!(got, offset + chunk.len() as u64);
    }

    #[test]
    fn only_so_many_senders_are_remembered_and_the_oldest_is_forgotten() {
        let (_reader, writer) = pipe();
        let mut queue = InputQueue::default();
        for i in 0..=INPUT_STREAMS {
            queue.offer("kept", i as u64, b"k").unwrap();
            queue.offer(&format!("s{i}"), 0, b"x").unwrap();
            queue.write_to(writer.as_fd());
        }
        assert_eq!(queue.senders.len(), INPUT_STREAMS);
        assert_eq!(queue.written("kept"), INPUT_STREAMS as u64 + 1);
        assert_eq!(queue.written("s0"), 0);
        assert_eq!(queue.written(&format!("s{INPUT_STREAMS}")), 1);
    }

    #[test]
    fn answers_that_nobody_reads_stay_bounded() {
        let mut queue = InputQueue::default();
        for _ in 0..100_000 {
            queue.reply(b"\x1b[?62;22c");
        }
        assert!(queue.bytes <= MAX_REPLIES);
        assert_eq!(queue.pieces.len(), 1);
    }
}
