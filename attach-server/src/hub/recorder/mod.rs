//! Every terminal's output on disk, as asciicast v3 (<https://docs.asciinema.org/manual/asciicast/v3/>), off the way
//! to the viewers: the hub only copies bytes into a bounded buffer, and hands it on when it is full or some time has
//! passed, so that an echo wakes no second thread. One thread writes.
//!
//! A recording survives the server: a comment line after each flush says up to which offset it goes, and the next
//! server cuts off what came after it and goes on from there.

mod budget;
mod cast;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use lap_platform::model::SessionId;
use lap_wire::Epoch;
use lap_wire::control::{ExitStatus, Size};
use lap_wire::flow::Since;

use super::metrics::HubMetrics;
use budget::Budget;
use cast::last_position;
use writer::{Job, Writer};

/// Disk one session's recording takes at most; the oldest half goes when it is full.
pub const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Output waiting to be written, of all terminals together; more than the disk takes is left out, and the recording
/// says so and goes on with a snapshot.
const MAX_QUEUED: usize = 32 * 1024 * 1024;
/// Jobs waiting to be written.
const MAX_JOBS: usize = 16 * 1024;

/// Output of one terminal that is handed to the writer in one piece.
const MAX_GATHERED: usize = 64 * 1024;
/// How long less than that may be gathered.
pub(super) const GATHER: Duration = Duration::from_millis(200);

/// Where recordings are, and how large each may become.
#[derive(Clone, Debug)]
pub struct RecordingConfig {
    /// The directory.
    pub directory: PathBuf,
    /// See [`DEFAULT_MAX_BYTES`].
    pub max_bytes: u64,
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

    /// Removes a session's recording.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
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
        fs::create_dir_all(&config.directory)?;
        let (jobs, waiting) = sync_channel(MAX_JOBS);
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = Writer { config: config.clone(), queued: queued.clone(), open: HashMap::new() };
        let thread = std::thread::Builder::new()
            .name("lap-recorder".to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok((Recordings { config, jobs, queued, metrics }, thread))
    }

    pub(super) fn config(&self) -> RecordingConfig {
        self.config.clone()
    }

    pub(super) fn recorder(&self, session: SessionId, position: Option<Since>) -> Recorder {
        Recorder {
            session,
            recordings: self.clone(),
            position,
            gathered: Gathered::default(),
            budget: Budget::new(Instant::now()),
            paused: false,
            looked_after: false,
            needs_snapshot: false,
            gap: false,
            ended: false,
        }
    }
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
    session: SessionId,
    recordings: Recordings,
    /// How far the recording found on disk goes.
    position: Option<Since>,
    gathered: Gathered,
    budget: Budget,
    /// Set while nothing is recorded, since too much came.
    paused: bool,
    /// Set while [`Recorder::look_again`] is to come.
    looked_after: bool,
    /// Set while the recording can only go on with a snapshot.
    needs_snapshot: bool,
    gap: bool,
    ended: bool,
}

impl Recorder {
    /// Whether the recording goes on with the very next byte; otherwise it needs a snapshot first.
    pub(super) fn continues(&mut self, epoch: Epoch, size_generation: u32, offset: u64) -> bool {
        let continues = self.position.take() == Some(Since { epoch, offset, size_generation });
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
        if self.needs_snapshot {
            return Needs::Snapshot;
        }
        let now = Instant::now();
        if !self.budget.take(bytes.len(), now) {
            self.hand_on();
            (self.paused, self.gap, self.needs_snapshot) = (true, true, true);
            return self.needs_time();
        }
        self.gathered.bytes.extend_from_slice(bytes);
        self.gathered.pieces.push((now, self.gathered.bytes.len()));
        self.gathered.end = offset + bytes.len() as u64;
        if self.gathered.bytes.len() >= MAX_GATHERED {
            self.hand_on();
        }
        if self.needs_snapshot { Needs::Snapshot } else { self.needs_time() }
    }

    fn needs_time(&mut self) -> Needs {
        if std::mem::replace(&mut self.looked_after, true) { Needs::Nothing } else { Needs::Time }
    }

    /// Some time has passed.
    pub(super) fn look_again(&mut self) -> Needs {
        self.hand_on();
        if self.paused {
            self.paused = !self.budget.has_recovered(Instant::now());
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
        if !self.push(Job::Output { session: self.session, gathered }, bytes) {
            self.gap = true;
            self.needs_snapshot = true;
            self.recordings.metrics.recorder_gaps.add(1);
        }
    }

    /// Everything before `offset` is this.
    pub(super) fn snapshot(
        &mut self,
        epoch: Epoch,
        offset: u64,
        size_generation: u32,
        size: Size,
        bytes: &[u8],
    ) {
        if self.paused {
            return;
        }
        self.hand_on();
        let since = Since { epoch, offset, size_generation };
        let (session, at, gap) = (self.session, Instant::now(), self.gap);
        let job = Job::Snapshot { session, at, since, size, bytes: bytes.to_vec(), gap };
        let written = self.push(job, bytes.len());
        self.gap &= !written;
        self.needs_snapshot = !written;
    }

    /// The terminal has a new size; a snapshot follows.
    pub(super) fn resized(&mut self, size: Size) {
        self.hand_on();
        self.push(Job::Resized { session: self.session, at: Instant::now(), size }, 0);
    }

    /// The program has ended.
    pub(super) fn exited(&mut self, status: &ExitStatus) {
        if !std::mem::replace(&mut self.ended, true) {
            self.hand_on();
            let code = status.code.unwrap_or(-1);
            self.push(Job::Exited { session: self.session, at: Instant::now(), code }, 0);
        }
    }

    fn push(&self, job: Job, bytes: usize) -> bool {
        let queued = &self.recordings.queued;
        if queued.load(Ordering::Relaxed) + bytes > MAX_QUEUED {
            return false;
        }
        match self.recordings.jobs.try_send(job) {
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
        self.push(Job::Finished { session: self.session }, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::budget::{BURST, RATE};
    use super::*;

    fn events(cast: &[u8]) -> Vec<(String, String)> {
        let text = std::str::from_utf8(cast).unwrap();
        let mut lines = text.lines().filter(|l| !l.starts_with('#'));
        let header: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["version"], 3);
        lines
            .map(|l| serde_json::from_str::<(f64, String, String)>(l).unwrap())
            .map(|(_, c, d)| (c, d))
            .collect()
    }

    fn printed(cast: &[u8]) -> String {
        events(cast).into_iter().filter(|(code, _)| code == "o").map(|(_, data)| data).collect()
    }

    const EPOCH: Epoch = Epoch(7);

    #[test]
    fn a_recording_has_what_was_printed_whatever_way_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let config = RecordingConfig { directory: dir.path().to_owned(), max_bytes: DEFAULT_MAX_BYTES };
        let session = SessionId::new();
        let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
        let mut recorder = recordings.recorder(session, None);
        assert!(!recorder.continues(EPOCH, 0, 0));
        recorder.snapshot(EPOCH, 0, 0, Size::default(), b"\x1bc");
        let text = "héllo 漢字 🎉\r\n";
        for (i, byte) in text.bytes().enumerate() {
            assert_ne!(recorder.output(i as u64, &[byte]), Needs::Snapshot);
        }
        recorder.exited(&ExitStatus { code: Some(3), signal: None, at_ms: 0 });
        drop((recorder, recordings));
        thread.join().unwrap();
        let cast = config.read(session).unwrap();
        assert_eq!(printed(&cast), format!("\x1bc{text}"));
        assert_eq!(events(&cast).last().unwrap(), &("x".to_owned(), "3".to_owned()));
        assert_eq!(config.position(session).unwrap().offset, text.len() as u64);
    }

    #[test]
    fn after_a_crash_it_goes_on_at_its_last_position_with_nothing_lost_or_doubled() {
        let dir = tempfile::tempdir().unwrap();
        let config = RecordingConfig { directory: dir.path().to_owned(), max_bytes: DEFAULT_MAX_BYTES };
        let session = SessionId::new();
        let stream: Vec<u8> = (0..40_000u32).flat_map(|n| format!("{n} ü\r\n").into_bytes()).collect();
        let (mut at, mut lives) = (0, 0);
        while at < stream.len() {
            let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
            let position = config.position(session);
            let mut recorder = recordings.recorder(session, position);
            // The keeper gives again what came after the position.
            at = position.map_or(0, |p| p.offset as usize);
            if !recorder.continues(EPOCH, 0, at as u64) {
                recorder.snapshot(EPOCH, 0, 0, Size::default(), b"");
            }
            let until = (at + 100_003).min(stream.len());
            for piece in stream[at..until].chunks(977) {
                recorder.output(at as u64, piece);
                at += piece.len();
            }
            drop((recorder, recordings));
            thread.join().unwrap();
            if lives % 2 == 0 && at < stream.len() {
                // A server that is killed leaves lines behind its last position, the last one torn.
                let mut file = OpenOptions::new().append(true).open(config.current(session)).unwrap();
                file.write_all(b"[0.1, \"o\", \"never marked\"]\n[0.1, \"o\", \"torn").unwrap();
            }
            lives += 1;
        }
        assert!(lives > 3);
        assert_eq!(printed(&config.read(session).unwrap()).as_bytes(), stream);
    }

    #[test]
    fn of_a_flood_the_beginning_is_recorded_and_what_follows_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let config = RecordingConfig { directory: dir.path().to_owned(), max_bytes: DEFAULT_MAX_BYTES };
        let session = SessionId::new();
        let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
        let mut recorder = recordings.recorder(session, None);
        recorder.continues(EPOCH, 0, 0);
        recorder.snapshot(EPOCH, 0, 0, Size::default(), b"");
        let began = Instant::now();
        let (flood, mut at) = ("0123456789abcde\n".repeat(4096), 0);
        let mut paused = false;
        // The writer has taken what it was given: what is left out here is so for coming too fast and for nothing else.
        let written = || {
            let deadline = Instant::now() + Duration::from_secs(60);
            while recordings.queued.load(Ordering::Relaxed) > 0 {
                assert!(Instant::now() < deadline, "the writer does not write");
                std::thread::yield_now();
            }
        };
        // As much as it takes: a slow machine floods slowly.
        for piece in 0..16 * 1024 {
            if piece % 64 == 0 {
                written();
            }
            recorder.output(at, flood.as_bytes());
            at += flood.len() as u64;
            if paused {
                break;
            }
            paused |= recorder.paused;
            assert!(!paused || !recorder.wants_snapshot(), "no snapshot is asked for while it floods");
        }
        assert!(paused);
        // A quarter for what the format adds.
        let most = (BURST + RATE * (began.elapsed().as_secs() + 1)) * 5 / 4;
        assert_eq!(recorder.look_again(), Needs::Time);
        recorder.snapshot(EPOCH, at, 1, Size::default(), b"too early");
        recorder.budget = Budget::new(Instant::now());
        written();
        assert_eq!(recorder.look_again(), Needs::Snapshot);
        recorder.snapshot(EPOCH, at, 1, Size::default(), b"the screen");
        recorder.output(at, b" and on");
        drop((recorder, recordings));
        thread.join().unwrap();
        let cast = config.read(session).unwrap();
        assert!((cast.len() as u64) < most, "{} of {most}", cast.len());
        assert!(events(&cast).iter().any(|(code, text)| code == "m" && text.contains("left out")));
        assert!(printed(&cast).ends_with("the screen and on"));
    }

    #[test]
    fn a_recording_stays_within_its_bound_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let config = RecordingConfig { directory: dir.path().to_owned(), max_bytes: 200_000 };
        let session = SessionId::new();
        let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
        let mut recorder = recordings.recorder(session, None);
        recorder.continues(EPOCH, 0, 0);
        recorder.snapshot(EPOCH, 0, 0, Size::default(), b"");
        let mut at = 0;
        for n in (0..20_000).step_by(20) {
            let lines: String = (n..n + 20).map(|n| format!("line {n}\r\n")).collect();
            recorder.output(at, lines.as_bytes());
            at += lines.len() as u64;
        }
        drop((recorder, recordings));
        thread.join().unwrap();
        let cast = config.read(session).unwrap();
        assert!(cast.len() < 250_000, "{}", cast.len());
        assert!(printed(&cast).ends_with("line 19998\r\nline 19999\r\n"));
    }
}
