//! The terminal as others see it.

use crate::colors::DefaultColors;
use crate::events::Event;
use crate::limits::{Limits, Size};
use crate::model::Model;
use crate::stream::Stream;

/// A terminal: bytes in, state and bytes out. Deterministic: the same bytes, however they are cut into chunks,
/// make the same terminal.
pub struct Terminal {
    model: Model,
    stream: Stream,
    generation: u64,
}

impl Terminal {
    /// A terminal as after a reset. A size beyond what [`Size`] allows is brought inside.
    pub fn new(size: Size, limits: Limits) -> Terminal {
        Terminal { model: Model::new(size.clamped(), &limits), stream: Stream::default(), generation: 0 }
    }

    /// What the program has written, or a [`Terminal::snapshot`]. Chunks of any size, cut anywhere; large ones
    /// of plain text are cheapest, since only their end can matter.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.generation += 1;
            self.stream.feed(&mut self.model, bytes);
        }
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        Size { cols: self.model.cols as u16, rows: self.model.rows as u16 }
    }

    /// Takes a new size. The same as the old one changes nothing.
    pub fn resize(&mut self, size: Size) {
        let size = size.clamped();
        if size != self.size() {
            self.generation += 1;
            self.model.resize(size);
        }
    }

    /// The stream that turns any terminal of this size into this one: a reset, then the rows of the scrollback
    /// (the newest that count at most `scrollback_bytes`), the screens, the modes and all else, and at last the
    /// bytes of the sequence that is still open. What follows in the program's output continues it exactly.
    ///
    /// It is for a fresh terminal: one in the middle of a string would take the reset for the string's end.
    pub fn snapshot(&self, scrollback_bytes: usize) -> Vec<u8> {
        let mut bytes = self.model.snapshot(scrollback_bytes).into_bytes();
        bytes.extend_from_slice(self.stream.tail());
        bytes
    }

    /// Takes what the output asked of the world since the last call. Events nobody takes are dropped when the
    /// queue is full.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.model.host.events.drain()
    }

    /// Whether queries are answered, by [`Event::Reply`]. On at first; off where another terminal answers.
    pub fn set_replies(&mut self, on: bool) {
        self.model.host.replies = on;
    }

    /// The colours that queries are answered with where the program has set none.
    pub fn set_default_colors(&mut self, colors: DefaultColors) {
        self.model.host.default_colors = colors;
    }

    /// A number that changes whenever something visible may have.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes held, as far as a program's output can make them grow.
    pub fn memory(&self) -> usize {
        self.model.memory() + self.stream.memory()
    }

    /// The first difference between the full states of two terminals, in words: for tests.
    pub fn diff(&self, other: &Terminal) -> Option<String> {
        if self.stream.tail() != other.stream.tail() {
            let (a, b) = (self.stream.tail().escape_ascii(), other.stream.tail().escape_ascii());
            return Some(format!("tail: \"{a}\" != \"{b}\""));
        }
        self.model.diff(&other.model)
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }
}
