//! What a thread counts, and how it is put together.

use crate::model::{Counts, Interval, Latency};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Longer latencies count as this long.
const LATENCY_US_MAX: u64 = 3_600_000_000;
const STALL_NS: u64 = 100_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// A histogram whose records come in runs of equal values.
pub(crate) struct Times {
    histogram: Histogram<u64>,
    value: u64,
    run: u64,
}

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self {
            histogram: histogram.expect("three digits up to an hour are possible"),
            value: 0,
            run: 0,
        }
    }

    /// Adds `count` times from one moment to another, both in ns.
    pub(crate) fn add(&mut self, from: u64, to: u64, count: u64) {
        let value = to.saturating_sub(from) / 1000;
        if value != self.value {
            self.flush();
            self.value = value;
        }
        self.run += count;
    }

    fn flush(&mut self) {
        if self.run > 0 {
            self.histogram.saturating_record_n(self.value, self.run);
            self.run = 0;
        }
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        other.flush();
        self.flush();
        self.histogram
            .add(&other.histogram)
            .expect("both have the same bounds");
    }

    pub(crate) fn latency(&mut self) -> Latency {
        self.flush();
        Latency::of(&self.histogram)
    }

    fn quantiles(&mut self) -> [u64; 4] {
        self.flush();
        let at = |q| self.histogram.value_at_quantile(q);
        [at(0.5), at(0.99), at(0.999), self.histogram.max()]
    }
}

/// What happened in one second of the measured time, or after it (`late`).
pub(crate) struct Second {
    pub(crate) acked: u64,
    pub(crate) consumed: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) consumed_bytes: u64,
    pub(crate) ack: Times,
    pub(crate) end_to_end: Times,
}

impl Second {
    pub(crate) fn new() -> Self {
        Self {
            acked: 0,
            consumed: 0,
            acked_bytes: 0,
            consumed_bytes: 0,
            ack: Times::new(),
            end_to_end: Times::new(),
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.acked += other.acked;
        self.consumed += other.consumed;
        self.acked_bytes += other.acked_bytes;
        self.consumed_bytes += other.consumed_bytes;
        self.ack.merge(other.ack);
        self.end_to_end.merge(other.end_to_end);
    }

    pub(crate) fn interval(&mut self, at_s: f64) -> Interval {
        let [ack_p50_us, ack_p99_us, ack_p999_us, ack_max_us] = self.ack.quantiles();
        let [
            end_to_end_p50_us,
            end_to_end_p99_us,
            end_to_end_p999_us,
            end_to_end_max_us,
        ] = self.end_to_end.quantiles();
        Interval {
            at_s,
            acked: self.acked,
            consumed: self.consumed,
            acked_bytes: self.acked_bytes,
            consumed_bytes: self.consumed_bytes,
            ack_p50_us,
            ack_p99_us,
            ack_p999_us,
            ack_max_us,
            end_to_end_p50_us,
            end_to_end_p99_us,
            end_to_end_p999_us,
            end_to_end_max_us,
            ..Interval::default()
        }
    }
}

/// Notices when nothing comes although something is awaited.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    /// The last progress, or since when something is awaited.
    since: Option<u64>,
    count: u64,
    longest_ns: u64,
}

impl Stalls {
    pub(crate) fn expect_from(&mut self, now: u64) {
        self.since.get_or_insert(now);
    }

    pub(crate) fn progress(&mut self, now: u64, awaited: bool) {
        if let Some(since) = self.since {
            let gap = now.saturating_sub(since);
            if gap >= STALL_NS {
                self.count += 1;
                self.longest_ns = self.longest_ns.max(gap);
            }
        }
        self.since = awaited.then_some(now);
    }
}

/// What a thread hands back at its end.
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) send_delay: Times,
    /// From the intended time to the moment when the loop came to it.
    pub(crate) loop_delay: Times,
    pub(crate) cpu_s: f64,
    pub(crate) busy: f64,
    /// Records that were sent and never acknowledged, or acknowledged and never consumed.
    pub(crate) missing: u64,
    /// Records that are none of this run, or not in their place.
    pub(crate) wrong: u64,
    /// Why the thread gave up early.
    pub(crate) gave_up: Option<String>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            counts: Counts::default(),
            send_delay: Times::new(),
            loop_delay: Times::new(),
            cpu_s: 0.0,
            busy: 0.0,
            missing: 0,
            wrong: 0,
            gave_up: None,
        }
    }

    pub(crate) fn add_stalls(&mut self, stalls: &Stalls) {
        self.counts.stalls += stalls.count;
        let longest = stalls.longest_ns / NS_PER_MS;
        self.counts.longest_stall_ms = self.counts.longest_stall_ms.max(longest);
    }

    pub(crate) fn error(&mut self, name: String, count: u64) {
        *self.counts.errors.entry(name).or_insert(0) += count;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let (to, from) = (&mut self.counts, other.counts);
        to.intended += from.intended;
        to.sent += from.sent;
        to.produce_requests += from.produce_requests;
        to.fetch_requests += from.fetch_requests;
        to.late += from.late;
        to.throttled += from.throttled;
        to.throttled_ms += from.throttled_ms;
        to.stalls += from.stalls;
        to.longest_stall_ms = to.longest_stall_ms.max(from.longest_stall_ms);
        to.reconnects += from.reconnects;
        merge_errors(&mut to.errors, from.errors);
        self.send_delay.merge(other.send_delay);
        self.loop_delay.merge(other.loop_delay);
        self.cpu_s += other.cpu_s;
        self.busy = self.busy.max(other.busy);
        self.missing += other.missing;
        self.wrong += other.wrong;
        self.gave_up = self.gave_up.take().or(other.gave_up);
    }
}

fn merge_errors(to: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>) {
    for (name, count) in from {
        *to.entry(name).or_insert(0) += count;
    }
}
