//! A byte stream to a program in a pod: an exec over the API server's WebSocket, of which each message carries a channel's
//! number and bytes (`v5.channel.k8s.io`, and `v4` where there is no other; KEP-4006).
//!
//! What the exec itself says of the program's end is not believed: a container runtime that is killed reports success
//! for a program that goes on. The keeper tells of ends on its own protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The channels of `v4.channel.k8s.io` and `v5.channel.k8s.io`.
mod channel {
    pub(super) const STDIN: u8 = 0;
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDERR: u8 = 2;
    /// How the exec ended, as a `Status` in JSON; the last thing said.
    pub(super) const STATUS: u8 = 3;
    /// Closes the channel whose number follows; version 5 only.
    pub(super) const CLOSE: u8 = 255;
}

/// Bytes of one message: what a container runtime reads at once.
const MAX_PIECE: usize = 32 * 1024;
/// Bytes of complaint that are told.
const MAX_WORDS: usize = 2 * 1024;

/// Standard input and output of a program in a pod.
pub(super) struct ExecStream<S> {
    socket: WebSocketStream<S>,
    /// Output that was not taken yet.
    output: Bytes,
    /// What it printed on standard error.
    words: Vec<u8>,
    ended: bool,
    /// Whether its standard input can be closed by itself.
    closes: bool,
    closed: bool,
}

impl<S> ExecStream<S> {
    /// `closes`: whether the protocol is version 5.
    pub(super) fn new(socket: WebSocketStream<S>, closes: bool) -> ExecStream<S> {
        ExecStream { socket, output: Bytes::new(), words: Vec::new(), ended: false, closes, closed: false }
    }

    /// What it printed on standard error so far.
    pub(super) fn words(&self) -> String {
        String::from_utf8_lossy(&self.words).trim().to_owned()
    }

    fn take(&mut self, mut message: Bytes) {
        if message.is_empty() {
            return;
        }
        let number = message.split_to(1)[0];
        match number {
            channel::STDOUT => self.output = message,
            channel::STDERR => {
                let room = MAX_WORDS - self.words.len();
                self.words.extend_from_slice(&message[..message.len().min(room)]);
            }
            channel::STATUS => {
                if self.words.is_empty() {
                    self.words.extend_from_slice(failure(&message).as_bytes());
                }
                self.ended = true;
            }
            channel::CLOSE => self.ended |= message.first() == Some(&channel::STDOUT),
            _ => {}
        }
    }
}

/// What a `Status` says of a failure; nothing of a success.
fn failure(status: &[u8]) -> String {
    let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    let failed = status["status"] == "Failure";
    let message = status["message"].as_str().filter(|_| failed).unwrap_or_default();
    message.chars().take(MAX_WORDS / 4).collect()
}

fn fault(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionReset.into(),
        other => io::Error::other(other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ExecStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.output.is_empty() {
                let n = self.output.len().min(buf.remaining());
                buf.put_slice(&self.output.split_to(n));
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.take(bytes),
                Some(Ok(Message::Close(_))) | None => self.ended = true,
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(fault(error))),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ExecStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Ready is when nothing waits that was given before: at most one message is held here.
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(fault)?;
        let piece = &buf[..buf.len().min(MAX_PIECE)];
        let mut message = Vec::with_capacity(piece.len() + 1);
        message.push(channel::STDIN);
        message.extend_from_slice(piece);
        Pin::new(&mut self.socket).start_send(Message::Binary(message.into())).map_err(fault)?;
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_flush(cx) {
            return Poll::Ready(Err(fault(error)));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(fault)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closes {
            return Pin::new(&mut self.socket).poll_close(cx).map_err(fault);
        }
        if !self.closed {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(fault)?;
            let close = vec![channel::CLOSE, channel::STDIN];
            Pin::new(&mut self.socket).start_send(Message::Binary(close.into())).map_err(fault)?;
            self.closed = true;
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn pair(closes: bool) -> (ExecStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        // One byte more than the smallest frame at a time, so that everything arrives in pieces.
        let (client, server) = tokio::io::duplex(7);
        let socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        (ExecStream::new(socket, closes), WebSocketStream::from_raw_socket(server, Role::Server, None).await)
    }

    fn message(number: u8, bytes: &[u8]) -> Message {
        Message::Binary([&[number], bytes].concat().into())
    }

    #[tokio::test]
    async fn bytes_go_both_ways_whatever_pieces_the_socket_takes() {
        let (mut stream, mut server) = pair(true).await;
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let echo = async {
            let mut echoed = 0;
            while let Some(Ok(Message::Binary(bytes))) = server.next().await {
                if bytes[..] == [channel::CLOSE, channel::STDIN] {
                    break;
                }
                assert_eq!(bytes[0], channel::STDIN);
                assert!(bytes.len() <= MAX_PIECE + 1);
                echoed += bytes.len() - 1;
                server.send(message(channel::STDERR, b"x")).await.unwrap();
                server.send(message(channel::STDOUT, &[])).await.unwrap();
                server.send(message(channel::STDOUT, &bytes[1..])).await.unwrap();
            }
            server.send(message(channel::STATUS, br#"{"status":"Success"}"#)).await.unwrap();
            echoed
        };
        let ours = async {
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let writing = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            tokio::join!(writing, async { reader.read_to_end(&mut received).await.unwrap() });
            received
        };
        let (echoed, received) = tokio::join!(echo, ours);
        assert_eq!(echoed, sent.len());
        assert!(received == sent);
        assert!(stream.words().starts_with('x'));
    }

    #[tokio::test]
    async fn an_end_is_the_end_of_the_stream_and_a_cut_is_an_error() {
        let (mut stream, mut server) = pair(true).await;
        let failure = br#"{"status":"Failure","message":"no such program"}"#;
        let said = async { server.send(message(channel::STATUS, failure)).await.unwrap() };
        let mut nothing = Vec::new();
        let (_, read) = tokio::join!(said, stream.read_to_end(&mut nothing));
        assert_eq!((read.unwrap(), stream.words()), (0, "no such program".to_owned()));

        let (mut stream, server) = pair(false).await;
        drop(server);
        assert!(stream.read_u8().await.is_err());
        assert!(stream.write_all(b"x").await.is_err() || stream.flush().await.is_err());
    }
}
