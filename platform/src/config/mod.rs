//! All settings, parsed once at start: one TOML file, environment variables over it, flags over those.
//!
//! Every fault of every layer is reported in one go, each with the place it came from. Nothing else in the workspace
//! reads the environment: what others need of it is in [`Environment`].
//!
//! [`SETTINGS`] is the list of all of them, with their names in each layer, defaults and meaning; [`Config`] is what
//! they come to.

mod dirs;
mod environment;
mod fault;
mod file;
mod layers;
mod read;
mod render;
mod settings;
mod types;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use dirs::{Dirs, DirsError};
pub use environment::Environment;
pub use fault::{ConfigFaults, Fault};
pub use layers::Origin;
pub use settings::{SETTINGS, Setting};
pub use types::{
    Egress, Gateway, Interface, Kubernetes, Limits, Linear, LogFormat, Logging, Recording, Runtime, Secrets,
    ServerAddress, SessionDefaults, Terminals, WarmPool,
};

use crate::model::EnvVars;
use layers::Layers;

/// What a configuration is loaded from.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The process's environment, or a test's.
    pub environment: Environment,
    /// The file to read instead of `config.toml` in the configuration directory; it must be there.
    pub file: Option<PathBuf>,
    /// Settings given on the command line.
    pub flags: Vec<Flag>,
}

/// A setting given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Which setting, by its dotted name in the file.
    pub key: &'static str,
    /// How the command line calls it, for messages: `--port`.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
}

/// Everything that can be set.
#[derive(Clone)]
pub struct Config {
    /// Where files are.
    pub dirs: Dirs,
    /// The environment it was loaded from.
    pub environment: Environment,
    /// Where the server listens, and what it is called from outside.
    pub server: ServerAddress,
    /// Where the state is kept: `sqlite:<path>` or `postgres://…`.
    pub database_url: crate::secret::SecretText,
    /// Keys.
    pub secrets: Secrets,
    /// What the server takes at most.
    pub limits: Limits,
    /// How sessions come up and end.
    pub sessions: SessionDefaults,
    /// What is kept of terminals.
    pub terminals: Terminals,
    /// Recordings of terminals.
    pub recording: Recording,
    /// The log.
    pub logging: Logging,
    /// The dashboard and panes.
    pub interface: Interface,
    /// The model gateway.
    pub gateway: Gateway,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// Where sandboxes run.
    pub runtime: Runtime,
    /// Sandboxes kept ready.
    pub warm_pool: WarmPool,
    /// What sandboxes may reach when their agent does not say.
    pub egress: Egress,
    /// Linear.
    pub linear: Linear,
    /// The repository sessions begin with where their agent names none.
    pub preinstalled_repo: Option<String>,
    /// Given to every sandbox: `CONTAINER_ENV_<NAME>`, or `[container_env]` in the file.
    pub container_env: EnvVars,
    /// `[harness.<id>]` tables of the file, laid over the catalog's own.
    pub harnesses: toml::Table,
    /// What is odd but not wrong: variables that look like ours and are not.
    pub warnings: Vec<String>,
    layers: Layers,
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// Every fault there is, not the first alone.
    pub fn load(options: LoadOptions) -> Result<Config, ConfigFaults> {
        match Config::load_anyway(options)? {
            (config, None) => Ok(config),
            (_, Some(faults)) => Err(faults),
        }
    }

    /// [`Config::load`] for what must work with a faulty configuration too: ending what runs, and saying what is wrong.
    /// A setting with a fault has its default.
    ///
    /// # Errors
    /// It cannot even be told where files are.
    pub fn load_anyway(options: LoadOptions) -> Result<(Config, Option<ConfigFaults>), ConfigFaults> {
        let mut faults = Vec::new();
        let dirs = Dirs::of(&options.environment).map_err(|error| ConfigFaults::of(error.to_string()))?;
        let layers = Layers::gather(&options, &dirs, &mut faults);
        let config = read::config(dirs, options.environment, layers, &mut faults);
        let faults = (!faults.is_empty()).then(|| ConfigFaults::new(faults));
        Ok((config, faults))
    }

    /// Where a setting's value comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.layers.origin(key)
    }

    /// Whether somebody has set it, rather than it being the default.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.origin(key) != Origin::Default
    }

    /// The file that was read, where there was one.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        self.layers.file.as_deref()
    }

    /// What is in force and where each of it comes from, secrets masked: a TOML file that would give the same.
    #[must_use]
    pub fn render(&self) -> String {
        render::render(self, &self.layers)
    }
}

/// As [`Config::render`]: what comes from the environment may be a secret, whatever its name.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render())
    }
}
