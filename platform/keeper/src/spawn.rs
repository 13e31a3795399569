//! Starting a program, and saying why it could not be.
//!
//! The child is made by [`std::process`], which hears from it whether the exec succeeded. (portable-pty's own spawn
//! closes the descriptor that would tell, starts in $HOME when the directory is missing, and adds to the environment.)

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lap_wire::control::{ErrorCode, WireError};
use lap_wire::keeper::{ProgramIo, ProgramSpec};
use rustix::fs::Access;
use rustix::process::Signal;

use crate::limits::{MAX_PROGRAM_ID, MAX_RING, MAX_SCROLLBACK};
use crate::pty::Pty;
use crate::signals::reset_in_child;

/// Whether the specification is one that could be started at all.
pub(crate) fn check(spec: &ProgramSpec) -> Result<(), WireError> {
    let invalid = |message: String| Err(WireError::new(ErrorCode::Invalid, message));
    let named = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if spec.id.is_empty() || spec.id.len() > MAX_PROGRAM_ID || !spec.id.bytes().all(named) {
        return invalid(format!(
            "a program's id is 1 to {MAX_PROGRAM_ID} of A-Z, a-z, 0-9, '.', '_' and '-'"
        ));
    }
    if spec.argv.first().is_none_or(String::is_empty) {
        return invalid("argv names no program".into());
    }
    if spec.argv.iter().chain(spec.env.values()).chain([&spec.cwd]).any(|s| s.contains('\0')) {
        return invalid("argv, env and cwd cannot hold a zero byte".into());
    }
    if let Some(name) = spec.env.keys().find(|k| k.is_empty() || k.contains(['=', '\0'])) {
        return invalid(format!("{name:?} is no name of an environment variable"));
    }
    if let ProgramIo::Pty { size } = spec.io
        && !size.is_valid()
    {
        return Err(bad_size(size.cols, size.rows));
    }
    if spec.ring > MAX_RING || spec.scrollback > MAX_SCROLLBACK {
        return invalid(format!("ring is at most {MAX_RING} bytes and scrollback at most {MAX_SCROLLBACK}"));
    }
    Ok(())
}

/// The refusal of a size no terminal can have.
pub(crate) fn bad_size(cols: u16, rows: u16) -> WireError {
    use lap_wire::limits::{MAX_COLS, MAX_ROWS, MIN_SIZE};
    let bounds = format!("{MIN_SIZE}×{MIN_SIZE} to {MAX_COLS}×{MAX_ROWS}");
    WireError::new(ErrorCode::BadSize, format!("a terminal of {cols}×{rows} cannot be: {bounds} can"))
}

/// What a program's environment begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BaseEnv {
    /// Nothing: the keeper's own is whoever started it.
    Empty,
    /// The keeper's own: in a container that is its image's.
    Keepers,
}

/// Starts it on the terminal, or on three new pipes without one.
#[allow(unsafe_code)]
pub(crate) fn spawn(spec: &ProgramSpec, base: BaseEnv, pty: Option<&Pty>) -> Result<Child, WireError> {
    check_cwd(&spec.cwd)?;
    let (name, arguments) = spec.argv.split_first().ok_or_else(|| failed("", io::ErrorKind::InvalidInput))?;
    let mut command = Command::new(name);
    command.args(arguments).current_dir(&spec.cwd);
    if base == BaseEnv::Empty {
        command.env_clear();
    }
    command.envs(&spec.env);
    match pty {
        Some(pty) => {
            let end = || pty.slave().map(Stdio::from).map_err(|e| failed(name, e));
            command.stdin(end()?).stdout(end()?).stderr(end()?);
        }
        None => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }
    let on_terminal = pty.is_some();
    let prepare = move || {
        // SAFETY: this runs between fork and exec.
        unsafe { reset_in_child() };
        // A terminal hangs up when its keeper dies; a program on pipes is to notice no less.
        rustix::process::set_parent_process_death_signal(Some(Signal::HUP))?;
        rustix::process::setsid()?;
        if on_terminal {
            // Standard input was made the terminal before this.
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        Ok(())
    };
    // SAFETY: only async-signal-safe calls, no allocation.
    unsafe { command.pre_exec(prepare) };
    command.spawn().map_err(|error| failed(name, error))
}

/// Told apart from the program's own absence, which the system reports with the same number.
fn check_cwd(cwd: &str) -> Result<(), WireError> {
    let usable = std::fs::metadata(cwd).and_then(|m| {
        if !m.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(rustix::fs::access(Path::new(cwd), Access::EXEC_OK)?)
    });
    usable.map_err(|error| {
        let message = format!("cannot start in the directory {cwd}: {}", reason(&error));
        WireError::new(ErrorCode::StartFailed, message)
    })
}

fn failed(name: &str, error: impl Into<io::Error>) -> WireError {
    let error = error.into();
    let message = format!("cannot start {name}: {}", reason(&error));
    let failed = WireError::new(ErrorCode::StartFailed, message);
    match error.kind() {
        io::ErrorKind::NotFound => {
            failed.with_hint("It is not in the PATH given, or its interpreter is missing.")
        }
        io::ErrorKind::PermissionDenied => {
            failed.with_hint("Is it executable, and on a file system that allows it?")
        }
        _ => failed,
    }
}

/// The system's words, without Rust's "(os error 2)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
