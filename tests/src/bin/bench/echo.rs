//! From a key to its echo.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::line::{Line, prepare};
use crate::report::{Report, Target};
use crate::sample::{Jitter, Samples, median, median_ratio};
use crate::stand::{Stand, Way};

/// Between two keys: long enough for every core to fall idle, as it is when a person types.
const PERIOD: Duration = Duration::from_millis(5);
/// Half of what the period varies by, so that no timer of anybody's is in step with it.
const JITTER_US: u64 = 1_000;
/// A key whose echo takes longer than this is taken for lost.
const LOST: Duration = Duration::from_secs(10);
/// Keys that occur in no escape sequence, so that a redraw is not taken for an echo.
const KEYS: &[u8] = b"#$%&@^_=+!~|{}";

/// The program that echoes: the terminal does nothing, every byte comes from the program.
pub(crate) const ECHO: &str = "stty raw -echo; printf REA; printf DY; exec cat";

/// Types so many keys and waits for each one's echo.
pub(crate) fn echo(line: &mut dyn Line, keys: usize, jitter: &mut Jitter) -> Result<Samples> {
    let mut times = Vec::with_capacity(keys);
    let mut out = Vec::new();
    let mut due = Instant::now();
    for i in 0..keys {
        due = due.max(Instant::now()) + PERIOD + Duration::from_micros(jitter.below(2 * JITTER_US));
        // Output of another terminal on the same way is read while waiting, as any client does.
        out.clear();
        while line.receive(&mut out, due - Duration::from_micros(JITTER_US))? {
            out.clear();
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let key = KEYS[i % KEYS.len()];
        let typed = Instant::now();
        line.send(&[key])?;
        loop {
            if !line.receive(&mut out, typed + LOST)? {
                bail!("key {i} was not echoed within {LOST:?}");
            }
            if out.contains(&key) {
                break;
            }
            out.clear();
        }
        times.push(typed.elapsed());
    }
    Ok(Samples::new(times))
}

/// One way and what was measured on it.
struct Series {
    way: Way,
    line: Box<dyn Line>,
    p50: Vec<f64>,
    p90: Vec<f64>,
}

/// Quiet echo on every way, in alternating series.
pub(crate) fn quiet(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "keystroke echo, nothing else going on (p50 of each series, median of the series)";
    let mut ways = Vec::new();
    for way in stand.ways.clone() {
        match stand.open(way).and_then(|mut line| prepare(&mut *line, ECHO).map(|()| line)) {
            Ok(line) => ways.push(Series { way, line, p50: Vec::new(), p90: Vec::new() }),
            Err(why) => report.missing(MEASURE, way.name(), &why),
        }
    }
    let mut jitter = Jitter::new(1);
    for series in &mut ways {
        echo(&mut *series.line, stand.keys / 10 + 1, &mut jitter)?;
    }
    for _ in 0..stand.series {
        for series in &mut ways {
            let samples = echo(&mut *series.line, stand.keys / stand.series, &mut jitter)?;
            series.p50.push(samples.p50());
            series.p90.push(samples.percentile(0.9));
        }
    }
    let of = |which: Way| ways.iter().find(|series| series.way == which).map(|series| series.p50.as_slice());
    let tmux = of(Way::Tmux);
    for Series { way, p50, p90, .. } in &ways {
        let times = tmux.map_or(String::new(), |tmux| format!(", {:.2} × tmux", median_ratio(p50, tmux)));
        report.add(MEASURE, way.name(), median(p50), "µs", format!("p90 {:.0} µs{times}", median(p90)));
    }
    if let (Some(ours), Some(tmux)) = (of(Way::Server), tmux) {
        let note = "through server and one WebSocket".into();
        report.judge(MEASURE, "ours / tmux", median_ratio(ours, tmux), "×", Target::AtMost(1.0), note);
    }
    Ok(())
}

/// Echo while the other terminal on the same way floods.
pub(crate) fn beside_a_flood(stand: &mut Stand, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "keystroke echo while another terminal on the same way floods (p50)";
    let file = stand.long_lines()?;
    let floods = [
        ("cat of long lines", format!("while :; do cat {}; done\r", file.display())),
        ("yes", "yes\r".into()),
    ];
    for way in stand.ways.clone() {
        let measured = stand.open(way).and_then(|mut line| {
            prepare(&mut *line, ECHO)?;
            floods
                .iter()
                .map(|(name, command)| Ok((*name, flooded(&mut *line, command, stand)?)))
                .collect::<Result<Vec<_>>>()
        });
        match measured {
            Err(why) => report.missing(MEASURE, way.name(), &why),
            Ok(list) => list.into_iter().for_each(|(name, beside)| beside.report(MEASURE, way, name, report)),
        }
    }
    Ok(())
}

/// Echo with and without a flood, series by series.
pub(crate) struct Beside {
    /// p50 of each quiet series, in microseconds.
    pub(crate) quiet: Vec<f64>,
    /// p50 of each series beside the flood.
    pub(crate) flooded: Vec<f64>,
    /// And p90.
    pub(crate) p90: Vec<f64>,
    /// Of the flood meanwhile, in MB/s.
    pub(crate) rate: Vec<f64>,
}

impl Beside {
    fn report(&self, measure: &'static str, way: Way, flood: &str, report: &mut Report) {
        let (ratio, rate) = (median_ratio(&self.flooded, &self.quiet), median(&self.rate));
        let subject = format!("{}, {flood}", way.name());
        let (p50, p90) = (median(&self.flooded), median(&self.p90));
        // tmux draws the flood's last screen instead of passing it on, so there is nothing to count.
        let rest = if rate > 0.0 { format!(", {rate:.1} MB/s of flood") } else { String::new() };
        let note = format!("p90 {p90:.0} µs, {ratio:.2} × quiet{rest}");
        report.add(measure, &subject, p50, "µs", note);
        if way == Way::Server {
            let cat = flood.starts_with("cat");
            let limit = if cat { 1.25 } else { 2.0 };
            report.judge(measure, &subject, ratio, "× quiet", Target::AtMost(limit), String::new());
            if cat {
                report.judge(
                    measure,
                    &subject,
                    rate,
                    "MB/s",
                    Target::AtLeast(50.0),
                    "of flood meanwhile".into(),
                );
            }
        }
    }
}

/// Measures it: the other terminal runs the command until it gets a Ctrl-C.
pub(crate) fn flooded(line: &mut dyn Line, command: &str, stand: &Stand) -> Result<Beside> {
    let mut jitter = Jitter::new(2);
    let keys = (stand.keys / stand.series / 4).max(50);
    let mut beside = Beside { quiet: Vec::new(), flooded: Vec::new(), p90: Vec::new(), rate: Vec::new() };
    for _ in 0..stand.series {
        beside.quiet.push(echo(line, keys, &mut jitter)?.p50());
        line.send_other(command.as_bytes())?;
        drain(line, Duration::from_millis(500))?;
        let (began, before) = (Instant::now(), line.other_bytes());
        let samples = echo(line, keys, &mut jitter)?;
        let rate = (line.other_bytes() - before) as f64 / 1e6 / began.elapsed().as_secs_f64();
        beside.flooded.push(samples.p50());
        beside.p90.push(samples.percentile(0.9));
        beside.rate.push(rate);
        line.send_other(b"\x03")?;
        drain(line, Duration::from_millis(500))?;
    }
    Ok(beside)
}

/// Takes in whatever comes, for so long.
fn drain(line: &mut dyn Line, time: Duration) -> Result<()> {
    let (deadline, mut sink) = (Instant::now() + time, Vec::new());
    while Instant::now() < deadline && line.receive(&mut sink, deadline)? {
        sink.clear();
    }
    Ok(())
}
