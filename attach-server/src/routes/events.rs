use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures_util::Stream;
use lap_platform::model::{Change, ErrorBody, SessionId};

use crate::auth::{Can, Read};
use crate::error::{ApiError, Kind};
use crate::extract::{Query, SessionPath};
use crate::feed::{Feed, Only};
use crate::limits::Slot;
use crate::state::AppState;

/// Shorter than the shortest idle time-out of load balancers (60 s) by far, and a third of what clients wait.
const HEARTBEAT: Duration = Duration::from_secs(15);
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
    /// Seconds between the comments that show that the stream lives; 15 when absent.
    #[param(minimum = 15, maximum = 300)]
    heartbeat: Option<u64>,
}

impl Liveness {
    fn interval(&self) -> Result<Duration, ApiError> {
        let interval = self.heartbeat.map_or(HEARTBEAT, Duration::from_secs);
        if interval < HEARTBEAT || interval > MAX_HEARTBEAT {
            return Err(ApiError::new(Kind::Invalid, "heartbeat is 15 to 300 seconds"));
        }
        Ok(interval)
    }
}

/// Every change of an agent or a session, as it happens, with the whole row as it is now.
#[utoipa::path(
    get,
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
    State(state): State<AppState>,
    Query(liveness): Query<Liveness>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stream(&state, &headers, &liveness, Only::All).await
}

/// Every change of one session.
#[utoipa::path(
    get,
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
    State(state): State<AppState>,
    SessionPath(id): SessionPath,
    Query(liveness): Query<Liveness>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.sessions().get(id).await?;
    stream(&state, &headers, &liveness, Only::Session(id)).await
}

async fn stream(
    state: &AppState,
    headers: &HeaderMap,
    liveness: &Liveness,
    only: Only,
) -> Result<Response, ApiError> {
    let (after, heartbeat) = (resume_point(headers)?, liveness.interval()?);
    let slot = state.parts().event_streams.take()?;
    let feed = Feed::open(state.clone(), only, after).await?;
    let heartbeat = KeepAlive::new().interval(heartbeat);
    Ok(Sse::new(events(feed, slot)).keep_alive(heartbeat).into_response())
}

fn resume_point(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|value| value.parse().ok());
    let message = "Last-Event-ID is not the id of an event of this feed";
    id.map(Some).ok_or_else(|| ApiError::new(Kind::Invalid, message))
}

/// Ends when the server stops: the client comes back, to another one, with the last id it has seen.
fn events(feed: Feed, slot: Slot) -> impl Stream<Item = Result<Event, Infallible>> {
    // Sent at once, so that a client that has not heard of any change yet can resume all the same.
    let first = Event::default().id(feed.position().to_string()).retry(RETRY);
    futures_util::stream::unfold((Some(first), feed, slot), |(first, mut feed, slot)| async move {
        if let Some(first) = first {
            return Some((Ok(first), (None, feed, slot)));
        }
        let change = feed.next().await?;
        let event = Event::default().id(change.id.to_string()).event("change");
        // A change is made of maps, lists and words: it can always be written.
        let event = event.json_data(&change).unwrap_or_default();
        Some((Ok(event), (None, feed, slot)))
    })
}
