//! One round of one workload against one broker.

use super::{Cost, Latency};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// How long was measured, without the warm-up, in seconds.
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    /// From the intended time of a record to its acknowledgement.
    pub(crate) ack: Latency,
    /// From the intended time of a record to the moment a consumer had it; empty without consumers.
    pub(crate) end_to_end: Latency,
    /// From the intended time of a record to the write of its request: what the generator, its
    /// batching and full sockets add.
    pub(crate) send_delay: Latency,
    /// From the intended time of a record to the moment when the generator came to it: what the
    /// generator alone adds, whatever the broker does.
    #[serde(default)]
    pub(crate) generator_delay: Latency,
    /// One a second, of the measured time.
    pub(crate) intervals: Vec<Interval>,
    /// The same of every 30 seconds, where so many were measured; what is left over is in none.
    #[serde(default)]
    pub(crate) windows: Vec<Interval>,
    /// What the broker used meanwhile; none where its process is not on this machine.
    pub(crate) cost: Option<Cost>,
    /// CPU of the load generator in seconds.
    pub(crate) generator_cpu_s: f64,
    /// Share of the time in which the busiest thread of the generator was busy, 0 to 1.
    pub(crate) generator_busy: f64,
    /// Share of the time of all cores that whoever runs this virtual machine took for something
    /// else while something was to be done, 0 to 1; none where the kernel does not tell.
    #[serde(default)]
    pub(crate) stolen: Option<f64>,
    /// Why these figures may not be believed; empty if nothing is known against them.
    pub(crate) doubts: Vec<Doubt>,
}

/// Records and bytes of the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Records that should have been sent, by the schedule; in a closed loop those that were sent.
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) consumed: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) consumed_bytes: u64,
    pub(crate) produce_requests: u64,
    pub(crate) fetch_requests: u64,
    /// Records that were written more than a millisecond after they could have been: intended time
    /// plus linger.
    pub(crate) late: u64,
    /// Records with an error in the acknowledgement or none at all, by Kafka's name for it.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Responses with a throttle time, and the sum of those in ms.
    pub(crate) throttled: u64,
    pub(crate) throttled_ms: u64,
    /// Times that nothing was acknowledged (or consumed) for 100 ms or more while something was
    /// awaited, and the longest of them in ms.
    pub(crate) stalls: u64,
    pub(crate) longest_stall_ms: u64,
    /// Connections that broke and were made again.
    pub(crate) reconnects: u64,
}

/// What happened in one second, or in one window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Its end, in seconds after the beginning of the measured time.
    pub(crate) at_s: f64,
    pub(crate) acked: u64,
    pub(crate) consumed: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) consumed_bytes: u64,
    pub(crate) ack_p50_us: u64,
    pub(crate) ack_p99_us: u64,
    #[serde(default)]
    pub(crate) ack_p999_us: u64,
    pub(crate) ack_max_us: u64,
    pub(crate) end_to_end_p50_us: u64,
    pub(crate) end_to_end_p99_us: u64,
    #[serde(default)]
    pub(crate) end_to_end_p999_us: u64,
    pub(crate) end_to_end_max_us: u64,
    /// CPU of the broker in seconds; none if its process is not on this machine.
    pub(crate) broker_cpu_s: Option<f64>,
    /// Resident memory of the broker in bytes, huge pages included.
    pub(crate) broker_memory_bytes: Option<u64>,
    /// Open descriptors of the broker.
    pub(crate) broker_descriptors: Option<u64>,
}

/// A reason not to believe a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    /// True: the figures of the run are not valid. False: read them with this in mind.
    pub(crate) fatal: bool,
    /// What is wrong, and what to do about it; one sentence or two.
    pub(crate) what: String,
}

/// The load generator against a server that takes requests and answers without doing anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Headroom {
    /// The name of the workload.
    pub(crate) workload: String,
    pub(crate) records_per_s: f64,
    pub(crate) ack_p50_us: u64,
    pub(crate) ack_p99_us: u64,
    pub(crate) ack_p999_us: u64,
}
