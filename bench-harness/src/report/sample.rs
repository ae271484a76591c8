//! Values for tests of reports: made up, and in no report that anybody gets.

use crate::model::{
    Broker, Comparison, Cost, Counts, Durability, FORMAT, Floor, FloorFigure, Headroom, Idle,
    Interval, Keys, Latency, Machine, Measured, Pace, Report, Run, Workload,
};
use hdrhistogram::Histogram;
use std::time::Duration;

pub(crate) fn workload(name: &str) -> Workload {
    Workload {
        name: name.to_owned(),
        topics: 1,
        partitions_per_topic: 16,
        topic_settings: Vec::new(),
        record_bytes: 100,
        keys: Keys::None,
        compression: "none".to_owned(),
        acks: -1,
        idempotent: false,
        producers_per_topic: 64,
        batch_bytes: 64 << 10,
        linger: Duration::from_millis(5),
        in_flight_max: 5,
        pace: Pace::Maximum,
        subscriptions_per_topic: 1,
        consumers_per_subscription: 1,
        backlog_bytes: 0,
        warmup: Duration::from_secs(3),
        measured: Duration::from_secs(10),
        generator_threads: 1,
        idle: Idle::Park,
        seed: None,
    }
}

/// Around `typical_us`, with a tail.
pub(crate) fn latency(typical_us: u64, seed: u64) -> Latency {
    let mut histogram = Histogram::<u64>::new(3).expect("three digits are allowed");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for n in 0..200_000_u64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let spread = 1.0 + (state % 1_000) as f64 / 2_500.0;
        let tail = if n % 97 == 0 {
            1.0 + (state % 77) as f64 / 9.0
        } else {
            1.0
        };
        let value = typical_us as f64 * spread * tail;
        histogram.record(value as u64).expect("it resizes");
    }
    Latency::of(&histogram)
}

pub(crate) fn run(acked: u64, typical_us: u64, seed: u64) -> Run {
    let ack = latency(typical_us, seed);
    let end_to_end = latency(typical_us * 3 / 2, seed + 99);
    let bytes = acked * 112;
    let second = |n: u64| {
        let wave = 1.0 + ((n * 7 + seed) % 5) as f64 / 20.0;
        Interval {
            at_s: n as f64,
            acked: (acked as f64 / 10.0 / wave) as u64,
            consumed: (acked as f64 / 10.0 / wave) as u64,
            acked_bytes: bytes / 10,
            consumed_bytes: bytes / 10,
            ack_p50_us: typical_us,
            ack_p99_us: (typical_us as f64 * 1.6 * wave) as u64,
            ack_p999_us: typical_us * 5,
            ack_max_us: typical_us * 9,
            end_to_end_p50_us: typical_us * 3 / 2,
            end_to_end_p99_us: (typical_us as f64 * 2.1 * wave) as u64,
            end_to_end_p999_us: typical_us * 6,
            end_to_end_max_us: typical_us * 11,
            broker_cpu_s: Some(0.9),
            broker_memory_bytes: Some(200 << 20),
            broker_descriptors: Some(90),
        }
    };
    Run {
        seconds: 10.0,
        counts: Counts {
            intended: acked,
            sent: acked,
            acked,
            consumed: acked,
            acked_bytes: bytes,
            consumed_bytes: bytes,
            produce_requests: acked / 500,
            fetch_requests: acked / 600,
            ..Counts::default()
        },
        send_delay: latency(4, seed + 7),
        generator_delay: latency(2, seed + 8),
        ack,
        end_to_end,
        intervals: (1..=10).map(second).collect(),
        windows: Vec::new(),
        cost: Some(Cost {
            user_s: 1.0 + typical_us as f64 / 700.0,
            system_s: 2.0 + typical_us as f64 / 500.0,
            voluntary_switches: 9_000,
            involuntary_switches: 1_200,
            syscalls: Some(acked / 400),
            instructions: None,
            disk_read_bytes: Some(0),
            disk_written_bytes: Some(bytes + bytes / 50),
            device_written_bytes: Some(bytes + bytes / 40),
            device_flushes: Some(5_000),
            peak_memory_bytes: Some(300 << 20),
            not_counted: Vec::new(),
        }),
        generator_cpu_s: 7.5,
        generator_busy: 0.75,
        stolen: Some(0.002),
        doubts: Vec::new(),
    }
}

/// One round for each number of acknowledged records.
pub(crate) fn measured(name: &str, acked: &[u64], typical_us: u64) -> Measured {
    let rounds = acked.iter().zip(1..);
    Measured {
        broker: Broker {
            name: name.to_owned(),
            version: format!("{name} 1.2.3"),
            address: "127.0.0.1:9092".to_owned(),
            started: format!("{name} serve --set a=1"),
            durability: Durability {
                meaning: "on disk before the acknowledgement".to_owned(),
                evidence: "topic: durability=disk".to_owned(),
            },
            warmed: "not needed: no virtual machine".to_owned(),
        },
        rounds: rounds
            .map(|(acked, seed)| run(*acked, typical_us, seed))
            .collect(),
    }
}

pub(crate) fn comparison(workload: Workload) -> Comparison {
    let millions = |of: [u64; 5]| of.map(|n| n * 100_000);
    Comparison {
        workload,
        brokers: vec![
            measured("ringlog", &millions([201, 205, 196, 211, 203]), 300),
            measured("kafka", &millions([41, 39, 44, 40, 42]), 2_900),
            measured("kafka-flush", &millions([9, 8, 8, 9, 7]), 21_000),
        ],
    }
}

pub(crate) fn report() -> Report {
    let mut comparisons = vec![comparison(workload("produce-100b"))];
    for rate in [1_000.0, 10_000.0, 50_000.0] {
        let mut workload = workload(&format!("end-to-end-{rate}"));
        workload.pace = Pace::Rate {
            records_per_s: rate,
        };
        workload.producers_per_topic = 1;
        comparisons.push(comparison(workload));
    }
    Report {
        format: FORMAT,
        command: "bench-harness compare --brokers ringlog,kafka,kafka-flush".to_owned(),
        began: "2026-01-02T03:04:05Z".to_owned(),
        harness_version: "0.1.0".to_owned(),
        machine: Machine {
            kernel: "Linux 6.18".to_owned(),
            cpu: "Some CPU <fast> & \"wide\"".to_owned(),
            cores: 2,
            memory_bytes: 24 << 30,
            storage: "ext4 on vda (virtio), volatile write cache".to_owned(),
            load_average: 0.2,
            generator_cores: "1".to_owned(),
            broker_cores: "0".to_owned(),
        },
        headroom: vec![Headroom {
            workload: "produce-100b".to_owned(),
            records_per_s: 9_000_000.0,
            ack_p50_us: 20,
            ack_p99_us: 45,
            ack_p999_us: 90,
        }],
        comparisons,
        floor: Some(Floor {
            figures: vec![FloorFigure {
                group: "disk".to_owned(),
                name: "write + flush, 64 KiB".to_owned(),
                bytes_per_s: Some(300e6),
                latency: Some(latency(250, 5)),
                how: "O_DIRECT, one after the other".to_owned(),
                ..FloorFigure::default()
            }],
            ..Floor::default()
        }),
    }
}
