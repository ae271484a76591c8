//! The workloads that are built in.

use crate::model::{Idle, Keys, Pace, Workload};
use std::time::Duration;

/// What the others differ from: one producer, 1 KiB, at a moderate rate.
pub(super) fn basic() -> Workload {
    Workload {
        name: "produce".to_owned(),
        topics: 1,
        partitions_per_topic: 16,
        topic_settings: Vec::new(),
        record_bytes: 1024,
        keys: Keys::None,
        compression: "none".to_owned(),
        acks: -1,
        idempotent: false,
        producers_per_topic: 1,
        batch_bytes: 64 << 10,
        linger: Duration::from_millis(1),
        in_flight_max: 5,
        pace: Pace::Rate {
            records_per_s: 50_000.0,
        },
        subscriptions_per_topic: 0,
        consumers_per_subscription: 1,
        backlog_bytes: 0,
        warmup: Duration::from_secs(5),
        measured: Duration::from_secs(20),
        generator_threads: 1,
        idle: Idle::Park,
        seed: None,
    }
}

const fn rate(records_per_s: f64) -> Pace {
    Pace::Rate { records_per_s }
}

pub(crate) fn presets() -> Vec<Workload> {
    let named = |name: &str| Workload {
        name: name.to_owned(),
        ..basic()
    };
    vec![
        basic(),
        Workload {
            record_bytes: 100,
            producers_per_topic: 4,
            pace: Pace::Maximum,
            ..named("produce-maximum")
        },
        Workload {
            pace: Pace::ConsumeOnly,
            subscriptions_per_topic: 1,
            backlog_bytes: 1 << 30,
            ..named("consume")
        },
        Workload {
            partitions_per_topic: 1,
            linger: Duration::ZERO,
            pace: rate(10_000.0),
            subscriptions_per_topic: 1,
            ..named("end-to-end")
        },
        Workload {
            pace: rate(20_000.0),
            subscriptions_per_topic: 5,
            ..named("fan-out")
        },
        Workload {
            record_bytes: 200,
            keys: Keys::Random { distinct: 100_000 },
            producers_per_topic: 300,
            batch_bytes: 16 << 10,
            pace: rate(20_000.0),
            ..named("keyed-small")
        },
        Workload {
            partitions_per_topic: 1000,
            producers_per_topic: 8,
            pace: rate(20_000.0),
            subscriptions_per_topic: 1,
            consumers_per_subscription: 4,
            ..named("many-partitions")
        },
        Workload {
            subscriptions_per_topic: 1,
            pace: rate(20_000.0),
            backlog_bytes: 1 << 30,
            ..named("backlog-drain")
        },
        Workload {
            topic_settings: vec![
                ("retention.bytes".to_owned(), (64 << 20).to_string()),
                ("segment.bytes".to_owned(), (16 << 20).to_string()),
            ],
            subscriptions_per_topic: 1,
            measured: Duration::from_secs(30 * 60),
            ..named("endurance")
        },
    ]
}
