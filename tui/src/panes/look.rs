//! Looking back: scrollback, selection, search.

use lap_vt::{Point, Terminal};

use super::anchor::{Anchor, Lines};

/// Longest text searched for.
const MAX_QUERY: usize = 256;

/// A view of a terminal that is not simply its live screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Rows above the live screen's first that the view begins with.
    pub(super) scroll: usize,
    /// From where to where is selected, in the order of selecting.
    pub(super) selection: Option<(Point, Point)>,
    /// The cursor of the keyboard; nothing while only the mouse looks, and keys go to the program.
    pub(super) cursor: Option<Point>,
    /// What is searched for.
    pub(super) query: String,
    /// Whether the query is being typed.
    pub(super) editing: bool,
    /// What it looked at in a model that was replaced, while that is to be found again.
    sought: Option<Box<Sought>>,
}

/// What a view looks at, to be found again in another model of the terminal.
#[derive(Clone, Debug)]
struct Sought {
    top: Option<Anchor>,
    cursor: Option<Anchor>,
    selection: Option<(Anchor, Anchor)>,
}

fn oldest(terminal: &Terminal) -> i32 {
    -i32::try_from(terminal.scrollback_len()).unwrap_or(i32::MAX)
}

fn newest(terminal: &Terminal) -> i32 {
    i32::from(terminal.size().rows) - 1
}

impl Look {
    /// With a keyboard cursor, where the program's is.
    pub(super) fn with_keyboard(terminal: &Terminal) -> Look {
        let cursor = terminal.cursor();
        Look { cursor: Some(Point { line: i32::from(cursor.y), x: cursor.x }), ..Look::default() }
    }

    /// The line the view begins with.
    pub(super) fn top(&self) -> i32 {
        -i32::try_from(self.scroll).unwrap_or(i32::MAX)
    }

    /// Scrolls by rows; up is back in time.
    pub(super) fn scroll_by(&mut self, terminal: &Terminal, up: i32) {
        self.give_up();
        let limit = terminal.scrollback_len() as i64;
        self.scroll = (self.scroll as i64 + i64::from(up)).clamp(0, limit) as usize;
        if let Some(cursor) = &mut self.cursor {
            let (top, rows) = (-(self.scroll as i32), i32::from(terminal.size().rows));
            cursor.line = cursor.line.clamp(top, top + rows - 1);
        }
        self.drag_selection();
    }

    /// New rows have gone into the scrollback: what is looked at stays where it is.
    pub(super) fn follow(&mut self, terminal: &Terminal, rows: usize) {
        let by = i32::try_from(rows).unwrap_or(i32::MAX);
        if self.scroll > 0 || self.cursor.is_some() {
            self.scroll = self.scroll.saturating_add(rows).min(terminal.scrollback_len());
        }
        let oldest = oldest(terminal);
        // What is selected of rows that are gone is no longer selected; where all of it is gone, nothing is.
        self.selection = self.selection.and_then(|(anchor, head)| {
            let up = |point: Point| Point { line: point.line.saturating_sub(by), ..point };
            let (anchor, head) = (up(anchor), up(head));
            let kept = |point: Point| if point.line < oldest { Point { line: oldest, x: 0 } } else { point };
            (anchor.line.max(head.line) >= oldest).then(|| (kept(anchor), kept(head)))
        });
        if let Some(cursor) = &mut self.cursor {
            cursor.line = cursor.line.saturating_sub(by).max(oldest);
        }
    }

    /// The model is about to be replaced by another of the same terminal: what is looked at is taken down by its text.
    pub(super) fn hold(&mut self, terminal: &Terminal) {
        if self.sought.is_some() {
            return;
        }
        let lines = Lines::of(terminal);
        let of = |point| lines.anchor(point);
        self.sought = Some(Box::new(Sought {
            top: (self.scroll > 0).then(|| of(Point { line: self.top(), x: 0 })),
            cursor: self.cursor.map(of),
            selection: self.selection.map(|(from, to)| (of(from), of(to))),
        }));
    }

    /// Goes to the same text in the new model. False: what the view began with is not there; then it may come with the
    /// next one, until [`Look::give_up`].
    pub(super) fn settle(&mut self, terminal: &Terminal) -> bool {
        let Some(sought) = self.sought.take() else { return true };
        let lines = Lines::of(terminal);
        let find = |anchor: &Anchor| lines.find(anchor);
        let ends = sought.selection.as_ref();
        self.selection = ends.and_then(|(from, to)| Some((find(from)?, find(to)?)));
        if let Some(cursor) = sought.cursor.as_ref().and_then(find) {
            self.cursor = Some(cursor);
        }
        let Some(top) = sought.top.as_ref().map(find) else { return true };
        match top {
            Some(top) => self.scroll = usize::try_from(-top.line).unwrap_or(0),
            None => self.sought = Some(sought),
        }
        top.is_some()
    }

    /// What was looked at is nowhere any more.
    pub(super) fn give_up(&mut self) {
        self.sought = None;
    }

    /// Whether it still is what it was made for: scrollback may be gone, with the alternate screen for one.
    pub(super) fn clamp(&mut self, terminal: &Terminal) {
        self.scroll = self.scroll.min(terminal.scrollback_len());
        let (oldest, newest) = (oldest(terminal), newest(terminal));
        let last = terminal.size().cols.saturating_sub(1);
        let inside = |point: &mut Point| {
            point.line = point.line.clamp(oldest, newest);
            point.x = point.x.min(last);
        };
        self.cursor.iter_mut().for_each(inside);
        if let Some((anchor, head)) = &mut self.selection {
            inside(anchor);
            inside(head);
        }
    }

    /// Moves the keyboard's cursor and the view with it.
    pub(super) fn move_by(&mut self, terminal: &Terminal, lines: i32, columns: i32) {
        let Some(cursor) = &mut self.cursor else { return };
        let last = i32::from(terminal.size().cols) - 1;
        cursor.line = cursor.line.saturating_add(lines).clamp(oldest(terminal), newest(terminal));
        cursor.x = (i32::from(cursor.x) + columns).clamp(0, last) as u16;
        self.reveal(terminal);
    }

    /// Turns pages: the view moves and the cursor stays where it is in it, until there are no more pages to turn.
    pub(super) fn page_by(&mut self, terminal: &Terminal, lines: i32) {
        let Some(cursor) = self.cursor else { return };
        let (row, before) = (cursor.line - self.top(), self.scroll);
        self.scroll_by(terminal, -lines);
        let row = match lines {
            _ if self.scroll != before => row,
            ..0 => 0,
            _ => newest(terminal),
        };
        self.move_to(terminal, Point { line: self.top() + row, ..cursor });
    }

    /// Moves the keyboard's cursor to a place.
    pub(super) fn move_to(&mut self, terminal: &Terminal, point: Point) {
        self.cursor = Some(point);
        self.clamp(terminal);
        self.reveal(terminal);
    }

    fn reveal(&mut self, terminal: &Terminal) {
        let Some(cursor) = self.cursor else { return };
        let rows = i32::from(terminal.size().rows);
        let top = self.top().clamp(cursor.line.saturating_sub(rows - 1), cursor.line).min(0);
        self.scroll = top.unsigned_abs() as usize;
        self.drag_selection();
    }

    /// A selection made with the keyboard ends at its cursor.
    fn drag_selection(&mut self) {
        if let (Some((_, head)), Some(cursor)) = (&mut self.selection, self.cursor) {
            *head = cursor;
        }
    }

    /// Begins a selection at the keyboard's cursor, or gives it up.
    pub(super) fn toggle_selection(&mut self) {
        self.selection = match (self.selection, self.cursor) {
            (None, Some(cursor)) => Some((cursor, cursor)),
            _ => None,
        };
    }

    /// The selection from its first place to its last.
    pub(super) fn selected(&self) -> Option<(Point, Point)> {
        self.selection.map(|(a, b)| if a <= b { (a, b) } else { (b, a) })
    }

    /// The selected text.
    pub(super) fn text(&self, terminal: &Terminal) -> Option<String> {
        let (from, to) = self.selected()?;
        let mut text = terminal.text(from, to);
        // Past the end of the last line there is nothing, wherever the pointer was let go.
        let next = Point { x: to.x.saturating_add(1), ..to };
        let after = terminal.text(next, Point { x: terminal.size().cols, ..to });
        if after.trim().is_empty() {
            text.truncate(text.trim_end_matches(' ').len());
        }
        Some(text).filter(|text| !text.is_empty())
    }

    // Searching.

    /// One more character of the query.
    pub(super) fn push_query(&mut self, c: char) {
        if self.query.len() + c.len_utf8() <= MAX_QUERY {
            self.query.push(c);
        }
    }

    /// Goes to the next match, before the cursor in time or after it; false where there is none.
    pub(super) fn find(&mut self, terminal: &Terminal, back: bool) -> bool {
        let Some(from) = self.cursor else { return false };
        if self.query.is_empty() {
            return true;
        }
        let lines: Box<dyn Iterator<Item = i32>> = if back {
            Box::new((oldest(terminal)..=from.line).rev())
        } else {
            Box::new(from.line..=newest(terminal))
        };
        for line in lines {
            let mut columns = matches(terminal, line, &self.query).into_iter().map(|(start, _)| start);
            let found = match (back, line == from.line) {
                (true, true) => columns.rfind(|x| *x < from.x),
                (true, false) => columns.next_back(),
                (false, true) => columns.find(|x| *x > from.x),
                (false, false) => columns.next(),
            };
            if let Some(x) = found {
                self.move_to(terminal, Point { line, x });
                return true;
            }
        }
        false
    }
}

/// Where a line has the query, as first and last columns. Without capitals in it, capitals do not matter.
pub(super) fn matches(terminal: &Terminal, line: i32, query: &str) -> Vec<(u16, u16)> {
    let Some(row) = terminal.row(line) else { return Vec::new() };
    let exact = query.chars().any(char::is_uppercase);
    let fold = |c: char| if exact { c } else { c.to_lowercase().next().unwrap_or(c) };
    let wanted: Vec<char> = query.chars().map(fold).collect();
    let mut text = Vec::new();
    let mut cluster = String::new();
    for (x, cell) in row.cells().enumerate() {
        if cell.width == 0 {
            continue;
        }
        cluster.clear();
        cell.text.push_to(&mut cluster);
        let end = x as u16 + u16::from(cell.width) - 1;
        text.extend(cluster.chars().map(|c| (fold(c), x as u16, end)));
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(window) = text.get(at..at + wanted.len()) {
        if window.iter().map(|(c, ..)| *c).eq(wanted.iter().copied()) {
            let (first, last) = (window[0].1, window[wanted.len() - 1].2);
            found.push((first, last));
            at += wanted.len();
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use lap_vt::{Limits, Size};

    use super::*;

    fn terminal(text: &str) -> Terminal {
        let mut terminal = Terminal::new(Size { cols: 20, rows: 3 }, Limits::default());
        terminal.feed(text.as_bytes());
        terminal
    }

    fn lines(n: usize) -> String {
        (0..n).map(|i| format!("line {i}")).collect::<Vec<_>>().join("\r\n")
    }

    #[test]
    fn the_view_stays_on_its_text_while_output_comes() {
        let mut t = terminal(&lines(20));
        let mut look = Look::default();
        look.scroll_by(&t, 5);
        let text = |t: &Terminal, look: &Look| t.row(look.top()).map(|row| row.text());
        let before = text(&t, &look);
        let len = t.scrollback_len();
        t.feed(b"\r\nmore\r\nand more");
        look.follow(&t, t.scrollback_len() - len);
        assert_eq!(text(&t, &look), before);
        // Also where the scrollback is full, so that it grows no longer.
        let mut full = Terminal::new(Size { cols: 20, rows: 3 }, Limits { scrollback_bytes: 4000 });
        full.feed(lines(500).as_bytes());
        let (mut back, len) = (Look::default(), full.scrollback_len());
        back.scroll_by(&full, 9);
        let (before, pushed) = (text(&full, &back), full.rows_pushed());
        full.feed(b"\r\nmore\r\nand more");
        back.follow(&full, (full.rows_pushed() - pushed) as usize);
        assert!(full.scrollback_len() <= len);
        assert_eq!(text(&full, &back), before);
        look.scroll_by(&t, 1000);
        assert_eq!(text(&t, &look).as_deref(), Some("line 0"));
        look.scroll_by(&t, -1000);
        assert_eq!(look.scroll, 0);
    }

    #[test]
    fn what_is_selected_is_what_was_marked_or_nothing_once_it_is_gone() {
        let mut t = Terminal::new(Size { cols: 20, rows: 3 }, Limits { scrollback_bytes: 4000 });
        t.feed(lines(500).as_bytes());
        let len = t.scrollback_len() as i32;
        let of = |from: i32, to: i32| Some((Point { line: from, x: 2 }, Point { line: to, x: 9 }));
        let mut old = Look { selection: of(-len, -len + 1), ..Look::default() };
        let mut half = Look { selection: of(-len + 1, -len + 4), ..Look::default() };
        let mut kept = Look { selection: of(-3, -1), ..Look::default() };
        let before = [old.text(&t).unwrap(), half.text(&t).unwrap(), kept.text(&t).unwrap()];
        let pushed = t.rows_pushed();
        t.feed(b"\r\n1\r\n2\r\n3");
        let rows = (t.rows_pushed() - pushed) as usize;
        [&mut old, &mut half, &mut kept].into_iter().for_each(|look| look.follow(&t, rows));
        assert_eq!(old.text(&t), None);
        let half = half.text(&t).unwrap();
        assert!(before[1].ends_with(&half) && half.starts_with("line"), "{half:?} of {:?}", before[1]);
        assert_eq!(kept.text(&t), Some(before[2].clone()));
    }

    #[test]
    fn a_selection_gives_its_text_whichever_way_it_was_made() {
        let t = terminal("hello world\r\nsecond line\r\nthird");
        let (a, b) = (Point { line: 0, x: 6 }, Point { line: 1, x: 5 });
        for selection in [(a, b), (b, a)] {
            let look = Look { selection: Some(selection), ..Look::default() };
            assert_eq!(look.text(&t).as_deref(), Some("world\nsecond"));
        }
    }

    #[test]
    fn the_last_line_of_a_selection_ends_where_its_text_does() {
        let t = terminal("hello world\r\nsecond   \r\n");
        for (to, text) in [
            (Point { line: 1, x: 17 }, "world\nsecond"),
            (Point { line: 0, x: 19 }, "world"),
            (Point { line: 2, x: 9 }, "world\nsecond\n"),
        ] {
            let look = Look { selection: Some((Point { line: 0, x: 6 }, to)), ..Look::default() };
            assert_eq!(look.text(&t).map(|text| text.replace("second   ", "second")).as_deref(), Some(text));
        }
        let within = (Point { line: 0, x: 0 }, Point { line: 0, x: 5 });
        let look = Look { selection: Some(within), ..Look::default() };
        assert_eq!(look.text(&t).as_deref(), Some("hello "), "a blank before a word is one");
    }

    #[test]
    fn the_keyboard_selects_what_its_cursor_passes() {
        let t = terminal(&lines(10));
        let mut look = Look::with_keyboard(&t);
        look.move_to(&t, Point { line: 0, x: 0 });
        look.toggle_selection();
        look.move_by(&t, -1, 3);
        assert_eq!(look.text(&t).as_deref(), Some("e 6\nl"));
        assert_eq!(look.scroll, 1, "the view follows the cursor");
        look.toggle_selection();
        assert_eq!(look.text(&t), None);
    }

    #[test]
    fn search_goes_back_and_forth_and_wide_characters_keep_their_columns() {
        let t = terminal("漢字 Error one\r\nnothing\r\nerror error\r\nlast");
        let mut look = Look::with_keyboard(&t);
        look.query = "error".into();
        let mut found = Vec::new();
        while look.find(&t, true) {
            found.push(look.cursor.map(|c| (c.line, c.x)).unwrap());
        }
        assert_eq!(found, [(1, 6), (1, 0), (-1, 5)]);
        assert!(look.find(&t, false));
        assert_eq!(look.cursor, Some(Point { line: 1, x: 0 }));
        look.query = "Error".into();
        assert!(look.find(&t, true), "capitals matter once there is one");
        assert_eq!(matches(&t, -1, "字"), [(2, 3)]);
    }
}
