//! A place in a terminal's text that is found again in another model of it: after a resize, a skip or a reconnect a
//! snapshot takes the model's place, with other rows above it, lines broken elsewhere, and what was printed meanwhile.
//!
//! A place is told by the line it is in and the lines that follow, as they were before they were broken into rows.

use lap_vt::{Point, Terminal};

/// Lines from a place on that must agree, as far as there are so many.
const CONTEXT: usize = 12;

/// A place and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Anchor {
    /// The line it is in, and the next ones.
    lines: Vec<String>,
    /// Cells from the beginning of the line.
    offset: usize,
    /// Lines after it.
    after: usize,
}

/// The lines of a terminal, and where each begins.
pub(super) struct Lines {
    texts: Vec<String>,
    begins: Vec<i32>,
    cols: usize,
}

impl Lines {
    /// Of all there is, the scrollback included.
    pub(super) fn of(terminal: &Terminal) -> Lines {
        let cols = usize::from(terminal.size().cols).max(1);
        let oldest = -i32::try_from(terminal.scrollback_len()).unwrap_or(i32::MAX);
        let (mut texts, mut begins) = (Vec::<String>::new(), Vec::new());
        let mut goes_on = false;
        for line in oldest..i32::from(terminal.size().rows) {
            let Some(row) = terminal.row(line) else { continue };
            match texts.last_mut() {
                Some(text) if goes_on => text.push_str(&row.text()),
                _ => {
                    texts.push(row.text());
                    begins.push(line);
                }
            }
            goes_on = row.wrapped();
        }
        // Below the last text there is nothing yet.
        while texts.len() > 1 && texts.last().is_some_and(String::is_empty) {
            texts.pop();
            begins.pop();
        }
        Lines { texts, begins, cols }
    }

    /// The anchor of a place.
    pub(super) fn anchor(&self, at: Point) -> Anchor {
        let index = self.begins.partition_point(|begin| *begin <= at.line).saturating_sub(1);
        let begin = self.begins.get(index).copied().unwrap_or(0);
        let rows = usize::try_from(at.line - begin).unwrap_or(0);
        let end = self.texts.len().min(index + CONTEXT);
        Anchor {
            lines: self.texts.get(index..end).unwrap_or_default().to_vec(),
            offset: rows * self.cols + usize::from(at.x),
            after: self.texts.len().saturating_sub(index + 1),
        }
    }

    /// Where an anchor's text is here; `None`: nowhere.
    pub(super) fn find(&self, anchor: &Anchor) -> Option<Point> {
        // The last line may have been longer by now, and lines below it have come.
        let agrees = |index: &usize| {
            let here = self.texts.get(*index..).unwrap_or_default();
            let whole = anchor.lines.len().saturating_sub(1);
            here.len() >= anchor.lines.len()
                && here.iter().zip(&anchor.lines).take(whole).all(|(here, there)| here == there)
                && here
                    .get(whole)
                    .zip(anchor.lines.last())
                    .is_some_and(|(here, there)| here.starts_with(there))
        };
        // Of several like it, the one that is as far from the end as it was, or a little farther.
        let expected = self.texts.len().checked_sub(anchor.after + 1);
        let before = (0..=expected.unwrap_or(0)).rev().filter(|_| expected.is_some());
        let after = expected.map_or(0, |at| at + 1)..self.texts.len();
        let index = before.chain(after).find(agrees)?;
        let (row, x) = (anchor.offset / self.cols, anchor.offset % self.cols);
        let line = self.begins.get(index)?.saturating_add(i32::try_from(row).ok()?);
        Some(Point { line, x: u16::try_from(x).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use lap_vt::{Limits, Size};

    use super::*;

    fn terminal(cols: u16, text: &str) -> Terminal {
        let mut terminal = Terminal::new(Size { cols, rows: 4 }, Limits::default());
        terminal.feed(text.as_bytes());
        terminal
    }

    fn story(n: usize) -> String {
        (0..n).map(|i| format!("{i}: {}\r\n", "word ".repeat(i % 7))).collect()
    }

    #[test]
    fn a_place_is_found_at_another_width_with_more_output_and_less_history() {
        let old = terminal(30, &story(200));
        let lines = Lines::of(&old);
        for (cols, more, bytes) in [(30, 0, 1 << 20), (17, 0, 1 << 20), (80, 40, 1 << 20), (11, 300, 20_000)]
        {
            let mut new = Terminal::new(Size { cols, rows: 4 }, Limits { scrollback_bytes: bytes });
            new.feed(story(200 + more).as_bytes());
            let found = Lines::of(&new);
            let mut seen = 0;
            for line in -(old.scrollback_len() as i32)..4 {
                let at = Point { line, x: 3 };
                let text = old.row(line).unwrap().text();
                let Some(point) = found.find(&lines.anchor(at)) else { continue };
                seen += 1;
                let here = new.row(point.line).unwrap();
                let letter = |text: &str, x: u16| text.chars().nth(usize::from(x)).unwrap_or(' ');
                assert_eq!(letter(&here.text(), point.x), letter(&text, 3), "{cols}: {text:?}");
            }
            assert!(bytes == 20_000 || seen >= old.scrollback_len(), "{cols}: {seen} found");
        }
    }

    #[test]
    fn of_equal_lines_the_one_as_far_from_the_end_is_meant() {
        let same = "same\r\n".repeat(100);
        let (old, new) = (terminal(20, &same), terminal(20, &(same.clone() + "more\r\n")));
        let at = Point { line: -50, x: 1 };
        let found = Lines::of(&new).find(&Lines::of(&old).anchor(at)).unwrap();
        assert!((-51..=-50).contains(&found.line), "{found:?}");
    }

    #[test]
    fn text_that_is_gone_is_not_found() {
        let (old, new) = (terminal(20, &story(50)), terminal(20, "nothing like it\r\n"));
        assert_eq!(Lines::of(&new).find(&Lines::of(&old).anchor(Point { line: -20, x: 0 })), None);
    }

    #[test]
    fn a_line_that_was_being_printed_is_found_when_it_has_grown() {
        let (old, new) = (terminal(20, "one\r\ntwo\r\nthr"), terminal(9, "one\r\ntwo\r\nthree\r\nfour"));
        let at = Point { line: 2, x: 2 };
        assert_eq!(Lines::of(&new).find(&Lines::of(&old).anchor(at)), Some(at));
    }
}
