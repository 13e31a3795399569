//! A stream between a hub and a keeper that can be cut at any byte, stalled, and made to carry a few bytes at a time.
//! Nothing on it is reordered or changed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// What is done to all streams of a world.
#[derive(Default)]
pub(crate) struct Wire(Mutex<State>);

#[derive(Default)]
struct State {
    /// Streams of an earlier one are cut.
    generation: u64,
    /// Bytes that still pass, in both directions together, before the next cut.
    passes: Option<u64>,
    stalled: bool,
    /// The most that passes at once; 0 is any number.
    piece: usize,
    /// Streams that were made.
    made: u64,
    waiting: Vec<Waker>,
}

impl Wire {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Cuts every stream there is.
    pub(crate) fn cut(&self) {
        self.change(|state| state.generation += 1);
    }

    /// Cuts every stream there is once so many more bytes have passed.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.change(|state| state.passes = Some(bytes));
    }

    /// Nothing passes until it is told otherwise.
    pub(crate) fn stall(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// At most so many bytes pass at once.
    pub(crate) fn trickle(&self, piece: usize) {
        self.change(|state| state.piece = piece);
    }

    /// How many streams were made so far.
    pub(crate) fn made(&self) -> u64 {
        self.0.lock().unwrap().made
    }

    pub(crate) fn stream(self: &Arc<Self>, inner: UnixStream) -> Cuttable {
        let mut state = self.0.lock().unwrap();
        state.made += 1;
        Cuttable { inner, generation: state.generation, wire: self.clone() }
    }
}

/// One stream.
pub(crate) struct Cuttable {
    inner: UnixStream,
    generation: u64,
    wire: Arc<Wire>,
}

impl Cuttable {
    /// How many bytes may pass now.
    fn room(&self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.wire.0.lock().unwrap();
        if state.passes == Some(0) {
            state.passes = None;
            state.generation += 1;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.generation != self.generation {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.waiting.push(context.waker().clone());
        if state.stalled {
            return Poll::Pending;
        }
        let piece = if state.piece == 0 { usize::MAX } else { state.piece };
        Poll::Ready(Ok(state.passes.map_or(piece, |left| piece.min(left as usize))))
    }

    fn passed(&self, bytes: usize) {
        let mut state = self.wire.0.lock().unwrap();
        if let Some(left) = &mut state.passes {
            *left = left.saturating_sub(bytes as u64);
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = std::task::ready!(self.room(context))?.min(buffer.remaining());
        let mut piece = vec![0; room];
        let mut part = ReadBuf::new(&mut piece);
        std::task::ready!(Pin::new(&mut self.inner).poll_read(context, &mut part))?;
        buffer.put_slice(part.filled());
        self.passed(part.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = std::task::ready!(self.room(context))?.min(bytes.len());
        let n = std::task::ready!(Pin::new(&mut self.inner).poll_write(context, &bytes[..room]))?;
        self.passed(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
