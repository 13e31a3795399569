//! What recordings hold after cuts, crashes, floods and full disks.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::budget::{BURST, RATE};
use super::*;

fn events(cast: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(cast).unwrap();
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    let header: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);
    lines.map(|l| serde_json::from_str::<(f64, String, String)>(l).unwrap()).map(|(_, c, d)| (c, d)).collect()
}

fn printed(cast: &[u8]) -> String {
    events(cast).into_iter().filter(|(code, _)| code == "o").map(|(_, data)| data).collect()
}

const EPOCH: Epoch = Epoch(7);

fn config_of(directory: std::path::PathBuf, max_bytes: u64) -> RecordingConfig {
    RecordingConfig { directory, max_bytes, total_bytes: DEFAULT_TOTAL_BYTES }
}

#[test]
fn a_recording_has_what_was_printed_whatever_way_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
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
    let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
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
    let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
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
    let config = config_of(dir.path().to_owned(), 200_000);
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

/// A recorder that has begun.
fn begun(dir: &Path) -> (RecordingConfig, SessionId, Recordings, std::thread::JoinHandle<()>, Recorder) {
    let config = config_of(dir.to_owned(), DEFAULT_MAX_BYTES);
    let session = SessionId::new();
    let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
    let mut recorder = recordings.recorder(session, None);
    recorder.continues(EPOCH, 0, 0);
    recorder.snapshot(EPOCH, 0, 0, Size::default(), b"");
    (config, session, recordings, thread, recorder)
}

fn marks(cast: &[u8]) -> Vec<String> {
    events(cast).into_iter().filter(|(code, _)| code == "m").map(|(_, text)| text).collect()
}

#[test]
fn what_could_not_be_written_is_marked_and_followed_by_the_screen() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
    let session = SessionId::new();
    let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
    // Every write to this device finds no space left.
    std::os::unix::fs::symlink("/dev/full", config.current(session)).unwrap();
    let mut recorder = recordings.recorder(session, None);
    recorder.continues(EPOCH, 0, 0);
    recorder.snapshot(EPOCH, 0, 0, Size::default(), b"the first screen");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !recorder.tape.failed.load(Ordering::Relaxed) {
        assert!(Instant::now() < deadline, "a full disk takes everything");
        std::thread::yield_now();
    }
    assert_eq!(recorder.output(0, b"lost"), Needs::Time);
    assert_eq!(recorder.look_again(), Needs::Time, "it is not tried again at once");
    assert!(!recorder.wants_snapshot());
    recorder.retry_at = Some(Instant::now());
    fs::remove_file(config.current(session)).unwrap();
    assert_eq!(recorder.look_again(), Needs::Snapshot);
    recorder.snapshot(EPOCH, 4, 0, Size::default(), b"the screen");
    recorder.output(4, b" and on");
    drop((recorder, recordings));
    thread.join().unwrap();
    let cast = config.read(session).unwrap();
    assert_eq!(marks(&cast), [Gap::NotWritten.mark()]);
    assert_eq!(printed(&cast), "the screen and on");
}

#[test]
fn nothing_goes_behind_a_hole_but_what_marks_it() {
    let dir = tempfile::tempdir().unwrap();
    let (config, session, recordings, thread, mut recorder) = begun(dir.path());
    recorder.output(0, b"before");
    recorder.hand_on();
    // As if the disk had been full for a moment: the writer learns of it by the next job.
    let current = config.current(session);
    let deadline = Instant::now() + Duration::from_secs(60);
    while recordings.queued.load(Ordering::Relaxed) > 0
        || config.position(session).map(|at| at.offset) != Some(6)
    {
        assert!(Instant::now() < deadline, "the writer does not write");
        std::thread::yield_now();
    }
    fs::rename(&current, dir.path().join("aside")).unwrap();
    std::os::unix::fs::symlink("/dev/full", &current).unwrap();
    recorder.push(What::Finished, 0);
    // A snapshot for which there is no room, and what came after it.
    recorder.snapshot(EPOCH, 6, 0, Size::default(), b"lost");
    recorder.output(6, b"lost");
    recorder.hand_on();
    while !recorder.tape.failed.load(Ordering::Relaxed) {
        assert!(Instant::now() < deadline, "a full disk takes everything");
        std::thread::yield_now();
    }
    fs::rename(dir.path().join("aside"), &current).unwrap();
    recorder.output(10, b"lost too");
    assert_eq!(recorder.exited(&ExitStatus { code: Some(1), signal: None, at_ms: 0 }), Needs::Snapshot);
    recorder.snapshot(EPOCH, 18, 0, Size::default(), b", the screen");
    drop((recorder, recordings));
    thread.join().unwrap();
    let cast = config.read(session).unwrap();
    assert_eq!(printed(&cast), "before, the screen");
    assert_eq!(marks(&cast), [Gap::NotWritten.mark()]);
    assert_eq!(events(&cast).last().unwrap(), &("x".to_owned(), "1".to_owned()));
}

#[test]
fn bytes_that_a_resize_skips_are_marked_and_a_resize_alone_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (config, session, recordings, thread, mut recorder) = begun(dir.path());
    let size = Size { cols: 100, rows: 30 };
    recorder.output(0, b"one");
    recorder.resized(size);
    recorder.snapshot(EPOCH, 3, 1, size, b"");
    recorder.output(3, b" two");
    recorder.resized(Size::default());
    recorder.snapshot(EPOCH, 1000, 2, Size::default(), b"; the screen");
    // A hole without a word is none of the keeper's, and is marked all the same.
    assert_eq!(recorder.output(1005, b"x"), Needs::Snapshot);
    recorder.snapshot(EPOCH, 1006, 2, Size::default(), b"; once more");
    drop((recorder, recordings));
    thread.join().unwrap();
    let cast = config.read(session).unwrap();
    assert_eq!(printed(&cast), "one two; the screen; once more");
    assert_eq!(marks(&cast), [Gap::NotReceived.mark(), Gap::NotReceived.mark()]);
}

#[test]
fn a_program_that_ends_while_its_flood_is_left_out_leaves_its_last_screen() {
    let dir = tempfile::tempdir().unwrap();
    let (config, session, recordings, thread, mut recorder) = begun(dir.path());
    let status = ExitStatus { code: Some(7), signal: None, at_ms: 0 };
    let (flood, mut at) = (vec![b'x'; 64 * 1024], 0);
    recorder.output(0, &flood);
    recorder.budget = Budget::new(Instant::now());
    while recorder.budget.take(64 * 1024, Instant::now()) {}
    while !recorder.paused {
        at += 64 * 1024;
        recorder.output(at, &flood);
    }
    assert_eq!(recorder.exited(&status), Needs::Snapshot);
    assert!(recorder.wants_snapshot());
    recorder.snapshot(EPOCH, at + 64 * 1024, 0, Size::default(), b"; the last screen");
    assert_eq!(recorder.exited(&status), Needs::Nothing, "told twice, recorded once");
    drop((recorder, recordings));
    thread.join().unwrap();
    let cast = config.read(session).unwrap();
    assert!(printed(&cast).ends_with("x; the last screen"));
    assert_eq!(marks(&cast), [Gap::TooFast.mark()]);
    assert_eq!(events(&cast).last().unwrap(), &("x".to_owned(), "7".to_owned()));
}

#[test]
fn a_last_screen_that_never_came_is_told_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (config, session, recordings, thread, mut recorder) = begun(dir.path());
    recorder.output(0, b"one");
    assert_eq!(recorder.output(9, b"after a hole"), Needs::Snapshot);
    recorder.exited(&ExitStatus { code: Some(0), signal: None, at_ms: 0 });
    drop((recorder, recordings));
    thread.join().unwrap();
    let cast = config.read(session).unwrap();
    let last: Vec<_> = events(&cast).into_iter().map(|(code, _)| code).collect();
    assert!(last.ends_with(&["o".to_owned(), "m".to_owned(), "x".to_owned()]), "{last:?}");
}

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A recorder of one of many sessions, that has begun.
fn one_of_many(recordings: &Recordings, session: SessionId) -> Recorder {
    let mut recorder = recordings.recorder(session, None);
    recorder.continues(EPOCH, 0, 0);
    recorder.snapshot(EPOCH, 0, 0, Size::default(), b"\x1bc");
    recorder
}

#[test]
fn what_one_session_prints_is_in_its_file_soon_however_often_others_print() {
    for pause in [0, 30, 130, 420].map(Duration::from_millis) {
        let dir = tempfile::tempdir().unwrap();
        let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
        let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
        let (quiet, spinner) = (SessionId::new(), SessionId::new());
        let mut spins = one_of_many(&recordings, spinner);
        let mut prints = one_of_many(&recordings, quiet);
        prints.output(0, b"one line\r\n");
        prints.look_again();
        let started = Instant::now();
        let mut at = 0;
        // Whether it prints all the time or not at all for a while: the line does not wait for a silence.
        while !config.read(quiet).is_ok_and(|cast| String::from_utf8_lossy(&cast).contains("one line")) {
            assert!(started.elapsed() < PATIENCE, "printing each {pause:?} keeps another's line out");
            spins.output(at, b"|");
            spins.look_again();
            at += 1;
            std::thread::sleep(pause);
        }
        drop((spins, prints, recordings));
        thread.join().unwrap();
    }
}

fn size_of(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    files.sum()
}

#[test]
fn all_recordings_together_stay_within_their_bound_and_the_oldest_ended_go_first() {
    const TOTAL: u64 = 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let config =
        RecordingConfig { total_bytes: TOTAL, ..config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES) };
    let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
    let print = |recorder: &mut Recorder, at: u64| {
        recorder.output(at, &[b'x'; 10_000]);
        recorder.look_again();
    };
    let ended: Vec<SessionId> = (0..5).map(|_| SessionId::new()).collect();
    for (age, session) in ended.iter().enumerate() {
        let mut recorder = one_of_many(&recordings, *session);
        (0..18).for_each(|n| print(&mut recorder, n * 10_000));
        drop(recorder);
        settled(&recordings);
        // Written in this order; clocks of files are coarse.
        let path = config.current(*session);
        let modified = std::time::SystemTime::now() - Duration::from_secs(1000 - age as u64);
        OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    // They all fit. One that goes on takes their place, oldest first, and then its own.
    let live = SessionId::new();
    let mut recorder = one_of_many(&recordings, live);
    (0..30).for_each(|n| print(&mut recorder, n * 10_000));
    settled(&recordings);
    assert!(config.read(ended[0]).is_err(), "the oldest goes");
    assert!(config.read(ended[4]).is_ok(), "the newest stay");
    (30..600).for_each(|n| print(&mut recorder, n * 10_000));
    drop((recorder, recordings));
    thread.join().unwrap();
    let taken = size_of(dir.path());
    assert!(taken <= TOTAL + TOTAL / 16, "{taken} bytes taken");
    assert!(config.read(live).is_ok());
}

#[test]
fn recordings_that_all_go_on_share_what_there_is() {
    const TOTAL: u64 = 512 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let config =
        RecordingConfig { total_bytes: TOTAL, ..config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES) };
    let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
    let sessions: Vec<SessionId> = (0..4).map(|_| SessionId::new()).collect();
    let mut recorders: Vec<Recorder> =
        sessions.iter().map(|session| one_of_many(&recordings, *session)).collect();
    for n in 0..200 {
        for recorder in &mut recorders {
            recorder.output(n * 5_000, &[b'x'; 5_000]);
            recorder.look_again();
        }
    }
    drop((recorders, recordings));
    thread.join().unwrap();
    let taken = size_of(dir.path());
    assert!(taken <= TOTAL + TOTAL / 16, "{taken} bytes taken");
    for session in sessions {
        assert!(config.read(session).unwrap().len() > 5_000, "each has its newest");
    }
}

#[test]
fn a_forgotten_recording_is_gone_with_what_was_still_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_of(dir.path().to_owned(), DEFAULT_MAX_BYTES);
    let (recordings, thread) = Recordings::start(config.clone(), HubMetrics::default()).unwrap();
    let (kept, forgotten) = (SessionId::new(), SessionId::new());
    for session in [kept, forgotten] {
        let mut recorder = one_of_many(&recordings, session);
        recorder.output(0, b"something");
    }
    for _ in 0..2 {
        let (done, answered) = oneshot::channel();
        recordings.forget(forgotten, done);
        answered.blocking_recv().unwrap().unwrap();
    }
    drop(recordings);
    thread.join().unwrap();
    assert_eq!(config.read(forgotten).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(config.read(kept).is_ok());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Waits until everything handed on so far is written.
fn settled(recordings: &Recordings) {
    let (done, answered) = oneshot::channel();
    recordings.forget(SessionId::new(), done);
    answered.blocking_recv().unwrap().unwrap();
}
