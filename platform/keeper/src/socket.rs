//! The unix socket: made private, found again after a crash, reachable under paths of any length.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::path_watch::PathWatch;

/// The longest path a socket's address holds, in bytes (`sockaddr_un`, without its final zero).
const MAX_ADDRESS: usize = 107;

/// Connects to a keeper's socket. Unlike [`UnixStream::connect`] it takes paths of any length.
///
/// # Errors
/// Those of `connect(2)`: `NotFound` and `ConnectionRefused` mean that no keeper is there.
pub fn dial(path: &Path) -> io::Result<UnixStream> {
    with_address(path, |address| UnixStream::connect(address))
}

/// A path that is too long for an address is reached through its folder's descriptor.
fn with_address<T>(path: &Path, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_ADDRESS {
        return action(path);
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = open_folder(path, libc::O_PATH)?;
    action(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

fn open_folder(path: &Path, flags: i32) -> io::Result<File> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | flags).open(folder)
}

/// The socket a keeper listens on. Removed when dropped, if it is still this keeper's.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
    /// Reports when the path may be gone; `None` where the kernel has no watch to give.
    watch: Option<PathWatch>,
}

impl Listener {
    /// Listens on `path`. A socket left behind by a keeper that died is replaced; one that answers is an error.
    pub(crate) fn new(path: &Path) -> io::Result<Listener> {
        // Two keepers that start at once must not both find a stale socket and remove each other's.
        let folder = open_folder(path, 0)?;
        rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
        remove_stale(path)?;
        let (listener, inode) = bind(path)?;
        let path = fs::canonicalize(path)?;
        let watch = PathWatch::new(&path);
        if let Err(error) = &watch {
            crate::cli::say(&format!("lap-keeper: the socket's folder cannot be watched: {error}\n"));
        }
        Ok(Listener { listener, path, inode, watch: watch.ok() })
    }

    /// Readable when [`Listener::mend`] is to be called.
    pub(crate) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Listens on the path again if nothing is there any more. What somebody else has put there is left alone, and so
    /// is a missing folder; when either changes, the watch reports that.
    pub(crate) fn mend(&mut self) -> io::Result<()> {
        if let Some(watch) = &mut self.watch {
            watch.look(&self.path);
        }
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if !fs::symlink_metadata(&self.path).is_err_and(|error| gone(&error)) {
            return Ok(());
        }
        match bind(&self.path) {
            Ok((listener, inode)) => {
                (self.listener, self.inode) = (listener, inode);
                crate::cli::say("lap-keeper: the socket was gone and has been made again\n");
                Ok(())
            }
            Err(error) if gone(&error) || error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next connection whose peer may have one: the keeper's own user, or root. `None`: none is waiting.
    pub(crate) fn accept(&self) -> io::Result<Option<UnixStream>> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let uid = peer_uid(&stream)?;
            if uid == 0 || uid == rustix::process::geteuid().as_raw() {
                stream.set_nonblocking(true)?;
                return Ok(Some(stream));
            }
            // Closed by being dropped: to a stranger there is nothing to say.
            crate::cli::say(&format!("lap-keeper: refused a connection of uid {uid}\n"));
        }
    }

    pub(crate) fn as_socket(&self) -> &UnixListener {
        &self.listener
    }
}

/// A socket of its own at `path`, where nothing may be, and its inode.
fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let listener = with_address(path, |address| UnixListener::bind(address))?;
    listener.set_nonblocking(true)?;
    // Whoever gets in before this is asked for credentials all the same.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let metadata = fs::symlink_metadata(path)?;
    Ok((listener, (metadata.dev(), metadata.ino())))
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The user at the other end. (Not by rustix, which takes a peer of another PID namespace, whose number is 0 here,
/// for an error.)
#[allow(unsafe_code)]
fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: the option's value is a `ucred`, and `len` is its size.
    let got =
        unsafe { libc::getsockopt(stream.as_raw_fd(), level, option, (&raw mut peer).cast(), &raw mut len) };
    if got != 0 || len as usize != size_of::<libc::ucred>() {
        return Err(io::Error::last_os_error());
    }
    Ok(peer.uid)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let message = "there is a file at that path, and it is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match dial(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another keeper is listening there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}
