use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

/// The longest path a socket's address holds, in bytes (`sockaddr_un`, without its final zero).
const MAX_ADDRESS: usize = 107;

/// Connects to a keeper's socket, under a path of any length. Never blocks: a keeper that has stopped taking
/// connections is an error at once.
pub(super) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    // The folder stays open until the connection is made: the address goes through its descriptor.
    let (address, _folder) = address(socket)?;
    UnixStream::connect(address).await
}

fn address(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if socket.as_os_str().len() <= MAX_ADDRESS {
        return Ok((socket.to_owned(), None));
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = (rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY).bits();
    let flags = i32::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    let address = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((address, Some(folder)))
}
