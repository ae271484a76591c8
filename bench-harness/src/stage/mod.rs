//! What is on stage while something is measured: the cores, the brokers and who uses them.

mod alternate;
mod cast;
mod cores;
mod measure;
mod warm;

pub(crate) use cast::Cast;
pub(crate) use cores::Cores;
pub(crate) use measure::headrooms;
pub(crate) use warm::Warmth;

use crate::brokers::Running;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::kernel;
use crate::model::{FORMAT, Machine, Report};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where brokers run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SiteOptions {
    /// Folder for the brokers' data while they run, on a disk worth measuring
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// The program of ringlog; the one beside this one if not given
    #[arg(long, value_name = "PATH")]
    pub(crate) ringlog: Option<PathBuf>,
    /// Cores of the brokers, such as 0 or 0-3,6; the first half if not given
    #[arg(long, value_name = "LIST")]
    pub(crate) broker_cores: Option<String>,
    /// Cores of the load generator; the others if not given
    #[arg(long, value_name = "LIST")]
    pub(crate) generator_cores: Option<String>,
}

impl SiteOptions {
    pub(crate) fn cores(&self) -> Outcome<Cores> {
        Cores::split(
            self.broker_cores.as_deref(),
            self.generator_cores.as_deref(),
        )
    }
}

/// Keeps our own threads off the brokers' cores; brokers get theirs when they start.
pub(crate) fn step_aside(cores: &Cores) -> Outcome<()> {
    kernel::set_cores(&cores.generator).map_err(|error| {
        Failure::new(format!(
            "cannot keep to the cores of the generator: {error}"
        ))
        .advise("name others with --generator-cores")
    })
}

/// A report that has everything but results; data of brokers goes to `data`.
pub(crate) fn blank(data: &Path, cores: &Cores, brokers: usize) -> Report {
    let machine = kernel::machine(data);
    let shared = match brokers {
        0 | 1 => "",
        _ => ", shared by the brokers; those that are not measured are left running and idle",
    };
    Report {
        format: FORMAT,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        began: clock::now(),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: Machine {
            generator_cores: cores::shown(&cores.generator),
            broker_cores: format!("{}{shared}", cores::shown(&cores.brokers)),
            ..machine
        },
        headroom: Vec::new(),
        comparisons: Vec::new(),
        floor: None,
    }
}

/// How long brokers are watched, and the share of a core below which they count as idle.
const WATCH: Duration = Duration::from_millis(250);
const IDLE_SHARE: f64 = 0.1;
const SETTLE_PATIENCE: Duration = Duration::from_secs(20);

/// Waits until no broker has work left over from before, in the page cache neither: whoever is
/// measured next would wait behind it for the disk. False if they never rest.
fn settle(brokers: &[Running]) -> bool {
    rustix::fs::sync();
    let pids: Vec<u32> = brokers.iter().filter_map(|broker| broker.pid).collect();
    let cpu = || -> f64 {
        let glances = pids.iter().filter_map(|pid| kernel::glance(*pid).ok());
        glances.map(|glance| glance.cpu_s).sum()
    };
    let until = Instant::now() + SETTLE_PATIENCE;
    let mut before = cpu();
    while !pids.is_empty() {
        std::thread::sleep(WATCH);
        let now = cpu();
        if now - before <= IDLE_SHARE * WATCH.as_secs_f64() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        before = now;
    }
    true
}

/// CPU that the other brokers have used until now, by all together.
fn cpu_of_others(brokers: &[Running], measured: usize) -> f64 {
    let others = brokers.iter().enumerate().filter(|(at, _)| *at != measured);
    let pids = others.filter_map(|(_, broker)| broker.pid);
    let glances = pids.filter_map(|pid| kernel::glance(pid).ok());
    glances.map(|glance| glance.cpu_s).sum()
}

/// Brokers that are still to be seen, in the order in which they were named.
fn check(brokers: &mut [Running]) -> Outcome<()> {
    brokers.iter_mut().try_for_each(Running::check)
}
