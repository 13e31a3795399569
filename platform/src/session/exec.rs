//! Commands run in a session's sandbox, beside its harness. One that is under a key is run once, whatever happens to
//! the server in between: asked again, it comes back to the same program or to its result.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use lap_wire::control::ErrorCode;
use lap_wire::keeper::Program;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::{Inner, SessionError};
use crate::link::{Keeper, LinkError, Run, RunOutput};
use crate::model::{ExecRequest, ExecResult, SessionId, SessionStatus, validate};
use crate::store::{ExecStand, NewExec, SessionRecord};

/// How long a command may take when the request does not say.
const DEFAULT_SECONDS: u32 = 60;
/// Bytes kept of each of a command's outputs: what fits an answer.
const MAX_OUTPUT: usize = 1024 * 1024;
/// Begins the names that commands have at their keeper.
const PREFIX: &str = "exec-";
/// Between SIGTERM and SIGKILL for a command that nobody waits for any more.
const LEFT_GRACE: Duration = Duration::from_secs(2);
/// A command whose time was over while no server saw it through has this long to be found ended: it may have been in
/// time.
const COLLECT: Duration = Duration::from_secs(5);

/// The commands that this process sees through, by their programs' ids: each by one task at a time.
#[derive(Debug, Default)]
pub(super) struct Commands(Mutex<HashMap<String, Arc<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

impl Commands {
    /// Waits until no other task sees a command through, and marks it as seen through until the guard is dropped.
    async fn enter<'a>(&'a self, id: &str) -> CommandGuard<'a> {
        let turn = Arc::clone(self.lock().entry(id.to_owned()).or_default());
        let mut guard = CommandGuard { all: self, id: id.to_owned(), turn: Arc::clone(&turn), held: None };
        guard.held = Some(turn.lock_owned().await);
        guard
    }

    fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Turn>>> {
        // Only single inserts and removals happen under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, or one that waits for its turn.
struct CommandGuard<'a> {
    all: &'a Commands,
    id: String,
    turn: Arc<Turn>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for CommandGuard<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut all = self.all.lock();
        // Its own and the table's: nobody else waits.
        if Arc::strong_count(&self.turn) <= 2 {
            all.remove(&self.id);
        }
    }
}

impl Inner {
    /// Runs a command to its end. `key`: what the request's key makes, where it has one.
    pub(super) async fn exec(
        self: &Arc<Inner>,
        id: SessionId,
        request: ExecRequest,
        key: Option<Uuid>,
    ) -> Result<ExecResult, SessionError> {
        validate::exec(&request).map_err(SessionError::Invalid)?;
        let program = format!("{PREFIX}{}", key.unwrap_or_else(Uuid::new_v4).simple());
        // Its session may have ended since.
        if key.is_some()
            && let Some(result) = self.store.execs().result(&program).await?
        {
            return Ok(result);
        }
        let record = self.store.sessions().get(id).await.map_err(SessionError::of_session(id))?;
        let timeout = SignedDuration::try_from(given(&request)).unwrap_or(SignedDuration::MAX);
        let new = NewExec {
            id: program,
            session_id: id,
            sandbox: record.sandbox.clone().ok_or_else(|| not_ready(&record))?,
            owner: self.owner.id,
            request: key.is_some().then(|| request.clone()),
            ends_by: self.store.now().checked_add(timeout).unwrap_or(jiff::Timestamp::MAX),
        };
        let keeper = self.keeper_of(&record)?;
        let run = self.command(&record, &request).await?;
        let _guard = self.commands.enter(&new.id).await;
        match self.store.execs().begin(&new).await? {
            ExecStand::Done(result) => Ok(result),
            ExecStand::Running { sandbox, .. } if sandbox != new.sandbox => Err(interrupted()),
            ExecStand::Running { ends_by, .. } => {
                self.see_through(&keeper, &NewExec { ends_by, ..new }, run).await
            }
        }
    }

    /// A command's program, but for its id.
    async fn command(&self, record: &SessionRecord, request: &ExecRequest) -> Result<Run, SessionError> {
        let sandbox = record.sandbox.as_ref().ok_or_else(|| not_ready(record))?;
        let agent = self.store.agents().last_state(record.agent_id).await;
        let agent = agent.map_err(SessionError::of_agent(record.agent_id))?.agent;
        let asked = self.store.sessions().request(record.id).await;
        let asked = asked.map_err(SessionError::of_session(record.id))?;
        let harness = self.catalog.get(&agent.harness_id).ok_or_else(|| {
            SessionError::Conflict(format!("there is no harness {} any more", agent.harness_id))
        })?;
        Ok(Run {
            id: String::new(),
            argv: request.command.clone(),
            env: self.environment(record, &agent, harness, &asked.env_vars, sandbox),
            cwd: self.workdir(&agent, sandbox),
            stdin: request.stdin.clone().unwrap_or_default().into_bytes(),
            keep: MAX_OUTPUT,
            timeout: given(request),
        })
    }

    fn keeper_of(&self, record: &SessionRecord) -> Result<Keeper, SessionError> {
        match (record.status, &record.sandbox) {
            (SessionStatus::Ready, Some(sandbox)) => Ok(self.links.keeper(sandbox)),
            _ => Err(not_ready(record)),
        }
    }

    /// Runs a command that is written down, or comes back to it, and keeps what came of it where it is under a key.
    async fn see_through(
        &self,
        keeper: &Keeper,
        exec: &NewExec,
        run: Run,
    ) -> Result<ExecResult, SessionError> {
        let given = run.timeout;
        let left = self.store.now().duration_until(exec.ends_by);
        // A clock that was set gives no command more than its time.
        let timeout = Duration::try_from(left).unwrap_or(Duration::ZERO).max(COLLECT).min(given);
        let run = Run { id: exec.id.clone(), timeout, ..run };
        let execs = self.store.execs();
        if exec.request.is_none() {
            let ended = keeper.run_once(run).await;
            // What came of it is the caller's, whatever becomes of its row.
            if let Err(error) = execs.forget(&exec.id).await {
                tracing::warn!(program = exec.id, %error, "a command that has ended cannot be crossed out yet");
            }
            return ended.map(|output| result(&output, given)).map_err(|error| explain(error, false));
        }
        match keeper.run(run, &mut |_, _| {}).await {
            Ok(output) => {
                let result = result(&output, given);
                execs.finish(&exec.id, &result).await?;
                // The result is kept here; the keeper need not.
                if let Err(error) = keeper.remove(&exec.id).await {
                    tracing::debug!(program = exec.id, %error, "a command that has ended is not forgotten yet");
                }
                Ok(result)
            }
            // Nothing was run, and asked again it may be.
            Err(error @ LinkError::Refused(_)) => {
                execs.forget(&exec.id).await?;
                Err(explain(error, true))
            }
            Err(error) => Err(explain(error, true)),
        }
    }

    /// Goes on with the commands of a session whose server is gone, beside whatever else is done with it.
    pub(super) fn take_up_commands(self: &Arc<Inner>, record: &SessionRecord) {
        let (inner, record) = (Arc::clone(self), record.clone());
        self.spawn(format!("looking after the commands of session {}", record.id), async move {
            if let Err(error) = inner.look_after_commands(&record).await {
                // Looked at again when the session's keeper is found again, and by the next server.
                tracing::warn!(session = %record.id, %error, "commands left by another server cannot be looked after");
            }
        });
    }

    /// Those under a key are seen through; the others are ended, since nobody is left to take what comes of them.
    async fn look_after_commands(self: &Arc<Inner>, record: &SessionRecord) -> Result<(), SessionError> {
        let keeper = self.keeper_of(record)?;
        let Some(sandbox) = &record.sandbox else { return Ok(()) };
        for exec in self.store.execs().take_over(record.id, sandbox, self.owner.id).await? {
            // Begun before the session was restarted, it has ended with that sandbox.
            if self.commands.has(&exec.id) || exec.sandbox != *sandbox {
                continue;
            }
            if exec.request.is_none() {
                self.store.execs().forget(&exec.id).await?;
                continue;
            }
            let (inner, keeper, record) = (Arc::clone(self), keeper.clone(), record.clone());
            self.spawn(format!("going on with a command of session {}", record.id), async move {
                if let Err(error) = inner.go_on(&keeper, &record, exec).await {
                    tracing::warn!(session = %record.id, %error, "a command could not be gone on with");
                }
            });
        }
        // In this order: each is written down before it is started.
        let programs = keeper.programs().await?;
        let wanted: HashSet<String> = self.store.execs().ids(record.id).await?.into_iter().collect();
        for Program { id, .. } in programs {
            if id.starts_with(PREFIX) && !wanted.contains(&id) && !self.commands.has(&id) {
                tracing::info!(session = %record.id, program = id, "ending a command that nobody waits for");
                keeper.stop(&id, LEFT_GRACE).await?;
                keeper.remove(&id).await?;
            }
        }
        Ok(())
    }

    /// Sees a command under a key through that another server began.
    async fn go_on(
        &self,
        keeper: &Keeper,
        record: &SessionRecord,
        exec: NewExec,
    ) -> Result<(), SessionError> {
        let _guard = self.commands.enter(&exec.id).await;
        let Some(request) = &exec.request else { return Ok(()) };
        let run = self.command(record, request).await?;
        // Whoever asked for it again may have been first.
        match self.store.execs().begin(&exec).await? {
            ExecStand::Running { sandbox, .. } if Some(&sandbox) == record.sandbox.as_ref() => {
                self.see_through(keeper, &exec, run).await.map(drop)
            }
            ExecStand::Running { .. } | ExecStand::Done(_) => Ok(()),
        }
    }
}

/// The time a command is given.
fn given(request: &ExecRequest) -> Duration {
    Duration::from_secs(request.timeout_seconds.unwrap_or(DEFAULT_SECONDS).into())
}

fn not_ready(record: &SessionRecord) -> SessionError {
    SessionError::Conflict(format!(
        "the session is {}: commands can be run while it is ready",
        record.status.as_str()
    ))
}

/// What is said of a command under a key that was begun in a sandbox which is no more.
fn interrupted() -> SessionError {
    SessionError::Conflict(
        "the session was restarted after this command was begun, which ended it: whether it had done its work is not \
         known, and it is not run again. Under another key it is a new command"
            .to_owned(),
    )
}

fn result(output: &RunOutput, given: Duration) -> ExecResult {
    let mut stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.timed_out {
        stderr.push_str(&format!("\nended after {} s, the time it was given\n", given.as_secs()));
    }
    ExecResult {
        exit_code: output.exit.shell_code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr,
        truncated: output.truncated,
    }
}

/// `keyed`: whether the command is gone on with whatever has become of the link to it.
fn explain(error: LinkError, keyed: bool) -> SessionError {
    match error {
        LinkError::TimedOut { .. } | LinkError::Lost(_) => {
            let then = if keyed {
                "it is gone on with: ask again under the same key for what comes of it"
            } else {
                "it is ended as soon as the sandbox can be reached"
            };
            SessionError::Unavailable(format!("{error}. The command may have begun; {then}"))
        }
        LinkError::Refused(refused) => match refused.code {
            ErrorCode::Overloaded => SessionError::Unavailable(
                "too many commands run in this session at once: wait until one has ended".to_owned(),
            ),
            ErrorCode::StartFailed => SessionError::CannotStart(refused.to_string()),
            _ => SessionError::Sandbox(refused.to_string()),
        },
        other => SessionError::from(other),
    }
}
