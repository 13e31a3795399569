//! A byte stream of anything, cut in two ways: the same frames and the same end either way, within bounded memory.
//! `cargo +nightly fuzz run stream` in `platform/wire`.
#![no_main]

use lap_wire::FrameError;
use lap_wire::limits::MAX_MESSAGE;
use lap_wire::stream::{MAX_PREFIX, StreamDecoder};
use libfuzzer_sys::fuzz_target;

type Seen = (Vec<(u8, u8, u32, u64, Vec<u8>)>, Option<FrameError>);

fn read(bytes: &[u8], piece: usize) -> Seen {
    let (mut decoder, mut frames) = (StreamDecoder::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        decoder.space(piece.len() + 1)[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len() + 1, piece.len());
        loop {
            match decoder.next_frame() {
                Ok(Some(f)) => frames.push((f.kind as u8, f.flags, f.channel.0, f.offset, f.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(decoder.buffered() < MAX_MESSAGE + MAX_PREFIX);
    }
    (frames, None)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (piece, bytes) = input;
    assert_eq!(read(bytes, usize::from(piece)), read(bytes, bytes.len()));
});
