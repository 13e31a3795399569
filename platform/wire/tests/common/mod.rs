//! Generators the property tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use lap_wire::limits::{MAX_MESSAGE, MAX_OFFSET, MAX_PING};
use lap_wire::{ChannelId, Frame, FrameType};
use proptest::prelude::*;

/// A frame that owns its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OwnedFrame {
    pub(crate) kind: FrameType,
    pub(crate) flags: u8,
    pub(crate) channel: ChannelId,
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
}

impl OwnedFrame {
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame::new(self.kind, self.channel, self.offset, &self.payload).with_flags(self.flags)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.frame().encode(&mut out);
        out
    }
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(f: Frame<'_>) -> OwnedFrame {
        OwnedFrame {
            kind: f.kind,
            flags: f.flags,
            channel: f.channel,
            offset: f.offset,
            payload: f.payload.to_vec(),
        }
    }
}

/// Any frame but a batch; payloads mostly small, now and then as large as their type allows.
pub(crate) fn frame() -> impl Strategy<Value = OwnedFrame> {
    let kinds: Vec<FrameType> = FrameType::ALL.into_iter().filter(|k| *k != FrameType::Batch).collect();
    (prop::sample::select(kinds), any::<u8>(), any::<(u32, u64)>(), 0u32..64, size(), any::<u8>()).prop_map(
        |(kind, flags, (channel, offset), shift, size, fill)| {
            let most = if kind.max_payload() == MAX_MESSAGE { MAX_MESSAGE - 64 } else { kind.max_payload() };
            let payload: Vec<u8> = (0..size.min(most)).map(|i| fill.wrapping_add(i as u8)).collect();
            let offset = (offset >> shift).min(MAX_OFFSET - payload.len() as u64);
            OwnedFrame { kind, flags, channel: ChannelId(channel >> (shift % 32)), offset, payload }
        },
    )
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..=MAX_PING + 1, 3 => 0usize..300, 1 => 0usize..=MAX_MESSAGE]
}

/// Where to cut a stream of unknown length: the sizes of the pieces, over and over.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![4 => 1usize..8, 2 => 1usize..500, 1 => 1usize..100_000], 1..40)
}

/// `bytes` in pieces of these sizes.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    for &size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        out.push(piece);
        bytes = rest;
    }
    out
}
