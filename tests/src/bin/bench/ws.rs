//! A WebSocket client of one thread that blocks: what a key costs in it is one write, one poll and one read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::line::readable;

/// One read.
const READ: usize = 256 * 1024;
/// The longest message a peer here sends.
const MAX_MESSAGE: usize = 1024 * 1024;
/// How long an upgrade may take.
const UPGRADE: Duration = Duration::from_secs(5);

const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What a WebSocket runs over.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

/// An open socket.
pub(crate) struct WebSocket {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    out: Vec<u8>,
}

impl WebSocket {
    /// Upgrades a connection.
    pub(crate) fn upgrade(mut stream: Stream, path: &str, headers: &[(&str, &str)]) -> Result<WebSocket> {
        let host = match &stream {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.peer_addr()?.to_string()
            }
            Stream::Unix(_) => "localhost".to_owned(),
        };
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes())?;
        let mut socket = WebSocket { stream, buffer: vec![0; READ], start: 0, end: 0, out: Vec::new() };
        let deadline = Instant::now() + UPGRADE;
        loop {
            let head = &socket.buffer[..socket.end];
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                if !head.starts_with(b"HTTP/1.1 101") {
                    bail!("the upgrade was answered by {}", String::from_utf8_lossy(head));
                }
                socket.start = at + 4;
                return Ok(socket);
            }
            if !socket.fill(deadline)? {
                bail!("the upgrade was not answered");
            }
        }
    }

    /// Sends one binary message.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<()> {
        self.write(BINARY, message)
    }

    fn write(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        self.out.clear();
        self.out.push(0x80 | opcode);
        match payload.len() {
            n @ 0..126 => self.out.push(0x80 | n as u8),
            n @ 126..0x1_0000 => {
                self.out.push(0x80 | 126);
                self.out.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                self.out.push(0x80 | 127);
                self.out.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        // A mask hides nothing on a loopback, but the server has to undo it as it would any other.
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        self.out.extend_from_slice(&mask);
        self.out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&self.out).context("the socket takes no more")
    }

    /// The next data message; `None` at the deadline.
    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Option<&[u8]>> {
        loop {
            if let Some((opcode, from, to)) = self.frame()? {
                self.start = to;
                match opcode {
                    PING => {
                        let payload = self.buffer[from..to].to_vec();
                        self.write(PONG, &payload)?;
                    }
                    PONG => {}
                    CLOSE => {
                        let body = &self.buffer[from..to];
                        let code = body.first_chunk().map_or(0, |c| u16::from_be_bytes(*c));
                        bail!(
                            "closed with {code}: {}",
                            String::from_utf8_lossy(body.get(2..).unwrap_or_default())
                        );
                    }
                    _ => return Ok(Some(&self.buffer[from..to])),
                }
            } else if !self.fill(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Whether a message is here already.
    pub(crate) fn has_message(&self) -> Result<bool> {
        Ok(self.frame()?.is_some())
    }

    /// The whole frame at the front: its opcode and where its payload lies.
    fn frame(&self) -> Result<Option<(u8, usize, usize)>> {
        let bytes = &self.buffer[self.start..self.end];
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (len, header) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(len) => (usize::from(u16::from_be_bytes(*len)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(len) => (u64::from_be_bytes(*len) as usize, 10),
                None => return Ok(None),
            },
            len => (usize::from(len), 2),
        };
        if len > MAX_MESSAGE || first & 0x80 == 0 || second & 0x80 != 0 {
            bail!("a message this client does not take");
        }
        let from = self.start + header;
        Ok((from + len <= self.end).then_some((first & 0x0f, from, from + len)))
    }

    fn fill(&mut self, deadline: Instant) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < READ / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() - self.end < READ / 2 {
                self.buffer.resize(self.end + READ, 0);
            }
        }
        if !readable(self.stream.as_fd(), deadline)? {
            return Ok(false);
        }
        let n = self.stream.read(&mut self.buffer[self.end..])?;
        if n == 0 {
            bail!("the peer has closed the connection");
        }
        self.end += n;
        Ok(true)
    }
}
