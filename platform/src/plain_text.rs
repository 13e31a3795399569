//! What a terminal printed, as plain lines: for people who read a log, and for those who look for what went wrong.
//!
//! Lines are what was written on the main screen, with overwriting within a line (progress bars) taken into account.
//! What full-screen programs draw on the alternate screen is a picture and no log; it is left out.

use std::collections::VecDeque;

use vte::{Params, Parser, Perform};

/// Text kept of one log; of a longer one the end.
pub const MAX_LOG_BYTES: usize = 8 * 1024 * 1024;
/// The longest line, in characters; a longer one is broken there.
const MAX_LINE_CHARS: usize = 16 * 1024;
const TAB: usize = 8;

/// Turns a terminal's output, cut anywhere, into lines.
pub struct PlainText {
    parser: Parser,
    lines: Lines,
}

impl Default for PlainText {
    fn default() -> PlainText {
        PlainText::new()
    }
}

impl PlainText {
    /// With nothing printed yet.
    #[must_use]
    pub fn new() -> PlainText {
        PlainText { parser: Parser::new(), lines: Lines::default() }
    }

    /// The next output.
    pub fn push(&mut self, output: &[u8]) {
        self.parser.advance(&mut self.lines, output);
    }

    /// What stands on the screen now, where it is not known how it came there: lines that were printed last are not
    /// printed again.
    pub fn screen(&mut self, screen: &[String]) {
        let mut last: Vec<String> = self.lines.done.iter().rev().take(screen.len()).rev().cloned().collect();
        let unfinished: String = self.lines.line.iter().collect();
        if !unfinished.trim_end().is_empty() {
            last.push(unfinished.trim_end().to_owned());
        }
        let known =
            (0..=screen.len()).rev().find(|known| screen.get(..*known).is_some_and(|s| last.ends_with(s)));
        let new = screen.get(known.unwrap_or(0)..).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        if !self.lines.line.is_empty() {
            self.lines.end_line();
        }
        self.push(new.join("\r\n").as_bytes());
    }

    /// The lines finished since this was last asked.
    pub fn take_lines(&mut self) -> VecDeque<String> {
        self.lines.bytes = 0;
        std::mem::take(&mut self.lines.done)
    }

    /// All lines, the one that is not finished included.
    #[must_use]
    pub fn into_lines(mut self) -> VecDeque<String> {
        if self.lines.line.iter().any(|c| *c != ' ') {
            self.lines.end_line();
        }
        // The empty part of a screen is not part of what was printed on it.
        while self.lines.done.back().is_some_and(String::is_empty) {
            self.lines.done.pop_back();
        }
        self.lines.done
    }
}

/// A whole screen, as a snapshot of it draws it, in lines; without the empty ones above and below.
#[must_use]
pub fn lines_of_screen(snapshot: &[u8]) -> Vec<String> {
    let mut screen = PlainText::new();
    screen.push(snapshot);
    let lines = Vec::from(screen.into_lines());
    let used = |line: &String| !line.is_empty();
    match (lines.iter().position(used), lines.iter().rposition(used)) {
        (Some(first), Some(last)) => lines.get(first..=last).unwrap_or_default().to_vec(),
        _ => Vec::new(),
    }
}

#[derive(Default)]
struct Lines {
    done: VecDeque<String>,
    bytes: usize,
    line: Vec<char>,
    column: usize,
    alternate: bool,
}

impl Lines {
    fn end_line(&mut self) {
        let line: String = self.line.drain(..).collect();
        let line = line.trim_end().to_owned();
        self.bytes += line.len() + 1;
        self.done.push_back(line);
        while self.bytes > MAX_LOG_BYTES {
            let Some(oldest) = self.done.pop_front() else { break };
            self.bytes -= oldest.len() + 1;
        }
        self.column = 0;
    }

    fn put(&mut self, c: char) {
        if self.column >= MAX_LINE_CHARS {
            self.end_line();
        }
        if self.line.len() <= self.column {
            self.line.resize(self.column + 1, ' ');
        }
        if let Some(cell) = self.line.get_mut(self.column) {
            *cell = c;
        }
        self.column += 1;
    }

    fn move_to(&mut self, column: usize) {
        self.column = column.min(MAX_LINE_CHARS);
    }

    fn erase_in_line(&mut self, what: u16) {
        match what {
            0 => self.line.truncate(self.column),
            1 => {
                let end = self.line.len().min(self.column + 1);
                self.line.iter_mut().take(end).for_each(|c| *c = ' ');
            }
            2 => self.line.clear(),
            _ => {}
        }
    }
}

/// The first parameter, or what it is when it is left out or 0.
fn first(params: &Params, default: u16) -> u16 {
    params.iter().next().and_then(|group| group.first()).copied().filter(|n| *n != 0).unwrap_or(default)
}

impl Perform for Lines {
    fn print(&mut self, c: char) {
        if !self.alternate {
            self.put(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if self.alternate {
            return;
        }
        match byte {
            b'\n' | 0x0b | 0x0c => self.end_line(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.move_to((self.column / TAB + 1) * TAB),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        let count = usize::from(first(params, 1));
        match (intermediates, action) {
            (b"?", 'h' | 'l') if params.iter().flatten().any(|mode| matches!(mode, 47 | 1047 | 1049)) => {
                self.alternate = action == 'h';
            }
            _ if self.alternate => {}
            ([], 'K') => self.erase_in_line(first(params, 0)),
            ([], 'C') => self.move_to(self.column.saturating_add(count)),
            ([], 'D') => self.move_to(self.column.saturating_sub(count)),
            ([], 'G' | '`') => self.move_to(count - 1),
            ([], 'P') => {
                let end = self.column.saturating_add(count).min(self.line.len());
                self.line.drain(self.column.min(end)..end);
            }
            // The cursor goes elsewhere on the screen: what comes next is not of this line.
            ([], 'A' | 'B' | 'E' | 'F' | 'H' | 'f' | 'd' | 'J') if self.line.iter().any(|c| *c != ' ') => {
                self.end_line();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(output: &str) -> Vec<String> {
        let mut text = PlainText::new();
        text.push(output.as_bytes());
        text.into_lines().into()
    }

    #[test]
    fn colours_and_titles_leave_no_trace() {
        assert_eq!(lines("\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\nplain\r\n"), ["red", "plain"]);
    }

    #[test]
    fn a_progress_bar_is_its_last_state() {
        assert_eq!(lines("10%\r 50%\r100%\x1b[K\r\ndone"), ["100%", "done"]);
        assert_eq!(lines("abcdef\r\x1b[3Cx\x1b[K\r\n"), ["abcx"]);
        assert_eq!(lines("abc\x08\x08X\r\n"), ["aXc"]);
    }

    #[test]
    fn what_a_full_screen_program_draws_is_left_out() {
        assert_eq!(lines("$ vim\r\n\x1b[?1049h~\r\n~\x1b[?1049l$ ls\r\n"), ["$ vim", "$ ls"]);
    }

    #[test]
    fn a_screen_adds_only_what_was_not_printed_before() {
        let screen = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut text = PlainText::new();
        text.push(b"a\r\nb\r\n$ ");
        text.screen(&screen(&["a", "b", "$"]));
        text.push(b"make");
        text.screen(&screen(&["b", "$ make", "built", "$"]));
        text.push(b" exit\r\n");
        text.screen(&screen(&["something", "else"]));
        assert_eq!(
            Vec::from(text.into_lines()),
            ["a", "b", "$ make", "built", "$ exit", "something", "else"]
        );
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let all = lines(&"x".repeat(MAX_LINE_CHARS * 3));
        assert_eq!(all.len(), 3);
        let long: String = "0123456789\n".repeat(MAX_LOG_BYTES / 10);
        let kept: usize = lines(&long).iter().map(|line| line.len() + 1).sum();
        assert!(kept <= MAX_LOG_BYTES, "{kept}");
    }

    proptest! {
        #[test]
        fn any_output_cut_anywhere_gives_the_same_lines(output in "\\PC{0,20}|[\\x00-\\x7f]{0,60}", cut in 0..60usize) {
            let cut = (0..=cut.min(output.len())).rev().find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            let (head, tail) = output.split_at(cut);
            let mut text = PlainText::new();
            text.push(head.as_bytes());
            text.push(tail.as_bytes());
            prop_assert_eq!(Vec::from(text.into_lines()), lines(&output));
        }
    }
}
