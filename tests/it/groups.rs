//! Consumer groups: members come and go, and each record is read once.

use crate::broker::Broker;
use crate::clients::{
    PATIENCE, Seen, TestProducer, config, create, delivered, is_passing, producer, until,
};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

pub(crate) const PARTITIONS: i32 = 6;

/// Notes how many partitions each rebalance takes and gives.
#[derive(Default)]
pub(crate) struct Notes {
    given: Mutex<Vec<usize>>,
    taken: Mutex<Vec<usize>>,
}

impl ClientContext for Notes {}

impl ConsumerContext for Notes {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (notes, list) = match rebalance {
            Rebalance::Assign(list) => (&self.given, list),
            Rebalance::Revoke(list) => {
                // What was read so far is the next member's beginning.
                match consumer.commit_consumer_state(CommitMode::Sync) {
                    Ok(()) => {}
                    Err(error) => {
                        let code = error.rdkafka_error_code();
                        assert_eq!(code, Some(RDKafkaErrorCode::NoOffset), "{error}");
                    }
                }
                (&self.taken, list)
            }
            Rebalance::Error(error) => panic!("{error}"),
        };
        notes.lock().expect("not poisoned").push(list.count());
    }
}

pub(crate) type Member = BaseConsumer<Notes>;

pub(crate) fn member(address: &str, topic: &str, strategy: &str) -> Member {
    let member: Member = config(address)
        .set("group.id", "g")
        .set("partition.assignment.strategy", strategy)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "30000")
        .set("heartbeat.interval.ms", "500")
        .create_with_context(Notes::default())
        .expect("a consumer");
    member.subscribe(&[topic]).expect("subscribed");
    member
}

/// Sends records numbered from `begin` on, and waits for them.
fn send(producer: &TestProducer, begin: usize, count: usize) {
    for number in begin..begin + count {
        let value = number.to_string();
        let record = BaseRecord::with_opaque_to("t", number).partition(number as i32 % PARTITIONS);
        let sent = producer.send(record.key("k").payload(&value));
        sent.map_err(|(error, _)| error).expect("queued");
    }
    rdkafka::producer::Producer::flush(producer, PATIENCE).expect("delivered");
}

/// Polls every member for a moment, and counts how often each record was read.
fn poll(members: &[&Member], read: &mut BTreeMap<usize, u32>) {
    for member in members {
        for _ in 0..100 {
            match member.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => {
                    let seen = Seen::of(&message);
                    let text = String::from_utf8(seen.value.expect("a value")).expect("text");
                    *read.entry(text.parse().expect("a number")).or_default() += 1;
                }
                Some(Err(error)) => {
                    assert!(is_passing(error.rdkafka_error_code()), "{error}");
                }
                None => break,
            }
        }
    }
}

fn held(member: &Member) -> usize {
    member.assignment().map_or(0, |list| list.count())
}

/// Two members share what one had, then one leaves, and a new one goes on where they were.
fn members_come_and_go(shards: u16, strategy: &str) {
    let settings = ["group.initial.rebalance.delay.ms=200"];
    let mut broker = Broker::start(&format!("group-{strategy}"), shards, &settings);
    let address = broker.address().to_owned();
    create(&address, "t", PARTITIONS, &[]);
    let (producer, deliveries) = producer(&address, &[("enable.idempotence", "true")]);
    let mut read = BTreeMap::new();

    send(&producer, 0, 300);
    let first = member(&address, "t", strategy);
    until("the first has all", || {
        poll(&[&first], &mut read);
        (held(&first) == 6 && read.len() == 300).then_some(())
    });
    let second = member(&address, "t", strategy);
    send(&producer, 300, 300);
    until("both have half", || {
        poll(&[&first, &second], &mut read);
        (held(&first) == 3 && held(&second) == 3 && read.len() == 600).then_some(())
    });
    send(&producer, 600, 300);
    until("both read", || {
        poll(&[&first, &second], &mut read);
        (read.len() == 900).then_some(())
    });
    let taken = first.context().taken.lock().expect("not poisoned").clone();
    // Eager members give everything back, cooperative ones what the other gets.
    let expected = if strategy == "cooperative-sticky" {
        3
    } else {
        6
    };
    assert_eq!(taken, [expected], "taken from the first");
    drop(second);
    send(&producer, 900, 300);
    until("the first has all again", || {
        poll(&[&first], &mut read);
        (held(&first) == 6 && read.len() == 1_200).then_some(())
    });
    first
        .commit_consumer_state(CommitMode::Sync)
        .expect("committed");
    drop(first);

    broker.kill();
    broker.start_again();
    send(&producer, 1_200, 60);
    let third = member(&address, "t", strategy);
    until("the third goes on", || {
        poll(&[&third], &mut read);
        (read.len() == 1_260).then_some(())
    });
    let all = delivered(&producer, &deliveries, 1_260);
    assert!(all.iter().all(|one| one.outcome.is_ok()));
    let twice: Vec<_> = read.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "read more than once: {twice:?}");
}

#[test]
fn eager_members_come_and_go_with_one_shard() {
    members_come_and_go(1, "range");
}

#[test]
fn eager_members_come_and_go_with_three_shards() {
    members_come_and_go(3, "roundrobin");
}

#[test]
fn cooperative_members_come_and_go_with_one_shard() {
    members_come_and_go(1, "cooperative-sticky");
}

#[test]
fn cooperative_members_come_and_go_with_three_shards() {
    members_come_and_go(3, "cooperative-sticky");
}

#[test]
fn committed_offsets_outlive_stops_and_kills() {
    let mut broker = Broker::start("committed", 3, &[]);
    let address = broker.address().to_owned();
    create(&address, "t", PARTITIONS, &[]);
    let consumer: BaseConsumer = config(&address)
        .set("group.id", "keeps")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    for round in 0..3 {
        let mut offsets = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let offset = i64::from(100 * round + partition);
            let mut one = offsets.add_partition("t", partition);
            one.set_offset(Offset::Offset(offset)).expect("an offset");
            one.set_metadata(format!("round {round}"));
        }
        consumer
            .commit(&offsets, CommitMode::Sync)
            .expect("committed");
        if round == 0 {
            broker.stop();
        } else {
            broker.kill();
        }
        broker.start_again();
        let fresh: BaseConsumer = config(&address)
            .set("group.id", "keeps")
            .create()
            .expect("a consumer");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range("t", 0, PARTITIONS - 1);
        let told = fresh.committed_offsets(asked, PATIENCE).expect("offsets");
        for one in told.elements() {
            let expected = i64::from(100 * round + one.partition());
            assert_eq!(one.offset(), Offset::Offset(expected));
            assert_eq!(one.metadata(), format!("round {round}"));
        }
    }
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let broker = Broker::start("static", 3, &["group.initial.rebalance.delay.ms=0"]);
    let address = broker.address();
    create(address, "t", PARTITIONS, &[]);
    let (producer, _deliveries) = producer(address, &[]);
    let join = |instance: &str| {
        let member: Member = config(address)
            .set("group.id", "g")
            .set("group.instance.id", instance)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "60000")
            .set("heartbeat.interval.ms", "500")
            .create_with_context(Notes::default())
            .expect("a consumer");
        member.subscribe(&["t"]).expect("subscribed");
        member
    };
    let (one, two) = (join("one"), join("two"));
    let mut read = BTreeMap::new();
    until("both have half", || {
        poll(&[&one, &two], &mut read);
        (held(&one) == 3 && held(&two) == 3).then_some(())
    });
    let given = one.context().given.lock().expect("not poisoned").len();
    drop(two);
    let two = join("two");
    send(&producer, 0, 60);
    until("it is back", || {
        poll(&[&one, &two], &mut read);
        (held(&two) == 3 && read.len() == 60).then_some(())
    });
    assert_eq!(
        one.context().given.lock().expect("not poisoned").len(),
        given
    );
    assert!(read.values().all(|times| *times == 1));
}

#[test]
fn a_reader_without_commits_begins_where_it_is_told() {
    let broker = Broker::start("reset", 1, &["group.initial.rebalance.delay.ms=0"]);
    let address = broker.address();
    create(address, "t", PARTITIONS, &[]);
    let (producer, _deliveries) = producer(address, &[]);
    send(&producer, 0, 60);
    let late: BaseConsumer = config(address)
        .set("group.id", "late")
        .set("auto.offset.reset", "latest")
        .create()
        .expect("a consumer");
    late.subscribe(&["t"]).expect("subscribed");
    // When it has looked up the ends shows only in what it reads, so records go on coming.
    let (mut sent, mut read) = (60, 0);
    until("it reads", || {
        send(&producer, sent, PARTITIONS as usize);
        sent += PARTITIONS as usize;
        while let Some(message) = late.poll(Duration::from_millis(500)) {
            let seen = Seen::of(&message.expect("a record"));
            assert!(seen.offset >= 10, "an old record: {seen:?}");
            read += 1;
        }
        (read > 20).then_some(())
    });
}
