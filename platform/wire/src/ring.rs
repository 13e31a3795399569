//! The last bytes of a stream, addressed by absolute offset.

/// Room taken when the first byte arrives; doubled as needed up to the ring's capacity.
const FIRST_ALLOCATION: usize = 4 * 1024;

/// Holds the bytes `start..end` of a stream, at most `capacity` of them: what is older falls out.
/// Allocates nothing until there is something to hold.
#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    capacity: usize,
    start: u64,
    end: u64,
    /// What the last `space` gave and no `commit` has used.
    granted: usize,
}

impl Ring {
    /// An empty ring at offset 0. `capacity` is rounded up to a power of two.
    #[must_use]
    pub fn new(capacity: usize) -> Ring {
        Ring::starting_at(capacity, 0)
    }

    /// An empty ring whose first byte will have the offset `start`.
    #[must_use]
    pub fn starting_at(capacity: usize, start: u64) -> Ring {
        let capacity = capacity.max(FIRST_ALLOCATION).next_power_of_two();
        Ring { bytes: Vec::new(), capacity, start, end: start, granted: 0 }
    }

    /// The offset of the oldest byte held.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The offset after the newest byte: how many bytes the stream has had so far.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The most it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Memory it takes now.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.bytes.len()
    }

    /// Appends; of more than the capacity only the end is kept.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if bytes.len() > self.capacity {
            let lost = bytes.len() - self.capacity;
            self.end += lost as u64;
            self.start = self.end;
            bytes = &bytes[lost..];
        }
        while !bytes.is_empty() {
            let room = self.space(bytes.len());
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.commit(n);
            bytes = &bytes[n..];
        }
    }

    /// Up to `want` bytes of contiguous room to read into, at least one: use the slice's length, which is shorter where
    /// the ring wraps. What stood there is forgotten at once, even if less is committed, so a ring that is read into
    /// `want` bytes at a time can be relied on for its capacity less `want`. [`Ring::commit`] makes what was written
    /// part of the stream.
    pub fn space(&mut self, want: usize) -> &mut [u8] {
        let want = want.clamp(1, self.capacity);
        if self.len() + want > self.bytes.len() && self.bytes.len() < self.capacity {
            self.grow(self.len() + want);
        }
        let size = self.bytes.len();
        let at = self.index(self.end);
        let n = want.min(size - at);
        let over = (self.len() + n).saturating_sub(size);
        self.start += over as u64;
        self.granted = n;
        &mut self.bytes[at..at + n]
    }

    /// The first `n` bytes of the last [`Ring::space`] are the stream's next; not more than it gave, and once.
    pub fn commit(&mut self, n: usize) {
        debug_assert!(n <= self.granted, "{n} bytes committed of {} given", self.granted);
        self.end += n.min(self.granted) as u64;
        self.granted = 0;
    }

    /// The bytes from `from` on, at most `max`, as they lie in memory. `None` where they are no longer, or not yet,
    /// here; two empty slices at the end.
    #[must_use]
    pub fn read(&self, from: u64, max: usize) -> Option<(&[u8], &[u8])> {
        if from < self.start || from > self.end {
            return None;
        }
        let n = ((self.end - from) as usize).min(max);
        if n == 0 {
            return Some((&[], &[]));
        }
        let at = self.index(from);
        let first = n.min(self.bytes.len() - at);
        Some((&self.bytes[at..at + first], &self.bytes[..n - first]))
    }

    /// Forgets what is before `offset`; an empty ring gives its memory back.
    pub fn release(&mut self, offset: u64) {
        self.granted = 0;
        self.start = self.start.max(offset.min(self.end));
        if self.is_empty() && self.bytes.len() > FIRST_ALLOCATION {
            self.bytes = Vec::new();
        }
    }

    /// Forgets everything and goes on at `offset`.
    pub fn restart(&mut self, offset: u64) {
        *self = Ring::starting_at(self.capacity, offset);
    }

    fn index(&self, offset: u64) -> usize {
        // Allocations are powers of two.
        (offset & (self.bytes.len() as u64 - 1)) as usize
    }

    fn grow(&mut self, need: usize) {
        let size = need.max(FIRST_ALLOCATION).next_power_of_two().min(self.capacity);
        let mut bytes = vec![0; size];
        if let Some((a, b)) = self.read(self.start, self.len()) {
            // Either part ends at, or begins at, a multiple of the old size: neither wraps in the new one.
            for (offset, part) in [(self.start, a), (self.start + a.len() as u64, b)] {
                let at = (offset & (size as u64 - 1)) as usize;
                bytes[at..at + part.len()].copy_from_slice(part);
            }
        }
        self.bytes = bytes;
    }
}
