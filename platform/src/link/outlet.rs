//! A stream to a keeper. While it is idle a frame is written at once, by whoever has it, without a task in between; what
//! the stream does not take is kept, and flushed by the link's task when it can be.
//!
//! Nothing is asked of the stream but to be read and written: it may take one byte at a time, stay pending, hold bytes
//! back until it is flushed, and need not write from several places at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lap_wire::{Frame, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::LinkError;
use super::core::Wire;
use crate::sandbox::KeeperStream;

/// Bytes that may wait for one keeper: more than its channels' openings, and an input window beside them. A keeper that
/// leaves more than this is given up.
pub(super) const MAX_PENDING: usize = 1024 * 1024;
/// Bytes that may wait before what is able to wait itself (input, calls, openings) does.
pub(super) const ENOUGH: usize = 256 * 1024;
/// The same for bulk (files, a program's standard input), behind which a keystroke has to wait: on a link of 1 MB/s for
/// 64 ms.
pub(super) const ENOUGH_BULK: usize = 64 * 1024;
/// Memory for waiting bytes that is kept when nothing waits.
const KEPT: usize = 4 * 1024;

/// See the module.
pub(super) struct Outlet {
    io: KeeperStream,
    vectored: bool,
    /// The link's task, to be woken when the stream takes more.
    task: Waker,
    pending: Vec<u8>,
    written: usize,
    /// The stream holds bytes back.
    unflushed: bool,
    failed: Option<LinkError>,
}

impl Outlet {
    /// An idle one.
    pub(super) fn new(io: KeeperStream) -> Outlet {
        let vectored = io.is_write_vectored();
        Outlet {
            io,
            vectored,
            task: Waker::noop().clone(),
            pending: Vec::new(),
            written: 0,
            unflushed: false,
            failed: None,
        }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() - self.written
    }

    /// Whether the task has something to do here beside reading.
    pub(super) fn needs_task(&self) -> bool {
        self.waiting() > 0 || self.unflushed || self.failed.is_some()
    }

    /// Why nothing can be sent any more, once.
    pub(super) fn take_failure(&mut self) -> Option<LinkError> {
        self.failed.take()
    }

    /// The task that polls it, for writes that are made by others.
    pub(super) fn driven_by(&mut self, context: &Context<'_>) {
        if !self.task.will_wake(context.waker()) {
            self.task = context.waker().clone();
        }
    }

    fn keep(&mut self, parts: &[&[u8]], mut without: usize) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>() - without;
        if self.waiting() + len > MAX_PENDING {
            let text = format!("it has left {MAX_PENDING} bytes unread");
            self.failed = Some(LinkError::Lost(text));
            return;
        }
        // Moved only when half of it is done with: no byte is moved more than once on average.
        if self.written > MAX_PENDING / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
        }
        for part in parts {
            let skip = without.min(part.len());
            without -= skip;
            self.pending.extend_from_slice(&part[skip..]);
        }
    }

    fn write(&mut self, parts: [&[u8]; 3]) -> io::Result<()> {
        let waker = self.task.clone();
        let context = &mut Context::from_waker(&waker);
        if self.waiting() > 0 || !self.vectored {
            let idle = self.waiting() == 0;
            self.keep(&parts, 0);
            if idle && self.failed.is_none() {
                let _ = self.poll_flush(context)?;
            }
            return Ok(());
        }
        let slices = parts.map(IoSlice::new);
        let written = match Pin::new(&mut self.io).poll_write_vectored(context, &slices) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        self.unflushed = true;
        if written < parts.iter().map(|part| part.len()).sum() {
            self.keep(&parts, written);
        }
        let _ = self.poll_flush(context)?;
        Ok(())
    }

    /// Writes what waits; ready when nothing does any more.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            match Pin::new(&mut self.io).poll_write(context, &self.pending[self.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            self.unflushed = true;
        }
        if !self.pending.is_empty() {
            self.written = 0;
            self.pending.clear();
            self.pending.shrink_to(KEPT);
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is there into `buffer`; gives the number of bytes, 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut self.io).poll_read(context, &mut read) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(read.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Wire for Outlet {
    fn send(&mut self, frame: &Frame<'_>) {
        if self.failed.is_some() {
            return;
        }
        let header = frame.header();
        let header = header.as_bytes();
        let (prefix, n) = stream::prefix(header.len() + frame.payload.len());
        if let Err(error) = self.write([&prefix[..n], header, frame.payload]) {
            self.failed = Some(LinkError::Lost(error.to_string()));
        }
    }

    fn has_room(&self) -> bool {
        self.failed.is_none() && self.waiting() < ENOUGH
    }
}

/// While there is no stream.
impl Wire for Option<Outlet> {
    fn send(&mut self, frame: &Frame<'_>) {
        if let Some(outlet) = self {
            outlet.send(frame);
        }
    }

    fn has_room(&self) -> bool {
        self.as_ref().is_some_and(Outlet::has_room)
    }
}
