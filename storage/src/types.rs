//! Names and settings that every room of this crate, and the broker above it, shares.

use std::path::PathBuf;

/// A topic's UUID: made once at creation, never reused (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    pub topic: TopicId,
    pub index: i32,
}

/// The log of cluster metadata: owned by shard 0, recovered before every other partition.
pub const METADATA: PartitionId = PartitionId {
    topic: TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    index: 0,
};

/// A partition's place in its shard's store: cheap to copy, valid until the partition is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Chosen by the caller of a read that may have to wait for the disk, returned with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What an acknowledgement of a partition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// On media before the acknowledgement.
    #[default]
    Disk,
    /// In memory at the acknowledgement; written behind it.
    Memory,
}

/// The settings of one partition's log. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub segment_bytes: u64,
    pub segment_ms: u64,
    pub segment_jitter_ms: u64,
    /// `None`: kept for ever.
    pub retention_ms: Option<u64>,
    /// `None`: without bound.
    pub retention_bytes: Option<u64>,
    pub index_interval_bytes: u32,
    pub durability: Durability,
    /// Producer state is dropped this long after the producer's last append.
    pub producer_expiration_ms: u64,
}

impl Default for LogConfig {
    /// Kafka's defaults (`LogConfig.java`, 4.2).
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            index_interval_bytes: 4096,
            durability: Durability::Disk,
            producer_expiration_ms: 24 * 3_600_000,
        }
    }
}

/// A partition that exists according to the metadata, and the shard that owns it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlivePartition {
    pub id: PartitionId,
    pub owner: u16,
    pub config: LogConfig,
}

/// How one shard's store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The log directories (`log.dirs`), the first of which holds the metadata log.
    pub dirs: Vec<PathBuf>,
    pub shard: u16,
    /// Number of shards now, which may differ from what the directories were written with.
    pub shards: u16,
    /// Size of one journal file in bytes: a multiple of a block.
    pub journal_bytes: u64,
    /// Size of the very first one, which a start in an empty directory waits for, unless its
    /// opening takes more.
    pub journal_first_bytes: u64,
    /// Retired segment files kept for recycling: bytes for batches, per directory and shard.
    pub recycle_bytes_max: u64,
    /// A file that is removed gives its blocks back in pieces of so many bytes.
    pub clear_bytes: u64,
    /// Full blocks go to a segment in runs of at least so many bytes, unless space is wanted, and
    /// of up to four times as many where few partitions are written to; a multiple of a block.
    pub destage_bytes: u64,
    /// What is derived from a partition's batches is saved durably after so many bytes of them.
    pub checkpoint_bytes: u64,
    /// Bytes that a start after a kill should have to replay at most, all partitions together: what
    /// is derived from them is saved more often for it, but not durably.
    pub replay_bytes: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// Each write of a round is made durable by itself, where that takes no more flushes than one
    /// for all; otherwise what was written is flushed behind it.
    pub synced_writes: bool,
}

/// Spreads the bits of a number over all 64 (the finaliser of MurmurHash3, by way of SplitMix64).
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
