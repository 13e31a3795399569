//! A real keeper as a process of its own, and a small blocking client that speaks to it.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod client;
mod specs;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "not every suite uses everything")]
pub use client::{Client, Got, output_of};
#[allow(unused_imports, reason = "not every suite uses everything")]
pub use specs::{UP, gated, numbers, pipes, pty, sh};

/// No wait in a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds, looking again whenever a moment has passed; fails with its name.
pub fn until<T>(name: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for: {name}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A keeper with a folder of its own. Ends with the value.
pub struct Keeper {
    child: Child,
    folder: tempfile::TempDir,
}

impl Keeper {
    pub fn start() -> Keeper {
        let folder = tempfile::tempdir().unwrap();
        Keeper::start_with(folder, |_| {})
    }

    pub fn start_with(folder: tempfile::TempDir, change: impl FnOnce(&mut Command)) -> Keeper {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lap-keeper"));
        command.arg("run").arg("--socket").arg(folder.path().join("k.sock"));
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        change(&mut command);
        let keeper = Keeper { child: command.spawn().unwrap(), folder };
        until("the keeper listens", || lap_keeper::dial(&keeper.socket()).ok());
        keeper
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("k.sock")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> i32 {
        until("the keeper ends", || self.child.try_wait().unwrap()).code().unwrap_or(-1)
    }

    /// Its resident and proportional memory in KiB.
    pub fn memory(&self) -> (u64, u64) {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let field = |name: &str| {
            let line = rollup.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("Rss:"), field("Pss:"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().ok().flatten().is_none() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process of that number runs.
pub fn is_running(pid: u32) -> bool {
    let mut stat = String::new();
    let Ok(mut file) = std::fs::File::open(format!("/proc/{pid}/stat")) else { return false };
    if file.read_to_string(&mut stat).is_err() {
        return false;
    }
    !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}

pub fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
