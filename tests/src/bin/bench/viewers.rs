//! Many viewers of one terminal: whether one that stalls slows the others, and what an idle one costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lap_wire::control::Mode;

use crate::attach::Attach;
use crate::process::pss_kib;
use crate::report::{Report, Target};
use crate::sample::{median, median_ratio};
use crate::stand::Stand;

/// Viewers that read.
const READERS: usize = 7;
/// How long each half of a series is.
const WINDOW: Duration = Duration::from_secs(3);
/// Memory the server may take for a viewer that stalls: its window in the socket, a ring, a snapshot, and slack.
const STALL_KIB: f64 = 8.0 * 1024.0;

/// Sockets and channels on each, of the idle measure.
const SOCKETS: usize = 100;
const CHANNELS: u32 = 10;

/// Seven viewers of a flood, with and without an eighth that opens and never reads.
pub(crate) fn stalled(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "seven viewers of a flood beside an eighth that stalls";
    let file = stand.long_lines()?;
    let server = stand.server()?;
    let session = server.session()?.to_string();
    let mut typist = server.socket()?;
    let keys = typist.open(1, &session, Mode::Interact)?;
    typist.input(keys, format!("while :; do cat {}; done\r", file.display()).as_bytes())?;

    let stop = Arc::new(AtomicBool::new(false));
    let (mut counts, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..READERS {
        let mut attach = server.socket()?;
        let channel = attach.open(1, &session, Mode::View)?;
        let (count, stop) = (Arc::new(AtomicU64::new(0)), stop.clone());
        counts.push(count.clone());
        threads.push(std::thread::spawn(move || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                attach.pump(Instant::now() + Duration::from_millis(100), &mut |_, _| {})?;
                count.store(attach.seen(channel).map_or(0, |seen| seen.bytes), Ordering::Relaxed);
            }
            Ok(())
        }));
    }
    let rate = |typist: &mut Attach| -> Result<f64> {
        let total = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
        let (began, before) = (Instant::now(), total());
        while began.elapsed() < WINDOW {
            typist.pump(began + WINDOW, &mut |_, _| {})?;
        }
        Ok((total() - before) as f64 / 1e6 / began.elapsed().as_secs_f64() / READERS as f64)
    };
    let (mut without, mut with, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    rate(&mut typist)?;
    for _ in 0..stand_series(stand.series) {
        let server = stand.server()?;
        without.push(rate(&mut typist)?);
        let before = pss_kib(server.pid())?;
        let mut stalled = server.socket()?;
        stalled.open(1, &session, Mode::View)?;
        with.push(rate(&mut typist)?);
        memory.push(pss_kib(server.pid())?.saturating_sub(before) as f64);
    }
    typist.input(keys, b"\x03")?;
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        if let Ok(Err(error)) = thread.join() {
            return Err(error);
        }
    }
    report.add(MEASURE, "ours, without", median(&without), "MB/s", "for each of the seven".into());
    report.add(MEASURE, "ours, with", median(&with), "MB/s", "for each of the seven".into());
    report.judge(
        MEASURE,
        "with / without",
        median_ratio(&with, &without),
        "×",
        Target::AtLeast(0.95),
        String::new(),
    );
    let note = "more in the server while one stalls".into();
    report.judge(MEASURE, "memory", median(&memory), "KiB", Target::AtMost(STALL_KIB), note);
    Ok(())
}

/// At least three: one half of a series says little when a flood has just begun.
fn stand_series(series: usize) -> usize {
    series.max(3)
}

/// What a thousand channels on a hundred sockets cost the server, each attached and nothing going on.
pub(crate) fn idle_memory(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "server memory per idle attached channel (1,000 on 100 sockets)";
    let server = stand.server()?;
    let sessions =
        (0..CHANNELS).map(|_| server.session().map(|id| id.to_string())).collect::<Result<Vec<_>>>()?;
    // What the first viewers of each terminal bring with them is the terminal's, not the channel's.
    let mut first = open_all(server.socket()?, &sessions)?;
    let before = pss_kib(server.pid())?;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(open_all(server.socket()?, &sessions)?);
    }
    let after = pss_kib(server.pid())?;
    first.pump(Instant::now(), &mut |_, _| {})?;
    let each = (after.saturating_sub(before)) as f64 / (SOCKETS as f64 * f64::from(CHANNELS));
    let note = format!("server {before} KiB before, {after} KiB after");
    report.judge(MEASURE, "ours", each, "KiB", Target::AtMost(64.0), note);
    Ok(())
}

/// Opens every session on one socket, and waits until all are live.
fn open_all(mut attach: Attach, sessions: &[String]) -> Result<Attach> {
    let mut channels = Vec::new();
    for (id, session) in (1..).zip(sessions) {
        channels.push(attach.open(id, session, Mode::View)?);
    }
    attach.wait("ready on every channel", |a| {
        channels.iter().all(|c| a.seen(*c).is_some_and(|seen| seen.ready))
    })?;
    if channels.is_empty() {
        bail!("no sessions");
    }
    Ok(attach)
}
