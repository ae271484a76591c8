//! A broker on a simulated machine, and the questions that the scenes put to it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use net::wire::api::ApiKey;
use net::wire::{Records, Str, create_topics, delete_topics, fetch, incremental_alter_configs};
use net::wire::{api_versions, init_producer_id, produce};
use reactor::op::{ErrorKind, ShardId};
use reactor::sim::{Fault, FaultOn, Settings, World};
use ringlog::cluster::image::Image;
use ringlog::config::layers::Static;
use ringlog::config::settings::BrokerSettings;
use ringlog::shard::Shard;
use ringlog::shard::endpoints::ShardPorts;
use ringlog::shard::mail::{Call, Mail, ReplyTo};
use ringlog::shard::settings::ShardSettings;
use storage::batch::{self, Builder, Compression};

use crate::client::{Client, Net};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// Puts one question and decodes its answer.
macro_rules! ask {
    ($stand:expr, $client:expr, $key:ident $version:literal, $module:ident, $request:expr) => {{
        let request = $request;
        let mut reply = $client
            .ask(
                &mut $stand.world,
                (net::wire::api::ApiKey::$key, $version),
                |w, v| request.encode(w, v),
            )
            .expect("the connection stays");
        net::wire::$module::Response::decode(&mut reply.body, $version).expect("a response")
    }};
}
pub(super) use ask;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Clean,
    PowerCut,
}

pub(super) struct Stand {
    pub(super) world: Net,
    shards: u16,
    given: Vec<(String, String)>,
    life: u64,
}

impl Stand {
    /// A broker that serves.
    pub(super) fn new(shards: u16, given: &[(&str, &str)]) -> Self {
        Self::seeded(5, shards, given)
    }

    pub(super) fn seeded(seed: u64, shards: u16, given: &[(&str, &str)]) -> Self {
        let settings = Settings {
            arena_bytes: 32 << 20,
            ..Settings::default()
        };
        let mut world = World::new(seed, settings);
        world.disk().add_device("/disk", None);
        let base = [
            ("log.dirs", "/disk/data"),
            ("journal.bytes", "1048576"),
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let all = base.iter().chain(given);
        let given = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut stand = Self {
            world,
            shards,
            given: given.collect(),
            life: 0,
        };
        stand.start();
        stand
    }

    pub(super) fn start(&mut self) {
        let mut fixed = Static::default();
        for (name, value) in &self.given {
            fixed.set(name, value).expect("a legal setting");
        }
        self.life += 1;
        let broker = BrokerSettings::resolve(&fixed, &Image::default());
        let listen = vec![addr()];
        let first = broker.shard_port;
        let ports = || ShardPorts::new(first, self.shards, listen.clone(), &listen).expect("ports");
        let settings = Arc::new(ShardSettings {
            synced_writes: true,
            shards: self.shards,
            seed: self.life,
            shard_ports: (first > 0).then(ports),
            broker,
            fixed,
            listen,
            advertise: Vec::new(),
        });
        self.world.start(self.shards, |shard: ShardId, arena| {
            Shard::new(Arc::clone(&settings), shard, arena)
        });
        for _ in 0..600 {
            self.world.pass(100 * MS);
            if self.try_client().is_some() {
                return;
            }
        }
        panic!("the broker does not serve a minute after its start");
    }

    /// A connection that is served; `None` if the broker closes it.
    pub(super) fn try_client(&mut self) -> Option<Client> {
        let mut client = Client::connect(&mut self.world, addr());
        let request = api_versions::Request {
            client_software_name: Str::from_static("sim"),
            client_software_version: Str::from_static("1"),
        };
        let api = (ApiKey::ApiVersions, 3);
        client.ask(&mut self.world, api, |w, v| request.encode(w, v))?;
        Some(client)
    }

    pub(super) fn client(&mut self) -> Client {
        self.try_client().expect("the broker serves")
    }

    /// A connection to another port.
    pub(super) fn client_of(&mut self, port: u16) -> Client {
        Client::connect(&mut self.world, SocketAddr::new(addr().ip(), port))
    }

    /// Starts again with another number of shards, after a clean stop.
    pub(super) fn restart_with(&mut self, shards: u16) {
        self.stop();
        self.shards = shards;
        self.start();
    }

    fn stop(&mut self) {
        (0..self.shards).for_each(|shard| self.drain(shard));
        let stopped = self.world.run(60 * SECOND, |world| world.exited());
        assert!(stopped, "the broker does not stop within a minute");
        self.world.kill();
    }

    /// Tells one shard to stop, as the control thread tells all of them.
    pub(super) fn drain(&mut self, shard: u16) {
        self.world.mail(ShardId(shard), Mail::Drain);
    }

    pub(super) fn restart(&mut self, how: End) {
        match how {
            End::Clean => self.stop(),
            End::PowerCut => self.world.power_cut(),
        }
        self.start();
    }

    /// A call that the first shard finds in its mailbox; nobody waits for the answer.
    pub(super) fn call(&mut self, call: Call) {
        let reply_to = ReplyTo {
            shard: 0,
            request: u64::MAX,
            part: 0,
        };
        let mail = Mail::Call { reply_to, call };
        self.world.mail(ShardId(0), mail);
    }

    /// Lets time pass until a reply has come, or `ms` have gone.
    pub(super) fn reply(&mut self, client: &mut Client, ms: u64) -> Option<crate::client::Reply> {
        for _ in 0..ms {
            if let Some(reply) = client.reply(&mut self.world) {
                return Some(reply);
            }
            self.world.pass(MS);
        }
        None
    }

    /// Creates a topic and returns its error code.
    pub(super) fn create(
        &mut self,
        client: &mut Client,
        name: &'static str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> i16 {
        let config = |(name, value): &(&str, &str)| create_topics::CreatableTopicConfig {
            name: Str::from(*name),
            value: Some(Str::from(*value)),
        };
        let request = create_topics::Request {
            topics: vec![create_topics::CreatableTopic {
                name: Str::from_static(name),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs.iter().map(config).collect(),
                ..Default::default()
            }],
            timeout_ms: 60_000,
            ..Default::default()
        };
        ask!(self, client, CreateTopics 5, create_topics, request).topics[0].error_code
    }

    pub(super) fn delete(&mut self, client: &mut Client, name: &'static str) -> i16 {
        let request = delete_topics::Request {
            topic_names: vec![Str::from_static(name)],
            timeout_ms: 60_000,
            ..Default::default()
        };
        ask!(self, client, DeleteTopics 4, delete_topics, request).responses[0].error_code
    }

    /// Sets one setting of a topic (2) or of brokers (4) and returns the error code.
    pub(super) fn set(
        &mut self,
        client: &mut Client,
        (resource_type, resource_name): (i8, &'static str),
        name: &'static str,
        value: &str,
    ) -> i16 {
        let request = incremental_alter_configs::Request {
            resources: vec![incremental_alter_configs::AlterConfigsResource {
                resource_type,
                resource_name: Str::from_static(resource_name),
                configs: vec![incremental_alter_configs::AlterableConfig {
                    name: Str::from_static(name),
                    config_operation: 0,
                    value: Some(Str::from(value)),
                }],
            }],
            ..Default::default()
        };
        let answer =
            ask!(self, client, IncrementalAlterConfigs 1, incremental_alter_configs, request);
        answer.responses[0].error_code
    }

    pub(super) fn producer_id(&mut self, client: &mut Client) -> i64 {
        let request = init_producer_id::Request {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = ask!(self, client, InitProducerId 4, init_producer_id, request);
        assert_eq!(answer.error_code, 0);
        answer.producer_id
    }

    /// Produces one batch with acks=all; its error code and base offset.
    pub(super) fn produce(
        &mut self,
        client: &mut Client,
        (topic, partition): (&'static str, i32),
        batch: Bytes,
    ) -> (i16, i64) {
        let answer = ask!(
            self,
            client,
            Produce 9,
            produce,
            produce_request((topic, partition), batch, -1, 0)
        );
        let part = &answer.responses[0].partition_responses[0];
        (part.error_code, part.base_offset)
    }

    /// A batch of records of so many bytes each, of no producer.
    pub(super) fn batch(&self, count: usize, bytes: usize) -> Bytes {
        self.batch_of(Builder::new(Compression::None), count, bytes)
    }

    pub(super) fn batch_of(&self, mut builder: Builder, count: usize, bytes: usize) -> Bytes {
        for at in 0..count {
            let value = vec![b'a' + (at % 26) as u8; bytes];
            builder
                .append(self.world.now().wall_ms, None, Some(&value), &[])
                .expect("a small batch");
        }
        builder.build().expect("a batch of records")
    }
}

pub(super) fn produce_request(
    (topic, index): (&'static str, i32),
    batch: Bytes,
    acks: i16,
    timeout_ms: i32,
) -> produce::Request {
    produce::Request {
        acks,
        timeout_ms,
        topic_data: vec![produce::TopicProduceData {
            name: Str::from_static(topic),
            partition_data: vec![produce::PartitionProduceData {
                index,
                records: Some(batch.into()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A fetch of partitions of one topic: partition, offset and most bytes of each.
pub(super) fn fetch_request(
    topic: &'static str,
    parts: &[(i32, i64, i32)],
    (min_bytes, max_bytes, max_wait_ms): (i32, i32, i32),
) -> fetch::Request {
    let part = |(partition, fetch_offset, most): &(i32, i64, i32)| fetch::FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: *most,
        ..Default::default()
    };
    fetch::Request {
        max_wait_ms,
        min_bytes,
        max_bytes,
        topics: vec![fetch::FetchTopic {
            topic: Str::from_static(topic),
            partitions: parts.iter().map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The records of one partition's answer, in one piece.
pub(super) fn bytes_of(part: &fetch::PartitionData) -> Bytes {
    part.records
        .clone()
        .map(Records::into_bytes)
        .unwrap_or_default()
}

/// Base offset and number of records of each batch.
pub(super) fn batches_of(bytes: &Bytes) -> Vec<(i64, i32)> {
    let all = batch::batches(bytes).map(|batch| batch.expect("whole batches").summary());
    all.map(|summary| (summary.base_offset, summary.count))
        .collect()
}

pub(super) fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9092))
}

/// Every such operation fails from now on.
pub(super) fn fault(on: FaultOn, path_part: &str, kind: ErrorKind) -> Fault {
    Fault {
        on,
        path_part: path_part.to_owned(),
        after: 0,
        times: u32::MAX,
        kind,
    }
}
