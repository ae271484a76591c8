//! What the load generator itself can do here.

use super::{Observer, Target, run};
use crate::failure::{Failure, Outcome};
use crate::model::{Cost, Headroom, Interval, Pace, Workload};
use crate::null_server;
use std::time::Duration;

const WARMUP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(2);

/// Batches on their way, in bytes: as many as a rate may ask for, at full speed, fill any memory.
const IN_FLIGHT_BYTES_MAX: u64 = 256 << 20;

struct Nobody;

impl Observer for Nobody {
    fn began(&mut self) {}

    fn second(&mut self, _: &mut Interval) {}

    fn ended(&mut self) -> Option<Cost> {
        None
    }
}

/// The producers of a workload against a server that keeps nothing: how many records they could
/// send at most, and the latency that they see at the asked rate.
pub(crate) fn headroom(workload: &Workload, cores: &[usize]) -> Outcome<Headroom> {
    let server = null_server::start(cores)?;
    let target = Target {
        address: server.address.clone(),
        cores: cores.to_vec(),
    };
    let mut most = workload.clone();
    most.subscriptions_per_topic = 0;
    most.producers_per_topic = most.producers_per_topic.max(1);
    most.backlog_bytes = 0;
    most.idempotent = false;
    most.topic_settings.clear();
    most.warmup = WARMUP;
    most.measured = MEASURED;
    most.pace = Pace::Maximum;
    most.in_flight_max = in_flight_max(&most);
    let fastest = run(&most, &target, &mut Nobody)?;
    if fastest.counts.acked == 0 {
        let why = fastest.doubts.first();
        return Err(Failure::new(format!(
            "the limit of the load generator itself could not be measured: {}",
            why.map_or("nothing was acknowledged", |doubt| &doubt.what)
        )));
    }
    let latency = match workload.pace {
        Pace::Rate { .. } => {
            most.pace = workload.pace;
            most.in_flight_max = workload.in_flight_max;
            run(&most, &target, &mut Nobody)?.ack
        }
        _ => fastest.ack.clone(),
    };
    Ok(Headroom {
        workload: workload.name.clone(),
        records_per_s: fastest.counts.acked as f64 / fastest.seconds,
        ack_p50_us: latency.at(0.5).unwrap_or(0),
        ack_p99_us: latency.at(0.99).unwrap_or(0),
        ack_p999_us: latency.at(0.999).unwrap_or(0),
    })
}

/// Requests of one producer that may be unanswered at full speed.
pub(super) fn in_flight_max(workload: &Workload) -> u32 {
    let one_each = Workload {
        in_flight_max: 1,
        ..workload.clone()
    };
    let most = IN_FLIGHT_BYTES_MAX / one_each.in_flight_bytes().max(1);
    most.clamp(1, workload.in_flight_max.max(1).into()) as u32
}
