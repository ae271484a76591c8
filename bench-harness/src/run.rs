//! One workload against one broker that runs already.

use crate::engine::{self, Observer, Target};
use crate::failure::{Failure, Outcome};
use crate::model::{Cost, Idle, Interval, Pace, Run, Workload};
use crate::workload;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs one workload against a broker that runs already.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// HOST:PORT of the broker
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// A workload in OpenMessaging Benchmark's YAML
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    workload: Option<PathBuf>,
    /// A workload that is built in
    #[arg(long, value_name = "NAME", default_value = "produce")]
    preset: String,
    /// Records a second of all producers together; 0 is the maximum
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds to measure
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds before that which do not count
    #[arg(long)]
    warmup: Option<f64>,
    #[arg(long)]
    record_bytes: Option<u32>,
    #[arg(long)]
    batch_bytes: Option<u32>,
    #[arg(long)]
    linger_ms: Option<f64>,
    #[arg(long)]
    in_flight: Option<u32>,
    #[arg(long)]
    partitions: Option<u32>,
    #[arg(long)]
    producers: Option<u32>,
    /// Full readers of each topic
    #[arg(long)]
    subscriptions: Option<u32>,
    /// Consumers of each subscription
    #[arg(long)]
    consumers: Option<u32>,
    /// 0, 1 or -1 (all)
    #[arg(long, allow_negative_numbers = true)]
    acks: Option<i16>,
    #[arg(long)]
    idempotent: bool,
    #[arg(long)]
    idle: Option<IdleOption>,
    /// Threads of the load generator
    #[arg(long)]
    threads: Option<u32>,
    /// Cores that these are pinned to, with commas between them
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Writes the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only measures what the load generator itself can do here
    #[arg(long)]
    headroom: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum IdleOption {
    Park,
    Spin,
}

struct Terminal;

impl Observer for Terminal {
    fn began(&mut self) {
        println!("measuring");
    }

    fn second(&mut self, interval: &mut Interval) {
        println!(
            "{:6.1} s  {:9} acknowledged, p50 {} us, p99 {} us, max {} us  \
             {:9} consumed, p99 {} us",
            interval.at_s,
            interval.acked,
            interval.ack_p50_us,
            interval.ack_p99_us,
            interval.ack_max_us,
            interval.consumed,
            interval.end_to_end_p99_us
        );
    }

    fn ended(&mut self) -> Option<Cost> {
        None
    }
}

pub(crate) fn command(options: &RunOptions) -> Outcome<()> {
    let workload = asked(options)?;
    if options.headroom {
        let headroom = engine::headroom(&workload, &options.cores)?;
        println!(
            "{:.0} records/s at most; p50 {} us, p99 {} us, p99.9 {} us",
            headroom.records_per_s, headroom.ack_p50_us, headroom.ack_p99_us, headroom.ack_p999_us
        );
        return Ok(());
    }
    let target = Target {
        address: options.bootstrap.clone(),
        cores: options.cores.clone(),
    };
    let run = engine::run(&workload, &target, &mut Terminal)?;
    summary(&run);
    if let Some(path) = &options.json {
        let text = serde_json::to_string(&run).map_err(|error| Failure::new(error.to_string()))?;
        std::fs::write(path, text)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    match run.doubts.iter().any(|doubt| doubt.fatal) {
        true => Err(Failure::new(
            "the figures are not valid, for the reasons above",
        )),
        false => Ok(()),
    }
}

fn asked(options: &RunOptions) -> Outcome<Workload> {
    let mut workload = match &options.workload {
        Some(path) => workload::load(path)?,
        None => workload::preset(&options.preset)?,
    };
    let seconds = |what: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Failure::new(format!("{what} {seconds} is no length of time")))
    };
    if let Some(rate) = options.rate {
        workload.pace = match rate {
            0.0 => Pace::Maximum,
            records_per_s => Pace::Rate { records_per_s },
        };
    }
    if let Some(time) = options.seconds {
        workload.measured = seconds("--seconds", time)?;
    }
    if let Some(time) = options.warmup {
        workload.warmup = seconds("--warmup", time)?;
    }
    if let Some(time) = options.linger_ms {
        workload.linger = seconds("--linger-ms", time / 1e3)?;
    }
    for (given, field) in [
        (options.record_bytes, &mut workload.record_bytes),
        (options.batch_bytes, &mut workload.batch_bytes),
        (options.in_flight, &mut workload.in_flight_max),
        (options.partitions, &mut workload.partitions_per_topic),
        (options.producers, &mut workload.producers_per_topic),
        (options.subscriptions, &mut workload.subscriptions_per_topic),
        (options.consumers, &mut workload.consumers_per_subscription),
        (options.threads, &mut workload.generator_threads),
    ] {
        *field = given.unwrap_or(*field);
    }
    workload.acks = options.acks.unwrap_or(workload.acks);
    workload.idempotent |= options.idempotent;
    workload.idle = match options.idle {
        Some(IdleOption::Spin) => Idle::Spin,
        Some(IdleOption::Park) => Idle::Park,
        None => workload.idle,
    };
    Ok(workload)
}

fn summary(run: &Run) {
    let at = |latency: &crate::model::Latency| {
        let text = |q| {
            latency
                .at(q)
                .map_or_else(|| "-".to_owned(), |us| us.to_string())
        };
        format!(
            "p50 {}, p99 {}, p99.9 {}, max {} us",
            text(0.5),
            text(0.99),
            text(0.999),
            text(1.0)
        )
    };
    let rate = |count: u64| count as f64 / run.seconds.max(1e-9);
    println!(
        "acknowledged  {:.0} records/s, {}",
        rate(run.counts.acked),
        at(&run.ack)
    );
    println!(
        "consumed      {:.0} records/s, {}",
        rate(run.counts.consumed),
        at(&run.end_to_end)
    );
    println!("send delay    {}", at(&run.send_delay));
    println!(
        "generator     {:.2} s of CPU, busy for {:.0} %; {} produce and {} fetch requests",
        run.generator_cpu_s,
        run.generator_busy * 100.0,
        run.counts.produce_requests,
        run.counts.fetch_requests
    );
    for doubt in &run.doubts {
        println!(
            "{}: {}",
            if doubt.fatal { "NOT VALID" } else { "note" },
            doubt.what
        );
    }
}
