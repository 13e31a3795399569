//! The pipes of a program that has no terminal. Nothing of its output is ever skipped: what no reader has acknowledged
//! is kept, and when that fills the ring, the pipe is not read and the program waits.

use std::os::fd::OwnedFd;
use std::process::Child;

use lap_wire::Ring;
use lap_wire::control::Stream;

/// One stream of output.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) ring: Ring,
}

/// A program's three.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<OwnedFd>,
    stdout: Pipe,
    stderr: Pipe,
}

impl Pipe {
    fn new(fd: Option<OwnedFd>, ring: usize) -> std::io::Result<Pipe> {
        if let Some(fd) = &fd {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Pipe { fd, ring: Ring::new(ring) })
    }

    /// Bytes that can be taken in without forgetting any.
    pub(crate) fn room(&self) -> usize {
        self.ring.capacity() - self.ring.len()
    }
}

impl Pipes {
    /// Takes over the pipes of a child that was started with three.
    pub(crate) fn of(child: &mut Child, ring: usize) -> std::io::Result<Pipes> {
        let stdin = child.stdin.take().map(OwnedFd::from);
        if let Some(fd) = &stdin {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Pipes {
            stdin,
            stdout: Pipe::new(child.stdout.take().map(OwnedFd::from), ring)?,
            stderr: Pipe::new(child.stderr.take().map(OwnedFd::from), ring)?,
        })
    }

    pub(crate) fn get(&self, stream: Stream) -> &Pipe {
        match stream {
            Stream::Output => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    pub(crate) fn get_mut(&mut self, stream: Stream) -> &mut Pipe {
        match stream {
            Stream::Output => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
