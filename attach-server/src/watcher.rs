//! Follows the change feed for the server itself: sessions that come up are recorded, and all of it is counted.

use std::collections::HashSet;
use std::time::Duration;

use lap_platform::model::{Resource, SessionId, SessionStatus};
use lap_platform::session::SessionsQuery;

use crate::error::ApiError;
use crate::feed::{Feed, Only};
use crate::metrics::Observer;
use crate::state::AppState;

/// After the database could not be read: long enough not to fill the log, short enough to miss little.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until the server stops.
pub(crate) async fn watch(state: AppState) {
    let stopping = state.stopping().clone();
    let mut observer = Observer::default();
    loop {
        if let Err(error) = follow(&state, &mut observer).await {
            tracing::error!(?error, "sessions that come up are neither recorded nor counted; trying again");
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Follows the feed until it cannot, or has to be begun anew.
async fn follow(state: &AppState, observer: &mut Observer) -> Result<(), ApiError> {
    // In this order: a session that becomes ready in between is in the feed, in the list, or both.
    let mut feed = Feed::open(state.clone(), Only::All, None).await?;
    let mut recorded = record_running(state).await?;
    while let Some(change) = feed.next().await {
        if matches!(change.resource, Resource::None) {
            return Ok(());
        }
        observer.observe(&change, &state.metrics().sessions);
        let Resource::Session(session) = &change.resource else { continue };
        // Once for each time it comes up: the recording then lasts as long as its terminal does.
        if session.status != SessionStatus::Ready {
            recorded.remove(&session.id);
        } else if session.supports_tui && recorded.insert(session.id) {
            state.hub().record(session.id).await;
        }
    }
    Ok(())
}

/// Goes on recording what an earlier server began.
async fn record_running(state: &AppState) -> Result<HashSet<SessionId>, ApiError> {
    let mut recorded = HashSet::new();
    let mut query = SessionsQuery {
        status: Some(SessionStatus::Ready),
        limit: Some(lap_platform::model::Page::<()>::MAX_LIMIT),
        ..SessionsQuery::default()
    };
    loop {
        let page = state.sessions().list(&query).await?;
        for session in page.data.iter().filter(|session| session.supports_tui) {
            recorded.insert(session.id);
            state.hub().record(session.id).await;
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(recorded);
        }
    }
}
