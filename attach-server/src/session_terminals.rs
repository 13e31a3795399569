//! The rest of the server, as the hub sees it: sessions, sandboxes, and what is told about terminals.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use lap_platform::model::SessionId;
use lap_platform::session::{Live, Sessions};
use lap_wire::control::{Attention, ExitStatus, WireError};

use crate::hub::{Directory, Location};

/// Sessions' terminals for the hub.
pub(crate) struct SessionTerminals {
    sessions: Sessions,
    /// What the hub has told of each session, as the sessions want it: whole.
    live: Mutex<HashMap<SessionId, Live>>,
}

impl SessionTerminals {
    pub(crate) fn new(sessions: Sessions) -> SessionTerminals {
        SessionTerminals { sessions, live: Mutex::default() }
    }

    fn tell(&self, session: SessionId, change: impl FnOnce(&mut Live)) {
        // Single fields are set under it: what a panic leaves behind is still true.
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let live = all.entry(session).or_default();
        change(live);
        let now = *live;
        if now == Live::default() {
            all.remove(&session);
        }
        drop(all);
        self.sessions.set_live(session, now);
    }
}

#[async_trait]
impl Directory for SessionTerminals {
    async fn locate(&self, session: SessionId) -> Result<Location, WireError> {
        let terminal = self.sessions.resolve(session).await?;
        Ok(Location { sandbox: terminal.sandbox, program: terminal.program })
    }

    fn viewers(&self, session: SessionId, count: u32, interactive: u32) {
        self.tell(session, |live| {
            live.viewers = count;
            live.interactive = interactive;
        });
    }

    fn attention(&self, session: SessionId, state: Attention, _text: Option<String>) {
        self.tell(session, |live| live.attention = state);
    }

    fn activity(&self, session: SessionId, _typed: bool) {
        self.sessions.note_activity(session);
    }

    fn recording(&self, session: SessionId, on: bool) {
        self.tell(session, |live| live.recording = on);
    }

    async fn ended(&self, session: SessionId, _status: &ExitStatus) {
        // The session's own watch over its program hears of the end too, and stores it with the reason.
        if let Err(error) = self.sessions.until_dead(session).await {
            tracing::warn!(%session, %error, "a session whose program has ended is not dead");
        }
    }

    fn delivered(&self, session: SessionId) {
        self.sessions.exit_delivered(session);
    }
}
