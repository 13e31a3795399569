//! The stream below a connection, which knows where its requests begin and end.
//!
//! So a request's head has a time of its own, while a connection between two requests may be idle for as long as load
//! balancers keep theirs; and what the HTTP library answers by itself, to a request that is none, has a body and an id
//! like every other answer.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use lap_platform::model::{ErrorBody, ErrorDetail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

/// What of a refused request may still come, in bytes and in time: a client that is cut off while it sends reads no
/// answer.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Between two requests.
const IDLE: u8 = 0;
/// A request's head is arriving.
const HEAD: u8 = 1;
/// A request is being answered.
const BUSY: u8 = 2;

/// Where a connection's requests stand, for whoever answers them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// A request is being answered, until the answer's body is dropped.
    pub(crate) fn answering(&self) -> Answering {
        self.0.store(BUSY, Ordering::Relaxed);
        Answering(self.clone())
    }

    fn at(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Progress::answering`].
#[derive(Debug)]
pub(crate) struct Answering(Progress);

impl Answering {
    /// Ends with this body.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        Body::new(UntilSent { body, _answering: self })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

struct UntilSent {
    body: Body,
    _answering: Answering,
}

impl HttpBody for UntilSent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's stream.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    progress: Progress,
    /// The time a head may take.
    patience: Duration,
    /// When the head that is arriving must be whole, or the end of lingering.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Our answer instead of the library's, as far as it is not written.
    instead: Option<Bytes>,
    /// Bytes that may still be read and thrown away, once the answer is out.
    linger: Option<usize>,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, progress: Progress, patience: Duration) -> Socket<S> {
        Socket { stream, progress, patience, deadline: None, instead: None, linger: None }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// `Ready`: the deadline is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Whether these bytes are an answer that the library gives by itself, and not the rest of one of ours.
    fn is_librarys(&self, bytes: &[u8]) -> bool {
        self.progress.at() != BUSY
            && bytes.starts_with(b"HTTP/1.1 4")
            && !bytes.windows(HEADER.len()).any(|window| window.eq_ignore_ascii_case(HEADER))
    }
}

/// Every answer of ours has it.
const HEADER: &[u8] = b"\r\nx-request-id:";

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes our answer in place of the library's. `None`: these bytes are to be written as they are.
    fn poll_instead(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        all: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() && self.linger.is_none() && self.is_librarys(first) {
            self.instead = Some(refusal(first));
        }
        let left = self.instead.as_mut()?;
        while !left.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => drop(left.split_to(written)),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        self.instead = None;
        self.linger = Some(LINGER_BYTES);
        Some(Poll::Ready(Ok(all)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        match this.progress.at() {
            HEAD => {}
            IDLE if buf.filled().len() > before => {
                this.progress.0.store(HEAD, Ordering::Relaxed);
                this.deadline = Some(Box::pin(tokio::time::sleep_until(Instant::now() + this.patience)));
            }
            _ => this.deadline = None,
        }
        if read.is_pending() && this.poll_deadline(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.poll_instead(cx, buf, buf.len()) {
            Some(written) => written,
            None => Pin::new(&mut this.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[] as &[u8], |buf| buf);
        match this.poll_instead(cx, first, bufs.iter().map(|buf| buf.len()).sum()) {
            Some(written) => written,
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// After an answer of ours in place of the library's, what is still being sent is read for a while: closed upon,
    /// the client would see its connection reset and no answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        if this.linger == Some(LINGER_BYTES) {
            this.deadline = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let mut scratch = [0; 8192];
        while let Some(left) = this.linger.filter(|left| *left > 0) {
            if this.poll_deadline(cx).is_ready() {
                break;
            }
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    this.linger = Some(left.saturating_sub(buf.filled().len()));
                }
                // Its end, or an error that matters to nobody any more.
                Poll::Ready(_) => break,
            }
        }
        this.linger = Some(0);
        Poll::Ready(Ok(()))
    }
}

/// What is answered to a request that could not be read, whose status the library has chosen.
fn refusal(librarys: &[u8]) -> Bytes {
    let head = String::from_utf8_lossy(librarys);
    let status =
        head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or("400 Bad Request");
    let message = match status.get(..3) {
        Some("414") => "the request's path and query are too long",
        Some("431") => "the request's headers are too many or too long: at most 100, and 64 KiB in all",
        _ => "the request is not HTTP/1.1 as it should be",
    };
    let body = ErrorBody { error: ErrorDetail::Message(message.to_owned()), request_id: None };
    // A text and nothing else: it can always be written.
    let body = serde_json::to_string(&body).unwrap_or_default();
    let (id, length) = (Uuid::now_v7(), body.len());
    tracing::info!(%id, status, "a request that cannot be read was refused");
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\nx-request-id: {id}\r\n\r\n{body}"
    )
    .into()
}

/// Reads the rest of a request's body and throws it away, within bounds: a client that is still sending does not read
/// the answer, and where its connection is closed instead it never sees one.
pub(crate) async fn drain(mut body: impl HttpBody<Data = Bytes> + Unpin, bytes: usize, patience: Duration) {
    let reading = async {
        let mut left = bytes;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // Whether it all came does not matter: the answer is the same.
    let _ = tokio::time::timeout(patience, reading).await;
}
