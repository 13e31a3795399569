//! Signals to the keeper, read from a descriptor like everything else the loop waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// What is blocked and read: children that ended, and requests to end. A hang-up is blocked and ignored: the keeper
/// outlives the terminal it was started from.
const READ: [i32; 4] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// See the module.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: OwnedFd,
}

/// What signals have arrived since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// A child has ended.
    pub(crate) child: bool,
    /// Somebody wants the keeper to end.
    pub(crate) terminate: bool,
}

impl Signals {
    #[allow(unsafe_code)]
    pub(crate) fn new() -> io::Result<Signals> {
        // SAFETY: plain system calls on a set that lives on this stack; the new descriptor is nobody else's.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in READ {
                libc::sigaddset(&raw mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            // A parent may have left SIGCHLD ignored, and then children vanish without a status.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals { fd: OwnedFd::from_raw_fd(fd) })
        }
    }

    /// Takes everything that has arrived.
    pub(crate) fn take(&self) -> Arrived {
        const ONE: usize = size_of::<libc::signalfd_siginfo>();
        let mut arrived = Arrived::default();
        let mut buffer = [0; 8 * ONE];
        while let Ok(n) = rustix::io::read(&self.fd, &mut buffer)
            && n > 0
        {
            for record in buffer[..n].chunks_exact(ONE) {
                // The number is the record's first field.
                let number = record.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
                arrived.child |= number == libc::SIGCHLD as u32;
                arrived.terminate |= number == libc::SIGTERM as u32 || number == libc::SIGINT as u32;
            }
        }
        arrived
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// In a child before its program runs: every signal does what it does by default and none is blocked, whatever the
/// keeper or its parents have set.
///
/// # Safety
/// For the moment between fork and exec: makes only async-signal-safe calls.
#[allow(unsafe_code)]
pub(crate) unsafe fn reset_in_child() {
    // Signals are numbered 1 to 64 on Linux.
    for signal in 1..=64 {
        // SAFETY: async-signal-safe; fails without effect for SIGKILL, SIGSTOP and those libc keeps for itself.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: async-signal-safe calls on a set on this stack.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
