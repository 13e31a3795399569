//! The change feed: the log of changes in the store, each entry with its row as it is now.

use std::collections::VecDeque;

use jiff::Timestamp;
use lap_platform::model::{Change, ChangeKind, Resource, SessionId};
use lap_platform::session::SessionError;
use lap_platform::store::{After, ChangeEntry, ResourceRef, StoreError};
use tokio::sync::watch;

use crate::agent_form;
use crate::error::ApiError;
use crate::state::AppState;

/// Entries read at a time: a reader that is far behind holds no more than these in memory, without their rows.
const BATCH: u32 = 100;

/// Which changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Only {
    /// Every one.
    All,
    /// Those of this session.
    Session(SessionId),
}

/// A reader of the feed. Nothing is kept for it: it reads the log at its own pace, and only when it is asked.
pub(crate) struct Feed {
    state: AppState,
    only: Only,
    position: u64,
    read: VecDeque<ChangeEntry>,
    newest: watch::Receiver<u64>,
}

impl Feed {
    /// From after this change on, or from now on.
    pub(crate) async fn open(state: AppState, only: Only, after: Option<u64>) -> Result<Feed, ApiError> {
        // In this order: what happens in between is found in the log.
        let newest = state.store().changes().watch();
        let position = match after {
            Some(position) => position,
            None => state.store().changes().latest().await?,
        };
        Ok(Feed { state, only, position, read: VecDeque::new(), newest })
    }

    /// The last change passed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next change. `None` when the server stops, or cannot read the log any more.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                self.position = entry.id;
                match self.change(entry).await {
                    Ok(Some(change)) => return Some(change),
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::error!(?error, "a change's row cannot be read; its stream ends");
                        return None;
                    }
                }
            }
            // Marked as seen before the log is read: a change in between wakes the wait below.
            self.newest.mark_unchanged();
            match self.state.store().changes().after(self.position, BATCH).await {
                Ok(After::Changes(entries)) if entries.is_empty() => self.wait().await?,
                Ok(After::Changes(entries)) => self.read.extend(entries),
                Ok(After::TooOld { latest }) => {
                    self.position = latest;
                    return Some(reset(latest));
                }
                Err(error) => {
                    tracing::error!(%error, "the log of changes cannot be read; a stream of it ends");
                    return None;
                }
            }
        }
    }

    async fn wait(&mut self) -> Option<()> {
        let stopping = self.state.stopping().clone();
        tokio::select! {
            () = stopping.cancelled() => None,
            changed = self.newest.changed() => changed.ok(),
        }
    }

    /// The entry with its row; nothing where it is not asked for, or its row is gone for good.
    async fn change(&self, entry: ChangeEntry) -> Result<Option<Change>, ApiError> {
        let resource = match (entry.resource, self.only) {
            (ResourceRef::Agent(id), Only::All) => match self.state.store().agents().last_state(id).await {
                Ok(row) => Resource::Agent(Box::new(agent_form::masked_row(row))),
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            (ResourceRef::Session(id), only) if only == Only::All || only == Only::Session(id) => {
                match self.state.sessions().get(id).await {
                    Ok(session) => Resource::Session(Box::new(session)),
                    Err(SessionError::NotFound(_)) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Change { id: entry.id, at: entry.at, kind: entry.kind, resource }))
    }
}

fn reset(latest: u64) -> Change {
    Change { id: latest, at: Timestamp::now(), kind: ChangeKind::Reset, resource: Resource::None }
}
