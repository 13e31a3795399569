//! The feed of changes as streams of server-sent events: of everything, or of one session.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRef, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::Stream;
use lap_platform::model::{Change, ErrorBody, SessionId};
use lap_platform::session::Sessions;

use crate::changes::{Changes, Only, Reader};
use crate::http::auth::{Can, Read};
use crate::http::error::{ApiError, Kind};
use crate::http::extract::{Query, SessionPath};
use crate::http::limits::Slot;
use crate::http::sse;
use crate::state::{AppState, EventStreams};

/// Shorter than the shortest idle time-out of what may stand between, which is 10 s.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// The longest that a client may ask for instead: one on the same machine, whom the kernel tells of a server's death.
const MAX_HEARTBEAT: Duration = Duration::from_secs(300);
/// How soon a client whose stream ended comes back.
const RETRY: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: &str = "last-event-id";

/// Where a stream begins: with what came after a change that the client has seen.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // for the document alone
pub(crate) struct Resume {
    /// The `id` of the last event seen. Without it the stream begins now.
    #[param(rename = "Last-Event-ID", pattern = "^[0-9]{1,19}$")]
    last_event_id: Option<String>,
}

/// How often a stream shows that it lives.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Liveness {
    /// Seconds between the comments that show that the stream lives; 8 when absent.
    #[param(minimum = 1, maximum = 300)]
    heartbeat: Option<u64>,
}

impl Liveness {
    fn interval(&self) -> Duration {
        self.heartbeat.map_or(HEARTBEAT, Duration::from_secs).clamp(Duration::from_secs(1), MAX_HEARTBEAT)
    }
}

/// What a stream of events is made from.
#[derive(Clone)]
pub(super) struct Streams {
    changes: Changes,
    slots: EventStreams,
}

impl FromRef<AppState> for Streams {
    fn from_ref(state: &AppState) -> Streams {
        Streams { changes: Changes::from_ref(state), slots: EventStreams::from_ref(state) }
    }
}

/// Every change of an agent or a session, as it happens, with the whole row as it is now.
#[utoipa::path(
    get,
    operation_id = "follow_events",
    path = "/api/v1/managed_agents/events",
    tag = "events",
    params(Resume, Liveness),
    responses((
        status = 200,
        description = "Server-sent events. Each `data` is a Change; `reset` says that changes may have been missed and \
            the lists are to be read again. A comment comes every `heartbeat` seconds.",
        body = Change,
        content_type = "text/event-stream"
    ))
)]
pub(super) async fn all(
    _: Can<Read>,
    State(streams): State<Streams>,
    Query(liveness): Query<Liveness>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    streams.open(&headers, &liveness, Only::All).await
}

/// Every change of one session.
#[utoipa::path(
    get,
    operation_id = "follow_session_events",
    path = "/api/v1/managed_agents/sessions/{session_id}/events",
    tag = "events",
    params(("session_id" = SessionId, Path, description = "The session."), Resume, Liveness),
    responses(
        (status = 200, description = "As the feed of all changes.", body = Change, content_type = "text/event-stream"),
        (status = 404, description = "There is no such session.", body = ErrorBody),
    )
)]
pub(super) async fn of_session(
    _: Can<Read>,
    State(streams): State<Streams>,
    State(sessions): State<Sessions>,
    SessionPath(id): SessionPath,
    Query(liveness): Query<Liveness>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    sessions.get(id).await?;
    streams.open(&headers, &liveness, Only::Session(id)).await
}

impl Streams {
    async fn open(self, headers: &HeaderMap, liveness: &Liveness, only: Only) -> Result<Response, ApiError> {
        let after = resume_point(headers)?;
        let slot = self.slots.0.take()?;
        let reader = self.changes.reader(only, after).await?;
        Ok(sse::response(events(reader, slot, liveness.interval())))
    }
}

fn resume_point(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|value| value.parse().ok());
    let message = "Last-Event-ID is not the id of an event of this feed";
    id.map(Some).ok_or_else(|| ApiError::new(Kind::Invalid, message))
}

/// Ends when the server stops: the client comes back, to another one, with the last id it has seen.
fn events(reader: Reader, slot: Slot, heartbeat: Duration) -> impl Stream<Item = Bytes> {
    // Sent at once, so that a client that has not heard of any change yet can resume all the same.
    let first = sse::position(reader.position(), RETRY);
    futures_util::stream::unfold((Some(first), reader, slot), move |(first, mut reader, slot)| async move {
        if let Some(first) = first {
            return Some((first, (None, reader, slot)));
        }
        let bytes = match tokio::time::timeout(heartbeat, reader.next()).await {
            Ok(event) => event?.encoded.clone(),
            Err(_) => sse::HEARTBEAT,
        };
        Some((bytes, (None, reader, slot)))
    })
}
