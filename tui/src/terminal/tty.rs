//! The terminal as a pair of byte streams.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lap_wire::control::Size;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, ttyname};
use tokio::io::unix::AsyncFd;

use super::TerminalError;
use super::restore::{self, Found};

/// How long restoring waits for a terminal that takes nothing.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(2);

/// The terminal in raw mode. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct Tty {
    fd: AsyncFd<OwnedFd>,
    found: Termios,
    raw: Termios,
    size: SharedSize,
}

/// The size as it was last asked for, for whoever draws: asking the system twice for each frame is not needed where a
/// signal tells of every change.
pub(super) type SharedSize = Rc<Cell<Option<Size>>>;

/// A descriptor of our own, so that making it non-blocking concerns nobody we share standard input with.
fn reopen() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = ttyname(io::stdin(), Vec::new()).and_then(|name| open(name, flags, Mode::empty()));
    own.or_else(|_| open("/dev/tty", flags, Mode::empty()))
}

impl Tty {
    /// Opens the terminal and makes it raw. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Standard input or output is no terminal, or it cannot be opened or set.
    pub fn open() -> Result<Tty, TerminalError> {
        for (is_one, name) in
            [(io::stdin().is_terminal(), "standard input"), (io::stdout().is_terminal(), "standard output")]
        {
            if !is_one {
                return Err(TerminalError::None(name));
            }
        }
        let fd = reopen()?;
        let found = tcgetattr(&fd)?;
        let mut raw = found.clone();
        raw.make_raw();
        restore::remember(Found { tty: fd.try_clone()?, termios: found.clone(), undo: Vec::new() });
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that could change their descriptor; OwnedFd cannot"
        )]
        let tty = Tty { fd: AsyncFd::new(fd)?, found, raw, size: SharedSize::default() };
        tcsetattr(&tty.fd, OptionalActions::Flush, &tty.raw)?;
        tty.size();
        Ok(tty)
    }

    /// Asks for its size, if it has one that a terminal can have.
    pub fn size(&self) -> Option<Size> {
        let size = tcgetwinsize(&self.fd).ok().and_then(|size| Size::checked(size.ws_col, size.ws_row));
        if size.is_some() {
            self.size.set(size);
        }
        size
    }

    /// The last answer of [`Tty::size`], kept up to date.
    pub(super) fn shared_size(&self) -> SharedSize {
        self.size.clone()
    }

    /// What is to be written when the terminal is given back.
    pub fn set_undo(&self, undo: &[u8]) {
        restore::set_undo(undo);
    }

    /// Reads what is there; pending until something is. 0 bytes: the terminal is gone.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_read_ready(cx))?;
            match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut *buffer).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => return Poll::Ready(read),
                Err(_would_block) => {}
            }
        }
    }

    /// Writes what it takes now; says how much that was.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.fd.get_ref(), bytes) {
                Ok(n) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what it takes; pending until it takes something.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.fd.poll_write_ready(cx))?;
            match ready.try_io(|fd| rustix::io::write(fd.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    /// Gives the terminal back while lap is stopped by a signal, and takes it again when it goes on.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn suspended(&self, undo: &[u8], stop: impl FnOnce()) -> io::Result<()> {
        let mut rest = undo;
        while !rest.is_empty() {
            let n = self.try_write(rest)?;
            rest = rest.get(n..).unwrap_or_default();
            if n == 0 && !wait_writable(self.fd.as_fd(), LAST_WAIT) {
                break;
            }
        }
        tcsetattr(&self.fd, OptionalActions::Now, &self.found)?;
        stop();
        tcsetattr(&self.fd, OptionalActions::Flush, &self.raw)?;
        // Signals of a change went to whoever had the terminal meanwhile.
        self.size();
        Ok(())
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore::restore();
    }
}

/// Whether a descriptor takes something within this time.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, within: Duration) -> bool {
    let timeout = Timespec::try_from(within).unwrap_or_default();
    poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&timeout)).is_ok_and(|ready| ready > 0)
}
