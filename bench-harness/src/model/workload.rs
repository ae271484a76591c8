//! What is asked of a broker.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A workload, checked: every combination of values that exists can be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) topics: u32,
    pub(crate) partitions_per_topic: u32,
    /// Settings that the topics are created with.
    pub(crate) topic_settings: Vec<(String, String)>,
    /// Of a record's value, in bytes.
    pub(crate) record_bytes: u32,
    pub(crate) keys: Keys,
    pub(crate) compression: String,
    /// 0, 1 or -1 (all).
    pub(crate) acks: i16,
    pub(crate) idempotent: bool,
    pub(crate) producers_per_topic: u32,
    /// A batch is sent when it has so many bytes ...
    pub(crate) batch_bytes: u32,
    /// ... or when its first record has waited so long.
    pub(crate) linger: Duration,
    /// Requests of one producer that may be unanswered; what is due meanwhile waits and counts.
    pub(crate) in_flight_max: u32,
    pub(crate) pace: Pace,
    pub(crate) subscriptions_per_topic: u32,
    pub(crate) consumers_per_subscription: u32,
    /// Consumers stay away until so many bytes wait for them, then drain while producing goes on.
    pub(crate) backlog_bytes: u64,
    /// Not measured.
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) generator_threads: u32,
    pub(crate) idle: Idle,
    /// Repeats the schedule of another run with the same one; without it each run has its own.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
}

impl Workload {
    /// What all producers may have on their way together, in bytes.
    pub(crate) fn in_flight_bytes(&self) -> u64 {
        let parts = [
            self.producers_per_topic,
            self.in_flight_max,
            self.batch_bytes,
        ];
        let first = u64::from(self.topics);
        parts
            .iter()
            .fold(first, |all, part| all.saturating_mul((*part).into()))
    }
}

/// When records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// Open loop: so many records a second by all producers together, each with its own intended
    /// time, whatever became of those before.
    Rate { records_per_s: f64 },
    /// Closed loop: as many as the broker takes.
    Maximum,
    /// Nothing is produced; what is there is consumed.
    ConsumeOnly,
}

/// How records find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keys {
    /// No key; each producer fills a batch for one partition, then goes to the next.
    None,
    /// Keys drawn evenly from so many, partition by Kafka's hash.
    Random { distinct: u32 },
}

/// What a thread of the generator does when nothing is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Idle {
    /// Sleeps in the kernel until the next event or intended time.
    Park,
    /// Keeps asking: sharper times, a whole core.
    Spin,
}
