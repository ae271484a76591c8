//! The same workloads against several brokers, in alternation.

use crate::brokers::{Work, specs};
use crate::failure::{Failure, Outcome};
use crate::load::Load;
use crate::report;
use crate::report::terminal::{Progress, summary};
use crate::stage::{self, Cast, SiteOptions, Warmth, headrooms};
use clap::Args;
use std::path::PathBuf;

/// Rounds that a comparison should have, so that its spread says something.
const ROUNDS_MIN: usize = 5;

/// What is measured where nothing is named: how much, and how soon.
const USUAL: [&str; 2] = ["produce-maximum", "end-to-end"];

/// Measures several brokers with the same workloads, one after the other in alternation.
#[derive(Args)]
pub(crate) struct CompareOptions {
    /// Brokers with commas between them; the others are compared with the first one
    ///
    /// ringlog, kafka, kafka-flush, address:NAME=HOST:PORT[,pid=PID],
    /// ringlog:NAME[=PATH][,SETTING=VALUE...], kafka:NAME[,SETTING=VALUE...]
    #[arg(long, value_name = "LIST", default_value = "ringlog,kafka")]
    pub(crate) brokers: String,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Times that every broker has its turn
    #[arg(long, value_name = "N", default_value_t = ROUNDS_MIN)]
    pub(crate) rounds: usize,
    /// Does not wait until brokers that are compiled while they run are warm; the report says so
    #[arg(long)]
    pub(crate) cold: bool,
    /// Folder for results and page
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) site: SiteOptions,
}

pub(crate) fn command(options: &CompareOptions) -> Outcome<()> {
    let specs = specs(&options.brokers)?;
    let workloads = options.load.workloads(&USUAL)?;
    if options.rounds == 0 {
        return Err(Failure::new("--rounds 0 measures nothing").advise("5 rounds are usual"));
    }
    let cores = options.site.cores()?;
    let work = Work::new(options.site.work.as_deref())?;
    let mut report = stage::blank(work.run(), &cores, specs.len());
    stage::step_aside(&cores)?;
    let mut progress = Progress::new();
    let warmth = (!options.cold).then_some(Warmth::FULL);
    let mut cast = Cast::start(&specs, &work, &cores, &options.site, warmth, &mut progress)?;
    report.headroom = headrooms(&workloads, &cores, &mut progress)?;
    for workload in &workloads {
        let comparison = cast.compare(workload, options.rounds, &mut progress)?;
        report.comparisons.push(comparison);
        // Whoever interrupts the next one keeps what was measured until now.
        report::write(&report, &options.out)?;
    }
    cast.stop();
    summary(&report);
    println!(
        "\nresults and page: {}",
        options.out.join("report.html").display()
    );
    Ok(())
}
