//! Ending the server of this machine, and what runs on it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use lap_platform::client::{Client, ClientError, SessionsQuery};
use lap_platform::config::Config;
use lap_platform::model::{Session, SessionId, SessionStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::presence::{LocalServer, find, holds_data};
use super::{EmbedError, ensure};
use crate::unsaved::{Tally, tally};

/// Sessions that are stopped at a time: each may take its grace of 10 s.
const AT_ONCE: usize = 16;
/// How long a server may take to end, beyond the time it gives its clients to leave.
const BEYOND_DRAIN: Duration = Duration::from_secs(10);

/// How long a server that does not answer may take to end, before it is killed: it is hardly going to.
const HUNG_GRACE: Duration = Duration::from_secs(3);

/// How to end the server of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Down {
    /// Leave sessions running: the next server finds them.
    pub keep_sessions: bool,
    /// Kill it when it does not answer, or does not end in time.
    pub force: bool,
}

/// What was ended.
#[derive(Debug)]
pub enum Ended {
    /// Nothing: there was no server, and no sandbox.
    Nothing,
    /// The server, and these sessions.
    Server {
        /// Its process.
        pid: u32,
        /// What ran.
        stopped: Vec<Session>,
        /// What could not be stopped, and why.
        failed: Vec<(SessionId, ClientError)>,
    },
}

/// The server of this machine, about to be ended with what runs on it.
#[derive(Debug)]
pub struct Ending<'a> {
    config: &'a Config,
    how: Down,
    server: Found,
    live: Vec<Session>,
}

#[derive(Debug)]
enum Found {
    Nothing,
    /// It did not answer, and was killed.
    Killed {
        pid: u32,
    },
    Server(LocalServer),
}

impl<'a> Ending<'a> {
    /// Looks what there is to be ended. Where the server is gone but sandboxes are left, it is started for that: nothing
    /// else can end them. One that does not answer is killed here, if that may be.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn look(config: &'a Config, how: Down) -> Result<Ending<'a>, EmbedError> {
        let sandboxes = !how.keep_sessions && left_behind(config);
        let server = match find(config).await {
            Err(EmbedError::Silent { pid, .. }) if how.force && holds_data(config, pid) => {
                end_process(pid, HUNG_GRACE, true).await?;
                if sandboxes { Found::Server(ensure(config, || ()).await?) } else { Found::Killed { pid } }
            }
            Err(error) => return Err(error),
            Ok(Some(server)) => Found::Server(server),
            Ok(None) if sandboxes => Found::Server(ensure(config, || ()).await?),
            Ok(None) => Found::Nothing,
        };
        let live = match &server {
            Found::Server(server) if !how.keep_sessions => live_sessions(&client(server)?).await?,
            _ => Vec::new(),
        };
        Ok(Ending { config, how, server, live })
    }

    /// The sessions that end with it.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.live
    }

    /// How much of their work is nowhere else.
    pub async fn unsaved(&self) -> Tally {
        let ids: Vec<_> = self.live.iter().map(|session| session.id).collect();
        match &self.server {
            Found::Server(server) if !ids.is_empty() => match client(server) {
                Ok(client) => tally(&client, &ids).await,
                Err(_) => Tally { uncounted: ids.len(), ..Tally::default() },
            },
            _ => Tally::default(),
        }
    }

    /// Ends them, and then the server.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(self) -> Result<Ended, EmbedError> {
        let server = match self.server {
            Found::Nothing => return Ok(Ended::Nothing),
            Found::Killed { pid } => {
                return Ok(Ended::Server { pid, stopped: Vec::new(), failed: Vec::new() });
            }
            Found::Server(server) => server,
        };
        let (stopped, failed) = stop_all(&client(&server)?, self.live).await;
        end_process(server.pid, self.config.limits.drain + BEYOND_DRAIN, self.how.force).await?;
        Ok(Ended::Server { pid: server.pid, stopped, failed })
    }
}

fn client(server: &LocalServer) -> Result<Client, EmbedError> {
    Ok(Client::new(&server.url, Some(server.key.expose()))?)
}

/// Whether sandboxes are left from a server that is gone.
fn left_behind(config: &Config) -> bool {
    let sandboxes = std::fs::read_dir(config.dirs.data.join("sandboxes"));
    sandboxes.is_ok_and(|mut entries| entries.next().is_some())
}

type Stopped = (Vec<Session>, Vec<(SessionId, ClientError)>);

async fn live_sessions(client: &Client) -> Result<Vec<Session>, EmbedError> {
    let mut live = Vec::new();
    for status in [SessionStatus::Creating, SessionStatus::Ready] {
        live.extend(
            client.all_sessions(&SessionsQuery { status: Some(status), ..Default::default() }).await?,
        );
    }
    Ok(live)
}

async fn stop_all(client: &Client, live: Vec<Session>) -> Stopped {
    let stops =
        live.into_iter().map(|session| async move { (session.id, client.stop_session(session.id).await) });
    let mut done: Stopped = Default::default();
    let mut stops = stream::iter(stops).buffer_unordered(AT_ONCE);
    while let Some((id, result)) = stops.next().await {
        match result {
            Ok(session) => done.0.push(session),
            Err(error) if error.is_not_found() => {}
            Err(error) => done.1.push((id, error)),
        }
    }
    done
}

async fn end_process(pid: u32, patience: Duration, force: bool) -> Result<(), EmbedError> {
    let cannot = || EmbedError::system(format!("cannot end the server (process {pid})"));
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    // A handle, not a number: a number may be another process's by the time it is signalled.
    let process = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(cannot()(errno.into())),
    };
    pidfd_send_signal(&process, Signal::TERM).map_err(|errno| cannot()(errno.into()))?;
    let (process, ended) = wait(process, patience).await.map_err(cannot())?;
    if ended {
        return Ok(());
    }
    if !force {
        return Err(EmbedError::Lingers { pid, seconds: patience.as_secs() });
    }
    pidfd_send_signal(&process, Signal::KILL).map_err(|errno| cannot()(errno.into()))?;
    wait(process, patience).await.map_err(cannot())?;
    Ok(())
}

async fn wait(process: OwnedFd, patience: Duration) -> std::io::Result<(OwnedFd, bool)> {
    let waited = tokio::task::spawn_blocking(move || {
        let time = Timespec::try_from(patience).ok();
        let ready = poll(&mut [PollFd::new(&process, PollFlags::IN)], time.as_ref())?;
        Ok((process, ready > 0))
    });
    waited.await.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
}
