//! One round of one workload against one broker, with the kernel's account of it.

use super::Cores;
use crate::brokers::Running;
use crate::engine::{self, Observer, Target};
use crate::failure::Outcome;
use crate::kernel::{self, Meter};
use crate::model::{Cost, Headroom, Interval, Run, Workload};
use crate::report::terminal::Progress;
use crate::report::units::Unit;
use std::path::PathBuf;

/// Looks at the broker while the load generator works, and tells about both.
pub(crate) struct Watch<'a> {
    pid: Option<u32>,
    data: Option<PathBuf>,
    meter: Option<Meter>,
    cpu_s: f64,
    progress: &'a mut Progress,
    /// What the line about it begins with.
    label: String,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(broker: &Running, label: String, progress: &'a mut Progress) -> Self {
        progress.now(&label);
        Self {
            pid: broker.pid,
            data: broker.data.clone(),
            meter: None,
            cpu_s: 0.0,
            progress,
            label,
        }
    }
}

impl Observer for Watch<'_> {
    fn began(&mut self) {
        let Some(pid) = self.pid else {
            return;
        };
        // A broker that is gone shows in the run itself.
        self.meter = Meter::begin(pid, self.data.as_deref()).ok();
        self.cpu_s = kernel::glance(pid).map_or(0.0, |glance| glance.cpu_s);
    }

    fn second(&mut self, interval: &mut Interval) {
        let glance = self.pid.and_then(|pid| kernel::glance(pid).ok());
        if let Some(glance) = glance {
            interval.broker_cpu_s = Some(glance.cpu_s - self.cpu_s);
            interval.broker_memory_bytes = Some(glance.memory_bytes);
            interval.broker_descriptors = glance.descriptors;
            self.cpu_s = glance.cpu_s;
        }
        let text = format!(
            "{}, {:.0} s: {}",
            self.label,
            interval.at_s,
            second(interval)
        );
        self.progress.now(&text);
    }

    fn ended(&mut self) -> Option<Cost> {
        self.meter.take()?.end().ok()
    }
}

fn second(interval: &Interval) -> String {
    let mut parts = Vec::new();
    for (what, count, p99) in [
        ("acknowledged", interval.acked, interval.ack_p99_us),
        ("consumed", interval.consumed, interval.end_to_end_p99_us),
    ] {
        if count > 0 {
            let rate = Unit::Rate.show(count as f64);
            let p99 = Unit::Micros.show(p99 as f64);
            parts.push(format!("{rate} {what}, p99 {p99}"));
        }
    }
    if parts.is_empty() {
        return "nothing yet".to_owned();
    }
    parts.join("; ")
}

pub(crate) fn perform(
    workload: &Workload,
    broker: &Running,
    cores: &Cores,
    mut watch: Watch<'_>,
) -> Outcome<Run> {
    let target = Target {
        address: broker.broker.address.clone(),
        cores: cores.generator.clone(),
    };
    engine::run(workload, &target, &mut watch)
}

/// Of each workload that the load generator paces or fills itself.
pub(crate) fn headrooms(
    workloads: &[Workload],
    cores: &Cores,
    progress: &mut Progress,
) -> Outcome<Vec<Headroom>> {
    let mut all = Vec::new();
    for workload in workloads {
        progress.now(&format!("headroom of {}", workload.name));
        all.push(engine::headroom(workload, &cores.generator)?);
    }
    Ok(all)
}
