//! The last lines of what a program printed, as plain text, for reasons and details that people read.

/// Bytes looked at.
pub(super) const TAIL_BYTES: usize = 8 * 1024;
/// Lines shown of a program that failed.
const LINES: usize = 10;
/// The longest line shown, in characters.
const LINE_CHARS: usize = 200;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Takes in what was printed.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
    }

    /// Its last lines.
    pub(super) fn last_lines(&self) -> Vec<String> {
        last_lines(&self.bytes)
    }

    /// The line being printed now, or the last one: what a progress display shows.
    pub(super) fn current_line(&self) -> Option<String> {
        self.last_lines().pop()
    }
}

/// The last lines that have text, oldest first, without escape sequences. A carriage return begins a line again.
pub(super) fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = plain(bytes);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.trim_end_matches('\r').rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default()
        })
        .map(|line| line.trim_end().chars().take(LINE_CHARS).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.drain(..lines.len().saturating_sub(LINES));
    lines
}

/// Text without escape sequences (ECMA-48: CSI, strings such as OSC, two-byte ones) and other controls. Programs that
/// draw put the cursor where others print a space or begin a line: that counts as one.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => match chars.find(|c| ('@'..='~').contains(c)) {
                    Some('C') => out.push(' '),
                    Some('B' | 'E' | 'H' | 'd' | 'f') => out.push('\n'),
                    _ => {}
                },
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                Some('(' | ')' | '*' | '+' | '#' | ' ') => drop(chars.next()),
                _ => {}
            },
            '\n' | '\r' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_escape_sequences_and_progress_shows_its_last_state() {
        let bytes = b"\x1b]0;title\x07\x1b[1;31mred\x1b[0m\r\n\r\nReceiving 1%\rReceiving 99%\r\n\x1b(Bdone\x1bP1$r\x1b\\!";
        assert_eq!(last_lines(bytes), ["red", "Receiving 99%", "done!"]);
    }

    /// As Claude Code says that it has no connection: spaces and lines by moving the cursor.
    #[test]
    fn what_is_drawn_with_the_cursor_is_read_as_lines_and_words() {
        let bytes = b"\x1b[?25l\x1b[3;1HUnable\x1b[1Cto\x1b[1Cconnect\x1b[K\r\x1b[1BCheck\x1b[1Cyour\x1b[1Cnetwork\x1b[8;2H\x1b[?25h";
        assert_eq!(last_lines(bytes), ["Unable to connect", "Check your network"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut tail = Tail::default();
        for n in 0..5000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        assert!(tail.bytes.len() <= TAIL_BYTES);
        assert_eq!(tail.last_lines().len(), LINES);
        assert_eq!(tail.current_line().as_deref(), Some("line 4999"));
    }

    #[test]
    fn bytes_cut_anywhere_do_not_panic() {
        let bytes = "\u{1b}[38;5;1m\u{e9}\u{1b}]8;;http://x\u{1b}\\".as_bytes();
        for cut in 0..bytes.len() {
            let _ = (last_lines(&bytes[..cut]), last_lines(&bytes[cut..]));
        }
    }
}
