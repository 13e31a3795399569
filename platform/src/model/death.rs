//! Why sessions end: a code that programs can act on, and a sentence for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a session has ended, or is being ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Death {
    /// The kind of end.
    pub code: DeathCode,
    /// The whole reason: what ended it, and the last lines of what failed.
    pub reason: String,
    /// Its program's exit code, where that ended it: 128 and the signal's number where a signal did.
    pub exit_code: Option<i32>,
}

impl Death {
    /// An end of this kind.
    pub fn new(code: DeathCode, reason: impl Into<String>) -> Death {
        Death { code, reason: reason.into(), exit_code: None }
    }
}

/// The kinds of end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeathCode {
    /// Somebody stopped or deleted it.
    Stopped,
    /// Somebody restarted it, and it did not come up again.
    Restarted,
    /// Its agent was deleted.
    AgentDeleted,
    /// Nobody used it for as long as it may be idle.
    Idle,
    /// Its program ended by itself, with any status.
    Exited,
    /// A signal ended its program.
    Killed,
    /// Its sandbox is gone: deleted, evicted, or its keeper was killed.
    SandboxLost,
    /// Its sandbox did not come up.
    SandboxFailed,
    /// What it was asked for with could not be put into its sandbox.
    FilesFailed,
    /// Its repository could not be cloned.
    CloneFailed,
    /// Its requirements could not be installed.
    InstallFailed,
    /// The program of its harness is not there.
    NotInstalled,
    /// The program of its harness could not be started.
    StartFailed,
    /// It did not come up in time.
    TimedOut,
    /// A fault of the server's own.
    ServerFault,
    /// It ended under a version that kept only the sentence.
    Unknown,
}

impl DeathCode {
    /// The word for it, as in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeathCode::Stopped => "stopped",
            DeathCode::Restarted => "restarted",
            DeathCode::AgentDeleted => "agent_deleted",
            DeathCode::Idle => "idle",
            DeathCode::Exited => "exited",
            DeathCode::Killed => "killed",
            DeathCode::SandboxLost => "sandbox_lost",
            DeathCode::SandboxFailed => "sandbox_failed",
            DeathCode::FilesFailed => "files_failed",
            DeathCode::CloneFailed => "clone_failed",
            DeathCode::InstallFailed => "install_failed",
            DeathCode::NotInstalled => "not_installed",
            DeathCode::StartFailed => "start_failed",
            DeathCode::TimedOut => "timed_out",
            DeathCode::ServerFault => "server_fault",
            DeathCode::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_one_of_the_api() {
        for code in [
            DeathCode::Stopped,
            DeathCode::Restarted,
            DeathCode::AgentDeleted,
            DeathCode::Idle,
            DeathCode::Exited,
            DeathCode::Killed,
            DeathCode::SandboxLost,
            DeathCode::SandboxFailed,
            DeathCode::FilesFailed,
            DeathCode::CloneFailed,
            DeathCode::InstallFailed,
            DeathCode::NotInstalled,
            DeathCode::StartFailed,
            DeathCode::TimedOut,
            DeathCode::ServerFault,
            DeathCode::Unknown,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
