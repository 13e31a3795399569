//! Which server a command talks to, and the client for it.

use lap_platform::client::Client;
use lap_platform::config::{Config, ConfigFaults};
use lap_platform::secret::SecretText;

use super::args::Global;
use super::contexts::{Contexts, Keys, LOCAL};
use super::fault::{Exit, Fault};
use super::print::{Printer, note};
use crate::embed;

/// What every command has at hand.
pub(super) struct App {
    pub(super) config: Config,
    /// What is wrong with the configuration, for the few commands that go on all the same.
    pub(super) faults: Option<ConfigFaults>,
    pub(super) global: Global,
    pub(super) printer: Printer,
}

/// Which server a command talks to, before it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// This machine's own.
    Local,
    /// A named one.
    Context(String),
    /// One given by its address alone.
    Url(String),
}

impl App {
    /// The server meant: by flag, by environment, by `lap context use`; else this machine's own.
    pub(super) fn target(&self) -> Result<Target, Fault> {
        let environment = &self.config.environment;
        let named = |name: &str| if name == LOCAL { Target::Local } else { Target::Context(name.to_owned()) };
        if let Some(url) = &self.global.url {
            return Ok(Target::Url(url.clone()));
        }
        if let Some(name) = &self.global.context {
            return Ok(named(name));
        }
        if let Some(url) = environment.filled("LAP_URL") {
            return Ok(Target::Url(url.to_owned()));
        }
        if let Some(name) = environment.filled("LAP_CONTEXT") {
            return Ok(named(name));
        }
        Ok(Contexts::load(&self.config)?.current.as_deref().map_or(Target::Local, named))
    }

    /// A client of the server meant. This machine's own is started where it does not run.
    pub(super) async fn connect(&self) -> Result<Client, Fault> {
        match self.target()? {
            Target::Local => self.connect_local().await,
            Target::Context(name) => {
                let url = Contexts::load(&self.config)?.get(&name)?.url.clone();
                let key = match self.key_of_environment() {
                    Some(key) => key,
                    None => Keys::of(&self.config).get(&name)?.ok_or_else(|| {
                        Fault::new(Exit::NotAllowed, format!("there is no key for {name}"))
                            .hint(format!("log in again with `lap login {url} --name {name}`"))
                    })?,
                };
                Ok(Client::new(&url, Some(key.expose()))?)
            }
            Target::Url(url) => {
                let key = self.key_of_environment();
                Ok(Client::new(&url, key.as_ref().map(SecretText::expose))?)
            }
        }
    }

    async fn connect_local(&self) -> Result<Client, Fault> {
        let waiting = || {
            // A word that cannot be written is no reason not to go on.
            let _ = note("starting lap's server on this machine…");
        };
        let server = embed::ensure(&self.config, waiting).await?;
        if server.version != env!("CARGO_PKG_VERSION") {
            note(&format!(
                "lap's server is version {}, this is {}: `lap down --keep-sessions` ends it, the next command starts \
                 the new one",
                server.version,
                env!("CARGO_PKG_VERSION")
            ))?;
        }
        Ok(Client::new(&server.url, Some(server.key.expose()))?)
    }

    fn key_of_environment(&self) -> Option<SecretText> {
        self.config.environment.filled("LAP_API_KEY").map(SecretText::from)
    }
}
