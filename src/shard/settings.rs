//! What a shard is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use net::conn::ConnLimits;
use net::wire::Str;
use storage::types::{LogConfig, StoreConfig};

use crate::cluster;
use crate::cluster::command::NewTopic;
use crate::cluster::image::{Image, Topic};
use crate::cluster::name::CONSUMER_OFFSETS;
use crate::config::layers::{Layers, Static};
use crate::config::settings::{BrokerSettings, TopicSettings};
use crate::coordinator::group::GroupSettings;
use crate::limits::{
    CHECKPOINT_BYTES_MAX, CONNECTION_IN_BYTES_MAX, CONNECTION_OUT_BYTES_MAX,
    CONNECTION_REQUESTS_MAX, METADATA_SEGMENT_BYTES_MAX, RECOVERY_BYTES_MAX, SEND_BYTES_MAX,
};

use super::endpoints::{Brokers, Endpoint, ShardPorts};

/// A file that is removed gives its blocks back in pieces of so many bytes: a file system that
/// discards them holds up every sync meanwhile.
const CLEAR_BYTES: u64 = 64 << 20;

/// Full blocks go to a segment in runs of so many bytes, or up to four times as many.
const DESTAGE_BYTES: u64 = 64 << 10;

/// Length of the very first file of a journal: a start waits for it.
const JOURNAL_FIRST_BYTES: u64 = 4 << 20;

/// The settings that hold from start to stop, and the means to resolve the others.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    pub shards: u16,
    /// Seeds member ids, topic ids and session ids.
    pub seed: u64,
    /// From the command line and the settings file.
    pub fixed: Static,
    pub listen: Vec<SocketAddr>,
    /// By the addresses of the listeners; clients of any other are told the address by which they
    /// came. No two listeners share both the port and the family of an address.
    pub advertise: Vec<(SocketAddr, Endpoint)>,
    /// Where each shard is a broker of its own to clients.
    pub shard_ports: Option<ShardPorts>,
    /// Whether writes of a commit are durable one by one.
    pub synced_writes: bool,
    /// The settings as they are before the metadata is known.
    pub broker: BrokerSettings,
}

impl ShardSettings {
    #[must_use]
    pub fn store_config(&self, shard: u16) -> StoreConfig {
        StoreConfig {
            dirs: self.broker.log_dirs.iter().map(PathBuf::from).collect(),
            shard,
            shards: self.shards,
            journal_bytes: self.broker.journal_bytes,
            journal_first_bytes: JOURNAL_FIRST_BYTES,
            recycle_bytes_max: self.broker.recycle_bytes,
            clear_bytes: CLEAR_BYTES,
            destage_bytes: DESTAGE_BYTES,
            checkpoint_bytes: CHECKPOINT_BYTES_MAX,
            replay_bytes: RECOVERY_BYTES_MAX,
            synced_writes: self.synced_writes,
            retention_check_ms: self.broker.retention_check_ms,
        }
    }

    /// The endpoint of this node for a client that came to `local`.
    #[must_use]
    pub fn endpoint(&self, local: SocketAddr) -> Endpoint {
        let ip = local.ip().to_canonical();
        let told = self.advertise.iter().find(|(listener, _)| {
            listener.port() == local.port() && listener.is_ipv4() == ip.is_ipv4()
        });
        told.map_or_else(
            || Endpoint {
                host: ip.to_string().into(),
                port: i32::from(local.port()),
            },
            |(_, endpoint)| endpoint.clone(),
        )
    }

    /// What a client that came to `local` is told of the node of this number.
    #[must_use]
    pub fn brokers(&self, node_id: i32, local: SocketAddr) -> Brokers {
        let ports = self.shard_ports.as_ref();
        let seen = ports.and_then(|ports| Some((ports, ports.seen_from(local)?)));
        let (common, ports) = match seen {
            Some((ports, (listener, asked))) => (listener, Some((ports, asked))),
            None => (local, None),
        };
        Brokers::new(node_id, self.endpoint(common), self.shards, ports)
    }

    /// Whether clients may call the node of this number by this broker id.
    #[must_use]
    pub fn is_node(&self, id: i32, node_id: i32) -> bool {
        let ports = self.shard_ports.as_ref();
        id == node_id || ports.is_some_and(|ports| ports.is_of_node(id, node_id))
    }

    /// All addresses of one shard.
    pub fn listen_of(&self, shard: u16) -> impl Iterator<Item = SocketAddr> {
        let own = self.shard_ports.as_ref().map(|ports| ports.of(shard));
        let own = own.into_iter().flatten();
        self.listen.iter().copied().chain(own)
    }

    #[must_use]
    pub fn rack(&self) -> Option<Str> {
        self.broker.rack.as_deref().map(Str::from)
    }

    /// A topic that comes into being because a client named it.
    #[must_use]
    pub fn auto_created(&self, name: &str, image: &Image) -> NewTopic {
        if name == CONSUMER_OFFSETS {
            let broker = BrokerSettings::resolve(&self.fixed, image);
            return cluster::offsets_topic(&broker);
        }
        NewTopic {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }

    #[must_use]
    pub fn layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        Layers::new(&self.fixed, image)
    }

    #[must_use]
    pub fn topic_settings(&self, image: &Image, topic: &Topic) -> Arc<TopicSettings> {
        Arc::new(TopicSettings::resolve(&self.fixed, image, &topic.configs))
    }

    /// What one connection may cost.
    #[must_use]
    pub fn conn_limits(&self) -> ConnLimits {
        ConnLimits {
            frame_bytes_max: self.broker.request_bytes_max,
            in_bytes_max: CONNECTION_IN_BYTES_MAX,
            out_bytes_max: CONNECTION_OUT_BYTES_MAX,
            requests_max: CONNECTION_REQUESTS_MAX,
            send_bytes_max: SEND_BYTES_MAX,
            // A negative number means for ever.
            idle_ms_max: u64::try_from(self.broker.connection_idle_ms).unwrap_or(u64::MAX),
        }
    }

    /// Each shard keeps its share of the fetch sessions, as each of Kafka's eight caches does.
    #[must_use]
    pub fn fetch_sessions_max(&self) -> usize {
        let shards = usize::from(self.shards.max(1));
        self.broker.fetch_sessions_max.div_ceil(shards)
    }

    #[must_use]
    pub fn group_settings(&self) -> GroupSettings {
        let broker = &self.broker;
        GroupSettings {
            session_timeout_min_ms: broker.group_session_min_ms,
            session_timeout_max_ms: broker.group_session_max_ms,
            initial_rebalance_delay_ms: broker.group_initial_delay_ms,
            members_max: broker.group_members_max,
            offset_metadata_bytes_max: broker.offset_metadata_bytes_max,
            offsets_retention_ms: i64::try_from(broker.offsets_retention_ms).unwrap_or(i64::MAX),
            offsets_retention_check_ms: broker.offsets_check_ms,
            ..GroupSettings::default()
        }
    }
}

/// The settings of the metadata log: kept for ever, because it is short and truncated by
/// snapshots only.
#[must_use]
pub fn metadata_settings() -> Arc<TopicSettings> {
    let mut settings =
        TopicSettings::resolve(&Static::default(), &Image::default(), &Default::default());
    settings.log = LogConfig {
        retention_ms: None,
        retention_bytes: None,
        segment_bytes: METADATA_SEGMENT_BYTES_MAX,
        ..settings.log
    };
    settings.max_message_bytes = usize::MAX;
    Arc::new(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_the_endpoint_of_the_listener_that_they_came_to() {
        let of = |listener: &str, host: &str| {
            let host = host.into();
            let listener = listener.parse().expect("an address");
            (listener, Endpoint { host, port: 7 })
        };
        let fixed = Static::default();
        let broker = BrokerSettings::resolve(&fixed, &Image::default());
        let mut settings = ShardSettings {
            shards: 1,
            seed: 0,
            fixed,
            listen: Vec::new(),
            advertise: vec![of("0.0.0.0:1", "four"), of("[::1]:1", "six")],
            shard_ports: None,
            synced_writes: false,
            broker,
        };
        let told = |settings: &ShardSettings, local: &str| {
            let endpoint = settings.endpoint(local.parse().expect("an address"));
            format!("{}:{}", endpoint.host, endpoint.port)
        };
        assert_eq!(told(&settings, "127.0.0.1:1"), "four:7");
        assert_eq!(told(&settings, "[::ffff:127.0.0.1]:1"), "four:7");
        assert_eq!(told(&settings, "[::1]:1"), "six:7");
        assert_eq!(told(&settings, "127.0.0.1:2"), "127.0.0.1:2");
        // The listener of the other family has an endpoint, that of this one has none.
        settings.advertise.remove(0);
        assert_eq!(told(&settings, "127.0.0.1:1"), "127.0.0.1:1");
    }
}
