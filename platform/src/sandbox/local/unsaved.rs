//! What of a workspace is nowhere else, counted by the keeper's program: a process of its own, so that whatever a
//! workspace does to who reads it does not happen to the server.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::model::Unsaved;
use crate::sandbox::SandboxError;

/// The count gives up earlier by itself.
const TIME: Duration = Duration::from_secs(10);
/// Characters of a complaint that are told.
const MAX_WORDS: usize = 500;

pub(super) async fn count(
    keeper: &[OsString],
    workspace: &Path,
    ours: &[String],
) -> Result<Unsaved, SandboxError> {
    let unavailable = |error: io::Error| SandboxError::Unavailable(error.to_string());
    let Some((program, arguments)) = keeper.split_first() else {
        return Err(unavailable(io::ErrorKind::InvalidInput.into()));
    };
    let git = which::which("git").ok();
    let counting = Command::new(program)
        .args(arguments)
        .arg("unsaved")
        .arg(workspace)
        .args(git.iter().flat_map(|git| ["--git".as_ref(), git.as_os_str()]))
        .args(ours.iter().flat_map(|path| ["--ours", path]))
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIME, counting).await;
    let output = output.map_err(|_| io::Error::other("what is unsaved cannot be counted: it takes too long"));
    let output = output.map_err(unavailable)?.map_err(unavailable)?;
    if !output.status.success() {
        let words: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_WORDS).collect();
        return Err(SandboxError::Unavailable(words));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| unavailable(error.into()))
}
