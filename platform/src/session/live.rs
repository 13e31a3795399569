//! What is known of a session only in this process: who watches it, what it wants, the work being done on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lap_wire::control::Attention;
use tokio::sync::Notify;

use crate::model::SessionId;

/// What is known of a session only while its terminal is attached. Set by the hub, kept in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Viewers attached now, by any socket.
    pub viewers: u32,
    /// Those of them that may type: they keep a session from being idle.
    pub interactive: u32,
    /// What the program wants.
    pub attention: Attention,
    /// Whether its terminal is being recorded.
    pub recording: bool,
}

/// The sessions being worked on or watched over.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Mutex<HashMap<SessionId, Arc<Entry>>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SessionId,
    state: Mutex<State>,
    /// In milliseconds of the service's clock.
    last_activity: AtomicU64,
    /// When activity last had the driver look, in the same.
    last_look: AtomicU64,
    woken: Notify,
    delivered: Notify,
    /// Something is asked of its agent, or to be ended.
    asked: Notify,
    /// There is news of its conversation.
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// What the hub knows; the default while it does not have its terminal.
    live: Live,
    /// The runtime's word that its sandbox is gone.
    gone: Option<String>,
    /// Something has changed since the driver looked.
    poked: bool,
    /// Every viewer has been sent the end of its output.
    delivered: bool,
    /// Whether its last activity is known, and not only when this process entered it.
    activity_known: bool,
    /// When bringing it up must be over, on the service's clock.
    bring_up_by: Option<Duration>,
    /// What its agent wants, while it is at a turn.
    talk: Option<Attention>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// The entry of a session, made if there is none; says whether it was.
    pub(super) fn enter(&self, id: SessionId, now: Duration) -> (Arc<Entry>, bool) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&id) {
            entry.poke();
            return (Arc::clone(entry), false);
        }
        let entry = Arc::new(Entry::new(id, now));
        entries.insert(id, Arc::clone(&entry));
        (entry, true)
    }

    /// Removes an entry, unless it was poked meanwhile: then its driver must look again. Says whether it did.
    pub(super) fn leave(&self, entry: &Entry) -> bool {
        let mut entries = self.lock();
        if entry.take_poke() {
            return false;
        }
        entries.remove(&entry.id);
        true
    }
}

impl Entry {
    fn new(id: SessionId, now: Duration) -> Entry {
        Entry {
            id,
            state: Mutex::default(),
            last_activity: AtomicU64::new(millis(now)),
            last_look: AtomicU64::new(0),
            woken: Notify::new(),
            delivered: Notify::new(),
            asked: Notify::new(),
            news: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the driver look again.
    pub(super) fn poke(&self) {
        self.lock().poked = true;
        self.woken.notify_one();
    }

    pub(super) fn take_poke(&self) -> bool {
        std::mem::take(&mut self.lock().poked)
    }

    /// Waits until it is poked. For the driver alone.
    pub(super) async fn poked(&self) {
        while !self.take_poke() {
            self.woken.notified().await;
        }
    }

    /// What the hub knows.
    pub(super) fn live(&self) -> Live {
        self.lock().live
    }

    /// Sets what the hub knows; gives what it was.
    pub(super) fn set_live(&self, live: Live) -> Live {
        let before = std::mem::replace(&mut self.lock().live, live);
        self.delivered.notify_one();
        before
    }

    /// What its agent wants, while it is at a turn.
    pub(super) fn talk(&self) -> Option<Attention> {
        self.lock().talk
    }

    /// Sets what its agent wants. Says whether that is new.
    pub(super) fn set_talk(&self, wants: Option<Attention>) -> bool {
        std::mem::replace(&mut self.lock().talk, wants) != wants
    }

    /// Has the task that holds its conversation look.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until that task is to look. For it alone.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Tells, to all who wait, that there is news of its conversation.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    pub(super) fn set_delivered(&self) {
        self.lock().delivered = true;
        self.delivered.notify_one();
    }

    /// Waits until every viewer has the end of its output, or the hub has let go of it.
    pub(super) async fn delivered(&self) {
        loop {
            {
                let state = self.lock();
                if state.delivered || state.live == Live::default() {
                    return;
                }
            }
            self.delivered.notified().await;
        }
    }

    pub(super) fn set_gone(&self, reason: String) {
        self.lock().gone = Some(reason);
        self.poke();
    }

    pub(super) fn gone(&self) -> Option<String> {
        self.lock().gone.clone()
    }

    /// Takes the word back; says whether there was one.
    pub(super) fn take_gone(&self) -> bool {
        self.lock().gone.take().is_some()
    }

    /// When bringing it up must be over: `limit` from the first time this was asked.
    pub(super) fn bring_up_by(&self, now: Duration, limit: Duration) -> Duration {
        *self.lock().bring_up_by.get_or_insert(now + limit)
    }

    /// Forgets what belonged to the sandbox that was: a new one is coming up.
    pub(super) fn renew(&self) {
        let mut state = self.lock();
        *state = State { live: state.live, poked: state.poked, ..State::default() };
    }

    /// Notes activity.
    pub(super) fn note_activity(&self, now: Duration) {
        self.lock().activity_known = true;
        self.last_activity.fetch_max(millis(now), Ordering::Relaxed);
    }

    /// Whether the driver should look at the activity, at most once in `every`.
    pub(super) fn is_time_to_look(&self, now: Duration, every: Duration) -> bool {
        let now = millis(now);
        let last = self.last_look.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= millis(every);
        due && self.last_look.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Says when the last activity was, if nothing was known of it so far: from before this process, or the session is
    /// new.
    pub(super) fn learn_activity(&self, at: Duration) {
        let known = std::mem::replace(&mut self.lock().activity_known, true);
        if !known {
            self.last_activity.store(millis(at), Ordering::Relaxed);
        }
    }

    /// The last activity, where any is known of: now, while somebody who may type is attached.
    pub(super) fn known_activity(&self, now: Duration) -> Option<Duration> {
        let state = self.lock();
        if state.live.interactive > 0 {
            return Some(now);
        }
        state.activity_known.then(|| self.last_activity())
    }

    pub(super) fn last_activity(&self) -> Duration {
        Duration::from_millis(self.last_activity.load(Ordering::Relaxed))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Sessions whose live state has changed and whose change has not been told. Telling is conflated: a session that
/// changes a hundred times in between is told once.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    ids: Mutex<std::collections::BTreeSet<SessionId>>,
    some: Notify,
}

impl Unsaid {
    pub(super) fn add(&self, id: SessionId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.some.notify_one();
    }

    /// Waits until there are some and takes them all.
    pub(super) async fn take(&self) -> std::collections::BTreeSet<SessionId> {
        loop {
            let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
            if !ids.is_empty() {
                return ids;
            }
            self.some.notified().await;
        }
    }
}
