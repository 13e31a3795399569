//! `lap-bench`: how fast the terminal path is, beside a bare PTY, tmux and a node bridge in the same run.
//! `tests/bench` builds and installs what it needs and runs it. It prints; it never fails for being slow.

mod attach;
mod bulk;
mod client;
mod dashboard;
mod echo;
mod keeper;
mod line;
mod peers;
mod process;
mod pty;
mod reconnect;
mod report;
mod sample;
mod server;
mod slow_link;
mod stand;
mod viewers;
mod ws;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use report::Report;
use stand::{Stand, Way};

#[derive(Parser)]
#[command(about = "Measures the terminal path beside a bare PTY, tmux and a node bridge.")]
struct Arguments {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Only these measures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these ways, where a measure compares several: raw, tmux, bridge, keeper, ours.
    #[arg(long, value_delimiter = ',', value_enum)]
    ways: Vec<Way>,
    /// Keys typed per way and measure.
    #[arg(long, default_value_t = 2_000)]
    keys: usize,
    /// Alternating series.
    #[arg(long, default_value_t = 5)]
    series: usize,
    /// Where the release binaries are.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Where the peers' packages are installed.
    #[arg(long, default_value = "tests/bench-peers")]
    peers: PathBuf,
}

type Measure = fn(&mut Stand, &mut Report) -> Result<()>;

/// By name, in the order they are run.
const MEASURES: &[(&str, Measure)] = &[
    ("echo", echo::quiet),
    ("flood", echo::beside_a_flood),
    ("slow-link", slow_link::slow_link),
    ("bulk", bulk::bulk),
    ("stalled", viewers::stalled),
    ("memory", viewers::idle_memory),
    ("reconnect", reconnect::reconnect),
    ("create", reconnect::create),
    ("attach", client::attach),
    ("wake-ups", client::wake_ups),
    ("ingest", client::ingest),
    ("first-frame", dashboard::first_frame),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let unknown: Vec<_> =
        arguments.only.iter().filter(|name| !MEASURES.iter().any(|m| m.0 == *name)).collect();
    if !unknown.is_empty() {
        let names: Vec<_> = MEASURES.iter().map(|m| m.0).collect();
        anyhow::bail!("there is no measure {unknown:?}; there are {}", names.join(", "));
    }
    let mut stand = Stand::new(arguments.keys, arguments.series, arguments.bin, arguments.peers)?;
    if !arguments.ways.is_empty() {
        stand.ways = arguments.ways;
    }
    let mut report = Report::default();
    for (name, measure) in MEASURES {
        if arguments.only.is_empty() || arguments.only.iter().any(|n| n == name) {
            eprintln!("{name} …");
            if let Err(why) = measure(&mut stand, &mut report) {
                report.missing(name, "", &why);
            }
        }
    }
    if arguments.json {
        println!("{}", report.json()?)
    } else {
        print!("{}", report.text())
    }
    Ok(())
}
