//! The server from its start to its end, as one story: configuration → build → spawn → wait → drain.

mod build;
pub(crate) mod drain;
mod error;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lap_platform::config::Config;
use lap_platform::link::Links;
use lap_platform::open_files;
use lap_platform::session::Sessions;
use lap_platform::store::Store;

use crate::data_lock::DataLock;
use crate::hub::HubHandle;
use crate::presence::Presence;
use drain::Drain;
pub use error::StartError;

/// What is not configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The program that is a keeper, and its first arguments; this very program with `__keeper` when absent.
    pub keeper: Option<Vec<OsString>>,
    /// Whether it was started in the background by a client that needed it: one like it may start it again if it dies.
    pub background: bool,
}

/// Runs a server until `shutdown` comes true, then lets go of its clients. Sandboxes keep running.
///
/// # Errors
/// When it does not start; once it has, it ends well.
pub async fn run(
    config: Config,
    options: RunOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let server = Server::start(config, options).await?;
    shutdown.await;
    server.stop().await;
    Ok(())
}

/// SIGTERM or SIGINT.
///
/// # Errors
/// When the system does not let signals be waited for.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// With fewer open files than this a server has room for some dozens of sessions.
const FEW_FILES: u64 = 1_024;

/// A running server.
pub struct Server {
    address: SocketAddr,
    sessions: Sessions,
    hub: HubHandle,
    hub_thread: std::thread::JoinHandle<()>,
    /// While this is there, so are the links to keepers.
    _links: Links,
    store: Store,
    drain: Drain,
    presence: Presence,
    _lock: Arc<DataLock>,
}

impl Server {
    /// Starts one; when this returns it answers.
    ///
    /// # Errors
    /// When anything it needs cannot be had.
    pub async fn start(config: Config, options: RunOptions) -> Result<Server, StartError> {
        match open_files::raise() {
            Ok(Some(files)) if files < FEW_FILES => {
                tracing::warn!(
                    files,
                    "few open files are allowed: sessions are refused when all but 64 are in use"
                );
            }
            Ok(files) => tracing::info!(files, "open files allowed"),
            Err(error) => tracing::warn!(%error, "no more open files are allowed than before"),
        }
        // Boxed, since they hold everything a server has.
        let built = Box::pin(build::build(config, options)).await?;
        Box::pin(built.spawn()).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True once it has begun to stop.
    pub fn stopping(&self) -> impl Future<Output = ()> + use<> {
        let drain = self.drain.clone();
        async move { drain.stopping().await }
    }

    /// Its sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Lets go: viewers are told to come back, open requests finish within the grace, the store is closed.
    pub async fn stop(self) {
        tracing::info!("stopping");
        // Whoever looks for a server from now on is to start another.
        drop(self.presence);
        let (finished, ()) = tokio::join!(self.drain.stop(), self.hub.drain());
        if !finished {
            tracing::warn!("requests that did not end in time were cut off");
        }
        self.sessions.shutdown().await;
        // After all who use the links to keepers, which are on its thread.
        self.hub.end().await;
        if !matches!(tokio::task::spawn_blocking(|| self.hub_thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the terminals' thread did not end well");
        }
        self.store.close().await;
        tracing::info!("stopped; sandboxes keep running");
    }
}
