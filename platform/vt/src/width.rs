//! How many columns a character takes.
//!
//! Programs reckon with `wcwidth` of the C library they run on, and put the cursor where they believe it to be; so its
//! answers are the model's, whatever the Unicode standard or one terminal or another says. [`unicode_width`] has the
//! standard's; [`GLIBC`] is where glibc 2.36 has others.

use unicode_width::UnicodeWidthChar;

/// First and last character of a run, and its columns, in order.
const GLIBC: [(u32, u32, u8); 65] = [
    (0x00ad, 0x00ad, 1),
    (0x0605, 0x0605, 1),
    (0x070f, 0x070f, 1),
    (0x0890, 0x0891, 1),
    (0x08e2, 0x08e2, 1),
    (0x09be, 0x09be, 1),
    (0x09d7, 0x09d7, 1),
    (0x0b3e, 0x0b3e, 1),
    (0x0b57, 0x0b57, 1),
    (0x0bbe, 0x0bbe, 1),
    (0x0bd7, 0x0bd7, 1),
    (0x0cc0, 0x0cc0, 1),
    (0x0cc2, 0x0cc2, 1),
    (0x0cc7, 0x0cc8, 1),
    (0x0cca, 0x0ccb, 1),
    (0x0cd5, 0x0cd6, 1),
    (0x0d3e, 0x0d3e, 1),
    (0x0d4e, 0x0d4e, 1),
    (0x0d57, 0x0d57, 1),
    (0x0dcf, 0x0dcf, 1),
    (0x0ddf, 0x0ddf, 1),
    (0x1715, 0x1715, 1),
    (0x1734, 0x1734, 1),
    (0x17a4, 0x17a4, 1),
    (0x17d8, 0x17d8, 1),
    (0x1b35, 0x1b35, 1),
    (0x1b3b, 0x1b3b, 1),
    (0x1b3d, 0x1b3d, 1),
    (0x1b43, 0x1b44, 1),
    (0x1baa, 0x1baa, 1),
    (0x1bf2, 0x1bf3, 1),
    (0x2630, 0x2637, 1),
    (0x268a, 0x268f, 1),
    (0x2d7f, 0x2d7f, 0),
    (0x302e, 0x302f, 2),
    (0x3164, 0x3164, 2),
    (0x3248, 0x324f, 2),
    (0xa8fa, 0xa8fa, 1),
    (0xa953, 0xa953, 1),
    (0xa9c0, 0xa9c0, 1),
    (0xffa0, 0xffa0, 1),
    (0xfff9, 0xfffb, 0),
    (0x111c0, 0x111c0, 1),
    (0x111c2, 0x111c3, 1),
    (0x11235, 0x11235, 1),
    (0x1133e, 0x1133e, 1),
    (0x1134d, 0x1134d, 1),
    (0x11357, 0x11357, 1),
    (0x114b0, 0x114b0, 1),
    (0x114bd, 0x114bd, 1),
    (0x115af, 0x115af, 1),
    (0x116b6, 0x116b6, 1),
    (0x1171e, 0x1171e, 0),
    (0x11930, 0x11930, 1),
    (0x1193d, 0x1193d, 1),
    (0x1193f, 0x1193f, 1),
    (0x11941, 0x11941, 1),
    (0x11a84, 0x11a89, 1),
    (0x11d46, 0x11d46, 1),
    (0x13430, 0x13438, 0),
    (0x16ff0, 0x16ff1, 2),
    (0x1d165, 0x1d166, 1),
    (0x1d16d, 0x1d172, 1),
    (0x1d300, 0x1d356, 1),
    (0x1d360, 0x1d376, 1),
];

/// The columns of a character: 0, 1 or 2. One of 0 joins the one before it.
pub(crate) fn columns(c: char) -> usize {
    let code = u32::from(c);
    let at = GLIBC.partition_point(|run| run.1 < code);
    match GLIBC.get(at) {
        Some((first, _, columns)) if *first <= code => usize::from(*columns),
        _ => c.width().unwrap_or(0).min(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_nothing_that_is_so_anyway() {
        assert!(GLIBC.windows(2).all(|pair| pair[0].1 < pair[1].0));
        for (first, last, columns) in GLIBC {
            for c in (first..=last).filter_map(char::from_u32) {
                assert_ne!(c.width(), Some(usize::from(columns)), "{c:?}");
                assert_eq!(super::columns(c), usize::from(columns), "{c:?}");
            }
        }
    }

    #[test]
    fn every_character_has_at_most_two_columns() {
        let all = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        assert!(all.into_iter().all(|c| columns(c) <= 2));
        for (c, wide) in
            [('a', 1), ('漢', 2), ('\u{301}', 0), ('\u{ad}', 1), ('\u{17d8}', 1), ('\u{2630}', 1), ('ா', 1)]
        {
            assert_eq!(columns(c), wide, "{c:?}");
        }
    }
}
