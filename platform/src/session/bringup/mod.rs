//! Bringing a session up, step by step. Each step can be done again; what it came to is stored before the next begins,
//! so that another server goes on where this one was killed.

mod clone;
mod files;
mod install;
mod sandbox;
mod skills;
mod terminal;
mod told;

pub(super) use self::clone::FOLDER as REPOSITORY;
pub(super) use self::install::venv;
pub(super) use self::sandbox::sandbox_name;
pub(super) use self::told::telling;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lap_wire::control::Stream;
use serde_json::Value;

use super::driver::Next;
use super::live::Entry;
use super::output::Tail;
use super::supervise::describe;
use super::{Inner, SessionError};
use crate::harness::{Harness, Host};
use crate::link::{Keeper, LinkError, Run, RunOutput};
use crate::model::{Agent, CreateSession, Death, DeathCode, EnvVars, Phase, SessionId, SessionStatus};
use crate::sandbox::{SandboxError, SandboxName, SandboxState};
use crate::store::SessionRecord;

/// A step's output is shown as the phase's detail no more often than this.
const DETAIL_EVERY: Duration = Duration::from_millis(250);

/// Steps whose results are stored, by their names there.
pub(super) mod steps {
    /// Which sandbox of this session this is: 1, and one more with every restart.
    pub(in crate::session) const ATTEMPT: &str = "attempt";
    /// The sandbox runs.
    pub(in crate::session) const SANDBOX: &str = "sandbox";
    /// The files are in it.
    pub(in crate::session) const FILES: &str = "files";
    /// The repository is cloned.
    pub(in crate::session) const CLONE: &str = "clone";
    /// The requirements are installed.
    pub(in crate::session) const INSTALL: &str = "install";
    /// What its program was told.
    pub(in crate::session) const TOLD: &str = "told";
    /// The request under a key that it was last restarted by.
    pub(in crate::session) const RESTART: &str = "restart";
    /// Its program was given what it was first asked, which no restart does again.
    pub(in crate::session) const PROMPTED: &str = "prompted";
}

/// The parts of coming up, as they are named where one fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// All of it.
    BringUp,
    /// The sandbox and its keeper.
    Sandbox,
    /// The files it was asked for with.
    Files,
    /// The repository.
    Clone,
    /// The requirements.
    Install,
    /// The harness's program.
    Harness,
}

impl Step {
    /// The step cannot be done.
    fn failed(self, cause: impl std::fmt::Display) -> Fault {
        let code = match self {
            Step::BringUp => DeathCode::TimedOut,
            Step::Sandbox => DeathCode::SandboxFailed,
            Step::Files => DeathCode::FilesFailed,
            Step::Clone => DeathCode::CloneFailed,
            Step::Install => DeathCode::InstallFailed,
            Step::Harness => DeathCode::StartFailed,
        };
        self.failed_as(code, cause)
    }

    /// The step cannot be done, for a reason that has a code of its own. The sentence names the step, then the cause.
    fn failed_as(self, code: DeathCode, cause: impl std::fmt::Display) -> Fault {
        let name = match self {
            Step::BringUp => "bring-up",
            Step::Sandbox => "sandbox",
            Step::Files => "files",
            Step::Clone => "clone",
            Step::Install => "install",
            Step::Harness => "harness",
        };
        Fault::Failed(Death::new(code, format!("{name}: {cause}")))
    }
}

/// Why a session does not come up.
#[derive(Debug)]
pub(super) enum Fault {
    /// It never will.
    Failed(Death),
    /// Not now: tried again from where it is.
    Again(SessionError),
}

impl From<SessionError> for Fault {
    fn from(error: SessionError) -> Fault {
        Fault::Again(error)
    }
}

/// One bring-up at work.
pub(super) struct BringUp<'a> {
    inner: &'a Arc<Inner>,
    entry: &'a Entry,
    record: SessionRecord,
    agent: Agent,
    harness: Harness,
    request: CreateSession,
    /// When the phase began that is under way, if this server began it.
    began: Option<Duration>,
}

impl Inner {
    /// Brings a session up. Ends with it `ready`, or `failed`, or an error after which it is tried again.
    pub(super) async fn bring_up(
        self: &Arc<Inner>,
        entry: &Arc<Entry>,
        record: SessionRecord,
    ) -> Result<Next, SessionError> {
        let id = entry.id;
        let limit = self.settings.defaults.bring_up_timeout;
        let left = entry.bring_up_by(self.clock.now(), limit).saturating_sub(self.clock.now());
        let fault = match tokio::time::timeout(left, Box::pin(self.attempt(entry, record))).await {
            Ok(Ok(())) => return Ok(Next::Again),
            Ok(Err(fault)) => fault,
            Err(_) => Step::BringUp.failed(self.too_late(id, limit).await),
        };
        match fault {
            Fault::Failed(death) => {
                self.conclude(id, SessionStatus::Failed, death).await?;
                Ok(Next::Again)
            }
            Fault::Again(error) => {
                self.tell_trouble(id, &error).await;
                Err(error)
            }
        }
    }

    /// That it has taken too long, and what it was at: the last error of a step that was tried again, say.
    async fn too_late(&self, id: SessionId, limit: Duration) -> String {
        let late = format!("it was not ready within {} s", limit.as_secs());
        let record = self.store.sessions().get(id).await.ok();
        match record.and_then(|record| record.phase_detail) {
            Some(detail) => format!("{late}; it was at this: {detail}"),
            None => late,
        }
    }

    /// Shows why a session does not come up, while that is tried again.
    async fn tell_trouble(&self, id: SessionId, error: &SessionError) {
        let words = match error {
            SessionError::Internal(_) => "the server met a fault of its own; it tries again".to_owned(),
            error => format!("{error}; it is tried again"),
        };
        // Where nothing can be written, nothing can be told in this way.
        let told = self.held_coming_up(id, |record| record.phase_detail = Some(words)).await;
        if let Err(error) = told {
            tracing::debug!(session = %id, %error, "why a session does not come up could not be stored");
        }
    }

    async fn attempt(self: &Arc<Inner>, entry: &Arc<Entry>, record: SessionRecord) -> Result<(), Fault> {
        let id = record.id;
        let agent =
            self.store.agents().get(record.agent_id).await.map_err(SessionError::of_agent(record.agent_id));
        let agent = match agent {
            Ok(row) => row.agent,
            Err(SessionError::AgentNotFound(_)) => {
                return Err(Fault::Failed(Death::new(DeathCode::AgentDeleted, "its agent was deleted")));
            }
            Err(error) => return Err(error.into()),
        };
        let harness = self.catalog.get(&agent.harness_id).cloned().ok_or_else(|| {
            let known = self.catalog.ids().join(", ");
            let cause = format!("there is no harness {}; there are {known}", agent.harness_id);
            Step::Harness.failed_as(DeathCode::NotInstalled, cause)
        })?;
        let request = self.store.sessions().request(id).await.map_err(SessionError::of_session(id))?;
        let mut bring_up = BringUp { inner: self, entry, record, agent, harness, request, began: None };
        bring_up.all().await
    }
}

impl BringUp<'_> {
    async fn all(&mut self) -> Result<(), Fault> {
        // Known before anything is made: nothing has to be taken away again.
        self.check_terminal()?;
        let (sandbox, client) = self.sandbox().await?;
        self.files(&client, &sandbox).await?;
        self.clone_repository(&client, &sandbox).await?;
        self.install(&client, &sandbox).await?;
        self.terminal(&client, &sandbox).await?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Fault> {
        self.entry.learn_activity(self.inner.clock.now());
        let now = Timestamp::now();
        let spent = self.spent(now);
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| {
                if let Some(spent) = spent {
                    record.timings.insert(record.phase, spent);
                }
                record.timings.entry(Phase::HarnessReady).or_insert(0);
                record.status = SessionStatus::Ready;
                record.phase = Phase::Ready;
                record.phase_detail = None;
                record.phase_started_at = Some(now);
                record.ready_at = Some(now);
                record.last_seen_at = Some(now);
            })
            .await?;
        tracing::info!(session = %self.record.id, timings = ?self.record.timings, "a session is ready");
        Ok(())
    }

    /// Begins a phase, unless it is over already: phases never go back.
    async fn phase(&mut self, phase: Phase, detail: Option<String>) -> Result<(), Fault> {
        if phase < self.record.phase {
            return Ok(());
        }
        let now = Timestamp::now();
        let spent = self.spent(now);
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| {
                if phase > record.phase {
                    if let Some(spent) = spent {
                        record.timings.insert(record.phase, spent);
                    }
                    record.phase = phase;
                    record.phase_started_at = Some(now);
                }
                record.phase_detail = detail;
            })
            .await?;
        self.began = Some(self.inner.clock.now());
        Ok(())
    }

    /// Milliseconds spent in the phase under way. By this server's clock if it began it; else by the wall clock, which
    /// may have been set since.
    fn spent(&self, now: Timestamp) -> Option<u64> {
        let spent = match (self.began, self.record.phase_started_at) {
            (Some(began), _) => self.inner.clock.now().saturating_sub(began).as_millis(),
            (None, Some(began)) => u128::try_from(now.duration_since(began).as_millis()).unwrap_or(0),
            (None, None) => return None,
        };
        u64::try_from(spent).ok()
    }

    /// What the phase under way is doing.
    async fn detail(&mut self, detail: String) -> Result<(), Fault> {
        self.record =
            self.inner.held_coming_up(self.record.id, |record| record.phase_detail = Some(detail)).await?;
        Ok(())
    }

    fn is_done(&self, step: &str) -> bool {
        self.record.steps.contains_key(step)
    }

    /// Stores what a step came to.
    async fn done(&mut self, step: &str, result: Value) -> Result<(), Fault> {
        self.record = self
            .inner
            .held_coming_up(self.record.id, |record| {
                record.steps.insert(step.to_owned(), result);
            })
            .await?;
        Ok(())
    }

    /// The user's machine, where sandboxes are on it.
    fn host(&self) -> Option<&Host> {
        self.inner.runtime.unconfined().then_some(&self.inner.host)
    }

    /// Where the harness starts.
    fn workdir(&self, sandbox: &SandboxName) -> String {
        self.inner.workdir(&self.agent, sandbox)
    }

    fn environment(&self, sandbox: &SandboxName) -> EnvVars {
        self.inner.environment(&self.record, &self.agent, &self.harness, &self.request.env_vars, sandbox)
    }

    /// Runs a step's program to its end, its output shown as the phase's detail behind `doing`. Fails with its last
    /// lines if it does not end well. The caller stores the step and then has the keeper forget the run.
    async fn run(&mut self, client: &Keeper, step: Step, doing: &str, run: Run) -> Result<(), Fault> {
        let (show, mut shown) = tokio::sync::watch::channel(String::new());
        let mut tail = Tail::default();
        let limit = run.timeout;
        let run_id = run.id.clone();
        let mut on_output = |_: Stream, bytes: &[u8]| {
            tail.push(bytes);
            if let Some(line) = tail.current_line() {
                show.send_replace(line);
            }
        };
        let mut running = Box::pin(client.run(run, &mut on_output));
        let output = loop {
            tokio::select! {
                output = &mut running => break output,
                changed = shown.changed() => {
                    let line = shown.borrow_and_update().clone();
                    if changed.is_ok() {
                        self.detail(format!("{doing} ({line})")).await?;
                        // Output goes on being taken while the next detail is held back.
                        let pause = tokio::time::sleep(DETAIL_EVERY);
                        tokio::select! {
                            output = &mut running => break output,
                            () = pause => {}
                        }
                    }
                }
            }
        };
        drop(running);
        let output: RunOutput = output.map_err(|error| keeper_fault(step, error))?;
        if output.success() {
            return Ok(());
        }
        let how = if output.timed_out {
            format!("it was not done within {} s", limit.as_secs())
        } else {
            describe(&output.exit)
        };
        // It has ended, so it can be forgotten; the sandbox goes anyway.
        let _ = client.remove(&run_id).await;
        let lines = tail.last_lines();
        let cause =
            if lines.is_empty() { how } else { format!("{how}. It last printed:\n{}", lines.join("\n")) };
        Err(step.failed(cause))
    }

    /// Gives a step its time.
    async fn within<T>(
        &self,
        step: Step,
        limit: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(step.failed(format_args!("it was not done within {} s", limit.as_secs())))
        })
    }

    /// A connection that ended means that the sandbox is gone, or that it is tried again.
    async fn lost(&self, step: Step, sandbox: &SandboxName, fault: Fault) -> Fault {
        let Fault::Again(error) = fault else { return fault };
        match self.inner.runtime.inspect(sandbox).await {
            Ok(None) => step.failed_as(DeathCode::SandboxLost, "its sandbox was deleted"),
            Ok(Some(status)) => match status.state {
                SandboxState::Gone { reason } => {
                    let cause = format!("its sandbox is gone: {reason}");
                    step.failed_as(DeathCode::SandboxLost, cause)
                }
                _ => Fault::Again(error),
            },
            Err(_) => Fault::Again(error),
        }
    }
}

/// What a keeper's error means for a step.
fn keeper_fault(step: Step, error: LinkError) -> Fault {
    match error {
        LinkError::Refused(ref refused) if !refused.retryable => {
            let hint = refused.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            step.failed(format_args!("{refused}{hint}"))
        }
        LinkError::Protocol(_) => step.failed(error),
        // Whether its sandbox is gone, and why, the runtime knows better.
        LinkError::Gone(_)
        | LinkError::Refused(_)
        | LinkError::Lost(_)
        | LinkError::Closed(_)
        | LinkError::TimedOut { .. } => Fault::Again(error.into()),
    }
}

/// What a runtime's error means for a step.
fn sandbox_fault(step: Step, error: SandboxError) -> Fault {
    match error {
        SandboxError::Failed(_) | SandboxError::NotFound(_) => step.failed(error),
        SandboxError::Unavailable(_) => Fault::Again(error.into()),
    }
}
