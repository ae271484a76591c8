//! Where in a segment an offset or a time is to be looked for. Derived from the batches' headers,
//! checkpointed, and never needed to be right: a lookup answers where to begin reading.

use crate::batch::{NO_TIMESTAMP, Summary};
use crate::checkpoint::{self, CheckpointError};
use zerocopy::byteorder::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 4] = *b"RLIX";
const VERSION: u16 = 1;

/// Most entries of one segment's index, 24 bytes each. A segment that would have more keeps every
/// other one and doubles its interval.
pub const ENTRIES_MAX: usize = 8192;

/// A place to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Base offset of the batch.
    pub offset: i64,
    /// Position of the batch, in whatever bytes the caller counts.
    pub position: u64,
    /// The largest timestamp of all batches before this one, -1 when none has any.
    pub max_before: i64,
}

/// The first record of a segment that has its largest timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxTime {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Offset of the record.
    pub offset: i64,
    /// Position of its batch.
    pub position: u64,
}

/// The sparse index of one segment. Empty, it owns no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    interval: u32,
    /// Bytes appended behind the batch of the last entry's start.
    since: u64,
    entries: Vec<Entry>,
    max: Option<MaxTime>,
}

impl Index {
    /// An index with an entry about every `interval` bytes (`index.interval.bytes`).
    #[must_use]
    pub const fn new(interval: u32) -> Self {
        Self {
            interval,
            since: 0,
            entries: Vec::new(),
            max: None,
        }
    }

    /// Notes a batch of `len` bytes at `position`, behind all noted before. `summary` holds its
    /// final base offset; `max_ts_offset_delta` is that of the first record with its largest
    /// timestamp.
    pub fn append(
        &mut self,
        position: u64,
        len: usize,
        summary: &Summary,
        max_ts_offset_delta: i32,
    ) {
        if self.since > u64::from(self.interval) {
            self.make_room();
            let max_before = self.max_timestamp();
            self.entries.push(Entry {
                offset: summary.base_offset,
                position,
                max_before,
            });
            self.since = 0;
        }
        self.since = self.since.saturating_add(len as u64);
        if summary.max_timestamp > self.max_timestamp() {
            self.max = Some(MaxTime {
                timestamp: summary.max_timestamp,
                offset: summary
                    .base_offset
                    .wrapping_add(i64::from(max_ts_offset_delta)),
                position,
            });
        }
    }

    /// Keeps every other entry once there are too many.
    fn make_room(&mut self) {
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let mut odd = true;
        self.entries.retain(|_| {
            odd = !odd;
            odd
        });
        self.interval = self.interval.saturating_mul(2);
    }

    /// The largest timestamp noted, -1 when there is none.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max.map_or(NO_TIMESTAMP, |max| max.timestamp)
    }

    /// The first record with the largest timestamp.
    #[must_use]
    pub const fn max_time(&self) -> Option<MaxTime> {
        self.max
    }

    /// Where to begin looking for `offset`: no batch before this entry holds it or a later one.
    /// `None`: at the start of the segment.
    #[must_use]
    pub fn by_offset(&self, offset: i64) -> Option<Entry> {
        let above = self.entries.partition_point(|entry| entry.offset <= offset);
        above.checked_sub(1).map(|at| self.entries[at])
    }

    /// Where to begin looking for the first record at or after `timestamp`: every record before
    /// this entry is earlier. `None`: at the start of the segment.
    #[must_use]
    pub fn by_time(&self, timestamp: i64) -> Option<Entry> {
        let above = self
            .entries
            .partition_point(|entry| entry.max_before < timestamp);
        above.checked_sub(1).map(|at| self.entries[at])
    }

    /// The first entry that lies behind `offset`, which bounds how far its batch can reach.
    #[must_use]
    pub fn after_offset(&self, offset: i64) -> Option<Entry> {
        let above = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries.get(above).copied()
    }

    /// All entries, by position.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives back memory that growth left over; for a segment that takes no more batches.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// All of it as a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let max = self.max.unwrap_or(MaxTime {
            timestamp: NO_TIMESTAMP,
            offset: -1,
            position: 0,
        });
        let head = StoredHead {
            interval: U32::new(self.interval),
            since: U64::new(self.since),
            max_timestamp: I64::new(max.timestamp),
            max_offset: I64::new(max.offset),
            max_position: U64::new(max.position),
        };
        let entries: Vec<StoredEntry> = self.entries.iter().map(StoredEntry::from).collect();
        let payload = [head.as_bytes(), entries.as_bytes()].concat();
        checkpoint::seal(MAGIC, VERSION, &payload).expect("ENTRIES_MAX entries fit 4 GiB")
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the checkpoint is damaged, of another version, or its entries are out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let payload = checkpoint::open(MAGIC, VERSION, bytes)?;
        let (head, rest) =
            StoredHead::ref_from_prefix(payload).map_err(|_| CheckpointError::Content)?;
        let stored = <[StoredEntry]>::ref_from_bytes(rest).map_err(|_| CheckpointError::Content)?;
        if stored.len() > ENTRIES_MAX {
            return Err(CheckpointError::Content);
        }
        let entries: Vec<Entry> = stored.iter().map(Entry::from).collect();
        let rises = |pair: &[Entry]| {
            pair[0].offset < pair[1].offset
                && pair[0].position < pair[1].position
                && pair[0].max_before <= pair[1].max_before
        };
        let max = MaxTime {
            timestamp: head.max_timestamp.get(),
            offset: head.max_offset.get(),
            position: head.max_position.get(),
        };
        let bounded = max.timestamp >= NO_TIMESTAMP
            && entries
                .last()
                .is_none_or(|last| last.max_before <= max.timestamp);
        if !entries.windows(2).all(rises) || !bounded {
            return Err(CheckpointError::Content);
        }
        Ok(Self {
            interval: head.interval.get(),
            since: head.since.get(),
            entries,
            max: (max.timestamp > NO_TIMESTAMP).then_some(max),
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StoredHead {
    interval: U32,
    since: U64,
    max_timestamp: I64,
    max_offset: I64,
    max_position: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StoredEntry {
    offset: I64,
    position: U64,
    max_before: I64,
}

impl From<&Entry> for StoredEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            offset: I64::new(entry.offset),
            position: U64::new(entry.position),
            max_before: I64::new(entry.max_before),
        }
    }
}

impl From<&StoredEntry> for Entry {
    fn from(stored: &StoredEntry) -> Self {
        Self {
            offset: stored.offset.get(),
            position: stored.position.get(),
            max_before: stored.max_before.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Attributes;
    use proptest::prelude::*;

    fn summary(base_offset: i64, count: i32, max_timestamp: i64) -> Summary {
        Summary {
            base_offset,
            leader_epoch: 0,
            attributes: Attributes(0),
            last_offset_delta: count - 1,
            base_timestamp: max_timestamp,
            max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count,
        }
    }

    /// A batch as the tests remember it.
    struct Noted {
        position: u64,
        summary: Summary,
    }

    fn fill(interval: u32, sizes: &[(i32, i64, usize)]) -> (Index, Vec<Noted>) {
        let (mut index, mut all) = (Index::new(interval), Vec::new());
        let (mut offset, mut position) = (100, 4096);
        for &(count, max_timestamp, len) in sizes {
            let summary = summary(offset, count, max_timestamp);
            index.append(position, len, &summary, count - 1);
            all.push(Noted { position, summary });
            offset += i64::from(count);
            position += len as u64;
        }
        (index, all)
    }

    fn check(index: &Index, all: &[Noted], offset: i64, time: i64) {
        // No batch before the answer may hold what is looked for, or anything behind it.
        let start = index.by_offset(offset).map_or(0, |entry| entry.position);
        let holds = all
            .iter()
            .find(|noted| noted.summary.last_offset() >= offset);
        assert!(holds.is_none_or(|noted| noted.position >= start));
        let start = index.by_time(time).map_or(0, |entry| entry.position);
        let first = all.iter().find(|noted| noted.summary.max_timestamp >= time);
        assert!(first.is_none_or(|noted| noted.position >= start));
        let largest = all
            .iter()
            .map(|noted| noted.summary.max_timestamp)
            .max()
            .unwrap_or(-1);
        assert_eq!(index.max_timestamp(), largest.max(-1));
        if let Some(max) = index.max_time() {
            let first = all
                .iter()
                .find(|noted| noted.summary.max_timestamp == largest);
            let first = first.expect("some batch has the maximum");
            assert_eq!(
                (max.position, max.offset),
                (first.position, first.summary.last_offset())
            );
        }
        assert_eq!(Index::decode(&index.encode()).as_ref(), Ok(index));
    }

    proptest! {
        #[test]
        fn lookups_never_begin_too_late(
            sizes in prop::collection::vec((1i32..50, -1i64..1000, 61usize..3000), 0..60),
            interval in 0u32..9000,
            offset in 0i64..4000,
            time in -2i64..1001,
        ) {
            let (index, all) = fill(interval, &sizes);
            check(&index, &all, offset, time);
        }

        #[test]
        fn damaged_checkpoints_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Index::decode(&bytes).is_err());
            let sealed = checkpoint::seal(MAGIC, VERSION, &bytes).expect("small");
            if let Ok(index) = Index::decode(&sealed) {
                prop_assert_eq!(Index::decode(&index.encode()), Ok(index));
            }
        }
    }

    #[test]
    fn lookups_begin_close_by() {
        let (index, all) = fill(4096, &[(10, 5, 1000); 100]);
        let wanted = &all[77];
        let start = index
            .by_offset(wanted.summary.base_offset + 3)
            .expect("not the first");
        assert!(start.position <= wanted.position && wanted.position - start.position <= 5000);
        let end = index
            .after_offset(wanted.summary.base_offset)
            .expect("not the last");
        assert!(end.position > wanted.position && end.position - wanted.position <= 5000);
    }

    #[test]
    fn memory_is_bounded_by_a_coarser_interval() {
        let sizes: Vec<_> = (0..5 * ENTRIES_MAX as i64).map(|at| (1, at, 100)).collect();
        let (index, all) = fill(50, &sizes);
        assert!(index.entries.len() <= ENTRIES_MAX && index.entries.len() >= ENTRIES_MAX / 2);
        for at in [0, 100, 8191, 8192, 20_000, 40_000] {
            check(&index, &all, 100 + at, at);
            let start = index
                .by_offset(100 + at)
                .map_or(4096, |entry| entry.position);
            assert!(
                all[at as usize].position - start <= 1000,
                "entry {at} is far"
            );
        }
        assert!(size_of::<Index>() <= 72, "an idle partition costs bytes");
    }
}
