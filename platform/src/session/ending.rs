//! The end of a session: its terminal's program is asked to go, its sandbox removed, the reason kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::bringup::steps;
use super::driver::Next;
use super::idle::save_last_activity;
use super::live::Entry;
use super::{Inner, SessionError};
use crate::model::{Agent, Death, DeathCode, Phase, SessionId, SessionStatus};
use crate::sandbox::{SandboxName, Tail};
use crate::store::{Intent, SessionRecord, StoreError};

/// How long viewers have to be sent the end of a terminal's output before its sandbox is removed all the same. The hub
/// says when they have it, and gives up one that takes nothing much earlier: this is for those who are slow.
const DELIVERY: Duration = Duration::from_secs(60);
/// Lines of a sandbox's own log kept with the session that had it.
const EVIDENCE_LINES: u32 = 50;
/// The step under which they are kept.
pub(super) const EVIDENCE: &str = "evidence";

/// What follows a session's end.
#[derive(PartialEq, Debug)]
enum After {
    Nothing,
    /// It is brought up again, with this agent. `None`: there is no such agent any more.
    Restart(Option<Box<Agent>>),
}

impl Inner {
    /// Marks a session as to be ended. From here on it is, whatever happens to this server. One that has ended already
    /// is left alone; one that was to be brought up again is not.
    pub(super) async fn mark_ending(
        &self,
        id: SessionId,
        death: Death,
    ) -> Result<SessionRecord, SessionError> {
        let mark = |record: &mut SessionRecord| {
            if record.status.is_live() && !record.ending {
                (record.ending, record.death) = (true, Some(death.clone()));
            }
            if record.ending && record.intent != Some(Intent::Erase) {
                record.intent = Some(Intent::Stop);
            }
        };
        self.update_with_reserve(id, mark).await
    }

    /// The same for one that is to be out of the way at once: it is dead for whoever asks, and what is left to do of
    /// its end goes on behind it. `intent`: to stop it, or to erase it.
    pub(super) async fn mark_deleted(
        &self,
        id: SessionId,
        death: Death,
        intent: Intent,
    ) -> Result<SessionRecord, SessionError> {
        let now = self.store.now();
        let mark = |record: &mut SessionRecord| {
            if record.status.is_live() {
                record.ending = true;
                let death = record.death.take().unwrap_or_else(|| death.clone());
                ended(record, SessionStatus::Dead, death, now);
            }
            if (record.ending || intent == Intent::Erase) && record.intent != Some(Intent::Erase) {
                record.intent = Some(intent);
            }
        };
        self.update_with_reserve(id, mark).await
    }

    /// Writes what belongs to an end, in the space kept for that where the disk is full.
    async fn update_with_reserve(
        &self,
        id: SessionId,
        change: impl Fn(&mut SessionRecord) + Send + Sync,
    ) -> Result<SessionRecord, SessionError> {
        match self.update(id, &change).await {
            Err(SessionError::Full(_)) if self.store.release_reserve() => {
                tracing::warn!("the disk is full: the space kept for ending sessions is given up");
                self.update(id, &change).await
            }
            done => done,
        }
    }

    /// A session has ended by itself: it is so from now on, and its sandbox, if it has one, is to be removed.
    pub(super) async fn conclude(
        &self,
        id: SessionId,
        status: SessionStatus,
        death: Death,
    ) -> Result<(), SessionError> {
        let now = self.store.now();
        let (code, reason) = (death.code.as_str(), death.reason.clone());
        self.update_with_reserve(id, |record| {
            // Somebody else may have been first.
            if record.status.is_live() && !record.ending {
                ended(record, status, death.clone(), now);
                record.ending = record.sandbox.is_some();
            }
        })
        .await?;
        tracing::info!(session = %id, status = status.as_str(), death = code, reason, "a session has ended");
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
        self.store.turns().end_all(id, "the session has ended").await?;
        entry.news().notify_waiters();
        entry.ask();
        if record.ready_at.is_some() {
            save_last_activity(self, entry).await;
        }
        if let Some(sandbox) = &record.sandbox {
            if record.status.is_live() || record.intent.is_some() {
                self.ask_to_go(entry, &record, sandbox).await?;
            }
            // Before anybody is told of the program's end the session is dead; the hub waits for that.
            self.held(id, |record| die(record, now)).await?;
            // The hub reads the end of the output from the sandbox.
            let delivered = tokio::time::timeout(DELIVERY, entry.delivered());
            let (delivered, unsaved) = tokio::join!(delivered, self.unsaved(&record));
            if delivered.is_err() {
                tracing::warn!(session = %id, "viewers have not taken the end of the output in time");
            }
            let log = self
                .runtime
                .logs(sandbox, Tail { lines: EVIDENCE_LINES, within: None })
                .await
                .unwrap_or_default();
            self.runtime.delete(sandbox).await?;
            self.held(id, |record| {
                record.unsaved = unsaved.ok().or(record.unsaved);
                if !log.trim().is_empty() {
                    record.steps.insert(EVIDENCE.to_owned(), log.into());
                }
            })
            .await?;
        }
        let after = loop {
            let again = self.after_the_end(&record).await?;
            let unconfined = self.runtime.unconfined();
            let written = self
                .held(id, |record| {
                    let restart = record.intent == Some(Intent::Restart);
                    if restart && again == After::Nothing {
                        // Asked for since it was read: read once more.
                        return;
                    }
                    die(record, now);
                    record.ending = false;
                    record.owner = None;
                    // Somebody may have stopped it meanwhile, or wants nothing left of it.
                    record.intent = record.intent.filter(|intent| *intent == Intent::Erase);
                    if let (After::Restart(Some(agent)), true) = (&again, restart) {
                        begin_again(record, agent, unconfined, now);
                    }
                })
                .await?;
            if !written.ending {
                break written;
            }
        };
        if after.status.is_live() {
            entry.renew();
        }
        Ok(Next::Again)
    }

    /// What is to follow a session's end, as it is stored now: what was asked for meanwhile counts.
    async fn after_the_end(&self, record: &SessionRecord) -> Result<After, SessionError> {
        if self.store.sessions().get(record.id).await?.intent != Some(Intent::Restart) {
            return Ok(After::Nothing);
        }
        match self.store.agents().get(record.agent_id).await {
            Ok(row) => Ok(After::Restart(Some(Box::new(row.agent)))),
            Err(StoreError::NotFound(_)) => Ok(After::Restart(None)),
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
        self.held(entry.id, |record| {
            // One that was deleted is dead for everybody, and is not told to be on its way there.
            if record.status.is_live() {
                record.phase_detail = Some("stopping".to_owned());
            }
        })
        .await?;
        if let Err(error) = self.links.keeper(sandbox).stop(program, self.settings.defaults.stop_grace).await
        {
            tracing::warn!(session = %entry.id, %error, "its terminal's program did not stop as asked");
        }
        Ok(())
    }

    /// Changes a session that this server works on.
    pub(super) async fn held(
        &self,
        id: SessionId,
        change: impl FnOnce(&mut SessionRecord),
    ) -> Result<SessionRecord, SessionError> {
        let sessions = self.store.sessions();
        let changed = sessions.update_owned(id, self.owner.id, |record| {
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
        let changed = sessions.update_owned(id, self.owner.id, |record| {
            if record.status != SessionStatus::Creating || record.ending {
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
        let death = record.death.take().unwrap_or_else(|| Death::new(DeathCode::Unknown, ""));
        ended(record, SessionStatus::Dead, death, now);
    }
}

/// A session that has ended is to be brought up again, with its agent as it is now.
pub(super) fn begin_again(record: &mut SessionRecord, agent: &Agent, unconfined: bool, now: Timestamp) {
    let attempt = record.steps.get(steps::ATTEMPT).and_then(serde_json::Value::as_u64).unwrap_or(1) + 1;
    let mut kept = BTreeMap::from([(steps::ATTEMPT.to_owned(), attempt.into())]);
    for step in [steps::PROMPTED, steps::RESTART, steps::TOLD] {
        kept.extend(record.steps.remove_entry(step));
    }
    *record = SessionRecord {
        status: SessionStatus::Creating,
        phase: Phase::CreatingSandbox,
        phase_detail: None,
        phase_started_at: Some(now),
        death: None,
        intent: None,
        sandbox: None,
        sandbox_url: None,
        program: None,
        unconfined,
        supports_tui: agent.supports_tui,
        idle_timeout_ms: agent.idle_timeout_seconds.saturating_mul(1000),
        config_generation: agent.config_generation,
        timings: BTreeMap::new(),
        steps: kept,
        ready_at: None,
        stopped_at: None,
        ..record.clone()
    };
}

fn ended(record: &mut SessionRecord, status: SessionStatus, death: Death, now: Timestamp) {
    record.status = status;
    record.death = Some(death);
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
