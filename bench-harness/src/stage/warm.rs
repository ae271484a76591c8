//! Runs a broker that is compiled while it runs until that is over.

use crate::failure::Outcome;
use crate::model::{Idle, Keys, Pace, Run, Workload};
use crate::report::units::Unit;
use std::time::Duration;

/// When enough is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Warmth {
    /// Before that nothing is concluded.
    pub(crate) records_min: u64,
    pub(crate) records_max: u64,
    pub(crate) windows_max: usize,
}

impl Warmth {
    /// As much as a comparison that is to be believed takes.
    pub(crate) const FULL: Self = Self {
        records_min: 12_000_000,
        records_max: 40_000_000,
        windows_max: 60,
    };
    /// What fits into a first look.
    pub(crate) const BRIEF: Self = Self {
        records_min: 12_000_000,
        records_max: 12_000_000,
        windows_max: 3,
    };
}

/// Two windows this close cost the same.
const SAME: f64 = 0.05;
const WINDOW: Duration = Duration::from_secs(5);

/// What warming showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warmed {
    pub(super) warm: bool,
    pub(super) what: String,
}

/// Large batches until CPU per record stops falling, then small ones for a while: their code is
/// another.
pub(super) fn warm(
    warmth: Warmth,
    mut measure: impl FnMut(&Workload) -> Outcome<Run>,
) -> Outcome<Warmed> {
    let mut costs: Vec<f64> = Vec::new();
    let mut records = 0;
    let mut settled = false;
    while costs.len() < warmth.windows_max && records < warmth.records_max {
        let run = measure(&workload(64 << 10, Duration::from_millis(5)))?;
        records += run.counts.acked;
        let cpu_s = run.cost.as_ref().map_or(0.0, |cost| cost.cpu_s());
        if run.counts.acked == 0 || cpu_s <= 0.0 {
            break;
        }
        costs.push(cpu_s * 1e9 / run.counts.acked as f64);
        if let [.., before, now] = costs[..] {
            settled = ((before - now) / before).abs() < SAME;
        }
        if settled && records >= warmth.records_min {
            break;
        }
    }
    if warmth == Warmth::FULL {
        records += measure(&workload(512, Duration::ZERO))?.counts.acked;
    }
    let warm = settled && records >= warmth.records_min;
    let millions = records as f64 / 1e6;
    let what = match (costs.first(), costs.last()) {
        (Some(first), Some(last)) => format!(
            "{millions:.1} million records; CPU for each fell from {} to {}, {}",
            Unit::Nanos.show(*first),
            Unit::Nanos.show(*last),
            if warm {
                "and no further"
            } else {
                "not yet as far as it goes"
            }
        ),
        _ => format!("{millions:.1} million records; its CPU could not be seen"),
    };
    Ok(Warmed { warm, what })
}

fn workload(batch_bytes: u32, linger: Duration) -> Workload {
    Workload {
        name: "warm-up".to_owned(),
        topics: 1,
        partitions_per_topic: 4,
        topic_settings: Vec::new(),
        record_bytes: 100,
        keys: Keys::None,
        compression: "none".to_owned(),
        acks: -1,
        idempotent: false,
        producers_per_topic: 4,
        batch_bytes,
        linger,
        in_flight_max: 5,
        pace: Pace::Maximum,
        subscriptions_per_topic: 1,
        consumers_per_subscription: 1,
        backlog_bytes: 0,
        warmup: Duration::ZERO,
        measured: WINDOW,
        generator_threads: 1,
        idle: Idle::Park,
        seed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cost, Counts};

    /// A window of so many records that cost so many ns each.
    fn window(acked: u64, nanos: f64) -> Run {
        Run {
            counts: Counts {
                acked,
                ..Counts::default()
            },
            cost: Some(Cost {
                user_s: acked as f64 * nanos / 1e9,
                ..Cost::default()
            }),
            ..Run::default()
        }
    }

    fn after(warmth: Warmth, windows: &[Run]) -> (Warmed, usize) {
        let mut used = 0;
        let last = &windows[windows.len() - 1];
        let result = warm(warmth, |_| {
            used += 1;
            Ok(windows.get(used - 1).unwrap_or(last).clone())
        });
        (result.expect("no window fails"), used)
    }

    #[test]
    fn warming_ends_when_the_cost_does_not_fall_any_more_but_not_before_the_least() {
        let falling = [2900.0, 1500.0, 900.0, 600.0, 560.0, 555.0].map(|ns| window(4_000_000, ns));
        let (warmed, used) = after(Warmth::FULL, &falling);
        assert!(warmed.warm, "{warmed:?}");
        assert_eq!(used, 6 + 1, "six of large batches and one of small ones");
        assert!(warmed.what.contains("from 2.9 µs to 555 ns"), "{warmed:?}");
        let (_, early) = after(Warmth::FULL, &[window(2_000_000, 500.0)]);
        assert_eq!(early, 6 + 1, "12 million are needed even if nothing falls");
    }

    #[test]
    fn a_broker_that_never_settles_is_not_called_warm() {
        let windows: Vec<_> = (1..100)
            .map(|n| window(4_000_000, 9_000.0 / f64::from(n)))
            .collect();
        let (warmed, used) = after(Warmth::BRIEF, &windows);
        assert!(!warmed.warm && used == 3, "{warmed:?}");
        assert!(warmed.what.contains("not yet"), "{warmed:?}");
        let jumping: Vec<_> = (0..100)
            .map(|n| window(4_000_000, if n % 2 == 0 { 500.0 } else { 900.0 }))
            .collect();
        let (warmed, used) = after(Warmth::FULL, &jumping);
        assert!(
            !warmed.warm && used == 11,
            "40 million at most: {warmed:?} {used}"
        );
    }

    #[test]
    fn a_broker_whose_cpu_is_not_seen_is_not_called_warm() {
        let mut blind = window(1_000_000, 1.0);
        blind.cost = None;
        let (warmed, _) = after(Warmth::FULL, &[blind]);
        assert!(!warmed.warm, "{warmed:?}");
        assert!(warmed.what.contains("could not be seen"), "{warmed:?}");
    }
}
