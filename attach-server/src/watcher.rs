//! Follows the change feed for the server itself: sessions that come up are recorded, and all of it is counted.

use std::collections::HashSet;
use std::time::Duration;

use lap_platform::model::{Resource, SessionId, SessionStatus};
use lap_platform::session::{Sessions, SessionsQuery};

use crate::changes::{Changes, Only};
use crate::http::error::ApiError;
use crate::hub::HubHandle;
use crate::metrics::{Observer, SessionMetrics};
use crate::server::drain::Drain;

/// After the database could not be read: long enough not to fill the log, short enough to miss little.
const RETRY: Duration = Duration::from_secs(1);

/// What it follows the feed with, and for.
pub(crate) struct Watcher {
    pub(crate) changes: Changes,
    pub(crate) sessions: Sessions,
    pub(crate) hub: HubHandle,
    pub(crate) metrics: SessionMetrics,
    pub(crate) drain: Drain,
}

impl Watcher {
    /// Runs until the server stops.
    pub(crate) async fn run(self) {
        let mut observer = Observer::new(jiff::Timestamp::now());
        loop {
            if let Err(error) = self.follow(&mut observer).await {
                tracing::error!(
                    ?error,
                    "sessions that come up are neither recorded nor counted; trying again"
                );
            }
            tokio::select! {
                () = self.drain.stopping() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Follows the feed until it cannot, or has to be begun anew.
    async fn follow(&self, observer: &mut Observer) -> Result<(), ApiError> {
        // In this order: a session that becomes ready in between is in the feed, in the list, or both.
        let mut feed = self.changes.reader(Only::All, None).await?;
        let mut recorded = self.record_running().await?;
        while let Some(event) = feed.next().await {
            if matches!(event.change.resource, Resource::None) {
                return Ok(());
            }
            observer.observe(&event.change, &self.metrics);
            let Resource::Session(session) = &event.change.resource else { continue };
            // Once for each time it comes up: the recording then lasts as long as its terminal does.
            if session.status != SessionStatus::Ready {
                recorded.remove(&session.id);
            } else if session.supports_tui && recorded.insert(session.id) {
                self.hub.record(session.id).await;
            }
        }
        Ok(())
    }

    /// Goes on recording what an earlier server began.
    async fn record_running(&self) -> Result<HashSet<SessionId>, ApiError> {
        let mut recorded = HashSet::new();
        let mut query = SessionsQuery {
            status: Some(SessionStatus::Ready),
            limit: Some(lap_platform::model::Page::<()>::MAX_LIMIT),
            ..SessionsQuery::default()
        };
        loop {
            let page = self.sessions.list(&query).await?;
            for session in page.data.iter().filter(|session| session.supports_tui) {
                recorded.insert(session.id);
                self.hub.record(session.id).await;
            }
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                return Ok(recorded);
            }
        }
    }
}
