//! Hints in as many rows as they need: after the prefix one looks for a key, and the one that is cut off is it.

use unicode_width::UnicodeWidthStr;

/// The keys and what they do, of one row.
pub(crate) type HintRow<'a> = &'a [(String, &'static str)];

/// Divides hints into rows of that many columns, `gap` between two. A hint that is too wide has a row of its own.
pub(crate) fn in_rows(hints: HintRow<'_>, columns: usize, gap: usize) -> Vec<HintRow<'_>> {
    let mut rows = Vec::new();
    let (mut first, mut used) = (0, 0);
    for (at, (keys, doc)) in hints.iter().enumerate() {
        let wide = keys.width() + 1 + doc.width();
        if at > first && used + gap + wide > columns {
            rows.extend(hints.get(first..at));
            (first, used) = (at, wide);
        } else {
            used += wide + if at > first { gap } else { 0 };
        }
    }
    rows.extend(hints.get(first..).filter(|row| !row.is_empty()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_fits_and_nothing_is_left_out() {
        let hints: Vec<_> = ["a", "b", "c", "d"].map(|key| (key.to_owned(), "does")).into();
        let counts = |columns| in_rows(&hints, columns, 3).iter().map(|row| row.len()).collect::<Vec<_>>();
        assert_eq!(counts(33), [4]);
        assert_eq!(counts(32), [3, 1]);
        assert_eq!(counts(15), [2, 2]);
        assert_eq!(counts(2), [1, 1, 1, 1]);
        assert!(in_rows(&[], 80, 3).is_empty());
    }
}
