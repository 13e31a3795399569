//! `lap` itself, in a PTY of ours: a whole client with nothing left out.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::echo::{ECHO, echo};
use crate::line::{Line, prepare, settle};
use crate::process::sleeps;
use crate::pty::Pty;
use crate::report::{Report, Target};
use crate::sample::{Jitter, median, median_ratio};
use crate::stand::{Stand, Way};

/// Panes of the idle measure.
const MANY: usize = 20;
/// Panes that print at the same time.
const BUSY: usize = 4;
/// How long nothing must happen.
const IDLE: Duration = Duration::from_secs(10);
/// How long panes may take to open, or to print everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes each busy pane prints.
const REDRAWS: usize = 8 * 1024 * 1024;

/// `lap` with these arguments, against the stand's server.
pub(crate) fn lap(stand: &mut Stand, arguments: &[&str], cols: u16, rows: u16) -> Result<Pty> {
    let program = stand.bin.join("lap");
    if !program.exists() {
        bail!("{} has not been built", program.display());
    }
    let program = std::path::absolute(program)?;
    let environment = stand.server()?.environment();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Pty::spawn_sized(program.to_str().context("a path in UTF-8")?, arguments, &environment, cols, rows)
}

/// Echo through `lap attach` and `tmux attach`, each in a PTY of its own, in alternating series.
pub(crate) fn attach(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "keystroke echo through a whole client in its own PTY (p50)";
    let session = stand.server()?.session()?.to_string();
    let mut ours: Box<dyn Line> =
        Box::new(lap(stand, &["attach", &session], crate::pty::COLS, crate::pty::ROWS)?);
    settle(&mut *ours, Duration::from_millis(300), Instant::now() + PATIENCE)?;
    let mut tmux = stand.open(Way::Tmux)?;
    prepare(&mut *ours, ECHO)?;
    prepare(&mut *tmux, ECHO)?;
    let (mut jitter, mut of_ours, mut of_tmux) = (Jitter::new(4), Vec::new(), Vec::new());
    for _ in 0..stand.series {
        of_tmux.push(echo(&mut *tmux, stand.keys / stand.series, &mut jitter)?.p50());
        of_ours.push(echo(&mut *ours, stand.keys / stand.series, &mut jitter)?.p50());
    }
    report.add(MEASURE, "tmux attach", median(&of_tmux), "µs", String::new());
    report.add(MEASURE, "lap attach", median(&of_ours), "µs", String::new());
    let ratio = median_ratio(&of_ours, &of_tmux);
    report.judge(MEASURE, "lap attach / tmux attach", ratio, "×", Target::AtMost(1.3), String::new());
    Ok(())
}

/// How often an idle `lap` with many panes wakes up.
pub(crate) fn wake_ups(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "wake-ups of an idle lap with 20 panes, in 10 s";
    let sessions = sessions(stand, MANY)?;
    let arguments: Vec<&str> = ["attach"].into_iter().chain(sessions.iter().map(String::as_str)).collect();
    let mut client = lap(stand, &arguments, 240, 80)?;
    settle(&mut client, Duration::from_secs(1), Instant::now() + PATIENCE)?;
    let before = sleeps(client.pid())?;
    let mut printed = Vec::new();
    let end = Instant::now() + IDLE;
    while client.receive(&mut printed, end)? {}
    let woken = sleeps(client.pid())?.saturating_sub(before);
    let note = format!("{} bytes drawn meanwhile", printed.len());
    report.judge(MEASURE, "lap attach", woken as f64, "", Target::AtMost(0.0), note);
    Ok(())
}

/// Four panes print redraws at the same time, until all four show that they are done.
pub(crate) fn ingest(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "agent-like redraws in four panes at once, until the last screen is shown";
    let file = redraws(stand.dir())?;
    let command = |pane: usize| format!("read x; cat {}; printf DONE; echo -{pane}", file.display());
    let total = (BUSY * REDRAWS) as f64 / 1e6;
    let (mut of_tmux, mut of_ours) = (Vec::new(), Vec::new());

    let sessions = sessions(stand, BUSY)?;
    let arguments: Vec<&str> = ["attach"].into_iter().chain(sessions.iter().map(String::as_str)).collect();
    let mut client = lap(stand, &arguments, 240, 80)?;
    settle(&mut client, Duration::from_millis(300), Instant::now() + PATIENCE)?;
    let mut tmux = crate::peers::Tmux::start_sized(BUSY, 240, 80)?;
    for _ in 0..stand.series.min(3) {
        // Anew for each: it reads nothing, not even the server's asking whether it is still there.
        let mut typist = stand.server()?.socket()?;
        let mut channels = Vec::new();
        for (id, session) in (1..).zip(&sessions) {
            channels.push(typist.open_for_typing(id, session)?);
        }
        for (pane, channel) in channels.iter().enumerate() {
            typist.input(*channel, format!("clear; {}\r", command(pane)).as_bytes())?;
            tmux.type_into(pane, &format!("clear; {}\r", command(pane)))?;
        }
        for line in [&mut client as &mut dyn Line, &mut tmux] {
            settle(line, Duration::from_millis(500), Instant::now() + PATIENCE)?;
        }
        let began = Instant::now();
        for channel in &channels {
            typist.input(*channel, b"\r")?;
        }
        until_done(&mut client)?;
        of_ours.push(total / began.elapsed().as_secs_f64());
        let began = Instant::now();
        tmux.enter_in_all(BUSY)?;
        until_done(&mut tmux)?;
        of_tmux.push(total / began.elapsed().as_secs_f64());
    }
    report.add(MEASURE, "tmux", median(&of_tmux), "MB/s", "of all four together".into());
    report.add(MEASURE, "lap attach", median(&of_ours), "MB/s", "of all four together".into());
    let ratio = median_ratio(&of_ours, &of_tmux);
    report.judge(MEASURE, "lap attach / tmux", ratio, "×", Target::AtLeast(2.0), String::new());
    Ok(())
}

fn sessions(stand: &mut Stand, count: usize) -> Result<Vec<String>> {
    let server = stand.server()?;
    (0..count).map(|_| server.session().map(|id| id.to_string())).collect()
}

/// Reads until every busy pane has shown its last line.
fn until_done(line: &mut dyn Line) -> Result<()> {
    let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
    let shown =
        |seen: &[u8]| (0..BUSY).all(|pane| seen.windows(6).any(|w| w == format!("DONE-{pane}").as_bytes()));
    while !shown(&seen) {
        if !line.receive(&mut seen, deadline)? {
            bail!("not all panes were done after {PATIENCE:?}");
        }
    }
    Ok(())
}

/// What an agent's interface prints: a dozen lines redrawn in place, in colour, over and over, and now and then a line
/// of log above them.
fn redraws(dir: &Path) -> Result<std::path::PathBuf> {
    let path = dir.join("redraws");
    if path.exists() {
        return Ok(path);
    }
    let mut out = String::with_capacity(REDRAWS + 4096);
    let mut frame = 0;
    while out.len() < REDRAWS {
        out.push_str("\x1b[?2026h\r");
        if frame % 20 == 0 {
            out.push_str(&format!("\x1b[2K\x1b[38;5;246m● Read(src/module_{frame}.rs)\x1b[0m\r\n"));
        }
        for row in 0..12 {
            let colour = 17 + (frame * 7 + row * 13) % 200;
            out.push_str(&format!(
                "\x1b[2K\x1b[38;5;{colour}m│\x1b[0m \x1b[1mstep {row:2}\x1b[22m compiling crate number {frame} of many ✻ \
                 \x1b[2m({}s · ↑ {} tokens)\x1b[22m\r\n",
                frame / 10,
                frame * 37
            ));
        }
        out.push_str("\x1b[12A\x1b[?2026l");
        frame += 1;
    }
    out.push_str("\x1b[12B\r\n");
    std::fs::write(&path, out)?;
    Ok(path)
}
