//! A way to a terminal, whatever is in between: a PTY, tmux, a bridge, our server.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a program may take to start.
const PREPARE: Duration = Duration::from_secs(10);
/// Nothing has come for so long: nothing is on its way.
const QUIET: Duration = Duration::from_millis(50);

/// What every driver can do, with as little of its own cost as possible: one thread, blocking, no runtime.
pub(crate) trait Line {
    /// Types.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// Appends what comes to `out`; false if nothing came before the deadline.
    fn receive(&mut self, out: &mut Vec<u8>, deadline: Instant) -> Result<bool>;
    /// Types into the other terminal on the same way, where there is one.
    fn send_other(&mut self, _bytes: &[u8]) -> Result<()> {
        bail!("there is no other terminal here")
    }
    /// Bytes of the other terminal that came on the same way so far.
    fn other_bytes(&self) -> u64 {
        0
    }
}

/// Runs a program in the shell at the other end, and waits until it says READY. The command must not have the word in
/// one piece, since the shell shows the command too.
pub(crate) fn prepare(line: &mut dyn Line, command: &str) -> Result<()> {
    let deadline = Instant::now() + PREPARE;
    line.send(command.as_bytes())?;
    line.send(b"\r")?;
    read_until(line, b"READY", deadline)?;
    settle(line, QUIET, deadline)
}

/// Waits until there is something to read; false at the deadline.
pub(crate) fn readable(fd: impl AsFd, deadline: Instant) -> Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("poll: {error}"),
        }
    }
}

/// Reads until `needle` has been seen, and gives everything that came, the needle included.
pub(crate) fn read_until(line: &mut dyn Line, needle: &[u8], deadline: Instant) -> Result<Vec<u8>> {
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        if seen[from..].windows(needle.len()).any(|w| w == needle) {
            return Ok(seen);
        }
        from = seen.len().saturating_sub(needle.len());
        if !line.receive(&mut seen, deadline)? {
            let tail = &seen[seen.len().saturating_sub(200)..];
            bail!(
                "{:?} did not come; the last was {:?}",
                needle.escape_ascii().to_string(),
                tail.escape_ascii().to_string()
            );
        }
    }
}

/// Takes in what is on its way, until nothing has come for `quiet`.
pub(crate) fn settle(line: &mut dyn Line, quiet: Duration, deadline: Instant) -> Result<()> {
    let mut sink = Vec::new();
    while line.receive(&mut sink, deadline.min(Instant::now() + quiet))? {
        sink.clear();
        if Instant::now() >= deadline {
            bail!("it never became quiet");
        }
    }
    Ok(())
}
