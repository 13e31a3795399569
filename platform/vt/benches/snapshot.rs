//! How long a snapshot takes to make and to read.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lap_vt::{Limits, Size, Terminal};

#[expect(dead_code, reason = "each bench uses some of the corpora")]
mod corpora;

const SIZE: Size = Size { cols: 100, rows: 30 };
const LIMITS: Limits = Limits { scrollback_bytes: 8 << 20 };
/// No scrollback, that of a screen or two, all of it.
const SCROLLBACK: [usize; 3] = [0, 64 << 10, 8 << 20];

fn terminal(corpus: &str) -> Terminal {
    let mut terminal = Terminal::new(SIZE, LIMITS);
    terminal.feed(corpus.as_bytes());
    terminal
}

#[divan::bench(args = SCROLLBACK)]
fn make_log(bencher: Bencher<'_, '_>, scrollback: usize) {
    let terminal = terminal(&corpora::coloured_log());
    bencher
        .counter(BytesCount::of_slice(&terminal.snapshot(scrollback)))
        .bench(|| terminal.snapshot(black_box(scrollback)));
}

#[divan::bench(args = SCROLLBACK)]
fn read_log(bencher: Bencher<'_, '_>, scrollback: usize) {
    let snapshot = terminal(&corpora::coloured_log()).snapshot(scrollback);
    bencher.counter(BytesCount::of_slice(&snapshot)).bench(|| {
        let mut terminal = Terminal::new(SIZE, LIMITS);
        terminal.feed(black_box(&snapshot));
        terminal.generation()
    });
}

#[divan::bench]
fn make_screen(bencher: Bencher<'_, '_>) {
    let terminal = terminal(&corpora::redraw());
    bencher.bench(|| terminal.snapshot(black_box(0)));
}

fn main() {
    divan::main();
}
