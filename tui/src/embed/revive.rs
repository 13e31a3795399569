//! Finding this machine's server again, or starting it again, for whoever stays connected.

use std::path::PathBuf;
use std::time::Duration;

use lap_platform::config::Config;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::presence::{announcement, find};
use super::start::start_where_none_is;

/// Starts in a row: a server that dies again and again has a reason that starting it does not mend.
const MAX_STARTS: u32 = 3;
/// A server that lived this long was started well, whatever became of it later.
const LIVED: Duration = Duration::from_secs(60);

/// This machine's server for whoever stays connected to it: found again where it went, and started again where it died
/// without having been told to end.
///
/// Several may look at once, in one process or in many: one of them starts it, the others find it. A server that was
/// ended (`lap down`), or that somebody else runs (`lap serve`), is not started by anybody who only watches.
#[derive(Debug)]
pub struct Revive {
    config: Config,
    key: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where it was when the command connected. Taken as it is the first time, since it was asked a moment ago.
    known: Option<String>,
    starts: u32,
    started: Option<Instant>,
}

/// Where this machine's server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revived {
    /// Its address.
    pub url: String,
    /// Its unix socket, if it has one: a shorter way than its address.
    pub socket: Option<PathBuf>,
    /// What opens its API.
    pub key: String,
    /// Whether it was dead and has been started for this.
    pub started: bool,
}

impl Revive {
    /// For the server at `url`, which `key` opens.
    #[must_use]
    pub fn new(config: Config, url: &str, key: &str) -> Revive {
        let state = State { known: Some(url.to_owned()), starts: 0, started: None };
        Revive { config, key: key.to_owned(), state: Mutex::new(state) }
    }

    /// Where it is now.
    ///
    /// # Errors
    /// A sentence that says why it is nowhere; it may be somewhere the next time.
    pub async fn find(&self) -> Result<Revived, String> {
        let mut state = self.state.lock().await;
        let found = |url, socket, started| Revived { url, socket, key: self.key.clone(), started };
        if let Some(url) = state.known.take() {
            let socket =
                announcement(&self.config).filter(|last| last.url == url).and_then(|last| last.socket);
            return Ok(found(url, socket, false));
        }
        let Some(last) = announcement(&self.config) else {
            return Err(String::from("lap's server was ended; `lap` starts it again"));
        };
        if !last.background {
            return Ok(found(last.url, last.socket, false));
        }
        match find(&self.config).await {
            Ok(Some(server)) => return Ok(found(server.url, server.socket, false)),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if state.started.is_some_and(|at| at.elapsed() >= LIVED) {
            state.starts = 0;
        }
        if state.starts >= MAX_STARTS {
            let log = self.config.dirs.state.join(super::log::LOG);
            return Err(format!(
                "lap's server died {MAX_STARTS} times in a row: its log is {}; `lap` tries once more",
                log.display()
            ));
        }
        state.starts += 1;
        state.started = Some(Instant::now());
        let started = start_where_none_is(&self.config).await.map_err(|error| error.to_string())?;
        Ok(found(started.server.url, started.server.socket, started.started))
    }
}
