//! Disks that take nothing: made in every way that this machine allows, each of which the tests go through. Where none
//! is allowed they fail.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::{Home, PATIENCE, environment};

/// A way to a data directory that is on a disk of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// A file system of one's own, in a namespace that any user may make where the system lets him.
    UserNamespace,
    /// The same by a superuser who may mount.
    MountNamespace,
    /// A library between the server and the system's calls. Needs no right at all, but a C compiler.
    Preload,
    /// No disk of its own: the directory's mode says that nobody writes. Read-only alone.
    Mode,
    /// The same for a superuser, whom a mode does not stop: without the capability that lets him pass.
    ModeWithoutCapability,
}

impl Way {
    /// What runs a program that way.
    fn words(self) -> &'static [&'static str] {
        match self {
            Way::UserNamespace => &["unshare", "--user", "--map-root-user", "--mount"],
            Way::MountNamespace => &["unshare", "--mount"],
            Way::Preload | Way::Mode => &[],
            Way::ModeWithoutCapability => &["setpriv", "--bounding-set=-dac_override,-dac_read_search"],
        }
    }

    fn mounts(self) -> bool {
        matches!(self, Way::UserNamespace | Way::MountNamespace)
    }

    fn shell(self, script: &str) -> Command {
        let words: Vec<_> = self.words().iter().copied().chain(["sh", "-c", script]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Whether this machine allows it.
    async fn works(self) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let script = match self {
            Way::UserNamespace | Way::MountNamespace => "mount -t tmpfs none \"$0\"",
            Way::Preload => return library().is_some(),
            Way::Mode | Way::ModeWithoutCapability => "chmod 555 \"$0\" && ! touch \"$0/file\" 2>/dev/null",
        };
        self.shell(script).arg(dir.path()).output().await.is_ok_and(|output| output.status.success())
    }

    async fn those_that_work(ways: &[Way]) -> Vec<Way> {
        let mut found = Vec::new();
        for way in ways {
            if way.works().await {
                found.push(*way);
            }
        }
        assert!(!found.is_empty(), "this machine allows none of {ways:?}: without one this cannot be tested");
        found
    }

    /// Ways to a disk that is full.
    pub(crate) async fn to_full() -> Vec<Way> {
        Way::those_that_work(&[Way::UserNamespace, Way::MountNamespace, Way::Preload]).await
    }

    /// The way of a server that needs no right at all.
    pub(crate) fn plain() -> Way {
        Way::Mode
    }

    /// Ways to mounts of one's own.
    pub(crate) async fn to_mounts() -> Vec<Way> {
        Way::those_that_work(&[Way::UserNamespace, Way::MountNamespace]).await
    }

    /// Ways to a disk that is read-only.
    pub(crate) async fn to_read_only() -> Vec<Way> {
        let all = [Way::UserNamespace, Way::MountNamespace, Way::Mode, Way::ModeWithoutCapability];
        Way::those_that_work(&all).await
    }
}

/// The library of [`Way::Preload`], compiled once for all tests of this process.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let compiled = || {
        let dir = tempfile::tempdir().ok()?;
        let library = dir.path().join("full.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/disk/full.c");
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]);
        compiler.status().is_ok_and(|status| status.success()).then_some((dir, library))
    };
    LIBRARY.get_or_init(compiled).as_ref().map(|(_, library)| library.as_path())
}

/// What a disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disk {
    ReadOnly,
    /// Room for so many KiB in all, or (without a disk of its own) in each file.
    Small(u32),
    /// Room for so many files. Where there are mounts.
    Files(u32),
    /// As ever, but the server may have no more than so many files open.
    OpenFiles(u32),
    /// As ever, but the whole machine has no more than so many terminals. Where there are mounts.
    Terminals(u32),
}

/// The server with its data on such a disk: `$0` is the directory, `$1` the server.
fn server(way: Way, disk: Disk, dir: &Home, then: &str) -> Command {
    let data = dir.path().join("data");
    if !data.exists() {
        std::fs::create_dir(&data).unwrap();
    }
    let room = dir.path().join("data.room");
    let prepare = match disk {
        Disk::ReadOnly if way.mounts() => "mount -t tmpfs -o ro,mode=700 none \"$0\"".to_owned(),
        Disk::ReadOnly => "chmod 555 \"$0\"".to_owned(),
        Disk::Small(kib) if way.mounts() => format!("mount -t tmpfs -o size={kib}k,mode=700 none \"$0\""),
        Disk::Files(count) => {
            format!("mount -t tmpfs -o size={ROOM_KIB}k,nr_inodes={count},mode=700 none \"$0\"")
        }
        Disk::OpenFiles(count) => format!("ulimit -n {count}"),
        Disk::Terminals(count) => format!(
            "mount -t devpts -o newinstance,ptmxmode=666,mode=620,max={count} none /dev/pts && \
             mount --bind /dev/pts/ptmx /dev/ptmx"
        ),
        Disk::Small(kib) => {
            std::fs::write(room, (kib * 1024).to_string()).unwrap();
            ":".to_owned()
        }
    };
    let mut command = way.shell(&format!("{prepare} || exit 99\n{then}"));
    command.arg(&data).arg(env!("CARGO_BIN_EXE_lap-server"));
    command.env_clear().envs(environment(dir, &[]).iter());
    if let (Way::Preload, Some(library)) = (way, library()) {
        command.env("LD_PRELOAD", library).env("LAP_TEST_DISK", data);
    }
    command
}

/// Tries to start a server on such a disk: what it exits with and what it says.
pub(crate) async fn refused(way: Way, disk: Disk) -> (Option<i32>, String) {
    let dir = Home::new();
    let output = timeout(PATIENCE, server(way, disk, &dir, "exec \"$1\"").output()).await.unwrap().unwrap();
    // For whoever removes it.
    let _ = std::fs::set_permissions(dir.path().join("data"), Permissions::from_mode(0o700));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A server whose disk can be filled and emptied while it runs.
pub(crate) struct OnDisk {
    pub(crate) dir: Home,
    shell: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What has room for a database, a recording and a sandbox.
const ROOM_KIB: u32 = 64 * 1024;

/// Starts the server and does one order after the other, as lines of its standard input; ends with that.
const ORDERS: &str = r#"
program=$1
start() { "$program" </dev/null >/dev/null & server=$!; }
start
while read -r order; do
  case $order in
    fill) if [ -n "$LAP_TEST_DISK" ]; then echo 0 >"$0.room"; else cat /dev/zero >"$0/ballast" 2>/dev/null; fi ;;
    files) ( i=0; while : >"$0/ballast$i"; do i=$((i + 1)); done ) 2>/dev/null ;;
    empty) if [ -n "$LAP_TEST_DISK" ]; then rm "$0.room"; else rm "$0"/ballast*; fi ;;
    restart) kill -TERM "$server"; wait "$server" || exit 1; start ;;
  esac
  echo done
done
kill -TERM "$server"; wait "$server"
"#;

impl OnDisk {
    pub(crate) fn start(way: Way) -> OnDisk {
        OnDisk::start_on(way, Disk::Small(ROOM_KIB))
    }

    pub(crate) fn start_on(way: Way, disk: Disk) -> OnDisk {
        let dir = Home::new();
        let mut command = server(way, disk, &dir, ORDERS);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut shell = command.spawn().unwrap();
        if way == Way::Preload {
            std::fs::remove_file(dir.path().join("data.room")).unwrap();
        }
        let orders = shell.stdin.take().unwrap();
        let answers = BufReader::new(shell.stdout.take().unwrap()).lines();
        OnDisk { dir, shell, orders, answers }
    }

    /// The server's address, once it listens.
    pub(crate) async fn url(&self) -> String {
        let told = self.dir.path().join("state/server.json");
        let listening = async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&told)
                    && let Ok(server) = serde_json::from_str::<serde_json::Value>(&text)
                {
                    return server["url"].as_str().unwrap().to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, listening).await.unwrap()
    }

    async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.answers.next_line()).await.unwrap().unwrap();
        assert_eq!(answer.as_deref(), Some("done"), "{order}");
    }

    /// From here on there is no room.
    pub(crate) async fn fill(&mut self) {
        self.order("fill").await;
    }

    /// From here on there is no room for one file more.
    pub(crate) async fn fill_with_files(&mut self) {
        self.order("files").await;
    }

    /// There is room again.
    pub(crate) async fn empty(&mut self) {
        self.order("empty").await;
    }

    /// The server ends well and another takes its place.
    pub(crate) async fn restart(&mut self) {
        self.order("restart").await;
    }

    /// The server ends; whether it did so well.
    pub(crate) async fn stop(mut self) -> bool {
        drop(self.orders);
        timeout(PATIENCE, self.shell.wait()).await.unwrap().unwrap().success()
    }
}
