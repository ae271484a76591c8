//! Record batches of Kafka's format 2: parse, check, place, build. Pure: bytes in, bytes out.

mod admit;
mod build;
mod check;
mod compression;
mod header;
mod iter;
mod lz4;
mod pieces;
mod record;
mod snappy;
#[cfg(test)]
pub(crate) mod tests;
mod varint;

pub use admit::{
    Admitted, Origin, RECORD_ERRORS_MAX, Reject, Rejection, Rules, admit, admit_counting,
};
pub use build::{BATCH_BYTES_MAX, BatchFull, Builder};
pub use compression::{Codec, Compression};
pub use header::{
    Attributes, CRC_COVERS_FROM, HEADER_LEN, Header, MAGIC, NO_TIMESTAMP, PREFIX_LEN, Summary,
    sequence_minus, sequence_plus,
};
pub use iter::{BatchRef, Batches, ParseError, Records, batches, records};
pub use pieces::Pieces;
pub use record::{HeaderViews, Malformed, RECORD_LEN_MIN, Record, RecordView};

use zerocopy::FromBytes;

/// Gives the batch at the start of `bytes` its place: both fields lie outside the CRC.
///
/// Does nothing when `bytes` is shorter than a header.
pub fn patch(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Ok((header, _)) = Header::mut_from_prefix(bytes) {
        header.base_offset.set(base_offset);
        header.leader_epoch.set(leader_epoch);
    }
}

/// Whether `batch`, exactly one whole batch, has the CRC that its header states.
#[must_use]
pub fn check_crc(batch: &[u8]) -> bool {
    Header::of(batch).is_some_and(|header| {
        header.batch_len() == Some(batch.len())
            && header.crc.get() == crate::crc::crc32c(&batch[CRC_COVERS_FROM..])
    })
}

/// Writes the CRC of `batch`, exactly one whole batch, into its header.
pub(crate) fn write_crc(batch: &mut [u8]) {
    let Some(covered) = batch.get(CRC_COVERS_FROM..) else {
        return;
    };
    let crc = crate::crc::crc32c(covered);
    if let Ok((header, _)) = Header::mut_from_prefix(batch) {
        header.crc.set(crc);
    }
}
