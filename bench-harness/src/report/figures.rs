//! The figures of a run, and what they are beside each other: medians, spreads and ratios.

use super::units::Unit;
use crate::model::{Latency, Measured, Pace, Run, Workload};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A kind of figure.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// Shown in the overview too.
    pub(crate) main: bool,
    of: fn(&Run) -> Option<f64>,
}

impl Metric {
    /// None where the run has no such figure, or is not valid.
    pub(crate) fn of(&self, run: &Run) -> Option<f64> {
        let value = (self.of)(run)?;
        (valid(run) && value.is_finite()).then_some(value)
    }

    pub(crate) fn spread(&self, measured: &Measured) -> Option<Spread> {
        let values = measured.rounds.iter().filter_map(|run| self.of(run));
        Spread::of(values.collect())
    }

    /// The same where no round is valid: to be marked as such.
    pub(crate) fn refuted(&self, measured: &Measured) -> Option<Spread> {
        if measured.rounds.iter().any(valid) {
            return None;
        }
        let values = measured.rounds.iter().filter_map(self.of);
        Spread::of(values.filter(|value| value.is_finite()).collect())
    }

    /// How many times better `first` is than `other`, round by round; below 1 it is worse.
    pub(crate) fn factor(&self, first: &Measured, other: &Measured) -> Option<Spread> {
        let rounds = first.rounds.iter().zip(&other.rounds);
        let factors = rounds.filter_map(|(first, other)| {
            let (first, other) = (self.of(first)?, self.of(other)?);
            let factor = match self.better {
                Higher => first / other,
                Lower => other / first,
            };
            (factor.is_finite() && factor > 0.0).then_some(factor)
        });
        Spread::of(factors.collect())
    }
}

pub(crate) fn valid(run: &Run) -> bool {
    !run.doubts.iter().any(|doubt| doubt.fatal)
}

/// Of one figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
            rounds: values.len(),
        })
    }

    /// Of a factor: who is better, if every round says the same.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.min > 1.0 {
            Verdict::Better
        } else if self.max < 1.0 {
            Verdict::Worse
        } else {
            Verdict::Undecided
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Better,
    Worse,
    /// Rounds disagree.
    Undecided,
}

/// Records that costs are shared among: the acknowledged ones, or without any the consumed ones.
fn records(run: &Run) -> Option<f64> {
    let count = match run.counts.acked {
        0 => run.counts.consumed,
        acked => acked,
    };
    (count > 0).then_some(count as f64)
}

fn record_bytes(run: &Run) -> Option<f64> {
    let bytes = match run.counts.acked_bytes {
        0 => run.counts.consumed_bytes,
        acked => acked,
    };
    (bytes > 0).then_some(bytes as f64)
}

fn rate(count: u64, run: &Run) -> Option<f64> {
    (count > 0 && run.seconds > 0.0).then(|| count as f64 / run.seconds)
}

fn quantile(latency: &Latency, q: f64) -> Option<f64> {
    Some(latency.at(q)? as f64)
}

/// The highest one of a closed loop says how full the queue was, and nothing else.
fn maximum(latency: &Latency) -> Option<f64> {
    (latency.count > 0).then_some(latency.max_us as f64)
}

fn cpu_s(run: &Run) -> Option<f64> {
    // Below that the kernel's clock is too coarse.
    run.cost
        .as_ref()
        .map(|cost| cost.cpu_s())
        .filter(|cpu| *cpu > 0.0)
}

const fn metric(
    name: &'static str,
    unit: Unit,
    better: Better,
    of: fn(&Run) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        unit,
        better,
        main: false,
        of,
    }
}

const fn main(metric: Metric) -> Metric {
    Metric {
        main: true,
        ..metric
    }
}

use Better::{Higher, Lower};

pub(crate) const METRICS: &[Metric] = &[
    main(metric("records acknowledged", Unit::Rate, Higher, |run| {
        rate(run.counts.acked, run)
    })),
    metric("bytes acknowledged", Unit::BytesRate, Higher, |run| {
        rate(run.counts.acked_bytes, run)
    }),
    main(metric("records consumed", Unit::Rate, Higher, |run| {
        rate(run.counts.consumed, run)
    })),
    metric("ack p50", Unit::Micros, Lower, |run| {
        quantile(&run.ack, 0.5)
    }),
    main(metric("ack p99", Unit::Micros, Lower, |run| {
        quantile(&run.ack, 0.99)
    })),
    metric("ack p99.9", Unit::Micros, Lower, |run| {
        quantile(&run.ack, 0.999)
    }),
    metric("ack p99.99", Unit::Micros, Lower, |run| {
        quantile(&run.ack, 0.9999)
    }),
    metric("ack maximum", Unit::Micros, Lower, |run| maximum(&run.ack)),
    metric("end to end p50", Unit::Micros, Lower, |run| {
        quantile(&run.end_to_end, 0.5)
    }),
    main(metric("end to end p99", Unit::Micros, Lower, |run| {
        quantile(&run.end_to_end, 0.99)
    })),
    metric("end to end p99.9", Unit::Micros, Lower, |run| {
        quantile(&run.end_to_end, 0.999)
    }),
    metric("end to end p99.99", Unit::Micros, Lower, |run| {
        quantile(&run.end_to_end, 0.9999)
    }),
    metric("end to end maximum", Unit::Micros, Lower, |run| {
        maximum(&run.end_to_end)
    }),
    main(metric("broker CPU per record", Unit::Nanos, Lower, |run| {
        Some(cpu_s(run)? * 1e9 / records(run)?)
    })),
    metric("broker CPU per GB", Unit::Seconds, Lower, |run| {
        Some(cpu_s(run)? * 1e9 / record_bytes(run)?)
    }),
    metric(
        "system calls per 1,000 records",
        Unit::Count,
        Lower,
        |run| Some(run.cost.as_ref()?.syscalls? as f64 * 1e3 / records(run)?),
    ),
    metric("instructions per record", Unit::Count, Lower, |run| {
        Some(run.cost.as_ref()?.instructions? as f64 / records(run)?)
    }),
    metric(
        "context switches per 1,000 records",
        Unit::Count,
        Lower,
        |run| {
            let cost = run.cost.as_ref()?;
            let switches = cost.voluntary_switches + cost.involuntary_switches;
            Some(switches as f64 * 1e3 / records(run)?)
        },
    ),
    metric(
        "written to storage per byte acknowledged",
        Unit::Count,
        Lower,
        |run| {
            let written = run.cost.as_ref()?.disk_written_bytes? as f64;
            (run.counts.acked_bytes > 0).then(|| written / run.counts.acked_bytes as f64)
        },
    ),
    metric(
        "written by the device per byte acknowledged",
        Unit::Count,
        Lower,
        |run| {
            let written = run.cost.as_ref()?.device_written_bytes? as f64;
            (run.counts.acked_bytes > 0).then(|| written / run.counts.acked_bytes as f64)
        },
    ),
    metric("peak memory", Unit::Bytes, Lower, |run| {
        Some(run.cost.as_ref()?.peak_memory_bytes? as f64)
    }),
];

/// Those that any of the brokers has, in the order in which they are shown.
pub(crate) fn metrics_of<'a>(
    workload: &Workload,
    brokers: &'a [Measured],
) -> impl Iterator<Item = &'static Metric> + use<'a> {
    let paced = matches!(workload.pace, Pace::Rate { .. });
    METRICS.iter().filter(move |metric| {
        // What was asked for at a given rate says nothing but that the broker kept up.
        let asked = paced && metric.better == Higher && metric.unit == Unit::BytesRate;
        let known = |broker| metric.spread(broker).or_else(|| metric.refuted(broker));
        !asked && brokers.iter().any(|broker| known(broker).is_some())
    })
}

/// Whether a factor of this figure says who is better: not the throughput that was prescribed.
pub(crate) fn compares(metric: &Metric, workload: &Workload) -> bool {
    let paced = matches!(workload.pace, Pace::Rate { .. });
    !(paced && metric.better == Higher)
}

/// Several distributions as one.
pub(crate) fn merged<'a>(all: impl Iterator<Item = &'a Latency>) -> Latency {
    let mut sum = Latency::default();
    let mut buckets = BTreeMap::new();
    let mut total_us = 0.0;
    for one in all {
        sum.count += one.count;
        sum.max_us = sum.max_us.max(one.max_us);
        total_us += one.mean_us * one.count as f64;
        for (value, count) in &one.buckets {
            *buckets.entry(*value).or_insert(0) += count;
        }
    }
    sum.mean_us = if sum.count > 0 {
        total_us / sum.count as f64
    } else {
        0.0
    };
    sum.buckets = buckets.into_iter().collect();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Doubt;
    use crate::report::sample;

    fn by_name(name: &str) -> &'static Metric {
        let found = METRICS.iter().find(|metric| metric.name == name);
        found.expect("there is a figure of this name")
    }

    #[test]
    fn the_median_lies_between_the_middle_values() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[]), None);
        let odd = spread(&[3.0, 1.0, 2.0]).expect("three values");
        assert_eq!(
            (odd.median, odd.min, odd.max, odd.rounds),
            (2.0, 1.0, 3.0, 3)
        );
        let even = spread(&[4.0, 1.0, 2.0, 3.0]).expect("four values");
        assert_eq!(even.median, 2.5);
    }

    #[test]
    fn a_factor_above_one_says_that_the_first_is_better_whichever_way_the_figure_counts() {
        let fast = sample::measured("fast", &[2_000_000, 3_000_000, 4_000_000], 100);
        let slow = sample::measured("slow", &[1_000_000, 1_000_000, 1_000_000], 1_000);
        let rate = by_name("records acknowledged")
            .factor(&fast, &slow)
            .expect("three rounds");
        assert_eq!((rate.median, rate.min, rate.max), (3.0, 2.0, 4.0));
        assert_eq!(rate.verdict(), Verdict::Better);
        let latency = by_name("ack p99")
            .factor(&fast, &slow)
            .expect("three rounds");
        assert!((latency.median - 10.0).abs() < 0.05, "{latency:?}");
        let turned = by_name("ack p99")
            .factor(&slow, &fast)
            .expect("three rounds");
        assert_eq!(turned.verdict(), Verdict::Worse);
        let same = by_name("ack p99")
            .factor(&slow, &slow)
            .expect("three rounds");
        assert_eq!(same.verdict(), Verdict::Undecided);
    }

    #[test]
    fn a_round_that_is_not_valid_counts_nowhere() {
        let mut fast = sample::measured("fast", &[2_000_000, 90_000_000], 100);
        let slow = sample::measured("slow", &[1_000_000, 1_000_000], 100);
        fast.rounds[1].doubts.push(Doubt {
            fatal: true,
            what: "The load generator was the limit.".to_owned(),
        });
        let metric = by_name("records acknowledged");
        assert_eq!(metric.spread(&fast).map(|spread| spread.rounds), Some(1));
        let factor = metric.factor(&fast, &slow).expect("one round is left");
        assert_eq!((factor.median, factor.max, factor.rounds), (2.0, 2.0, 1));
        fast.rounds.truncate(0);
        assert_eq!(metric.factor(&fast, &slow), None);
    }

    #[test]
    fn cpu_is_shared_among_the_records() {
        let run = &sample::measured("one", &[1_000_000], 100).rounds[0];
        let cpu = run.cost.as_ref().expect("the sample has a cost").cpu_s();
        let each = by_name("broker CPU per record").of(run).expect("a cost");
        assert!((each - cpu * 1e9 / run.counts.acked as f64).abs() < 1e-9);
    }

    #[test]
    fn merged_distributions_have_the_quantiles_of_all_values() {
        let one = Latency {
            count: 90,
            mean_us: 10.0,
            max_us: 10,
            quantiles: Vec::new(),
            buckets: vec![(10, 90)],
        };
        let other = Latency {
            count: 10,
            mean_us: 1_000.0,
            max_us: 1_000,
            quantiles: Vec::new(),
            buckets: vec![(1_000, 10)],
        };
        let both = merged([&one, &other].into_iter());
        assert_eq!((both.count, both.max_us), (100, 1_000));
        assert_eq!((both.at(0.9), both.at(0.91)), (Some(10), Some(1_000)));
        assert!((both.mean_us - 109.0).abs() < 1e-9);
    }
}
