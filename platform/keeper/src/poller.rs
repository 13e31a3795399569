//! What the loop waits for.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use lap_wire::control::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::connection::ConnectionId;
use crate::program::ProgramKey;

/// Whose descriptor it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Signals,
    Listener,
    /// The watch over the socket's path.
    Path,
    Peer(ConnectionId),
    /// A program's output, and on a terminal its input too.
    Output(ProgramKey, Stream),
    /// A program's standard input, where that is a pipe.
    Input(ProgramKey),
}

/// Something that can be done without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    pub(crate) source: Source,
    /// There is something to read, or the end.
    pub(crate) read: bool,
    /// There is room to write, or nobody left to read.
    pub(crate) write: bool,
}

/// The descriptors of one turn.
#[derive(Default)]
pub(crate) struct Poller<'a> {
    fds: Vec<PollFd<'a>>,
    sources: Vec<Source>,
}

impl<'a> Poller<'a> {
    /// Waits for this one too. One that is to be neither read nor written is left out, or its hang-up would spin.
    pub(crate) fn add(&mut self, source: Source, fd: BorrowedFd<'a>, read: bool, write: bool) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, read);
        flags.set(PollFlags::OUT, write);
        if !flags.is_empty() {
            self.fds.push(PollFd::from_borrowed_fd(fd, flags));
            self.sources.push(source);
        }
    }

    /// Waits until one is ready or the time is up, `None` for ever.
    pub(crate) fn wait(mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match rustix::event::poll(&mut self.fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        for (fd, source) in self.fds.iter().zip(&self.sources) {
            let flags = fd.revents();
            let broken = flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
            let read = broken || flags.contains(PollFlags::IN);
            let write = broken || flags.contains(PollFlags::OUT);
            if read || write {
                ready.push(Ready { source: *source, read, write });
            }
        }
        Ok(())
    }
}
