//! Sessions, and requests to make, change or command one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lap_wire::control::Attention;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agent::given;
use super::{AgentId, DeathCode, EnvVars, MemoryId, SessionId, SkillId};

/// One run of an agent in a sandbox of its own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose session it is.
    pub agent_id: AgentId,
    /// Its name for people.
    pub title: Option<String>,
    /// Where it stands.
    pub status: SessionStatus,
    /// The step it is at; never goes backwards.
    pub phase: Phase,
    /// What that step is doing, for people.
    pub phase_detail: Option<String>,
    /// Why it failed or died, for people.
    pub failure_reason: Option<String>,
    /// The same for programs.
    pub death: Option<DeathCode>,
    /// Its program's exit code, where that ended it: 128 and the signal's number where a signal did.
    pub exit_code: Option<i32>,
    /// The sandbox's own address, where it has one.
    pub sandbox_url: Option<String>,
    /// The sandbox's name. (The public API's field name is of another platform's making.)
    pub task_arn: Option<String>,
    /// Whether nothing keeps its programs from the rest of the machine: sandboxes without isolation say so.
    pub unconfined: bool,
    /// The harness's own id of the conversation, for resuming it.
    pub harness_session_id: Option<String>,
    /// Its terminal, relative to the server; only while `ready` and only where the harness has one.
    pub tty_url: Option<String>,
    /// Opens that terminal and nothing else, for 15 minutes, of which the same one is shown for 5. Lists carry none.
    pub tty_token: Option<String>,
    /// Whether its harness has a terminal.
    pub supports_tui: bool,
    /// The last reply.
    pub response: Option<String>,
    /// The title, or the beginning of what it was asked, at most 60 characters.
    pub title_preview: String,
    /// Who made it: `api`, `ui`, `automation`, `linear`.
    pub origin: String,
    /// Milliseconds without activity after which it ends.
    pub idle_timeout_ms: u64,
    /// What it wants.
    #[schema(value_type = String)]
    pub attention: Attention,
    /// Who is attached to its terminal now, each connection counted once.
    pub viewers: u32,
    /// Whether its terminal is being recorded.
    pub recording: bool,
    /// What of its work is nowhere else, as far as it has been counted: at its end, and whenever somebody asked.
    pub unsaved: Option<Unsaved>,
    /// Milliseconds spent in each phase so far.
    pub timings: BTreeMap<Phase, u64>,
    /// The agent's `config_generation` it was made with.
    pub config_generation: u64,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "super::time::millis")]
    pub created_at: Timestamp,
    /// The last sign of activity.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub last_seen_at: Option<Timestamp>,
    /// When it became ready.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub ready_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub stopped_at: Option<Timestamp>,
}

/// How much of a session's work is nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Unsaved {
    /// Files that are changed, deleted or new, and not ignored by git, and all that are in no repository.
    pub files: u64,
    /// Commits and stashes that no remote is known to have.
    pub commits: u64,
}

/// What a session has worked on, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// How much of it is nowhere else; absent where it could not be counted.
    pub unsaved: Option<Unsaved>,
    /// Why it could not be counted.
    pub detail: Option<String>,
    /// Where it is, on the machine of the server, where it is kept there.
    pub path: Option<String>,
    /// When it will be erased, unless the session is started again; of one that runs, if it ended now. Absent: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub kept_until: Option<Timestamp>,
}

/// What a session's program was told when it was started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// Its model; absent: it was left to choose.
    pub model: Option<String>,
    /// What it is to know and do: what its agent remembers, the agent's prompt, and which skills there are.
    pub instructions: Option<String>,
    /// How they were given: `arguments`, or the name of a file in its directory; `not: …`, and why.
    pub delivered: Option<String>,
    /// The first thing it was asked.
    pub initial_prompt: Option<String>,
    /// The memories among its instructions.
    #[serde(default)]
    pub memories: Vec<MemoryId>,
    /// The skills it was given.
    #[serde(default)]
    pub skills: Vec<ToldSkill>,
    /// The MCP servers it was given, by their names.
    #[serde(default)]
    pub mcp_servers: Vec<String>,
    /// Files that were put into its workspace for it: paths within it.
    #[serde(default)]
    pub files: Vec<String>,
}

/// A skill that a session's program was given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToldSkill {
    /// Its id.
    pub id: SkillId,
    /// Its name.
    pub name: String,
    /// Which version of it.
    pub version: u64,
    /// Where its file is, from the program's directory or, with `~`, from its home.
    pub path: String,
}

impl Session {
    /// The longest [`Session::title_preview`], in characters.
    pub const TITLE_PREVIEW_CHARS: usize = 60;
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Its sandbox is being brought up.
    Creating,
    /// It runs.
    Ready,
    /// It has ended, or was stopped.
    Dead,
    /// It never came up; `failure_reason` says why.
    Failed,
}

impl SessionStatus {
    /// Whether a sandbox belongs to it.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, SessionStatus::Creating | SessionStatus::Ready)
    }

    /// The word for it, as in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SessionStatus::Creating => "creating",
            SessionStatus::Ready => "ready",
            SessionStatus::Dead => "dead",
            SessionStatus::Failed => "failed",
        }
    }
}

/// The steps of a session's coming up, in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Phase {
    CreatingSandbox,
    PodPending,
    PodRunning,
    InjectingFiles,
    WaitingHarness,
    CloningRepo,
    InstallingDeps,
    HarnessListening,
    HarnessReady,
    Ready,
}

/// A request for a new session; every part may be absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The first thing said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_prompt: Option<String>,
    /// At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial_attachments: Vec<Attachment>,
    /// For this session only, over the agent's; the agent's limits. Never stored in clear.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub env_vars: EnvVars,
    /// For this session only, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skill_ids: Vec<SkillId>,
}

/// A picture handed to a session with its first prompt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// A file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub mime_type: String,
    /// The bytes, at most 5 MiB of them.
    pub base64: String,
}

/// A change to a session.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionPatch {
    /// Its new name, or `null` for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub title: Option<Option<String>>,
}

/// A command to run in a session's sandbox, beside its harness.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Given on its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Killed after this long; 60 when absent, at most 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecResult {
    /// Its exit code; 128 + the signal's number where a signal ended it.
    pub exit_code: i32,
    /// What it printed; invalid UTF-8 is replaced.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
    /// Whether one of them was cut: at 1 MiB each, or where a server was lost amid more than that.
    pub truncated: bool,
}
