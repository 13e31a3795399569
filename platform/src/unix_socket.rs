//! Unix sockets on the way of a keystroke: under paths of any length, and with an owner who is woken when there is
//! something to read, and not each time its peer has read. The kernel reports a unix socket writable after every
//! message the other side takes, which to a keystroke's sender is one wake-up too many; room to write is asked for only
//! while there is none.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixListener;
use tokio::net::unix::pipe::{Receiver, Sender};

/// The longest path a socket's address holds, in bytes (`sockaddr_un`, without its final zero).
const MAX_ADDRESS: usize = 107;

/// Connects to a socket. Never blocks: a listener that has stopped taking connections is an error at once.
///
/// # Errors
/// When nobody listens there.
pub async fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    // The folder stays open until the connection is made: the address goes through its descriptor.
    let (address, _folder) = address(path)?;
    tokio::net::UnixStream::connect(address).await
}

/// Listens on a socket that only this user may connect to, in place of whatever was there: the caller knows that nobody
/// listens any more.
///
/// # Errors
/// When the folder cannot be written to.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (address, _folder) = address(path)?;
    let listener = UnixListener::bind(address)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
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

/// See the module. A pipe's ends are what this runtime waits on in one direction only; nothing else about them differs
/// from a socket's.
#[derive(Debug)]
pub struct Socket {
    stream: UnixStream,
    reader: Receiver,
    /// While the socket takes no more.
    full: Option<Sender>,
}

impl Socket {
    /// Takes a connected socket over.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn new(stream: UnixStream) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        let reader = Receiver::from_owned_fd_unchecked(stream.as_fd().try_clone_to_owned()?)?;
        Ok(Socket { stream, reader, full: None })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let full = match &mut socket.full {
            Some(full) => full,
            none => match socket.stream.write_vectored(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    none.insert(Sender::from_owned_fd_unchecked(socket.stream.as_fd().try_clone_to_owned()?)?)
                }
                written => return Poll::Ready(written),
            },
        };
        let written = Pin::new(full).poll_write_vectored(context, parts);
        if written.is_ready() {
            socket.full = None;
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_path_may_be_longer_than_an_address_and_is_this_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("socket");
        std::fs::write(&path, "left behind").unwrap();
        let listener = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (mut ours, (mut theirs, _)) = tokio::try_join!(connect(&path), listener.accept()).unwrap();
        ours.write_all(b"!").await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'!');
    }

    #[tokio::test]
    async fn what_is_written_arrives_though_the_socket_is_full_again_and_again() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Socket::new(ours).unwrap(), Socket::new(theirs).unwrap());
        let sent: Vec<u8> = (0..4_000_000u32).map(|i| (i / 7) as u8).collect();
        let mut got = Vec::new();
        let writing = async {
            for piece in sent.chunks(77_777) {
                ours.write_all(piece).await.unwrap();
            }
            ours.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, theirs.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0, "the other side's end is seen");
    }
}
