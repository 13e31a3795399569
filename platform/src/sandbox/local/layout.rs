//! Where a sandbox is kept: `<data>/sandboxes/<name>/` with its socket and log in it, and `<data>/workspaces/<session>/`
//! for what is worked on, which outlives the sandbox: the next one of the session goes on there.
//!
//! A folder is a sandbox from the moment it has its name, and it gets the name only when its spec is inside. It stops
//! being one in the same way: it is renamed, then removed. What a crash leaves half made has a name that begins with a
//! dot, and is swept up at the next start.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::ProcessId;
use crate::sandbox::{SandboxName, SandboxSpec};

/// Begins the names of folders that are being made or removed.
const MAKING: &str = ".making-";
const REMOVING: &str = ".removing-";
/// Only the user may look into a sandbox: its terminal's socket is there.
const PRIVATE: u32 = 0o700;

/// All sandboxes of one data directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    sandboxes: PathBuf,
    workspaces: PathBuf,
    /// Which folder `sandboxes` was when it was opened, whatever its path leads to later.
    opened: Inode,
}

/// Which file something is: its device and number there.
type Inode = (u64, u64);

/// One sandbox's folder, and its workspace.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    workspace: PathBuf,
}

/// Which process is a sandbox's keeper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct KeeperFile {
    #[serde(flatten)]
    pub(super) process: ProcessId,
}

impl Layout {
    /// Makes the folders there must be.
    pub(super) fn open(data: &Path) -> io::Result<Layout> {
        // Absolute, since keepers and programs run elsewhere.
        let data = std::path::absolute(data)?;
        let (sandboxes, workspaces) = (data.join("sandboxes"), data.join("workspaces"));
        private_dir(&sandboxes)?;
        private_dir(&workspaces)?;
        let opened = inode(&sandboxes)?;
        Ok(Layout { sandboxes, workspaces, opened })
    }

    /// Whether what was opened is still where it was. A folder that was moved away, unmounted or replaced holds no
    /// sandboxes to be seen, which is not to say that there are none.
    ///
    /// # Errors
    /// When it is not; with words for whoever runs the server.
    pub(super) fn check(&self) -> io::Result<()> {
        let what = match inode(&self.sandboxes) {
            Ok(now) if now == self.opened => return Ok(()),
            Ok(_) => "has been replaced by another",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is not there",
            Err(_) => "cannot be read",
        };
        Err(io::Error::other(format!(
            "the server's data directory {what} since it was started: put it back, or start the server again"
        )))
    }

    /// Which folder of sandboxes this is, also after it was moved. A copy of it is another.
    pub(super) fn home(&self) -> String {
        format!("{}-{}", self.opened.0, self.opened.1)
    }

    /// The place of a sandbox, whether there is one or not.
    pub(super) fn place(&self, name: &SandboxName) -> Place {
        Place { folder: self.sandboxes.join(&name.0), workspace: self.workspace(workspace_of(name)) }
    }

    /// Where a workspace is, whether there is one or not.
    pub(super) fn workspace(&self, workspace: &str) -> PathBuf {
        self.workspaces.join(workspace)
    }

    /// The names of all workspaces there are.
    pub(super) fn workspaces(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.workspaces)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.into_iter().flatten().filter(|name| !name.starts_with('.')).collect())
    }

    /// Removes a workspace with everything in it.
    pub(super) fn erase(&self, workspace: &str) -> io::Result<()> {
        let removing = self.workspaces.join(format!("{REMOVING}{workspace}"));
        remove_tree(&removing)?;
        match fs::rename(self.workspace(workspace), &removing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        remove_tree(&removing)
    }

    /// The names of all sandboxes there are.
    pub(super) fn names(&self) -> io::Result<Vec<SandboxName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.sandboxes)? {
            let name = entry?.file_name();
            match name.to_str() {
                Some(name) if !name.starts_with('.') => names.push(SandboxName(name.to_owned())),
                _ => {}
            }
        }
        Ok(names)
    }

    /// Makes a sandbox's folder; one that is there stays as it is. Says whether it is new.
    pub(super) fn make(&self, spec: &SandboxSpec) -> io::Result<bool> {
        let place = self.place(&spec.name);
        if place.exists() {
            return Ok(false);
        }
        let making = self.sandboxes.join(format!("{MAKING}{}", spec.name));
        remove_tree(&making)?;
        private_dir(&making)?;
        private_dir(&place.workspace)?;
        write_json(&making.join("spec.json"), spec)?;
        fs::rename(&making, &place.folder)?;
        Ok(true)
    }

    /// Removes a sandbox's folder and everything in it; its workspace stays.
    pub(super) fn remove(&self, name: &SandboxName) -> io::Result<()> {
        let place = self.place(name);
        let earlier = place.earlier_workspace();
        if earlier.is_dir() {
            // Only an empty folder gives way, and the next sandbox has not been there yet.
            fs::rename(earlier, &place.workspace)?;
        }
        let removing = self.sandboxes.join(format!("{REMOVING}{name}"));
        remove_tree(&removing)?;
        match fs::rename(&place.folder, &removing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_tree(&removing)
    }

    /// Removes what a crash has left half made or half removed.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for folder in [&self.sandboxes, &self.workspaces] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_str().is_some_and(|n| n.starts_with(MAKING) || n.starts_with(REMOVING)) {
                    remove_tree(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}

impl Place {
    /// Whether there is a sandbox here.
    pub(super) fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Where its programs start.
    pub(super) fn workspace(&self) -> PathBuf {
        let earlier = self.earlier_workspace();
        if earlier.is_dir() { earlier } else { self.workspace.clone() }
    }

    /// Where sandboxes of earlier versions have their workspace.
    fn earlier_workspace(&self) -> PathBuf {
        self.folder.join("workspace")
    }

    /// The keeper's socket. It is here and not in the runtime directory because that one is emptied when the user logs
    /// out, and sandboxes live on; that the path may be too long for a socket's address, [`super::connect`] mends.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("keeper.sock")
    }

    /// What the keeper prints.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("keeper.log")
    }

    /// What it was made from. `None`: there is no such sandbox.
    pub(super) fn spec(&self) -> io::Result<Option<SandboxSpec>> {
        read_json(&self.folder.join("spec.json"))
    }

    /// Which process its keeper is or was. `None`: none has been up yet.
    pub(super) fn keeper(&self) -> io::Result<Option<ProcessId>> {
        Ok(read_json::<KeeperFile>(&self.folder.join("keeper.json"))?.map(|file| file.process))
    }

    /// Records which process its keeper is.
    pub(super) fn set_keeper(&self, process: ProcessId) -> io::Result<()> {
        write_json(&self.folder.join("keeper.json"), &KeeperFile { process })
    }
}

/// The workspace of a sandbox: all of one session, `s-<session>` and after restarts `s-<session>-<n>`, have the same.
fn workspace_of(name: &SandboxName) -> &str {
    session_of(name).unwrap_or(&name.0)
}

/// The session whose sandbox this is, by its name.
pub(super) fn session_of(name: &SandboxName) -> Option<&str> {
    let session = name.0.strip_prefix("s-").and_then(|rest| rest.get(..uuid::fmt::Hyphenated::LENGTH));
    session.filter(|id| uuid::Uuid::try_parse(id).is_ok())
}

fn inode(path: &Path) -> io::Result<Inode> {
    let about = fs::metadata(path)?;
    Ok((about.dev(), about.ino()))
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path)
}

/// Written beside its place and renamed, so that it is there whole or not at all.
fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    drop(file);
    fs::rename(&beside, path)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a folder with all that is in it, also folders that programs have made read-only (package caches do).
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// As far as possible: what cannot be made writable is reported by the removal that follows.
fn make_writable(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(PRIVATE));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        // `file_type` does not follow links, so this never leaves the sandbox.
        folders
            .extend(entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> SandboxSpec {
        SandboxSpec {
            name: SandboxName(name.to_owned()),
            image: None,
            resources: crate::model::Resources::default(),
            labels: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_sandbox_is_listed_once_it_is_whole_and_leaves_nothing_behind() {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::open(data.path()).unwrap();
        let spec = spec("s-1");
        assert!(layout.make(&spec).unwrap());
        assert!(!layout.make(&spec).unwrap(), "the second time it is there");
        assert_eq!(layout.names().unwrap(), std::slice::from_ref(&spec.name));
        assert_eq!(layout.place(&spec.name).spec().unwrap(), Some(spec.clone()));
        layout.remove(&spec.name).unwrap();
        layout.remove(&spec.name).unwrap();
        assert_eq!(fs::read_dir(data.path().join("sandboxes")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_half_made_is_no_sandbox_and_is_swept_up() {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::open(data.path()).unwrap();
        fs::create_dir_all(data.path().join("sandboxes/.making-s-1/workspace")).unwrap();
        fs::create_dir_all(data.path().join("sandboxes/.removing-s-2/workspace/a")).unwrap();
        assert_eq!(layout.names().unwrap(), []);
        layout.sweep().unwrap();
        assert_eq!(fs::read_dir(data.path().join("sandboxes")).unwrap().count(), 0);
    }

    #[test]
    fn all_sandboxes_of_a_session_have_one_workspace_which_outlives_them() {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::open(data.path()).unwrap();
        let session = "0197c0de-0000-7000-8000-000000000000";
        let (first, second) = (spec(&format!("s-{session}")), spec(&format!("s-{session}-12")));
        layout.make(&first).unwrap();
        fs::write(layout.place(&first.name).workspace().join("notes"), "mine").unwrap();
        layout.remove(&first.name).unwrap();
        assert_eq!(layout.names().unwrap(), []);
        layout.make(&second).unwrap();
        assert_eq!(fs::read_to_string(layout.place(&second.name).workspace().join("notes")).unwrap(), "mine");
        layout.remove(&second.name).unwrap();
        assert_eq!(layout.workspaces().unwrap(), [session]);
        layout.erase(session).unwrap();
        layout.erase(session).unwrap();
        assert_eq!(fs::read_dir(data.path().join("workspaces")).unwrap().count(), 0);
        assert_eq!(workspace_of(&SandboxName("w-1".to_owned())), "w-1");
    }

    #[test]
    fn a_workspace_that_an_earlier_version_made_stays_where_it_is_until_its_sandbox_goes() {
        let data = tempfile::tempdir().unwrap();
        let layout = Layout::open(data.path()).unwrap();
        let spec = spec("s-0197c0de-0000-7000-8000-000000000000");
        layout.make(&spec).unwrap();
        let earlier = data.path().join("sandboxes").join(&spec.name.0).join("workspace");
        fs::create_dir(&earlier).unwrap();
        fs::write(earlier.join("notes"), "mine").unwrap();
        assert_eq!(layout.place(&spec.name).workspace(), earlier);
        layout.remove(&spec.name).unwrap();
        assert_eq!(fs::read_to_string(layout.place(&spec.name).workspace().join("notes")).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_was_moved_away_or_replaced_is_known_and_so_is_its_return() {
        let home = tempfile::tempdir().unwrap();
        let (data, away) = (home.path().join("data"), home.path().join("away"));
        let layout = Layout::open(&data).unwrap();
        layout.check().unwrap();
        fs::rename(&data, &away).unwrap();
        let missing = layout.check().unwrap_err().to_string();
        assert!(missing.contains("is not there") && missing.contains("start the server again"), "{missing}");
        Layout::open(&data).unwrap();
        assert!(layout.check().unwrap_err().to_string().contains("has been replaced"));
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&away, &data).unwrap();
        layout.check().unwrap();
    }

    #[test]
    fn folders_made_read_only_are_removed_too() {
        let data = tempfile::tempdir().unwrap();
        let locked = data.path().join("a/b");
        fs::create_dir_all(&locked).unwrap();
        fs::write(locked.join("file"), "").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
        make_writable(data.path());
        assert_eq!(fs::metadata(&locked).unwrap().permissions().mode() & 0o777, PRIVATE);
        remove_tree(&data.path().join("a")).unwrap();
        assert!(!data.path().join("a").exists());
    }
}
