//! The files of a log directory, byte by byte: see `docs/format.md`. All numbers are little-endian;
//! only the batches inside keep Kafka's big-endian fields.

pub(crate) mod cursor;
pub(crate) mod meta;
pub(crate) mod names;
pub(crate) mod round;
pub(crate) mod segment;

use reactor::buf::BLOCK;

/// Version of everything in a log directory. A directory of another version is not touched.
pub(crate) const VERSION: u16 = 1;

/// A block, the unit of direct I/O, as a file position.
pub(crate) const BLOCK_U64: u64 = BLOCK as u64;

/// The segment bytes that one checksum of the sidecar covers.
pub(crate) const PIECE: u64 = 64 * 1024;

/// Where the batches begin in a segment file: behind its header block.
pub(crate) const DATA_START: u64 = BLOCK_U64;

/// `pos` rounded down to a block.
pub(crate) const fn block_floor(pos: u64) -> u64 {
    pos - pos % BLOCK_U64
}

/// `pos` rounded up to a block.
pub(crate) const fn block_ceil(pos: u64) -> u64 {
    pos.next_multiple_of(BLOCK_U64)
}

/// `pos` rounded down to a checksummed piece.
pub(crate) const fn piece_floor(pos: u64) -> u64 {
    pos - pos % PIECE
}

/// Fills `bytes` up to a block, the last four bytes being the CRC of those before.
pub(crate) fn seal_block(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(BLOCK - 4, 0);
    let crc = crate::crc::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The content of a sealed block, if it checks.
pub(crate) fn open_block(block: &[u8]) -> Option<&[u8]> {
    let (content, crc) = block.get(..BLOCK)?.split_at(BLOCK - 4);
    (crate::crc::crc32c(content).to_le_bytes() == crc).then_some(content)
}
