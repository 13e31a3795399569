//! Any bytes, cut and resized anywhere: nothing panics, nothing grows without bound, and the law holds on both
//! sides of every resize. Shared by the fuzz target and by the test that tries its seeds again.

use lap_vt::{Limits, Size, Terminal};

/// How the input is read: what to set up, and then pieces of stream, each with what to do after it.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn piece(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(piece)
    }

    fn size(&mut self) -> Option<Size> {
        Some(Size { cols: u16::from(self.byte()? % 48) + 1, rows: u16::from(self.byte()? % 16) + 1 })
    }
}

/// Panics where the law is broken.
pub(crate) fn holds(data: &[u8]) {
    let _ = run(Input(data));
}

fn run(mut input: Input<'_>) -> Option<()> {
    let size = input.size()?;
    let limits = Limits { scrollback_bytes: [0, 200, 2000, 1 << 20][usize::from(input.byte()? % 4)] };
    let mut original = Terminal::new(size, limits);
    // What a snapshot made of the original some pieces ago has become since.
    let mut replica: Option<Terminal> = None;
    while let Some(action) = input.byte() {
        let piece = input.piece()?;
        original.feed(piece);
        if let Some(replica) = &mut replica {
            piece.chunks(usize::from(action % 7) + 1).for_each(|chunk| replica.feed(chunk));
            assert_eq!(original.diff(replica), None);
        }
        match action % 4 {
            0 => {
                let mut fresh = Terminal::new(original.size(), limits);
                fresh.feed(&original.snapshot(usize::MAX));
                assert_eq!(original.diff(&fresh), None);
                replica = Some(fresh);
            }
            1 => {
                original.resize(input.size()?);
                replica = None;
            }
            _ => original.events().for_each(drop),
        }
        assert!(original.memory() < 4 * limits.scrollback_bytes + (3 << 20));
    }
    Some(())
}
