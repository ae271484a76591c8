//! What all threads of one run share.

use crate::batch::Template;
use crate::client::Cluster;
use crate::model::{Keys, Workload};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A time that is not known yet.
pub(crate) const NEVER: u64 = u64::MAX;

pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) topics: Vec<String>,
    pub(crate) cluster: Cluster,
    pub(crate) template: Template,
    /// Tells the records of this run from all others.
    pub(crate) number: u32,
    /// Moments on the harness's clock: the schedule and what is measured begin, and all ends.
    pub(crate) schedule_from: AtomicU64,
    pub(crate) measure_from: AtomicU64,
    pub(crate) measure_to: AtomicU64,
    /// Producers fill the topics as fast as they can, before anything is scheduled.
    pub(crate) filling: AtomicBool,
    pub(crate) consuming: AtomicBool,
    pub(crate) give_up: AtomicBool,
    pub(crate) filled_bytes: AtomicU64,
    /// Bytes of records that may wait to be sent, of all threads together.
    pub(crate) held_bytes_max: u64,
    /// Threads that still have records on their way.
    pub(crate) producing: AtomicUsize,
    /// Acknowledged records by topic and partition.
    pub(crate) acked: Vec<AtomicU64>,
}

impl Plan {
    pub(crate) fn at(time: &AtomicU64) -> u64 {
        time.load(Ordering::Acquire)
    }

    /// Whether a moment belongs to the measured time.
    pub(crate) fn measured(&self, time: u64) -> bool {
        time >= Self::at(&self.measure_from) && time < Self::at(&self.measure_to)
    }

    /// What the schedule is drawn from.
    pub(crate) fn seed(&self) -> u64 {
        let own = || u64::from(self.number);
        self.workload.seed.unwrap_or_else(own)
    }

    pub(crate) fn slot(&self, topic: usize, partition: u32) -> usize {
        topic * self.workload.partitions_per_topic as usize + partition as usize
    }

    pub(crate) fn keyed(&self) -> bool {
        self.workload.keys != Keys::None
    }
}
