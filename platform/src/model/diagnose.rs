//! What is known about a session in trouble.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Agent, Phase, Session};

/// What is known about a session, gathered when it was asked for. Each section can be missing on its own and then says
/// why in its `error`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The session.
    pub session: Session,
    /// Its agent, unless that is gone.
    #[serde(default)]
    pub agent: Option<Agent>,
    /// Its sandbox.
    #[serde(default)]
    pub sandbox: SandboxEvidence,
    /// The program in it.
    #[serde(default)]
    pub harness: HarnessEvidence,
    /// Milliseconds spent in each phase.
    #[serde(default)]
    pub timings: BTreeMap<Phase, u64>,
    /// What is wrong, worst first.
    #[serde(default)]
    pub detected_issues: Vec<DetectedIssue>,
}

/// A session's sandbox, as its runtime tells it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SandboxEvidence {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether the runtime still has it.
    #[serde(default)]
    pub present: bool,
    /// Its state in the runtime's own words.
    #[serde(default)]
    pub state: Option<String>,
    /// Why this section could not be gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The program a session is about.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct HarnessEvidence {
    /// Whether it runs.
    #[serde(default)]
    pub alive: bool,
    /// Its process id inside the sandbox.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How it ended, for people: `exit code 1`, `SIGKILL`.
    #[serde(default)]
    pub exit_status: Option<String>,
    /// The last lines it printed, as plain text, oldest first; at most 200.
    #[serde(default)]
    pub last_output: Vec<String>,
    /// When it last printed something.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "super::time::maybe_millis")]
    pub last_output_at: Option<Timestamp>,
    /// Why this section could not be gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How bad an issue is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing works until it is mended.
    High,
    /// Something does not work.
    Med,
    /// Worth knowing.
    Info,
}

/// One thing that is wrong with a session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DetectedIssue {
    /// A stable word: `harness_exited`, `sandbox_lost`, ...
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What shows it.
    #[serde(default)]
    pub evidence: Option<String>,
    /// What to do about it.
    #[serde(default)]
    pub recommended_action: Option<String>,
}
