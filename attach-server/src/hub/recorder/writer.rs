//! The one thread that writes recordings.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, io};

use lap_platform::model::SessionId;
use lap_wire::control::Size;
use lap_wire::flow::Since;
use tokio::sync::oneshot;

use super::cast::Cast;
use super::space::{make_room, share};
use super::{Gap, Gathered, RecordingConfig, Tape};

/// How long what was printed may stay unwritten, whatever else is printed meanwhile.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Output written between two positions.
const POSITION_EVERY: usize = 1024 * 1024;

/// Room is made for recordings each time this much was written at the latest.
const ROOM_EVERY: u64 = 1024 * 1024;

/// By how much the writer gives way to everything else; it still gets about a tenth of a busy core.
const NICE: i32 = 10;

/// Something to be written.
pub(super) struct Job {
    pub(super) tape: Arc<Tape>,
    pub(super) what: What,
}

/// What it is.
pub(super) enum What {
    Output(Gathered),
    Snapshot { at: Instant, since: Since, size: Size, bytes: Vec<u8>, gap: Option<Gap> },
    Resized { at: Instant, size: Size },
    Exited { at: Instant, code: i32, gap: Option<Gap> },
    Finished,
    Forgotten { done: oneshot::Sender<io::Result<()>> },
}

/// A recording that is being written.
pub(super) struct Open {
    tape: Arc<Tape>,
    cast: Cast,
}

/// See the module.
pub(super) struct Writer {
    pub(super) config: RecordingConfig,
    pub(super) queued: Arc<AtomicUsize>,
    pub(super) open: HashMap<SessionId, Open>,
    /// Recordings that end with a hole, until a snapshot follows.
    pub(super) broken: HashSet<SessionId>,
    /// Bytes taken in since room was last made for them.
    pub(super) since_room: u64,
}

impl Writer {
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        // This thread alone (on Linux a priority is a thread's): under a flood the processor is the viewers' first.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "recordings are written at normal priority");
        }
        // When everything taken so far must be in the files. Nothing is waiting to be flushed while there is no such
        // time: then the thread sleeps until there is something again.
        let mut flush_at: Option<Instant> = None;
        loop {
            let next = match flush_at {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(job) => {
                    self.take(job);
                    flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also while jobs keep coming: a session that prints all the time must not keep the others' lines here.
            if flush_at.is_some_and(|at| Instant::now() >= at) {
                self.flush();
                flush_at = None;
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mark = |open: &mut Open| open.cast.mark().err().map(|error| (open.tape.clone(), error));
        let failed: Vec<_> = self.open.values_mut().filter_map(mark).collect();
        for (tape, error) in failed {
            self.failed(&tape, &error);
        }
    }

    fn take(&mut self, Job { tape, what }: Job) {
        let bytes = match &what {
            What::Output(gathered) => gathered.bytes.len(),
            What::Snapshot { bytes, .. } => bytes.len(),
            What::Resized { .. } | What::Exited { .. } | What::Finished | What::Forgotten { .. } => 0,
        };
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        // After a hole only a snapshot can follow, or the end.
        let goes_on = !matches!(what, What::Output(_) | What::Resized { .. });
        if self.broken.contains(&tape.session) && !goes_on {
            return;
        }
        let heals = matches!(what, What::Snapshot { .. } | What::Finished | What::Forgotten { .. });
        let ended = matches!(what, What::Finished);
        match self.write(&tape, what) {
            Ok(()) if heals => drop(self.broken.remove(&tape.session)),
            Ok(()) => {}
            Err(error) => self.failed(&tape, &error),
        }
        self.since_room += bytes as u64;
        if ended || self.since_room >= (self.config.total_bytes / 16).min(ROOM_EVERY) {
            self.since_room = 0;
            if let Err(error) = make_room(&self.config, |session| self.open.contains_key(&session)) {
                tracing::warn!(%error, "recordings cannot be kept within their bound");
            }
        }
    }

    /// What was not written is a hole: the recorder is told, and nothing goes behind it but what marks it.
    fn failed(&mut self, tape: &Tape, error: &io::Error) {
        self.open.remove(&tape.session);
        // The first time is the one to log: what follows is told in the recording.
        if self.broken.insert(tape.session) {
            tracing::error!(session = %tape.session, %error, "a recording cannot be written: it goes on once it can");
        }
        tape.failed.store(true, Ordering::Relaxed);
    }

    fn write(&mut self, tape: &Arc<Tape>, what: What) -> io::Result<()> {
        let hole = self.broken.contains(&tape.session).then_some(Gap::NotWritten);
        match what {
            What::Output(gathered) => {
                let half = share(&self.config, self.open.len()) / 2;
                // Whoever removed it has removed what this would go on from.
                let Some(cast) = self.resumed(tape)? else { return Err(io::ErrorKind::NotFound.into()) };
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
                    self.rotate(tape)?;
                }
            }
            What::Snapshot { at, since, size, bytes, gap } => {
                if self.resumed(tape)?.is_none() {
                    let cast = Cast::create(&self.config.current(tape.session), size)?;
                    self.open.insert(tape.session, Open { tape: tape.clone(), cast });
                }
                let Some(Open { cast, .. }) = self.open.get_mut(&tape.session) else { return Ok(()) };
                cast.partial.clear();
                cast.left_out(at, gap.or(hole))?;
                cast.event(at, "r", &format!("{}x{}", size.cols, size.rows))?;
                cast.output(at, &bytes)?;
                cast.since = Some(since);
                cast.mark()?;
            }
            What::Resized { at, size } => {
                if let Some(cast) = self.resumed(tape)? {
                    cast.event(at, "r", &format!("{}x{}", size.cols, size.rows))?;
                    cast.since = None;
                }
            }
            What::Exited { at, code, gap } => {
                if let Some(cast) = self.resumed(tape)? {
                    cast.left_out(at, gap.or(hole))?;
                    cast.event(at, "x", &code.to_string())?;
                    cast.mark()?;
                }
            }
            What::Finished => {
                if let Some(mut open) = self.open.remove(&tape.session) {
                    open.cast.mark()?;
                }
            }
            What::Forgotten { done } => {
                self.open.remove(&tape.session);
                // Whoever asked may have gone away.
                let _ = done.send(self.config.remove(tape.session));
            }
        }
        Ok(())
    }

    /// The session's recording, gone on with where an earlier server left it.
    fn resumed(&mut self, tape: &Arc<Tape>) -> io::Result<Option<&mut Cast>> {
        if !self.open.contains_key(&tape.session)
            && let Some(cast) = Cast::resume(&self.config.current(tape.session))?
        {
            self.open.insert(tape.session, Open { tape: tape.clone(), cast });
        }
        Ok(self.open.get_mut(&tape.session).map(|open| &mut open.cast))
    }

    /// The older half goes, this half becomes the older one.
    fn rotate(&mut self, tape: &Arc<Tape>) -> io::Result<()> {
        let Some(Open { mut cast, .. }) = self.open.remove(&tape.session) else { return Ok(()) };
        cast.mark()?;
        fs::rename(self.config.current(tape.session), self.config.older(tape.session))?;
        let mut next = Cast::create(&self.config.current(tape.session), Size::default())?;
        next.since = cast.since;
        next.last = cast.last;
        next.partial = cast.partial;
        next.mark()?;
        self.open.insert(tape.session, Open { tape: tape.clone(), cast: next });
        Ok(())
    }
}
