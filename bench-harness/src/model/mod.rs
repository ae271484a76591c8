//! What a measurement says, as plain values: the engine, the floor and the comparison fill them
//! in, the reports show them. Reports are files, so a field that is renamed is a break.

mod cost;
mod floor;
mod latency;
mod run;
mod setup;
mod workload;

pub(crate) use cost::Cost;
pub(crate) use floor::{Floor, FloorFigure};
pub(crate) use latency::{Latency, micros};
pub(crate) use run::{Counts, Doubt, Headroom, Interval, Run};
pub(crate) use setup::{Broker, Durability, Machine};
pub(crate) use workload::{Idle, Keys, Pace, Workload};

use serde::{Deserialize, Serialize};

/// Raised with every change that an older reader would misunderstand.
pub(crate) const FORMAT: u32 = 1;

/// One file of results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) format: u32,
    /// What was asked, as it was typed.
    pub(crate) command: String,
    /// When it began, RFC 3339 in UTC.
    pub(crate) began: String,
    pub(crate) harness_version: String,
    pub(crate) machine: Machine,
    /// What the load generator itself can do here, against a server that does nothing.
    pub(crate) headroom: Vec<Headroom>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) floor: Option<Floor>,
}

/// One workload against one or several brokers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    /// The first one is what the others are compared with.
    pub(crate) brokers: Vec<Measured>,
}

/// All rounds of one broker, in the order in which they were made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) broker: Broker,
    pub(crate) rounds: Vec<Run>,
}
