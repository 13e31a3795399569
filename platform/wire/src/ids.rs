//! The protocol's numbers, each of a type of its own.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::MAX_OFFSET;

/// A channel on one connection, numbered by the side that opens it. 0 is the connection itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u32);

impl ChannelId {
    /// The connection itself: `hello`, `welcome`, `goaway`, calls to a keeper.
    pub const CONNECTION: ChannelId = ChannelId(0);
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a program's output: offsets of different epochs have nothing to do with each other.
/// Random, and written as 16 hex digits in JSON, where a number would lose its low bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        // `from_str_radix` alone would also take a sign, and one epoch has one spelling.
        if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(de::Error::custom("an epoch is 16 lower-case hex digits"));
        }
        u64::from_str_radix(&text, 16).map(Epoch).map_err(de::Error::custom)
    }
}

/// For fields that hold an absolute offset: refuses one over [`MAX_OFFSET`], so that adding lengths never overflows.
pub(crate) fn offset<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let offset = u64::deserialize(d)?;
    if offset > MAX_OFFSET {
        return Err(de::Error::custom("an offset is at most 2^53 - 1"));
    }
    Ok(offset)
}

/// The same for a field that may be left out.
pub(crate) fn optional_offset<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Offset(#[serde(deserialize_with = "offset")] u64);
    Ok(Option::<Offset>::deserialize(d)?.map(|Offset(offset)| offset))
}
