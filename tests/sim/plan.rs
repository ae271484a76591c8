//! What a seed decides once for all its lives: the look of disks and topics, and its habits.

use reactor::sim::Rng;
use std::path::PathBuf;
use storage::types::{Durability, LogConfig, StoreConfig, TopicId};

/// A mistake made around the storage on purpose, which must be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Data is appended before its topic's creation is durable.
    DataBeforeCreation,
    /// A topic's files are given up before its tombstone is durable.
    DeleteBeforeTombstone,
    /// The lock is free while writes of a killed process are in flight.
    LockEndsEarly,
}

impl Mistake {
    pub(crate) const ALL: [Self; 3] = [
        Self::DataBeforeCreation,
        Self::DeleteBeforeTombstone,
        Self::LockEndsEarly,
    ];
}

/// What else may go wrong with a seed's disks while a process runs. Starts are spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Devices are full for a while.
    Space,
    /// Writes, reads or flushes fail.
    Medium,
}

/// The habits of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) dirs: Vec<PathBuf>,
    /// Whether every log directory has a device of its own.
    pub(crate) own_devices: bool,
    pub(crate) journal_bytes: u64,
    pub(crate) recycle_bytes_max: u64,
    pub(crate) synced_writes: bool,
    /// Much is written and soon deleted, and lives end while segment files are recycled.
    pub(crate) churns: bool,
    /// Topics are deleted at once, and lives end with that.
    pub(crate) deletes: bool,
    pub(crate) lives: u64,
    pub(crate) shards_max: u64,
    pub(crate) topics_max: usize,
    /// Commands in one life, at most.
    pub(crate) commands_max: u64,
    /// Weights of append, create topic, delete topic, delete records, read, pause.
    pub(crate) weights: [u64; 6],
    /// Weights of small, middle and large batches.
    pub(crate) sizes: [u64; 3],
    /// Weights of clean stop, kill and power cut at the end of a life.
    pub(crate) ends: [u64; 3],
    /// Times out of 16 that a life ends during its recovery.
    pub(crate) early_ends: u64,
    /// Nanoseconds between two commands, at most.
    pub(crate) pace_ns: u64,
    pub(crate) latency_ns: u64,
    pub(crate) direct_allowed: bool,
    pub(crate) trouble: Option<Trouble>,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let dirs = rng.between(1, 3);
        let mut weights = [40, 3, 1, 2, 4, 2];
        let mut sizes = [6, 2, 1];
        let mut ends = [2, 3, 6];
        for weight in weights.iter_mut().chain(&mut sizes).chain(&mut ends) {
            // Some seeds never do a thing, some do little else.
            *weight *= [0, 1, 1, 1, 2, 6][rng.index(6)];
        }
        weights[0] = weights[0].max(20);
        weights[1] = weights[1].max(1);
        sizes[0] = sizes[0].max(1);
        ends[2] = ends[2].max(1);
        Self {
            dirs: (0..dirs)
                .map(|at| PathBuf::from(format!("/log{at}")))
                .collect(),
            own_devices: rng.chance(1, 2),
            journal_bytes: [128, 192, 256, 512][rng.index(4)] * 1024,
            recycle_bytes_max: [0, 256, 1024, 4096][rng.index(4)] * 1024,
            synced_writes: rng.chance(1, 2),
            churns: false,
            deletes: false,
            lives: rng.between(3, 8),
            shards_max: rng.between(1, 3),
            topics_max: rng.between(1, 5) as usize,
            commands_max: [10, 40, 150][rng.index(3)],
            weights,
            sizes,
            ends,
            early_ends: rng.between(0, 6),
            pace_ns: [20_000, 200_000, 1_000_000][rng.index(3)],
            latency_ns: [20_000, 200_000][rng.index(2)],
            direct_allowed: rng.chance(7, 8),
            trouble: [Some(Trouble::Space), Some(Trouble::Medium), None][rng.index(16).min(2)],
        }
    }

    /// The same where segment files are used again and again.
    pub(crate) fn churning(self, rng: &mut Rng) -> Self {
        Self {
            recycle_bytes_max: [256, 1024, 4096][rng.index(3)] * 1024,
            topics_max: rng.between(1, 3) as usize,
            commands_max: 300,
            weights: [90, 3, rng.below(2), [1, 8][rng.index(2)], 3, 3],
            sizes: [2, 2, [4, 12][rng.index(2)]],
            early_ends: rng.between(0, 2),
            pace_ns: self.pace_ns.max(200_000),
            latency_ns: 20_000,
            direct_allowed: true,
            churns: true,
            ..self
        }
    }

    /// Short lives in which topics are deleted right after records in bulk, and little else.
    pub(crate) fn deleting(self) -> Self {
        Self {
            lives: 8,
            topics_max: 5,
            commands_max: 60,
            weights: [30, 4, 3, 0, 0, 1],
            sizes: [1, 0, 6],
            ends: [0, 6, 6],
            early_ends: 0,
            pace_ns: 100_000,
            latency_ns: 200_000,
            deletes: true,
            ..self
        }
    }

    pub(crate) fn store(&self, shard: u16, shards: u16) -> StoreConfig {
        // Every other seed saves often, and has full states as often; the others have long rows of
        // extents in their journals instead.
        let often = self.lives.is_multiple_of(2);
        let checkpoint_bytes = if often {
            self.journal_bytes / 2
        } else {
            16 << 20
        };
        // About half of the seeds move block by block to their small segments, the others in runs
        // of the usual length, which few of these segments have.
        let destage_bytes = if self.early_ends.is_multiple_of(2) {
            4 << 10
        } else {
            64 << 10
        };
        StoreConfig {
            dirs: self.dirs.clone(),
            shard,
            shards,
            journal_bytes: self.journal_bytes,
            journal_first_bytes: self.journal_bytes / 4,
            recycle_bytes_max: self.recycle_bytes_max,
            clear_bytes: 16 << 10,
            destage_bytes,
            checkpoint_bytes,
            replay_bytes: checkpoint_bytes / 2,
            retention_check_ms: 50,
            synced_writes: self.synced_writes,
        }
    }
}

/// The settings of a topic follow from its id, so that nobody has to store them.
pub(crate) fn log_config(topic: TopicId) -> LogConfig {
    let draw = topic.0[15];
    let segment_bytes = [16, 32, 64, 192][usize::from(draw % 4)] * 1024;
    LogConfig {
        segment_bytes,
        segment_ms: if draw & 16 == 0 {
            7 * 24 * 3_600_000
        } else {
            200
        },
        retention_ms: (topic.0[14] & 2 != 0).then_some(300),
        durability: if topic.0[14] & 1 == 0 {
            Durability::Disk
        } else {
            Durability::Memory
        },
        retention_bytes: (draw & 32 != 0).then_some(2 * segment_bytes),
        ..LogConfig::default()
    }
}

/// Picks an index by weight.
pub(crate) fn pick(rng: &mut Rng, weights: &[u64]) -> usize {
    let mut left = rng.below(weights.iter().sum());
    for (at, weight) in weights.iter().enumerate() {
        if left < *weight {
            return at;
        }
        left -= weight;
    }
    weights.len() - 1
}
