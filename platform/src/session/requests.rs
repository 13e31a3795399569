//! What users and the hub ask of the service. Each request changes what is stored; the session's driver does the rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::bringup::steps;
use super::caught::caught;
use super::ending::begin_again;
use super::live::Live;
use super::{SessionError, Sessions, SessionsQuery};
use crate::model::{
    AgentId, CreateSession, Death, DeathCode, ExecRequest, ExecResult, FieldError, Page, Session, SessionId,
    SessionPatch, SessionStatus, validate,
};
use crate::sandbox::Tail;
use crate::store::{Intent, NewSession, OwnerId, SessionRecord, StoreError};

/// Beyond the grace of its program, how long the end of a session is waited for.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// Activity has the driver look at most this often.
const ACTIVITY_POKE: Duration = Duration::from_secs(10);

/// The end of a session that somebody stopped.
pub(super) fn stopped() -> Death {
    Death::new(DeathCode::Stopped, "stopped")
}

impl Sessions {
    /// A new session of an agent. Answers at once, `creating`; the rest happens behind it. `origin` is who asks: `api`,
    /// `ui`, `automation`, `linear`.
    ///
    /// # Errors
    /// `AgentNotFound`, `Invalid`, `TooMany`.
    pub async fn create(
        &self,
        agent: AgentId,
        request: CreateSession,
        origin: &str,
    ) -> Result<Session, SessionError> {
        self.create_as(SessionId::new(), agent, request, origin).await
    }

    /// The same under an id of the caller's. Where there is a session of this id already, it is given as it is: a request
    /// that was cut off after it was made is asked again.
    ///
    /// # Errors
    /// As [`Sessions::create`].
    pub async fn create_as(
        &self,
        id: SessionId,
        agent: AgentId,
        request: CreateSession,
        origin: &str,
    ) -> Result<Session, SessionError> {
        self.accepting()?;
        match self.record(id).await {
            Err(SessionError::NotFound(_)) => {}
            made => return Ok(self.shown(&made?)),
        }
        validate::create_session(&request).map_err(SessionError::Invalid)?;
        let row = self.inner.store.agents().get(agent).await.map_err(SessionError::of_agent(agent))?;
        validate::session_env(&row.agent.env_vars, &request.env_vars).map_err(SessionError::Invalid)?;
        let new = NewSession {
            id,
            agent_id: agent,
            origin: origin.to_owned(),
            unconfined: self.inner.runtime.unconfined(),
            request,
            max_live: self.inner.settings.max_live,
            adopted: None,
        };
        let record = self.inner.store.sessions().create(new).await.map_err(|error| match error {
            StoreError::Conflict(message) => SessionError::TooMany(message),
            other => SessionError::of_agent(agent)(other),
        })?;
        self.inner.attend(record.id);
        Ok(self.shown(&record))
    }

    /// One session as it is now. Its `tty_token` is the caller's to mint.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: SessionId) -> Result<Session, SessionError> {
        Ok(self.shown(&self.record(id).await?))
    }

    /// One session, also where it was erased a short time ago: for whoever tells that it is gone.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn last_state(&self, id: SessionId) -> Result<Session, SessionError> {
        let record =
            self.inner.store.sessions().last_state(id).await.map_err(SessionError::of_session(id))?;
        Ok(self.shown(&record))
    }

    /// A page of sessions.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn list(&self, query: &SessionsQuery) -> Result<Page<Session>, SessionError> {
        let page = self.inner.store.sessions().list(query).await.map_err(|error| match error {
            StoreError::Invalid(message) => {
                let path = vec!["cursor".to_owned()];
                SessionError::Invalid(vec![FieldError { code: "invalid".to_owned(), path, message }])
            }
            other => SessionError::from(other),
        })?;
        Ok(Page {
            data: page.data.iter().map(|record| self.shown(record)).collect(),
            total: page.total,
            limit: page.limit,
            offset: page.offset,
            next_cursor: page.next_cursor,
        })
    }

    /// Changes what a session is called.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub async fn patch(&self, id: SessionId, patch: SessionPatch) -> Result<Session, SessionError> {
        validate::session_patch(&patch).map_err(SessionError::Invalid)?;
        let changed = self.inner.update(id, |record| {
            if let Some(title) = patch.title {
                record.title = title;
            }
        });
        Ok(self.shown(&changed.await?))
    }

    /// Ends a session: SIGTERM to its harness, the grace, and its sandbox is removed. Returns when that is done; one
    /// that has ended already is given back as it is.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the end takes longer than it may, and then it goes on behind it.
    pub async fn stop(&self, id: SessionId) -> Result<Session, SessionError> {
        self.begin_end(id, stopped()).await?;
        Ok(self.shown(&self.ended(id).await?))
    }

    /// Ends a session for whoever asks, at once: it is `dead`, runs no commands and counts for no limit. Its program is
    /// stopped and its sandbox removed behind it, also when the server is started again in between. Its thread and
    /// recording stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, id: SessionId) -> Result<(), SessionError> {
        let record = self.inner.mark_deleted(id, stopped(), Intent::Stop).await?;
        if record.ending {
            self.inner.attend(id);
        }
        Ok(())
    }

    /// A new sandbox for a session, with the same configuration; one that is `ready` is stopped first. `key`: as for
    /// [`Sessions::exec`]; asked again with it, it is not restarted twice.
    ///
    /// # Errors
    /// `NotFound`, `AgentNotFound`, `TooMany`; `Conflict` while it is `creating`.
    pub async fn restart(&self, id: SessionId, key: Option<Uuid>) -> Result<Session, SessionError> {
        self.accepting()?;
        let record = self.record(id).await?;
        let key = key.map(|key| Value::String(key.to_string()));
        if key.is_some() && record.steps.get(steps::RESTART) == key.as_ref() {
            return Ok(self.shown(&self.restarted(id).await?));
        }
        if record.status == SessionStatus::Creating {
            return Err(SessionError::Conflict(
                "the session is still coming up: wait, or stop it".to_owned(),
            ));
        }
        let agent_id = record.agent_id;
        let agent = self.inner.store.agents().get(agent_id).await;
        let agent = agent.map_err(SessionError::of_agent(agent_id))?.agent;
        let unconfined = self.inner.runtime.unconfined();
        let now = self.inner.store.now();
        let sessions = self.inner.store.sessions();
        let again = sessions.revive(id, self.inner.settings.max_live, |record| {
            if record.intent == Some(Intent::Erase) {
                return Err(StoreError::NotFound(format!("session {id}")));
            }
            if record.status == SessionStatus::Creating {
                // Somebody else was first.
                return Ok::<(), StoreError>(());
            }
            if record.status.is_live() || record.ending {
                // What follows its end is stored with it: this request may not live to see it.
                record.ending = true;
                record.death.get_or_insert_with(|| Death::new(DeathCode::Restarted, "restarted"));
                record.intent = Some(Intent::Restart);
            } else {
                begin_again(record, &agent, unconfined, now);
            }
            if let Some(key) = key {
                record.steps.insert(steps::RESTART.to_owned(), key);
            }
            Ok(())
        });
        let record = again.await.map_err(|error| match error {
            StoreError::Conflict(message) => SessionError::TooMany(message),
            other => SessionError::of_agent(agent_id)(other),
        })?;
        if !record.ending
            && let Some(entry) = self.inner.table.get(id)
        {
            entry.renew();
        }
        self.inner.attend(id);
        Ok(self.shown(&self.restarted(id).await?))
    }

    /// Ends what the harness is doing now: SIGINT to its terminal.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not `ready`.
    pub async fn abort(&self, id: SessionId) -> Result<Session, SessionError> {
        let record = self.record(id).await?;
        if self.abort_turns(id).await? {
            return Ok(self.shown(&record));
        }
        let (SessionStatus::Ready, Some(sandbox), Some(program)) =
            (record.status, &record.sandbox, &record.program)
        else {
            let message = format!("the session is {}: there is nothing to abort", record.status.as_str());
            return Err(SessionError::Conflict(message));
        };
        self.keeper(sandbox).signal(program, "SIGINT").await?;
        Ok(self.shown(&record))
    }

    /// Ends all sessions of an agent and returns when their sandboxes are removed.
    ///
    /// # Errors
    /// Where some cannot be ended: how many, and why the first. The others are ended all the same.
    pub async fn stop_all_of(&self, agent: AgentId) -> Result<(), SessionError> {
        self.end_all(
            |record| record.agent_id == agent,
            Death::new(DeathCode::AgentDeleted, "its agent was deleted"),
        )
        .await
    }

    /// Ends all sessions there are: `lap down`.
    ///
    /// # Errors
    /// Where some cannot be ended: how many, and why the first. The others are ended all the same.
    pub async fn stop_all(&self) -> Result<(), SessionError> {
        self.end_all(|_| true, stopped()).await
    }

    /// Runs a command in a session's sandbox, beside its harness. It is seen through even when this is dropped. `key`:
    /// the id of what a request under an idempotency key makes. Asked again with it, also of the next server, the same
    /// command is waited for and its result given; it is not run twice.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`; `Conflict` when it is not `ready`; `Sandbox` when it cannot be started.
    pub async fn exec(
        &self,
        id: SessionId,
        request: ExecRequest,
        key: Option<Uuid>,
    ) -> Result<ExecResult, SessionError> {
        self.accepting()?;
        let inner = Arc::clone(&self.inner);
        let running = async move {
            tokio::select! {
                // One under a key goes on, and the next server takes it up; another is ended with its connection.
                () = inner.stopping.cancelled() => Err(stopping()),
                done = inner.exec(id, request, key) => done,
            }
        };
        let what = format!("a command in session {id}");
        let done = self.inner.tasks.spawn(async move { caught(what, running).await }).await;
        done.ok().flatten().unwrap_or_else(|| Err(SessionError::Internal("a command panicked".to_owned())))
    }

    /// What a session's sandbox itself printed. Of one that has ended, what was kept of it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn sandbox_logs(&self, id: SessionId, tail: Tail) -> Result<String, SessionError> {
        use crate::sandbox::SandboxError;
        let record = self.record(id).await?;
        let Some(sandbox) = &record.sandbox else { return Ok(String::new()) };
        match self.inner.runtime.logs(sandbox, tail).await {
            Err(SandboxError::NotFound(_)) => {
                let age =
                    record.stopped_at.and_then(|at| Timestamp::now().duration_since(at).try_into().ok());
                if tail.within.zip(age).is_some_and(|(within, age): (_, Duration)| age > within) {
                    return Ok(String::new());
                }
                let kept = record.steps.get(super::ending::EVIDENCE).and_then(Value::as_str);
                Ok(kept.unwrap_or_default().to_owned())
            }
            logs => Ok(logs?),
        }
    }

    /// The hub's news of a session's terminal; the default when it has let go of it.
    pub fn set_live(&self, id: SessionId, live: Live) {
        let Some(entry) = self.inner.table.get(id) else { return };
        let before = entry.set_live(live);
        if before != live {
            self.inner.unsaid.add(id);
        }
        // With somebody at the keyboard there is no deadline, without there is one from now on.
        if (before.interactive > 0) != (live.interactive > 0) {
            entry.note_activity(self.inner.clock.now());
            entry.poke();
        }
    }

    /// Somebody typed into a session, or it was otherwise used. Cheap: may be called for every keystroke.
    pub fn note_activity(&self, id: SessionId) {
        let Some(entry) = self.inner.table.get(id) else { return };
        let now = self.inner.clock.now();
        entry.note_activity(now);
        if entry.is_time_to_look(now, ACTIVITY_POKE) {
            entry.poke();
        }
    }

    /// Every viewer of a session whose program has ended has been sent all of it: its sandbox can go.
    pub fn exit_delivered(&self, id: SessionId) {
        if let Some(entry) = self.inner.table.get(id) {
            entry.set_delivered();
        }
    }

    /// This service among those that work on the same store.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.inner.owner.id
    }

    async fn record(&self, id: SessionId) -> Result<SessionRecord, SessionError> {
        self.inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))
    }

    /// A session as the API has it, with what only this process knows.
    fn shown(&self, record: &SessionRecord) -> Session {
        let entry = self.inner.table.get(record.id);
        let live = entry.as_ref().map(|entry| entry.live()).unwrap_or_default();
        let mut session = record.to_session();
        if record.status == SessionStatus::Ready {
            session.attention = entry.and_then(|entry| entry.talk()).unwrap_or(live.attention);
            session.viewers = live.viewers;
            session.recording = live.recording;
            if record.supports_tui {
                session.tty_url = Some(format!("/api/v1/managed_agents/sessions/{}/tty", record.id));
            }
        }
        session
    }

    fn accepting(&self) -> Result<(), SessionError> {
        if self.inner.stopping.is_cancelled() { Err(stopping()) } else { Ok(()) }
    }

    async fn begin_end(&self, id: SessionId, death: Death) -> Result<(), SessionError> {
        let record = self.inner.mark_ending(id, death).await?;
        if record.ending {
            self.inner.attend(id);
        }
        Ok(())
    }

    /// Waits until a session that is being ended has been: by this server or by another.
    async fn ended(&self, id: SessionId) -> Result<SessionRecord, SessionError> {
        self.until(id, |record| !record.status.is_live() && !record.ending).await
    }

    /// Waits until a session that is to be restarted is being brought up again, or will not be.
    async fn restarted(&self, id: SessionId) -> Result<SessionRecord, SessionError> {
        self.until(id, |record| !record.ending && record.intent.is_none()).await
    }

    /// A session whose terminal's program has ended: returns once it is dead for whoever asks.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when it cannot be stored in time.
    pub async fn until_dead(&self, id: SessionId) -> Result<(), SessionError> {
        self.until(id, |record| !record.status.is_live()).await.map(drop)
    }

    /// Waits until a session is as wanted: it may be another server that makes it so.
    pub(super) async fn until(
        &self,
        id: SessionId,
        wanted: impl Fn(&SessionRecord) -> bool,
    ) -> Result<SessionRecord, SessionError> {
        let mut changes = self.inner.store.changes().watch();
        let looking = async {
            loop {
                changes.mark_unchanged();
                let record = self.record(id).await?;
                if wanted(&record) {
                    return Ok(record);
                }
                if changes.changed().await.is_err() {
                    return Err(stopping());
                }
            }
        };
        let patience = self.inner.settings.defaults.stop_grace + END_PATIENCE;
        let late =
            || SessionError::Unavailable("the session is still being ended: look again later".to_owned());
        tokio::select! {
            found = looking => found,
            () = self.inner.stopping.cancelled() => Err(stopping()),
            () = tokio::time::sleep(patience) => Err(late()),
        }
    }

    async fn end_all(
        &self,
        which: impl Fn(&SessionRecord) -> bool,
        death: Death,
    ) -> Result<(), SessionError> {
        let live = self.inner.store.sessions().live().await?;
        let all: Vec<SessionId> =
            live.iter().filter(|record| which(record)).map(|record| record.id).collect();
        // All are begun before the first is waited for, and one that cannot be begun keeps no other from its end.
        let mut failed = Vec::new();
        let mut begun = Vec::new();
        for id in &all {
            match self.begin_end(*id, death.clone()).await {
                Ok(()) => begun.push(*id),
                Err(error) => failed.push(error),
            }
        }
        for id in begun {
            failed.extend(self.ended(id).await.err());
        }
        let count = failed.len();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(error) if all.len() == 1 => Err(error),
            Some(error) => Err(SessionError::Unavailable(format!(
                "{count} of {} sessions could not be ended; the first because {error}",
                all.len()
            ))),
        }
    }
}

fn stopping() -> SessionError {
    SessionError::Unavailable("the server is stopping: try again in a moment".to_owned())
}
