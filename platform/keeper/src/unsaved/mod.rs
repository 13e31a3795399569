//! What a workspace holds that is nowhere else: changed files, files in no repository, commits on no remote.
//!
//! A workspace belongs to whoever works in it, which may be a program that means harm. So counting runs nothing and
//! obeys nothing that the workspace names: no hook, no filter, no file system monitor, no configuration of its own
//! (see [`repository`]). It follows no link out of the workspace, and it gives up after [`TIME`].

mod repository;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::repository::Repository;

/// How long it may take.
const TIME: Duration = Duration::from_secs(5);
/// Files and folders outside of repositories that are looked at.
const MOST_ENTRIES: usize = 100_000;
/// Folders below each other.
const DEEPEST: usize = 32;
/// The platform's own folder at the top of a workspace, and virtual environments, which `pip` makes again.
const OURS: &str = ".lap";
const VENV_MARK: &str = "pyvenv.cfg";

/// What would be lost with a workspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unsaved {
    /// Files that are changed, deleted or new, and not ignored, and all that are in no repository.
    pub files: u64,
    /// Commits and stashes that no remote is known to have.
    pub commits: u64,
}

/// Counts what `workspace` holds that is nowhere else, with this program for `git`. A workspace that is not there holds
/// nothing. `ours`: paths within it, outside of repositories, that the platform has put there.
///
/// # Errors
/// When it cannot be counted, with the reason: it is too large, `git` is not installed, a repository is broken or of a
/// kind that is not known.
pub fn unsaved(workspace: &Path, git: &Path, ours: &[PathBuf]) -> io::Result<Unsaved> {
    let workspace = match fs::canonicalize(workspace) {
        Ok(workspace) => workspace,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Unsaved::default()),
        Err(error) => return Err(error),
    };
    let mut walk = Walk {
        ends: Instant::now() + TIME,
        entries: 0,
        sum: Unsaved::default(),
        ours: ours.iter().map(|path| workspace.join(path)).collect(),
        workspace,
        git: git.to_owned(),
    };
    walk.folder(&walk.workspace.clone(), 0)?;
    Ok(walk.sum)
}

struct Walk {
    ends: Instant,
    entries: usize,
    sum: Unsaved,
    ours: HashSet<PathBuf>,
    workspace: PathBuf,
    git: PathBuf,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(too_large("folders lie too deep in each other"));
        }
        if let Some(repository) = Repository::at(folder, &self.workspace)? {
            return self.repository(&repository, folder, depth);
        }
        if depth > 0 && folder.join(VENV_MARK).is_file() {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            self.entries += 1;
            if self.entries > MOST_ENTRIES || Instant::now() > self.ends {
                return Err(too_large("there are too many files in it"));
            }
            // Does not follow links.
            let kind = entry.file_type()?;
            if self.ours.contains(&entry.path()) {
                continue;
            }
            if kind.is_dir() {
                if depth > 0 || entry.file_name() != OURS {
                    self.folder(&entry.path(), depth + 1)?;
                }
            } else {
                self.sum.files += 1;
            }
        }
        Ok(())
    }

    fn repository(&mut self, repository: &Repository, folder: &Path, depth: usize) -> io::Result<()> {
        let own = repository.count(&self.git, self.ends)?;
        self.sum.files += own.unsaved.files;
        self.sum.commits += own.unsaved.commits;
        for inner in own.inner {
            // The path is the repository's word.
            let inner = folder.join(inner);
            if fs::canonicalize(&inner).is_ok_and(|at| at == inner) {
                self.folder(&inner, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn too_large(what: &str) -> io::Error {
    io::Error::other(format!("what is unsaved cannot be counted: {what}"))
}
