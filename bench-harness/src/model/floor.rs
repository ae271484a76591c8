//! What the machine can do at all.

use super::Latency;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Floor {
    pub(crate) figures: Vec<FloorFigure>,
    /// What could not be measured here, and why.
    #[serde(default)]
    pub(crate) left_out: Vec<String>,
}

/// One figure; `group` and `name` together are its identity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FloorFigure {
    /// Such as "disk", "loopback", "checksum", "cores", "server".
    pub(crate) group: String,
    /// Such as "write + flush, 64 KiB".
    pub(crate) name: String,
    pub(crate) bytes_per_s: Option<f64>,
    pub(crate) operations_per_s: Option<f64>,
    /// CPU of the measured side, in seconds for each GB (10^9 bytes) and in ns for each operation.
    pub(crate) cpu_s_per_gb: Option<f64>,
    pub(crate) cpu_ns_per_operation: Option<f64>,
    pub(crate) latency: Option<Latency>,
    /// How it was measured, in a few words.
    pub(crate) how: String,
    /// Of how many rounds the figures are the median; latencies are those of all rounds together.
    #[serde(default)]
    pub(crate) rounds: u32,
    /// Lowest and highest rate of a round (bytes/s, or operations/s where no bytes are counted).
    #[serde(default)]
    pub(crate) spread: Option<(f64, f64)>,
    /// Why the figure is not to be trusted.
    #[serde(default)]
    pub(crate) doubt: Option<String>,
}
