//! What this server is found by: the lock on the data directory, the socket beside it, and `server.json`. Somebody may
//! remove or overwrite them under the running server; each is made again at once, so that every command finds the server,
//! and no second one starts.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lap_keeper::path_watch::PathWatch;
use lap_platform::unix_socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};

use crate::http::listen::Listener;

/// After something could not be made again: whatever is in the way may not tell when it goes.
const AGAIN: Duration = Duration::from_secs(5);

/// Which file something is: its device and number there.
pub(crate) type Inode = (u64, u64);

/// Which file a path leads to; links are not followed.
///
/// # Errors
/// When nothing is there.
pub(crate) fn inode(path: &Path) -> io::Result<Inode> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Which folder a path's last part is in.
fn folder(path: &Path) -> io::Result<Inode> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Tells when a path may lead elsewhere, or to something else.
struct Watch {
    path: PathBuf,
    watch: PathWatch,
    /// Readable when the watch has something to say.
    fd: AsyncFd<OwnedFd>,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Watch> {
        let watch = PathWatch::with_changes(path)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that could change their descriptor; OwnedFd cannot"
        )]
        let fd = AsyncFd::with_interest(watch.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Watch { path: path.to_owned(), watch, fd })
    }

    async fn changed(&mut self) -> io::Result<()> {
        let mut ready = self.fd.readable().await?;
        // Before it is read: what is reported meanwhile makes it readable again.
        ready.clear_ready();
        self.watch.look(&self.path);
        Ok(())
    }
}

/// Keeps something where it is to be found, for as long as it is polled. `mend` makes it again where it is not as it
/// should be.
pub(crate) async fn keep(what: &'static str, path: PathBuf, mend: impl Fn() -> io::Result<bool>) {
    let mut watch = match Watch::new(&path) {
        Ok(watch) => watch,
        Err(error) => {
            return tracing::warn!(%error, "{what} cannot be watched, and is not made again when it goes");
        }
    };
    loop {
        let wait = match mend() {
            Ok(mended) => {
                if mended {
                    tracing::warn!(path = %path.display(), "{what} was gone and has been made again");
                }
                None
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "{what} is gone and cannot be made again yet");
                Some(AGAIN)
            }
        };
        let again = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// The socket in the data directory, for this user's programs on this machine. Made again when it goes, and taken away
/// when the server stops, if it is still this server's.
pub(crate) struct LocalSocket {
    path: PathBuf,
    /// The folder it was made in. One that has come in its place may be another server's.
    folder: Inode,
    /// Which file it is, for whoever takes it away.
    bound: Mutex<Inode>,
    state: tokio::sync::Mutex<State>,
}

struct State {
    listener: UnixListener,
    watch: Option<Watch>,
}

impl LocalSocket {
    /// Listens at a path.
    ///
    /// # Errors
    /// When its folder cannot be written to.
    pub(crate) fn listen(path: &Path) -> io::Result<LocalSocket> {
        let listener = unix_socket::listen(path)?;
        let watch = Watch::new(path)
            .inspect_err(|error| tracing::warn!(%error, "the local socket cannot be watched"))
            .ok();
        Ok(LocalSocket {
            path: path.to_owned(),
            folder: folder(path)?,
            bound: Mutex::new(inode(path)?),
            state: tokio::sync::Mutex::new(State { listener, watch }),
        })
    }

    fn bound(&self) -> Inode {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_there(&self) -> bool {
        inode(&self.path).is_ok_and(|there| there == self.bound())
    }

    /// Listens at the path again, where this server's socket is not there any more. A folder that is away is waited for.
    fn mend(&self, state: &mut State) {
        let is_ours = folder(&self.path).is_ok_and(|folder| folder == self.folder);
        if self.is_there() || !is_ours {
            return;
        }
        match unix_socket::listen(&self.path).and_then(|listener| Ok((listener, inode(&self.path)?))) {
            Ok((listener, inode)) => {
                state.listener = listener;
                *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = inode;
                tracing::warn!(path = %self.path.display(), "the local socket was gone and has been made again");
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the local socket cannot be made again")
            }
        }
    }
}

impl Listener for LocalSocket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        let mut state = self.state.lock().await;
        loop {
            let State { listener, watch } = &mut *state;
            let changed = async {
                match watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = listener.accept() => return Ok(accepted?.0),
                changed = changed => if changed.is_err() { state.watch = None },
            }
            self.mend(&mut state);
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if self.is_there() {
            // Whoever finds one that was left behind finds nobody there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// What a command does that looks for the server, until it is there.
    async fn connects(path: &Path) {
        let found = async {
            while unix_socket::connect(path).await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), found).await.expect("nobody listens there");
    }

    #[tokio::test]
    async fn a_socket_is_made_again_whatever_takes_it_away_and_another_servers_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let path = data.join("server.sock");
        let socket = LocalSocket::listen(&path).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            loop {
                socket.accept().await.unwrap();
            }
        });
        connects(&path).await;
        fs::remove_file(&path).unwrap();
        connects(&path).await;
        fs::rename(&path, data.join("elsewhere")).unwrap();
        connects(&path).await;
        // A home that is unmounted, under which another server is started, and that comes back without its socket.
        let away = dir.path().join("away");
        fs::rename(&data, &away).unwrap();
        fs::create_dir(&data).unwrap();
        let others = LocalSocket::listen(&path).unwrap();
        for noise in ["a", "b", "c"] {
            fs::write(data.join(noise), "").unwrap();
            fs::remove_file(data.join(noise)).unwrap();
            tokio::task::yield_now().await;
            assert!(others.is_there(), "another's socket in another folder is left alone");
        }
        drop(others);
        fs::remove_file(away.join("server.sock")).unwrap();
        fs::remove_dir(&data).unwrap();
        fs::rename(&away, &data).unwrap();
        connects(&path).await;

        // What is somebody else's when the server ends is not its to take away.
        serving.shutdown().await;
        assert!(!path.exists(), "its own goes with it");
        let socket = LocalSocket::listen(&path).unwrap();
        let other = LocalSocket::listen(&path).unwrap();
        drop(socket);
        connects(&path).await;
        drop(other);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_kept_is_mended_when_it_goes_or_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/mark");
        let at = path.clone();
        let mend = move || {
            if fs::read(&at).is_ok_and(|text| text == b"whole") {
                return Ok(false);
            }
            fs::create_dir_all(at.parent().unwrap())?;
            fs::write(&at, "whole").map(|()| true)
        };
        let mut keeping = JoinSet::new();
        keeping.spawn(keep("a mark", path.clone(), mend));
        let whole = async || {
            let mended = async {
                while fs::read(&path).ok().as_deref() != Some(b"whole".as_slice()) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), mended).await.expect("it stays as it is");
        };
        whole().await;
        for _ in 0..3 {
            fs::remove_file(&path).unwrap();
            whole().await;
            fs::write(&path, "cut").unwrap();
            whole().await;
            fs::File::create(&path).unwrap();
            whole().await;
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            whole().await;
        }
        keeping.shutdown().await;
    }
}
