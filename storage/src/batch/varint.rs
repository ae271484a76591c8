//! Kafka's variable-length integers: seven bits a byte, low first, after a zigzag.

/// Longest encoding of a 32-bit number, in bytes.
pub(super) const VARINT_LEN_MAX: usize = 5;
/// Longest encoding of a 64-bit number, in bytes.
pub(super) const VARLONG_LEN_MAX: usize = 10;

/// Takes a 32-bit number off the front of `bytes`, or leaves `None` when it is cut off or too long.
#[inline]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = match take_short(bytes) {
        Some(raw) => raw,
        None => take(bytes, VARINT_LEN_MAX)? as u32,
    };
    Some(unzigzag(raw))
}

/// Takes a 64-bit number off the front of `bytes`, or leaves `None` when it is cut off or too long.
#[inline]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = match take_short(bytes) {
        Some(raw) => u64::from(raw),
        None => take(bytes, VARLONG_LEN_MAX)?,
    };
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn take_short(bytes: &mut &[u8]) -> Option<u32> {
    let (raw, len) = short_at(bytes, 0)?;
    *bytes = &bytes[len..];
    Some(raw)
}

/// A number of at most four bytes with at least four left, as it is encoded, and where it ends:
/// without a branch for each byte. Nearly all numbers of real records.
#[inline(always)]
pub(super) fn short_at(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let word = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let ends = !word & 0x8080_8080;
    if ends == 0 {
        return None;
    }
    // All bits up to the end of the first byte without the mark.
    let own = word & (ends ^ (ends - 1));
    let raw =
        own & 0x7f | (own & 0x7f00) >> 1 | (own & 0x007f_0000) >> 2 | (own & 0x7f00_0000) >> 3;
    Some((raw, at + ends.trailing_zeros() as usize / 8 + 1))
}

/// The number behind its zigzag.
#[inline(always)]
pub(super) const fn unzigzag(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

#[cold]
fn take(bytes: &mut &[u8], len_max: usize) -> Option<u64> {
    let mut raw = 0u64;
    for (at, byte) in bytes.iter().take(len_max).enumerate() {
        // Bits beyond the width fall off, as they do in Kafka's reader.
        raw |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(raw);
        }
    }
    None
}

/// Appends a 32-bit number.
pub(crate) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a 64-bit number.
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Bytes that [`put_i32`] appends for `value`.
pub(crate) const fn len_i32(value: i32) -> usize {
    len(((value << 1) ^ (value >> 31)) as u32 as u64)
}

/// Bytes that [`put_i64`] appends for `value`.
pub(crate) const fn len_i64(value: i64) -> usize {
    len(((value << 1) ^ (value >> 63)) as u64)
}

const fn len(raw: u64) -> usize {
    let bits = 64 - (raw | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(small in any::<i32>(), large in any::<i64>()) {
            let mut out = Vec::new();
            put_i32(&mut out, small);
            prop_assert_eq!(out.len(), len_i32(small));
            put_i64(&mut out, large);
            prop_assert_eq!(out.len(), len_i32(small) + len_i64(large));
            let mut bytes = &out[..];
            prop_assert_eq!(take_i32(&mut bytes), Some(small));
            prop_assert_eq!(take_i64(&mut bytes), Some(large));
            prop_assert!(bytes.is_empty());
        }

        /// The short way and the long way read the same, whatever follows.
        #[test]
        fn both_ways_agree(bytes in prop::collection::vec(any::<u8>(), 4..16)) {
            let (mut short, mut long) = (&bytes[..], &bytes[..]);
            if let Some(raw) = take_short(&mut short) {
                prop_assert_eq!(Some(u64::from(raw)), take(&mut long, VARLONG_LEN_MAX));
                prop_assert_eq!(short, long);
            } else {
                prop_assert!(bytes[..4].iter().all(|byte| byte & 0x80 != 0));
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_shortened(
            bytes in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let mut rest = &bytes[..];
            if take_i64(&mut rest).is_some() {
                prop_assert!(rest.len() < bytes.len() && bytes.len() - rest.len() <= 10);
            } else {
                prop_assert_eq!(rest.len(), bytes.len());
            }
        }
    }

    #[test]
    fn lengths_of_known_values() {
        // Zigzag as in Protocol Buffers: -1 becomes 1, 1 becomes 2, -64 still fits seven bits.
        for (value, encoded) in [(0, 0u8), (-1, 1), (1, 2), (-64, 0x7f), (63, 0x7e)] {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert_eq!(out, [encoded]);
        }
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x8f, 0][..]), None);
    }
}
