//! The one thread that writes recordings.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, io};

use lap_platform::model::SessionId;
use lap_wire::control::Size;
use lap_wire::flow::Since;

use super::cast::Cast;
use super::{Gathered, RecordingConfig};

/// How long what was printed may stay unwritten.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Output written between two positions.
const POSITION_EVERY: usize = 1024 * 1024;

/// By how much the writer gives way to everything else; it still gets about a tenth of a busy core.
const NICE: i32 = 10;

/// What is to be written.
pub(super) enum Job {
    Output { session: SessionId, gathered: Gathered },
    Snapshot { session: SessionId, at: Instant, since: Since, size: Size, bytes: Vec<u8>, gap: bool },
    Resized { session: SessionId, at: Instant, size: Size },
    Exited { session: SessionId, at: Instant, code: i32 },
    Finished { session: SessionId },
}

/// See the module.
pub(super) struct Writer {
    pub(super) config: RecordingConfig,
    pub(super) queued: Arc<AtomicUsize>,
    pub(super) open: HashMap<SessionId, Cast>,
}

impl Writer {
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        // This thread alone (on Linux a priority is a thread's): under a flood the processor is the viewers' first.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "recordings are written at normal priority");
        }
        loop {
            match jobs.recv_timeout(FLUSH_AFTER) {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    // Nothing is waiting to be flushed now: sleep until there is something again.
                    match jobs.recv() {
                        Ok(job) => self.take(job),
                        Err(_) => break,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.open.retain(|session, cast| match cast.mark() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%session, %error, "recording given up");
                false
            }
        });
    }

    fn take(&mut self, job: Job) {
        let (session, bytes) = match &job {
            Job::Output { session, gathered } => (*session, gathered.bytes.len()),
            Job::Snapshot { session, bytes, .. } => (*session, bytes.len()),
            Job::Resized { session, .. } | Job::Exited { session, .. } | Job::Finished { session } => {
                (*session, 0)
            }
        };
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        if let Err(error) = self.write(job) {
            tracing::error!(%session, %error, "recording given up");
            self.open.remove(&session);
        }
    }

    fn write(&mut self, job: Job) -> io::Result<()> {
        match job {
            Job::Output { session, gathered } => {
                let half = self.config.max_bytes / 2;
                let Some(cast) = self.resumed(session)? else { return Ok(()) };
                for (at, bytes) in gathered.pieces() {
                    cast.output(at, bytes)?;
                }
                if let Some(since) = &mut cast.since {
                    since.offset = gathered.end;
                }
                if cast.unmarked > POSITION_EVERY {
                    cast.mark()?;
                }
                // Without a snapshot to begin the next half with, this one goes on for a while.
                if cast.written > half {
                    self.rotate(session)?;
                }
            }
            Job::Snapshot { session, at, since, size, bytes, gap } => {
                if self.resumed(session)?.is_none() {
                    let cast = Cast::create(&self.config.current(session), size)?;
                    self.open.insert(session, cast);
                }
                let Some(cast) = self.open.get_mut(&session) else { return Ok(()) };
                if gap {
                    cast.event(at, "m", "output left out: it came faster than is recorded")?;
                }
                cast.partial.clear();
                cast.event(at, "r", &format!("{}x{}", size.cols, size.rows))?;
                cast.output(at, &bytes)?;
                cast.since = Some(since);
                cast.mark()?;
            }
            Job::Resized { session, at, size } => {
                if let Some(cast) = self.resumed(session)? {
                    cast.event(at, "r", &format!("{}x{}", size.cols, size.rows))?;
                    cast.since = None;
                }
            }
            Job::Exited { session, at, code } => {
                if let Some(cast) = self.resumed(session)? {
                    cast.event(at, "x", &code.to_string())?;
                    cast.mark()?;
                }
            }
            Job::Finished { session } => {
                if let Some(mut cast) = self.open.remove(&session) {
                    cast.mark()?;
                }
            }
        }
        Ok(())
    }

    /// The session's recording, gone on with where an earlier server left it.
    fn resumed(&mut self, session: SessionId) -> io::Result<Option<&mut Cast>> {
        if !self.open.contains_key(&session)
            && let Some(cast) = Cast::resume(&self.config.current(session))?
        {
            self.open.insert(session, cast);
        }
        Ok(self.open.get_mut(&session))
    }

    /// The older half goes, this half becomes the older one.
    fn rotate(&mut self, session: SessionId) -> io::Result<()> {
        let Some(mut cast) = self.open.remove(&session) else { return Ok(()) };
        cast.mark()?;
        fs::rename(self.config.current(session), self.config.older(session))?;
        let mut next = Cast::create(&self.config.current(session), Size::default())?;
        next.since = cast.since;
        next.last = cast.last;
        next.partial = cast.partial;
        next.mark()?;
        self.open.insert(session, next);
        Ok(())
    }
}
