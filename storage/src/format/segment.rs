//! The header block of a segment file and the blocks of its checksum sidecar.

use super::cursor::{Cursor, put_partition};
use super::{BLOCK_U64, PIECE, VERSION, open_block, seal_block};
use crate::types::PartitionId;
use reactor::buf::BLOCK;

const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"RLSG");
const SUMS_MAGIC: u32 = u32::from_le_bytes(*b"RLSU");

/// Checksums in one block of the sidecar; the block's own CRC takes the last four bytes.
pub(crate) const SUMS_PER_BLOCK: usize = BLOCK / 4 - 1;

/// Where one segment of a log ends: known for sure only to whatever comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) base: i64,
    /// File position behind the last batch.
    pub(crate) end: u64,
    /// The largest timestamp in the segment, -1 if it has none.
    pub(crate) max_timestamp: i64,
}

/// Whom a segment file belongs to: the first block of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: PartitionId,
    pub(crate) base: i64,
    pub(crate) before: Option<Ended>,
}

pub(crate) fn put_ended(out: &mut Vec<u8>, ended: Option<Ended>) {
    out.push(u8::from(ended.is_some()));
    let ended = ended.unwrap_or(Ended {
        base: 0,
        end: 0,
        max_timestamp: -1,
    });
    out.extend_from_slice(&ended.base.to_le_bytes());
    out.extend_from_slice(&ended.end.to_le_bytes());
    out.extend_from_slice(&ended.max_timestamp.to_le_bytes());
}

pub(crate) fn take_ended(cursor: &mut Cursor<'_>) -> Option<Option<Ended>> {
    let known = cursor.u8()? != 0;
    let ended = Ended {
        base: cursor.i64()?,
        end: cursor.u64()?,
        max_timestamp: cursor.i64()?,
    };
    Some(known.then_some(ended))
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_partition(&mut out, &self.id);
        out.extend_from_slice(&self.base.to_le_bytes());
        put_ended(&mut out, self.before);
        seal_block(out)
    }

    /// `None` for anything but an undamaged header of this version.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(open_block(block)?);
        if cursor.u32()? != SEGMENT_MAGIC || cursor.u16()? != VERSION {
            return None;
        }
        Some(Self {
            id: cursor.partition()?,
            base: cursor.i64()?,
            before: take_ended(&mut cursor)?,
        })
    }
}

/// The first block of a sidecar.
pub(crate) fn sums_header(id: &PartitionId, base: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    out.extend_from_slice(&SUMS_MAGIC.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    put_partition(&mut out, id);
    out.extend_from_slice(&base.to_le_bytes());
    seal_block(out)
}

/// One block of checksums: at most [`SUMS_PER_BLOCK`] of them.
pub(crate) fn sums_block(sums: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    for sum in &sums[..sums.len().min(SUMS_PER_BLOCK)] {
        out.extend_from_slice(&sum.to_le_bytes());
    }
    seal_block(out)
}

/// The checksums of a whole sidecar that must hold `count` of them.
pub(crate) fn decode_sums(
    file: &[u8],
    id: &PartitionId,
    base: i64,
    count: usize,
) -> Option<Vec<u32>> {
    if file.get(..BLOCK)? != sums_header(id, base) {
        return None;
    }
    let mut sums = Vec::with_capacity(count.min(file.len() / 4));
    let mut blocks = file[BLOCK..].chunks_exact(BLOCK);
    while sums.len() < count {
        let content = open_block(blocks.next()?)?;
        sums.extend(Cursor(content).u32s(SUMS_PER_BLOCK.min(count - sums.len()))?);
    }
    Some(sums)
}

/// Where the sidecar keeps its `block`th block of checksums.
pub(crate) const fn sums_position(block: usize) -> u64 {
    (block as u64 + 1) * BLOCK_U64
}

/// Checksums of a segment whose padded file ends at `end`.
pub(crate) const fn pieces(end: u64) -> usize {
    end.div_ceil(PIECE) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::METADATA;

    #[test]
    fn a_header_with_any_bit_changed_is_no_header() {
        let before = Ended {
            base: 5,
            end: 9000,
            max_timestamp: 77,
        };
        let header = SegmentHeader {
            id: METADATA,
            base: 12,
            before: Some(before),
        };
        let block = header.encode();
        assert_eq!(block.len(), BLOCK);
        assert_eq!(SegmentHeader::decode(&block), Some(header));
        for at in [0, 5, 20, 30, 60, BLOCK - 1] {
            let mut damaged = block.clone();
            damaged[at] ^= 4;
            assert_eq!(SegmentHeader::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn sums_are_found_across_blocks() {
        let sums: Vec<u32> = (0..2500).collect();
        let mut file = sums_header(&METADATA, 3);
        for block in sums.chunks(SUMS_PER_BLOCK) {
            assert_eq!(file.len() as u64, sums_position(file.len() / BLOCK - 1));
            file.extend(sums_block(block));
        }
        assert_eq!(decode_sums(&file, &METADATA, 3, 2500), Some(sums));
        assert_eq!(decode_sums(&file, &METADATA, 4, 2500), None);
        assert_eq!(decode_sums(&file[..2 * BLOCK], &METADATA, 3, 2500), None);
    }
}
