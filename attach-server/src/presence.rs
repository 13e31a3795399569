//! `server.json`: where the server of this machine is, for the programs that look for it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The file's name in the state directory.
pub(crate) const FILE: &str = "server.json";

#[derive(Serialize)]
struct Contents<'a> {
    url: &'a str,
    /// The same API, for this user on this machine.
    socket: &'a Path,
    pid: u32,
    version: &'a str,
    background: bool,
}

/// The file, while the server listens; dropping it takes the file away.
#[derive(Debug)]
pub(crate) struct Presence {
    path: PathBuf,
    socket: PathBuf,
}

impl Presence {
    /// Writes it: whole or not at all, for this user alone.
    ///
    /// # Errors
    /// When the state directory cannot be written to.
    pub(crate) fn announce(state: &Path, url: &str, socket: &Path, background: bool) -> io::Result<Presence> {
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
        let contents = Contents { url, socket, pid, version, background };
        let draft = state.join(format!("{FILE}.{}", std::process::id()));
        let path = state.join(FILE);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        serde_json::to_writer(&file, &contents)?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        Ok(Presence { path, socket: socket.to_owned() })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Whoever reads one that was left behind finds nobody there.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// How a client on this machine reaches a server that listens at `address`.
#[must_use]
pub(crate) fn local_url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        // "Every address" is one to listen on, not one to connect to.
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}
