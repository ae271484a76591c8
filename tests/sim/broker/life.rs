//! A story: lives of one broker, each ended by a clean stop, a kill or a power cut, on disks that
//! remember only what was flushed.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use net::wire::api::ApiKey;
use net::wire::{Str, api_versions, create_topics};
use reactor::op::ShardId;
use reactor::sim::{Rng, Settings, World};
use ringlog::cluster::image::Image;
use ringlog::config::layers::Static;
use ringlog::config::settings::BrokerSettings;
use ringlog::shard::Shard;
use ringlog::shard::mail::Mail;
use ringlog::shard::settings::ShardSettings;

use crate::client::{Client, Net};
use crate::consumer::{Member, read_all};
use crate::producer::Producer;

const TOPIC: &str = "story";
const PARTITIONS: i32 = 3;
const SECOND_NS: u64 = 1_000_000_000;

pub(crate) struct Story {
    seed: u64,
    rng: Rng,
    world: Net,
    producers: Vec<Producer>,
    members: Vec<Member>,
    created: bool,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let settings = Settings {
            arena_bytes: 32 << 20,
            ..Settings::default()
        };
        let mut world = World::new(seed, settings);
        for dir in ["/one", "/two"] {
            world.disk().add_device(dir, None);
            world.disk().make_dirs(dir);
        }
        Self {
            seed,
            rng: Rng::new(seed ^ 0x5157),
            world,
            producers: (0..PARTITIONS).map(|at| Producer::new(TOPIC, at)).collect(),
            members: vec![Member::new("first", TOPIC), Member::new("second", TOPIC)],
            created: false,
        }
    }

    /// Plays all lives and returns the hash of everything that happened.
    pub(crate) fn play(mut self) -> u64 {
        let lives = 2 + self.rng.below(3);
        for life in 0..lives {
            let alive = self.begin(life, life > 0);
            if alive {
                self.check();
                self.live();
            }
            self.end();
        }
        // The last life is undisturbed: everything must be there, and everything sent arrives.
        assert!(
            self.begin(lives, false),
            "the last start does not come to an end"
        );
        self.check();
        self.finish();
        self.world.trace_hash()
    }

    fn settings(&self, shards: u16, life: u64) -> Arc<ShardSettings> {
        let mut fixed = Static::default();
        for (name, value) in [
            ("log.dirs", "/one/data,/two/data"),
            ("journal.bytes", "524288"),
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
        ] {
            fixed.set(name, value).expect("a legal setting");
        }
        Arc::new(ShardSettings {
            shards,
            seed: self.seed.wrapping_mul(31).wrapping_add(life),
            broker: BrokerSettings::resolve(&fixed, &Image::default()),
            fixed,
            listen: vec![addr()],
            advertise: Vec::new(),
            shard_ports: None,
            synced_writes: (self.seed ^ life).is_multiple_of(2),
        })
    }

    /// Starts the broker. False if it was killed before it served.
    fn begin(&mut self, life: u64, may_end_early: bool) -> bool {
        let shards = 1 + self.rng.below(3) as u16;
        let settings = self.settings(shards, life);
        self.world.start(shards, |shard: ShardId, arena| {
            Shard::new(Arc::clone(&settings), shard, arena)
        });
        if may_end_early && self.rng.chance(1, 5) {
            // A power cut in the middle of recovery.
            let within = self.rng.below(20_000_000);
            self.world.pass(within);
            return false;
        }
        for _ in 0..600 {
            self.world.pass(SECOND_NS / 10);
            if self.world.has_exited(ShardId(0)) {
                // Writes of the process before are still in flight and hold its lock.
                self.world.kill();
                self.world.start(shards, |shard: ShardId, arena| {
                    Shard::new(Arc::clone(&settings), shard, arena)
                });
                continue;
            }
            let mut client = Client::connect(&mut self.world, addr());
            let request = api_versions::Request {
                client_software_name: Str::from_static("sim"),
                client_software_version: Str::from_static("1"),
            };
            if client
                .ask(&mut self.world, (ApiKey::ApiVersions, 3), |w, v| {
                    request.encode(w, v)
                })
                .is_some()
            {
                self.create_topic(&mut client);
                return true;
            }
        }
        panic!("the broker does not serve a minute after its start");
    }

    fn create_topic(&mut self, client: &mut Client) {
        if self.created {
            return;
        }
        let request = create_topics::Request {
            topics: vec![create_topics::CreatableTopic {
                name: Str::from_static(TOPIC),
                num_partitions: PARTITIONS,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 60_000,
            ..Default::default()
        };
        let reply = client.ask(&mut self.world, (ApiKey::CreateTopics, 5), |w, v| {
            request.encode(w, v)
        });
        let Some(mut reply) = reply else { return };
        let response = create_topics::Response::decode(&mut reply.body, 5).expect("a response");
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
        self.created = true;
    }

    fn live(&mut self) {
        let actions = 20 + self.rng.below(60);
        for _ in 0..actions {
            let at = self.rng.index(self.producers.len());
            let producer = &mut self.producers[at];
            if !producer.is_connected() {
                producer.reconnect(&mut self.world, addr());
            }
            let count = 1 + self.rng.index(20);
            // Mostly crumbs, now and then more than a bulk write.
            let bytes = match self.rng.below(8) {
                0 => self.rng.index(20_000),
                _ => self.rng.index(300),
            };
            producer.produce(&mut self.world, count, bytes);
            if self.rng.chance(1, 8) {
                let at = self.rng.index(self.members.len());
                self.members[at].visit(&mut self.world, addr());
            }
            let pause = self.rng.below(3_000_000);
            self.world.pass(pause);
            for producer in &mut self.producers {
                producer.listen(&mut self.world);
            }
        }
    }

    fn end(&mut self) {
        match self.rng.below(4) {
            0 => {
                for shard in 0..self.world.shards() {
                    self.world.mail(ShardId(shard), Mail::Drain);
                }
                assert!(
                    self.world.run(60 * SECOND_NS, |world| world.exited()),
                    "the broker does not stop within a minute"
                );
                // What was answered on the way out counts.
                self.producers
                    .iter_mut()
                    .for_each(|one| one.listen(&mut self.world));
                self.world.kill();
            }
            1 => self.world.kill(),
            _ => self.world.power_cut(),
        }
        self.producers.iter_mut().for_each(Producer::crash);
    }

    /// Everything acknowledged is there, once, in order; commits have not gone back.
    fn check(&mut self) {
        if !self.created {
            return;
        }
        let mut client = Client::connect(&mut self.world, addr());
        for producer in &self.producers {
            let records = read_all(&mut client, &mut self.world, TOPIC, producer.partition)
                .expect("the broker serves");
            for (expected, (offset, _)) in records.iter().enumerate() {
                assert_eq!(*offset, expected as i64, "offsets are contiguous");
            }
            for (base, batch) in &producer.acknowledged {
                for (at, record) in batch.iter().enumerate() {
                    let offset = *base as usize + at;
                    let found = records.get(offset).map(|(_, value)| value);
                    assert_eq!(
                        found,
                        Some(record),
                        "an acknowledged record at offset {offset} of partition {}",
                        producer.partition
                    );
                }
            }
            let mut seen = HashSet::new();
            for (offset, record) in &records {
                assert!(seen.insert(record), "the record at {offset} is there twice");
            }
            assert!(records.len() as u64 <= producer.sent);
        }
        for member in &self.members {
            member
                .check(&mut client, &mut self.world)
                .expect("the broker serves");
        }
    }

    /// Every batch ever sent gets its acknowledgement in the end.
    fn finish(&mut self) {
        if !self.created {
            return;
        }
        for producer in &mut self.producers {
            producer.reconnect(&mut self.world, addr());
        }
        for _ in 0..100 {
            self.world.pass(SECOND_NS / 10);
            self.producers
                .iter_mut()
                .for_each(|one| one.listen(&mut self.world));
        }
        for producer in &self.producers {
            let acknowledged: usize = producer.acknowledged.values().map(Vec::len).sum();
            assert_eq!(
                acknowledged as u64, producer.sent,
                "partition {}",
                producer.partition
            );
        }
        self.check();
    }
}

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9092))
}
