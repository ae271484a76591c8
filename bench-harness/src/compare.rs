//! The same workloads against several brokers, in alternation.

use crate::brokers::{Work, specs};
use crate::failure::{Failure, Outcome};
use crate::model::{Pace, Workload};
use crate::report;
use crate::report::terminal::{Progress, summary};
use crate::stage::{self, Cast, SiteOptions, Warmth, headrooms};
use crate::workload;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Rounds that a comparison should have, so that its spread says something.
const ROUNDS_MIN: usize = 5;
/// Measures several brokers with the same workloads, one after the other in alternation.
#[derive(Args)]
pub(crate) struct CompareOptions {
    /// Brokers with commas between them; the others are compared with the first one
    ///
    /// ringlog, kafka, kafka-flush, address:NAME=HOST:PORT[,pid=PID],
    /// ringlog:NAME[=PATH][,SETTING=VALUE...], kafka:NAME[,SETTING=VALUE...]
    #[arg(long, value_name = "LIST", default_value = "ringlog,kafka")]
    pub(crate) brokers: String,
    /// A workload in OpenMessaging Benchmark's YAML; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) workload: Vec<PathBuf>,
    /// A workload that is built in; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Vec<String>,
    /// Times that every broker has its turn
    #[arg(long, value_name = "N", default_value_t = ROUNDS_MIN)]
    pub(crate) rounds: usize,
    /// Every workload at each of these rates, in records/s
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) rates: Vec<f64>,
    /// Seconds to measure in each round, instead of what the workload says
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
    /// Seconds before that which do not count
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<f64>,
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
    let workloads = workloads(options)?;
    let cores = options.site.cores()?;
    let work = Work::new(options.site.work.as_deref())?;
    let mut report = stage::blank(&work, &cores, specs.len());
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

/// What was asked for, at every rate.
fn workloads(options: &CompareOptions) -> Outcome<Vec<Workload>> {
    if options.rounds == 0 {
        return Err(Failure::new("--rounds 0 measures nothing").advise("5 rounds are usual"));
    }
    let mut all = Vec::new();
    for path in &options.workload {
        all.push(workload::load(path)?);
    }
    for name in &options.preset {
        all.push(workload::preset(name)?);
    }
    if all.is_empty() {
        return Err(Failure::new("no workload was named").advise(format!(
            "name one with --preset NAME ({}), or a file with --workload FILE",
            workload::names().join(", ")
        )));
    }
    for workload in &mut all {
        if let Some(seconds) = options.seconds {
            workload.measured = seconds_of("--seconds", seconds)?;
        }
        if let Some(seconds) = options.warmup {
            workload.warmup = seconds_of("--warmup", seconds)?;
        }
    }
    at_rates(all, &options.rates)
}

fn seconds_of(option: &str, seconds: f64) -> Outcome<Duration> {
    // A day is long enough for anything.
    if !(0.0..=86_400.0).contains(&seconds) || (seconds == 0.0 && option == "--seconds") {
        return Err(
            Failure::new(format!("{option} {seconds} is no time to measure"))
                .advise("give seconds, such as 30"),
        );
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Every workload at every rate, or as it is where there are none.
fn at_rates(workloads: Vec<Workload>, rates: &[f64]) -> Outcome<Vec<Workload>> {
    if rates.is_empty() {
        return Ok(workloads);
    }
    if let Some(rate) = rates.iter().find(|rate| !rate.is_finite() || **rate <= 0.0) {
        return Err(Failure::new(format!("--rates: {rate} is no rate"))
            .advise("give records a second, such as 1000,10000,50000"));
    }
    let mut all = Vec::new();
    for workload in workloads {
        if workload.pace == Pace::ConsumeOnly {
            return Err(Failure::new(format!(
                "--rates does not fit {}, which produces nothing",
                workload.name
            )));
        }
        all.extend(rates.iter().map(|rate| Workload {
            name: format!("{} at {rate}/s", workload.name),
            pace: Pace::Rate {
                records_per_s: *rate,
            },
            ..workload.clone()
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_workload_is_measured_at_every_rate() {
        let both = vec![sample::workload("a"), sample::workload("b")];
        let all = at_rates(both, &[1_000.0, 50_000.0]).expect("rates");
        let names: Vec<_> = all.iter().map(|workload| &*workload.name).collect();
        assert_eq!(
            names,
            ["a at 1000/s", "a at 50000/s", "b at 1000/s", "b at 50000/s"]
        );
        let rate = Pace::Rate {
            records_per_s: 50_000.0,
        };
        assert_eq!(all[3].pace, rate);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let one = || vec![sample::workload("a")];
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let failure = at_rates(one(), &[rate]).expect_err("no rate").to_string();
            assert!(failure.contains("is no rate"), "{failure}");
        }
        let mut consuming = one();
        consuming[0].pace = Pace::ConsumeOnly;
        assert!(at_rates(consuming, &[1.0]).is_err());
        assert!(seconds_of("--seconds", 0.0).is_err());
        assert!(seconds_of("--warmup", -1.0).is_err());
        assert!(seconds_of("--warmup", 0.0).is_ok());
    }
}
