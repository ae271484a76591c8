//! Settings of listeners, connections, quotas and the process itself.

use crate::config::setting::{Check, Kind, Scope, Setting, setting, unset};
use Check::{Any, AtLeast};
use Kind::{Class, Int, List, Long, String};
use Scope::{ClusterWide, PerBroker, ReadOnly};

pub(super) const ALL: &[Setting] = &[
    unset("advertised.listeners", List, Any, ReadOnly)
        .does("What clients are told to connect to, if it differs from listeners."),
    setting("broker.id", Int, "-1", Any, ReadOnly).does("The older name of node.id."),
    unset("broker.rack", String, Any, ReadOnly)
        .does("The rack of this broker, as shown in metadata."),
    unset("client.quota.callback.class", Class, Any, ReadOnly),
    setting("config.providers", List, "", Any, ClusterWide),
    setting(
        "connection.failed.authentication.delay.ms",
        Int,
        "100",
        AtLeast(0),
        ReadOnly,
    ),
    setting("connections.max.idle.ms", Long, "600000", Any, ReadOnly)
        .does("A connection on which nothing happened for this many milliseconds is closed."),
    setting("fetch.max.bytes", Int, "57671680", AtLeast(1024), ReadOnly).does(
        "Most bytes of records in the answer to one fetch request, whatever the client \
             asks for.",
    ),
    setting(
        "kafka.metrics.polling.interval.secs",
        Int,
        "10",
        AtLeast(1),
        ReadOnly,
    ),
    setting("kafka.metrics.reporters", List, "", Any, ReadOnly),
    setting(
        "listeners",
        List,
        "PLAINTEXT://localhost:9092",
        Any,
        PerBroker,
    )
    .does(
        "Where the broker listens, as NAME://host:port; localhost means IPv4 and IPv6, an \
             empty host all interfaces.",
    ),
    setting(
        "max.connection.creation.rate",
        Int,
        "2147483647",
        AtLeast(0),
        ClusterWide,
    ),
    setting(
        "max.connections",
        Int,
        "2147483647",
        AtLeast(0),
        ClusterWide,
    )
    .does("Most connections at a time."),
    setting(
        "max.connections.per.ip",
        Int,
        "2147483647",
        AtLeast(0),
        ClusterWide,
    )
    .does("Most connections at a time from one address."),
    setting(
        "max.connections.per.ip.overrides",
        String,
        "",
        Any,
        ClusterWide,
    ),
    setting(
        "max.incremental.fetch.session.cache.slots",
        Int,
        "1000",
        AtLeast(0),
        ReadOnly,
    )
    .does("Most incremental fetch sessions that are kept."),
    setting(
        "max.request.partition.size.limit",
        Int,
        "2000",
        AtLeast(1),
        ReadOnly,
    )
    .does("Most partitions in one answer to a DescribeTopicPartitions request."),
    setting(
        "metric.reporters",
        List,
        "org.apache.kafka.common.metrics.JmxReporter",
        Any,
        ClusterWide,
    ),
    setting("metrics.num.samples", Int, "2", AtLeast(1), ReadOnly),
    setting("metrics.recording.level", String, "INFO", Any, ReadOnly),
    setting(
        "metrics.sample.window.ms",
        Long,
        "30000",
        AtLeast(1),
        ReadOnly,
    ),
    setting("node.id", Int, "1", AtLeast(0), ReadOnly)
        .does("The number of this node; fixed by the first start."),
    setting("num.io.threads", Int, "8", AtLeast(1), ClusterWide),
    setting("num.network.threads", Int, "3", AtLeast(1), ClusterWide),
    setting("queued.max.request.bytes", Long, "-1", Any, ReadOnly),
    setting("queued.max.requests", Int, "500", AtLeast(1), ReadOnly),
    setting("quota.window.num", Int, "11", AtLeast(1), ReadOnly),
    setting("quota.window.size.seconds", Int, "1", AtLeast(1), ReadOnly),
    setting("request.timeout.ms", Int, "30000", Any, ReadOnly),
    setting(
        "socket.connection.setup.timeout.max.ms",
        Long,
        "30000",
        Any,
        ReadOnly,
    ),
    setting(
        "socket.connection.setup.timeout.ms",
        Long,
        "10000",
        Any,
        ReadOnly,
    ),
    setting(
        "socket.listen.backlog.size",
        Int,
        "50",
        AtLeast(1),
        ReadOnly,
    ),
    setting("socket.receive.buffer.bytes", Int, "102400", Any, ReadOnly),
    setting(
        "socket.request.max.bytes",
        Int,
        "104857600",
        AtLeast(1),
        ReadOnly,
    )
    .does("Largest request in bytes; a connection that announces a larger one is closed."),
    setting("socket.send.buffer.bytes", Int, "102400", Any, ReadOnly),
    setting("telemetry.max.bytes", Int, "1048576", AtLeast(1), ReadOnly),
];
