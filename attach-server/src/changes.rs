//! The feed of changes: the log of changes in the store, each entry with its row as it is now.
//!
//! One task reads the log, and each row once; what it makes of them is kept for a while and shared by all who follow
//! the feed, so that a hundred open streams cost what their writing costs. Who is further behind than that reads the
//! log by itself until it has caught up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use jiff::Timestamp;
use lap_platform::model::{Change, ChangeKind, Resource, SessionId};
use lap_platform::session::{SessionError, Sessions};
use lap_platform::store::{After, ChangeEntry, ResourceRef, Store, StoreError};
use tokio::sync::watch;

use crate::agent_form;
use crate::http::error::ApiError;
use crate::http::sse;
use crate::server::drain::Drain;

/// Entries read at a time: a reader that is far behind holds no more than these in memory, without their rows.
const BATCH: u32 = 100;
/// Events kept for those who follow, in number and in bytes as they are sent: some minutes of a busy server.
const KEPT_EVENTS: usize = 512;
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// After some changes have been told the next wait this long for each other: a burst wakes each stream a few times
/// rather than a hundred. The first of a burst is told at once.
const GATHER: Duration = Duration::from_millis(20);
/// After the database could not be read: long enough not to fill the log, short enough to tell of little too late.
const RETRY: Duration = Duration::from_secs(1);

/// Which changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Only {
    /// Every one.
    All,
    /// Those of this session.
    Session(SessionId),
}

impl Only {
    fn has(self, resource: ResourceRef) -> bool {
        match self {
            Only::All => true,
            Only::Session(id) => resource == ResourceRef::Session(id),
        }
    }
}

/// A change, as it is sent to everybody.
#[derive(Debug)]
pub(crate) struct Event {
    /// What has changed.
    pub(crate) change: Change,
    /// The same as a server-sent event.
    pub(crate) encoded: Bytes,
}

impl Event {
    fn new(change: Change) -> Event {
        let encoded = sse::event(change.id, "change", &change);
        Event { change, encoded }
    }
}

/// The feed. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Changes(Arc<Inner>);

struct Inner {
    store: Store,
    sessions: Sessions,
    drain: Drain,
    recent: Mutex<Recent>,
    /// The last change that is among the recent ones.
    newest: watch::Sender<u64>,
}

/// The changes from after `start` up to `end`, without those whose rows are gone.
#[derive(Debug, Default)]
struct Recent {
    start: u64,
    end: u64,
    events: VecDeque<(ResourceRef, Arc<Event>)>,
    bytes: usize,
}

impl Recent {
    fn at(position: u64) -> Recent {
        Recent { start: position, end: position, ..Recent::default() }
    }

    fn push(&mut self, id: u64, event: Option<(ResourceRef, Event)>) {
        self.end = id;
        let Some((resource, event)) = event else { return };
        self.bytes += event.encoded.len();
        self.events.push_back((resource, Arc::new(event)));
        while self.events.len() > KEPT_EVENTS || self.bytes > KEPT_BYTES {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest.encoded.len();
            self.start = oldest.change.id;
        }
    }

    /// The first event after a position. `None`: it is too far back.
    fn after(&self, position: u64, only: Only) -> Option<Next> {
        if position < self.start {
            return None;
        }
        let first = self.events.partition_point(|(_, event)| event.change.id <= position);
        let found = self.events.range(first..).find(|(resource, _)| only.has(*resource));
        Some(found.map_or(Next::Nothing(self.end.max(position)), |(_, event)| Next::Event(Arc::clone(event))))
    }
}

enum Next {
    Event(Arc<Event>),
    /// Nothing up to here.
    Nothing(u64),
}

impl Changes {
    pub(crate) fn new(store: Store, sessions: Sessions, drain: Drain) -> Changes {
        // Until the log is followed, every position is too far back.
        let recent = Mutex::new(Recent::at(u64::MAX));
        Changes(Arc::new(Inner { store, sessions, drain, recent, newest: watch::Sender::new(0) }))
    }

    /// Follows the log until the server stops.
    pub(crate) async fn follow(self) {
        while !self.0.drain.is_stopping() {
            if let Err(error) = self.0.follow().await {
                tracing::error!(?error, "the log of changes cannot be read; trying again");
            }
            tokio::select! {
                () = self.0.drain.stopping() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// A reader from after this change on, or from now on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn reader(&self, only: Only, after: Option<u64>) -> Result<Reader, ApiError> {
        let newest = self.0.newest.subscribe();
        let position = match after {
            Some(position) => position,
            None => self.0.store.changes().latest().await?,
        };
        let feed = Arc::clone(&self.0);
        // A position that is the client's word may be of no feed of ours: the log knows.
        Ok(Reader { feed, only, position, trusted: after.is_none(), read: VecDeque::new(), newest })
    }
}

impl Inner {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Single pushes happen under it: what a panic leaves behind is still a list of events.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log until it cannot.
    async fn follow(&self) -> Result<(), ApiError> {
        let mut log = self.store.changes().watch();
        let mut position = self.store.changes().latest().await?;
        *self.recent() = Recent::at(position);
        // Whoever waits for what came before looks again.
        self.newest.send_replace(position);
        loop {
            // Marked as seen before the log is read: a change in between wakes the wait below.
            log.mark_unchanged();
            let entries = match self.store.changes().after(position, BATCH).await? {
                After::Changes(entries) => entries,
                After::TooOld { latest } => {
                    position = latest;
                    *self.recent() = Recent::at(position);
                    self.newest.send_replace(position);
                    continue;
                }
            };
            if entries.is_empty() {
                tokio::select! {
                    () = self.drain.stopping() => return Ok(()),
                    changed = log.changed() => if changed.is_err() { return Ok(()) },
                }
                continue;
            }
            let mut events = Vec::with_capacity(entries.len());
            for entry in entries {
                let change = self.with_row(entry).await?;
                events.push((entry, change.map(Event::new)));
                position = entry.id;
            }
            {
                let mut recent = self.recent();
                for (entry, event) in events {
                    recent.push(entry.id, event.map(|event| (entry.resource, event)));
                }
            }
            self.newest.send_replace(position);
            tokio::time::sleep(GATHER).await;
        }
    }

    /// The entry with its row; nothing where its row is gone for good.
    async fn with_row(&self, entry: ChangeEntry) -> Result<Option<Change>, ApiError> {
        let resource = match entry.resource {
            ResourceRef::Agent(id) => match self.store.agents().last_state(id).await {
                Ok(row) => Resource::Agent(Box::new(agent_form::masked_row(row))),
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            ResourceRef::Memory(id) => match self.store.memories().last_state(id).await {
                Ok(memory) => Resource::Memory(Box::new(memory)),
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            ResourceRef::Session(id) => match self.sessions.last_state(id).await {
                Ok(session) => Resource::Session(Box::new(session)),
                Err(SessionError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Some(Change { id: entry.id, at: entry.at, kind: entry.kind, resource }))
    }
}

/// A reader of the feed. Nothing is kept for it: it reads at its own pace, and only when it is asked.
pub(crate) struct Reader {
    feed: Arc<Inner>,
    only: Only,
    position: u64,
    /// Whether the position is known to be one of this feed.
    trusted: bool,
    /// Read from the log by itself.
    read: VecDeque<ChangeEntry>,
    newest: watch::Receiver<u64>,
}

impl Reader {
    /// The last change passed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next change. `None` when the server stops, or the log cannot be read any more. Can be dropped at any point
    /// and asked again.
    pub(crate) async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(entry) = self.read.front().copied() {
                let event = match self.of_log(entry).await {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::error!(?error, "a change's row cannot be read; its stream ends");
                        return None;
                    }
                };
                self.read.pop_front();
                self.position = entry.id;
                if event.is_some() {
                    return event;
                }
                continue;
            }
            // Marked as seen before it is looked: an event in between wakes the wait below.
            self.newest.mark_unchanged();
            let recent = self.trusted.then(|| self.feed.recent().after(self.position, self.only)).flatten();
            match recent {
                Some(Next::Event(event)) => {
                    self.position = event.change.id;
                    return Some(event);
                }
                Some(Next::Nothing(position)) => {
                    self.position = position;
                    self.wait().await?;
                    continue;
                }
                None => {}
            }
            match self.feed.store.changes().after(self.position, BATCH).await {
                Ok(After::Changes(entries)) => {
                    let nothing = entries.is_empty() && self.trusted;
                    self.trusted = true;
                    self.read.extend(entries);
                    if nothing {
                        self.wait().await?;
                    }
                }
                Ok(After::TooOld { latest }) => {
                    self.position = latest;
                    self.trusted = true;
                    return Some(Arc::new(Event::new(reset(latest))));
                }
                Err(error) => {
                    tracing::error!(%error, "the log of changes cannot be read; a stream of it ends");
                    return None;
                }
            }
        }
    }

    async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            () = self.feed.drain.stopping() => None,
            changed = self.newest.changed() => changed.ok(),
        }
    }

    async fn of_log(&self, entry: ChangeEntry) -> Result<Option<Arc<Event>>, ApiError> {
        if !self.only.has(entry.resource) {
            return Ok(None);
        }
        Ok(self.feed.with_row(entry).await?.map(|change| Arc::new(Event::new(change))))
    }
}

fn reset(latest: u64) -> Change {
    Change { id: latest, at: Timestamp::now(), kind: ChangeKind::Reset, resource: Resource::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> Event {
        Event::new(Change { id, ..reset(0) })
    }

    fn found(recent: &Recent, position: u64, only: Only) -> Option<Option<u64>> {
        recent.after(position, only).map(|next| match next {
            Next::Event(event) => Some(event.change.id),
            Next::Nothing(_) => None,
        })
    }

    #[test]
    fn who_is_too_far_behind_is_told_and_all_others_get_what_comes_next() {
        let (one, other) = (SessionId::new(), SessionId::new());
        let mut recent = Recent::at(10);
        assert_eq!(found(&recent, 9, Only::All), None);
        assert_eq!(found(&recent, 10, Only::All), Some(None));
        recent.push(11, Some((ResourceRef::Session(one), event(11))));
        recent.push(12, None);
        recent.push(13, Some((ResourceRef::Session(other), event(13))));
        assert_eq!(found(&recent, 10, Only::All), Some(Some(11)));
        assert_eq!(found(&recent, 11, Only::All), Some(Some(13)));
        assert_eq!(found(&recent, 10, Only::Session(other)), Some(Some(13)));
        assert_eq!(found(&recent, 11, Only::Session(one)), Some(None));
        for id in 14..=14 + KEPT_EVENTS as u64 {
            recent.push(id, Some((ResourceRef::Session(one), event(id))));
        }
        assert_eq!(recent.events.len(), KEPT_EVENTS);
        assert_eq!(found(&recent, 11, Only::All), None, "those after 11 are gone");
        assert_eq!(found(&recent, 20, Only::All), Some(Some(21)));
    }
}
