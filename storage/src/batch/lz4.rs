//! LZ4 frames, exactly the kind that Kafka's clients write and Kafka's Java consumer reads:
//! independent blocks, no dictionary, an end mark. A frame that only other decoders would take (one
//! that lacks its end, say) must not reach the log, where it would stop that consumer for good.

use super::compression::InflateError;
use lz4_flex::block::decompress_into;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;
use twox_hash::XxHash32;

const MAGIC: u32 = 0x184D_2204;
/// Version 01 and independent blocks, which must be set; the reserved bit and the dictionary, which
/// must not.
const FLAGS_FIXED: u8 = 0b1110_0011;
const FLAGS_WANTED: u8 = 0b0110_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
/// In a block's length: its bytes are not compressed.
const PLAIN: u32 = 1 << 31;
/// A byte of a match's length yields at most 255 bytes; nothing expands more.
const EXPANSION_MAX: usize = 255;
/// Output of the few bytes around a match that the expansion does not cover.
const EXPANSION_SLACK: usize = 64;

/// Inflates one frame; what follows its end is ignored, as in Kafka.
pub(super) fn inflate(area: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    inflate_frame(area, bytes_max).unwrap_or(Err(InflateError::Broken))
}

/// `None` when the frame is cut off.
fn inflate_frame(area: &[u8], bytes_max: usize) -> Option<Result<Vec<u8>, InflateError>> {
    let mut rest = area;
    let magic = take_u32(&mut rest)?;
    let descriptor = rest;
    let (flags, block) = (take_u8(&mut rest)?, take_u8(&mut rest)?);
    if flags & CONTENT_SIZE != 0 {
        // A mere claim, which Kafka does not look at either.
        rest = rest.get(8..)?;
    }
    let descriptor = &descriptor[..descriptor.len() - rest.len()];
    let checksum = (XxHash32::oneshot(0, descriptor) >> 8) as u8;
    let known = magic == MAGIC && flags & FLAGS_FIXED == FLAGS_WANTED && block & 0x8f == 0;
    let block_bytes_max = match block >> 4 {
        exponent @ 4..=7 if known => 1usize << (8 + 2 * exponent),
        _ => return Some(Err(InflateError::Broken)),
    };
    if take_u8(&mut rest)? != checksum {
        return Some(Err(InflateError::Broken));
    }
    let mut out = Vec::new();
    loop {
        let head = take_u32(&mut rest)?;
        let len = usize::try_from(head & !PLAIN).ok()?;
        if len == 0 {
            break;
        }
        let (block, after) = rest.split_at_checked(len)?;
        rest = after;
        let intact =
            flags & BLOCK_CHECKSUM == 0 || take_u32(&mut rest)? == XxHash32::oneshot(0, block);
        if !intact || len > block_bytes_max {
            return Some(Err(InflateError::Broken));
        }
        if head & PLAIN != 0 {
            out.extend_from_slice(block);
        } else if inflate_block(block, block_bytes_max, &mut out).is_none() {
            return Some(Err(InflateError::Broken));
        }
        if out.len() > bytes_max {
            return Some(Err(InflateError::TooLarge));
        }
    }
    let intact =
        flags & CONTENT_CHECKSUM == 0 || take_u32(&mut rest)? == XxHash32::oneshot(0, &out);
    Some(if intact {
        Ok(out)
    } else {
        Err(InflateError::Broken)
    })
}

/// Appends one inflated block of at most `bytes_max` bytes, making room for no more than the
/// compressed bytes could yield.
fn inflate_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let room = block
        .len()
        .saturating_mul(EXPANSION_MAX)
        .saturating_add(EXPANSION_SLACK);
    out.resize(start + room.min(bytes_max), 0);
    let written = decompress_into(block, &mut out[start..]).ok()?;
    out.truncate(start + written);
    Some(())
}

fn take_u8(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

/// Compresses into one frame of independent 64 KiB blocks.
pub(super) fn deflate(area: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder
        .write_all(area)
        .expect("writing into a vector does not fail");
    encoder
        .finish()
        .expect("writing into a vector does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(info: FrameInfo, area: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(area).expect("into a vector");
        encoder.finish().expect("into a vector")
    }

    proptest! {
        #[test]
        fn frames_of_every_shape_inflate_and_cut_ones_do_not(
            word in prop::collection::vec(any::<u8>(), 1..50),
            times in 0usize..9000,
            block_checksums in any::<bool>(),
            content_checksum in any::<bool>(),
            content_size in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let area = word.repeat(times);
            let info = FrameInfo::new()
                .block_checksums(block_checksums)
                .content_checksum(content_checksum)
                .content_size(content_size.then_some(area.len() as u64));
            let frame = encode(info, &area);
            prop_assert_eq!(inflate(&frame, area.len()), Ok(area.clone()));
            if !area.is_empty() {
                prop_assert_eq!(inflate(&frame, area.len() - 1), Err(InflateError::TooLarge));
            }
            let cut = cut.index(frame.len());
            prop_assert_eq!(inflate(&frame[..cut], area.len()), Err(InflateError::Broken));
            let followed = [&frame[..], b"anything"].concat();
            prop_assert_eq!(inflate(&followed, area.len()), Ok(area));
        }
    }

    #[test]
    fn linked_blocks_are_refused_since_java_cannot_read_them() {
        let info = FrameInfo::new().block_mode(BlockMode::Linked);
        assert_eq!(
            inflate(&encode(info, &[7; 200_000]), 1 << 20),
            Err(InflateError::Broken)
        );
    }
}
