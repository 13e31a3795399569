//! A machine of one's own for the `lap` program: directories nobody else has, and a server that ends with the test.
#![allow(dead_code)] // each suite uses a part of it

pub(crate) mod terminal;

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A person's machine with nothing on it.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

/// What came of a command.
pub(crate) struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine { folder: tempfile::Builder::new().prefix("lap").tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        for (variable, name) in [
            ("LAP_CONFIG_DIR", "config"),
            ("LAP_DATA_DIR", "data"),
            ("LAP_STATE_DIR", "state"),
            ("LAP_RUNTIME_DIR", "runtime"),
        ] {
            command.env(variable, self.path(name));
        }
        command
    }

    pub(crate) fn lap<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        self.run(&mut self.command(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Done {
        let output = command.output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout).to_owned(),
            stderr: text(&output.stderr).to_owned(),
        }
    }

    pub(crate) fn lap_with_stdin<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        stdin: &str,
    ) -> Done {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // One that ends without reading its input is judged by what it says.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout).to_owned(),
            stderr: text(&output.stderr).to_owned(),
        }
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// Whether a server has said that it is there.
    pub(crate) fn has_server(&self) -> bool {
        self.exists("state/server.json")
    }

    fn server(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("state/server.json")).unwrap()
    }

    pub(crate) fn server_pid(&self) -> u32 {
        self.server()["pid"].as_u64().unwrap().try_into().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.server()["url"].as_str().unwrap().to_owned()
    }

    /// Whether a process runs. One that has ended and is still in the table does not.
    pub(crate) fn is_running(&self, pid: u32) -> bool {
        pidfd_open(raw(pid), PidfdFlags::empty()).is_ok_and(|handle| !ends(&handle, 0))
    }

    /// Kills a process as nothing can be prepared for, and waits until it is gone.
    pub(crate) fn kill(&self, pid: u32) {
        let handle = pidfd_open(raw(pid), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&handle, Signal::KILL).unwrap();
        assert!(ends(&handle, 10), "{pid} is still there");
    }

    /// Makes a process do nothing any more, as one that hangs.
    pub(crate) fn freeze(&self, pid: u32) {
        let handle = pidfd_open(raw(pid), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&handle, Signal::STOP).unwrap();
    }

    /// Sandboxes there still are.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("data/sandboxes")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A failing test must not leave a server or a sandbox behind either.
        let _ = std::fs::remove_file(self.path("config/config.toml"));
        let _ = std::fs::remove_file(self.path("config/contexts.toml"));
        let _ = self.command(["down", "--force", "--yes"]).output();
    }
}

impl Done {
    pub(crate) fn code(&self) -> i32 {
        self.code
    }

    pub(crate) fn stdout(&self) -> &str {
        &self.stdout
    }

    pub(crate) fn stderr(&self) -> &str {
        &self.stderr
    }

    /// What it printed, if it ended well.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout.clone()
    }

    /// Whether it ended well and said this beside its output.
    #[track_caller]
    pub(crate) fn succeeds_saying(&self, words: &str) -> bool {
        self.succeeds();
        assert!(self.stderr.contains(words), "{words} is not in: {}", self.stderr);
        true
    }

    /// What it complained, if it ended with this code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr.clone()
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Whether a process ends within so many seconds.
fn ends(process: &OwnedFd, seconds: i64) -> bool {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&time)).unwrap() > 0
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// The program, where `cargo build` puts it beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let program = folder.join("lap");
    assert!(program.exists(), "{} is not built: `cargo build -p lap-tui` builds it", program.display());
    program
}
