//! A session service over a data directory, as a server makes one: shared by the tests and the program they kill.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lap_platform::config::{Config, Environment, LoadOptions};
use lap_platform::harness::{Catalog, Host};
use lap_platform::link::Links;
use lap_platform::sandbox::SandboxRuntime;
use lap_platform::sandbox::local::{LocalOptions, LocalRuntime};
use lap_platform::secret::{SecretBox, SecretKey};
use lap_platform::session::{Clock, SessionSettings, Sessions, SessionsParts, SystemClock};
use lap_platform::store::Store;

/// Nothing is recorded without a hub.
struct NoRecordings;

#[async_trait::async_trait]
impl lap_platform::session::Recordings for NoRecordings {
    async fn erase(&self, _: lap_platform::model::SessionId) -> std::io::Result<()> {
        Ok(())
    }
}

pub type Failure = Box<dyn Error + Send + Sync>;

/// What a test wants different.
pub struct Options {
    pub data: PathBuf,
    /// The program that is a keeper.
    pub keeper: PathBuf,
    pub settings: SessionSettings,
    /// `[harness.<id>]` tables.
    pub harnesses: toml::Table,
    pub host: Host,
    pub clock: Arc<dyn Clock>,
    /// Whether no other service works on its store.
    pub alone: bool,
    /// What is stored has this clock's time.
    pub wall: lap_platform::store::Clock,
}

impl Options {
    pub fn new(data: PathBuf, keeper: PathBuf) -> Result<Options, Failure> {
        let home = data.join("home");
        std::fs::create_dir_all(&home)?;
        let path = "/usr/local/bin:/usr/bin:/bin";
        let home = home.to_str().ok_or("a path that is not UTF-8")?;
        let environment =
            Environment::from_pairs([("HOME", home), ("SHELL", "/bin/sh"), ("PATH", path), ("PS1", "$ ")]);
        let config =
            Config::load(LoadOptions { environment: environment.clone(), ..LoadOptions::default() })?;
        let mut settings = SessionSettings::of(&config);
        settings.defaults.lease = Duration::from_secs(5);
        settings.defaults.stop_grace = Duration::from_secs(1);
        let (harnesses, host) = (toml::Table::new(), Host::of(&environment));
        let clock = Arc::new(SystemClock::default());
        let wall = Arc::new(jiff::Timestamp::now);
        settings.second_look = std::time::Duration::from_millis(20);
        Ok(Options { data, keeper, settings, harnesses, host, clock, alone: true, wall })
    }

    pub fn runtime(&self) -> Result<LocalRuntime, Failure> {
        let keeper = vec![self.keeper.clone().into(), "__keeper".into()];
        Ok(LocalRuntime::open(LocalOptions { data: self.data.clone(), keeper })?)
    }

    pub async fn store(&self) -> Result<Store, Failure> {
        let url = format!("sqlite:{}", self.data.join("lap.db").display());
        let key = SecretKey::from_text("a key for tests, of no use elsewhere")?;
        Ok(Store::open_with_clock(&url, SecretBox::new(&key), self.wall.clone()).await?)
    }

    pub async fn start(self, store: Store, runtime: Arc<dyn SandboxRuntime>) -> Result<Sessions, Failure> {
        let catalog = Catalog::load(None, &self.harnesses)?;
        let Options { settings, host, clock, alone, .. } = self;
        let links = Links::start(Arc::new(Arc::clone(&runtime)), tokio::runtime::Handle::current())?;
        Ok(Sessions::start(SessionsParts {
            store,
            runtime,
            links,
            catalog,
            host,
            recordings: Arc::new(NoRecordings),
            settings,
            clock,
            tools: None,
            alone,
        })
        .await?)
    }
}

/// A service whose keepers are this very program.
pub async fn start(data: PathBuf) -> Result<Sessions, Failure> {
    let options = Options::new(data, std::env::current_exe()?)?;
    let (store, runtime) = (options.store().await?, Arc::new(options.runtime()?));
    options.start(store, runtime).await
}
