//! Topics created, altered, emptied and deleted while the load goes on.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, sleep};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::chance::Chance;
use crate::groups::TEAM;
use crate::produce::{Shared, client, lock};
use crate::world::{PROBE, Phase, STEADY, World};

/// Names that topics come and go by.
const NAMES: [&str; 5] = ["t0", "t1", "t2", "t3", "t4"];
/// Retention may drop records of this one.
const SHORT_LIVED: &str = "t4";
const REQUEST: Duration = Duration::from_secs(20);

/// Held by whoever needs that topics stay as they are.
pub(crate) type Still = Arc<Mutex<()>>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for what librdkafka's own thread will answer.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

pub(crate) struct Admin {
    client: AdminClient<DefaultClientContext>,
    world: Shared,
    chance: Chance,
}

impl Admin {
    pub(crate) fn new(address: &str, world: &Shared, chance: Chance) -> Self {
        let client = client(address).create().expect("the settings are right");
        Self {
            client,
            world: Arc::clone(world),
            chance,
        }
    }

    fn options() -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(REQUEST))
            .operation_timeout(Some(REQUEST))
    }

    pub(crate) fn run(mut self, still: &Still, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            {
                let _still = still.lock().expect("no holder fails");
                self.step();
            }
            sleep(Duration::from_millis(self.chance.within(20, 300)));
        }
    }

    /// Makes the topics that are there from the beginning.
    pub(crate) fn prepare(&mut self) -> Result<(), String> {
        for (name, partitions) in [(PROBE, 1), (STEADY, 3), (NAMES[0], 2)] {
            lock(&self.world).creating(name, partitions, false);
            let mut attempts = 0..10;
            while lock(&self.world).topic(name).phase != Phase::Live {
                attempts
                    .next()
                    .ok_or_else(|| format!("the topic {name} cannot be created"))?;
                self.create(name);
            }
        }
        Ok(())
    }

    /// One thing at a time; what was not confirmed is asked again.
    fn step(&mut self) {
        let names = lock(&self.world).named(Phase::Creating);
        for name in names {
            self.create(&name);
        }
        let names = lock(&self.world).named(Phase::Draining);
        for name in names {
            if lock(&self.world).topic(&name).under_way == 0 {
                lock(&self.world).topic(&name).phase = Phase::Deleting;
            }
        }
        let names = lock(&self.world).named(Phase::Deleting);
        for name in names {
            self.delete(&name);
        }
        let grown = lock(&self.world).grown();
        for name in grown {
            if NAMES.contains(&name.as_str()) {
                lock(&self.world).topic(&name).phase = Phase::Draining;
            } else {
                lock(&self.world).topic(&name).bytes = 0;
                (0..3).for_each(|partition| self.empty(&name, partition));
            }
        }
        match self.chance.within(0, 8) {
            0..=2 => self.ask_for_one(),
            3 | 4 => {
                let live = lock(&self.world).named(Phase::Live);
                let name = self.chance.pick(&live).clone();
                let parts = lock(&self.world).topic(&name).parts.len();
                let partition = usize::try_from(self.chance.within(0, parts as u64));
                self.empty(&name, partition.expect("a partition"));
            }
            5 => self.alter(),
            _ => {}
        }
    }

    fn ask_for_one(&mut self) {
        let name = *self.chance.pick(&NAMES);
        let free = |world: &World| {
            world
                .topics
                .get(name)
                .is_none_or(|topic| topic.phase == Phase::Gone)
        };
        if free(&lock(&self.world)) {
            let partitions = usize::try_from(self.chance.within(1, 5)).expect("few");
            lock(&self.world).creating(name, partitions, name == SHORT_LIVED);
            self.create(name);
        }
    }

    fn create(&mut self, name: &str) {
        let partitions = lock(&self.world).topic(name).parts.len();
        let partitions = i32::try_from(partitions).expect("few");
        let segment = self.segment_bytes();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("segment.bytes", &segment)
            .set("max.message.bytes", "2097152");
        if name == SHORT_LIVED {
            topic = topic
                .set("segment.ms", "700")
                .set("retention.bytes", "4194304");
        }
        let answer = wait(self.client.create_topics([&topic], &Self::options()));
        let confirmed = match answer.map(|mut results| results.pop()) {
            Ok(Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => true,
            Ok(_) | Err(_) => false,
        };
        let mut world = lock(&self.world);
        if confirmed && world.topic(name).phase == Phase::Creating {
            world.topic(name).phase = Phase::Live;
            world.counts.created += 1;
        }
    }

    fn delete(&mut self, name: &str) {
        let answer = wait(self.client.delete_topics(&[name], &Self::options()));
        let gone = match answer.map(|mut results| results.pop()) {
            Ok(Some(Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)))) => true,
            Ok(_) | Err(_) => false,
        };
        if gone {
            let mut world = lock(&self.world);
            let topic = world.topic(name);
            topic.phase = Phase::Gone;
            topic.parts.clear();
            world.counts.deleted += 1;
        }
    }

    /// Deletes the records of a partition up to some acknowledged one; those that a group still
    /// has to read stay.
    fn empty(&mut self, name: &str, partition: usize) {
        let number = i32::try_from(partition).expect("few");
        let to = {
            let mut world = lock(&self.world);
            let key = (TEAM.to_owned(), name.to_owned(), number);
            let committed = world.commits.get(&key).map_or(0, |commit| commit.acked);
            let part = &mut world.topic(name).parts[partition];
            let Some(last) = part.acked.last_key_value().map(|(offset, _)| *offset) else {
                return;
            };
            let from = part.deleted.max(part.low_seen);
            let last = if name == STEADY { committed } else { last };
            if last <= from {
                return;
            }
            let to = self
                .chance
                .within(from.cast_unsigned(), last.cast_unsigned() + 1);
            let to = to.cast_signed();
            part.delete_asked = part.delete_asked.max(to);
            to
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, number, Offset::Offset(to))
            .expect("a list");
        if let Ok(answer) = wait(self.client.delete_records(&list, &Self::options()))
            && answer
                .elements()
                .iter()
                .all(|element| element.error().is_ok())
        {
            lock(&self.world).deleted_to(name, partition, to);
        }
    }

    fn alter(&mut self) {
        let segment = self.segment_bytes();
        let config = AlterConfig::new(ResourceSpecifier::Topic(STEADY))
            .set("segment.bytes", &segment)
            .set("max.message.bytes", "2097152");
        let answer = wait(self.client.alter_configs([&config], &Self::options()));
        if answer.is_ok_and(|results| results.iter().all(Result::is_ok)) {
            lock(&self.world).counts.altered += 1;
        }
    }

    fn segment_bytes(&mut self) -> String {
        self.chance
            .pick(&[2_u64 << 20, 3 << 20, 8 << 20])
            .to_string()
    }
}
