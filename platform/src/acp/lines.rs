//! Lines out of output that comes in pieces. One that is too long is passed over.

/// The longest line: a tool's output with a large file in it.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Lines {
    /// What has come of lines that are not given out, from `start` on.
    buffer: Vec<u8>,
    /// Bytes at the buffer's beginning that have been given out.
    start: usize,
    /// Where searching for a line's end goes on.
    searched: usize,
    /// The absolute offset of the buffer's first byte.
    offset: u64,
    /// Whether a line that is too long is being passed over.
    passing: bool,
}

impl Lines {
    /// Lines of a stream from this absolute offset on.
    #[must_use]
    pub fn at(offset: u64) -> Lines {
        Lines { buffer: Vec::new(), start: 0, searched: 0, offset, passing: false }
    }

    /// More of the stream. Of what comes twice, after a reconnect, the second is left out.
    pub fn push(&mut self, offset: u64, bytes: &[u8]) {
        let end = self.offset + self.buffer.len() as u64;
        let known = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.buffer.drain(..self.start);
        self.offset += self.start as u64;
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes.get(known..).unwrap_or_default());
    }

    /// The next whole line without its end. Empty ones are passed over.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.passing || self.buffer.len() - self.start > MAX_LINE {
                    self.passing = true;
                    self.start = self.buffer.len();
                }
                return None;
            };
            let (begin, end) = (self.start, self.searched + at);
            self.start = end + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.passing) || end - begin > MAX_LINE {
                continue;
            }
            if !self.buffer[begin..end].trim_ascii().is_empty() {
                return Some(self.buffer[begin..end].trim_ascii());
            }
        }
    }

    /// The absolute offset up to which everything was given out or passed over.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.offset + self.start as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| lines.next_line().map(<[u8]>::to_vec)).collect()
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_lines_are_the_same(
            stream in prop::collection::vec(prop::sample::select(b"ab\n\r {}".to_vec()), 0..200),
            cuts in prop::collection::vec(1usize..20, 0..40),
            again in 0usize..5,
        ) {
            let mut whole = Lines::at(7);
            whole.push(7, &stream);
            let expected = all(&mut whole);
            let (mut pieces, mut at, mut found) = (Lines::at(7), 0, Vec::new());
            for cut in cuts.into_iter().chain([200]) {
                let to = (at + cut).min(stream.len());
                // Some of it comes twice.
                let from = at.saturating_sub(again);
                pieces.push(7 + from as u64, &stream[from..to]);
                at = to;
                found.extend(all(&mut pieces));
                prop_assert!(pieces.given() <= 7 + at as u64);
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(pieces.given(), whole.given());
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_the_next_one_is_found() {
        let mut lines = Lines::at(0);
        let piece = vec![b'x'; 1024 * 1024];
        for n in 0..100 {
            lines.push(n * piece.len() as u64, &piece);
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.len() <= MAX_LINE + 2 * piece.len());
        }
        lines.push(100 * piece.len() as u64, b"yyy\n{}\n");
        assert_eq!(lines.next_line(), Some(b"{}".as_slice()));
        assert_eq!(lines.next_line(), None);
    }
}
