//! `Idempotency-Key`: a POST sent twice under one key happens once, and is answered twice with the same answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lap_platform::store::{IdempotencyOutcome, OwnerId, Store, StoredAnswer};
use tokio::sync::watch;
use tracing::Instrument as _;
use utoipa::IntoParams;
use uuid::Uuid;

use super::auth::Principal;
use super::error::{ApiError, Kind};
use super::extract::BodyLimits;
use super::request_id;
use crate::routes;
use crate::server::drain::Drain;

const KEY: &str = "idempotency-key";
/// On an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The largest answer that can be kept: what an `exec` prints at most.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The header, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(crate) struct KeyHeader {
    /// Any text of the client's making: within 24 h the same key and request get the first answer again.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// The id of what a request makes. Under a key it is the same each time the request is done, so that one that was cut off
/// after it had made something finds that again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Makes {
    pub(crate) id: Uuid,
    /// Whether the request is under a key: it may be asked again.
    keyed: bool,
}

impl Makes {
    /// The id, where the request is under a key.
    pub(crate) fn key(self) -> Option<Uuid> {
        self.keyed.then_some(self.id)
    }
}

impl<S: Sync> FromRequestParts<S> for Makes {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Makes, Infallible> {
        let keyed = parts.extensions.get::<Makes>().copied();
        Ok(keyed.unwrap_or_else(|| Makes { id: Uuid::now_v7(), keyed: false }))
    }
}

/// Requests being done by this server: whoever sends one again meanwhile waits for the same answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtWork(Arc<Mutex<Waiting>>);

/// By route and key: closed when the request is done.
type Waiting = HashMap<(String, String), watch::Receiver<()>>;

impl AtWork {
    /// Marks a request as being done until the guard is dropped, once nobody else in this server does it.
    async fn enter(&self, route: &str, key: &str) -> AtWorkGuard {
        let id = (route.to_owned(), key.to_owned());
        loop {
            let (done, waiting) = watch::channel(());
            let other = match self.lock().entry(id.clone()) {
                Entry::Vacant(free) => {
                    free.insert(waiting);
                    None
                }
                Entry::Occupied(taken) => Some(taken.get().clone()),
            };
            match other {
                None => return AtWorkGuard { all: self.clone(), id, _done: done },
                // An error is the news waited for: the guard was dropped.
                Some(mut other) => drop(other.changed().await),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Only single inserts and removals happen under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AtWorkGuard {
    all: AtWork,
    id: (String, String),
    _done: watch::Sender<()>,
}

impl Drop for AtWorkGuard {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

/// What doing requests once takes.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) store: Store,
    /// This server, among those at work on the store.
    pub(crate) owner: OwnerId,
    pub(crate) bodies: BodyLimits,
    pub(crate) at_work: AtWork,
    /// Does what outlives the request it began with.
    pub(crate) drain: Drain,
}

/// Does a request with a key once.
pub(crate) async fn once(
    State(requests): State<Requests>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = request.headers().get(KEY) else { return Ok(next.run(request).await) };
    let key = key.to_str().map_err(|_| bad_key())?.to_owned();
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad_key());
    }
    let route = route_of(&request)?;
    let (mut parts, body) = request.into_parts();
    let with_attachments = parts
        .extensions
        .get::<MatchedPath>()
        .is_some_and(|path| routes::WITH_ATTACHMENTS.contains(&path.as_str()));
    let body = requests.bodies.read(&parts.headers, body, with_attachments).await?;
    let guard = requests.at_work.enter(&route, &key).await;
    match requests.store.idempotency().begin(requests.owner, &route, &key, &body).await? {
        IdempotencyOutcome::Begun { makes } => {
            parts.extensions.insert(Makes { id: makes, keyed: true });
        }
        IdempotencyOutcome::Answered(answer) => return replay(answer),
        IdempotencyOutcome::OtherBody => {
            let message =
                "this Idempotency-Key was used for another request; make a new one for each request";
            return Err(ApiError::conflict(message));
        }
        IdempotencyOutcome::AtWork => {
            let message = "the first request with this Idempotency-Key is still being done; try again later";
            return Err(ApiError::conflict(message));
        }
    }
    let request = Request::from_parts(parts, Body::from(body));
    carry_through(requests, guard, route, key, request, next).await
}

fn bad_key() -> ApiError {
    ApiError::new(
        Kind::Invalid,
        "Idempotency-Key must have 1 to 255 printable ASCII characters and no spaces",
    )
}

/// Keys of different routes, and of different people, have nothing to do with each other.
fn route_of(request: &Request) -> Result<String, ApiError> {
    let principal = request.extensions().get::<Principal>().ok_or_else(ApiError::unauthorized)?;
    Ok(format!("{} {} {}", principal.name(), request.method(), request.uri().path()))
}

/// Does a request that was begun to its end, also when its sender has left: it will ask for the answer again.
async fn carry_through(
    requests: Requests,
    guard: AtWorkGuard,
    route: String,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let drain = requests.drain.clone();
    let work = async move {
        let answered = keep(&requests.store, &route, &key, next.run(request).await).await;
        drop(guard);
        answered
    };
    let work = request_id::inherit(work).in_current_span();
    let answered = drain.finish(work).await.map_err(ApiError::internal)?;
    // What was cut off with it is free for the next server as soon as this one has gone.
    answered.unwrap_or_else(|| Err(ApiError::stopping()))
}

async fn keep(store: &Store, route: &str, key: &str, response: Response) -> Result<Response, ApiError> {
    let idempotency = store.idempotency();
    // A stream has no end that could be kept: asked again, it is the stream of the same thing.
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !is_final(response.status()) || kind == Some(b"text/event-stream") {
        idempotency.put_down(route, key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body: Bytes = axum::body::to_bytes(body, MAX_ANSWER).await.map_err(ApiError::internal)?;
    let answer = StoredAnswer { status: parts.status.as_u16(), body: body.to_vec() };
    idempotency.finish(route, key, &answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Whether the same request would be answered the same for good. Faults of the server, limits on how many and missing
/// rights pass.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

fn replay(answer: StoredAnswer) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(answer.status).map_err(ApiError::internal)?;
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
