//! Which lines a report draws.

use super::axis::Axis;
use super::plot::{Line, Look, Plot, Series};
use crate::model::{Comparison, Interval, Latency, Measured, Pace, Run};
use crate::report::figures::{Spread, merged, valid};
use crate::report::units::Unit;

/// Points of a curve over quantiles, for each nine.
const POINTS_PER_NINE: f64 = 24.0;

/// The number of a broker's colour by its name.
pub(super) type Colors<'a> = &'a dyn Fn(&str) -> usize;

fn rounds(measured: &Measured) -> impl Iterator<Item = &Run> {
    measured.rounds.iter().filter(|run| valid(run))
}

/// Both kinds of latency that a run has.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Ack,
    EndToEnd,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Ack => "Until acknowledged",
            Self::EndToEnd => "From producer to consumer",
        }
    }

    fn of(self, run: &Run) -> &Latency {
        match self {
            Self::Ack => &run.ack,
            Self::EndToEnd => &run.end_to_end,
        }
    }

    fn p99(self, interval: &Interval) -> u64 {
        match self {
            Self::Ack => interval.ack_p99_us,
            Self::EndToEnd => interval.end_to_end_p99_us,
        }
    }
}

/// Latency by percentile: all rounds together, with what single rounds had around it.
pub(super) fn percentiles(comparison: &Comparison, kind: Kind, color: Colors<'_>) -> Option<Plot> {
    let mut series = Vec::new();
    let (mut lowest, mut highest, mut most) = (f64::MAX, 0.0_f64, 0);
    let all = comparison.brokers.iter().map(|measured| {
        let latencies: Vec<_> = rounds(measured).map(|run| kind.of(run)).collect();
        (measured, merged(latencies.iter().copied()), latencies)
    });
    let all: Vec<_> = all.filter(|(_, sum, _)| sum.count > 0).collect();
    for (_, sum, _) in &all {
        most = most.max(sum.count);
    }
    let x = Axis::tail("share of records that were faster", most);
    for (measured, sum, latencies) in &all {
        let quantiles = quantiles(sum.count.min(most));
        let value = |q: f64| sum.at(q).map(|us| (q, us.max(1) as f64));
        let points: Vec<_> = quantiles.iter().filter_map(|q| value(*q)).collect();
        for (_, us) in &points {
            lowest = lowest.min(*us);
            highest = highest.max(*us);
        }
        let band = quantiles.iter().filter_map(|q| {
            let enough = |one: &&&Latency| one.count as f64 * (1.0 - q) >= 1.0;
            let values = latencies.iter().filter(enough).filter_map(|one| one.at(*q));
            let spread = Spread::of(values.map(|us| us.max(1) as f64).collect())?;
            (spread.rounds == latencies.len()).then_some((*q, spread.min, spread.max))
        });
        let band: Vec<_> = band.collect();
        for (_, low, high) in &band {
            lowest = lowest.min(*low);
            highest = highest.max(*high);
        }
        series.push(Series {
            name: measured.broker.name.clone(),
            color: color(&measured.broker.name),
            lines: vec![Line {
                points,
                look: Look::Main,
            }],
            band,
        });
    }
    (!series.is_empty()).then(|| Plot {
        title: format!("{}, by percentile", kind.title()),
        summary: format!("Latency by percentile: {}", kind.title().to_lowercase()),
        x,
        y: Axis::log("", Unit::Micros, lowest, highest),
        series,
    })
}

/// From 0 up to the one that a single value among `count` is beyond, no more than five nines.
fn quantiles(count: u64) -> Vec<f64> {
    let nines = (count.max(10) as f64).log10().min(5.0);
    let steps = (nines * POINTS_PER_NINE).floor();
    let all = (0..=steps as u32).map(|n| 1.0 - 10_f64.powf(-f64::from(n) / POINTS_PER_NINE));
    all.collect()
}

/// One line for each round behind the median of them.
fn over_time(
    comparison: &Comparison,
    color: Colors<'_>,
    of: impl Fn(&Interval, f64) -> Option<f64>,
) -> (Vec<Series>, f64, Spread) {
    let mut series = Vec::new();
    let mut all = Vec::new();
    let mut seconds = 0.0_f64;
    for measured in &comparison.brokers {
        let mut lines = Vec::new();
        let mut at: Vec<(f64, Vec<f64>)> = Vec::new();
        for run in rounds(measured) {
            let mut before = 0.0;
            let mut points = Vec::new();
            for (n, interval) in run.intervals.iter().enumerate() {
                let length = interval.at_s - before;
                before = interval.at_s;
                seconds = seconds.max(interval.at_s);
                let Some(value) = of(interval, length) else {
                    continue;
                };
                points.push((interval.at_s, value));
                all.push(value);
                if at.len() <= n {
                    at.resize(n + 1, (interval.at_s, Vec::new()));
                }
                at[n].1.push(value);
            }
            lines.push(Line {
                points,
                look: Look::Faint,
            });
        }
        let medians = at
            .into_iter()
            .filter_map(|(x, values)| Some((x, Spread::of(values)?.median)));
        let points: Vec<_> = medians.collect();
        if lines.len() < 2 {
            lines.clear();
        }
        if points.is_empty() {
            continue;
        }
        lines.push(Line {
            points,
            look: Look::Main,
        });
        series.push(Series {
            name: measured.broker.name.clone(),
            color: color(&measured.broker.name),
            lines,
            band: Vec::new(),
        });
    }
    let spread = Spread::of(all).unwrap_or(Spread {
        median: 0.0,
        min: 0.0,
        max: 0.0,
        rounds: 0,
    });
    (series, seconds, spread)
}

pub(super) fn latency_over_time(
    comparison: &Comparison,
    kind: Kind,
    color: Colors<'_>,
) -> Option<Plot> {
    let of = |interval: &Interval, _| {
        let us = kind.p99(interval);
        (us > 0).then_some(us as f64)
    };
    let (series, seconds, spread) = over_time(comparison, color, of);
    (!series.is_empty()).then(|| Plot {
        title: format!("{}, p99 of each second", kind.title()),
        summary: format!("99th percentile over time: {}", kind.title().to_lowercase()),
        x: Axis::time("time", seconds),
        y: Axis::log("", Unit::Micros, spread.min, spread.max),
        series,
    })
}

pub(super) fn throughput_over_time(comparison: &Comparison, color: Colors<'_>) -> Option<Plot> {
    let runs = comparison.brokers.iter().flat_map(rounds);
    let acked = runs.map(|run| run.counts.acked).sum::<u64>() > 0;
    let of = |interval: &Interval, length: f64| {
        let count = if acked {
            interval.acked
        } else {
            interval.consumed
        };
        (length > 0.0).then(|| count as f64 / length)
    };
    let (series, seconds, spread) = over_time(comparison, color, of);
    let what = if acked { "acknowledged" } else { "consumed" };
    (!series.is_empty()).then(|| Plot {
        title: format!("Records {what} in each second"),
        summary: format!("Records {what} a second, over time"),
        x: Axis::time("time", seconds),
        y: Axis::linear("", Unit::Rate, spread.max),
        series,
    })
}

pub(super) fn memory_over_time(comparison: &Comparison, color: Colors<'_>) -> Option<Plot> {
    let of = |interval: &Interval, _| interval.broker_memory_bytes.map(|bytes| bytes as f64);
    let (series, seconds, spread) = over_time(comparison, color, of);
    (!series.is_empty()).then(|| Plot {
        title: "Memory of the broker".to_owned(),
        summary: "Resident memory of the broker over time".to_owned(),
        x: Axis::time("time", seconds),
        y: Axis::linear("", Unit::Bytes, spread.max),
        series,
    })
}

fn rate_of(comparison: &Comparison) -> Option<f64> {
    match comparison.workload.pace {
        Pace::Rate { records_per_s } => Some(records_per_s),
        Pace::Maximum | Pace::ConsumeOnly => None,
    }
}

/// Workloads that differ in their rate only, two of them or more, by rate.
pub(super) fn sweeps(comparisons: &[Comparison]) -> Vec<Vec<&Comparison>> {
    let mut groups: Vec<Vec<&Comparison>> = Vec::new();
    for comparison in comparisons.iter().filter(|one| rate_of(one).is_some()) {
        let like = |group: &&mut Vec<&Comparison>| {
            let mut workload = group[0].workload.clone();
            workload.name.clone_from(&comparison.workload.name);
            workload.pace = comparison.workload.pace;
            workload == comparison.workload
        };
        match groups.iter_mut().find(like) {
            Some(group) => group.push(comparison),
            None => groups.push(vec![comparison]),
        }
    }
    for group in &mut groups {
        let rate = |one: &&Comparison| rate_of(one).unwrap_or(0.0);
        group.sort_by(|one, other| rate(one).total_cmp(&rate(other)));
        group.dedup_by_key(|one| rate_of(one).map(f64::to_bits));
    }
    groups.retain(|group| group.len() > 1);
    groups
}

pub(super) fn against_rate(sweep: &[&Comparison], kind: Kind, color: Colors<'_>) -> Option<Plot> {
    let mut names: Vec<&str> = Vec::new();
    for measured in sweep.iter().flat_map(|comparison| &comparison.brokers) {
        if !names.contains(&&*measured.broker.name) {
            names.push(&measured.broker.name);
        }
    }
    let mut all = Vec::new();
    let mut series = Vec::new();
    for name in names {
        let mut line = |q: f64, look| {
            let points = sweep.iter().filter_map(|comparison| {
                let mut brokers = comparison.brokers.iter();
                let measured = brokers.find(|measured| measured.broker.name == name)?;
                let values = rounds(measured).filter_map(|run| kind.of(run).at(q));
                let spread = Spread::of(values.map(|us| us.max(1) as f64).collect())?;
                Some((rate_of(comparison)?, spread.median))
            });
            let points: Vec<_> = points.collect();
            all.extend(points.iter().map(|(_, us)| *us));
            Line { points, look }
        };
        let lines = vec![line(0.99, Look::Dotted), line(0.5, Look::Dashed)];
        if !lines[0].points.is_empty() {
            series.push(Series {
                name: name.to_owned(),
                color: color(name),
                lines,
                band: Vec::new(),
            });
        }
    }
    let spread = Spread::of(all)?;
    let rates = Spread::of(sweep.iter().filter_map(|one| rate_of(one)).collect())?;
    Some(Plot {
        title: format!("{}: p99, and p50 dashed", kind.title()),
        summary: format!("Latency against rate: {}", kind.title().to_lowercase()),
        x: Axis::log("records/s", Unit::Count, rates.min, rates.max),
        y: Axis::log("", Unit::Micros, spread.min, spread.max),
        series,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn only_workloads_that_differ_in_their_rate_alone_make_a_sweep() {
        let mut report = sample::report();
        let found = sweeps(&report.comparisons);
        assert_eq!(found.len(), 1);
        let rates: Vec<_> = found[0].iter().filter_map(|one| rate_of(one)).collect();
        assert_eq!(rates, [1_000.0, 10_000.0, 50_000.0]);
        for (bytes, comparison) in (1..).zip(&mut report.comparisons) {
            comparison.workload.record_bytes = bytes;
        }
        assert!(sweeps(&report.comparisons).is_empty());
    }

    #[test]
    fn a_curve_ends_where_the_values_end() {
        let last = |count| *quantiles(count).last().expect("never empty");
        assert!(last(1_000) <= 0.999 + 1e-9 && last(1_000) > 0.99);
        assert!(last(u64::MAX) <= 0.999_99 + 1e-9);
    }

    #[test]
    fn brokers_without_values_have_no_line() {
        let mut comparison = sample::comparison(sample::workload("w"));
        for run in &mut comparison.brokers[1].rounds {
            run.end_to_end = Latency::default();
        }
        let color = |_: &str| 0;
        let plot = percentiles(&comparison, Kind::EndToEnd, &color).expect("two are left");
        assert_eq!(plot.series.len(), 2);
        comparison.brokers.truncate(0);
        assert!(percentiles(&comparison, Kind::Ack, &color).is_none());
        assert!(throughput_over_time(&comparison, &color).is_none());
    }
}
