//! Large chunks of plain text are not printed in full; that must not show.

use lap_vt::{Limits, Size, Terminal};

use crate::grammar::Grammar;
use crate::random::{Random, cases, seed};

fn plain_text(random: &mut Random, cols: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let (tabs, lone_feeds) = (random.one_in(2), [0, 3, 9][random.below(3)]);
    let longest = [2, cols, cols * 2][random.below(3)];
    for _ in 0..random.below(400) {
        for _ in 0..random.below(longest) {
            text.push(b' ' + random.below(95) as u8);
            if tabs && random.one_in(6) {
                text.push(b'\t');
            }
            if random.one_in(100) {
                text.push(b'\r');
            }
        }
        let lone = random.below(10) < lone_feeds;
        text.extend_from_slice(if lone { b"\n" } else { b"\r\n" });
    }
    text
}

#[test]
fn a_flood_in_one_piece_is_the_same_as_byte_by_byte() {
    let seed = seed();
    for case in 0..cases(3000) {
        let random = &mut Random::new(seed.wrapping_add(case as u64));
        let (cols, rows) = (1 + random.below(24), 1 + random.below(6));
        let size = Size { cols: cols as u16, rows: rows as u16 };
        let limits = Limits { scrollback_bytes: [0, 100, 1000, 5000, 20_000][random.below(5)] };
        let (mut whole, mut bytewise) = (Terminal::new(size, limits), Terminal::new(size, limits));
        for _ in 0..2 {
            let mut before = Grammar { random, cols, rows }.stream("all", 10);
            if random.one_in(2) {
                // A screen full of something, and the cursor anywhere on it.
                let position =
                    format!("\x1bc\x1b#8\x1b[{};{}H", random.below(rows + 1), random.below(cols + 1));
                before.extend_from_slice(position.as_bytes());
            }
            let text = plain_text(random, cols);
            for stream in [before, text] {
                whole.feed(&stream);
                stream.iter().for_each(|byte| bytewise.feed(&[*byte]));
            }
            assert_eq!(whole.diff(&bytewise), None, "LAP_VT_SEED={}", seed.wrapping_add(case as u64));
        }
    }
}
