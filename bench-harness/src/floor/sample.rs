//! What a round of one probe gave, and how rounds become a figure.

use crate::model::{FloorFigure, Latency, micros};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

const GB: f64 = 1e9;

#[derive(Clone, Default)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) bytes: u64,
    pub(super) operations: u64,
    /// Of the measured side.
    pub(super) cpu_s: Option<f64>,
    pub(super) times: Option<Histogram<u64>>,
    /// Why it is not to be trusted.
    pub(super) doubt: Option<String>,
}

impl Sample {
    fn rate(&self) -> f64 {
        let work = if self.bytes > 0 {
            self.bytes
        } else {
            self.operations
        };
        work as f64 / self.seconds
    }
}

/// CPU time of the calling thread, in seconds.
pub(super) fn cpu_now() -> f64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    at.tv_sec as f64 + at.tv_nsec as f64 / GB
}

/// CPU time of this process, in seconds: all of its threads, with those that the kernel adds to it
/// for its rings.
pub(super) fn process_cpu_now() -> f64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    at.tv_sec as f64 + at.tv_nsec as f64 / GB
}

/// Measures the calling thread from its making to [`Watch::end`].
pub(super) struct Watch {
    began: Instant,
    cpu: f64,
    until: Instant,
    last: Instant,
    sample: Sample,
}

impl Watch {
    pub(super) fn start(time: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            cpu: cpu_now(),
            until: began + time,
            last: began,
            sample: Sample::default(),
        }
    }

    pub(super) fn timed(mut self) -> Self {
        // Three digits are valid arguments of this constructor.
        self.sample.times = Histogram::new(3).ok();
        self
    }

    pub(super) fn running(&self) -> bool {
        self.last < self.until
    }

    /// Counts so many operations with these bytes; they took the time since the last count.
    pub(super) fn count(&mut self, operations: u64, bytes: u64) {
        let now = Instant::now();
        self.sample.operations += operations;
        self.sample.bytes += bytes;
        if let Some(times) = &mut self.sample.times {
            // It grows with what it is given, up to any time a probe can take.
            times.record(micros(now - self.last)).unwrap_or_default();
        }
        self.last = now;
    }

    pub(super) fn end(mut self) -> Sample {
        self.sample.seconds = self.began.elapsed().as_secs_f64();
        self.sample.cpu_s = Some(cpu_now() - self.cpu);
        self.sample
    }
}

pub(super) fn figure(group: &str, name: &str, how: &str, rounds: &[Sample]) -> FloorFigure {
    let with_bytes = rounds.iter().all(|one| one.bytes > 0);
    let cpu_per = |work: fn(&Sample) -> u64| {
        let each = |one: &Sample| one.cpu_s.map(|cpu| cpu / work(one) as f64);
        median(rounds.iter().filter_map(each))
    };
    let rates = || rounds.iter().map(Sample::rate);
    FloorFigure {
        group: group.to_owned(),
        name: name.to_owned(),
        how: how.to_owned(),
        bytes_per_s: median(rates()).filter(|_| with_bytes),
        operations_per_s: median(rounds.iter().map(|one| one.operations as f64 / one.seconds)),
        cpu_s_per_gb: cpu_per(|one| one.bytes)
            .map(|cpu| cpu * GB)
            .filter(|_| with_bytes),
        cpu_ns_per_operation: cpu_per(|one| one.operations).map(|cpu| cpu * GB),
        latency: merged(rounds).map(|times| Latency::of(&times)),
        rounds: u32::try_from(rounds.len()).unwrap_or(u32::MAX),
        spread: Some((
            rates().fold(f64::INFINITY, f64::min),
            rates().fold(0.0, f64::max),
        )),
        doubt: rounds.iter().find_map(|one| one.doubt.clone()),
    }
}

fn merged(rounds: &[Sample]) -> Option<Histogram<u64>> {
    let mut all: Option<Histogram<u64>> = None;
    for times in rounds.iter().filter_map(|one| one.times.as_ref()) {
        match &mut all {
            Some(all) => all.add(times).ok()?,
            None => all = Some(times.clone()),
        }
    }
    all
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], upper)
    } else {
        upper
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_kept_as_they_are() {
        let mut watch = Watch::start(Duration::ZERO).timed();
        std::thread::sleep(Duration::from_millis(5));
        watch.count(1, 0);
        let figure = figure("g", "n", "h", &[watch.end()]);
        let slowest = figure.latency.map(|latency| latency.max_us);
        assert!(slowest >= Some(4_900), "{slowest:?}");
    }

    #[test]
    fn figures_are_the_median_of_rounds_with_their_extremes() {
        let of = |bytes| Sample {
            seconds: 2.0,
            bytes,
            operations: 4,
            cpu_s: Some(1.0),
            times: None,
            doubt: (bytes == 100).then(|| "why not".to_owned()),
        };
        let figure = figure("g", "n", "h", &[of(900), of(100), of(200)]);
        assert_eq!(figure.bytes_per_s, Some(100.0));
        assert_eq!(figure.operations_per_s, Some(2.0));
        assert_eq!(figure.cpu_s_per_gb, Some(5e6));
        assert_eq!(figure.cpu_ns_per_operation, Some(25e7));
        assert_eq!(figure.spread, Some((50.0, 450.0)));
        assert_eq!(figure.doubt.as_deref(), Some("why not"));
    }
}
