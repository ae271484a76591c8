//! A first answer in under a minute.

use crate::brokers::{Work, specs};
use crate::failure::Outcome;
use crate::floor;
use crate::model::{Idle, Keys, Pace, Workload};
use crate::report;
use crate::report::terminal::{Progress, summary};
use crate::stage::{self, Cast, SiteOptions, Warmth, headrooms};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// What ringlog does on this machine, in less than a minute.
#[derive(Args)]
pub(crate) struct QuickOptions {
    /// Measures Apache Kafka beside it: needs Java and Maven, and a minute more
    #[arg(long)]
    with_kafka: bool,
    /// Folder for results and page
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    #[command(flatten)]
    site: SiteOptions,
}

pub(crate) fn command(options: &QuickOptions) -> Outcome<()> {
    let list = if options.with_kafka {
        "ringlog,kafka"
    } else {
        "ringlog"
    };
    let specs = specs(list)?;
    let cores = options.site.cores()?;
    let work = Work::new(options.site.work.as_deref())?;
    let mut report = stage::blank(work.run(), &cores, specs.len());
    stage::step_aside(&cores)?;
    let mut progress = Progress::new();
    let mut cast = Cast::start(
        &specs,
        &work,
        &cores,
        &options.site,
        Some(Warmth::BRIEF),
        &mut progress,
    )?;
    let workloads = [maximum(), end_to_end()];
    report.headroom = headrooms(&workloads, &cores, &mut progress)?;
    for workload in &workloads {
        report
            .comparisons
            .push(cast.compare(workload, 1, &mut progress)?);
    }
    cast.stop();
    let (server, load) = (cores.brokers.first(), cores.generator.first());
    let told = &mut |text: &str| progress.now(text);
    let floor = floor::brief(work.run(), server.copied(), load.copied(), told);
    report.floor = Some(floor);
    report::write(&report, &options.out)?;
    progress.done("done");
    summary(&report);
    println!(
        "\nresults and page: {}",
        options.out.join("report.html").display()
    );
    Ok(())
}

/// As many records of 100 bytes as it takes, in batches that a busy producer makes.
fn maximum() -> Workload {
    Workload {
        name: "produce at full speed".to_owned(),
        topics: 1,
        partitions_per_topic: 4,
        topic_settings: Vec::new(),
        record_bytes: 100,
        keys: Keys::None,
        compression: "none".to_owned(),
        acks: -1,
        idempotent: false,
        producers_per_topic: 4,
        batch_bytes: 64 << 10,
        linger: Duration::from_millis(5),
        in_flight_max: 5,
        pace: Pace::Maximum,
        subscriptions_per_topic: 0,
        consumers_per_subscription: 0,
        backlog_bytes: 0,
        warmup: Duration::from_secs(1),
        measured: Duration::from_secs(6),
        generator_threads: 1,
        idle: Idle::Park,
        seed: None,
    }
}

/// A rate that leaves the machine time, with a consumer, and every record sent at once.
fn end_to_end() -> Workload {
    Workload {
        name: "end to end, 5,000 records a second".to_owned(),
        partitions_per_topic: 1,
        record_bytes: 512,
        producers_per_topic: 1,
        linger: Duration::ZERO,
        pace: Pace::Rate {
            records_per_s: 5_000.0,
        },
        subscriptions_per_topic: 1,
        consumers_per_subscription: 1,
        measured: Duration::from_secs(8),
        ..maximum()
    }
}
