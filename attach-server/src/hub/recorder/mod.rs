//! Every terminal's output on disk, as asciicast v3 (<https://docs.asciinema.org/manual/asciicast/v3/>), off the way
//! to the viewers: the hub only copies bytes into a bounded buffer, and hands it on when it is full or some time has
//! passed, so that an echo wakes no second thread. One thread writes.
//!
//! A recording survives the server: a comment line after each flush says up to which offset it goes, and the next
//! server cuts off what came after it and goes on from there.

mod budget;
mod cast;
mod space;
mod writer;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use lap_platform::model::SessionId;
use lap_wire::Epoch;
use lap_wire::control::{ExitStatus, Size};
use lap_wire::flow::Since;
use tokio::sync::oneshot;

use super::metrics::HubMetrics;
use budget::Budget;
use cast::last_position;
use writer::{Job, What, Writer};

/// Disk one session's recording takes at most; the oldest half goes when it is full.
pub const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Disk all recordings together take at most.
pub const DEFAULT_TOTAL_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Output waiting to be written, of all terminals together; more than the disk takes is left out, and the recording
/// says so and goes on with a snapshot.
const MAX_QUEUED: usize = 32 * 1024 * 1024;
/// Jobs waiting to be written.
const MAX_JOBS: usize = 16 * 1024;

/// Output of one terminal that is handed to the writer in one piece.
const MAX_GATHERED: usize = 64 * 1024;
/// How long less than that may be gathered.
pub(super) const GATHER: Duration = Duration::from_millis(200);

/// After a recording could not be written it is tried again this much later: room comes back slowly, and each try takes
/// a snapshot from the keeper.
const RETRY: Duration = Duration::from_secs(2);

/// Where recordings are, and how large they may become.
#[derive(Clone, Debug)]
pub struct RecordingConfig {
    /// The directory.
    pub directory: PathBuf,
    /// See [`DEFAULT_MAX_BYTES`].
    pub max_bytes: u64,
    /// Bytes all of them may take together.
    pub total_bytes: u64,
}

impl RecordingConfig {
    fn current(&self, session: SessionId) -> PathBuf {
        self.directory.join(format!("{session}.cast"))
    }

    fn older(&self, session: SessionId) -> PathBuf {
        self.directory.join(format!("{session}.older.cast"))
    }

    /// The whole recording of a session as one asciicast; an error of kind `NotFound` if there is none.
    pub fn read(&self, session: SessionId) -> io::Result<Vec<u8>> {
        let mut all = match fs::read(self.older(session)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let current = match fs::read(self.current(session)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !all.is_empty() => Vec::new(),
            Err(error) => return Err(error),
        };
        // One header is enough; times are relative to the line before.
        let skip =
            if all.is_empty() { 0 } else { current.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1) };
        all.extend_from_slice(&current[skip..]);
        Ok(all)
    }

    /// Removes a session's recording. Where a hub runs, [`Recordings::forget`] does it in order with what is written.
    pub(super) fn remove(&self, session: SessionId) -> io::Result<()> {
        for path in [self.current(session), self.older(session)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// How far a session's recording goes.
    pub(super) fn position(&self, session: SessionId) -> Option<Since> {
        let mut file = File::open(self.current(session)).ok()?;
        last_position(&mut file).ok()?.map(|(since, _)| since)
    }
}

/// The thread that writes recordings.
#[derive(Clone)]
pub(super) struct Recordings {
    config: RecordingConfig,
    jobs: SyncSender<Job>,
    queued: Arc<AtomicUsize>,
    metrics: HubMetrics,
}

impl Recordings {
    /// Starts the thread; it ends, everything written, when this and every recorder is gone.
    pub(super) fn start(
        config: RecordingConfig,
        metrics: HubMetrics,
    ) -> io::Result<(Recordings, std::thread::JoinHandle<()>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.directory)?;
        // One of an earlier version may be open to others, with what it has recorded.
        fs::set_permissions(&config.directory, fs::Permissions::from_mode(0o700))?;
        let (jobs, waiting) = sync_channel(MAX_JOBS);
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            config: config.clone(),
            queued: queued.clone(),
            open: HashMap::new(),
            broken: HashSet::new(),
            since_room: 0,
        };
        let thread = std::thread::Builder::new()
            .name("lap-recorder".to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok((Recordings { config, jobs, queued, metrics }, thread))
    }

    pub(super) fn config(&self) -> RecordingConfig {
        self.config.clone()
    }

    /// Removes a session's recording, after all that was handed on of it before; then says whether it is gone.
    pub(super) fn forget(&self, session: SessionId, done: oneshot::Sender<io::Result<()>>) {
        let tape = Arc::new(Tape { session, failed: AtomicBool::new(false) });
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(Job { tape, what: What::Forgotten { done } })
            && let What::Forgotten { done } = job.what
        {
            // Whoever asked may have gone away.
            let _ = done.send(Err(io::ErrorKind::ResourceBusy.into()));
        }
    }

    pub(super) fn recorder(&self, session: SessionId, position: Option<Since>) -> Recorder {
        Recorder {
            tape: Arc::new(Tape { session, failed: AtomicBool::new(false) }),
            recordings: self.clone(),
            position,
            gathered: Gathered::default(),
            recorded: None,
            budget: Budget::new(Instant::now()),
            paused: false,
            retry_at: None,
            looked_after: false,
            needs_snapshot: false,
            gap: None,
            exit: Exit::None,
        }
    }
}

/// A terminal's recording, as recorder and writer both know it.
pub(super) struct Tape {
    session: SessionId,
    /// Set by the writer when something could not be written: nothing is from there on, until the next snapshot.
    failed: AtomicBool,
}

/// Why output is missing in a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    /// More came than is recorded.
    TooFast,
    /// The disk did not take it.
    NotWritten,
    /// The server did not get it from the sandbox.
    NotReceived,
}

impl Gap {
    /// The mark that stands in its place.
    fn mark(self) -> &'static str {
        match self {
            Gap::TooFast => "output left out: it came faster than is recorded",
            Gap::NotWritten => "output left out: it could not be written to disk",
            Gap::NotReceived => "output left out: it did not come from the sandbox",
        }
    }
}

/// The program's end on its way into the recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Exit {
    None,
    /// It comes after the snapshot that is waited for.
    Pending(i32),
    Recorded,
}

/// Output and when it came.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    /// When each piece came, and where in `bytes` it ends.
    pieces: Vec<(Instant, usize)>,
    /// The terminal's offset behind all of it.
    end: u64,
}

impl Gathered {
    /// What came when.
    fn pieces(&self) -> impl Iterator<Item = (Instant, &[u8])> {
        let mut from = 0;
        self.pieces.iter().map(move |(at, to)| {
            let piece = self.bytes.get(from..*to).unwrap_or_default();
            from = *to;
            (*at, piece)
        })
    }
}

/// What a recorder needs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// [`Recorder::look_again`], after [`GATHER`].
    Time,
    /// A snapshot to go on with.
    Snapshot,
}

/// One terminal's way into its recording.
pub(super) struct Recorder {
    tape: Arc<Tape>,
    recordings: Recordings,
    /// How far the recording found on disk goes.
    position: Option<Since>,
    gathered: Gathered,
    /// The offset behind what is recorded, once anything is.
    recorded: Option<u64>,
    budget: Budget,
    /// Set while nothing is recorded, since too much came or it could not be written.
    paused: bool,
    /// When to try again after it could not be written.
    retry_at: Option<Instant>,
    /// Set while [`Recorder::look_again`] is to come.
    looked_after: bool,
    /// Set while the recording can only go on with a snapshot.
    needs_snapshot: bool,
    /// What is to be told before that snapshot.
    gap: Option<Gap>,
    exit: Exit,
}

impl Recorder {
    /// Whether the recording goes on with the very next byte; otherwise it needs a snapshot first.
    pub(super) fn continues(&mut self, epoch: Epoch, size_generation: u32, offset: u64) -> bool {
        let position = self.position.take();
        let continues = position == Some(Since { epoch, offset, size_generation });
        self.recorded = position.filter(|since| since.epoch == epoch).map(|since| since.offset);
        self.needs_snapshot = !continues;
        continues
    }

    /// Whether a snapshot is waited for.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.needs_snapshot && !self.paused
    }

    /// The program has printed.
    pub(super) fn output(&mut self, offset: u64, bytes: &[u8]) -> Needs {
        if self.paused || bytes.is_empty() {
            return Needs::Nothing;
        }
        if self.tape.failed.load(Ordering::Relaxed) {
            return self.give_up_for_now();
        }
        if self.needs_snapshot {
            return Needs::Snapshot;
        }
        if self.recorded.is_some_and(|end| end != offset) {
            return self.lost(Gap::NotReceived);
        }
        let now = Instant::now();
        if !self.budget.take(bytes.len(), now) {
            self.hand_on();
            self.paused = true;
            self.lost(Gap::TooFast);
            return self.needs_time();
        }
        self.gathered.bytes.extend_from_slice(bytes);
        self.gathered.pieces.push((now, self.gathered.bytes.len()));
        self.gathered.end = offset + bytes.len() as u64;
        self.recorded = Some(self.gathered.end);
        if self.gathered.bytes.len() >= MAX_GATHERED {
            self.hand_on();
        }
        if self.needs_snapshot { Needs::Snapshot } else { self.needs_time() }
    }

    /// Something is missing from here on, up to the next snapshot.
    fn lost(&mut self, why: Gap) -> Needs {
        self.gap.get_or_insert(why);
        self.needs_snapshot = true;
        Needs::Snapshot
    }

    /// The writer could not write: later is early enough to try again.
    fn give_up_for_now(&mut self) -> Needs {
        self.gathered = Gathered::default();
        self.paused = true;
        self.retry_at = Some(Instant::now() + RETRY);
        self.lost(Gap::NotWritten);
        self.needs_time()
    }

    fn needs_time(&mut self) -> Needs {
        if std::mem::replace(&mut self.looked_after, true) { Needs::Nothing } else { Needs::Time }
    }

    /// Some time has passed.
    pub(super) fn look_again(&mut self) -> Needs {
        if !self.paused && self.tape.failed.load(Ordering::Relaxed) {
            self.give_up_for_now();
        }
        self.hand_on();
        if self.paused {
            let now = Instant::now();
            self.paused = !self.budget.has_recovered(now) || self.retry_at.is_some_and(|at| now < at);
            if !self.paused {
                self.retry_at = None;
            }
        }
        self.looked_after = self.paused;
        match (self.paused, self.needs_snapshot) {
            (true, _) => Needs::Time,
            (false, true) => Needs::Snapshot,
            (false, false) => Needs::Nothing,
        }
    }

    /// Gives the writer what was gathered.
    fn hand_on(&mut self) {
        if self.gathered.bytes.is_empty() {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let bytes = gathered.bytes.len();
        if !self.push(What::Output(gathered), bytes) {
            self.lost(Gap::TooFast);
            self.recordings.metrics.recorder_gaps.add(1);
        }
    }

    /// Everything before `offset` is this. Says whether the program's end has been recorded with it.
    pub(super) fn snapshot(
        &mut self,
        epoch: Epoch,
        offset: u64,
        size_generation: u32,
        size: Size,
        bytes: &[u8],
    ) -> bool {
        if self.paused {
            return false;
        }
        self.hand_on();
        if self.recorded.is_some_and(|end| end < offset) {
            self.gap.get_or_insert(Gap::NotReceived);
        }
        let since = Since { epoch, offset, size_generation };
        let what = What::Snapshot { at: Instant::now(), since, size, bytes: bytes.to_vec(), gap: self.gap };
        // Before the writer can say of this very one that it could not be written.
        self.tape.failed.store(false, Ordering::Relaxed);
        let written = self.push(what, bytes.len());
        if written {
            (self.gap, self.recorded) = (None, Some(offset));
        }
        self.needs_snapshot = !written;
        let Exit::Pending(code) = self.exit else { return false };
        self.record_exit(code);
        true
    }

    /// The terminal has a new size; a snapshot follows.
    pub(super) fn resized(&mut self, size: Size) {
        self.hand_on();
        self.push(What::Resized { at: Instant::now(), size }, 0);
    }

    /// The program has ended. What was left out before is followed by the last screen at least.
    pub(super) fn exited(&mut self, status: &ExitStatus) -> Needs {
        if self.exit != Exit::None {
            return Needs::Nothing;
        }
        self.hand_on();
        let code = status.shell_code();
        if self.tape.failed.load(Ordering::Relaxed) {
            self.lost(Gap::NotWritten);
        }
        if self.needs_snapshot {
            self.paused = false;
            self.exit = Exit::Pending(code);
            return Needs::Snapshot;
        }
        self.record_exit(code);
        Needs::Nothing
    }

    fn record_exit(&mut self, code: i32) {
        self.exit = Exit::Recorded;
        self.push(What::Exited { at: Instant::now(), code, gap: self.gap }, 0);
    }

    fn push(&self, what: What, bytes: usize) -> bool {
        let queued = &self.recordings.queued;
        if queued.load(Ordering::Relaxed) + bytes > MAX_QUEUED {
            return false;
        }
        match self.recordings.jobs.try_send(Job { tape: self.tape.clone(), what }) {
            Ok(()) => {
                queued.fetch_add(bytes, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.hand_on();
        // The sandbox has gone before it gave its last screen.
        if let Exit::Pending(code) = self.exit {
            self.record_exit(code);
        }
        self.push(What::Finished, 0);
    }
}

#[cfg(test)]
mod tests;
