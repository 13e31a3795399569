//! How fast output is taken in, in chunks as a PTY gives them, beside another emulator in the same run.

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::{Config, Term};
use alacritty_terminal::vte::ansi::Processor;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lap_vt::{Limits, Size, Terminal};

mod corpora;

const SIZE: Size = Size { cols: 100, rows: 30 };
/// A PTY gives at most this much at once.
const CHUNK: usize = 4096;
/// A reader that is behind takes more.
const LARGE_CHUNK: usize = 256 << 10;

struct Corpus(&'static str, fn() -> String);

impl std::fmt::Display for Corpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

fn all() -> [Corpus; 5] {
    [
        Corpus("plain log", corpora::plain_log),
        Corpus("coloured log", corpora::coloured_log),
        Corpus("redraw", corpora::redraw),
        Corpus("cjk", corpora::cjk),
        Corpus("truecolor", corpora::truecolor),
    ]
}

#[divan::bench(args = all())]
fn lap(bencher: Bencher<'_, '_>, corpus: &Corpus) {
    run(bencher, corpus, CHUNK);
}

#[divan::bench(args = all())]
fn lap_large_chunks(bencher: Bencher<'_, '_>, corpus: &Corpus) {
    run(bencher, corpus, LARGE_CHUNK);
}

fn run(bencher: Bencher<'_, '_>, corpus: &Corpus, chunk: usize) {
    let stream = corpus.1();
    bencher.counter(BytesCount::of_str(&stream)).bench(|| {
        let mut terminal = Terminal::new(SIZE, Limits::default());
        for chunk in stream.as_bytes().chunks(chunk) {
            terminal.feed(black_box(chunk));
        }
        terminal.generation()
    });
}

struct Window;

impl Dimensions for Window {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }
    fn screen_lines(&self) -> usize {
        usize::from(SIZE.rows)
    }
    fn columns(&self) -> usize {
        usize::from(SIZE.cols)
    }
}

#[divan::bench(args = all())]
fn alacritty(bencher: Bencher<'_, '_>, corpus: &Corpus) {
    let stream = corpus.1();
    bencher.counter(BytesCount::of_str(&stream)).bench(|| {
        // About as many lines as fit in our scrollback.
        let config = Config { scrolling_history: 1300, ..Config::default() };
        let mut terminal = Term::new(config, &Window, VoidListener);
        let mut parser: Processor = Processor::new();
        for chunk in stream.as_bytes().chunks(CHUNK) {
            parser.advance(&mut terminal, black_box(chunk));
        }
        terminal.grid().cursor.point
    });
}

fn main() {
    divan::main();
}
