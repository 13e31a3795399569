//! Connections: accepted, counted, bounded in number and patience, and drained.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::limits::{Slot, Slots};
use super::socket::{self, Answering, Progress, Socket};
use crate::server::drain::Drain;

/// A request's head, with all its headers: what other servers take too.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a connection may be idle between two requests: longer than load balancers keep theirs (60 and 75 s are
/// usual), so that none sends a request on one that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// How much of a request that has been answered already is read and thrown away: more than any client sends that has
/// not read the limits.
const UNREAD_BYTES: usize = 128 * 1024 * 1024;
const UNREAD_PATIENCE: Duration = Duration::from_secs(10);
/// Connections over the limit that are told so at the same time; those over this too are just closed.
const MAX_REFUSALS: usize = 64;
/// How long a client that is being turned away may take to send its request.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// What a connection whose request is cut off has for saying so.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// When the system has no more descriptors: some end every moment, and trying at once would only burn.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The place among the connections of the one a request came on. Whoever takes its socket over takes this too.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlot {
    _slot: Arc<Slot>,
}

/// The stream below a request, as `hyper::upgrade::Upgraded::downcast` gives it back.
pub(crate) type Io<S> = TokioIo<Socket<S>>;

/// Where connections come from.
pub(crate) trait Listener: Send {
    /// One of them.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one, ready to be used.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Held back keystrokes are felt; an error means that the peer is gone already, which reading will tell.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// How connections are treated.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) slots: Slots,
    pub(crate) header_timeout: Duration,
}

/// Serves until the server stops, then lets open requests finish.
pub(crate) async fn serve(listener: impl Listener, router: Router, policy: Policy, drain: Drain) {
    let refusals = Slots::new("refusals", MAX_REFUSALS);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = drain.stopping() => break,
            // Ended ones are taken out of the set; their result is `()`.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                if let Some(slot) = policy.slots.try_take() {
                    let connection = ConnectionSlot { _slot: Arc::new(slot) };
                    let (router, drain) = (router.clone(), drain.clone());
                    connections.spawn(converse(stream, router, connection, policy.header_timeout, drain));
                } else if let Some(slot) = refusals.try_take() {
                    tracing::warn!("too many connections: one is turned away");
                    connections.spawn(refuse(stream, policy.slots.clone(), slot));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = async {
            drain.cut().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        } => {}
    }
    connections.shutdown().await;
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    connection: ConnectionSlot,
    header_timeout: Duration,
    drain: Drain,
) {
    let progress = Progress::default();
    let socket = Socket::new(stream, progress.clone(), header_timeout);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        answer(request, router.clone(), connection.clone(), progress.answering())
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // The library's timer runs between requests too; the socket has one for heads alone.
        .header_read_timeout(KEEP_ALIVE.max(header_timeout))
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = drain.stopping() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        // Clients leave in the middle all the time.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Has the routes answer a request, and reads what of it they have left unread.
async fn answer(
    request: hyper::Request<Incoming>,
    router: Router,
    connection: ConnectionSlot,
    answering: Answering,
) -> Result<Response, Infallible> {
    // A client that asks first is not told to send what nobody wants.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (parts, incoming) = request.into_parts();
    let incoming = SharedBody(Arc::new(Mutex::new(incoming)));
    let mut request = Request::from_parts(parts, Body::new(incoming.clone()));
    request.extensions_mut().insert(connection);
    let response = router.oneshot(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && !asks_first && !incoming.is_end_stream() {
        socket::drain(incoming, UNREAD_BYTES, UNREAD_PATIENCE).await;
    }
    Ok(response.map(|body| answering.until_sent(body)))
}

/// A request's body that is read by a handler and, what that has left, by whoever called it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Incoming>>);

impl SharedBody {
    fn lock(&self) -> MutexGuard<'_, Incoming> {
        // Only polled under it, by one at a time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

async fn refuse(stream: impl AsyncRead + AsyncWrite + Unpin + Send, slots: Slots, slot: Slot) {
    let service = service_fn(|_| {
        let answer: Response = slots.full().into_response();
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REFUSAL_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whether it was heard does not matter.
    let _ = tokio::time::timeout(REFUSAL_PATIENCE * 2, serving).await;
    drop(slot);
}
