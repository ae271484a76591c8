//! Reading batches that a broker returned.

use super::{COUNT_AT, CRC_AT, CRC_FROM, HEADER_BYTES, LENGTH_AT, MAGIC_AT, MARK_BYTES};

/// What the harness writes at the beginning of each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Intended time in ns of the harness's clock.
    pub(crate) time: u64,
    /// The producer, mixed with the number of the run.
    pub(crate) producer: u32,
    /// Counts the records of a producer in one partition.
    pub(crate) sequence: u32,
}

impl Mark {
    pub(crate) fn put(self, to: &mut [u8]) {
        to[..8].copy_from_slice(&self.time.to_be_bytes());
        to[8..12].copy_from_slice(&self.producer.to_be_bytes());
        to[12..16].copy_from_slice(&self.sequence.to_be_bytes());
    }

    fn get(from: &[u8]) -> Option<Self> {
        Some(Self {
            time: u64::from_be_bytes(*from.first_chunk()?),
            producer: u32::from_be_bytes(*from.get(8..)?.first_chunk()?),
            sequence: u32::from_be_bytes(*from.get(12..)?.first_chunk()?),
        })
    }
}

/// One whole batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    bytes: &'a [u8],
}

/// The whole batches in `bytes`; a last one that is cut off is left out, as brokers may cut.
pub(crate) fn views(mut bytes: &[u8]) -> impl Iterator<Item = View<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*bytes.get(LENGTH_AT..)?.first_chunk()?) as usize;
        let whole = bytes.get(..length.checked_add(12)?)?;
        bytes = &bytes[whole.len()..];
        Some(View { bytes: whole })
    })
}

impl<'a> View<'a> {
    pub(crate) fn base_offset(self) -> i64 {
        self.bytes
            .first_chunk()
            .map_or(-1, |b| i64::from_be_bytes(*b))
    }

    pub(crate) fn count(self) -> u32 {
        let bytes = self
            .bytes
            .get(COUNT_AT..)
            .and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    #[cfg(test)]
    pub(crate) const fn len(self) -> usize {
        self.bytes.len()
    }

    /// Whether the format is known, nothing is compressed, and the checksum is right.
    pub(crate) fn sound(self) -> bool {
        let Some(body) = self.bytes.get(CRC_FROM..) else {
            return false;
        };
        let stored: Option<&[u8; 4]> = self.bytes[CRC_AT..].first_chunk();
        self.bytes.len() >= HEADER_BYTES
            && self.bytes[MAGIC_AT] == 2
            && body[1] & 7 == 0
            && stored.is_some_and(|stored| u32::from_be_bytes(*stored) == crc32c::crc32c(body))
    }

    /// The marks of its records; ends early at a record that is none of the harness.
    pub(crate) fn marks(self) -> impl Iterator<Item = Mark> + 'a {
        let mut rest = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let mut record = rest.get(..length)?;
            rest = &rest[length..];
            record = record.get(1..)?;
            varint(&mut record)?;
            varint(&mut record)?;
            let key = varint(&mut record)?;
            record = record.get(usize::try_from(key.max(0)).ok()?..)?;
            let value = varint(&mut record)?;
            if value < i64::from(MARK_BYTES) {
                return None;
            }
            Mark::get(record)
        })
    }
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut bits = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        bits |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
        }
    }
    None
}
