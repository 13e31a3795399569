//! Which sandbox a process belongs to, told by its environment.

use std::collections::BTreeSet;
use std::fs;

use super::process::all_pids;
use crate::sandbox::{SANDBOX_HOME_VARIABLE, SANDBOX_VARIABLE, SandboxName};

/// What the processes of one sandbox have in their environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The sandbox.
    pub(super) name: SandboxName,
    /// Where it is kept.
    pub(super) home: String,
}

impl Mark {
    /// As variables.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [(SANDBOX_VARIABLE, self.name.0.clone()), (SANDBOX_HOME_VARIABLE, self.home.clone())]
    }

    /// Whether a process has it. Those of keepers of earlier versions do not say where their sandbox is kept.
    pub(super) fn is_on(&self, pid: i32) -> bool {
        let Some(found) = read(pid) else { return false };
        found.name == self.name && found.home.is_none_or(|home| home == self.home)
    }
}

/// Every sandbox kept at this home of which a process runs, whether anything else is left of it or not.
pub(super) fn running(home: &str) -> BTreeSet<SandboxName> {
    let found = all_pids().into_iter().filter_map(read);
    found.filter(|found| found.home.as_deref() == Some(home)).map(|found| found.name).collect()
}

struct Found {
    name: SandboxName,
    home: Option<String>,
}

fn read(pid: i32) -> Option<Found> {
    parse(&fs::read(format!("/proc/{pid}/environ")).ok()?)
}

fn parse(environ: &[u8]) -> Option<Found> {
    let of = |name: &str| {
        let mut values = environ.split(|byte| *byte == 0).filter_map(|variable| {
            variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(String::from_utf8_lossy)
        });
        values.next().map(std::borrow::Cow::into_owned)
    };
    Some(Found { name: SandboxName(of(SANDBOX_VARIABLE)?), home: of(SANDBOX_HOME_VARIABLE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_an_environment() {
        let found = parse(b"A=1\0LAP_SANDBOX_HOME=8-2\0LAP_SANDBOX=s-1\0").unwrap();
        assert_eq!((found.name.0.as_str(), found.home.as_deref()), ("s-1", Some("8-2")));
        assert!(parse(b"LAP_SANDBOX=s-1\0").unwrap().home.is_none());
        assert!(parse(b"A=LAP_SANDBOX=s-1\0LAP_SANDBOX_HOME=8-2\0").is_none());
    }
}
