//! Workload files of the OpenMessaging Benchmark, with a section of our own.

use super::presets::basic;
use crate::failure::{Failure, Outcome};
use crate::model::{Idle, Keys, Pace, Workload};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The keys of OpenMessaging Benchmark's workloads. Those that cannot be honoured are here too, so
/// that they are refused with a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    name: Option<String>,
    topics: u32,
    partitions_per_topic: u32,
    #[serde(default)]
    key_distributor: KeyDistributor,
    message_size: u32,
    use_randomized_payloads: Option<bool>,
    random_bytes_ratio: Option<f64>,
    randomized_payload_pool_size: Option<u32>,
    payload_file: Option<String>,
    subscriptions_per_topic: u32,
    producers_per_topic: u32,
    consumer_per_subscription: u32,
    producer_rate: f64,
    #[serde(rename = "consumerBacklogSizeGB", default)]
    consumer_backlog_size_gb: f64,
    backlog_drain_ratio: Option<f64>,
    test_duration_minutes: f64,
    warmup_duration_minutes: Option<f64>,
    log_dir: Option<String>,
    #[serde(default)]
    harness: Own,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
enum KeyDistributor {
    #[default]
    #[serde(rename = "NO_KEY")]
    NoKey,
    #[serde(rename = "KEY_ROUND_ROBIN")]
    KeyRoundRobin,
    #[serde(rename = "RANDOM_NANO")]
    RandomNano,
}

/// The section `harness`: what the other file of that benchmark, its driver, says there.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Own {
    acks: Option<i16>,
    idempotent: Option<bool>,
    batch_bytes: Option<u32>,
    linger_ms: Option<f64>,
    in_flight: Option<u32>,
    /// Different keys that RANDOM_NANO draws from.
    distinct_keys: Option<u32>,
    threads: Option<u32>,
    idle: Option<Idle>,
    seed: Option<u64>,
    #[serde(default)]
    topic_settings: BTreeMap<String, String>,
}

pub(crate) fn load(path: &Path) -> Outcome<Workload> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read the workload {shown}: {error}")))?;
    let stem = path
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into());
    parse(&text, &stem).map_err(|why| {
        Failure::new(format!("the workload {shown} cannot be run: {why}"))
            .advise("its keys are those of OpenMessaging Benchmark, and a section `harness`")
    })
}

fn parse(text: &str, name: &str) -> Result<Workload, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let line = |key: &str| {
        let found = text
            .lines()
            .position(|line| line.trim_start().starts_with(key));
        found.map_or_else(String::new, |line| format!(" (line {})", line + 1))
    };
    if let Some((key, why)) = impossible(&file) {
        return Err(format!("{key}{}: {why}", line(key)));
    }
    let own = &file.harness;
    let base = basic();
    Ok(Workload {
        name: file.name.unwrap_or_else(|| name.to_owned()),
        topics: file.topics,
        partitions_per_topic: file.partitions_per_topic,
        topic_settings: own.topic_settings.clone().into_iter().collect(),
        record_bytes: file.message_size,
        keys: match file.key_distributor {
            KeyDistributor::RandomNano => Keys::Random {
                distinct: own.distinct_keys.unwrap_or(1 << 20),
            },
            _ => Keys::None,
        },
        acks: own.acks.unwrap_or(base.acks),
        idempotent: own.idempotent.unwrap_or(false),
        producers_per_topic: file.producers_per_topic,
        batch_bytes: own.batch_bytes.unwrap_or(base.batch_bytes),
        linger: own
            .linger_ms
            .map_or(base.linger, |ms| Duration::from_secs_f64(ms / 1e3)),
        in_flight_max: own.in_flight.unwrap_or(base.in_flight_max),
        // Their benchmark looks for the largest rate then; the closed loop finds it.
        pace: match file.producer_rate {
            0.0 => Pace::Maximum,
            records_per_s => Pace::Rate { records_per_s },
        },
        subscriptions_per_topic: file.subscriptions_per_topic,
        consumers_per_subscription: file.consumer_per_subscription,
        backlog_bytes: (file.consumer_backlog_size_gb * f64::from(1 << 30)) as u64,
        warmup: Duration::from_secs_f64(60.0 * file.warmup_duration_minutes.unwrap_or(1.0)),
        measured: Duration::from_secs_f64(60.0 * file.test_duration_minutes),
        generator_threads: own.threads.unwrap_or(base.generator_threads),
        idle: own.idle.unwrap_or(base.idle),
        seed: own.seed,
        ..base
    })
}

/// The first key whose value cannot be honoured, and why.
fn impossible(file: &File) -> Option<(&'static str, &'static str)> {
    let rules = [
        (file.topics == 0, "topics", "1 or more is possible"),
        (
            file.partitions_per_topic == 0,
            "partitionsPerTopic",
            "1 or more is possible",
        ),
        (
            file.key_distributor == KeyDistributor::KeyRoundRobin,
            "keyDistributor",
            "KEY_ROUND_ROBIN is not supported; NO_KEY and RANDOM_NANO are",
        ),
        (
            file.message_size < 16,
            "messageSize",
            "16 or more is possible",
        ),
        (
            file.payload_file.is_some(),
            "payloadFile",
            "not supported: payloads are random bytes; leave the key away",
        ),
        (
            file.use_randomized_payloads == Some(false),
            "useRandomizedPayloads",
            "false is not supported: payloads are random bytes",
        ),
        (
            file.random_bytes_ratio.is_some_and(|ratio| ratio != 1.0),
            "randomBytesRatio",
            "only 1.0 is possible: all bytes are random",
        ),
        (
            file.randomized_payload_pool_size
                .is_some_and(|size| size > 1),
            "randomizedPayloadPoolSize",
            "only 1 is possible: all records have the same random bytes behind their number",
        ),
        (
            file.backlog_drain_ratio.is_some(),
            "backlogDrainRatio",
            "not supported: the backlog is drained while producing goes on; leave the key away",
        ),
        (
            file.log_dir.is_some(),
            "logDir",
            "not supported: results go where the command says",
        ),
        (
            file.producers_per_topic == 0,
            "producersPerTopic",
            "1 or more is possible",
        ),
        (
            file.subscriptions_per_topic > 0 && file.consumer_per_subscription == 0,
            "consumerPerSubscription",
            "1 or more is possible where there are subscriptions",
        ),
    ];
    first(rules)
        .or_else(|| impossible_times(file))
        .or_else(|| impossible_own(&file.harness))
}

fn impossible_times(file: &File) -> Option<(&'static str, &'static str)> {
    first([
        (
            bad(file.producer_rate, 1e9),
            "producerRate",
            "0 (the maximum) to 10^9 is possible",
        ),
        (
            bad(file.consumer_backlog_size_gb, 1e5),
            "consumerBacklogSizeGB",
            "0 to 100000 is possible",
        ),
        (
            bad(file.test_duration_minutes, 1e5) || file.test_duration_minutes == 0.0,
            "testDurationMinutes",
            "more than 0, up to 100000, is possible",
        ),
        (
            bad(file.warmup_duration_minutes.unwrap_or(0.0), 1e5),
            "warmupDurationMinutes",
            "0 to 100000 is possible",
        ),
    ])
}

fn impossible_own(own: &Own) -> Option<(&'static str, &'static str)> {
    first([
        (
            bad(own.linger_ms.unwrap_or(0.0), 1e6),
            "lingerMs",
            "0 to 1000000 is possible",
        ),
        (
            own.acks.is_some_and(|acks| !(-1..=1).contains(&acks)),
            "acks",
            "-1 (all), 0 and 1 are possible",
        ),
        (
            own.distinct_keys == Some(0),
            "distinctKeys",
            "1 or more is possible",
        ),
        (own.threads == Some(0), "threads", "1 or more is possible"),
        (
            own.in_flight == Some(0),
            "inFlight",
            "1 or more is possible",
        ),
        (
            own.batch_bytes == Some(0),
            "batchBytes",
            "1 or more is possible",
        ),
    ])
}

type Rule = (bool, &'static str, &'static str);

fn first(rules: impl IntoIterator<Item = Rule>) -> Option<(&'static str, &'static str)> {
    let broken = rules.into_iter().find(|(broken, _, _)| *broken);
    broken.map(|(_, key, why)| (key, why))
}

fn bad(value: f64, most: f64) -> bool {
    !(0.0..=most).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name: small\ntopics: 1\npartitionsPerTopic: 4\nmessageSize: 1024\n\
        subscriptionsPerTopic: 1\nproducersPerTopic: 2\nconsumerPerSubscription: 1\n\
        producerRate: 50000\nconsumerBacklogSizeGB: 0\ntestDurationMinutes: 2\n";

    #[test]
    fn a_usual_file_is_read() {
        let own = "harness:\n  acks: 1\n  lingerMs: 0.5\n  idle: spin\n  topicSettings:\n    \
                   retention.bytes: \"1000\"\n";
        let workload = parse(&format!("{FILE}{own}"), "").expect("a good file");
        assert_eq!(workload.name, "small");
        assert_eq!(workload.partitions_per_topic, 4);
        assert_eq!(workload.measured, Duration::from_secs(120));
        assert_eq!(workload.linger, Duration::from_micros(500));
        assert_eq!((workload.acks, workload.idle), (1, Idle::Spin));
        assert_eq!(workload.topic_settings.len(), 1);
        let Pace::Rate { records_per_s } = workload.pace else {
            panic!("a rate was asked for");
        };
        assert!((records_per_s - 50_000.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name_and_line() {
        for (key, value) in [
            ("payloadFile", "a.data"),
            ("keyDistributor", "KEY_ROUND_ROBIN"),
            ("randomBytesRatio", "0.5"),
            ("backlogDrainRatio", "2.0"),
            ("warmupDurationMinutes", "-1"),
        ] {
            let why = parse(&format!("{FILE}{key}: {value}\n"), "").expect_err(key);
            assert!(why.contains(key) && why.contains("line 11"), "{why}");
        }
        let why = parse(&format!("{FILE}produserRate: 3\n"), "").expect_err("unknown");
        assert!(why.contains("produserRate") && why.contains("11"), "{why}");
        let why = parse(&FILE.replace("1024", "8"), "").expect_err("too small");
        assert!(
            why.contains("messageSize") && why.contains("line 4"),
            "{why}"
        );
        let why = parse(&FILE.replace("1024", "many"), "").expect_err("no number");
        assert!(why.contains('4'), "{why}");
        assert!(parse(&FILE.replace("topics: 1\n", ""), "").is_err());
    }
}
