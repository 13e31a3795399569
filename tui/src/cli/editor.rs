//! A text in the person's own editor.

use std::fs;
use std::io::{IsTerminal, Write};
use std::process::Command;

use lap_platform::config::Environment;

use super::fault::{Exit, Fault};

/// The editor where the environment names none.
const USUAL: &str = "vi";

/// Opens a text in the editor that `VISUAL` or `EDITOR` names, and gives back what it was left as. `name` is the file's:
/// editors take its kind from it. What somebody wrote is not lost where it cannot be used: on an error of `take` the file
/// stays, and the error says where.
pub(super) async fn edit<T, F: Future<Output = Result<T, Fault>>>(
    environment: &Environment,
    name: &str,
    text: &str,
    take: impl FnOnce(String) -> F,
) -> Result<T, Fault> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::usage("there is no terminal for an editor here").hint("give the text with --file"));
    }
    let editor = environment.filled("VISUAL").or_else(|| environment.filled("EDITOR")).unwrap_or(USUAL);
    let failed = |error: std::io::Error| Fault::new(Exit::Failed, format!("cannot edit it: {error}"));
    let folder = tempfile::Builder::new().prefix("lap-edit-").tempdir().map_err(failed)?;
    let path = folder.path().join(name);
    fs::File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    // The variable is a command line, such as `code --wait`.
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(Fault::new(Exit::Failed, format!("nothing was changed: {editor} ended with {status}"))
            .hint("VISUAL or EDITOR names the editor"));
    }
    let edited = fs::read_to_string(&path).map_err(failed)?;
    if edited == text {
        return Err(Fault::new(Exit::Failed, "nothing was changed"));
    }
    match take(edited).await {
        Ok(done) => Ok(done),
        Err(fault) => {
            let kept = folder.keep().join(name);
            Err(fault.hint_first(format!("what you wrote is in {}", kept.display())))
        }
    }
}
