//! The directories of configuration, data, state and runtime files, by XDG.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Environment;

/// Where files are: the XDG directories, each with a variable over it. Nothing is written outside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// What a person writes: `config.toml`, contexts, themes. `LAP_CONFIG_DIR`.
    pub config: PathBuf,
    /// What must not be lost: the database, keys, sandboxes' workspaces, recordings. `LAP_DATA_DIR`.
    pub data: PathBuf,
    /// What may be lost: logs, the running server's address. `LAP_STATE_DIR`.
    pub state: PathBuf,
    /// What ends with the login: sockets. `LAP_RUNTIME_DIR`.
    pub runtime: PathBuf,
}

impl Dirs {
    /// The directories of this environment. None is made yet.
    ///
    /// # Errors
    /// Where there is no home directory to begin from.
    pub fn of(environment: &Environment) -> Result<Dirs, DirsError> {
        let own = |variable| environment.filled(variable).map(PathBuf::from);
        let base = directories::ProjectDirs::from("", "", "lap");
        // The library asks the process; an environment that is not the process's (a test's) has its own home.
        let xdg = |variable: &str, under_home: &str, found: Option<PathBuf>| {
            environment
                .filled(variable)
                .map(|base| Path::new(base).join("lap"))
                .or_else(|| {
                    environment.filled("HOME").map(|home| Path::new(home).join(under_home).join("lap"))
                })
                .or(found)
        };
        let found =
            |path: fn(&directories::ProjectDirs) -> &Path| base.as_ref().map(|dirs| path(dirs).to_owned());
        let config = own("LAP_CONFIG_DIR")
            .or_else(|| xdg("XDG_CONFIG_HOME", ".config", found(|dirs| dirs.config_dir())))
            .ok_or(DirsError::NoHome)?;
        let data = own("LAP_DATA_DIR")
            .or_else(|| xdg("XDG_DATA_HOME", ".local/share", found(|dirs| dirs.data_dir())))
            .ok_or(DirsError::NoHome)?;
        let state = own("LAP_STATE_DIR")
            .or_else(|| {
                let found = base.as_ref().and_then(|dirs| dirs.state_dir().map(Path::to_owned));
                xdg("XDG_STATE_HOME", ".local/state", found)
            })
            .ok_or(DirsError::NoHome)?;
        let runtime = own("LAP_RUNTIME_DIR")
            .or_else(|| environment.filled("XDG_RUNTIME_DIR").map(|base| Path::new(base).join("lap")))
            // A machine without a login manager has none; sockets then live beside the state.
            .unwrap_or_else(|| state.join("run"));
        Ok(Dirs { config, data, state, runtime })
    }

    /// Makes them, for their owner alone.
    ///
    /// # Errors
    /// Where one cannot be made or is not a directory of ours, saying which and what to do.
    pub fn create(&self) -> Result<(), DirsError> {
        create(&self.config, "LAP_CONFIG_DIR")?;
        create(&self.state, "LAP_STATE_DIR")?;
        // Whoever may write to these may put a key, a socket or a program of theirs in place of ours; what is in them
        // is nobody else's to read.
        for (dir, variable) in [(&self.data, "LAP_DATA_DIR"), (&self.runtime, "LAP_RUNTIME_DIR")] {
            let mode = create(dir, variable)?;
            if mode & 0o022 != 0 {
                return Err(DirsError::Open { dir: dir.to_owned(), mode });
            }
            if mode & 0o077 != 0 {
                // As far as it is ours: what lies in it is private by itself too.
                let _ = fs::set_permissions(dir, fs::Permissions::from_mode(mode & 0o700));
            }
        }
        Ok(())
    }
}

/// Makes a directory where there is none and tells its permission bits.
fn create(dir: &Path, variable: &'static str) -> Result<u32, DirsError> {
    let fault = |cause| DirsError::Create { dir: dir.to_owned(), variable, cause };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
    Ok(fs::metadata(dir).map_err(fault)?.mode() & 0o777)
}

/// Why there is no place for files.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// No home.
    #[error(
        "there is no home directory: set HOME, or LAP_CONFIG_DIR, LAP_DATA_DIR, LAP_STATE_DIR and LAP_RUNTIME_DIR"
    )]
    NoHome,
    /// It cannot be made.
    #[error("cannot make the directory {dir}: {cause}. Make it writable, or set {variable} to another place", dir = dir.display())]
    Create {
        /// Which.
        dir: PathBuf,
        /// What names another.
        variable: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// Others may write there.
    #[error("others may write to {dir} (mode {mode:03o}): run `chmod go-w {dir}`", dir = dir.display())]
    Open {
        /// Which.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}
