//! Workloads against one broker that runs already.

use crate::brokers;
use crate::engine;
use crate::failure::{Failure, Outcome};
use crate::load::Load;
use crate::model::{Latency, Run};
use crate::report;
use crate::report::terminal::{Progress, summary};
use crate::report::units::Unit;
use crate::stage::{self, Cast, Cores, headrooms};
use clap::Args;
use std::path::PathBuf;

const NAME: &str = "broker";

/// Runs workloads against a broker that runs already.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// HOST:PORT of the broker
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// Its process, for what the kernel says that it costs; found by the port if not given
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    load: Load,
    /// Cores that the threads of the load generator are pinned to, with commas between them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cores: Vec<usize>,
    /// Writes the results, with the headroom of the load generator, for `report`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leaves the headroom of the load generator out
    #[arg(long)]
    no_headroom: bool,
    /// Only measures what the load generator itself can do here
    #[arg(long)]
    headroom: bool,
}

pub(crate) fn command(options: &RunOptions) -> Outcome<()> {
    let workloads = options.load.workloads(&["produce"])?;
    if options.headroom {
        for workload in &workloads {
            let headroom = engine::headroom(workload, &options.cores)?;
            println!(
                "{}: {:.0} records/s at most; p50 {} us, p99 {} us, p99.9 {} us",
                headroom.workload,
                headroom.records_per_s,
                headroom.ack_p50_us,
                headroom.ack_p99_us,
                headroom.ack_p999_us
            );
        }
        return Ok(());
    }
    let running = brokers::at_address(NAME, &options.bootstrap, options.pid)?;
    let cores = Cores {
        brokers: Vec::new(),
        generator: options.cores.clone(),
    };
    let mut report = stage::blank(&std::env::temp_dir(), &cores, 1);
    "not known: the broker ran before".clone_into(&mut report.machine.storage);
    "not known: the broker ran before".clone_into(&mut report.machine.broker_cores);
    if options.cores.is_empty() {
        "not pinned".clone_into(&mut report.machine.generator_cores);
    }
    let mut progress = Progress::new();
    if options.json.is_some() && !options.no_headroom {
        report.headroom = headrooms(&workloads, &cores, &mut progress)?;
    }
    let mut cast = Cast::of(running, &cores);
    for workload in &workloads {
        let comparison = cast.compare(workload, 1, &mut progress)?;
        report.comparisons.push(comparison);
        if let Some(path) = &options.json {
            report::write_results(&report, path)?;
        }
    }
    summary(&report);
    let mut runs = report
        .comparisons
        .iter()
        .flat_map(|comparison| &comparison.brokers)
        .flat_map(|measured| &measured.rounds);
    runs.clone().for_each(generator);
    match runs.any(|run| run.doubts.iter().any(|doubt| doubt.fatal)) {
        true => Err(Failure::new("figures are not valid, for the reasons above")),
        false => Ok(()),
    }
}

/// What the load generator did, for those who doubt it.
fn generator(run: &Run) {
    let times = |latency: &Latency| {
        let text = |q| match latency.at(q) {
            Some(us) => Unit::Micros.show(us as f64),
            None => "-".to_owned(),
        };
        format!("p50 {}, p99 {}, max {}", text(0.5), text(0.99), text(1.0))
    };
    println!("\nload generator");
    println!("  came to records   {}", times(&run.generator_delay));
    println!("  sent them         {}", times(&run.send_delay));
    println!(
        "  used              {:.2} s of CPU, busy for {:.0} % of the time",
        run.generator_cpu_s,
        run.generator_busy * 100.0
    );
    if let Some(stolen) = run.stolen {
        println!("  the host took     {:.1} % of all cores", stolen * 100.0);
    }
    println!(
        "  made              {} produce and {} fetch requests",
        run.counts.produce_requests, run.counts.fetch_requests
    );
}
