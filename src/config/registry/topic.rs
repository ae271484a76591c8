//! Settings of topics (`LogConfig.java`, Kafka 4.2).

use crate::config::setting::{Check, Kind, Scope, Setting, setting};
use Check::{Any, AtLeast, Between, Fraction, GzipLevel, OneOf, Replicas};
use Kind::{Boolean, Double, Int, List, Long, String};
use Scope::ClusterWide;

pub(super) const ALL: &[Setting] = &[
    setting(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        ClusterWide,
    )
    .does(
        "\"producer\" stores batches as they came; any other value makes the broker store \
             them in that codec.",
    ),
    setting(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        ClusterWide,
    ),
    setting(
        "leader.replication.throttled.replicas",
        List,
        "",
        Replicas,
        ClusterWide,
    ),
    setting("remote.storage.enable", Boolean, "false", Any, ClusterWide),
    setting("min.insync.replicas", Int, "1", AtLeast(1), ClusterWide).does(
        "With acks=all: the number of replicas in sync without which a produce request is \
             refused. Never more than there are replicas.",
    ),
    setting("segment.jitter.ms", Long, "0", AtLeast(0), ClusterWide).does(
        "Up to this many milliseconds are taken off segment.ms at random, so that not all \
             partitions roll at once.",
    ),
    setting(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        ClusterWide,
    ),
    setting("local.retention.ms", Long, "-2", AtLeast(-2), ClusterWide),
    setting(
        "cleanup.policy",
        List,
        "delete",
        OneOf(&["compact", "delete"]),
        ClusterWide,
    )
    .does(
        "What happens to old data. \"delete\" drops segments by retention.ms and \
             retention.bytes; an empty list keeps everything. \"compact\" is refused until \
             compaction is built.",
    ),
    setting(
        "flush.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        ClusterWide,
    ),
    setting(
        "follower.replication.throttled.replicas",
        List,
        "",
        Replicas,
        ClusterWide,
    ),
    setting(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        ClusterWide,
    ),
    setting(
        "segment.bytes",
        Int,
        "1073741824",
        AtLeast(1_048_576),
        ClusterWide,
    )
    .does(
        "A segment is closed when it would grow beyond this many bytes. Retention drops \
             whole segments.",
    ),
    setting("retention.ms", Long, "604800000", AtLeast(-1), ClusterWide).does(
        "Segments are dropped this many milliseconds after their newest record; -1 keeps \
             them for ever.",
    ),
    setting("compression.gzip.level", Int, "-1", GzipLevel, ClusterWide).does(
        "Level used when the broker itself compresses with gzip; -1 is the default of the \
             codec.",
    ),
    setting(
        "flush.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        ClusterWide,
    ),
    setting(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131_072, 22),
        ClusterWide,
    )
    .does("Level used when the broker itself compresses with zstd."),
    setting(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        ClusterWide,
    ),
    setting(
        "file.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        ClusterWide,
    ),
    setting("max.message.bytes", Int, "1048588", AtLeast(0), ClusterWide).does(
        "Largest record batch, as it came over the wire, that is accepted; header \
             included, in bytes.",
    ),
    setting("min.compaction.lag.ms", Long, "0", AtLeast(0), ClusterWide),
    setting(
        "message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        ClusterWide,
    )
    .does(
        "\"CreateTime\" keeps the time the producer gave a record, \"LogAppendTime\" \
             replaces it by the time of the append.",
    ),
    setting(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        ClusterWide,
    ),
    setting("preallocate", Boolean, "false", Any, ClusterWide),
    setting("index.interval.bytes", Int, "4096", AtLeast(0), ClusterWide)
        .does("A segment index gets an entry each time about this many bytes were appended."),
    setting(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Fraction,
        ClusterWide,
    ),
    setting(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        ClusterWide,
    ),
    setting("retention.bytes", Long, "-1", Any, ClusterWide).does(
        "Old segments of a partition are dropped when its size in bytes exceeds this; a \
             negative value means no bound.",
    ),
    setting(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        ClusterWide,
    ),
    setting(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        ClusterWide,
    )
    .does(
        "With CreateTime: a batch is refused if a record is ahead of now by more than \
             this many milliseconds.",
    ),
    setting(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        ClusterWide,
    )
    .does(
        "With CreateTime: a batch is refused if a record is older than now by more than \
             this many milliseconds.",
    ),
    setting("segment.ms", Long, "604800000", AtLeast(1), ClusterWide).does(
        "A segment is closed this many milliseconds after its first record even if it is \
             not full.",
    ),
    setting(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        ClusterWide,
    ),
];
