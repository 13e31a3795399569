use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::layout::Place;
use crate::open_files;
use crate::sandbox::{SANDBOX_VARIABLE, SandboxName};

/// How long a keeper may take to listen. It takes some 10 ms; on a machine that is very busy, seconds.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(20);

/// Begins to start a keeper in the background. The process given back is only the one that starts it: it ends when the
/// keeper listens, or says why it does not.
pub(super) fn launch(command: &[OsString], name: &SandboxName, place: &Place) -> io::Result<Child> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let open_files = open_files::for_programs().map(|files| ["--open-files".to_owned(), files.to_string()]);
    Command::new(program)
        .args(arguments)
        .args(["run", "--detach", "--socket"])
        .arg(place.socket())
        .arg("--log")
        .arg(place.log())
        .args(open_files.iter().flatten())
        .current_dir(place.workspace())
        // A keeper passes nothing on of its own environment, and needs nothing but its mark.
        .env_clear()
        .env(SANDBOX_VARIABLE, &name.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A Ctrl-C that ends a server in the foreground is not meant for the keeper that it is about to start.
        .process_group(0)
        .spawn()
}

/// Waits until the keeper listens.
///
/// # Errors
/// Why it does not, in its own words.
pub(super) async fn launched(child: Child) -> Result<(), String> {
    match tokio::time::timeout(LAUNCH_TIMEOUT, child.wait_with_output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim();
            Err(if said.is_empty() {
                format!("its keeper ended at once ({})", output.status)
            } else {
                said.to_owned()
            })
        }
        Ok(Err(error)) => Err(format!("its keeper cannot be waited for: {error}")),
        Err(_) => Err(format!("its keeper did not listen within {} s", LAUNCH_TIMEOUT.as_secs())),
    }
}
