//! Settings that Apache Kafka does not have.

use crate::config::setting::{Check, Kind, Scope, Setting, setting};
use Check::{AtLeast, Between, OneOf};
use Kind::{Int, Long, String};
use Scope::{ClusterWide, ReadOnly};

const AUTO_OR_NOT: &[&str] = &["auto", "true", "false"];
const DURABILITIES: &[&str] = &["disk", "memory"];

pub(super) const TOPIC: &[Setting] = &[setting(
    "durability",
    String,
    "disk",
    OneOf(DURABILITIES),
    ClusterWide,
)
.does(
    "What an acknowledgement means: \"disk\", the records are on stable storage; \"memory\", they \
     are in the broker's memory and are written behind it.",
)];

pub(super) const BROKER: &[Setting] = &[
    setting(
        "log.durability",
        String,
        "disk",
        OneOf(DURABILITIES),
        ClusterWide,
    )
    .does("Default of the topic setting durability."),
    setting("shards", Int, "0", Between(0, 1024), ReadOnly)
        .does("Threads that serve clients and own partitions; 0 means one for each allowed core."),
    setting(
        "shard.listener.port",
        Int,
        "0",
        Between(0, 65_535),
        ReadOnly,
    )
    .does(
        "First of the ports by which clients reach each shard directly: shard k has this one \
         plus k beside the first listener, and is a broker of its own to clients, with the id \
         node.id + k * 1000000. 0: all shards together are one broker.",
    ),
    setting("busy.poll.us", Int, "0", Between(0, 1_000_000), ReadOnly).does(
        "How long a shard that has nothing to do keeps asking before it sleeps, in microseconds; \
         0: it sleeps at once. It saves the wake-up, and gathers nothing, for the lowest \
         latency; a long time takes a whole core for each shard.",
    ),
    setting(
        "arena.bytes",
        Long,
        "268435456",
        AtLeast(16_777_216),
        ReadOnly,
    )
    .does(
        "Memory of all shards together for the tails of their partitions and for reads, in bytes; \
         each shard has 16 MiB at least. A batch larger than half of that gets memory beside it.",
    ),
    setting(
        "journal.bytes",
        Long,
        "67108864",
        AtLeast(262_144),
        ReadOnly,
    )
    .does(
        "Size of one journal file of a shard, in bytes: rounded up to whole blocks. A shard has \
         two or three of them in each log directory, and short ones for starts.",
    ),
    setting("recycle.bytes", Long, "1073741824", AtLeast(0), ReadOnly).does(
        "Bytes of retired segment files that a shard keeps in a log directory to write over \
             again, which makes commits cheaper; 0 keeps none.",
    ),
    setting(
        "synced.writes",
        String,
        "auto",
        OneOf(AUTO_OR_NOT),
        ReadOnly,
    )
    .does(
        "Whether a commit asks that its writes be durable one by one (RWF_DSYNC) instead of \
         flushing after them: one step instead of two. \"auto\" does so where every log \
         directory's device writes through, or completes requests on the core that made them; \
         elsewhere a busy core could hold up the end of such a write.",
    ),
    setting(
        "zero.copy.sends",
        String,
        "false",
        OneOf(AUTO_OR_NOT),
        ReadOnly,
    )
    .does(
        "Whether answers of 32 KiB and more are lent to the kernel, which reads them until the \
         peer has acknowledged them, instead of being copied. \"auto\" does so for peers on other \
         machines, until the kernel reports of a connection that it copied after all. At most a \
         quarter of a shard's arena is kept by what is lent, and what the limit on locked memory \
         does not allow is copied.",
    ),
];
