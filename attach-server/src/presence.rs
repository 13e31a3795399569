//! `server.json`: where the server of this machine is, for the programs that look for it.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The file, while the server listens; dropping it takes the file away, if it is still this server's.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Announced>);

#[derive(Debug)]
struct Announced {
    path: PathBuf,
    text: Vec<u8>,
    /// From the server's stop on it is not to be found.
    taken_back: AtomicBool,
}

impl Presence {
    /// Writes it: whole or not at all, for this user alone.
    ///
    /// # Errors
    /// When the state directory cannot be written to.
    pub(crate) fn announce(state: &Path, url: &str, socket: &Path, background: bool) -> io::Result<Presence> {
        let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
        let text = serde_json::to_vec(&Contents { url, socket, pid, version, background })?;
        let presence = Presence(Arc::new(Announced {
            path: state.join(FILE),
            text,
            taken_back: AtomicBool::new(false),
        }));
        presence.0.write()?;
        Ok(presence)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    /// What writes it again where nothing can be read there any more, and says whether that was needed. For as long as
    /// the server is to be found.
    pub(crate) fn mender(&self) -> impl Fn() -> io::Result<bool> + use<> {
        let announced = Arc::clone(&self.0);
        move || announced.mend()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.taken_back.store(true, Ordering::Release);
        if self.0.read().is_some_and(|text| text == self.0.text) {
            // Whoever reads one that was left behind finds nobody there.
            let _ = std::fs::remove_file(&self.0.path);
        }
    }
}

impl Announced {
    fn mend(&self) -> io::Result<bool> {
        // One of another server, with a data directory of its own, is whole: the last to be started is the one found.
        let whole =
            self.read().is_some_and(|text| serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        if whole || self.taken_back.load(Ordering::Acquire) {
            return Ok(false);
        }
        if let Some(state) = self.path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        }
        self.write().map(|()| true)
    }

    fn read(&self) -> Option<Vec<u8>> {
        std::fs::read(&self.path).ok()
    }

    fn write(&self) -> io::Result<()> {
        let draft = self.path.with_extension(format!("json.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&self.text)?;
        file.sync_all()?;
        std::fs::rename(&draft, &self.path)
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
