//! A byte stream of anything, cut in two ways: the same frames and the same end either way, within bounded memory.
//! Shared by the fuzz target and by the test that tries its seeds again.

use lap_wire::FrameError;
use lap_wire::limits::MAX_MESSAGE;
use lap_wire::stream::{MAX_PREFIX, StreamDecoder};

type Seen = (Vec<(u8, u8, u32, u64, Vec<u8>)>, Option<FrameError>);

fn read(bytes: &[u8], piece: usize) -> Seen {
    let (mut decoder, mut frames) = (StreamDecoder::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        decoder.space(piece.len() + 1)[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len() + 1, piece.len());
        loop {
            match decoder.next_frame() {
                Ok(Some(f)) => {
                    frames.push((f.kind as u8, f.flags, f.channel.0, f.offset, f.payload.to_vec()))
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(decoder.buffered() < MAX_MESSAGE + MAX_PREFIX);
    }
    (frames, None)
}

/// Panics where that does not hold.
pub(crate) fn holds(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first_chunk() else { return };
    let piece = usize::from(u16::from_le_bytes(*piece));
    assert_eq!(read(bytes, piece), read(bytes, bytes.len()));
}
