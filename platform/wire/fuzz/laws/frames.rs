//! One WebSocket message of any bytes: frames or one error; what decodes encodes to the same bytes. Shared by the fuzz
//! target and by the test that tries its seeds again.

use lap_wire::frame::{BatchBuilder, frames};
use lap_wire::{Frame, FrameType};

/// Panics where that does not hold.
pub(crate) fn holds(message: &[u8]) {
    if let Ok(Some(frame)) = Frame::decode(message) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(again, message);
        assert!(frame.offset.checked_add(frame.payload.len() as u64).is_some());
    }
    let mut batch = BatchBuilder::default();
    let mut taken = Vec::new();
    for item in frames(message) {
        let Ok(frame) = item else { break };
        assert_ne!(frame.kind, FrameType::Batch);
        if batch.push(&frame) {
            taken.push(frame);
        }
    }
    // Packed again they are the same frames.
    if !batch.is_empty() {
        let packed = batch.take();
        let back: Vec<_> = frames(&packed).collect();
        assert!(back.into_iter().eq(taken.into_iter().map(Ok)));
    }
}
