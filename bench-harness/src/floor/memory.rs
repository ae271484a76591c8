//! Copies and checksums.

use super::sample::{Sample, Watch};
use std::hint::black_box;
use std::time::Duration;

const PIECE: usize = 64 << 10;

/// Copies pieces of 64 KiB, one after the other through `area` bytes.
pub(super) fn copy(area: usize, time: Duration) -> Sample {
    let from = vec![7_u8; area];
    let mut to = vec![1_u8; PIECE];
    let mut watch = Watch::start(time);
    while watch.running() {
        for piece in from.chunks_exact(PIECE).take(256) {
            black_box(&mut to).copy_from_slice(black_box(piece));
        }
        let pieces = (area / PIECE).min(256) as u64;
        watch.count(pieces, pieces * PIECE as u64);
    }
    watch.end()
}

/// Copies every piece of a large area once, so that none comes from a cache.
pub(super) fn copy_cold(from: &[u8]) -> Sample {
    let mut to = vec![1_u8; PIECE];
    let mut watch = Watch::start(Duration::ZERO);
    for piece in from.chunks_exact(PIECE) {
        black_box(&mut to).copy_from_slice(black_box(piece));
        watch.count(1, PIECE as u64);
    }
    watch.end()
}

/// CRC-32C of pieces of `size` bytes in a warm area.
pub(super) fn checksum(size: usize, time: Duration) -> Sample {
    let area = vec![7_u8; PIECE];
    let mut watch = Watch::start(time);
    while watch.running() {
        for piece in area.chunks_exact(size) {
            black_box(crc32c::crc32c(black_box(piece)));
        }
        let pieces = (PIECE / size) as u64;
        watch.count(pieces, pieces * size as u64);
    }
    watch.end()
}
