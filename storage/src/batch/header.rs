//! The 61 bytes that begin every record batch of format 2.

use super::compression::Codec;
use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of [`Header`] in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();

/// Bytes before the part that the header's `length` counts: base offset and the length itself.
pub const PREFIX_LEN: usize = 12;

/// Where the bytes covered by the CRC begin: base offset, length, leader epoch, magic and the CRC
/// itself lie before them, so that a broker places a batch without computing it anew.
pub const CRC_COVERS_FROM: usize = 21;

/// The only format of batches that is stored and served.
pub const MAGIC: u8 = 2;

/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// A view of a batch's header as it lies in memory, on disk and on the wire (big-endian;
/// `DefaultRecordBatch.java` of Kafka 4.2 names the fields).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    pub base_offset: I64,
    /// Bytes that follow this field.
    pub length: I32,
    pub leader_epoch: I32,
    pub magic: u8,
    /// CRC-32C of everything from `attributes` to the end of the batch.
    pub crc: U32,
    pub attributes: I16,
    pub last_offset_delta: I32,
    /// Milliseconds since 1970, to which the records' timestamps are relative.
    pub base_timestamp: I64,
    pub max_timestamp: I64,
    /// -1 when the producer is not idempotent.
    pub producer_id: I64,
    pub producer_epoch: I16,
    pub base_sequence: I32,
    pub count: I32,
}

const _: () = assert!(HEADER_LEN == 61);

impl Header {
    /// The header at the start of `bytes`, if there are enough of them.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<&Self> {
        Self::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// Length of the whole batch in bytes, or `None` when the declared one is shorter than a
    /// header.
    #[must_use]
    pub fn batch_len(&self) -> Option<usize> {
        let len = usize::try_from(self.length.get()).ok()? + PREFIX_LEN;
        (len >= HEADER_LEN).then_some(len)
    }

    /// The fields as plain values.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            base_offset: self.base_offset.get(),
            leader_epoch: self.leader_epoch.get(),
            attributes: Attributes(self.attributes.get()),
            last_offset_delta: self.last_offset_delta.get(),
            base_timestamp: self.base_timestamp.get(),
            max_timestamp: self.max_timestamp.get(),
            producer_id: self.producer_id.get(),
            producer_epoch: self.producer_epoch.get(),
            base_sequence: self.base_sequence.get(),
            count: self.count.get(),
        }
    }
}

/// What a batch's header says, apart from its length and CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970; -1 when no record has a timestamp.
    pub max_timestamp: i64,
    /// -1 when the producer is not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    /// Number of records.
    pub count: i32,
}

impl Summary {
    /// Offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence number of the last record, or -1 when the batch has none.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `delta` after `base`: numbers wrap from 2^31 - 1 to 0.
#[must_use]
pub const fn sequence_plus(base: i32, delta: i32) -> i32 {
    // Both lie in 0..2^31, so the mask is the remainder of a division by 2^31.
    base.wrapping_add(delta) & i32::MAX
}

/// The sequence number `delta` before `last`: numbers wrap from 0 to 2^31 - 1.
#[must_use]
pub const fn sequence_minus(last: i32, delta: i32) -> i32 {
    last.wrapping_sub(delta) & i32::MAX
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

impl Attributes {
    /// The compression codec, or the number that names none.
    pub const fn codec(self) -> Result<Codec, u8> {
        match self.0 & CODEC_MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(other as u8),
        }
    }

    /// Whether the records' timestamps are the broker's time of append (the batch's maximum).
    #[must_use]
    pub const fn log_append_time(self) -> bool {
        self.0 & LOG_APPEND_TIME != 0
    }

    #[must_use]
    pub const fn transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker instead of records.
    #[must_use]
    pub const fn control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// These attributes with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !CODEC_MASK | codec.id())
    }

    /// These attributes with the kind of timestamp set, and every bit without a meaning cleared,
    /// as Kafka clears them whenever it writes the field.
    #[must_use]
    pub const fn with_log_append_time(self, on: bool) -> Self {
        let kept = self.0 & (CODEC_MASK | TRANSACTIONAL | CONTROL | DELETE_HORIZON);
        Self(if on { kept | LOG_APPEND_TIME } else { kept })
    }

    /// These attributes with the transactional bit set or cleared.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        Self(if on {
            self.0 | TRANSACTIONAL
        } else {
            self.0 & !TRANSACTIONAL
        })
    }

    /// These attributes with the control bit set or cleared.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        Self(if on {
            self.0 | CONTROL
        } else {
            self.0 & !CONTROL
        })
    }
}
