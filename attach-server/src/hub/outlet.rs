//! A socket's sending half. While it is idle a message is written at once, by whoever has it, without a task in
//! between; what the socket does not take is kept and flushed when it can be.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lap_wire::frame::{Frame, Header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ws::{self, Opcode};

/// Whatever a client is connected by.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Bytes that may wait for one socket: the rest of a message it took in part, and control messages behind it. Terminal
/// output never waits here but in its ring.
pub(super) const MAX_PENDING: usize = 512 * 1024;
/// Memory for waiting bytes that is kept when nothing waits.
const KEPT: usize = 4 * 1024;

/// Parts of one message: its WebSocket header, its frame header, a payload in two places.
const MAX_PARTS: usize = 4;

/// One read: two full frames of a keeper and a bit.
const READ_SIZE: usize = 72 * 1024;

thread_local! {
    /// Every socket of the thread reads into this one: an idle connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// The socket took all of it.
    Whole,
    /// Some of it waits; the socket is busy now.
    Partly,
}

/// The socket could not take it and never will.
#[derive(Debug)]
pub(super) enum SendError {
    /// It is broken.
    Broken,
    /// Over [`MAX_PENDING`].
    Overflow,
}

impl From<io::Error> for SendError {
    fn from(_: io::Error) -> SendError {
        SendError::Broken
    }
}

/// See the module.
pub(super) struct Outlet {
    io: Box<dyn Io>,
    pending: Vec<u8>,
    flushed: usize,
    /// The socket took less than it was given.
    blocked: bool,
}

impl Outlet {
    /// An idle one.
    pub(super) fn new(io: Box<dyn Io>) -> Outlet {
        Outlet { io, pending: Vec::new(), flushed: 0, blocked: false }
    }

    /// Whether a message sent now is written now.
    pub(super) fn is_idle(&self) -> bool {
        !self.blocked
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() - self.flushed
    }

    /// Whether [`Outlet::poll_flush`] has something to write.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends a frame together with the next one, or by the next flush.
    pub(super) fn send_later(&mut self, frame: &Frame<'_>) -> Result<Sent, SendError> {
        let header = frame.header();
        let head = header.as_bytes();
        let (prefix, n) = ws::header(Opcode::Binary, head.len() + frame.payload.len());
        self.keep(&[&prefix[..n], head, frame.payload], 0)
    }

    /// Sends a frame whose payload lies in two places.
    pub(super) fn frame(&mut self, header: &Header, a: &[u8], b: &[u8]) -> Result<Sent, SendError> {
        let head = header.as_bytes();
        let (prefix, n) = ws::header(Opcode::Binary, head.len() + a.len() + b.len());
        self.write(&[&prefix[..n], head, a, b])
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, frame: &Frame<'_>) -> Result<Sent, SendError> {
        self.frame(&frame.header(), frame.payload, &[])
    }

    /// Sends a WebSocket message that is no frame of the attach protocol.
    pub(super) fn message(&mut self, opcode: Opcode, a: &[u8], b: &[u8]) -> Result<Sent, SendError> {
        let (prefix, n) = ws::header(opcode, a.len() + b.len());
        self.write(&[&prefix[..n], a, b])
    }

    /// Writes the parts behind what waits, in one call, and keeps what the socket does not take.
    fn write(&mut self, parts: &[&[u8]]) -> Result<Sent, SendError> {
        if self.blocked {
            return self.keep(parts, 0);
        }
        let waiting = &self.pending[self.flushed..];
        let mut slices = [IoSlice::new(waiting); MAX_PARTS + 1];
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        // Nobody needs to be woken: what is left is flushed by the socket's own task, which asks again.
        let mut context = Context::from_waker(Waker::noop());
        let slices = &slices[usize::from(waiting.is_empty())..=parts.len()];
        let written = match Pin::new(&mut self.io).poll_write_vectored(&mut context, slices) {
            Poll::Ready(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => return Err(error.into()),
            Poll::Pending => 0,
        };
        let old = written.min(waiting.len());
        self.flushed += old;
        if self.flushed == self.pending.len() {
            self.empty();
        }
        self.blocked = self.keep(parts, written - old)? == Sent::Partly;
        Ok(if self.blocked { Sent::Partly } else { Sent::Whole })
    }

    /// Keeps the parts, without their first bytes.
    fn keep(&mut self, parts: &[&[u8]], mut without: usize) -> Result<Sent, SendError> {
        let len = parts.iter().map(|p| p.len()).sum::<usize>() - without;
        if len == 0 {
            return Ok(Sent::Whole);
        }
        if self.pending.len() - self.flushed + len > MAX_PENDING {
            return Err(SendError::Overflow);
        }
        if self.flushed > MAX_PENDING {
            self.pending.drain(..self.flushed);
            self.flushed = 0;
        }
        for part in parts {
            let skip = without.min(part.len());
            without -= skip;
            self.pending.extend_from_slice(&part[skip..]);
        }
        Ok(Sent::Partly)
    }

    fn empty(&mut self) {
        self.flushed = 0;
        self.pending.clear();
        self.pending.shrink_to(KEPT);
        self.blocked = false;
    }

    /// Writes what waits; ready when nothing does any more.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.flushed < self.pending.len() {
            match Pin::new(&mut self.io).poll_write(context, &self.pending[self.flushed..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.flushed += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
            }
        }
        self.empty();
        Poll::Ready(Ok(()))
    }

    /// Reads what is there and gives it to `take`; gives the number of bytes, 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            match Pin::new(&mut self.io).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) => {
                    take(read.filled());
                    Poll::Ready(Ok(read.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    }

    /// Ends the sending side, once what waited is written.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_flush(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.io).poll_shutdown(context),
            other => other,
        }
    }
}
