//! Where each leader epoch of a partition began, as Kafka's `LeaderEpochFileCache` knows it.
//! Consumers and followers find out with it whether what they read is still there (KIP-101,
//! KIP-320).

use crate::checkpoint::{self, CheckpointError};
use zerocopy::byteorder::little_endian::{I32, I64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 4] = *b"RLEP";
const VERSION: u16 = 1;

/// The answer about an epoch nobody knows.
pub const UNKNOWN: (i32, i64) = (-1, -1);

/// One epoch: its number and the offset of the first record appended in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub epoch: i32,
    pub start_offset: i64,
}

/// All known epochs of one partition, both numbers strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<Epoch>,
}

impl Epochs {
    /// Notes that `epoch` begins at `start_offset`, unless it is known to begin no later. Entries
    /// that contradict the new one go. Says whether anything changed.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 {
            return false;
        }
        if let Some(latest) = self.entries.last()
            && latest.epoch == epoch
            && start_offset >= latest.start_offset
        {
            return false;
        }
        let contradicts =
            |known: &Epoch| known.epoch >= epoch || known.start_offset >= start_offset;
        while self.entries.last().is_some_and(contradicts) {
            self.entries.pop();
        }
        self.entries.push(Epoch {
            epoch,
            start_offset,
        });
        true
    }

    /// The latest epoch that has records, or is about to have.
    #[must_use]
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Epoch] {
        &self.entries
    }

    /// The largest known epoch that is not above `epoch`, and the offset behind its last record:
    /// `log_end` for the latest, [`UNKNOWN`] above it. Below the first known epoch the answer is
    /// the asked epoch and the start of the first, since those records are deleted.
    #[must_use]
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> (i32, i64) {
        if epoch == UNKNOWN.0 {
            return UNKNOWN;
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let Some(higher) = self.entries.get(above) else {
            return UNKNOWN;
        };
        let floor = above
            .checked_sub(1)
            .map_or(epoch, |at| self.entries[at].epoch);
        (floor, higher.start_offset)
    }

    /// The epoch in which the record at `offset` was (or would be) appended.
    #[must_use]
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let above = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        above.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Forgets the epochs that end at or before `log_start`; the one it lies in begins there now.
    pub fn truncate_front(&mut self, log_start: i64) {
        let above = self
            .entries
            .partition_point(|entry| entry.start_offset <= log_start);
        if above > 0 {
            self.entries.drain(..above - 1);
            self.entries[0].start_offset = log_start;
        }
    }

    /// Forgets the epochs that begin at or behind `end`.
    pub fn truncate_back(&mut self, end: i64) {
        if end >= 0 {
            let kept = self
                .entries
                .partition_point(|entry| entry.start_offset < end);
            self.entries.truncate(kept);
        }
    }

    /// All of it as a checkpoint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let stored: Vec<Stored> = self.entries.iter().map(Stored::from).collect();
        checkpoint::seal(MAGIC, VERSION, stored.as_bytes()).expect(
            "twelve bytes for each epoch that a leader had in one lifetime of a log fit 4 GiB",
        )
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the checkpoint is damaged, of another version, or its entries do not rise.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let payload = checkpoint::open(MAGIC, VERSION, bytes)?;
        let stored = <[Stored]>::ref_from_bytes(payload).map_err(|_| CheckpointError::Content)?;
        let mut epochs = Self {
            entries: Vec::with_capacity(stored.len()),
        };
        for entry in stored {
            let kept = epochs.entries.len();
            let new = epochs.assign(entry.epoch.get(), entry.start_offset.get());
            if !new || epochs.entries.len() != kept + 1 {
                return Err(CheckpointError::Content);
            }
        }
        Ok(epochs)
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Stored {
    epoch: I32,
    start_offset: I64,
}

impl From<&Epoch> for Stored {
    fn from(entry: &Epoch) -> Self {
        Self {
            epoch: I32::new(entry.epoch),
            start_offset: I64::new(entry.start_offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, start) in entries {
            assert!(epochs.assign(epoch, start));
        }
        epochs
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect()
    }

    #[test]
    fn ends_are_those_of_kafka() {
        let epochs = of(&[(2, 10), (5, 20), (7, 30)]);
        assert_eq!(epochs.end_offset_for(7, 44), (7, 44));
        assert_eq!(epochs.end_offset_for(5, 44), (5, 30));
        assert_eq!(epochs.end_offset_for(6, 44), (5, 30));
        assert_eq!(epochs.end_offset_for(2, 44), (2, 20));
        assert_eq!(epochs.end_offset_for(0, 44), (0, 10));
        assert_eq!(epochs.end_offset_for(8, 44), UNKNOWN);
        assert_eq!(epochs.end_offset_for(-1, 44), UNKNOWN);
        assert_eq!(Epochs::default().end_offset_for(0, 44), UNKNOWN);
    }

    #[test]
    fn contradictions_go() {
        let mut epochs = of(&[(1, 0), (2, 10), (3, 20)]);
        assert!(!epochs.assign(3, 20));
        assert!(!epochs.assign(3, 25));
        assert!(!epochs.assign(-1, 30));
        assert!(epochs.assign(4, 10));
        assert_eq!(pairs(&epochs), [(1, 0), (4, 10)]);
        assert!(epochs.assign(4, 5));
        assert_eq!(pairs(&epochs), [(1, 0), (4, 5)]);
    }

    #[test]
    fn the_epoch_at_the_new_start_is_kept() {
        let mut epochs = of(&[(1, 0), (2, 10), (3, 20)]);
        epochs.truncate_front(10);
        assert_eq!(pairs(&epochs), [(2, 10), (3, 20)]);
        epochs.truncate_front(15);
        assert_eq!(pairs(&epochs), [(2, 15), (3, 20)]);
        epochs.truncate_front(99);
        assert_eq!(pairs(&epochs), [(3, 99)]);
        let mut epochs = of(&[(1, 5), (2, 10)]);
        epochs.truncate_front(3);
        epochs.truncate_back(10);
        assert_eq!(pairs(&epochs), [(1, 5)]);
    }

    proptest! {
        /// Against a list of which epoch every single offset was written in.
        #[test]
        fn agrees_with_a_list_of_every_offset(
            runs in prop::collection::vec((0i32..3, 0usize..4), 1..8),
            asked in -1i32..20,
        ) {
            let mut epochs = Epochs::default();
            let mut written = Vec::new();
            let mut epoch = 0;
            for (step, records) in runs {
                epoch += step;
                for _ in 0..records {
                    epochs.assign(epoch, written.len() as i64);
                    written.push(epoch);
                }
            }
            let end = written.len() as i64;
            for (offset, epoch) in written.iter().enumerate() {
                prop_assert_eq!(epochs.epoch_at(offset as i64), Some(*epoch));
            }
            let latest = written.last().copied();
            prop_assert_eq!(epochs.latest(), latest);
            let expected = match latest {
                Some(latest) if asked >= 0 && asked <= latest => {
                    let floor = written.iter().filter(|epoch| **epoch <= asked).max();
                    let behind = written.iter().position(|epoch| *epoch > asked);
                    (*floor.unwrap_or(&asked), behind.map_or(end, |at| at as i64))
                }
                _ => UNKNOWN,
            };
            prop_assert_eq!(epochs.end_offset_for(asked, end), expected);
            prop_assert_eq!(&Epochs::decode(&epochs.encode()), &Ok(epochs));
        }
    }
}
