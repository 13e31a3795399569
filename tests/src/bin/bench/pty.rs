//! A PTY of our own with a program in it: the control every path is held against, and the outside of whole clients.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::line::{Line, readable};

/// The size of every terminal here.
pub(crate) const COLS: u16 = 120;
/// See [`COLS`].
pub(crate) const ROWS: u16 = 40;
/// One read; what the kernel hands out at once is less.
const READ: usize = 64 * 1024;

/// A program in a PTY. Both end when this is dropped.
pub(crate) struct Pty {
    master: OwnedFd,
    child: Child,
    scratch: Vec<u8>,
}

impl Pty {
    /// Starts a program on a new PTY of the usual size, as its controlling terminal.
    pub(crate) fn spawn(program: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Pty> {
        Pty::spawn_sized(program, arguments, env, COLS, ROWS)
    }

    /// The same with a size of its own.
    pub(crate) fn spawn_sized(
        program: &str,
        arguments: &[&str],
        env: &[(&str, &str)],
        cols: u16,
        rows: u16,
    ) -> Result<Pty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?;
        // setsid(1) gives the program a session with this terminal, which needs no unsafe code of ours.
        let mut command = Command::new("setsid");
        command
            .arg("-c")
            .arg(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .envs(env.iter().copied());
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(Stdio::from(slave));
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Pty { master, child, scratch: vec![0; READ] })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Line for Pty {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rustix::io::write(&self.master, rest)?;
            rest = &rest[n..];
        }
        Ok(())
    }

    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool> {
        if !readable(self.master.as_fd(), deadline)? {
            return Ok(false);
        }
        let n = rustix::io::read(&self.master, &mut self.scratch[..]).context("the program has ended")?;
        out.extend_from_slice(&self.scratch[..n]);
        Ok(n > 0)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
