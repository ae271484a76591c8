//! Every setting there is: the topic and broker settings of Apache Kafka 4.2 and our own.
//!
//! Names, types, defaults, bounds and scopes are Kafka's, from what a running 4.2.0 describes,
//! except for these defaults: `listeners` (loopback only), `log.dir`, the replication factors (one
//! node) and the identity of the node.

mod cluster;
mod groups;
mod logs;
mod network;
mod own;
mod security;
mod tiering;
mod topic;

use super::setting::{Check, Kind, Scope, Setting, setting};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A broker setting that gives a topic setting its default, and the factor between their units.
pub type Origin = (&'static str, i64);

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

static TOPIC: LazyLock<BTreeMap<&'static str, &'static Setting>> = LazyLock::new(|| {
    let all = topic::ALL.iter().chain(own::TOPIC);
    all.map(|setting| (setting.name, setting)).collect()
});

static BROKER: LazyLock<BTreeMap<&'static str, &'static Setting>> = LazyLock::new(|| {
    let all = [
        cluster::ALL,
        groups::ALL,
        logs::ALL,
        network::ALL,
        own::BROKER,
        security::ALL,
        tiering::ALL,
    ];
    let all = all.into_iter().flatten();
    all.map(|setting| (setting.name, setting)).collect()
});

/// Kafka accepts this one and shows it only where it is set: a segment size without the lower
/// bound, for tests.
pub const INTERNAL_SEGMENT_BYTES: &Setting = &setting(
    "internal.segment.bytes",
    Kind::Int,
    "1073741824",
    Check::AtLeast(14),
    Scope::ClusterWide,
)
.does("As segment.bytes and before it, without its lower bound; for tests.");

/// A topic's setting by name.
pub fn of_topic(name: &str) -> Option<&'static Setting> {
    let internal = (name == INTERNAL_SEGMENT_BYTES.name).then_some(INTERNAL_SEGMENT_BYTES);
    TOPIC.get(name).copied().or(internal)
}

/// A broker's setting by name.
pub fn of_broker(name: &str) -> Option<&'static Setting> {
    BROKER.get(name).copied()
}

/// Every setting of a topic that is always listed, by name.
pub fn topic_settings() -> impl Iterator<Item = &'static Setting> {
    TOPIC.values().copied()
}

/// Every setting of a broker, by name.
pub fn broker_settings() -> impl Iterator<Item = &'static Setting> {
    BROKER.values().copied()
}

/// The broker settings a topic setting takes its value from, the strongest first; none for settings
/// that only topics have (`ServerTopicConfigSynonyms.java`, 4.2).
pub fn origins(topic_setting: &str) -> &'static [Origin] {
    match topic_setting {
        "cleanup.policy" => &[("log.cleanup.policy", 1)],
        "compression.gzip.level" => &[("compression.gzip.level", 1)],
        "compression.lz4.level" => &[("compression.lz4.level", 1)],
        "compression.type" => &[("compression.type", 1)],
        "compression.zstd.level" => &[("compression.zstd.level", 1)],
        "delete.retention.ms" => &[("log.cleaner.delete.retention.ms", 1)],
        "durability" => &[("log.durability", 1)],
        "file.delete.delay.ms" => &[("log.segment.delete.delay.ms", 1)],
        "flush.messages" => &[("log.flush.interval.messages", 1)],
        "flush.ms" => &[
            ("log.flush.interval.ms", 1),
            ("log.flush.scheduler.interval.ms", 1),
        ],
        "index.interval.bytes" => &[("log.index.interval.bytes", 1)],
        "local.retention.bytes" => &[("log.local.retention.bytes", 1)],
        "local.retention.ms" => &[("log.local.retention.ms", 1)],
        "max.compaction.lag.ms" => &[("log.cleaner.max.compaction.lag.ms", 1)],
        "max.message.bytes" => &[("message.max.bytes", 1)],
        "message.timestamp.after.max.ms" => &[("log.message.timestamp.after.max.ms", 1)],
        "message.timestamp.before.max.ms" => &[("log.message.timestamp.before.max.ms", 1)],
        "message.timestamp.type" => &[("log.message.timestamp.type", 1)],
        "min.cleanable.dirty.ratio" => &[("log.cleaner.min.cleanable.ratio", 1)],
        "min.compaction.lag.ms" => &[("log.cleaner.min.compaction.lag.ms", 1)],
        "min.insync.replicas" => &[("min.insync.replicas", 1)],
        "preallocate" => &[("log.preallocate", 1)],
        "retention.bytes" => &[("log.retention.bytes", 1)],
        "retention.ms" => &[
            ("log.retention.ms", 1),
            ("log.retention.minutes", MINUTE_MS),
            ("log.retention.hours", HOUR_MS),
        ],
        "segment.bytes" => &[("log.segment.bytes", 1)],
        "segment.index.bytes" => &[("log.index.size.max.bytes", 1)],
        "segment.jitter.ms" => &[
            ("log.roll.jitter.ms", 1),
            ("log.roll.jitter.hours", HOUR_MS),
        ],
        "segment.ms" => &[("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)],
        "unclean.leader.election.enable" => &[("unclean.leader.election.enable", 1)],
        _ => &[],
    }
}

/// The broker settings that mean the same as `name`, the strongest first, `name` among them
/// (`DynamicBrokerConfig.brokerConfigSynonyms`, 4.2).
pub fn broker_synonyms(name: &'static str) -> &'static [&'static str] {
    match name {
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            &["log.roll.jitter.ms", "log.roll.jitter.hours"]
        }
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ],
        _ => match of_broker(name) {
            Some(setting) => std::slice::from_ref(&setting.name),
            None => &[],
        },
    }
}

/// The known name most like an unknown one, if any is close enough to be meant.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let far = 1 + unknown.len() / 4;
    broker_settings()
        .map(|setting| (distance(unknown, setting.name), setting.name))
        .filter(|&(distance, _)| distance <= far)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance over bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_legal_value_in_its_plain_form() {
        for setting in topic_settings().chain(broker_settings()) {
            if let Some(default) = setting.default {
                assert_eq!(
                    setting.parse(default).as_deref(),
                    Ok(default),
                    "{setting:?}"
                );
            }
        }
    }

    #[test]
    fn a_topic_setting_and_its_origins_have_one_default() {
        for topic in topic_settings() {
            for (name, factor) in origins(topic.name) {
                let broker = of_broker(name).unwrap_or_else(|| panic!("{name} is no setting"));
                let Some(value) = broker.default else {
                    continue;
                };
                let value = value.parse().map_or_else(
                    |_| value.to_owned(),
                    |number: i64| number.saturating_mul(*factor).to_string(),
                );
                assert_eq!(Some(value.as_str()), topic.default, "{name}");
            }
        }
    }

    #[test]
    fn the_registry_is_as_large_as_kafkas() {
        let own = own::BROKER.len() + own::TOPIC.len();
        assert_eq!(
            topic_settings().count() + broker_settings().count(),
            353 + own
        );
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        assert_eq!(nearest("log.retenton.ms"), Some("log.retention.ms"));
        assert_eq!(nearest("num.partition"), Some("num.partitions"));
        assert_eq!(nearest("entirely.unlike.anything"), None);
    }
}
