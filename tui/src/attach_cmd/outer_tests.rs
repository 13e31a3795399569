//! What the outer terminal shows, by a terminal model in its place.

use lap_vt::{Limits, Modes, Terminal};
use lap_wire::control::Size;
use proptest::prelude::*;

use super::outer::Outer;

const SIZE: Size = Size { cols: 20, rows: 5 };

fn terminal(size: Size) -> Terminal {
    Terminal::new(lap_vt::Size { cols: size.cols, rows: size.rows }, Limits::default())
}

/// The session, its way to the outer terminal, and that terminal.
struct Stage {
    session: Terminal,
    outer: Outer,
    shown: Terminal,
}

impl Stage {
    fn new(before: &str) -> Stage {
        let mut shown = terminal(SIZE);
        shown.feed(before.as_bytes());
        Stage { session: terminal(SIZE), outer: Outer::new(SIZE), shown }
    }

    fn flush(&mut self) {
        let out = std::mem::take(&mut self.outer.out);
        self.shown.feed(&out);
    }

    fn snapshot(&mut self) {
        let bytes = self.session.snapshot(usize::MAX);
        self.outer.snapshot(&bytes);
        self.flush();
    }

    /// As the loop does: out first, then into the model.
    fn output(&mut self, bytes: &[u8]) {
        self.session.feed(bytes);
        let straight = self.outer.is_straight() && !self.outer.has_notice();
        self.outer.output(bytes);
        self.flush();
        if straight {
            self.outer.feed(bytes);
        }
    }

    /// Whether the outer terminal shows what the session does, cell by cell, cursor and modes included.
    fn assert_same(&self) {
        assert_eq!(self.shown.screen_text(), self.session.screen_text());
        assert_eq!(self.shown.cursor(), self.session.cursor());
        let modes = |terminal: &Terminal| Modes { alternate_scroll: None, ..terminal.modes() };
        assert_eq!(modes(&self.shown), modes(&self.session));
        for y in 0..i32::from(SIZE.rows) {
            let (Some(a), Some(b)) = (self.shown.row(y), self.session.row(y)) else { panic!("row {y}") };
            for (x, (a, b)) in a.cells().zip(b.cells()).enumerate() {
                assert_eq!((a.text, a.width, a.style), (b.text, b.width, b.style), "column {x} of row {y}");
            }
        }
    }
}

#[test]
fn what_was_on_the_screen_goes_into_the_scrollback_and_not_away() {
    let mut stage = Stage::new("my own shell\r\n$ lap attach");
    stage.output(b"in the session");
    stage.snapshot();
    stage.assert_same();
    let kept: Vec<String> = (-i32::try_from(stage.shown.scrollback_len()).unwrap()..0)
        .filter_map(|line| Some(stage.shown.row(line)?.text()))
        .collect();
    assert!(kept.contains(&"my own shell".to_owned()), "{kept:?}");
    let before = stage.shown.scrollback_len();
    stage.snapshot();
    assert_eq!(stage.shown.scrollback_len(), before, "only the first time");
}

#[test]
fn a_message_goes_without_a_trace() {
    let mut stage = Stage::new("");
    stage.output(b"\x1b[31mred\x1b[4m under\x1b7\x1b[?6h\x1b[2;4r\x1b[2;2Hx\x1b(0");
    stage.snapshot();
    stage.outer.notice(" lost ");
    stage.flush();
    assert!(stage.shown.screen_text().ends_with(" lost\n"), "{}", stage.shown.screen_text());
    stage.outer.repaint();
    stage.flush();
    stage.assert_same();
    stage.output(b"qq\x1b8!");
    stage.assert_same();
}

#[test]
fn a_session_of_another_size_is_shown_around_its_cursor() {
    let mut stage = Stage::new("");
    let large = Size { cols: 60, rows: 20 };
    stage.session = terminal(large);
    stage.outer.resized(large);
    stage.output(b"\x1b[20;50Hfar away");
    stage.snapshot();
    let rows: Vec<String> = stage.shown.screen_text().lines().map(str::to_owned).collect();
    assert_eq!(rows[4].trim(), "far away");
    let small = Size { cols: 10, rows: 3 };
    stage.session = terminal(small);
    stage.outer.resized(small);
    stage.output(b"tiny");
    stage.snapshot();
    let rows: Vec<String> = stage.shown.screen_text().lines().map(str::to_owned).collect();
    assert_eq!((rows[0].as_str(), rows[4].as_str()), ("tiny      ··········", "····················"));
    assert_eq!((stage.shown.cursor().x, stage.shown.cursor().y), (4, 0));
}

#[test]
fn the_terminal_is_left_in_order_below_what_was_there() {
    let mut stage = Stage::new("");
    stage.output(
        b"one\r\ntwo\x1b[?1003;1006;2004;1004h\x1b[>5u\x1b[?1h\x1b=\x1b[5 q\x1b[?25l\x1b[2;3r\x1b[31m",
    );
    stage.snapshot();
    let leave = stage.outer.leave();
    stage.shown.feed(&leave);
    stage.shown.feed(b"[left]");
    assert_eq!(
        stage.shown.modes(),
        Modes { alternate_scroll: stage.shown.modes().alternate_scroll, ..Modes::default() }
    );
    assert!(stage.shown.cursor().visible);
    assert_eq!(stage.shown.screen_text(), "one\ntwo\n[left]\n\n\n");
    assert_eq!(Outer::new(SIZE).leave(), b"\x1b[23;0t", "nothing was shown, nothing is moved");
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z ]{1,30}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        1 => Just("漢字é".as_bytes().to_vec()),
        1 => prop::sample::select(vec![
            "\x1b[?1049h", "\x1b[?1049l", "\x1b[?2004h", "\x1b[?1002;1006h", "\x1b[?25l", "\x1b[?25h", "\x1b[2;4r",
            "\x1b[r", "\x1b[?6h", "\x1b[?6l", "\x1b7", "\x1b8", "\x1b[>1u", "\x1b[<u", "\x1b(0", "\x1b(B", "\x1b[4h",
            "\x1b[4l", "\x1b[?7l", "\x1b[?7h", "\x1b[2J", "\x1b[K", "\x1b[3;7H", "\x1b[31;1m", "\x1b[0m", "\x1b[L",
            "\x1b[M", "\x1b[P", "\x1b[@", "\x1bM", "\x1b[44m\x1b[J", "\x1b[", "\x1b]0;title", "\x07",
        ]).prop_map(|s| s.as_bytes().to_vec()),
    ]
}

proptest! {
    /// Wherever the stream is cut by messages and fresh snapshots, the outer terminal shows the session.
    #[test]
    fn the_outer_terminal_shows_the_session_whatever_comes_between(
        pieces in prop::collection::vec((piece(), 0..8u8), 1..40),
    ) {
        let mut stage = Stage::new("before");
        stage.snapshot();
        for (bytes, what) in pieces {
            match what {
                0 => {
                    stage.outer.notice("a message");
                    stage.flush();
                    stage.outer.repaint();
                    stage.flush();
                }
                1 => {
                    stage.outer.notice("a message");
                    stage.flush();
                }
                2 => stage.snapshot(),
                _ => {}
            }
            stage.output(&bytes);
        }
        stage.snapshot();
        stage.assert_same();
        stage.output(b"and on\r\n");
        stage.assert_same();
        let leave = stage.outer.leave();
        stage.shown.feed(&leave);
        let found = Modes { alternate_scroll: stage.shown.modes().alternate_scroll, ..Modes::default() };
        prop_assert_eq!(stage.shown.modes(), found);
    }
}
