//! Whether a harness's program is installed on this machine.

use std::path::{Path, PathBuf};

use super::{Catalog, Harness, Host};

/// A harness, and whether its terminal can be started on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detected<'a> {
    /// Which one.
    pub harness: &'a Harness,
    /// Its program, or why there is none.
    pub program: Result<PathBuf, Missing>,
}

/// Why a harness cannot be started here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Missing {
    /// Its program is not on the PATH.
    #[error("{program} is not on the PATH{}", hint(install.as_deref()))]
    NotInstalled {
        /// The program.
        program: String,
        /// How to get it.
        install: Option<String>,
    },
    /// It has no command.
    #[error("{name} has no command for a terminal{}", hint(install.as_deref()))]
    NoCommand {
        /// What people call it.
        name: String,
        /// How to give it one.
        install: Option<String>,
    },
}

fn hint(install: Option<&str>) -> String {
    install.map(|how| format!(": {how}")).unwrap_or_default()
}

impl Harness {
    /// The program of its terminal on this machine.
    ///
    /// # Errors
    /// Why there is none, with what to do about it.
    pub fn detect(&self, host: &Host) -> Result<PathBuf, Missing> {
        let command = self.terminal_command(Some(host));
        let Some(program) = command.first() else {
            return Err(Missing::NoCommand { name: self.name.clone(), install: self.install.clone() });
        };
        // Relative names make no sense: the program starts in its workspace, not here.
        which::which_in(program, Some(&host.path), Path::new("/"))
            .map_err(|_| Missing::NotInstalled { program: program.clone(), install: self.install.clone() })
    }
}

impl Catalog {
    /// Every harness with a terminal, and whether it can be started here.
    #[must_use]
    pub fn detect(&self, host: &Host) -> Vec<Detected<'_>> {
        let with_terminal = self.iter().filter(|harness| harness.supports_tui());
        with_terminal.map(|harness| Detected { harness, program: harness.detect(host) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Environment;

    #[test]
    fn what_is_on_the_path_is_found_and_what_is_missing_says_how_to_get_it() {
        let bin = tempfile::tempdir().unwrap();
        let codex = bin.path().join("codex");
        fs::write(&codex, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(bin.path().join("gemini"), "not executable").unwrap();
        let path = bin.path().to_str().unwrap();
        let host = Host::of(&Environment::from_pairs([("PATH", path), ("SHELL", "/bin/sh")]));
        let catalog = Catalog::built_in().unwrap();
        let found = catalog.detect(&host);
        let of = |id: &str| found.iter().find(|d| d.harness.id == id).unwrap().program.clone();
        assert_eq!(of("codex"), Ok(codex));
        assert_eq!(of("shell"), Ok("/bin/sh".into()));
        let claude = of("claude-code").unwrap_err().to_string();
        assert_eq!(claude, "claude is not on the PATH: npm install -g @anthropic-ai/claude-code");
        assert!(matches!(of("gemini"), Err(Missing::NotInstalled { .. })), "not executable");
        assert!(of("custom").unwrap_err().to_string().contains("[harness.custom]"));
    }
}
