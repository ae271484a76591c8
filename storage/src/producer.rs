//! What a partition remembers of its idempotent producers, so that a repeated batch is appended
//! once and a gap is noticed (KIP-98; `ProducerStateManager` and `ProducerAppendInfo` of Kafka
//! 4.2).
//!
//! Nothing is dropped when the log start rises: like Kafka, a producer whose records were deleted
//! by retention or `DeleteRecords` keeps its window until it expires.

use crate::batch::{Summary, sequence_minus};
use crate::checkpoint::{self, CheckpointError};
use std::collections::BTreeMap;
use zerocopy::byteorder::little_endian::{I16, I32, I64, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 4] = *b"RLPR";
const VERSION: u16 = 1;

/// Batches remembered of each producer: as many as a client may have in flight.
pub const BATCHES_MAX: usize = 5;

/// Most producers that one partition remembers, about 200 bytes each. The longest silent ones are
/// forgotten first, which only costs them the detection of a repeat: an unknown producer may go on
/// with any sequence number.
pub const PRODUCERS_MAX: usize = 16_384;

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// One of the last [`BATCHES_MAX`] batches again: answer with the original's place.
    Duplicate {
        base_offset: i64,
        last_offset: i64,
        /// The original's largest timestamp, which Kafka answers as its time of append.
        timestamp: i64,
    },
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerError {
    /// The first sequence number is not the one after the last.
    OutOfOrderSequence {
        producer_id: i64,
        sequence: i32,
        /// The last one known, -1 for none.
        last: i32,
    },
    /// The producer has been seen with a newer epoch.
    InvalidEpoch {
        producer_id: i64,
        epoch: i16,
        current: i16,
    },
}

impl std::fmt::Display for ProducerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfOrderSequence {
                producer_id,
                sequence,
                last,
            } => write!(
                f,
                "producer {producer_id} sent the sequence number {sequence} after {last}"
            ),
            Self::InvalidEpoch {
                producer_id,
                epoch,
                current,
            } => write!(
                f,
                "producer {producer_id} sent the epoch {epoch}, but its current epoch is {current}"
            ),
        }
    }
}

impl std::error::Error for ProducerError {}

/// One producer as `DescribeProducers` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerView {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1 when no batch of this epoch is known.
    pub last_sequence: i32,
    /// Largest timestamp of the last batch, milliseconds since 1970.
    pub last_timestamp: i64,
}

/// One appended batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    last_offset: i64,
    timestamp: i64,
    last_sequence: i32,
    offset_delta: i32,
}

impl Batch {
    const fn first_sequence(&self) -> i32 {
        sequence_minus(self.last_sequence, self.offset_delta)
    }
}

/// The window of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Oldest first; at most [`BATCHES_MAX`].
    batches: Vec<Batch>,
    last_timestamp: i64,
    /// When the last batch was written, milliseconds since 1970 by the broker's clock: timestamps
    /// of records may be of any age, and a producer of old ones is not idle.
    written_ms: i64,
    /// Offset of the last record, by which the longest silent producers are found.
    last_offset: i64,
}

/// All producers that one partition remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

impl Producers {
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Says what to do with an admitted batch; changes nothing.
    ///
    /// Batches without a producer are appended. Batches with a producer and no sequence number,
    /// which only the broker itself writes, are checked for their epoch alone.
    ///
    /// # Errors
    /// When the epoch is older than the last, or the sequence number does not follow the last.
    pub fn check(&self, batch: &Summary) -> Result<Verdict, ProducerError> {
        let Some(known) = batch
            .has_producer()
            .then(|| self.by_id.get(&batch.producer_id))
            .flatten()
        else {
            return Ok(Verdict::Append);
        };
        let (producer_id, sequence) = (batch.producer_id, batch.base_sequence);
        if let Some(original) = known.duplicate_of(batch) {
            return Ok(Verdict::Duplicate {
                base_offset: original.last_offset - i64::from(original.offset_delta),
                last_offset: original.last_offset,
                timestamp: original.timestamp,
            });
        }
        if batch.producer_epoch < known.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id,
                epoch: batch.producer_epoch,
                current: known.epoch,
            });
        }
        if sequence < 0 || batch.attributes.control() {
            return Ok(Verdict::Append);
        }
        let last = if batch.producer_epoch == known.epoch {
            known.last_sequence()
        } else {
            -1
        };
        let follows = last.checked_add(1).unwrap_or(0);
        if sequence == follows {
            return Ok(Verdict::Append);
        }
        Err(ProducerError::OutOfOrderSequence {
            producer_id,
            sequence,
            last,
        })
    }

    /// Notes a batch that was appended at `base_offset`, now (or, while the log is read again after
    /// a start, at the time of that start).
    pub fn apply(&mut self, batch: &Summary, base_offset: i64, written_ms: i64) {
        if !batch.has_producer() {
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&batch.producer_id) {
            self.forget_the_longest_silent();
        }
        let last_offset = base_offset.saturating_add(i64::from(batch.last_offset_delta));
        let producer = self
            .by_id
            .entry(batch.producer_id)
            .or_insert_with(|| Producer {
                epoch: batch.producer_epoch,
                batches: Vec::new(),
                last_timestamp: batch.max_timestamp,
                written_ms,
                last_offset,
            });
        if producer.epoch != batch.producer_epoch {
            producer.batches.clear();
            producer.epoch = batch.producer_epoch;
        }
        producer.last_timestamp = batch.max_timestamp;
        producer.written_ms = producer.written_ms.max(written_ms);
        producer.last_offset = last_offset;
        if batch.base_sequence < 0 || batch.attributes.control() {
            return;
        }
        if producer.batches.len() == BATCHES_MAX {
            producer.batches.remove(0);
        }
        producer.batches.push(Batch {
            last_offset,
            timestamp: batch.max_timestamp,
            last_sequence: batch.last_sequence(),
            offset_delta: batch.last_offset_delta,
        });
    }

    /// Drops an eighth of the producers, so that this is done seldom.
    fn forget_the_longest_silent(&mut self) {
        let mut offsets: Vec<i64> = self.by_id.values().map(|known| known.last_offset).collect();
        let count = offsets.len() / 8;
        let (_, bound, _) = offsets.select_nth_unstable(count);
        let bound = *bound;
        self.by_id.retain(|_, known| known.last_offset > bound);
    }

    /// Drops every producer that wrote nothing for `after_ms` before `now_ms`
    /// (`producer.id.expiration.ms`); returns how many.
    pub fn expire(&mut self, now_ms: i64, after_ms: u64) -> usize {
        let before = self.by_id.len();
        let after_ms = i64::try_from(after_ms).unwrap_or(i64::MAX);
        self.by_id
            .retain(|_, known| now_ms.saturating_sub(known.written_ms) < after_ms);
        before - self.by_id.len()
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ProducerView> + '_ {
        self.by_id.iter().map(|(producer_id, known)| ProducerView {
            producer_id: *producer_id,
            epoch: known.epoch,
            last_sequence: known.last_sequence(),
            last_timestamp: known.last_timestamp,
        })
    }

    /// All of it as a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.by_id.len() * size_of::<StoredProducer>());
        for (producer_id, known) in &self.by_id {
            let stored = StoredProducer {
                producer_id: I64::new(*producer_id),
                epoch: I16::new(known.epoch),
                count: U16::new(known.batches.len() as u16),
                last_timestamp: I64::new(known.last_timestamp),
                written_ms: I64::new(known.written_ms),
                last_offset: I64::new(known.last_offset),
            };
            payload.extend_from_slice(stored.as_bytes());
            for batch in &known.batches {
                payload.extend_from_slice(StoredBatch::from(batch).as_bytes());
            }
        }
        checkpoint::seal(MAGIC, VERSION, &payload).expect("PRODUCERS_MAX windows fit 4 GiB")
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the checkpoint is damaged, of another version, or impossible.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut rest = checkpoint::open(MAGIC, VERSION, bytes)?;
        let mut producers = Self::default();
        while !rest.is_empty() {
            let (stored, after) =
                StoredProducer::ref_from_prefix(rest).map_err(|_| CheckpointError::Content)?;
            let count = usize::from(stored.count.get());
            let producer_id = stored.producer_id.get();
            let rises = producers
                .by_id
                .last_key_value()
                .is_none_or(|(id, _)| *id < producer_id);
            let fits = count <= BATCHES_MAX && producers.by_id.len() < PRODUCERS_MAX;
            if !rises || !fits || producer_id < 0 {
                return Err(CheckpointError::Content);
            }
            let (batches, after) = <[StoredBatch]>::ref_from_prefix_with_elems(after, count)
                .map_err(|_| CheckpointError::Content)?;
            let batches = batches
                .iter()
                .map(Batch::try_from)
                .collect::<Result<_, _>>()?;
            let producer = Producer {
                epoch: stored.epoch.get(),
                batches,
                last_timestamp: stored.last_timestamp.get(),
                written_ms: stored.written_ms.get(),
                last_offset: stored.last_offset.get(),
            };
            producers.by_id.insert(producer_id, producer);
            rest = after;
        }
        Ok(producers)
    }
}

impl Producer {
    fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(-1, |batch| batch.last_sequence)
    }

    /// The remembered batch of the same epoch and exactly the same sequence numbers.
    fn duplicate_of(&self, batch: &Summary) -> Option<&Batch> {
        if batch.producer_epoch != self.epoch || batch.base_sequence < 0 {
            return None;
        }
        let last = batch.last_sequence();
        self.batches.iter().find(|known| {
            known.last_sequence == last && known.first_sequence() == batch.base_sequence
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StoredProducer {
    producer_id: I64,
    epoch: I16,
    /// Number of [`StoredBatch`]es that follow.
    count: U16,
    last_timestamp: I64,
    written_ms: I64,
    last_offset: I64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StoredBatch {
    last_offset: I64,
    timestamp: I64,
    last_sequence: I32,
    offset_delta: I32,
}

impl From<&Batch> for StoredBatch {
    fn from(batch: &Batch) -> Self {
        Self {
            last_offset: I64::new(batch.last_offset),
            timestamp: I64::new(batch.timestamp),
            last_sequence: I32::new(batch.last_sequence),
            offset_delta: I32::new(batch.offset_delta),
        }
    }
}

impl TryFrom<&StoredBatch> for Batch {
    type Error = CheckpointError;

    fn try_from(stored: &StoredBatch) -> Result<Self, CheckpointError> {
        let batch = Self {
            last_offset: stored.last_offset.get(),
            timestamp: stored.timestamp.get(),
            last_sequence: stored.last_sequence.get(),
            offset_delta: stored.offset_delta.get(),
        };
        let possible = batch.last_sequence >= 0
            && batch.offset_delta >= 0
            && batch.last_offset >= i64::from(batch.offset_delta);
        if possible {
            Ok(batch)
        } else {
            Err(CheckpointError::Content)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Attributes, sequence_plus};
    use proptest::prelude::*;

    const DAY: u64 = 24 * 3_600_000;

    fn batch(producer_id: i64, epoch: i16, sequence: i32, count: i32) -> Summary {
        Summary {
            base_offset: 0,
            leader_epoch: 0,
            attributes: Attributes(0),
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 1000,
            producer_id,
            producer_epoch: epoch,
            base_sequence: sequence,
            count,
        }
    }

    /// Appends if the producers say so; returns the base offset that a client would be told.
    fn send(
        producers: &mut Producers,
        end: &mut i64,
        batch: &Summary,
    ) -> Result<i64, ProducerError> {
        match producers.check(batch)? {
            Verdict::Duplicate { base_offset, .. } => Ok(base_offset),
            Verdict::Append => {
                let base_offset = *end;
                producers.apply(batch, base_offset, 0);
                *end += i64::from(batch.count);
                Ok(base_offset)
            }
        }
    }

    #[test]
    fn the_last_five_batches_are_answered_again_and_older_ones_are_out_of_order() {
        let (mut producers, mut end) = (Producers::default(), 50);
        for at in 0..6 {
            assert_eq!(
                send(&mut producers, &mut end, &batch(7, 0, at * 3, 3)),
                Ok(50 + 3 * i64::from(at))
            );
        }
        for at in 1..6 {
            assert_eq!(
                send(&mut producers, &mut end, &batch(7, 0, at * 3, 3)),
                Ok(50 + 3 * i64::from(at))
            );
        }
        assert_eq!(end, 50 + 18);
        let old = producers.check(&batch(7, 0, 0, 3));
        assert!(matches!(
            old,
            Err(ProducerError::OutOfOrderSequence { last: 17, .. })
        ));
        // Overlapping, but not exactly one of the five.
        assert!(producers.check(&batch(7, 0, 15, 2)).is_err());
        assert!(producers.check(&batch(7, 0, 16, 2)).is_err());
        assert!(producers.check(&batch(7, 0, 19, 1)).is_err());
        assert_eq!(producers.check(&batch(7, 0, 18, 1)), Ok(Verdict::Append));
    }

    #[test]
    fn sequences_wrap_inside_and_between_batches() {
        let (mut producers, mut end) = (Producers::default(), 0);
        let wrapped = batch(7, 0, i32::MAX - 1, 5);
        assert_eq!(wrapped.last_sequence(), 2);
        assert_eq!(send(&mut producers, &mut end, &wrapped), Ok(0));
        assert_eq!(send(&mut producers, &mut end, &wrapped), Ok(0));
        assert_eq!(send(&mut producers, &mut end, &batch(7, 0, 3, 1)), Ok(5));
        let (mut producers, mut end) = (Producers::default(), 0);
        assert_eq!(
            send(&mut producers, &mut end, &batch(7, 0, i32::MAX, 1)),
            Ok(0)
        );
        assert_eq!(send(&mut producers, &mut end, &batch(7, 0, 0, 1)), Ok(1));
    }

    #[test]
    fn epochs_rise_from_sequence_zero() {
        let (mut producers, mut end) = (Producers::default(), 0);
        // An unknown producer may begin with any epoch and sequence.
        assert_eq!(send(&mut producers, &mut end, &batch(7, 3, 41, 1)), Ok(0));
        let older = producers.check(&batch(7, 2, 0, 1));
        assert!(matches!(
            older,
            Err(ProducerError::InvalidEpoch { current: 3, .. })
        ));
        assert!(matches!(
            producers.check(&batch(7, 4, 42, 1)),
            Err(ProducerError::OutOfOrderSequence { .. })
        ));
        assert_eq!(send(&mut producers, &mut end, &batch(7, 4, 0, 1)), Ok(1));
        // The window of the old epoch is gone with it.
        assert!(producers.check(&batch(7, 3, 41, 1)).is_err());
    }

    #[test]
    fn expiry_counts_from_the_write_and_not_from_the_timestamps() {
        let mut producers = Producers::default();
        producers.apply(&batch(7, 0, 0, 1), 0, 5_000_000_000);
        let day = DAY as i64;
        assert_eq!(producers.expire(5_000_000_000 + day - 1, DAY), 0);
        // The clock was set back: nothing expires, nothing overflows.
        assert_eq!(producers.expire(i64::MIN, DAY), 0);
        assert_eq!(producers.expire(5_000_000_000 + day, DAY), 1);
        assert_eq!(producers.check(&batch(7, 0, 99, 1)), Ok(Verdict::Append));
    }

    #[test]
    fn the_number_of_producers_is_bounded_and_the_active_ones_stay() {
        let mut producers = Producers::default();
        for at in 0..3 * PRODUCERS_MAX as i64 {
            producers.apply(&batch(at, 0, 0, 1), 2 * at, 0);
            producers.apply(&batch(-1, -1, -1, 1), 2 * at + 1, 0);
            assert!(producers.len() <= PRODUCERS_MAX);
        }
        let kept: Vec<i64> = producers.iter().map(|view| view.producer_id).collect();
        assert!(kept.len() >= PRODUCERS_MAX * 7 / 8);
        let newest = 3 * PRODUCERS_MAX as i64 - 1;
        assert_eq!(
            kept,
            (newest - kept.len() as i64 + 1..=newest).collect::<Vec<_>>()
        );
        assert_eq!(Producers::decode(&producers.encode()), Ok(producers));
    }

    proptest! {
        /// A client that repeats and skips at random, against a plain list of all it was told.
        #[test]
        fn every_batch_is_appended_once_and_in_order(
            start in prop_oneof![
                Just(0),
                Just(i32::MAX - 20),
                any::<i32>().prop_map(|at| at & i32::MAX),
            ],
            steps in prop::collection::vec((0usize..8, 1i32..9, any::<bool>()), 1..60),
        ) {
            let (mut producers, mut end) = (Producers::default(), 0);
            let mut told: Vec<(i32, i32, i64)> = Vec::new();
            let mut next = start;
            for (back, count, restart) in steps {
                if restart {
                    producers = Producers::decode(&producers.encode()).expect("undamaged");
                }
                if back == 0 || told.is_empty() {
                    let before = end;
                    let base = send(&mut producers, &mut end, &batch(7, 1, next, count));
                    prop_assert_eq!(base, Ok(before));
                    told.push((next, count, before));
                    next = sequence_plus(next, count);
                } else if let Some(at) = told.len().checked_sub(back) {
                    let (sequence, count, base) = told[at];
                    let again = send(&mut producers, &mut end, &batch(7, 1, sequence, count));
                    prop_assert_eq!(again.ok(), (back <= BATCHES_MAX).then_some(base));
                    let skipped = producers.check(&batch(7, 1, sequence_plus(next, 1), count));
                    prop_assert!(skipped.is_err());
                }
                let counts = told.iter().map(|(_, count, _)| i64::from(*count));
                prop_assert_eq!(end, counts.sum::<i64>());
            }
        }

        #[test]
        fn damaged_checkpoints_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Producers::decode(&bytes).is_err());
            let sealed = checkpoint::seal(MAGIC, VERSION, &bytes).expect("small");
            if let Ok(producers) = Producers::decode(&sealed) {
                prop_assert_eq!(producers.encode(), sealed);
            }
        }
    }
}
