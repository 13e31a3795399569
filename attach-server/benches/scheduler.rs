//! What the hub pays for deciding whose turn it is: `cargo bench -p lap-attach-server --bench scheduler`.
//!
//! The scheduler is the hub's own and no part of the library: its file is compiled in here as it is.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::time::Instant;

#[path = "../src/hub/scheduler.rs"]
#[allow(
    unused_imports,
    dead_code,
    reason = "its tests are compiled without a harness, and not all of it is measured"
)]
mod scheduler;

use scheduler::Scheduler;

fn main() {
    divan::main();
}

/// A pane, a wall of panes, the most channels of one connection.
const CHANNELS: [u32; 3] = [1, 20, lap_wire::limits::MAX_CHANNELS as u32];
/// Bytes of a frame that bulk is sent in.
const FRAME: usize = 16 * 1024;

/// All of a connection's channels print without end.
fn flooded(channels: u32, now: Instant) -> Scheduler {
    let mut scheduler = Scheduler::default();
    (1..=channels).for_each(|channel| scheduler.wake(channel, now));
    scheduler
}

/// A frame of each channel, as long as all have more.
#[divan::bench(args = CHANNELS)]
fn frame_of_each(bencher: Bencher<'_, '_>, channels: u32) {
    let now = Instant::now();
    let mut scheduler = flooded(channels, now);
    bencher.counter(ItemsCount::new(channels)).bench_local(|| {
        for _ in 0..channels {
            if let Some(turn) = scheduler.turn(black_box(now)) {
                scheduler.used(turn, FRAME.min(turn.bytes));
            }
        }
    });
}

/// A keystroke and its echo while every other channel floods: typed into, something to send, sent, nothing more.
#[divan::bench(args = CHANNELS)]
fn echo_among_floods(bencher: Bencher<'_, '_>, channels: u32) {
    let now = Instant::now();
    let mut scheduler = flooded(channels, now);
    let typed_into = channels + 1;
    bencher.bench_local(|| {
        scheduler.typed(typed_into, black_box(now));
        scheduler.wake(typed_into, now);
        if let Some(turn) = scheduler.turn(now) {
            assert!(turn.channel == typed_into && turn.interactive);
            scheduler.used(turn, 1);
        }
        scheduler.idle(typed_into);
    });
}

/// Every channel prints a line, is served and has nothing more: a build in each of many panes.
#[divan::bench(args = CHANNELS)]
fn lines_here_and_there(bencher: Bencher<'_, '_>, channels: u32) {
    let now = Instant::now();
    let mut scheduler = Scheduler::default();
    bencher.counter(ItemsCount::new(channels)).bench_local(|| {
        (1..=channels).for_each(|channel| scheduler.wake(channel, black_box(now)));
        while let Some(turn) = scheduler.turn(now) {
            scheduler.used(turn, 80);
            scheduler.idle(turn.channel);
        }
    });
}

/// A channel opened and closed among the others.
#[divan::bench(args = CHANNELS)]
fn come_and_go(bencher: Bencher<'_, '_>, channels: u32) {
    let now = Instant::now();
    let mut scheduler = flooded(channels, now);
    bencher.bench_local(|| {
        scheduler.wake(black_box(channels / 2 + 1_000_000), now);
        scheduler.remove(channels / 2 + 1_000_000);
    });
}
