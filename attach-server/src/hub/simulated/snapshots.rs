//! A screen comes by itself, whatever its size and whatever the link: nothing has to happen meanwhile.

use std::time::Duration;

use lap_wire::limits::MAX_PAYLOAD;
use tokio::time::{Instant, sleep};

use super::keeper::Program;
use super::net::Net;
use super::simulate;

/// Bytes of a snapshot: around what is let fly at first and at the least, and around a frame.
const SIZES: [usize; 9] =
    [1, 2 * 1024, 16 * 1024 - 1, 16 * 1024 + 1, MAX_PAYLOAD, 64 * 1024 - 20, 64 * 1024 + 1, 150_000, 700_000];

/// Every channel has its whole screen, long before anything else happens (a heartbeat would be the first).
fn comes(net: Net, channels: usize, size: usize) {
    let program = Program { snapshot: size, quiet: Duration::MAX, rate: 0.0 };
    simulate(net, channels, program, async |sight, gauge| {
        let started = Instant::now();
        let transfer = Duration::from_secs_f64((size * channels) as f64 / net.rate());
        // The link is found out about while it is used: at first a few round trips go by half used.
        let patience = transfer * 3 + net.round_trip * 12 + Duration::from_secs(1);
        loop {
            let whole = sight.borrow().values().filter(|seen| seen.ready && seen.snapshots > 0).count();
            let missing = channels - whole;
            if missing == 0 {
                break;
            }
            let waited = started.elapsed();
            assert!(waited < patience, "{net:?}, {channels} × {size}: {missing} missing after {waited:?}");
            sleep(Duration::from_millis(10)).await;
        }
        assert!(sight.borrow().values().all(|seen| seen.snapshot_bytes == size));
        // What had been let fly before anything was known, and what the link's own length allows.
        let bound = Duration::from_secs_f64(128.0 * 1024.0 / net.rate())
            + net.round_trip * 3
            + Duration::from_millis(5);
        let waited = gauge.waited();
        assert!(waited < bound, "{net:?}, {channels} × {size}: {waited:?} of bulk in front of an echo");
    });
}

#[test]
fn a_snapshot_of_any_size_completes_on_any_link_without_another_event() {
    for mbit in [0.1, 2.0, 50.0, 1000.0] {
        for round_trip in [0, 30, 300].map(Duration::from_millis) {
            for (channels, sizes) in [(1, &SIZES[..]), (5, &SIZES[2..8]), (40, &[70_000])] {
                for &size in sizes {
                    comes(Net { mbit, round_trip }, channels, size);
                }
            }
        }
    }
}
