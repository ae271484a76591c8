//! Snappy as Kafka's clients write it: in the framing of snappy-java ("xerial"), or one raw block.

use super::compression::InflateError;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

/// What a stream in snappy-java's framing begins with; a version and a compatible version follow.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LEN: usize = 16;
/// Input bytes of one block, as snappy-java writes it.
const BLOCK_LEN: usize = 32 * 1024;
/// A snappy copy of three bytes yields at most 64; nothing expands more.
const EXPANSION_MAX: usize = 22;

/// Inflates framed blocks, or one raw block when the framing's magic is missing.
pub(super) fn inflate(area: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    if !area.starts_with(&MAGIC) {
        inflate_block(area, bytes_max, &mut out)?;
        return Ok(out);
    }
    let mut rest = area.get(HEADER_LEN..).ok_or(InflateError::Broken)?;
    while !rest.is_empty() {
        if rest.starts_with(&MAGIC) {
            // Streams may be concatenated, headers and all.
            rest = rest.get(HEADER_LEN..).ok_or(InflateError::Broken)?;
            continue;
        }
        let (len, after) = rest.split_first_chunk::<4>().ok_or(InflateError::Broken)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| InflateError::Broken)?;
        let (block, after) = after.split_at_checked(len).ok_or(InflateError::Broken)?;
        inflate_block(block, bytes_max, &mut out)?;
        rest = after;
    }
    Ok(out)
}

fn inflate_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let len = decompress_len(block).map_err(|_| InflateError::Broken)?;
    // The declared length is believed only as far as the bytes that are there could expand.
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(InflateError::Broken);
    }
    if len > bytes_max.saturating_sub(out.len()) {
        return Err(InflateError::TooLarge);
    }
    let start = out.len();
    out.resize(start + len, 0);
    let written = Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|_| InflateError::Broken)?;
    if written == len {
        Ok(())
    } else {
        Err(InflateError::Broken)
    }
}

/// Compresses in snappy-java's framing, which every client reads.
pub(super) fn deflate(area: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + area.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = Encoder::new();
    for block in area.chunks(BLOCK_LEN) {
        let start = out.len();
        out.resize(start + 4 + max_compress_len(block.len()), 0);
        let len = encoder
            .compress(block, &mut out[start + 4..])
            .expect("the output has room for the longest encoding of a block");
        out[start..start + 4].copy_from_slice(&(len as i32).to_be_bytes());
        out.truncate(start + 4 + len);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn framed_raw_and_concatenated_streams_inflate(
            word in prop::collection::vec(any::<u8>(), 1..50),
            times in 0usize..3000,
            cut in any::<prop::sample::Index>(),
        ) {
            let area = word.repeat(times);
            let framed = deflate(&area);
            prop_assert_eq!(inflate(&framed, area.len()), Ok(area.clone()));
            let raw = Encoder::new().compress_vec(&area).expect("small");
            prop_assert_eq!(inflate(&raw, area.len()), Ok(area.clone()));
            let twice = [&framed[..], &framed[..]].concat();
            prop_assert_eq!(inflate(&twice, 2 * area.len()), Ok(area.repeat(2)));
            if let Some(less) = area.len().checked_sub(1) {
                prop_assert_eq!(inflate(&framed, less), Err(InflateError::TooLarge));
                prop_assert_eq!(inflate(&raw, less), Err(InflateError::TooLarge));
            }
            // A cut between blocks cannot be seen here; the missing records are.
            let cut = inflate(&framed[..cut.index(framed.len())], area.len());
            prop_assert!(cut.is_err() || cut.is_ok_and(|out| area.starts_with(&out)));
        }
    }

    #[test]
    fn a_declared_length_is_not_believed() {
        // A raw block that declares 2^32 - 1 bytes and holds none.
        assert_eq!(
            inflate(&[0xff, 0xff, 0xff, 0xff, 0x0f], 1 << 40),
            Err(InflateError::Broken)
        );
    }
}
