//! Where everything stands: the programs under test, a directory of our own, and the ways to a terminal.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::keeper::Keeper;
use crate::line::Line;
use crate::peers::{Bridge, Raw, Tmux};
use crate::server::Server;

/// Bytes of the file that bulk is measured with.
const BULK: usize = 64 * 1024 * 1024;
/// Long lines: with short ones the writer's system calls are measured, not the way.
const LINE: usize = 4_000;

/// A way to two shells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Way {
    /// A PTY and nothing else.
    Raw,
    /// tmux attach in a PTY.
    Tmux,
    /// node-pty and ws.
    Bridge,
    /// Ours without the server: straight to a keeper.
    Keeper,
    /// Ours: server and one WebSocket, on the unix socket that `lap` uses on the same machine.
    #[value(name = "ours")]
    Server,
    /// The same over TCP.
    #[value(name = "ours-tcp")]
    ServerTcp,
}

impl Way {
    pub(crate) const ALL: [Way; 6] =
        [Way::Raw, Way::Tmux, Way::Bridge, Way::Keeper, Way::Server, Way::ServerTcp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Raw => "raw PTY",
            Way::Tmux => "tmux attach",
            Way::Bridge => "node-pty + ws",
            Way::Keeper => "our keeper, no server",
            Way::Server => "ours",
            Way::ServerTcp => "ours over TCP",
        }
    }
}

/// See the module.
pub(crate) struct Stand {
    /// The ways that are compared.
    pub(crate) ways: Vec<Way>,
    /// Keys typed per way and measure.
    pub(crate) keys: usize,
    /// Alternating series.
    pub(crate) series: usize,
    /// Where the release binaries are.
    pub(crate) bin: PathBuf,
    /// Where the peers' packages are.
    pub(crate) peers: PathBuf,
    // In this order: what lives in the directory ends before it is removed.
    keeper: Option<Keeper>,
    server: Option<Server>,
    dir: tempfile::TempDir,
}

impl Stand {
    pub(crate) fn new(keys: usize, series: usize, bin: PathBuf, peers: PathBuf) -> Result<Stand> {
        let dir = tempfile::Builder::new().prefix("lap-bench-").tempdir()?;
        Ok(Stand {
            ways: Way::ALL.to_vec(),
            keys,
            series: series.max(1),
            bin,
            peers,
            dir,
            keeper: None,
            server: None,
        })
    }

    /// A directory that is gone afterwards.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Two shells by this way.
    pub(crate) fn open(&mut self, way: Way) -> Result<Box<dyn Line>> {
        Ok(match way {
            Way::Raw => Box::new(Raw::start()?),
            Way::Tmux => Box::new(Tmux::start(2)?),
            Way::Bridge => Box::new(Bridge::start(&self.peers)?),
            Way::Keeper => Box::new(self.keeper()?.shells()?),
            Way::Server => Box::new(self.server()?.shells()?),
            Way::ServerTcp => Box::new(self.server()?.shells_over_tcp()?),
        })
    }

    /// The server, started when first asked for.
    pub(crate) fn server(&mut self) -> Result<&mut Server> {
        if self.server.is_none() {
            self.server = Some(Server::start(&self.bin, &self.dir.path().join("server"), "127.0.0.1")?);
        }
        self.server.as_mut().context("a server")
    }

    fn keeper(&mut self) -> Result<&mut Keeper> {
        if self.keeper.is_none() {
            self.keeper = Some(Keeper::start(&self.bin, self.dir.path())?);
        }
        self.keeper.as_mut().context("a keeper")
    }

    /// A file of long printable lines.
    pub(crate) fn long_lines(&self) -> Result<PathBuf> {
        let path = self.dir().join("long-lines");
        if !path.exists() {
            let mut line: Vec<u8> = (0..LINE).map(|i| b'a' + (i % 26) as u8).collect();
            line.push(b'\n');
            let mut file = std::io::BufWriter::new(File::create(&path)?);
            for _ in 0..BULK / line.len() {
                file.write_all(&line)?;
            }
            file.flush()?;
        }
        Ok(path)
    }
}
