//! Frames on a byte stream: any cutting gives the same frames, within bounded memory and linear time.

mod common;

use common::{OwnedFrame, cuts, frame, pieces};
use lap_wire::limits::MAX_MESSAGE;
use lap_wire::stream::{self, StreamDecoder};
use lap_wire::{ChannelId, Frame, FrameError, FrameType};
use proptest::prelude::*;

/// One read of a busy connection.
const READ: usize = 64 * 1024;

type Outcome = (Vec<OwnedFrame>, Option<FrameError>);

/// Takes whole frames; says whether the stream can go on.
fn drain(decoder: &mut StreamDecoder, out: &mut Outcome) -> bool {
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => out.0.push(frame.into()),
            Ok(None) => return true,
            Err(error) => {
                out.1 = Some(error);
                return false;
            }
        }
    }
}

/// Reads a stream that arrives in pieces, by `push`.
fn by_push(bytes: &[u8], sizes: &[usize]) -> Outcome {
    let (mut decoder, mut out) = (StreamDecoder::new(), Outcome::default());
    for piece in pieces(bytes, sizes) {
        decoder.push(piece);
        if !drain(&mut decoder, &mut out) {
            break;
        }
    }
    out
}

/// The same by `space` and `filled`, asking for more than comes, and now and then reading nothing at all.
fn by_space(bytes: &[u8], sizes: &[usize]) -> Outcome {
    let (mut decoder, mut out) = (StreamDecoder::new(), Outcome::default());
    for (i, piece) in pieces(bytes, sizes).into_iter().enumerate() {
        if i % 3 == 0 {
            decoder.space(READ).fill(0xee);
            if i % 2 == 0 {
                decoder.filled(READ, 0);
            }
        }
        let want = piece.len() + i % 5;
        decoder.space(want)[..piece.len()].copy_from_slice(piece);
        decoder.filled(want, piece.len());
        if !drain(&mut decoder, &mut out) {
            break;
        }
    }
    out
}

fn write(frames: &[OwnedFrame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        stream::encode(&frame.frame(), &mut bytes);
    }
    bytes
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(list in prop::collection::vec(frame(), 0..30), sizes in cuts()) {
        let bytes = write(&list);
        prop_assert_eq!(by_push(&bytes, &sizes), (list.clone(), None));
        prop_assert_eq!(by_space(&bytes, &sizes), (list, None));
    }

    #[test]
    fn any_bytes_are_judged_the_same_however_they_are_cut(
        list in prop::collection::vec(frame(), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..80),
        sizes in cuts(),
    ) {
        let mut bytes = write(&list);
        bytes.extend(noise);
        let whole = by_push(&bytes, &[usize::MAX]);
        prop_assert_eq!(&by_push(&bytes, &sizes), &whole);
        prop_assert_eq!(&by_space(&bytes, &sizes), &whole);
        prop_assert_eq!(&by_push(&bytes, &[1]), &whole);
    }

    #[test]
    fn memory_is_bounded_by_two_messages_and_a_read(list in prop::collection::vec(frame(), 1..60), sizes in cuts()) {
        let bytes = write(&list);
        let mut decoder = StreamDecoder::new();
        for piece in pieces(&bytes, &sizes).into_iter().flat_map(|p| p.chunks(READ)) {
            decoder.push(piece);
            drain(&mut decoder, &mut Outcome::default());
            prop_assert!(decoder.buffered() < MAX_MESSAGE + stream::MAX_PREFIX);
            // Twice what is needed is a vector's own growth.
            prop_assert!(decoder.allocated() <= 2 * (2 * MAX_MESSAGE + READ), "{}", decoder.allocated());
        }
        prop_assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
    let mut decoder = StreamDecoder::new();
    decoder.push(&stream::prefix(MAX_MESSAGE).0);
    assert_eq!(decoder.next_frame(), Ok(None));
    let mut decoder = StreamDecoder::new();
    decoder.push(&[0x81, 0x80, 0x04]);
    assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge(MAX_MESSAGE + 1)));
    let mut decoder = StreamDecoder::new();
    decoder.push(&[0x80, 0x80, 0x80]);
    assert_eq!(decoder.next_frame(), Err(FrameError::BadVarint));
}

#[test]
fn a_batch_has_no_place_on_a_byte_stream() {
    let mut bytes = Vec::new();
    stream::encode(&Frame::new(FrameType::Batch, ChannelId::CONNECTION, 0, &[]), &mut bytes);
    assert_eq!(by_push(&bytes, &[1]), (vec![], Some(FrameError::NestedBatch)));
}

#[test]
fn unknown_ignorable_frames_are_passed_over() {
    let mut bytes = vec![3, 0x7e, 0x80, 0xff];
    stream::encode(&Frame::new(FrameType::Ack, ChannelId(1), 5, &[]), &mut bytes);
    bytes.extend([2, 0x7e, 0x80]);
    let (frames, error) = by_push(&bytes, &[1]);
    assert_eq!((frames.len(), error), (1, None));
}

#[test]
fn a_burst_is_given_back_and_a_quiet_decoder_can_be_emptied() {
    let mut decoder = StreamDecoder::new();
    for _ in 0..8 {
        let mut bytes = Vec::new();
        stream::encode(&Frame::new(FrameType::Output, ChannelId(1), 0, &[b'x'; 30_000]), &mut bytes);
        decoder.push(&bytes);
    }
    drain(&mut decoder, &mut Outcome::default());
    assert!(decoder.allocated() > MAX_MESSAGE);
    decoder.push(&[1]);
    assert!(decoder.allocated() <= 64, "{}", decoder.allocated());
    decoder.shrink();
    assert_eq!(decoder.buffered(), 1, "what is buffered is not lost");
}

#[test]
fn a_megabyte_of_small_frames_is_not_moved_for_each_of_them() {
    const FRAMES: u64 = 60_000;
    let mut one = Vec::new();
    stream::encode(&Frame::new(FrameType::Ack, ChannelId(1), 9, b"0123456789"), &mut one);
    let mut decoder = StreamDecoder::new();
    decoder.push(&one.repeat(FRAMES as usize));
    // A payload that does not lie behind the one before it was moved, and all that follows with it.
    let (mut moves, mut last) = (0, 0);
    for _ in 0..FRAMES {
        let at = decoder.next_frame().unwrap().unwrap().payload.as_ptr() as usize;
        moves += u32::from(at <= last);
        last = at;
        decoder.push(&one);
    }
    assert_eq!(decoder.buffered(), one.len() * FRAMES as usize);
    assert!(moves <= FRAMES.ilog2(), "{moves} moves");
}
