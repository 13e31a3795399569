//! A unix socket whose owner is woken when there is something to read, and not each time its peer has read: the kernel
//! reports a unix socket writable after every message the other side takes, which to a keystroke's sender is one
//! wake-up too many. Room to write is asked for only while there is none.

use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

/// See the module. A pipe's ends are what this runtime waits on in one direction only; nothing else about them differs
/// from a socket's.
pub(super) struct Socket {
    stream: UnixStream,
    reader: Receiver,
    /// While the socket takes no more.
    full: Option<Sender>,
}

impl Socket {
    /// Takes a connected socket over.
    pub(super) fn new(stream: UnixStream) -> io::Result<Socket> {
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
    async fn what_is_written_arrives_though_the_socket_is_full_again_and_again() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Socket::new(ours).unwrap(), Socket::new(theirs).unwrap());
        let sent: Vec<u8> = (0..4_000_000u32).map(|i| (i / 7) as u8).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in copy.chunks(77_777) {
                ours.write_all(piece).await.unwrap();
            }
            ours.shutdown().await.unwrap();
            ours
        });
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert!(got == sent);
        let mut ours = writer.await.unwrap();
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0, "the other side's end is seen");
    }
}
