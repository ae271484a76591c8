//! The surroundings of a measurement.

use serde::{Deserialize, Serialize};

/// The machine that the load generator, and mostly the brokers too, ran on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    /// File system and device of the data, such as "ext4 on vdb, virtio, volatile write cache".
    pub(crate) storage: String,
    /// One-minute load average before the first run.
    pub(crate) load_average: f64,
    /// Cores of the load generator and of the brokers that it started, such as "1" and "0".
    pub(crate) generator_cores: String,
    pub(crate) broker_cores: String,
}

/// A broker as it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Broker {
    /// What reports call it, such as "ringlog" or "kafka-flush".
    pub(crate) name: String,
    /// Product and version, as far as known.
    pub(crate) version: String,
    pub(crate) address: String,
    /// What it was started with, or "already running".
    pub(crate) started: String,
    pub(crate) durability: Durability,
    /// Records it had taken before it was measured, and what showed that it was warm.
    pub(crate) warmed: String,
}

/// What an acknowledgement means there, as asked of the broker before measuring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Durability {
    /// "on disk", "in memory (page cache)", "not known".
    pub(crate) meaning: String,
    /// The settings that say so, with their values, or why it cannot be known.
    pub(crate) evidence: String,
}
