//! Defaults, file, environment and flags, one over the other, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::settings::{OTHER_VARIABLES, SETTINGS, nearest};
use super::{Dirs, Fault, LoadOptions, file};

/// Where a setting's value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In the file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In the environment.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A value as it was given, before it is known whether it is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// In words, from any layer.
    Text(String),
    /// A list, from the file; in other layers a list is words with commas between.
    Items(Vec<String>),
}

/// What the layers say: of each setting what the highest of them gives.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) values: BTreeMap<&'static str, (Given, Origin)>,
    /// `container_env` and `kubernetes.harness_images`: names of the user's own.
    pub(super) named: BTreeMap<&'static str, BTreeMap<String, (String, Origin)>>,
    pub(super) harnesses: toml::Table,
    pub(super) keys: toml::Table,
    pub(super) warnings: Vec<String>,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
}

/// The settings whose names are the user's own, with the beginning of their variables.
const NAMED: [(&str, &str); 2] =
    [("container_env", "CONTAINER_ENV_"), ("kubernetes.harness_images", "K8S_HARNESS_IMAGE_")];

impl Layers {
    pub(super) fn gather(options: &LoadOptions, dirs: &Dirs, faults: &mut Vec<Fault>) -> Layers {
        let mut layers = Layers::default();
        layers.take_file(options, dirs, faults);
        layers.take_variables(options, faults);
        for flag in &options.flags {
            layers.values.insert(flag.key, (Given::Text(flag.value.clone()), Origin::Flag(flag.flag)));
        }
        layers
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn take_file(&mut self, options: &LoadOptions, dirs: &Dirs, faults: &mut Vec<Fault>) {
        let named =
            options.file.clone().or_else(|| options.environment.filled("LAP_CONFIG").map(PathBuf::from));
        let must_exist = named.is_some();
        let path = named.unwrap_or_else(|| dirs.config.join("config.toml"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return,
            Err(error) => {
                let message = format!("cannot read the configuration file {}: {error}", path.display());
                faults.push(Fault { origin: None, message });
                return;
            }
        };
        file::take(&text, &path, self, faults);
        self.file = Some(path);
    }

    fn take_variables(&mut self, options: &LoadOptions, faults: &mut Vec<Fault>) {
        let environment = &options.environment;
        for setting in SETTINGS {
            // A variable set to nothing is one that is not set, as `docker run -e NAME` makes them.
            if let Some(value) = environment.filled(setting.variable) {
                let origin = Origin::Variable(setting.variable.to_owned());
                self.values.insert(setting.key, (Given::Text(value.to_owned()), origin));
            }
        }
        for (name, value) in environment.iter() {
            for (table, prefix) in NAMED {
                let Some(own) = name.strip_prefix(prefix) else { continue };
                let origin = Origin::Variable(name.to_owned());
                if own.is_empty() {
                    faults.push(Fault {
                        origin: Some(origin),
                        message: "a name is missing after the prefix".into(),
                    });
                    continue;
                }
                let own = if table == "container_env" { own.to_owned() } else { harness_id(own) };
                self.named.entry(table).or_default().insert(own, (value.to_owned(), origin));
            }
            self.warn_of_lookalike(name);
        }
    }

    /// Warns of a variable that begins as ours do and is none: not a fault, since others may set what they like.
    fn warn_of_lookalike(&mut self, name: &str) {
        let known = || SETTINGS.iter().map(|setting| setting.variable).chain(OTHER_VARIABLES.iter().copied());
        if !name.starts_with("LAP_") || known().any(|known| known == name) {
            return;
        }
        let hint = nearest(name, known()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.warnings.push(format!("environment variable {name} means nothing to lap{hint}"));
    }

    pub(super) fn put(&mut self, key: &'static str, given: Given, path: &Path, line: usize) {
        self.values.insert(key, (given, Origin::File { path: path.to_owned(), line }));
    }
}

/// `CLAUDE_CODE` → `claude-code`.
fn harness_id(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}
