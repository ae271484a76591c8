//! Shards that are brokers of their own to clients: unmodified clients go to the core that has what
//! they ask for.

use crate::broker::Broker;
use crate::clients::{
    PATIENCE, TestProducer, admin, config, create, delivered, patient, producer, take, until, wait,
};
use crate::groups::member;
use rdkafka::admin::ResourceSpecifier;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PARTITIONS: i32 = 6;
const RECORDS: usize = 600;
const GROUPS: usize = 8;

/// No other test has the address, so the ports are free.
const SETTINGS: [&str; 2] = [
    "shard.listener.port=9200",
    "group.initial.rebalance.delay.ms=0",
];

fn send(producer: &TestProducer, begin: usize, count: usize) {
    for number in begin..begin + count {
        let record = BaseRecord::with_opaque_to("t", number).partition(number as i32 % PARTITIONS);
        let sent = producer.send(record.key("k").payload("v"));
        sent.map_err(|(error, _)| error).expect("queued");
    }
}

/// Brokers as clients see them, and how many partitions of `t` each leads.
fn leaders(address: &str) -> BTreeMap<i32, (i32, usize)> {
    let consumer: BaseConsumer = config(address).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some("t"), PATIENCE);
    let metadata = metadata.expect("metadata");
    let led = |id| {
        let parts = metadata.topics()[0].partitions().iter();
        parts.filter(|part| part.leader() == id).count()
    };
    let brokers = metadata.brokers().iter();
    let told = brokers.map(|broker| (broker.id(), (broker.port(), led(broker.id()))));
    told.collect()
}

/// Calls of each shard's clients for itself and for other shards, in the broker's last run.
fn tallies(broker: &Broker, shards: usize) -> Vec<(u64, u64)> {
    let said = broker.said();
    let told = |shard: usize| {
        let begin = format!("shard {shard}: calls of its clients: ");
        let line = said.lines().rfind(|line| line.contains(&begin))?;
        let numbers = line.split_once(&begin)?.1.split(' ');
        let mut numbers = numbers.filter_map(|word| word.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    let all =
        (0..shards).map(|shard| told(shard).unwrap_or_else(|| panic!("shard {shard}: {said}")));
    all.collect()
}

/// A producer, a group of two members, and groups that only commit.
fn work(address: &str) {
    let (producer, deliveries) = producer(address, &[("enable.idempotence", "true")]);
    send(&producer, 0, RECORDS);
    producer.flush(PATIENCE).expect("everything is delivered");

    let members = [member(address, "t", "range"), member(address, "t", "range")];
    let mut read = BTreeSet::new();
    let mut poll = || {
        for member in &members {
            while let Some(Ok(message)) = member.poll(Duration::from_millis(20)) {
                use rdkafka::message::Message;
                read.insert((message.partition(), message.offset()));
            }
        }
        read.len()
    };
    until("both members have their half", || {
        poll();
        let half = |member: &crate::groups::Member| {
            member
                .assignment()
                .is_ok_and(|list| list.count() == PARTITIONS as usize / 2)
        };
        members.iter().all(half).then_some(())
    });
    // One of them may have read and committed everything before the other one came.
    send(&producer, RECORDS, RECORDS);
    until("both members read everything", || {
        (poll() == 2 * RECORDS).then_some(())
    });
    let outcomes = delivered(&producer, &deliveries, 2 * RECORDS);
    assert!(outcomes.iter().all(|one| one.outcome.is_ok()));

    for member in &members {
        member
            .commit_consumer_state(CommitMode::Sync)
            .expect("committed");
    }
    for group in 0..GROUPS {
        let consumer: BaseConsumer = config(address)
            .set("group.id", format!("only-commits-{group}"))
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut offsets = TopicPartitionList::new();
        let mut one = offsets.add_partition("t", 0);
        one.set_offset(Offset::Offset(3)).expect("an offset");
        consumer
            .commit(&offsets, CommitMode::Sync)
            .expect("committed");
        let told = consumer.committed_offsets(offsets, PATIENCE);
        let told = told.expect("offsets");
        assert_eq!(told.elements()[0].offset(), Offset::Offset(3));
    }
}

#[test]
fn no_request_of_a_client_crosses_cores() {
    let mut broker = Broker::start("endpoints", 2, &SETTINGS);
    let address = broker.address().to_owned();
    create(&address, "t", PARTITIONS, &[]);
    let expected = [(1, (9200, 3)), (1_000_001, (9201, 3))];
    assert_eq!(leaders(&address), BTreeMap::from(expected));
    work(&address);

    let other: BaseConsumer = config(&address).create().expect("a consumer");
    let list = other.fetch_group_list(None, PATIENCE).expect("groups");
    let names: Vec<_> = list.groups().iter().map(|group| group.name()).collect();
    let once: BTreeSet<_> = names.iter().collect();
    assert_eq!(
        (names.len(), once.len()),
        (GROUPS + 1, GROUPS + 1),
        "{names:?}"
    );

    for id in [1, 1_000_001] {
        // librdkafka sends this to the broker that it asks about.
        let of = [ResourceSpecifier::Broker(id)];
        let admin = admin(&address);
        let described = wait(admin.describe_configs(&of, &patient())).expect("an answer");
        let described = described.into_iter().next().expect("one");
        let entries = described.expect("the settings of the node").entries;
        let found = entries.iter().find(|entry| entry.name == "node.id");
        assert_eq!(found.and_then(|entry| entry.value.as_deref()), Some("1"));
    }
    drop(other);

    broker.stop();
    for (shard, (own, crossed)) in tallies(&broker, 2).into_iter().enumerate() {
        assert!(own > 10, "shard {shard} did its share: {own} calls");
        assert_eq!(crossed, 0, "shard {shard} had to pass on calls");
    }
}

/// The same work at another listener, where nobody is told of shards: so the count is honest.
#[test]
fn where_shards_are_not_told_of_requests_cross_cores() {
    let settings = [
        SETTINGS[0],
        SETTINGS[1],
        "listeners=PLAINTEXT://HOST:9092,OTHER://HOST:9093",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT",
    ];
    let mut broker = Broker::start("endpoints-other", 2, &settings);
    let address = broker.address().replace(":9092", ":9093");
    create(&address, "t", PARTITIONS, &[]);
    assert_eq!(leaders(&address), BTreeMap::from([(1, (9093, 6))]));
    work(&address);
    broker.stop();
    let crossed = tallies(&broker, 2).into_iter().map(|(_, crossed)| crossed);
    assert!(crossed.sum::<u64>() > 10);
}

#[test]
fn clients_follow_partitions_to_other_shards() {
    let mut broker = Broker::start("endpoints-move", 2, &SETTINGS);
    let address = broker.address().to_owned();
    create(&address, "t", PARTITIONS, &[]);
    let refresh = [
        ("enable.idempotence", "true"),
        ("topic.metadata.refresh.interval.ms", "1000"),
    ];
    let (producer, deliveries) = producer(&address, &refresh);
    let reader: BaseConsumer = config(&address)
        .set("group.id", "follows")
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()
        .expect("a consumer");
    reader.subscribe(&["t"]).expect("subscribed");
    let mut seen = BTreeSet::new();
    for (round, shards) in [2, 3, 1, 2].into_iter().enumerate() {
        if round > 0 {
            broker.stop();
            broker.start_again_with(shards);
        }
        send(&producer, round * 60, 60);
        for one in take(&reader, 60) {
            assert!(
                seen.insert((one.partition, one.offset)),
                "read twice: {one:?}"
            );
        }
        let led = leaders(&address);
        assert_eq!(led.len(), usize::from(shards));
        assert!(
            led.values()
                .all(|(_, led)| *led == PARTITIONS as usize / usize::from(shards))
        );
    }
    let outcomes = delivered(&producer, &deliveries, 240);
    assert!(
        outcomes.iter().all(|one| one.outcome.is_ok()),
        "{outcomes:?}"
    );
    assert_eq!(seen.len(), 240);
}
