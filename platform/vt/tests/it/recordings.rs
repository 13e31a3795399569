//! What real programs wrote, cut anywhere. How each was recorded is told in `../recordings/README.md`.

use std::path::Path;

use lap_vt::Size;

use crate::law::{Setting, feed_in_chunks};
use crate::random::{Random, cases, seed};

/// The terminal they were recorded on.
pub(crate) const SETTING: Setting = Setting { size: Size { cols: 100, rows: 30 }, scrollback_bytes: 4 << 20 };

/// Name and bytes of each.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut recordings: Vec<_> = std::fs::read_dir(&directory)
        .expect("the recordings are part of the source")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| {
            let name = path.file_stem().expect("named").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("readable"))
        })
        .collect();
    recordings.sort();
    assert!(recordings.len() > 20, "most of the recordings are missing");
    recordings
}

/// This many places in a stream, in order.
pub(crate) fn cuts(random: &mut Random, stream: &[u8], count: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..count).map(|_| random.below(stream.len() + 1)).collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn the_law_holds_for_what_real_programs_write() {
    let seed = seed();
    let random = &mut Random::new(seed);
    let recordings = all();
    let cuts_each = cases(3000).div_ceil(recordings.len());
    for (name, stream) in &recordings {
        let mut whole = SETTING.terminal();
        feed_in_chunks(&mut whole, stream, random);
        let mut first = SETTING.terminal();
        let mut fed = 0;
        for cut in cuts(random, stream, cuts_each) {
            first.feed(&stream[fed..cut]);
            fed = cut;
            let mut second = SETTING.terminal();
            second.feed(&first.snapshot(usize::MAX));
            assert_eq!(first.diff(&second), None, "{name} at the cut {cut} (LAP_VT_SEED={seed})");
            second.feed(&stream[cut..]);
            assert_eq!(whole.diff(&second), None, "{name} at the end, cut {cut} (LAP_VT_SEED={seed})");
        }
    }
}

/// Panes are narrower and wider than what a program drew for, and change while it draws.
#[test]
fn snapshots_are_exact_at_other_sizes_and_after_resizes() {
    let seed = seed();
    let random = &mut Random::new(seed);
    for (name, stream) in all() {
        for cut in cuts(random, &stream, 8) {
            let size = |random: &mut Random| Size {
                cols: 1 + random.below(140) as u16,
                rows: 1 + random.below(50) as u16,
            };
            let start = Setting { size: size(random), ..SETTING };
            let mut first = start.terminal();
            first.feed(&stream[..cut]);
            first.resize(size(random));
            let after = Setting { size: first.size(), ..SETTING };
            let mut second = after.terminal();
            second.feed(&first.snapshot(usize::MAX));
            let rest = &stream[cut..(cut + 20_000).min(stream.len())];
            assert_eq!(first.diff(&second), None, "{name} {start:?} {after:?} {cut} (LAP_VT_SEED={seed})");
            first.feed(rest);
            second.feed(rest);
            assert_eq!(first.diff(&second), None, "{name} {start:?} {after:?} {cut} (LAP_VT_SEED={seed})");
        }
    }
}
