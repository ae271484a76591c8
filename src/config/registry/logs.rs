//! Settings of logs and topics: mostly the defaults of topic settings.

use crate::config::setting::{Check, Kind, Scope, Setting, setting, unset};
use Check::{Any, AtLeast, Between, Fraction, GzipLevel, OneOf};
use Kind::{Boolean, Class, Double, Int, List, Long, String};
use Scope::{ClusterWide, ReadOnly};

pub(super) const ALL: &[Setting] = &[
    unset("alter.config.policy.class.name", Class, Any, ReadOnly),
    setting("auto.create.topics.enable", Boolean, "true", Any, ReadOnly)
        .does("Whether a metadata request that allows it creates the topics it names."),
    setting("background.threads", Int, "10", AtLeast(1), ClusterWide),
    setting("compression.gzip.level", Int, "-1", GzipLevel, ClusterWide)
        .does("Default of the topic setting compression.gzip.level."),
    setting(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        ClusterWide,
    ),
    setting(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        ClusterWide,
    )
    .does("Default of the topic setting compression.type."),
    setting(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131_072, 22),
        ClusterWide,
    )
    .does("Default of the topic setting compression.zstd.level."),
    unset("create.topic.policy.class.name", Class, Any, ReadOnly),
    setting("default.replication.factor", Int, "1", Any, ReadOnly)
        .does("Replicas of a partition when a request leaves the number to the broker."),
    setting(
        "delete.records.purgatory.purge.interval.requests",
        Int,
        "1",
        Any,
        ReadOnly,
    ),
    setting("delete.topic.enable", Boolean, "true", Any, ReadOnly)
        .does("Whether topics may be deleted."),
    setting(
        "log.cleaner.backoff.ms",
        Long,
        "15000",
        AtLeast(0),
        ClusterWide,
    ),
    setting(
        "log.cleaner.dedupe.buffer.size",
        Long,
        "134217728",
        Any,
        ClusterWide,
    ),
    setting(
        "log.cleaner.delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        ClusterWide,
    ),
    setting("log.cleaner.enable", Boolean, "true", Any, ReadOnly),
    setting(
        "log.cleaner.io.buffer.load.factor",
        Double,
        "0.9",
        Any,
        ClusterWide,
    ),
    setting(
        "log.cleaner.io.buffer.size",
        Int,
        "524288",
        AtLeast(0),
        ClusterWide,
    ),
    setting(
        "log.cleaner.io.max.bytes.per.second",
        Double,
        "1.7976931348623157E308",
        Any,
        ClusterWide,
    ),
    setting(
        "log.cleaner.max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        ClusterWide,
    ),
    setting(
        "log.cleaner.min.cleanable.ratio",
        Double,
        "0.5",
        Fraction,
        ClusterWide,
    ),
    setting(
        "log.cleaner.min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        ClusterWide,
    ),
    setting("log.cleaner.threads", Int, "1", AtLeast(0), ClusterWide),
    setting(
        "log.cleanup.policy",
        List,
        "delete",
        OneOf(&["compact", "delete"]),
        ClusterWide,
    )
    .does("Default of the topic setting cleanup.policy."),
    setting("log.dir", List, "ringlog-data", Any, ReadOnly)
        .does("The directory of the data; log.dirs goes before it."),
    setting(
        "log.dir.failure.timeout.ms",
        Long,
        "30000",
        AtLeast(1),
        ReadOnly,
    ),
    unset("log.dirs", List, Any, ReadOnly)
        .does("The directories of the data, the first of which also holds the metadata."),
    setting(
        "log.flush.interval.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        ClusterWide,
    ),
    unset("log.flush.interval.ms", Long, Any, ClusterWide),
    setting(
        "log.flush.offset.checkpoint.interval.ms",
        Int,
        "60000",
        AtLeast(0),
        ReadOnly,
    ),
    setting(
        "log.flush.scheduler.interval.ms",
        Long,
        "9223372036854775807",
        Any,
        ReadOnly,
    ),
    setting(
        "log.flush.start.offset.checkpoint.interval.ms",
        Int,
        "60000",
        AtLeast(0),
        ReadOnly,
    ),
    setting(
        "log.index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        ClusterWide,
    )
    .does("Default of the topic setting index.interval.bytes."),
    setting(
        "log.index.size.max.bytes",
        Int,
        "10485760",
        AtLeast(4),
        ClusterWide,
    ),
    setting(
        "log.local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        ClusterWide,
    ),
    setting(
        "log.local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        ClusterWide,
    ),
    setting(
        "log.message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        ClusterWide,
    )
    .does("Default of the topic setting message.timestamp.after.max.ms."),
    setting(
        "log.message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        ClusterWide,
    )
    .does("Default of the topic setting message.timestamp.before.max.ms."),
    setting(
        "log.message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        ClusterWide,
    )
    .does("Default of the topic setting message.timestamp.type."),
    setting("log.preallocate", Boolean, "false", Any, ClusterWide),
    setting("log.retention.bytes", Long, "-1", Any, ClusterWide)
        .does("Default of the topic setting retention.bytes."),
    setting(
        "log.retention.check.interval.ms",
        Long,
        "300000",
        AtLeast(1),
        ReadOnly,
    )
    .does(
        "How often retention looks for segments to drop, in milliseconds. It also looks at a \
         partition whenever a segment of it is complete, but the segment that is written to goes \
         only at these times.",
    ),
    setting("log.retention.hours", Int, "168", Any, ReadOnly).does(
        "Default retention in hours; log.retention.minutes and log.retention.ms go before \
             it.",
    ),
    unset("log.retention.minutes", Int, Any, ReadOnly)
        .does("Default retention in minutes; log.retention.ms goes before it."),
    unset("log.retention.ms", Long, Any, ClusterWide)
        .does("Default of the topic setting retention.ms."),
    setting("log.roll.hours", Int, "168", AtLeast(1), ReadOnly)
        .does("Default of segment.ms, in hours; log.roll.ms goes before it."),
    setting("log.roll.jitter.hours", Int, "0", AtLeast(0), ReadOnly)
        .does("Default of segment.jitter.ms, in hours; log.roll.jitter.ms goes before it."),
    unset("log.roll.jitter.ms", Long, Any, ClusterWide)
        .does("Default of the topic setting segment.jitter.ms."),
    unset("log.roll.ms", Long, Any, ClusterWide).does("Default of the topic setting segment.ms."),
    setting(
        "log.segment.bytes",
        Int,
        "1073741824",
        AtLeast(1_048_576),
        ClusterWide,
    )
    .does("Default of the topic setting segment.bytes."),
    setting(
        "log.segment.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        ClusterWide,
    ),
    setting("message.max.bytes", Int, "1048588", AtLeast(0), ClusterWide)
        .does("Default of the topic setting max.message.bytes."),
    setting("min.insync.replicas", Int, "1", AtLeast(1), ClusterWide)
        .does("Default of the topic setting min.insync.replicas."),
    setting("num.partitions", Int, "1", AtLeast(1), ReadOnly)
        .does("Partitions of a topic when a request leaves the number to the broker."),
    setting(
        "num.recovery.threads.per.data.dir",
        Int,
        "2",
        AtLeast(1),
        ClusterWide,
    ),
    setting(
        "producer.id.expiration.ms",
        Int,
        "86400000",
        AtLeast(1),
        ClusterWide,
    )
    .does(
        "The state of an idempotent producer is dropped this many milliseconds after its \
             last append to a partition.",
    ),
    setting(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        ClusterWide,
    ),
];
