//! Building batches: for internal logs, for the command line, and for admission that must rebuild.

use super::compression::{Codec, Compression, deflate};
use super::header::{Attributes, HEADER_LEN, Header, MAGIC, NO_TIMESTAMP, PREFIX_LEN};
use super::record;
use super::write_crc;
use bytes::Bytes;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};

/// Most bytes of uncompressed records that one batch is built of: far below the format's 2^31, so
/// that an encoder may even enlarge them.
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// The record was not added: the batch would exceed [`BATCH_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFull;

impl std::fmt::Display for BatchFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a batch cannot hold more than {BATCH_BYTES_MAX} bytes of records"
        )
    }
}

impl std::error::Error for BatchFull {}

/// Builds one batch of format 2 from records, in order. Its base offset is 0 until it is placed.
#[derive(Clone, Debug)]
pub struct Builder {
    compression: Compression,
    attributes: Attributes,
    log_append_time: Option<i64>,
    producer: (i64, i16, i32),
    area: Vec<u8>,
    count: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl Builder {
    /// A builder of a batch without a producer id, its timestamps set by its creator.
    #[must_use]
    pub const fn new(compression: Compression) -> Self {
        Self {
            compression,
            attributes: Attributes(0),
            log_append_time: None,
            producer: (-1, -1, -1),
            area: Vec::new(),
            count: 0,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Names the idempotent producer: id, epoch and the sequence number of the first record.
    #[must_use]
    pub const fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub const fn transactional(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    /// Marks the batch as a transaction marker.
    #[must_use]
    pub const fn control(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_control(on);
        self
    }

    /// Gives all records the broker's time of append, milliseconds since 1970.
    #[must_use]
    pub const fn log_append_time(mut self, ms: Option<i64>) -> Self {
        self.log_append_time = ms;
        self
    }

    /// Number of records added.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it were built now without compression.
    #[must_use]
    pub const fn len_uncompressed(&self) -> usize {
        HEADER_LEN + self.area.len()
    }

    /// Adds a record; `timestamp` in milliseconds since 1970, -1 for none.
    ///
    /// # Errors
    /// When the batch would become too large; it stays as it was.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Bytes, Option<Bytes>)],
    ) -> Result<(), BatchFull> {
        let headers = headers
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()));
        self.append_parts(timestamp, key, value, headers)
    }

    pub(super) fn append_parts<'a>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    ) -> Result<(), BatchFull> {
        let parts: usize = headers
            .clone()
            .map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len) + 10)
            .sum();
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + parts + 40;
        if bytes > BATCH_BYTES_MAX - self.area.len().min(BATCH_BYTES_MAX) {
            return Err(BatchFull);
        }
        let base = *self.base_timestamp.get_or_insert(timestamp);
        // The delta wraps as Kafka's does: two's complement gives the timestamp back.
        let delta = timestamp.wrapping_sub(base);
        record::put(&mut self.area, self.count, delta, key, value, headers);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// The finished batch, or `None` when it has no record (or its encoder failed for want of
    /// memory).
    #[must_use]
    pub fn build(self) -> Option<Bytes> {
        if self.count == 0 {
            return None;
        }
        let codec = self.compression.target(Codec::None);
        let area = match codec {
            Codec::None => self.area,
            _ => deflate(self.compression, &self.area)?,
        };
        let attributes = self
            .attributes
            .with_codec(codec)
            .with_log_append_time(self.log_append_time.is_some());
        let max_timestamp = self.log_append_time.unwrap_or(self.max_timestamp);
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let header = Header {
            base_offset: I64::ZERO,
            length: I32::new(i32::try_from(HEADER_LEN - PREFIX_LEN + area.len()).ok()?),
            leader_epoch: I32::new(-1),
            magic: MAGIC,
            crc: U32::ZERO,
            attributes: I16::new(attributes.0),
            last_offset_delta: I32::new(self.count - 1),
            base_timestamp: I64::new(self.base_timestamp.unwrap_or(NO_TIMESTAMP)),
            max_timestamp: I64::new(max_timestamp),
            producer_id: I64::new(producer_id),
            producer_epoch: I16::new(producer_epoch),
            base_sequence: I32::new(base_sequence),
            count: I32::new(self.count),
        };
        let mut batch = Vec::with_capacity(HEADER_LEN + area.len());
        batch.extend_from_slice(header.as_bytes());
        batch.extend_from_slice(&area);
        write_crc(&mut batch);
        Some(Bytes::from(batch))
    }
}
