//! A distribution of latencies.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The quantiles that a report lists.
const QUANTILES: [f64; 12] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 1.0,
];

/// Latencies in microseconds, 1 us apart up to 2 ms and within 0.1 % above.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean_us: f64,
    pub(crate) max_us: u64,
    /// Quantile (0 to 1) and the value that so many do not exceed.
    pub(crate) quantiles: Vec<(f64, u64)>,
    /// Value and how many of it, ascending: the whole histogram, so that rounds can be merged.
    pub(crate) buckets: Vec<(u64, u64)>,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |q: f64| (q, histogram.value_at_quantile(q));
        let buckets = histogram.iter_recorded();
        Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            max_us: histogram.max(),
            quantiles: QUANTILES.into_iter().map(at).collect(),
            buckets: buckets
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
        }
    }

    /// The value that the share `q` (0 to 1) does not exceed, in microseconds; none of nothing.
    pub(crate) fn at(&self, q: f64) -> Option<u64> {
        let rank = ((q * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.iter().find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(*value)
        })
    }
}

/// Rounded down to microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
