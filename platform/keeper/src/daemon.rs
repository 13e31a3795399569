//! How the keeper becomes a process of its own, and the frame around its loop.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::say;
use crate::keeper::Keeper;

/// How a keeper is to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where it listens. Its folder must exist; the socket is made with mode 0600 and removed at the end.
    pub socket: PathBuf,
    /// Where its messages go, appended; standard error without one.
    pub log: Option<PathBuf>,
    /// How many files it and, after it, its programs may have open; as many as whoever started it, without one.
    pub open_files: Option<u64>,
    /// Whether programs begin with the keeper's own environment beneath what they are given: in a container it is the
    /// image's, with its PATH.
    pub inherit_env: bool,
    /// Whether to go into the background, in a session of its own; [`run`] then returns in the caller as soon as the
    /// keeper listens or has failed to.
    pub detach: bool,
}

/// Runs a keeper until it is told to end, and gives its exit status: 0, or 1 when it could not start.
///
/// The process becomes the keeper's own: inherited descriptors are closed, signals blocked and read from a descriptor,
/// and it becomes the parent of every orphan among its descendants. Call it before any thread is started.
pub fn run(config: &Config) -> i32 {
    close_inherited();
    if let Some(files) = config.open_files {
        limit_open_files(files);
    }
    let mut ready = None;
    if config.detach {
        match detach() {
            Ok(Side::Caller(status)) => return status,
            Ok(Side::Keeper(pipe)) => ready = Some(pipe),
            Err(error) => {
                say(&format!("lap-keeper: cannot go into the background: {error}\n"));
                return 1;
            }
        }
    }
    match redirect(config).and_then(|()| Keeper::new(config)) {
        Ok(keeper) => {
            if let Some(mut pipe) = ready.take() {
                let _ = pipe.write_all(READY);
            }
            keeper.run()
        }
        Err(error) => {
            let message = format!("lap-keeper: cannot listen on {}: {error}\n", config.socket.display());
            match ready {
                Some(mut pipe) => {
                    let _ = pipe.write_all(message.as_bytes());
                }
                None => say(&message),
            }
            1
        }
    }
}

/// Programs are to be allowed what they would have been without lap, whose server asks for more than that for itself.
fn limit_open_files(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = Some(limit.maximum.map_or(files, |most| files.min(most)));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }) {
        say(&format!("lap-keeper: cannot limit open files to {files}: {error}\n"));
    }
}

/// What a detached keeper tells its caller when it listens; anything else is why it does not.
const READY: &[u8] = b"+";
/// The longest such reason, in bytes.
const MAX_REASON: u64 = 64 * 1024;

enum Side {
    Caller(i32),
    Keeper(io::PipeWriter),
}

/// Forks into a session of its own. The caller's side waits to hear how it went.
#[allow(unsafe_code)]
fn detach() -> io::Result<Side> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: the process has one thread (a rule of `run`), so the child may go on as any process may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            rustix::process::setsid()?;
            Ok(Side::Keeper(writer))
        }
        _ => {
            drop(writer);
            let mut heard = Vec::new();
            reader.take(MAX_REASON).read_to_end(&mut heard)?;
            if heard == READY {
                return Ok(Side::Caller(0));
            }
            let ended: &[u8] = b"lap-keeper: ended before it listened\n";
            io::stderr().write_all(if heard.is_empty() { ended } else { &heard })?;
            Ok(Side::Caller(1))
        }
    }
}

/// Standard input and output to nowhere, and so standard error unless there is a log. In the foreground they stay.
fn redirect(config: &Config) -> io::Result<()> {
    if config.detach {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        if config.log.is_none() {
            rustix::stdio::dup2_stderr(&null)?;
        }
    }
    if let Some(path) = &config.log {
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        rustix::stdio::dup2_stderr(log.as_fd())?;
    }
    Ok(())
}

/// Closes what the parent left open: a keeper outlives the server that started it, and must not keep that server's
/// sockets and locks alive.
#[allow(unsafe_code)]
fn close_inherited() {
    const FIRST: u32 = 3;
    // SAFETY: nothing in this process owns a descriptor yet but the three standard ones: `run` comes first in it.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) } == 0 {
        return;
    }
    // Kernels before 5.9.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd >= FIRST as i32) {
        // SAFETY: as above; the folder's own descriptor is closed already, which close reports and changes nothing.
        unsafe { libc::close(fd) };
    }
}
