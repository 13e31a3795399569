//! Unsigned LEB128: seven bits a byte, least significant first, the high bit says that more follow.

/// Writes `value` to the front of `out` and returns the bytes used. `out` must hold them: 10 for 64 bits, 5 for 32.
pub(crate) fn encode(mut value: u64, out: &mut [u8]) -> usize {
    let mut n = 0;
    for byte in out.iter_mut() {
        *byte = (value & 0x7f) as u8;
        value >>= 7;
        n += 1;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    n
}

/// What reading a varint came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// The value and the bytes it took.
    Value(u64, usize),
    /// The bytes end before the varint does, and more of them could complete it.
    Incomplete,
    /// More bits than fit, or padded with zero bytes: one number has one spelling.
    Invalid,
}

/// Reads a varint of at most `max_bits` from the front of `bytes`. The verdict on a prefix never changes when more
/// bytes arrive, so a stream is judged the same however it was cut.
pub(crate) fn decode(bytes: &[u8], max_bits: u32) -> Decoded {
    let mut value = 0u64;
    let mut shift = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if u64::BITS - bits.leading_zeros() > max_bits - shift {
            return Decoded::Invalid;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && i > 0 { Decoded::Invalid } else { Decoded::Value(value, i + 1) };
        }
        shift += 7;
        if shift >= max_bits {
            return Decoded::Invalid;
        }
    }
    Decoded::Incomplete
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_LEN: usize = 10;

    fn bytes_of(value: u64) -> Vec<u8> {
        let mut out = [0; MAX_LEN];
        let n = encode(value, &mut out);
        out[..n].to_vec()
    }

    /// Numbers of every length, not only long ones.
    fn any_width() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    #[test]
    fn edges_of_each_length_round_trip() {
        for bits in 0..64 {
            for value in [(1u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let bytes = bytes_of(value);
                assert_eq!(decode(&bytes, 64), Decoded::Value(value, bytes.len()), "{value:#x}");
            }
        }
        assert_eq!(bytes_of(u64::MAX).len(), MAX_LEN);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_width(), tail: Vec<u8>) {
            let mut bytes = bytes_of(value);
            let n = bytes.len();
            bytes.extend(tail);
            prop_assert_eq!(decode(&bytes, 64), Decoded::Value(value, n));
        }

        #[test]
        fn one_number_has_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..12), max_bits in 1u32..=64) {
            if let Decoded::Value(value, n) = decode(&bytes, max_bits) {
                prop_assert_eq!(bytes_of(value), &bytes[..n]);
                prop_assert!(max_bits == 64 || value < 1 << max_bits);
            }
        }

        #[test]
        fn more_bytes_never_change_a_verdict(bytes in prop::collection::vec(any::<u8>(), 1..12), max_bits in 1u32..=64) {
            let whole = decode(&bytes, max_bits);
            for cut in 0..bytes.len() {
                let part = decode(&bytes[..cut], max_bits);
                prop_assert!(part == Decoded::Incomplete || part == whole);
            }
        }

        #[test]
        fn incomplete_means_that_some_byte_completes_it(bytes in prop::collection::vec(any::<u8>(), 0..12), max_bits in 1u32..=64) {
            if decode(&bytes, max_bits) == Decoded::Incomplete {
                let completed = [bytes.as_slice(), &[1]].concat();
                prop_assert!(matches!(decode(&completed, max_bits), Decoded::Value(..)));
            }
        }
    }
}
