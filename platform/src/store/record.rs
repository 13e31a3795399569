//! A session's row.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::{Arg, Row, from_word, json, to_word};
use super::{OwnerId, StoreError};
use crate::model::{
    AgentId, Attention, CreateSession, Death, Phase, Session, SessionId, SessionStatus, Unsaved,
};
use crate::sandbox::SandboxName;

/// The durable part of a session: all a server needs to go on with it, and no more.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// Whose session it is.
    pub agent_id: AgentId,
    /// Its name for people.
    pub title: Option<String>,
    /// The beginning of what it was asked, shown where it has no title; at most 60 characters.
    pub asked: String,
    /// Where it stands.
    pub status: SessionStatus,
    /// The step it is at.
    pub phase: Phase,
    /// What that step is doing.
    pub phase_detail: Option<String>,
    /// When that step began.
    pub phase_started_at: Option<Timestamp>,
    /// Why it has ended, or is being ended.
    pub death: Option<Death>,
    /// Whether its end is under way: stays until its sandbox is gone, so that a server that finds it goes on ending it.
    pub ending: bool,
    /// What somebody asked to be done with it, until it has been.
    pub intent: Option<Intent>,
    /// Its sandbox.
    pub sandbox: Option<SandboxName>,
    /// The sandbox's own address, where it has one.
    pub sandbox_url: Option<String>,
    /// The program of its terminal, by its name in the keeper.
    pub program: Option<String>,
    /// Whether nothing keeps its programs from the rest of the machine.
    pub unconfined: bool,
    /// The harness's own id of the conversation.
    pub harness_session_id: Option<String>,
    /// Whether its harness has a terminal.
    pub supports_tui: bool,
    /// The last reply.
    pub response: Option<String>,
    /// Who made it: `api`, `ui`, `automation`, `linear`.
    pub origin: String,
    /// Milliseconds without activity after which it ends.
    pub idle_timeout_ms: u64,
    /// What of its work was nowhere else when it was last counted.
    pub unsaved: Option<Unsaved>,
    /// Milliseconds spent in each phase that is over.
    pub timings: BTreeMap<Phase, u64>,
    /// Results of bring-up steps, by step: written before the next begins, so that none is done twice.
    pub steps: BTreeMap<String, Value>,
    /// The agent's generation it was made with.
    pub config_generation: u64,
    /// Which server is at work on it.
    pub owner: Option<OwnerId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The last sign of activity.
    pub last_seen_at: Option<Timestamp>,
    /// When it became ready.
    pub ready_at: Option<Timestamp>,
    /// When it ended.
    pub stopped_at: Option<Timestamp>,
}

/// What is to be done with a session on somebody's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Its program is asked to go, and its sandbox removed.
    Stop,
    /// The same, and then it is brought up again.
    Restart,
    /// The same, and then nothing of it is left.
    Erase,
}

/// A session to be made. What it takes from its agent is read with the agent, in the same transaction.
#[derive(Clone, PartialEq, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose session it is.
    pub agent_id: AgentId,
    /// Who makes it: `api`, `ui`, `automation`, `linear`.
    pub origin: String,
    /// Whether its sandbox will be without isolation.
    pub unconfined: bool,
    /// What it was asked for with; kept sealed, for bring-up and restart.
    pub request: CreateSession,
    /// How many sessions may live, this one included.
    pub max_live: usize,
    /// The sandbox it runs in already, where one was found that no session knew: then it is `ready` from the beginning.
    pub adopted: Option<SandboxName>,
}

/// The columns that can change, in the order of [`SessionRecord::mutable`].
pub(super) const MUTABLE: [&str; 28] = [
    "title = ",
    ", status = ",
    ", phase = ",
    ", phase_detail = ",
    ", phase_started_at = ",
    ", death = ",
    ", failure_reason = ",
    ", exit_code = ",
    ", ending = ",
    ", intent = ",
    ", sandbox = ",
    ", sandbox_url = ",
    ", program = ",
    ", unconfined = ",
    ", harness_session_id = ",
    ", supports_tui = ",
    ", response = ",
    ", idle_timeout_ms = ",
    ", unsaved_files = ",
    ", unsaved_commits = ",
    ", timings = ",
    ", steps = ",
    ", config_generation = ",
    ", owner = ",
    ", last_seen_at = ",
    ", ready_at = ",
    ", stopped_at = ",
    ", search_text = ",
];

impl SessionRecord {
    /// The session as the API has it. What only the server at work on it knows (viewers, attention, recording, the
    /// terminal's token) is blank.
    #[must_use]
    pub fn to_session(&self) -> Session {
        // Of one that is still being ended it is not told.
        let told = self.death.as_ref().filter(|_| !self.status.is_live());
        Session {
            id: self.id,
            agent_id: self.agent_id,
            title: self.title.clone(),
            status: self.status,
            phase: self.phase,
            phase_detail: self.phase_detail.clone(),
            failure_reason: told.map(|death| death.reason.clone()),
            death: told.map(|death| death.code),
            exit_code: told.and_then(|death| death.exit_code),
            sandbox_url: self.sandbox_url.clone(),
            task_arn: self.sandbox.as_ref().map(|name| name.0.clone()),
            unconfined: self.unconfined,
            harness_session_id: self.harness_session_id.clone(),
            tty_url: None,
            tty_token: None,
            supports_tui: self.supports_tui,
            response: self.response.clone(),
            title_preview: preview(self.title.as_deref().unwrap_or(&self.asked)),
            origin: self.origin.clone(),
            idle_timeout_ms: self.idle_timeout_ms,
            attention: Attention::None,
            viewers: 0,
            recording: false,
            unsaved: self.unsaved,
            timings: self.timings.clone(),
            config_generation: self.config_generation,
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            ready_at: self.ready_at,
            stopped_at: self.stopped_at,
        }
    }

    pub(super) fn mutable(&self) -> Result<[Arg; MUTABLE.len()], StoreError> {
        Ok([
            self.title.clone().into(),
            self.status.as_str().into(),
            to_word(self.phase)?.into(),
            self.phase_detail.clone().into(),
            self.phase_started_at.into(),
            self.death.as_ref().map(|death| death.code.as_str().to_owned()).into(),
            self.death.as_ref().map(|death| death.reason.clone()).into(),
            self.death.as_ref().and_then(|death| death.exit_code).map(i64::from).into(),
            self.ending.into(),
            self.intent.map(to_word).transpose()?.into(),
            self.sandbox.as_ref().map(|name| name.0.clone()).into(),
            self.sandbox_url.clone().into(),
            self.program.clone().into(),
            self.unconfined.into(),
            self.harness_session_id.clone().into(),
            self.supports_tui.into(),
            self.response.clone().into(),
            self.idle_timeout_ms.into(),
            self.unsaved.map(|unsaved| count(unsaved.files)).into(),
            self.unsaved.map(|unsaved| count(unsaved.commits)).into(),
            json(&self.timings)?.into(),
            json(&self.steps)?.into(),
            self.config_generation.into(),
            self.owner.map(|owner| owner.to_string()).into(),
            self.last_seen_at.into(),
            self.ready_at.into(),
            self.stopped_at.into(),
            self.search_text().into(),
        ])
    }

    fn search_text(&self) -> String {
        let title = self.title.as_deref().unwrap_or_default();
        super::cursor::search_text(&[&self.id.to_string(), title, &self.asked])
    }

    pub(super) fn read(row: &Row) -> Result<SessionRecord, StoreError> {
        let death = match row.maybe_text("death")? {
            Some(code) => Some(Death {
                code: from_word(&code)?,
                reason: row.maybe_text("failure_reason")?.unwrap_or_default(),
                exit_code: row.maybe_whole("exit_code")?.and_then(|code| i32::try_from(code).ok()),
            }),
            None => None,
        };
        let number = |column| -> Result<Option<u64>, StoreError> {
            Ok(row.maybe_whole(column)?.and_then(|number| u64::try_from(number).ok()))
        };
        let unsaved = number("unsaved_files")?.zip(number("unsaved_commits")?);
        Ok(SessionRecord {
            unsaved: unsaved.map(|(files, commits)| Unsaved { files, commits }),
            id: row.word("id")?,
            agent_id: row.word("agent_id")?,
            title: row.maybe_text("title")?,
            asked: row.text("title_preview")?,
            status: row.word("status")?,
            phase: row.word("phase")?,
            phase_detail: row.maybe_text("phase_detail")?,
            phase_started_at: row.maybe_time("phase_started_at")?,
            death,
            ending: row.truth("ending")?,
            intent: row.maybe_text("intent")?.map(|word| from_word(&word)).transpose()?,
            sandbox: row.maybe_text("sandbox")?.map(SandboxName),
            sandbox_url: row.maybe_text("sandbox_url")?,
            program: row.maybe_text("program")?,
            unconfined: row.truth("unconfined")?,
            harness_session_id: row.maybe_text("harness_session_id")?,
            supports_tui: row.truth("supports_tui")?,
            response: row.maybe_text("response")?,
            origin: row.text("origin")?,
            idle_timeout_ms: row.count("idle_timeout_ms")?,
            timings: row.json("timings")?,
            steps: row.json("steps")?,
            config_generation: row.count("config_generation")?,
            owner: row.maybe_text("owner")?.map(|id| from_word(&id).map(OwnerId)).transpose()?,
            created_at: row.time("created_at")?,
            last_seen_at: row.maybe_time("last_seen_at")?,
            ready_at: row.maybe_time("ready_at")?,
            stopped_at: row.maybe_time("stopped_at")?,
        })
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The first line of a text, cut to the length of a [`Session::title_preview`].
pub(super) fn preview(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.chars().count() <= Session::TITLE_PREVIEW_CHARS {
        return line.to_owned();
    }
    let cut: String = line.chars().take(Session::TITLE_PREVIEW_CHARS - 1).collect();
    format!("{}…", cut.trim_end())
}
