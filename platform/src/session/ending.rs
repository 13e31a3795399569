//! The end of a session: its terminal's program is asked to go, its sandbox removed, the reason kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::bringup::steps;
use super::driver::Next;
use super::live::Entry;
use super::{Inner, SessionError};
use crate::model::{Agent, Phase, SessionId, SessionStatus};
use crate::sandbox::{SandboxName, Tail};
use crate::store::{Intent, SessionRecord, StoreError};

/// How long viewers have to be sent the end of a terminal's output before its sandbox is removed all the same. The hub
/// says when they have it, and gives up one that takes nothing much earlier: this is for those who are slow.
const DELIVERY: Duration = Duration::from_secs(60);
/// Lines of a sandbox's own log kept with the session that had it.
const EVIDENCE_LINES: u32 = 50;
/// The step under which they are kept.
pub(super) const EVIDENCE: &str = "evidence";

impl Inner {
    /// Marks a session as to be ended. From here on it is, whatever happens to this server. One that has ended already
    /// is left alone; one that was to be brought up again is not.
    pub(super) async fn mark_ending(
        &self,
        id: SessionId,
        reason: &str,
    ) -> Result<SessionRecord, SessionError> {
        self.update(id, |record| {
            if record.status.is_live() && record.ending.is_none() {
                record.ending = Some(reason.to_owned());
            }
            if record.ending.is_some() {
                record.intent = Some(Intent::Stop);
            }
        })
        .await
    }

    /// The same for one that is to be out of the way at once: it is dead for whoever asks, and what is left to do of
    /// its end goes on behind it.
    pub(super) async fn mark_deleted(
        &self,
        id: SessionId,
        reason: &str,
    ) -> Result<SessionRecord, SessionError> {
        let now = self.store.now();
        self.update(id, |record| {
            if record.status.is_live() {
                let reason = record.ending.get_or_insert_with(|| reason.to_owned()).clone();
                ended(record, SessionStatus::Dead, &reason, now);
            }
            if record.ending.is_some() {
                record.intent = Some(Intent::Stop);
            }
        })
        .await
    }

    /// A session has ended by itself: it is so from now on, and its sandbox, if it has one, is to be removed.
    pub(super) async fn conclude(
        &self,
        id: SessionId,
        status: SessionStatus,
        reason: &str,
    ) -> Result<(), SessionError> {
        let now = self.store.now();
        self.update(id, |record| {
            // Somebody else may have been first.
            if record.status.is_live() && record.ending.is_none() {
                ended(record, status, reason, now);
                record.ending = record.sandbox.as_ref().map(|_| reason.to_owned());
            }
        })
        .await?;
        tracing::info!(session = %id, status = status.as_str(), reason, "a session has ended");
        Ok(())
    }

    /// Does what is left to do of an end. Everything in it can be done again.
    pub(super) async fn end(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        record: SessionRecord,
    ) -> Result<Next, SessionError> {
        let id = entry.id;
        let now = self.store.now();
        if let Some(sandbox) = &record.sandbox {
            if record.status.is_live() || record.intent.is_some() {
                self.ask_to_go(entry, &record, sandbox).await?;
            }
            // Before anybody is told of the program's end the session is dead; the hub waits for that.
            self.held(id, |record| die(record, now)).await?;
            // The hub reads the end of the output from the sandbox.
            if tokio::time::timeout(DELIVERY, entry.delivered()).await.is_err() {
                tracing::warn!(session = %id, "viewers have not taken the end of the output in time");
            }
            let log = self
                .runtime
                .logs(sandbox, Tail { lines: EVIDENCE_LINES, within: None })
                .await
                .unwrap_or_default();
            self.runtime.delete(sandbox).await?;
            if !log.trim().is_empty() {
                self.held(id, |record| {
                    record.steps.insert(EVIDENCE.to_owned(), log.into());
                })
                .await?;
            }
        }
        let again = self.agent_to_restart(&record).await?;
        let unconfined = self.runtime.unconfined();
        let after = self
            .held(id, |record| {
                die(record, now);
                record.ending = None;
                record.lease = None;
                // Somebody may have stopped it meanwhile.
                let restart = record.intent.take() == Some(Intent::Restart);
                if let (Some(agent), true) = (&again, restart) {
                    begin_again(record, agent, unconfined, now);
                }
            })
            .await?;
        if after.status.is_live() {
            entry.renew();
        }
        Ok(Next::Again)
    }

    /// The agent of a session that is to be brought up again; `None` where it is not, or where there is no such agent any
    /// more.
    async fn agent_to_restart(&self, record: &SessionRecord) -> Result<Option<Agent>, SessionError> {
        // Read anew: what was asked for meanwhile counts.
        let intent = self.store.sessions().get(record.id).await?.intent;
        if intent != Some(Intent::Restart) {
            return Ok(None);
        }
        match self.store.agents().get(record.agent_id).await {
            Ok(row) => Ok(Some(row.agent)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// SIGTERM to the harness, and the grace. One whose keeper cannot be reached has nobody to ask.
    async fn ask_to_go(
        &self,
        entry: &Entry,
        record: &SessionRecord,
        sandbox: &SandboxName,
    ) -> Result<(), SessionError> {
        let Some(program) = &record.program else { return Ok(()) };
        self.held(entry.id, |record| record.phase_detail = Some("stopping".to_owned())).await?;
        if let Err(error) = self.links.keeper(sandbox).stop(program, self.settings.defaults.stop_grace).await
        {
            tracing::warn!(session = %entry.id, %error, "its terminal's program did not stop as asked");
        }
        Ok(())
    }

    /// Changes a session under this server's lease.
    pub(super) async fn held(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, SessionError> {
        let sessions = self.store.sessions();
        let changed = sessions.update_held(id, &self.owner, |record| {
            change(record);
            Ok(())
        });
        changed.await.map_err(SessionError::of_session(id))
    }

    /// The same for one that is coming up, as long as nobody has ended it: what is written of its coming up must not make
    /// it live again.
    pub(super) async fn held_coming_up(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, SessionError> {
        let sessions = self.store.sessions();
        let changed = sessions.update_held(id, &self.owner, |record| {
            if record.status != SessionStatus::Creating || record.ending.is_some() {
                return Err(StoreError::Conflict("the session is being ended".to_owned()));
            }
            change(record);
            Ok(())
        });
        changed.await.map_err(SessionError::of_session(id))
    }

    /// Changes a session, whoever works on it.
    pub(super) async fn update(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, SessionError> {
        let sessions = self.store.sessions();
        let changed = sessions.update(id, |record| {
            change(record);
            Ok(())
        });
        changed.await.map_err(SessionError::of_session(id))
    }
}

/// A session that is being ended has.
fn die(record: &mut SessionRecord, now: Timestamp) {
    if record.status.is_live() {
        let reason = record.ending.clone().unwrap_or_default();
        ended(record, SessionStatus::Dead, &reason, now);
    }
}

/// A session that has ended is to be brought up again, with its agent as it is now.
pub(super) fn begin_again(record: &mut SessionRecord, agent: &Agent, unconfined: bool, now: Timestamp) {
    let attempt = record.steps.get(steps::ATTEMPT).and_then(serde_json::Value::as_u64).unwrap_or(1) + 1;
    *record = SessionRecord {
        status: SessionStatus::Creating,
        phase: Phase::CreatingSandbox,
        phase_detail: None,
        phase_started_at: Some(now),
        failure_reason: None,
        intent: None,
        sandbox: None,
        sandbox_url: None,
        program: None,
        unconfined,
        supports_tui: agent.supports_tui,
        idle_timeout_ms: agent.idle_timeout_seconds.saturating_mul(1000),
        config_generation: agent.config_generation,
        timings: BTreeMap::new(),
        steps: [(steps::ATTEMPT.to_owned(), attempt.into())].into(),
        ready_at: None,
        stopped_at: None,
        ..record.clone()
    };
}

fn ended(record: &mut SessionRecord, status: SessionStatus, reason: &str, now: Timestamp) {
    record.status = status;
    record.failure_reason = Some(reason.to_owned());
    record.phase_detail = None;
    record.stopped_at = Some(now);
    // A phase that was under way is over, as far as it came.
    if let Some(began) = record.phase_started_at.take()
        && record.phase != Phase::Ready
    {
        let spent = now.duration_since(began).as_millis();
        record.timings.entry(record.phase).or_insert(u64::try_from(spent).unwrap_or(0));
    }
}
