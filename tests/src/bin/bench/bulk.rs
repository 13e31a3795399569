//! Bulk output to one viewer.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::line::Line;
use crate::report::{Report, Target};
use crate::sample::{median, median_ratio};
use crate::stand::{Stand, Way};

/// The whole file must have come by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// One file to one viewer, in alternating series. tmux is left out: it draws the last screen and not the bytes.
pub(crate) fn bulk(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "bulk output to one viewer (cat of long lines)";
    let file = stand.long_lines()?;
    let size = std::fs::metadata(&file)?.len();
    let mut ways: Vec<(Way, Box<dyn Line>, Vec<f64>)> = Vec::new();
    for way in stand.ways.clone().into_iter().filter(|way| *way != Way::Tmux) {
        match stand.open(way) {
            Ok(line) => ways.push((way, line, Vec::new())),
            Err(why) => report.missing(MEASURE, way.name(), &why),
        }
    }
    let command = format!("cat {}; printf DO; printf NE\r", file.display());
    let mut lost = vec![0u64; ways.len()];
    for _ in 0..stand.series {
        for ((_, line, rates), lost) in ways.iter_mut().zip(&mut lost) {
            let (seconds, bytes) = transfer(&mut **line, &command)?;
            rates.push(bytes as f64 / 1e6 / seconds);
            *lost = (*lost).max(size.saturating_sub(bytes));
        }
    }
    for ((way, _, rates), lost) in ways.iter().zip(&lost) {
        let note = if *lost > 0 { format!("{lost} bytes were skipped") } else { String::new() };
        report.add(MEASURE, way.name(), median(rates), "MB/s", note);
    }
    let of = |which: Way| ways.iter().find(|(way, ..)| *way == which).map(|(.., rates)| rates.as_slice());
    if let (Some(ours), Some(raw)) = (of(Way::Server), of(Way::Raw)) {
        report.judge(
            MEASURE,
            "ours / raw",
            median_ratio(ours, raw),
            "×",
            Target::AtLeast(0.9),
            String::new(),
        );
    }
    if let (Some(ours), Some(bridge)) = (of(Way::Server), of(Way::Bridge)) {
        let ratio = median_ratio(ours, bridge);
        report.judge(MEASURE, "ours / node-pty + ws", ratio, "×", Target::AtLeast(1.2), String::new());
    }
    Ok(())
}

/// Types the command and takes in what comes until it says DONE: seconds from the first byte, and bytes.
fn transfer(line: &mut dyn Line, command: &str) -> Result<(f64, u64)> {
    let (mut out, mut bytes, mut first) = (Vec::new(), 0u64, None);
    line.send(command.as_bytes())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let kept = out.len().min(3);
        out.drain(..out.len() - kept);
        if !line.receive(&mut out, deadline)? {
            bail!("not done after {PATIENCE:?}, {bytes} bytes");
        }
        bytes += (out.len() - kept) as u64;
        // The shell's echo of the command comes long before the file.
        let began = *first.get_or_insert_with(Instant::now);
        if out.windows(4).any(|w| w == b"DONE") {
            return Ok((began.elapsed().as_secs_f64(), bytes));
        }
    }
}
