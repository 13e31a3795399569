//! What the data path pays for framing and for the ring: `cargo bench -p lap-wire`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use lap_wire::frame::{BatchBuilder, Header, frames};
use lap_wire::limits::{KEEPER_RING, MAX_PAYLOAD};
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, Frame, FrameType, Ring};

fn main() {
    divan::main();
}

const CHANNEL: ChannelId = ChannelId(300);
const OFFSET: u64 = 123_456_789_012;
/// A keystroke's echo, a screen's redraw, a flood.
const SIZES: [usize; 3] = [1, 2_000, MAX_PAYLOAD];

#[divan::bench]
fn header(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Header::new(FrameType::Output, 0, black_box(CHANNEL), black_box(OFFSET)));
}

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![b'x'; size];
    let mut bytes = Vec::new();
    Frame::new(FrameType::Output, CHANNEL, OFFSET, &payload).encode(&mut bytes);
    bencher.bench(|| Frame::decode(black_box(&bytes)).is_ok());
}

/// Sixty-four acknowledgements and keystrokes in one message.
#[divan::bench]
fn batch_of_64(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(64u32)).bench(|| {
        let mut batch = BatchBuilder::default();
        for i in 0..64 {
            let _ = black_box(batch.push(&Frame::new(FrameType::Input, CHANNEL, OFFSET + i, b"x")));
        }
        let message = batch.take();
        frames(&message).filter(Result::is_ok).count()
    });
}

/// A megabyte of frames through the stream decoder, read 64 KiB at a time.
#[divan::bench(args = SIZES)]
fn stream_decoder(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![b'x'; size];
    let mut bytes = Vec::new();
    while bytes.len() < 1 << 20 {
        stream::encode(&Frame::new(FrameType::Output, CHANNEL, OFFSET, &payload), &mut bytes);
    }
    let mut decoder = StreamDecoder::new();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut count = 0;
        for read in bytes.chunks(64 * 1024) {
            decoder.space(64 * 1024)[..read.len()].copy_from_slice(read);
            decoder.filled(64 * 1024, read.len());
            while let Ok(Some(frame)) = decoder.next_frame() {
                count += frame.payload.len();
            }
        }
        count
    });
}

/// A full ring takes a read and gives it to one reader.
#[divan::bench(args = SIZES)]
fn ring_push_and_read(bencher: Bencher<'_, '_>, size: usize) {
    let bytes = vec![b'x'; size];
    let mut ring = Ring::new(KEEPER_RING);
    ring.push(&vec![b'x'; KEEPER_RING + 1_000]);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let from = ring.end();
        ring.push(black_box(&bytes));
        ring.read(from, size).map(|(a, b)| a.len() + b.len())
    });
}

/// From nothing to full, growing on the way.
#[divan::bench]
fn ring_filled_from_empty(bencher: Bencher<'_, '_>) {
    let bytes = vec![b'x'; 4_000];
    bencher.counter(BytesCount::new(KEEPER_RING)).bench(|| {
        let mut ring = Ring::new(KEEPER_RING);
        while ring.len() < KEEPER_RING - bytes.len() {
            ring.push(&bytes);
        }
        ring.end()
    });
}
