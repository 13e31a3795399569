//! The law of snapshots: `vt(S) == vt(snapshot(S[..k]) + S[k..])`, for any stream and any cut.

use lap_vt::{Limits, Size, Terminal};

use crate::grammar::{FEATURES, Grammar};
use crate::random::{Random, cases, seed};

/// Items of a stream, and cuts tried in each.
const ITEMS: usize = 60;
const CUTS: usize = 12;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) size: Size,
    pub(crate) scrollback_bytes: usize,
}

impl Setting {
    pub(crate) fn terminal(&self) -> Terminal {
        Terminal::new(self.size, Limits { scrollback_bytes: self.scrollback_bytes })
    }

    fn random(random: &mut Random) -> Setting {
        let (cols, rows) = match random.below(8) {
            0 => (1 + random.below(3), 1 + random.below(4)),
            1 => (1 + random.below(30), 1),
            2 => (80 + random.below(60), 20 + random.below(30)),
            3..=5 => (20, 6),
            _ => (3 + random.below(30), 2 + random.below(10)),
        };
        let scrollback_bytes = [0, 300, 1000, 1 << 20, 1 << 20, 1 << 20][random.below(6)];
        Setting { size: Size { cols: cols as u16, rows: rows as u16 }, scrollback_bytes }
    }
}

/// What a snapshot goes through on its way: nothing, or a damage that the law has to notice.
type Wire<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// The first difference, for one cut.
pub(crate) fn broken(setting: Setting, before: &[u8], after: &[u8], wire: Wire<'_>) -> Option<String> {
    let mut first = setting.terminal();
    first.feed(before);
    let mut second = setting.terminal();
    second.feed(&wire(&first.snapshot(usize::MAX)));
    if let Some(diff) = first.diff(&second) {
        return Some(format!("at the cut: {diff}"));
    }
    first.feed(after);
    second.feed(after);
    first.diff(&second).map(|diff| format!("at the end: {diff}"))
}

/// Feeds in random chunks, from single bytes up.
pub(crate) fn feed_in_chunks(terminal: &mut Terminal, stream: &[u8], random: &mut Random) {
    let mut rest = stream;
    while !rest.is_empty() {
        let most = [1, 3, 17, 400][random.below(4)];
        let (now, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
        terminal.feed(now);
        rest = later;
    }
}

/// Takes pieces away from both sides of the cut as long as the law stays broken.
fn shrink(setting: Setting, stream: &[u8], cut: usize) -> String {
    let (before, after) = stream.split_at(cut);
    let mut sides = [before.to_vec(), after.to_vec()];
    let still = |sides: &[Vec<u8>; 2]| broken(setting, &sides[0], &sides[1], &<[u8]>::to_vec);
    for side in [1, 0, 1, 0] {
        let mut step = 256;
        while step > 0 {
            let mut at = 0;
            while at < sides[side].len() {
                let mut smaller = sides.clone();
                let end = (at + step).min(smaller[side].len());
                smaller[side].drain(at..end);
                if still(&smaller).is_some() { sides = smaller } else { at += step }
            }
            step /= 2;
        }
    }
    let [before, after] = &sides;
    let mut terminal = setting.terminal();
    terminal.feed(before);
    format!(
        "{setting:?}\n before \"{}\"\n after \"{}\"\n snapshot \"{}\"\n {}",
        before.escape_ascii(),
        after.escape_ascii(),
        terminal.snapshot(usize::MAX).escape_ascii(),
        still(&sides).unwrap_or_else(|| "(depends on how the stream was cut into chunks)".into()),
    )
}

#[test]
fn a_snapshot_and_the_rest_of_the_stream_make_the_same_terminal() {
    let seed = seed();
    let mut tried = 0;
    for case in 0..cases(12_000) / CUTS {
        let random = &mut Random::new(seed.wrapping_add(case as u64));
        let setting = Setting::random(random);
        let feature = FEATURES[if random.one_in(2) { 0 } else { random.below(FEATURES.len()) }];
        let Size { cols, rows } = setting.size;
        let stream = Grammar { random, cols: cols.into(), rows: rows.into() }.stream(feature, ITEMS);

        let mut whole = setting.terminal();
        whole.feed(&stream);
        let mut cuts: Vec<usize> = (0..CUTS).map(|_| random.below(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut first = setting.terminal();
        let mut fed = 0;
        for cut in cuts {
            feed_in_chunks(&mut first, &stream[fed..cut], random);
            fed = cut;
            let mut second = setting.terminal();
            second.feed(&first.snapshot(usize::MAX));
            let at_cut = first.diff(&second);
            feed_in_chunks(&mut second, &stream[cut..], random);
            if let Some(diff) = at_cut.or_else(|| whole.diff(&second)) {
                panic!(
                    "LAP_VT_SEED={} ({feature}, cut {cut}): {diff}\n{}",
                    seed.wrapping_add(case as u64),
                    shrink(setting, &stream, cut)
                );
            }
            tried += 1;
        }
    }
    println!("{tried} cuts, seed {seed}");
}

/// The test above can fail: without any one of these the snapshot says something else, and it is noticed.
#[test]
fn a_snapshot_with_a_piece_missing_breaks_the_law() {
    const PIECES: [&str; 16] = [
        "\x1b7",
        "\x1b[?1049h",
        "\x1b[?6h",
        "\x1b[4h",
        "\x1b[?7l",
        "\x1b[3g",
        "\r\n",
        "\x1b[K",
        "X",
        "\x1b(0",
        "\x0e",
        "22;0t",
        "\x1b[>",
        ";1",
        "\x1b]8;",
        "\x1bN",
    ];
    let seed = seed();
    let random = &mut Random::new(seed);
    let setting = Setting { size: Size { cols: 20, rows: 6 }, scrollback_bytes: 1 << 20 };
    for piece in PIECES {
        let without = |snapshot: &[u8]| {
            let text = String::from_utf8_lossy(snapshot);
            text.replace(piece, "").into_bytes()
        };
        let noticed = (0..4000).any(|_| {
            let stream = Grammar { random, cols: 20, rows: 6 }.stream("all", ITEMS);
            let (before, after) = stream.split_at(random.below(stream.len() + 1));
            broken(setting, before, after, &without).is_some()
        });
        assert!(noticed, "nothing misses \"{}\" (LAP_VT_SEED={seed})", piece.escape_debug());
    }
}

#[test]
fn chunks_do_not_matter() {
    let seed = seed();
    for case in 0..cases(2000) {
        let random = &mut Random::new(seed.wrapping_add(case as u64));
        let setting = Setting::random(random);
        let Size { cols, rows } = setting.size;
        let mut stream = Grammar { random, cols: cols.into(), rows: rows.into() }.stream("all", ITEMS);
        for _ in 0..random.below(10) {
            let at = random.below(stream.len());
            if let Some(byte) = stream.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
        let (mut whole, mut chunked) = (setting.terminal(), setting.terminal());
        whole.feed(&stream);
        stream.iter().for_each(|byte| chunked.feed(&[*byte]));
        let diff = whole.diff(&chunked);
        assert_eq!(
            diff,
            None,
            "LAP_VT_SEED={} \"{}\"",
            seed.wrapping_add(case as u64),
            stream.escape_ascii()
        );
        let (a, b): (Vec<_>, Vec<_>) = (whole.events().collect(), chunked.events().collect());
        assert_eq!(a, b, "LAP_VT_SEED={}", seed.wrapping_add(case as u64));
    }
}

#[test]
fn chunks_do_not_matter_for_long_text_beyond_ascii() {
    let seed = seed();
    for case in 0..cases(200) {
        let random = &mut Random::new(seed.wrapping_add(case as u64));
        let mut stream = "漢é🚀".repeat(200 + random.below(100)).into_bytes();
        for _ in 0..random.below(4) {
            let at = random.below(stream.len());
            let length = 1 + random.below(700);
            let wrong = random.below(256) as u8;
            stream.splice(at..(at + length).min(stream.len()), std::iter::repeat_n(wrong, length));
        }
        let setting = Setting { size: Size { cols: 40, rows: 5 }, scrollback_bytes: 1 << 20 };
        let (mut whole, mut chunked) = (setting.terminal(), setting.terminal());
        whole.feed(&stream);
        stream.iter().for_each(|byte| chunked.feed(&[*byte]));
        assert_eq!(whole.diff(&chunked), None, "LAP_VT_SEED={}", seed.wrapping_add(case as u64));
    }
}

/// Streams that broke it once.
#[test]
fn the_law_holds_for_what_broke_it() {
    let setting = Setting { size: Size { cols: 6, rows: 9 }, scrollback_bytes: 1000 };
    for stream in [
        "\x1b[?6h\x1b7\x1b[8r\x1b[?47h",
        "\x1b[?6h\x1b7\x1b[8r\x1b[?47h\x1b[?47l\x1b8",
        "a\x1b[?1049hb\x1b[3;3H\x1b[?1049h\x1b[?1049l",
        "a\u{17d8}b\u{bbe}\u{3164}c\u{ad}\u{2630}",
    ] {
        for cut in (0..=stream.len()).filter(|cut| stream.is_char_boundary(*cut)) {
            let (before, after) = stream.as_bytes().split_at(cut);
            assert_eq!(broken(setting, before, after, &<[u8]>::to_vec), None, "{stream:?} at {cut}");
        }
    }
}
