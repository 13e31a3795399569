//! Quiet tables: a header, columns two spaces apart, no lines, cut to the terminal's width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: usize = 2;
/// A column that gives way is not cut below this.
const NARROWEST: usize = 8;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its header.
    pub(super) title: &'static str,
    /// Whether it is cut when the terminal is too narrow. The others are never.
    pub(super) gives_way: bool,
}

/// A column that is always whole.
pub(super) const fn whole(title: &'static str) -> Column {
    Column { title, gives_way: false }
}

/// A column that gives way in a narrow terminal.
pub(super) const fn gives_way(title: &'static str) -> Column {
    Column { title, gives_way: true }
}

/// The lines of a table, the header first. `width` is the terminal's, or none where nothing is cut.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let widths = widths(columns, rows, width);
    let header: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    std::iter::once(&header).chain(rows).map(|cells| line(cells, &widths)).collect()
}

fn widths(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.width()).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(clean(cell).width());
        }
    }
    let Some(room) = width else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
    // The widest that gives way gives a cell at a time, so that none is cut while a wider one is whole.
    while over > 0 {
        let candidates = columns
            .iter()
            .zip(&mut widths)
            .filter(|(column, width)| column.gives_way && **width > NARROWEST.max(column.title.width()));
        let Some((_, widest)) = candidates.max_by_key(|(_, width)| **width) else { break };
        *widest -= 1;
        over -= 1;
    }
    widths
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = cut(&clean(cell), *width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
    }
    line.trim_end().to_owned()
}

/// What a stranger has written (a title, a program's output) must not steer this terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [whole("NAME"), gives_way("DETAIL"), whole("AGE")];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["reviewer", "cloning https://example.com/a/long/path", "3m"]), row(["二", "-", "12d"])]
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        assert_eq!(
            lines(&COLUMNS, &rows(), None),
            [
                "NAME      DETAIL                                   AGE",
                "reviewer  cloning https://example.com/a/long/path  3m",
                "二        -                                        12d",
            ]
        );
    }

    #[test]
    fn in_a_narrow_terminal_what_gives_way_is_cut_and_nothing_else() {
        let lines = lines(&COLUMNS, &rows(), Some(30));
        assert_eq!(
            lines,
            [
                "NAME      DETAIL           AGE",
                "reviewer  cloning https:…  3m",
                "二        -                12d"
            ]
        );
        assert!(lines.iter().all(|line| line.width() <= 30));
        assert!(super::lines(&COLUMNS, &rows(), Some(1))[1].starts_with("reviewer  cloning…"));
    }

    #[test]
    fn what_strangers_write_does_not_steer_the_terminal() {
        let rows = [vec!["\u{1b}[2Jx\n".to_owned()]];
        assert_eq!(lines(&[whole("NAME")], &rows, None)[1], " [2Jx");
    }
}
