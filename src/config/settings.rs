//! Settings as typed values, resolved through all layers.

use super::layers::{Layers, Static};
use super::registry;
use super::value::items;
use crate::cluster::image::{Configs, Image};
use crate::limits::INFLATED_BATCH_BYTES_MAX;
use storage::batch::{Compression, Origin, Rules};
use storage::types::{Durability, LogConfig};

/// The settings of one topic. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    pub log: LogConfig,
    /// Of a batch as it came, with the 12 bytes before its leader epoch.
    pub max_message_bytes: usize,
    pub compression: Compression,
    pub log_append_time: bool,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_insync_replicas: usize,
}

impl TopicSettings {
    pub fn resolve(fixed: &Static, image: &Image, overrides: &Configs) -> Self {
        let topic = Topic {
            layers: Layers::new(fixed, image),
            overrides,
        };
        Self {
            log: topic.log_config(),
            max_message_bytes: usize::try_from(topic.number("max.message.bytes")).unwrap_or(0),
            compression: topic.compression(),
            log_append_time: topic.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: topic.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: topic.number("message.timestamp.after.max.ms"),
            min_insync_replicas: usize::try_from(topic.number("min.insync.replicas")).unwrap_or(1),
        }
    }

    /// What a batch that comes now must be like. `zstd_allowed`: by the version of the request.
    pub fn rules(&self, now_ms: i64, origin: Origin, zstd_allowed: bool) -> Rules {
        Rules {
            now_ms,
            log_append_time: self.log_append_time,
            before_max_ms: self.timestamp_before_max_ms,
            after_max_ms: self.timestamp_after_max_ms,
            batch_bytes_max: self.max_message_bytes,
            segment_bytes: self.log.segment_bytes,
            compression: self.compression,
            key_required: false,
            zstd_allowed,
            inflated_bytes_max: INFLATED_BATCH_BYTES_MAX,
            origin,
        }
    }
}

struct Topic<'a> {
    layers: Layers<'a>,
    overrides: &'a Configs,
}

impl Topic<'_> {
    fn text(&self, name: &str) -> String {
        self.layers.topic(self.overrides, name).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn natural(&self, name: &str) -> u64 {
        u64::try_from(self.number(name)).unwrap_or(0)
    }

    fn log_config(&self) -> LogConfig {
        let policy = self.text("cleanup.policy");
        let deletes = items(&policy).contains(&"delete");
        // A negative number means without bound.
        let bound = |name| u64::try_from(self.number(name)).ok().filter(|_| deletes);
        let internal = self.overrides.contains_key("internal.segment.bytes");
        let segment_bytes = if internal {
            "internal.segment.bytes"
        } else {
            "segment.bytes"
        };
        let expiration = self.layers.broker("producer.id.expiration.ms");
        LogConfig {
            segment_bytes: self.natural(segment_bytes),
            segment_ms: self.natural("segment.ms"),
            segment_jitter_ms: self.natural("segment.jitter.ms"),
            retention_ms: bound("retention.ms"),
            retention_bytes: bound("retention.bytes"),
            index_interval_bytes: u32::try_from(self.number("index.interval.bytes")).unwrap_or(0),
            durability: durability(&self.text("durability")),
            producer_expiration_ms: expiration
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| LogConfig::default().producer_expiration_ms),
        }
    }

    fn compression(&self) -> Compression {
        let level = |name| i32::try_from(self.number(name)).unwrap_or(-1);
        match self.text("compression.type").as_str() {
            "uncompressed" => Compression::None,
            "gzip" => Compression::Gzip {
                level: level("compression.gzip.level"),
            },
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 {
                level: level("compression.lz4.level"),
            },
            "zstd" => Compression::Zstd {
                level: level("compression.zstd.level"),
            },
            _ => Compression::Producer,
        }
    }
}

fn durability(text: &str) -> Durability {
    if text == "memory" {
        Durability::Memory
    } else {
        Durability::Disk
    }
}

/// The settings of the broker that other parts act on. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// 0: one for each allowed core.
    pub shards: u16,
    /// The port of shard 0 where each shard has one; 0: none has.
    pub shard_port: u16,
    pub log_dirs: Vec<String>,
    pub arena_bytes: u64,
    pub journal_bytes: u64,
    pub recycle_bytes: u64,
    pub busy_poll_us: u64,
    /// `None`: as the devices are.
    pub synced_writes: Option<bool>,
    /// `None`: to peers on other machines.
    pub zero_copy_sends: Option<bool>,
    pub retention_check_ms: u64,
    /// The default of topics.
    pub durability: Durability,
    pub rack: Option<String>,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub request_bytes_max: usize,
    pub connection_idle_ms: i64,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub fetch_bytes_max: usize,
    pub fetch_sessions_max: usize,
    pub described_partitions_max: usize,
    pub offsets_partitions: i32,
    pub offsets_segment_bytes: u64,
    pub offsets_retention_ms: u64,
    pub offsets_check_ms: u64,
    pub offset_metadata_bytes_max: usize,
    pub group_session_min_ms: i32,
    pub group_session_max_ms: i32,
    pub group_initial_delay_ms: i32,
    pub group_members_max: usize,
}

impl BrokerSettings {
    pub fn resolve(fixed: &Static, image: &Image) -> Self {
        let of = Broker(Layers::new(fixed, image));
        Self {
            shards: of.number("shards"),
            shard_port: of.number("shard.listener.port"),
            log_dirs: of.log_dirs(),
            arena_bytes: of.number("arena.bytes"),
            journal_bytes: of.number("journal.bytes"),
            recycle_bytes: of.number("recycle.bytes"),
            busy_poll_us: of.number("busy.poll.us"),
            synced_writes: of.text("synced.writes").parse().ok(),
            zero_copy_sends: of.text("zero.copy.sends").parse().ok(),
            retention_check_ms: of.number("log.retention.check.interval.ms"),
            durability: durability(of.text("log.durability")),
            rack: of.0.broker("broker.rack").map(str::to_owned),
            auto_create_topics: of.text("auto.create.topics.enable") == "true",
            delete_topics: of.text("delete.topic.enable") == "true",
            num_partitions: of.number("num.partitions"),
            default_replication_factor: of.number("default.replication.factor"),
            request_bytes_max: of.number("socket.request.max.bytes"),
            connection_idle_ms: of.number("connections.max.idle.ms"),
            connections_max: of.number("max.connections"),
            connections_per_ip_max: of.number("max.connections.per.ip"),
            fetch_bytes_max: of.number("fetch.max.bytes"),
            fetch_sessions_max: of.number("max.incremental.fetch.session.cache.slots"),
            described_partitions_max: of.number("max.request.partition.size.limit"),
            offsets_partitions: of.number("offsets.topic.num.partitions"),
            offsets_segment_bytes: of.number("offsets.topic.segment.bytes"),
            offsets_retention_ms: 60_000 * of.number::<u64>("offsets.retention.minutes"),
            offsets_check_ms: of.number("offsets.retention.check.interval.ms"),
            offset_metadata_bytes_max: of.number("offset.metadata.max.bytes"),
            group_session_min_ms: of.number("group.min.session.timeout.ms"),
            group_session_max_ms: of.number("group.max.session.timeout.ms"),
            group_initial_delay_ms: of.number("group.initial.rebalance.delay.ms"),
            group_members_max: of.number("group.max.size"),
        }
    }
}

struct Broker<'a>(Layers<'a>);

impl<'a> Broker<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.0.broker(name).unwrap_or("")
    }

    /// A number in force. One that does not fit (another version's metadata) counts as the default.
    fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        let default = registry::of_broker(name).and_then(|setting| setting.default);
        let parsed = self.text(name).parse().ok();
        parsed.or_else(|| default?.parse().ok()).unwrap_or_default()
    }

    /// `log.dirs`, or `log.dir` if there is none.
    fn log_dirs(&self) -> Vec<String> {
        let dirs = self.0.broker("log.dirs").filter(|dirs| !dirs.is_empty());
        let dirs = dirs.unwrap_or_else(|| self.text("log.dir"));
        items(dirs).into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_log() {
        let image = Image::default();
        let settings = TopicSettings::resolve(&Static::default(), &image, &Configs::new());
        assert_eq!(settings.log, LogConfig::default());
        assert_eq!(settings.max_message_bytes, 1_048_588);
        assert_eq!(settings.compression, Compression::Producer);
        assert!(!settings.log_append_time);
    }

    #[test]
    fn an_empty_cleanup_policy_keeps_everything() {
        let image = Image::default();
        let overrides = [
            ("cleanup.policy".to_owned(), String::new()),
            ("retention.ms".to_owned(), "5".to_owned()),
        ];
        let settings = TopicSettings::resolve(&Static::default(), &image, &overrides.into());
        assert_eq!(settings.log.retention_ms, None);
    }

    #[test]
    fn log_dirs_go_before_log_dir() {
        let image = Image::default();
        let mut fixed = Static::default();
        let dirs = |fixed: &Static| BrokerSettings::resolve(fixed, &image).log_dirs;
        assert_eq!(dirs(&fixed), ["ringlog-data"]);
        fixed.set("log.dir", "/a").unwrap();
        assert_eq!(dirs(&fixed), ["/a"]);
        fixed.set("log.dirs", "/b, /c").unwrap();
        assert_eq!(dirs(&fixed), ["/b", "/c"]);
    }
}
