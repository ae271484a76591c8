//! Consumers that commit: two members of a group, and groups that only store offsets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::chance::Chance;
use crate::produce::{Shared, client, lock};
use crate::record::RecordId;
use crate::world::STEADY;

/// The group whose members come and go.
pub(crate) const TEAM: &str = "team";
/// Groups without members.
const LONE_GROUPS: usize = 3;

/// Where a member stands in the partitions that it owns; a rebalance ends that.
#[derive(Clone, Default)]
struct Positions(Arc<Mutex<BTreeMap<i32, i64>>>);

impl ClientContext for Positions {}

impl ConsumerContext for Positions {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.lock().expect("no holder fails").clear();
    }
}

/// A member of the group, which leaves and comes again at times.
pub(crate) fn member(
    address: &str,
    strategy: &str,
    world: &Shared,
    mut chance: Chance,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let positions = Positions::default();
        let consumer: BaseConsumer<Positions> = client(address)
            .set("group.id", TEAM)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "300")
            .set("partition.assignment.strategy", strategy)
            .create_with_context(positions.clone())
            .expect("the consumer's settings are right");
        consumer
            .subscribe(&[STEADY])
            .expect("a topic can be subscribed to");
        let until = Instant::now() + Duration::from_secs(chance.within(5, 30));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            for _ in 0..chance.within(1, 60) {
                receive(&consumer, &positions, world);
            }
            commit_positions(&consumer, &positions, world);
        }
    }
}

fn receive(consumer: &BaseConsumer<Positions>, positions: &Positions, world: &Shared) {
    let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else {
        return;
    };
    let next = message.offset() + 1;
    positions
        .0
        .lock()
        .expect("no holder fails")
        .insert(message.partition(), next);
    let value = message.payload().unwrap_or_default();
    if let Err(why) = RecordId::recognise(message.key(), value) {
        let text = format!(
            "{STEADY}-{}@{}: {why}",
            message.partition(),
            message.offset()
        );
        lock(world).failures.push(text);
    }
}

fn commit_positions(consumer: &BaseConsumer<Positions>, positions: &Positions, world: &Shared) {
    let at = std::mem::take(&mut *positions.0.lock().expect("no holder fails"));
    if at.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in &at {
        list.add_partition_offset(STEADY, *partition, Offset::Offset(*offset))
            .expect("an offset can be listed");
        lock(world).commit_asked(&(TEAM.to_owned(), STEADY.to_owned(), *partition), *offset);
    }
    // A commit that fails has told nothing.
    if consumer.commit(&list, CommitMode::Sync).is_ok() {
        for (partition, offset) in at {
            lock(world).commit_acked(&(TEAM.to_owned(), STEADY.to_owned(), partition), offset);
        }
    }
}

/// Stores growing offsets for groups that have no members.
pub(crate) fn lone(address: &str, world: &Shared, mut chance: Chance, stop: &AtomicBool) {
    let groups: Vec<(String, BaseConsumer)> = (0..LONE_GROUPS)
        .map(|index| {
            let group = format!("lone-{index}");
            let consumer = client(address)
                .set("group.id", &group)
                .set("enable.auto.commit", "false")
                .create()
                .expect("the consumer's settings are right");
            (group, consumer)
        })
        .collect();
    let mut next = 1;
    while !stop.load(Ordering::Relaxed) {
        let (group, consumer) = chance.pick(&groups);
        let partition = i32::try_from(chance.within(0, 2)).expect("a partition");
        let key = (group.clone(), STEADY.to_owned(), partition);
        next += 1;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(STEADY, partition, Offset::Offset(next))
            .expect("an offset can be listed");
        lock(world).commit_asked(&key, next);
        if consumer.commit(&list, CommitMode::Sync).is_ok() {
            lock(world).commit_acked(&key, next);
        }
        sleep(Duration::from_millis(chance.within(0, 30)));
    }
}
