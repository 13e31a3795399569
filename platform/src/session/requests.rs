//! What users and the hub ask of the service. Each request changes what is stored; the session's driver does the rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::bringup::steps;
use super::live::Live;
use super::{SessionError, Sessions, SessionsQuery};
use crate::model::{
    AgentId, CreateSession, ExecRequest, ExecResult, FieldError, Page, Phase, Session, SessionId,
    SessionPatch, SessionStatus, validate,
};
use crate::sandbox::Tail;
use crate::store::{NewSession, SessionRecord, StoreError};

/// Beyond the grace of its program, how long the end of a session is waited for.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// Activity has the driver look at most this often.
const ACTIVITY_POKE: Duration = Duration::from_secs(10);

/// Why a session that a user stopped has ended.
const STOPPED: &str = "stopped";
const RESTARTING: &str = "restarted";

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
        self.accepting()?;
        validate::create_session(&request).map_err(SessionError::Invalid)?;
        let row = self.inner.store.agents().get(agent).await.map_err(SessionError::of_agent(agent))?;
        validate::session_env(&row.agent.env_vars, &request.env_vars).map_err(SessionError::Invalid)?;
        self.room_for_one().await?;
        let new = NewSession {
            id: SessionId::new(),
            agent_id: agent,
            origin: origin.to_owned(),
            unconfined: self.inner.runtime.unconfined(),
            request,
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
        self.begin_end(id, STOPPED).await?;
        Ok(self.shown(&self.ended(id).await?))
    }

    /// Begins to end a session and returns at once: the rest happens behind it, also when the server is started again
    /// in between. Its thread and recording stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, id: SessionId) -> Result<(), SessionError> {
        self.begin_end(id, STOPPED).await
    }

    /// A new sandbox for a session, with the same configuration; one that is `ready` is stopped first.
    ///
    /// # Errors
    /// `NotFound`, `AgentNotFound`, `TooMany`; `Conflict` while it is `creating`.
    pub async fn restart(&self, id: SessionId) -> Result<Session, SessionError> {
        self.accepting()?;
        let record = self.record(id).await?;
        if record.status == SessionStatus::Creating {
            return Err(SessionError::Conflict(
                "the session is still coming up: wait, or stop it".to_owned(),
            ));
        }
        let agent_id = record.agent_id;
        let agent =
            self.inner.store.agents().get(agent_id).await.map_err(SessionError::of_agent(agent_id))?.agent;
        self.begin_end(id, RESTARTING).await?;
        self.ended(id).await?;
        self.room_for_one().await?;
        if let Some(max) = agent.max_sessions {
            let live = self.inner.store.sessions().live().await?;
            let live =
                live.iter().filter(|other| other.agent_id == agent_id && other.status.is_live()).count();
            if live >= max as usize {
                return Err(SessionError::TooMany(format!(
                    "the agent has {live} live sessions and may have {max}: stop one, or raise its max_sessions"
                )));
            }
        }
        if let Some(entry) = self.inner.table.get(id) {
            entry.renew();
        }
        let unconfined = self.inner.runtime.unconfined();
        let sessions = self.inner.store.sessions();
        let again = sessions.update(id, |record| {
            if record.status.is_live() || record.ending.is_some() {
                return Err(SessionError::Conflict("the session is being restarted already".to_owned()));
            }
            let attempt =
                record.steps.get(steps::ATTEMPT).and_then(serde_json::Value::as_u64).unwrap_or(1) + 1;
            *record = SessionRecord {
                status: SessionStatus::Creating,
                phase: Phase::CreatingSandbox,
                phase_detail: None,
                phase_started_at: Some(jiff::Timestamp::now()),
                failure_reason: None,
                sandbox: None,
                sandbox_url: None,
                program: None,
                unconfined,
                supports_tui: agent.supports_tui,
                idle_timeout_ms: agent.idle_timeout_seconds.saturating_mul(1000),
                config_generation: agent.config_generation,
                timings: std::collections::BTreeMap::new(),
                steps: [(steps::ATTEMPT.to_owned(), attempt.into())].into(),
                ready_at: None,
                stopped_at: None,
                ..record.clone()
            };
            Ok(())
        });
        let record = again.await?;
        self.inner.attend(id);
        Ok(self.shown(&record))
    }

    /// Ends what the harness is doing now: SIGINT to its terminal.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not `ready`.
    pub async fn abort(&self, id: SessionId) -> Result<Session, SessionError> {
        let record = self.record(id).await?;
        let (SessionStatus::Ready, Some(sandbox), Some(program)) =
            (record.status, &record.sandbox, &record.program)
        else {
            let message = format!("the session is {}: there is nothing to abort", record.status.as_str());
            return Err(SessionError::Conflict(message));
        };
        let client = match self.inner.table.get(id).and_then(|entry| entry.client()) {
            Some(client) => client,
            None => self.inner.connect(sandbox).await?,
        };
        client.signal(program, "SIGINT").await?;
        Ok(self.shown(&record))
    }

    /// Ends all sessions of an agent and returns when their sandboxes are removed.
    ///
    /// # Errors
    /// The first one's that cannot be ended; the others are ended all the same.
    pub async fn stop_all_of(&self, agent: AgentId) -> Result<(), SessionError> {
        self.end_all(|record| record.agent_id == agent, "its agent was deleted").await
    }

    /// Ends all sessions there are: `lap down`.
    ///
    /// # Errors
    /// The first one's that cannot be ended; the others are ended all the same.
    pub async fn stop_all(&self) -> Result<(), SessionError> {
        self.end_all(|_| true, STOPPED).await
    }

    /// Runs a command in a session's sandbox, beside its harness. It is seen through even when this is dropped.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`; `Conflict` when it is not `ready`; `Sandbox` when it cannot be started.
    pub async fn exec(&self, id: SessionId, request: ExecRequest) -> Result<ExecResult, SessionError> {
        self.accepting()?;
        let inner = Arc::clone(&self.inner);
        let running = async move {
            tokio::select! {
                // The keeper goes on with it; nobody will come for its result.
                () = inner.stopping.cancelled() => Err(stopping()),
                done = inner.exec(id, request) => done,
            }
        };
        let done = self.inner.tasks.spawn(running).await;
        done.unwrap_or_else(|error| Err(SessionError::Internal(error.to_string())))
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
                let kept = record.steps.get(super::ending::EVIDENCE).and_then(serde_json::Value::as_str);
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

    async fn record(&self, id: SessionId) -> Result<SessionRecord, SessionError> {
        self.inner.store.sessions().get(id).await.map_err(SessionError::of_session(id))
    }

    /// A session as the API has it, with what only this process knows.
    fn shown(&self, record: &SessionRecord) -> Session {
        let live = self.inner.table.get(record.id).map(|entry| entry.live()).unwrap_or_default();
        let mut session = record.to_session();
        if record.status == SessionStatus::Ready {
            session.attention = live.attention;
            session.viewers = live.viewers;
            session.recording = live.recording;
            if record.supports_tui {
                session.tty_url = Some(format!("/api/v1/managed_agents/sessions/{}/tty", record.id));
            }
        }
        session
    }

    async fn room_for_one(&self) -> Result<(), SessionError> {
        let max = self.inner.settings.max_live;
        let live = self.inner.store.sessions().live().await?.len();
        if live >= max {
            return Err(SessionError::TooMany(format!(
                "this server has {live} live sessions and may have {max}: stop one, or raise limits.live_sessions"
            )));
        }
        Ok(())
    }

    fn accepting(&self) -> Result<(), SessionError> {
        if self.inner.stopping.is_cancelled() { Err(stopping()) } else { Ok(()) }
    }

    async fn begin_end(&self, id: SessionId, reason: &str) -> Result<(), SessionError> {
        let record = self.inner.mark_ending(id, reason).await?;
        if record.ending.is_some() {
            self.inner.attend(id);
        }
        Ok(())
    }

    /// Waits until a session that is being ended has been: by this server or by another.
    async fn ended(&self, id: SessionId) -> Result<SessionRecord, SessionError> {
        let mut changes = self.inner.store.changes().watch();
        let ending = async {
            loop {
                changes.mark_unchanged();
                let record = self.record(id).await?;
                if !record.status.is_live() && record.ending.is_none() {
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
            ended = ending => ended,
            () = self.inner.stopping.cancelled() => Err(stopping()),
            () = tokio::time::sleep(patience) => Err(late()),
        }
    }

    async fn end_all(
        &self,
        which: impl Fn(&SessionRecord) -> bool,
        reason: &str,
    ) -> Result<(), SessionError> {
        let all: Vec<SessionId> =
            self.inner.store.sessions().live().await?.iter().filter(|r| which(r)).map(|r| r.id).collect();
        for id in &all {
            self.begin_end(*id, reason).await?;
        }
        let mut first = Ok(());
        for id in all {
            if let Err(error) = self.ended(id).await {
                first = first.and(Err(error));
            }
        }
        first
    }
}

fn stopping() -> SessionError {
    SessionError::Unavailable("the server is stopping: try again in a moment".to_owned())
}
