//! The hub's own code between a model of a keeper and our client's core, over a link of any rate and length, in virtual
//! time. What waits for something that never comes, or fills a link badly, shows here.

mod client;
mod distance;
mod keeper;
mod net;
mod snapshots;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use lap_platform::link::{Connect, ConnectError, Links};
use lap_platform::model::SessionId;
use lap_platform::sandbox::{Dialed, KeeperStream, SandboxName};
use lap_wire::control::{Attention, ExitStatus, WireError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::client_writer::{ClientWriter, Speaks};
use super::connection::Connection;
use super::core::Shared;
use super::directory::{Directory, Location};
use super::metrics::HubMetrics;
use super::{Grant, Hub};
use client::Sight;
use keeper::Program;
use net::{Gauge, Net};

/// What a keeper's connection may hold.
const KEEPER_BUFFER: usize = 256 * 1024;

/// Keepers that may wait to be made.
const KEEPERS: usize = 16;

/// Every session has a keeper of its own.
struct Sandboxes {
    keepers: mpsc::Sender<KeeperStream>,
}

#[async_trait]
impl Connect for Sandboxes {
    async fn connect(&self, _: &SandboxName) -> Result<Dialed, ConnectError> {
        let (ours, theirs) = tokio::io::duplex(KEEPER_BUFFER);
        assert!(
            self.keepers.send(Box::new(theirs)).await.is_ok(),
            "keepers are made as long as the test goes on"
        );
        Ok(Dialed::Stream(Box::new(ours)))
    }
}

/// A server without anything else.
struct Nothing;

#[async_trait]
impl Directory for Nothing {
    async fn locate(&self, session: SessionId) -> Result<Location, WireError> {
        Ok(Location { sandbox: SandboxName(format!("s-{session}")), program: "main".to_owned() })
    }

    fn viewers(&self, _: SessionId, _: u32, _: u32) {}

    fn attention(&self, _: SessionId, _: Attention, _: Option<String>) {}

    fn activity(&self, _: SessionId, _: bool) {}

    fn recording(&self, _: SessionId, _: bool) {}

    async fn ended(&self, _: SessionId, _: &ExitStatus) {}

    fn delivered(&self, _: SessionId) {}
}

/// Runs `test` beside a client that watches `channels` terminals, each with such a program, over such a link.
fn simulate<T>(net: Net, channels: usize, program: Program, test: impl AsyncFnOnce(Sight, Gauge) -> T) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let (keepers, mut wanted) = mpsc::channel::<KeeperStream>(KEEPERS);
        spawn_local(async move {
            while let Some(io) = wanted.recv().await {
                spawn_local(keeper::keeper(io, program));
            }
        });
        let sandboxes = Arc::new(Sandboxes { keepers });
        let (_links, unstarted) = Links::new(sandboxes, Handle::current());
        let (links, running) = unstarted.start();
        spawn_local(running);
        let shared = Shared { metrics: HubMetrics::default(), typed: Cell::new(None), max_viewers: channels };
        let hub = Hub::new(Arc::new(Nothing), links, None, shared, std::time::Duration::ZERO);
        let (server, client, gauge) = net::link(net);
        let grant = Grant { only_session: None, may_type: true };
        let writer = Rc::new(ClientWriter::new(1, Speaks::Attach, Box::new(server)));
        spawn_local(Connection::new(writer, grant, hub).run(Vec::new()));
        let sight = Sight::default();
        let sessions = (0..channels).map(|_| SessionId::new().to_string()).collect();
        let watching = spawn_local(client::watch(client, sessions, sight.clone()));
        tokio::select! {
            done = test(sight, gauge) => done,
            ended = watching => panic!("the client ended: {ended:?}"),
        }
    })
}
