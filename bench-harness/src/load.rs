//! The workloads that a command line names, and what it changes in them.

use crate::failure::{Failure, Outcome};
use crate::model::{Idle, Keys, Pace, Workload};
use crate::workload;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Longer than anybody measures.
const SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// What is asked of brokers; every change applies to all workloads that are named.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Load {
    /// A workload in OpenMessaging Benchmark's YAML; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) workload: Vec<PathBuf>,
    /// Workloads that are built in, with commas between them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) preset: Vec<String>,
    /// Every workload at each of these rates, in records/s of all producers together; 0 is the
    /// maximum
    #[arg(
        long,
        visible_alias = "rate",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub(crate) rates: Vec<f64>,
    /// Seconds to measure
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
    /// Seconds before that which do not count
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<f64>,
    /// Of the value of a record
    #[arg(long, value_name = "N")]
    record_bytes: Option<u32>,
    /// A batch is sent when it has so many bytes
    #[arg(long, value_name = "N")]
    batch_bytes: Option<u32>,
    /// ... or when its first record has waited so long
    #[arg(long, value_name = "N")]
    linger_ms: Option<f64>,
    /// Requests of a producer that may be unanswered
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,
    #[arg(long, value_name = "N")]
    topics: Option<u32>,
    /// Of each topic
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// Of each topic
    #[arg(long, value_name = "N")]
    producers: Option<u32>,
    /// Full readers of each topic
    #[arg(long, value_name = "N")]
    subscriptions: Option<u32>,
    /// Of each subscription
    #[arg(long, value_name = "N")]
    consumers: Option<u32>,
    /// 0, 1 or -1 (all)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    acks: Option<i16>,
    #[arg(long)]
    idempotent: bool,
    /// Different keys that records draw from; 0 for records without keys
    #[arg(long, value_name = "N")]
    keys: Option<u32>,
    /// A setting that topics are created with, such as retention.bytes=1000000
    #[arg(long, value_name = "KEY=VALUE")]
    topic_setting: Vec<String>,
    /// What a thread of the load generator does when nothing is due
    #[arg(long)]
    idle: Option<IdleOption>,
    /// Threads of the load generator
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// The intended times and keys of every run with this number are the same
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IdleOption {
    Park,
    Spin,
}

impl Load {
    /// All that was named, at every rate. Where nothing was, the presets `usual`.
    pub(crate) fn workloads(&self, usual: &[&str]) -> Outcome<Vec<Workload>> {
        let mut all = Vec::new();
        for path in &self.workload {
            all.push(workload::load(path)?);
        }
        for name in &self.preset {
            all.push(workload::preset(name)?);
        }
        if all.is_empty() {
            all = usual
                .iter()
                .map(|name| workload::preset(name))
                .collect::<Outcome<_>>()?;
        }
        for workload in &mut all {
            self.change(workload)?;
        }
        at_rates(all, &self.rates)
    }

    fn change(&self, workload: &mut Workload) -> Outcome<()> {
        for (option, given, field) in [
            ("--seconds", self.seconds, &mut workload.measured),
            ("--warmup", self.warmup, &mut workload.warmup),
            (
                "--linger-ms",
                self.linger_ms.map(|ms| ms / 1e3),
                &mut workload.linger,
            ),
        ] {
            if let Some(seconds) = given {
                *field = time_of(option, seconds)?;
            }
        }
        for (given, field) in [
            (self.record_bytes, &mut workload.record_bytes),
            (self.batch_bytes, &mut workload.batch_bytes),
            (self.in_flight, &mut workload.in_flight_max),
            (self.topics, &mut workload.topics),
            (self.partitions, &mut workload.partitions_per_topic),
            (self.producers, &mut workload.producers_per_topic),
            (self.subscriptions, &mut workload.subscriptions_per_topic),
            (self.consumers, &mut workload.consumers_per_subscription),
            (self.threads, &mut workload.generator_threads),
        ] {
            *field = given.unwrap_or(*field);
        }
        workload.acks = self.acks.unwrap_or(workload.acks);
        workload.idempotent |= self.idempotent;
        workload.seed = self.seed.or(workload.seed);
        workload.keys = match self.keys {
            None => workload.keys,
            Some(0) => Keys::None,
            Some(distinct) => Keys::Random { distinct },
        };
        workload.idle = match self.idle {
            Some(IdleOption::Spin) => Idle::Spin,
            Some(IdleOption::Park) => Idle::Park,
            None => workload.idle,
        };
        for setting in &self.topic_setting {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                Failure::new(format!("--topic-setting {setting} is no setting"))
                    .advise("give KEY=VALUE, such as retention.bytes=1000000")
            })?;
            workload.topic_settings.retain(|(other, _)| other != key);
            let setting = (key.to_owned(), value.to_owned());
            workload.topic_settings.push(setting);
        }
        Ok(())
    }
}

fn time_of(option: &str, seconds: f64) -> Outcome<Duration> {
    if !(0.0..=SECONDS_MAX).contains(&seconds) || (seconds == 0.0 && option == "--seconds") {
        return Err(
            Failure::new(format!("{option}: {seconds} s is no time to measure"))
                .advise("give seconds, such as 30 (milliseconds for --linger-ms)"),
        );
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Every workload at every rate, or as it is where there are none.
fn at_rates(workloads: Vec<Workload>, rates: &[f64]) -> Outcome<Vec<Workload>> {
    if rates.is_empty() {
        return Ok(workloads);
    }
    if let Some(rate) = rates.iter().find(|rate| !(0.0..1e9).contains(*rate)) {
        return Err(Failure::new(format!("--rates: {rate} is no rate"))
            .advise("give records a second, such as 1000,10000,50000, or 0 for the maximum"));
    }
    let mut all = Vec::new();
    for workload in workloads {
        if workload.pace == Pace::ConsumeOnly {
            return Err(Failure::new(format!(
                "--rates does not fit {}, which produces nothing",
                workload.name
            )));
        }
        all.extend(rates.iter().map(|rate| {
            let (name, pace) = match *rate {
                0.0 => ("at the maximum".to_owned(), Pace::Maximum),
                records_per_s => (format!("at {rate}/s"), Pace::Rate { records_per_s }),
            };
            Workload {
                name: format!("{} {name}", workload.name),
                pace,
                ..workload.clone()
            }
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: Load,
    }

    fn asked(line: &str) -> Outcome<Vec<Workload>> {
        let words = std::iter::once("bench-harness").chain(line.split_whitespace());
        Line::parse_from(words).load.workloads(&["produce"])
    }

    #[test]
    fn who_names_no_workload_gets_the_usual_ones() {
        let names = |line| {
            let all = asked(line).expect(line);
            all.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["produce"]);
        assert_eq!(names("--preset fan-out"), ["fan-out"]);
    }

    #[test]
    fn every_workload_is_measured_at_every_rate() {
        let both = vec![sample::workload("a"), sample::workload("b")];
        let all = at_rates(both, &[1_000.0, 0.0]).expect("rates");
        let names: Vec<_> = all.iter().map(|workload| &*workload.name).collect();
        assert_eq!(
            names,
            [
                "a at 1000/s",
                "a at the maximum",
                "b at 1000/s",
                "b at the maximum"
            ]
        );
        let rate = Pace::Rate {
            records_per_s: 1_000.0,
        };
        assert_eq!((all[2].pace, all[3].pace), (rate, Pace::Maximum));
    }

    #[test]
    fn changes_apply_to_all_workloads() {
        let all = asked(
            "--preset produce,endurance --rate 5000 --seconds 3 --linger-ms 0.5 --acks -1 \
             --partitions 2 --keys 9 --topic-setting retention.bytes=7 --topic-setting a.b=c=d \
             --idle spin --idempotent --seed 7",
        )
        .expect("all is right");
        assert_eq!(all.len(), 2);
        for workload in &all {
            assert_eq!(workload.measured, Duration::from_secs(3));
            assert_eq!(workload.linger, Duration::from_micros(500));
            assert_eq!((workload.acks, workload.partitions_per_topic), (-1, 2));
            assert_eq!(workload.seed, Some(7));
            assert_eq!(workload.keys, Keys::Random { distinct: 9 });
            assert!(workload.idempotent && workload.idle == Idle::Spin);
            let settings = workload.topic_settings.iter();
            let of = |key| settings.clone().filter(move |(other, _)| other == key);
            let values: Vec<_> = of("retention.bytes").collect();
            assert_eq!(values.len(), 1, "it takes the place of the other");
            assert_eq!(values[0].1, "7");
            assert!(of("a.b").all(|(_, value)| value == "c=d"));
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for (line, why) in [
            ("--preset nonsense", "no workload named nonsense"),
            ("--preset produce --seconds 0", "no time to measure"),
            ("--preset produce --warmup=-1", "no time to measure"),
            ("--preset produce --rates 1000,nan", "is no rate"),
            ("--preset produce --rates inf", "is no rate"),
            ("--preset produce --rates=-1", "is no rate"),
            ("--preset consume --rates 5", "produces nothing"),
            ("--preset produce --topic-setting x", "is no setting"),
        ] {
            let failure = asked(line).expect_err(line).to_string();
            assert!(failure.contains(why), "{line}: {failure}");
        }
        assert!(asked("--preset produce --warmup 0").is_ok());
    }
}
