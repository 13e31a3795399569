//! Nothing a program writes makes a terminal grow beyond its limits.

use lap_vt::{Limits, Size, Terminal};

const LIMITS: Limits = Limits { scrollback_bytes: 256 << 10 };

fn terminal() -> Terminal {
    Terminal::new(Size { cols: 80, rows: 24 }, LIMITS)
}

/// Twice the scrollback (its queue may have grown to double), tables of as much, one string of 256 KiB, waiting
/// events of 1 MiB.
const MOST: usize = 4 * LIMITS.scrollback_bytes + (256 << 10) + (1 << 20);

/// Feeds what `item` makes until it is 8 MB.
fn flood(item: impl Fn(usize) -> String) -> Terminal {
    let mut terminal = terminal();
    let mut fed = 0;
    for i in 0.. {
        let item = item(i);
        terminal.feed(item.as_bytes());
        fed += item.len();
        if fed > 8 << 20 {
            break;
        }
    }
    let memory = terminal.memory();
    assert!(memory < MOST, "{memory} bytes for a limit of {MOST}");
    terminal
}

#[test]
fn styles_that_are_never_the_same_do_not_pile_up() {
    flood(|i| format!("\x1b[38;2;{};{};{}mx", i % 256, i / 256 % 256, i / 65_536));
    flood(|i| format!("\x1b[48;2;{};{};{}m\x1b[K\n", i % 256, i / 256 % 256, i / 65_536));
}

#[test]
fn links_that_are_never_the_same_do_not_pile_up() {
    flood(|i| format!("\x1b]8;;http://example.org/{i}\x1b\\x"));
    flood(|i| format!("\x1b]8;id={i};http://example.org/{}\x1b\\\n.", "a".repeat(2000)));
}

#[test]
fn clusters_that_are_never_the_same_do_not_pile_up() {
    let mark = |i: usize| char::from_u32(0x300 + (i % 64) as u32).unwrap_or('\u{300}');
    flood(|i| format!("e{}{}{}", mark(i), mark(i / 64), mark(i / 4096)));
    let one = flood(|i| mark(i).to_string());
    assert_eq!(one.screen_text().trim(), "");
    flood(|i| format!("{}{}", if i == 0 { "e" } else { "" }, mark(i)));
}

#[test]
fn strings_without_an_end_are_not_kept() {
    for introducer in [
        "\x1b]0;",
        "\x1b]52;c;",
        "\x1b]x",
        "\x1bP$q",
        "\x1bPq",
        "\x1b_G",
        "\x1b^",
        "\x1bX",
        "\x1b[",
        "\x1b[?",
        "\x1bP",
        "\x1b(",
    ] {
        for filling in ["1", "1;", "(", "\u{e9}"] {
            let mut terminal = flood(|i| if i == 0 { introducer.into() } else { filling.repeat(4096) });
            let snapshot = terminal.snapshot(0);
            assert!(snapshot.len() < 300 << 10, "{} bytes", snapshot.len());
            terminal.feed(b"\x18\x1bcafter");
            assert_eq!(terminal.screen_text().trim(), "after");
        }
    }
}

/// Both sides of the limit are the same on both sides of a snapshot.
#[test]
fn a_string_at_its_limit_obeys_the_law() {
    for (introducer, around) in
        [("\x1b]2;", 256 << 10), ("\x1bP$q", 1 << 10), ("\x1b[", 1 << 10), ("\x1bP", 1 << 10)]
    {
        for length in [
            around - 8,
            around - 5,
            around - 4,
            around - 3,
            around - 2,
            around - 1,
            around,
            around + 1,
            around + 9,
        ] {
            let stream = format!("{introducer}{}m\x1b\\x", "1".repeat(length));
            for cut in
                [introducer.len() + 1, stream.len() / 2, stream.len() - 5, stream.len() - 4, stream.len() - 3]
            {
                let (before, after) = stream.as_bytes().split_at(cut);
                let (mut whole, mut first, mut second) = (terminal(), terminal(), terminal());
                whole.feed(stream.as_bytes());
                first.feed(before);
                second.feed(&first.snapshot(usize::MAX));
                assert_eq!(first.diff(&second), None, "{introducer:?} {length} {cut}");
                second.feed(after);
                assert_eq!(whole.diff(&second), None, "{introducer:?} {length} {cut}");
            }
        }
    }
}

#[test]
fn stacks_have_a_bottom() {
    let mut pushed = flood(|_| "\x1b[>1u".into());
    assert_eq!(pushed.modes().kitty_keyboard, 1);
    pushed.feed(b"\x1b[<4100u");
    assert_eq!(pushed.modes().kitty_keyboard, 0);
    flood(|i| format!("\x1b]2;{}\x07\x1b[22t", "t".repeat(i % 5000)));
    flood(|i| format!("\x1b[>{i};{i}m\x1b]4;{i};#fff\x07\x1b]{i};#fff\x07"));
}

#[test]
fn events_nobody_takes_are_dropped() {
    let mut deaf = flood(|i| {
        format!(
            "\x1b[c\x07\x1b]9;{i}{}\x07\x1b]2;{i}\x07\x1b]52;c;{}\x07",
            "n".repeat(900),
            "QUFB".repeat(900)
        )
    });
    assert!(deaf.events().count() <= 256);
    deaf.feed(b"\x07");
    assert_eq!(deaf.events().count(), 1);
}

#[test]
fn the_scrollback_holds_what_it_is_given_and_no_more() {
    let mut log = flood(|i| format!("line {i}\r\n"));
    assert!(log.scrollback_bytes() <= LIMITS.scrollback_bytes);
    let most_of_a_line = 32 + 8 * 80;
    assert!(log.scrollback_bytes() > LIMITS.scrollback_bytes - most_of_a_line);
    log.feed(b"\x1b[3J");
    assert_eq!((log.scrollback_len(), log.scrollback_bytes()), (0, 0));
}

#[test]
fn a_snapshot_has_no_more_scrollback_than_asked_for() {
    let log = flood(|i| format!("line {i}\r\n"));
    for bytes in [0, 50, 1000, 100_000] {
        let mut replica = terminal();
        replica.feed(&log.snapshot(bytes));
        assert!(replica.scrollback_bytes() <= bytes);
        assert!(replica.scrollback_bytes() + 32 + 8 * 80 > bytes);
        assert_eq!(replica.screen_text(), log.screen_text());
        let newest = |terminal: &Terminal| terminal.row(-1).map(|row| row.text());
        assert!(bytes < 1000 || newest(&replica) == newest(&log));
    }
}

#[test]
fn a_size_out_of_range_is_brought_inside() {
    for (cols, rows) in [(0, 0), (u16::MAX, 0), (0, u16::MAX)] {
        let mut terminal = Terminal::new(Size { cols, rows }, LIMITS);
        terminal.feed("x漢\r\n\x1b[5;5Hy".as_bytes());
        terminal.resize(Size { cols: rows, rows: cols });
        assert!(terminal.size().cols >= 1 && terminal.size().rows >= 1);
        assert!(terminal.size().cols <= lap_vt::MAX_COLUMNS && terminal.size().rows <= lap_vt::MAX_ROWS);
    }
}
