//! Taking a new size.

use lap_vt::{Limits, Size, Terminal};

use crate::grammar::{FEATURES, Grammar};
use crate::random::{Random, cases, seed};

fn terminal(cols: u16, rows: u16, stream: &str) -> Terminal {
    let mut terminal = Terminal::new(Size { cols, rows }, Limits::default());
    terminal.feed(stream.as_bytes());
    terminal
}

fn resized(mut terminal: Terminal, cols: u16, rows: u16) -> Terminal {
    terminal.resize(Size { cols, rows });
    terminal
}

fn lines(terminal: &Terminal) -> Vec<String> {
    let rows = -(terminal.scrollback_len() as i32)..terminal.size().rows.into();
    rows.filter_map(|line| terminal.row(line)).map(|row| row.text()).collect()
}

fn at(terminal: &Terminal) -> (u16, u16) {
    (terminal.cursor().x, terminal.cursor().y)
}

#[test]
fn a_long_line_wraps_anew_and_comes_back_whole() {
    let narrow = resized(terminal(20, 5, "0123456789abcdef\r\n$ "), 10, 5);
    assert_eq!(lines(&narrow), ["0123456789", "abcdef", "$", "", ""]);
    assert_eq!(at(&narrow), (2, 2));
    let wide = resized(narrow, 20, 5);
    assert_eq!(lines(&wide), ["0123456789abcdef", "$", "", "", ""]);
    assert_eq!(at(&wide), (2, 1));
}

#[test]
fn the_cursor_stays_behind_its_character() {
    let mut narrow = resized(terminal(20, 3, "0123456789"), 10, 3);
    assert_eq!(at(&narrow), (9, 0));
    narrow.feed(b"x");
    assert_eq!(lines(&narrow), ["0123456789", "x", ""], "the wrap was pending");
    let mut wide = resized(terminal(10, 3, "0123456789"), 20, 3);
    assert_eq!(at(&wide), (10, 0));
    wide.feed(b"x");
    assert_eq!(lines(&wide), ["0123456789x", "", ""]);
}

#[test]
fn a_full_screen_keeps_its_last_line_at_the_bottom() {
    let full = "1\r\n2\r\n3\r\n4\r\n5";
    let short = resized(terminal(10, 4, full), 10, 2);
    assert_eq!((short.scrollback_len(), at(&short)), (3, (1, 1)));
    let tall = resized(short, 10, 6);
    assert_eq!((tall.scrollback_len(), at(&tall)), (0, (1, 4)));
    assert_eq!(lines(&tall), ["1", "2", "3", "4", "5", ""]);
}

#[test]
fn a_cleared_screen_does_not_fill_with_history() {
    let cleared = terminal(10, 3, "1\r\n2\r\n3\r\n4\r\n5\x1b[H\x1b[2Jnew");
    let tall = resized(cleared, 10, 6);
    assert_eq!(lines(&tall)[tall.scrollback_len()], "new");
    assert_eq!(at(&tall), (3, 0));
}

#[test]
fn a_wide_character_is_never_cut_in_two() {
    let narrow = resized(terminal(10, 4, "漢字漢字"), 5, 4);
    assert_eq!(lines(&narrow), ["漢字", "漢字", "", ""]);
    assert_eq!(lines(&resized(narrow, 10, 4)), ["漢字漢字", "", "", ""]);
    let alternate = resized(terminal(10, 2, "\x1b[?1049h漢字漢"), 5, 2);
    assert_eq!(lines(&alternate), ["漢字", ""]);
    assert_eq!(lines(&resized(terminal(10, 2, "a漢"), 1, 2)), ["a", ""]);
}

#[test]
fn a_coloured_bar_makes_no_second_line() {
    let bar = terminal(20, 2, "\x1b[44m bar \x1b[K");
    let narrow = resized(bar, 10, 2);
    assert_eq!((lines(&narrow), narrow.scrollback_len()), (vec![" bar".into(), String::new()], 0));
}

#[test]
fn under_the_alternate_screen_the_main_one_waits_in_its_new_layout() {
    let mut both = resized(terminal(20, 4, "0123456789abcdef\r\n$ \x1b[?1049h\x1b[HALT"), 10, 4);
    assert_eq!(lines(&both), ["ALT", "", "", ""]);
    both.feed(b"\x1b[?1049lx");
    assert_eq!(lines(&both), ["0123456789", "abcdef", "$ x", ""]);
}

#[test]
fn the_region_is_all_and_new_columns_have_tab_stops() {
    let mut wide = resized(terminal(10, 4, "\x1b[2;3r"), 30, 6);
    wide.feed(b"\x1b[6H\n\x1b[1;17H\t");
    assert_eq!(at(&wide).0, 24);
    assert_eq!(wide.scrollback_len(), 1);
}

#[test]
fn a_program_that_asked_hears_of_the_new_size() {
    let mut asked = terminal(10, 4, "\x1b[?2048h");
    asked.events().for_each(drop);
    asked.resize(Size { cols: 30, rows: 6 });
    assert_eq!(asked.events().collect::<Vec<_>>(), [lap_vt::Event::Reply(b"\x1b[48;6;30;120;300t".to_vec())]);
}

/// The law does not reach over a resize, but it holds on both sides of it.
#[test]
fn a_snapshot_after_resizes_is_exact() {
    let seed = seed();
    for case in 0..cases(4000) {
        let random = &mut Random::new(seed.wrapping_add(case as u64));
        let size = |random: &mut Random| {
            let (most_cols, most_rows) = ([3, 24, 40][random.below(3)], [3, 12][random.below(2)]);
            Size { cols: 1 + random.below(most_cols) as u16, rows: 1 + random.below(most_rows) as u16 }
        };
        let limits = Limits { scrollback_bytes: [0, 1000, 1 << 20][random.below(3)] };
        let mut first = Terminal::new(size(random), limits);
        let mut told = vec![first.size()];
        let mut streams = Vec::new();
        for _ in 0..1 + random.below(3) {
            let Size { cols, rows } = first.size();
            let feature = FEATURES[if random.one_in(2) { 0 } else { random.below(FEATURES.len()) }];
            let stream = Grammar { random, cols: cols.into(), rows: rows.into() }.stream(feature, 25);
            first.feed(&stream);
            streams.push(stream);
            first.resize(size(random));
            told.push(first.size());
        }
        let mut second = Terminal::new(first.size(), limits);
        second.feed(&first.snapshot(usize::MAX));
        let at_cut = first.diff(&second);
        let Size { cols, rows } = first.size();
        let rest = Grammar { random, cols: cols.into(), rows: rows.into() }.stream("all", 25);
        first.feed(&rest);
        second.feed(&rest);
        let diff = at_cut.or_else(|| first.diff(&second));
        assert_eq!(
            diff,
            None,
            "LAP_VT_SEED={} {told:?} {:?}",
            seed.wrapping_add(case as u64),
            streams.iter().map(|stream| stream.escape_ascii().to_string()).collect::<Vec<_>>()
        );
    }
}
