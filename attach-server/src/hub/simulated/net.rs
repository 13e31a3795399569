//! A link of a given rate and length, in virtual time: what is written leaves one byte after the other, and arrives a
//! little later.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What the sender's kernel holds before it takes no more.
const SEND_BUFFER: usize = 256 * 1024;
/// Bytes that arrive together.
const PACKET: usize = 1460;

/// How a link is, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net {
    /// Millions of bits per second.
    pub mbit: f64,
    /// There and back.
    pub round_trip: Duration,
}

impl Net {
    /// Bytes per second.
    pub(super) fn rate(&self) -> f64 {
        self.mbit * 125_000.0
    }
}

/// One direction.
struct Pipe {
    net: Net,
    packets: VecDeque<(Instant, Vec<u8>)>,
    /// When the last byte written has left.
    free_at: Instant,
    closed: bool,
    reader: Option<Waker>,
    /// The longest that anything had to wait for what was written before it, since it was last asked.
    waited: Duration,
}

impl Pipe {
    fn new(net: Net) -> Rc<RefCell<Pipe>> {
        Rc::new(RefCell::new(Pipe {
            net,
            packets: VecDeque::new(),
            free_at: Instant::now(),
            closed: false,
            reader: None,
            waited: Duration::ZERO,
        }))
    }
}

/// One end of a link.
pub(super) struct End {
    sends: Rc<RefCell<Pipe>>,
    receives: Rc<RefCell<Pipe>>,
    writing: Option<Pin<Box<Sleep>>>,
    reading: Option<Pin<Box<Sleep>>>,
}

/// Looks at what a server sends over a link.
#[derive(Clone)]
pub(super) struct Gauge(Rc<RefCell<Pipe>>);

impl Gauge {
    /// The longest that anything had to wait for what was sent before it, since this was last asked.
    pub(super) fn waited(&self) -> Duration {
        std::mem::take(&mut self.0.borrow_mut().waited)
    }
}

/// A link: the server's end, the client's, and a gauge at the server's.
pub(super) fn link(net: Net) -> (End, End, Gauge) {
    let (down, up) = (Pipe::new(net), Pipe::new(net));
    let end = |sends: &Rc<RefCell<Pipe>>, receives: &Rc<RefCell<Pipe>>| End {
        sends: sends.clone(),
        receives: receives.clone(),
        writing: None,
        reading: None,
    };
    (end(&down, &up), end(&up, &down), Gauge(down))
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pipe = self.sends.borrow_mut();
        pipe.closed = true;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }
}

/// Waits in a timer of its own.
fn wait(timer: &mut Option<Pin<Box<Sleep>>>, until: Instant, context: &mut Context<'_>) -> Poll<()> {
    let timer = timer.insert(Box::pin(sleep_until(until)));
    timer.as_mut().poll(context)
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let now = Instant::now();
            let mut pipe = self.sends.borrow_mut();
            let behind = pipe.free_at.saturating_duration_since(now);
            let held = (behind.as_secs_f64() * pipe.net.rate()) as usize;
            if held < SEND_BUFFER {
                let n = bytes.len().min(SEND_BUFFER - held);
                let rate = pipe.net.rate();
                pipe.waited = pipe.waited.max(behind);
                pipe.free_at = pipe.free_at.max(now);
                for packet in bytes[..n].chunks(PACKET) {
                    pipe.free_at += Duration::from_secs_f64(packet.len() as f64 / rate);
                    let arrives = pipe.free_at + pipe.net.round_trip / 2;
                    pipe.packets.push_back((arrives, packet.to_vec()));
                }
                if let Some(reader) = pipe.reader.take() {
                    reader.wake();
                }
                return Poll::Ready(Ok(n));
            }
            let room_at = now + Duration::from_secs_f64((held - SEND_BUFFER + 1) as f64 / pipe.net.rate());
            drop(pipe);
            if wait(&mut self.writing, room_at, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let mut pipe = self.receives.borrow_mut();
        let before = buffer.filled().len();
        while let Some((arrives, packet)) = pipe.packets.front_mut()
            && *arrives <= now
            && buffer.remaining() > 0
        {
            let n = packet.len().min(buffer.remaining());
            buffer.put_slice(&packet[..n]);
            packet.drain(..n);
            if packet.is_empty() {
                pipe.packets.pop_front();
            }
        }
        if buffer.filled().len() > before || (pipe.closed && pipe.packets.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(context.waker().clone());
        let Some(arrives) = pipe.packets.front().map(|(arrives, _)| *arrives) else { return Poll::Pending };
        drop(pipe);
        if wait(&mut self.reading, arrives, context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
