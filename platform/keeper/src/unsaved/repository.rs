//! One repository, read by `git` but not on the repository's terms.
//!
//! `git` does what a repository's configuration says: it runs a file system monitor, filters, hooks and external diffs
//! even at a plain `git status`. So it is never pointed at the repository's own `.git`, but at a folder made for the
//! count, with a configuration of ours and links to the repository's objects, refs and index, which are data. What is
//! named in `.gitattributes` means nothing without the configuration that defines it. Submodules and repositories
//! inside are not entered by `git`: they are named to the caller, who counts each in this way.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Unsaved;

/// The longest file of git's that is read as text: `HEAD`, a `.git` that is a file, a configuration.
const MOST_TEXT: u64 = 64 * 1024;
/// Repositories inside one.
const MOST_INNER: usize = 1_000;
/// Bytes of complaint that are told.
const MOST_WORDS: u64 = 500;

/// A repository in a workspace.
#[derive(Debug)]
pub(super) struct Repository {
    work_tree: PathBuf,
    /// With `HEAD` and the index.
    own: PathBuf,
    /// With objects and refs; another one for a further work tree of a repository.
    common: PathBuf,
}

/// What was counted in one.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) unsaved: Unsaved,
    /// Repositories inside it, relative to it.
    pub(super) inner: Vec<PathBuf>,
}

impl Repository {
    /// The repository whose work tree `folder` is. One whose data lies outside of the workspace is none: it is not
    /// lost with the workspace, and not ours to read.
    pub(super) fn at(folder: &Path, workspace: &Path) -> io::Result<Option<Repository>> {
        let dot_git = folder.join(".git");
        let Ok(about) = fs::symlink_metadata(&dot_git) else { return Ok(None) };
        let own = if about.is_file() {
            let text = text(&dot_git)?;
            let Some(path) = text.strip_prefix("gitdir:") else { return Ok(None) };
            folder.join(path.trim())
        } else {
            dot_git
        };
        let Some(own) = inside(&own, workspace) else { return Ok(None) };
        let common = match text(&own.join("commondir")) {
            Ok(path) => own.join(path.trim()),
            Err(_) => own.clone(),
        };
        let Some(common) = inside(&common, workspace) else { return Ok(None) };
        if !own.join("HEAD").is_file() || !common.join("objects").is_dir() {
            return Ok(None);
        }
        Ok(Some(Repository { work_tree: folder.to_owned(), own, common }))
    }

    /// Counts until `ends`.
    pub(super) fn count(&self, git: &Path, ends: Instant) -> io::Result<Counted> {
        let stand_in = StandIn::of(self, git)?;
        let git = |arguments: &[&str]| stand_in.git(&self.work_tree, arguments, ends);
        let mut counted = Counted::default();
        let status = [
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=all",
            "--ignore-submodules=all",
        ];
        git(&status)?.each(0, |entry| {
            match entry.strip_prefix(b"?? ").and_then(|path| path.strip_suffix(b"/")) {
                Some(inner) => counted.found(inner),
                None => counted.unsaved.files += 1,
            }
        })?;
        let mut commits = vec!["rev-list", "--count", "--branches"];
        for name in ["HEAD", "refs/stash"] {
            commits.extend(git(&["rev-parse", "--quiet", "--verify", name])?.succeeded()?.then_some(name));
        }
        commits.extend(["--not", "--remotes"]);
        git(&commits)?.each(b'\n', |line| {
            let number = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
            counted.unsaved.commits = number.unwrap_or(0);
        })?;
        if fs::symlink_metadata(self.work_tree.join(".gitmodules")).is_ok_and(|about| about.is_file()) {
            let paths = [
                "config",
                "--no-includes",
                "--file",
                ".gitmodules",
                "-z",
                "--get-regexp",
                r"^submodule\..*\.path$",
            ];
            // One that cannot be read names none.
            let _ = git(&paths)?.each(0, |entry| {
                if let Some(path) = entry.split(|byte| *byte == b'\n').nth(1) {
                    counted.found(path);
                }
            });
        }
        Ok(counted)
    }
}

impl Counted {
    fn found(&mut self, path: &[u8]) {
        let path = Path::new(OsStr::from_bytes(path));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if plain && path.components().next().is_some() && self.inner.len() < MOST_INNER {
            self.inner.push(path.to_owned());
        }
    }
}

/// A repository in another's place, with its data and none of its wishes; removed when it is dropped.
struct StandIn {
    folder: PathBuf,
    git: PathBuf,
}

impl StandIn {
    fn of(repository: &Repository, git: &Path) -> io::Result<StandIn> {
        let config = text(&repository.common.join("config")).unwrap_or_default().to_lowercase();
        let says = |name: &str| {
            let mut values = config.lines().filter_map(|line| line.split_once('='));
            values.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        if says("refstorage").is_some_and(|storage| storage != "files") {
            return Err(io::Error::other("what is unsaved cannot be counted: git keeps its refs in tables"));
        }
        let (version, extension) = match says("objectformat").as_deref() {
            Some("sha256") => (1, "[extensions]\n\tobjectformat = sha256\n"),
            _ => (0, ""),
        };
        let stand_in = StandIn { folder: private_folder()?, git: git.to_owned() };
        let here = &stand_in.folder;
        fs::create_dir_all(here.join("objects/info"))?;
        fs::create_dir(here.join("info"))?;
        let config = format!("[core]\n\trepositoryformatversion = {version}\n\tbare = false\n{extension}");
        fs::write(here.join("config"), config)?;
        fs::write(here.join("HEAD"), text(&repository.own.join("HEAD"))?)?;
        let mut objects = repository.common.join("objects").into_os_string().into_vec();
        if objects.contains(&b'\n') {
            return Err(io::Error::other("what is unsaved cannot be counted: its path has a line break"));
        }
        objects.push(b'\n');
        fs::write(here.join("objects/info/alternates"), objects)?;
        for name in ["refs", "packed-refs", "shallow", "info/exclude"] {
            link(&repository.common.join(name), &here.join(name))?;
        }
        link(&repository.own.join("index"), &here.join("index"))?;
        for entry in fs::read_dir(&repository.own)? {
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b"sharedindex.") {
                link(&repository.own.join(&name), &here.join(&name))?;
            }
        }
        Ok(stand_in)
    }

    fn git(&self, work_tree: &Path, arguments: &[&str], ends: Instant) -> io::Result<Running> {
        let mut command = Command::new(&self.git);
        command.env_clear();
        for (name, value) in [
            ("LC_ALL", "C"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ] {
            command.env(name, value);
        }
        command.env("GIT_DIR", &self.folder).env("GIT_WORK_TREE", work_tree).current_dir(work_tree);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other("what is unsaved cannot be counted: git is not installed")
            }
            _ => error,
        })?;
        Running::new(child, ends)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Links in it are removed, not what they lead to.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `git` at work; killed when its time is over.
struct Running {
    output: BufReader<std::process::ChildStdout>,
    ended: mpsc::Receiver<io::Result<(bool, String)>>,
}

impl Running {
    fn new(mut child: Child, ends: Instant) -> io::Result<Running> {
        let (Some(output), Some(mut words)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("git has no output"));
        };
        let (tell, ended) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("git".into()).spawn(move || {
            let _ = tell.send(wait(&mut child, &mut words, ends));
        })?;
        Ok(Running { output: BufReader::new(output), ended })
    }

    /// Gives each entry that ends with `end`.
    fn each(mut self, end: u8, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut entry = Vec::new();
        while self.output.read_until(end, &mut entry)? > 0 {
            if entry.last() == Some(&end) {
                entry.pop();
            }
            take(&entry);
            entry.clear();
        }
        match self.end()? {
            (true, _) => Ok(()),
            (false, words) => {
                Err(io::Error::other(format!("what is unsaved cannot be counted: {}", words.trim())))
            }
        }
    }

    fn succeeded(mut self) -> io::Result<bool> {
        io::copy(&mut self.output, &mut io::sink())?;
        Ok(self.end()?.0)
    }

    fn end(self) -> io::Result<(bool, String)> {
        self.ended.recv().map_err(io::Error::other)?
    }
}

/// Waits for its end, and ends it when its time is over.
fn wait(child: &mut Child, words: &mut impl Read, ends: Instant) -> io::Result<(bool, String)> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let left = ends.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    // Readable is ended.
    if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left))? == 0 {
        child.kill()?;
        child.wait()?;
        return Ok((false, "it takes too long".to_owned()));
    }
    let status = child.wait()?;
    let mut said = String::new();
    let _ = words.take(MOST_WORDS).read_to_string(&mut said);
    Ok((status.success(), said))
}

/// A path as it really is, where that is inside the workspace.
fn inside(path: &Path, workspace: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|path| path.starts_with(workspace) && path.is_dir())
}

/// A small file of git's. Never a device or a pipe, which could hold the count up.
fn text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other(format!("{} is not a file", path.display())));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(MOST_TEXT).read_to_string(&mut text)?;
    Ok(text)
}

fn link(to: &Path, at: &Path) -> io::Result<()> {
    if to.exists() { symlink(to, at) } else { Ok(()) }
}

fn private_folder() -> io::Result<PathBuf> {
    let (pid, mut number) = (std::process::id(), 0_u32);
    loop {
        let path = std::env::temp_dir().join(OsString::from(format!("lap-count-{pid}-{number}")));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1_000 => number += 1,
            made => return made.map(|()| path),
        }
    }
}
