//! A stream to a keeper that is cut at any byte, stalls, and hands over as little as one byte at a time. It reorders
//! nothing, and neither does it invent anything.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use lap_platform::link::{Connect, ConnectError, Dialed};
use lap_platform::sandbox::local::LocalRuntime;
use lap_platform::sandbox::{KeeperStream, SandboxName, SandboxRuntime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Random numbers that can be had again.
pub(crate) struct Random(u64);

impl Random {
    /// Fresh ones, whose seed a failing test shows.
    pub(crate) fn fresh() -> Random {
        let seed = match std::env::var("LAP_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
        };
        println!("LAP_TEST_SEED={seed}");
        Random(seed | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
}

/// What the test does to the streams that are made.
#[derive(Clone)]
pub(crate) struct Cuttable {
    runtime: LocalRuntime,
    plan: Arc<Mutex<Plan>>,
}

struct Plan {
    random: Random,
    /// Each connection is cut after at most so many bytes in both directions together.
    cut_within: Option<u64>,
    /// Nothing moves.
    stalled: bool,
    waiting: Vec<Waker>,
    connections: u32,
    cuts: u32,
}

impl Cuttable {
    pub(crate) fn new(runtime: LocalRuntime, random: Random) -> Cuttable {
        let plan =
            Plan { random, cut_within: None, stalled: false, waiting: Vec::new(), connections: 0, cuts: 0 };
        Cuttable { runtime, plan: Arc::new(Mutex::new(plan)) }
    }

    /// From the next connection on, each is cut within so many bytes; not at all with `None`.
    pub(crate) fn cut_within(&self, bytes: Option<u64>) {
        self.plan.lock().unwrap().cut_within = bytes;
    }

    /// Nothing moves any more, or again.
    pub(crate) fn stall(&self, stalled: bool) {
        let mut plan = self.plan.lock().unwrap();
        plan.stalled = stalled;
        plan.waiting.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn connections(&self) -> u32 {
        self.plan.lock().unwrap().connections
    }

    pub(crate) fn cuts(&self) -> u32 {
        self.plan.lock().unwrap().cuts
    }
}

#[async_trait]
impl Connect for Cuttable {
    async fn connect(&self, sandbox: &SandboxName) -> Result<Dialed, ConnectError> {
        let stream =
            self.runtime.connect(sandbox).await.map_err(|e| ConnectError::Unavailable(e.to_string()))?;
        let mut plan = self.plan.lock().unwrap();
        plan.connections += 1;
        let left = plan.cut_within.map(|within| 1 + plan.random.below(within));
        // One byte at a time only where the whole is not much.
        let steps: &[usize] =
            if left.is_some_and(|left| left < 4000) { &[1, 3, 50] } else { &[50, 1000, 1 << 16] };
        let step = steps[plan.random.below(steps.len() as u64) as usize];
        Ok(Dialed::Stream(Box::new(CutStream { stream, left, step, plan: self.plan.clone() })))
    }
}

struct CutStream {
    stream: KeeperStream,
    left: Option<u64>,
    step: usize,
    plan: Arc<Mutex<Plan>>,
}

impl CutStream {
    /// How many bytes may move now.
    fn allowed(&self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut plan = self.plan.lock().unwrap();
        if plan.stalled {
            plan.waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        // Not ready for once, though it could be.
        if plan.random.below(8) == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.left {
            Some(0) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            left => Poll::Ready(Ok(self.step.min(left.map_or(usize::MAX, |left| left as usize)))),
        }
    }

    fn moved(&mut self, n: usize) {
        if let Some(left) = &mut self.left {
            *left -= n as u64;
            if *left == 0 {
                self.plan.lock().unwrap().cuts += 1;
            }
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = std::task::ready!(self.allowed(context))?;
        let mut piece = vec![0; allowed.min(buffer.remaining())];
        let mut read = ReadBuf::new(&mut piece);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        let n = read.filled().len();
        buffer.put_slice(&piece[..n]);
        self.moved(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = std::task::ready!(self.allowed(context))?;
        let piece = &bytes[..allowed.min(bytes.len())];
        let n = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, piece))?;
        self.moved(n);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
