//! LZ4 frames, as Kafka's clients write them.

use super::compression::InflateError;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::Write;

/// Inflates one frame; what follows its end mark is ignored, as in Kafka.
pub(super) fn inflate(area: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    super::compression::read_bounded(FrameDecoder::new(area), area.len(), bytes_max)
}

/// Compresses into one frame of independent 64 KiB blocks, the only kind that Kafka's Java client
/// reads.
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
