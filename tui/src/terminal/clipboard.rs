//! The person's clipboard: by the desktop's own program where there is one, else by the terminal (OSC 52), which many
//! terminals do not let programs do.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lap_platform::config::Environment;

use super::wait_writable;

/// How long a program may take to take the text. They do in milliseconds, and then go to the background.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// What puts text into a clipboard: the program, its arguments, and the variable that says that it can.
const PROGRAMS: [(&str, &[&str], &str); 5] = [
    ("wl-copy", &["--type", "text/plain"], "WAYLAND_DISPLAY"),
    ("xclip", &["-selection", "clipboard"], "DISPLAY"),
    ("xsel", &["--clipboard", "--input"], "DISPLAY"),
    ("pbcopy", &[], ""),
    ("clip.exe", &[], "WSL_DISTRO_NAME"),
];

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Clipboard {
    program: Option<(PathBuf, &'static [&'static str])>,
}

/// How text came into the clipboard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Copied {
    /// A program of this name took it.
    By(String),
    /// It is for the terminal to take.
    #[default]
    ForTerminal,
    /// It did not: it is too long for a terminal to take.
    TooLong,
}

impl Copied {
    /// The same for the person who copied it.
    #[must_use]
    pub fn words(&self, text: &str) -> String {
        let lines = text.lines().count();
        let what = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
        match self {
            Copied::By(program) => format!("copied {what} ({program})"),
            Copied::ForTerminal => format!("copied {what}, if the terminal lets programs do that (OSC 52)"),
            Copied::TooLong => format!("{what} are too much for the terminal's clipboard"),
        }
    }
}

impl Clipboard {
    /// What this machine has, for a person with this environment.
    #[must_use]
    pub fn of(environment: &Environment) -> Clipboard {
        let path = environment.filled("PATH").unwrap_or_default();
        let found = PROGRAMS.iter().find_map(|(name, arguments, variable)| {
            if !variable.is_empty() && environment.filled(variable).is_none() {
                return None;
            }
            let program = which::which_in(name, Some(path), "/").ok()?;
            Some((program, *arguments))
        });
        Clipboard { program: found }
    }

    /// Gives the text to the program, if there is one and it takes it in time. May block for as long.
    #[must_use]
    pub fn copy(&self, text: &str) -> Copied {
        let Some((program, arguments)) = &self.program else { return Copied::ForTerminal };
        let started = Command::new(program)
            .args(*arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(mut child) => {
                if give(&mut child, text.as_bytes()) {
                    let name = program.file_name().unwrap_or_default().to_string_lossy();
                    return Copied::By(name.into_owned());
                }
                // It has ended, or hangs.
                let _ = child.kill();
                let _ = child.wait();
                Copied::ForTerminal
            }
            Err(_) => Copied::ForTerminal,
        }
    }
}

/// Whether a program takes all of it and then ends well.
fn give(child: &mut Child, bytes: &[u8]) -> bool {
    let until = Instant::now() + PATIENCE;
    let Some(mut stdin) = child.stdin.take() else { return false };
    if rustix::io::ioctl_fionbio(&stdin, true).is_err() {
        return false;
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match stdin.write(rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !wait_writable(stdin.as_fd(), until.saturating_duration_since(Instant::now())) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    drop(stdin);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn program(dir: &std::path::Path, name: &str, script: &str) {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn clipboard(dir: &std::path::Path, variables: &[(&str, &str)]) -> Clipboard {
        let path = dir.to_str().unwrap();
        Clipboard::of(&Environment::from_pairs(
            variables.iter().copied().chain([("PATH", path)]).collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn the_programs_of_the_display_there_is_gets_the_whole_text() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        let take = format!("/bin/cat > {}", taken.display());
        program(dir.path(), "xclip", &take);
        let text = "a line\n".repeat(10_000);
        assert_eq!(clipboard(dir.path(), &[]).copy(&text), Copied::ForTerminal, "there is no display");
        let here = clipboard(dir.path(), &[("DISPLAY", ":0")]);
        assert_eq!(here.copy(&text), Copied::By("xclip".to_owned()));
        assert_eq!(std::fs::read_to_string(taken).unwrap(), text);
        program(dir.path(), "wl-copy", &take);
        let wayland = clipboard(dir.path(), &[("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "wayland-0")]);
        assert_eq!(wayland.copy("x"), Copied::By("wl-copy".to_owned()));
    }

    #[test]
    fn one_that_fails_or_hangs_leaves_it_to_the_terminal_within_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        for script in [
            "/bin/cat > /dev/null; exit 1",
            "exit 0",
            "exec /bin/sleep 1019",
            "/bin/cat >/dev/null; exec /bin/sleep 1019",
        ] {
            program(dir.path(), "xsel", script);
            let here = clipboard(dir.path(), &[("DISPLAY", ":0")]);
            assert_eq!(here.copy(&"x".repeat(200_000)), Copied::ForTerminal, "{script}");
        }
    }
}
