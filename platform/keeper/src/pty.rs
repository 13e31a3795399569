//! A pseudo-terminal: both its ends, in one place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use lap_wire::control::Size;
use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::SpecialCodeIndex;

/// See the module.
pub(crate) struct Pty {
    master: Box<dyn MasterPty + Send>,
    fd: RawFd,
    /// Held until the program has ended. Without it the terminal would hang up as soon as the program closes its
    /// own, which it may do and open it again by name; with it, the end of the output has one cause.
    slave: Option<OwnedFd>,
}

impl Pty {
    /// A new one, close-on-exec at both ends, reads and writes without blocking.
    pub(crate) fn open(size: Size) -> io::Result<Pty> {
        // The library tells no cause that could be acted on.
        let pair = native_pty_system()
            .openpty(pty_size(size))
            .map_err(|error| why_none().unwrap_or_else(|| io::Error::other(error)))?;
        let master = pair.master;
        let fd = master.as_raw_fd().ok_or_else(|| io::Error::other("the terminal has no descriptor"))?;
        let mut pty = Pty { master, fd, slave: None };
        rustix::io::ioctl_fionbio(&pty, true)?;
        // The pair's own slave can only spawn. This one is opened through the master, so no path is needed, which a
        // sandbox may not have mounted.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        pty.slave = Some(rustix::pty::ioctl_tiocgptpeer(&pty, flags)?);
        Ok(pty)
    }

    /// The end for the program, until [`Pty::release`].
    pub(crate) fn slave(&self) -> io::Result<OwnedFd> {
        let slave = self.slave.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        slave.try_clone()
    }

    /// The program has ended: when the last of its descendants closes the terminal, the output is complete.
    pub(crate) fn release(&mut self) {
        self.slave = None;
    }

    /// Tells the program too (SIGWINCH).
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        self.master.resize(pty_size(size)).map_err(io::Error::other)
    }

    /// The process group that keys of this terminal go to.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        self.master.process_group_leader().and_then(Pid::from_raw)
    }

    /// What a program takes as the end of its input when typed on a fresh line.
    pub(crate) fn end_of_file(&self) -> Option<u8> {
        let codes = rustix::termios::tcgetattr(self).ok()?.special_codes;
        Some(codes[SpecialCodeIndex::VEOF]).filter(|code| *code != 0)
    }
}

impl AsFd for Pty {
    #[allow(unsafe_code)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `master` owns the descriptor and lives as long as this borrow of it.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

/// Why there is no terminal to be had, where one cannot even be opened.
fn why_none() -> Option<io::Error> {
    rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).err().map(io::Error::from)
}

fn pty_size(size: Size) -> PtySize {
    PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 }
}
