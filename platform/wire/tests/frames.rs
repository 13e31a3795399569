//! Frames and WebSocket messages: what is written is read, and what is not a frame is refused with its reason.

mod common;

use common::{OwnedFrame, frame};
use lap_wire::frame::{BatchBuilder, flags, frames};
use lap_wire::limits::{MAX_HEADER, MAX_MESSAGE, MAX_OFFSET, MAX_PAYLOAD, MAX_PING};
use lap_wire::{ChannelId, Frame, FrameError, FrameType};
use proptest::prelude::*;

const CHANNEL: ChannelId = ChannelId(7);

/// All frames of one message, or its first error.
fn read(message: &[u8]) -> Result<Vec<OwnedFrame>, FrameError> {
    frames(message).map(|f| f.map(OwnedFrame::from)).collect()
}

/// Packs frames greedily into messages, as a sender does.
fn pack(frames: &[OwnedFrame]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut batch = BatchBuilder::default();
    for frame in frames {
        if !batch.push(&frame.frame()) {
            messages.push(batch.take());
            assert!(batch.push(&frame.frame()), "an empty builder takes every frame");
        }
    }
    if !batch.is_empty() {
        messages.push(batch.take());
    }
    messages
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(frame in frame()) {
        let bytes = frame.bytes();
        prop_assert_eq!(Frame::decode(&bytes).map(|f| f.map(OwnedFrame::from)), Ok(Some(frame.clone())));
        prop_assert_eq!(read(&bytes), Ok(vec![frame.clone()]));
        prop_assert_eq!(frame.frame().encoded_len(), bytes.len());
        prop_assert!(frame.frame().header().as_bytes().len() <= MAX_HEADER);
    }

    #[test]
    fn batches_keep_every_frame_and_their_order(list in prop::collection::vec(frame(), 0..60)) {
        let messages = pack(&list);
        let mut back = Vec::new();
        for message in &messages {
            prop_assert!(message.len() <= MAX_MESSAGE);
            back.extend(read(message).unwrap());
        }
        prop_assert_eq!(back, list);
    }

    #[test]
    fn what_decodes_is_spelled_the_only_way(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(Some(frame)) = Frame::decode(&bytes) {
            prop_assert_eq!(OwnedFrame::from(frame).bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_end_in_frames_or_one_error(mut bytes in prop::collection::vec(any::<u8>(), 0..400), batch: bool) {
        if batch {
            bytes.splice(..0, [FrameType::Batch as u8, 0, 0, 0]);
        }
        let items: Vec<_> = frames(&bytes).take(1_000).collect();
        prop_assert!(items.len() < 1_000);
        let errors = items.iter().filter(|i| i.is_err()).count();
        prop_assert!(errors == 0 || (errors == 1 && items.last().unwrap().is_err()));
    }

    #[test]
    fn a_header_cut_short_is_truncated(frame in frame(), cut in 0usize..MAX_HEADER) {
        let header = frame.frame().header();
        let header = header.as_bytes();
        if cut < header.len() {
            prop_assert_eq!(Frame::decode(&header[..cut]), Err(FrameError::Truncated));
        }
    }
}

#[test]
fn payloads_are_refused_over_their_types_limit_and_taken_at_it() {
    for (kind, most) in [
        (FrameType::Output, MAX_PAYLOAD),
        (FrameType::Input, MAX_PAYLOAD),
        (FrameType::Snapshot, MAX_PAYLOAD),
        (FrameType::Ping, MAX_PING),
        (FrameType::Pong, MAX_PING),
    ] {
        let payload = vec![b'x'; most + 1];
        let mut bytes = Vec::new();
        Frame::new(kind, CHANNEL, 0, &payload).encode(&mut bytes);
        assert_eq!(Frame::decode(&bytes), Err(FrameError::TooLarge(most + 1)), "{kind:?}");
        assert!(Frame::decode(&bytes[..bytes.len() - 1]).unwrap().is_some(), "{kind:?}");
    }
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_is_looked_at() {
    let mut bytes = vec![FrameType::Control as u8, 0, 0, 0];
    bytes.resize(MAX_MESSAGE, b' ');
    assert!(Frame::decode(&bytes).is_ok());
    bytes.push(b' ');
    assert_eq!(Frame::decode(&bytes), Err(FrameError::TooLarge(MAX_MESSAGE + 1)));
    assert_eq!(read(&bytes), Err(FrameError::TooLarge(MAX_MESSAGE + 1)));
}

#[test]
fn an_offset_that_would_pass_the_end_of_numbers_is_refused() {
    for (offset, payload, ok) in
        [(MAX_OFFSET, 0, true), (MAX_OFFSET, 1, false), (MAX_OFFSET - 9, 9, true), (u64::MAX, 0, false)]
    {
        let payload = vec![0; payload];
        let mut bytes = Vec::new();
        Frame::new(FrameType::Output, CHANNEL, offset, &payload).encode(&mut bytes);
        assert_eq!(Frame::decode(&bytes).is_ok(), ok, "{offset} + {}", payload.len());
    }
}

#[test]
fn an_unknown_type_is_skipped_only_where_it_says_so() {
    assert_eq!(Frame::decode(&[0x7e, 0, 1, 0]), Err(FrameError::UnknownType(0x7e)));
    // What follows the flags of an ignorable frame is none of this side's business.
    assert_eq!(Frame::decode(&[0x7e, flags::IGNORABLE]), Ok(None));
    assert_eq!(read(&[0x7e, flags::IGNORABLE, 0xff]), Ok(vec![]));
    // In a batch the frames around it are still read.
    let message = [0x0f, 0, 0, 0, 4, 0x05, 0, 1, 9, 3, 0x7e, 0x80, 0xff, 4, 0x05, 0, 2, 9];
    let channels: Vec<u32> = read(&message).unwrap().iter().map(|f| f.channel.0).collect();
    assert_eq!(channels, [1, 2]);
}

#[test]
fn malformed_messages_are_refused_with_their_reason() {
    for (bytes, error) in [
        (&[][..], FrameError::Truncated),
        (&[0x02], FrameError::Truncated),
        // A channel padded with a zero byte; one of 33 bits; an offset of more than 64.
        (&[0x02, 0, 0x81, 0x00, 0], FrameError::BadVarint),
        (&[0x02, 0, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], FrameError::BadVarint),
        (&[0x02, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], FrameError::BadVarint),
        // A batch: in a batch; with an item longer than what is left; with an empty item; with a prefix cut short.
        (&[0x0f, 0, 0, 0, 4, 0x0f, 0, 0, 0], FrameError::NestedBatch),
        (&[0x0f, 0, 0, 0, 9, 0x05, 0, 1, 9], FrameError::Truncated),
        (&[0x0f, 0, 0, 0, 0], FrameError::Truncated),
        (&[0x0f, 0, 0, 0, 0x84], FrameError::Truncated),
    ] {
        assert_eq!(read(bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn an_empty_batch_holds_nothing() {
    assert_eq!(read(&[0x0f, 0, 0, 0]), Ok(vec![]));
}

#[test]
fn frames_of_a_batch_before_its_first_error_are_still_read() {
    let items: Vec<_> =
        frames(&[0x0f, 0, 0, 0, 4, 0x05, 0, 1, 9, 4, 0x7e, 0, 0, 0, 4, 0x05, 0, 1, 9]).collect();
    assert!(matches!(items[..], [Ok(_), Err(FrameError::UnknownType(0x7e))]), "{items:?}");
}

#[test]
fn a_batch_is_filled_to_the_limit_and_not_beyond() {
    let payload = vec![b'x'; MAX_PAYLOAD];
    let full = Frame::new(FrameType::Output, CHANNEL, 1 << 40, &payload);
    let small = Frame::new(FrameType::Ack, CHANNEL, 1, &[]);
    let mut batch = BatchBuilder::default();
    assert!(batch.push(&full));
    assert!(!batch.push(&full), "two full frames and their headers are over the limit");
    let mut n = 1;
    while batch.push(&small) {
        n += 1;
    }
    let message = batch.take();
    assert!(message.len() <= MAX_MESSAGE && message.len() + 30 > MAX_MESSAGE, "{}", message.len());
    assert_eq!(read(&message).unwrap().len(), n);
    assert!(batch.is_empty());
}
