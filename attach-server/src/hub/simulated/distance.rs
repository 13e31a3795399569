//! A program's output over any distance: the link is used, and bulk does not queue in it, whatever the program did
//! before. Both ends are ours: how the client acknowledges is part of it.

use std::time::Duration;

use lap_wire::limits::HUB_RING;
use tokio::time::sleep;

use super::keeper::Program;
use super::net::Net;
use super::simulate;

/// What a viewer was shown, and what it cost those who wait for an echo.
#[derive(Debug)]
struct Shown {
    /// Of what the program printed and the link can carry.
    share: f64,
    /// The longest queue, once the link was found out about.
    queue: Duration,
    skipped: u64,
}

/// The prompt is quiet for a while, then the program prints `rate` bytes per second for `seconds`.
fn show(net: Net, rate: f64, seconds: f64) -> Shown {
    let quiet = Duration::from_secs(3);
    simulate(net, 1, Program { snapshot: 6_000, quiet, rate }, async |sight, gauge| {
        sleep(quiet).await;
        // The link is found out about in a few round trips, each of which carries twice what the one before did.
        let warm = Duration::from_secs_f64(2.0 + 96.0 * 1024.0 / net.rate()) + net.round_trip * 14;
        sleep(warm).await;
        let seen = || {
            let sight = sight.borrow();
            let all = sight.values().map(|seen| (seen.shown, seen.skipped));
            all.fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
        };
        let (before, skipped) = seen();
        gauge.waited();
        sleep(Duration::from_secs_f64(seconds)).await;
        let (after, skipped_then) = seen();
        Shown {
            share: (after - before) as f64 / (seconds * rate.min(net.rate())),
            queue: gauge.waited(),
            skipped: skipped_then - skipped,
        }
    })
}

#[test]
fn a_program_that_floods_after_a_quiet_prompt_fills_a_link_of_any_rate_and_length() {
    let mut missed = Vec::new();
    for mbit in [0.1, 2.0, 30.0, 200.0] {
        for round_trip in [0, 10, 50, 100, 300].map(Duration::from_millis) {
            let net = Net { mbit, round_trip };
            let seconds = (12e6 / net.rate()).clamp(1.0, 20.0) + round_trip.as_secs_f64() * 6.0;
            // Who has fallen behind by more than the hub keeps is skipped ahead, at most once in a round trip: where
            // a round trip takes several times that, a flood is shown as it is and not in full.
            let in_flight = net.rate() * round_trip.as_secs_f64();
            let flood = if in_flight > 4.0 * HUB_RING as f64 { 0.95 } else { 1.5 };
            let shown = show(net, net.rate() * flood, seconds);
            let packets = Duration::from_secs_f64(8.0 * 1024.0 / net.rate());
            let bound = Duration::from_millis(30) + round_trip * 2 / 5 + packets;
            if shown.share < 0.8 || shown.queue > bound {
                missed.push(format!("{net:?}: {shown:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_program_slower_than_the_link_is_shown_whole_over_any_distance() {
    for (mbit, rate) in [(8.0, 0.7e6), (100.0, 1e6), (1000.0, 1e6), (100.0, 8e6)] {
        for round_trip in [0, 10, 50, 100, 300].map(Duration::from_millis) {
            let net = Net { mbit, round_trip };
            let shown = show(net, rate, 5.0);
            assert!(shown.share >= 0.95, "{net:?}, {rate} B/s: {shown:?}");
            assert_eq!(shown.skipped, 0, "{net:?}, {rate} B/s: {shown:?}");
        }
    }
}
