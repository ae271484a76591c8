//! The broker stops and is killed while clients go on: nothing acknowledged is lost, nothing is
//! there twice.

use crate::broker::Broker;
use crate::clients::{
    Delivery, TestProducer, create, delivered, is_passing, producer, reader, take, until,
};
use crate::groups::{Member, PARTITIONS, member};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Sends records until told to stop, at most a few thousand ahead of the broker.
fn stream(producer: &TestProducer, sent: &AtomicUsize, ends: &AtomicBool) {
    use rdkafka::producer::Producer;
    while !ends.load(Ordering::Relaxed) {
        if producer.in_flight_count() > 2_000 {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let number = sent.load(Ordering::Relaxed);
        let value = number.to_string();
        let record = BaseRecord::with_opaque_to("t", number).partition(number as i32 % PARTITIONS);
        let queued = producer.send(record.key("k").payload(&value));
        queued.map_err(|(error, _)| error).expect("queued");
        sent.store(number + 1, Ordering::Relaxed);
        if number.is_multiple_of(50) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Reads until told to stop, committing as it goes; by partition and offset, what it read.
fn follow(member: &Member, read: &AtomicUsize, ends: &AtomicBool) -> BTreeMap<(i32, i64), usize> {
    let mut seen = BTreeMap::new();
    while !ends.load(Ordering::Relaxed) {
        match member.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = std::str::from_utf8(message.payload().expect("a value"));
                let number = text.expect("text").parse().expect("a number");
                let place = (message.partition(), message.offset());
                let before = seen.insert(place, number);
                assert!(
                    before.is_none_or(|before| before == number),
                    "{place:?} changed"
                );
                read.store(seen.len(), Ordering::Relaxed);
                if seen.len().is_multiple_of(100) {
                    let _ = member.commit_consumer_state(CommitMode::Async);
                }
            }
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                let lost = code == Some(RDKafkaErrorCode::UnknownMemberId);
                assert!(lost || is_passing(code), "{error}");
            }
            None => {}
        }
    }
    seen
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn clients_live_on(shards: u16, codec: &str) {
    let settings = ["group.initial.rebalance.delay.ms=0"];
    let mut broker = Broker::start("restart", shards, &settings);
    let address = broker.address().to_owned();
    create(&address, "t", PARTITIONS, &[]);
    let settings = [("enable.idempotence", "true"), ("compression.codec", codec)];
    let (producer, deliveries) = producer(&address, &settings);
    let member = member(&address, "t", "cooperative-sticky");
    let (sent, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (no_more, all_read) = (AtomicBool::new(false), AtomicBool::new(false));
    let seen = std::thread::scope(|threads| {
        // A check that fails below must not leave the threads running.
        let _ends = (EndOnDrop(&no_more), EndOnDrop(&all_read));
        threads.spawn(|| stream(&producer, &sent, &no_more));
        let follower = threads.spawn(|| follow(&member, &read, &all_read));
        let go_on = || {
            let (sent, read) = (&sent, &read);
            let goal = sent.load(Ordering::Relaxed) + 3_000;
            until("records are sent", || {
                (sent.load(Ordering::Relaxed) > goal).then_some(())
            });
            until("records are read", || {
                (read.load(Ordering::Relaxed) > goal - 2_000).then_some(())
            });
        };
        go_on();
        broker.stop();
        broker.start_again();
        go_on();
        broker.kill();
        broker.start_again();
        go_on();
        no_more.store(true, Ordering::Relaxed);
        until("everything is read", || {
            let all = sent.load(Ordering::Relaxed);
            (read.load(Ordering::Relaxed) >= all).then_some(())
        });
        all_read.store(true, Ordering::Relaxed);
        follower.join().expect("the follower ends")
    });
    let sent = sent.into_inner();
    check_log(&address, &producer, &deliveries, sent, &seen);
    let said = broker.said();
    assert!(
        said.contains("after a clean stop") && said.contains("after an unclean stop"),
        "{said}"
    );
}

/// Every record is once in the log, where its acknowledgement and the reader saw it.
fn check_log(
    address: &str,
    producer: &TestProducer,
    deliveries: &Receiver<Delivery>,
    sent: usize,
    seen: &BTreeMap<(i32, i64), usize>,
) {
    let all: Vec<_> = (0..PARTITIONS).map(|at| (at, Offset::Beginning)).collect();
    let mut log = BTreeMap::new();
    for record in take(&reader(address, "t", &all), sent) {
        let text = String::from_utf8(record.value.expect("a value")).expect("text");
        log.insert(
            (record.partition, record.offset),
            text.parse().expect("a number"),
        );
    }
    assert_eq!(log.len(), sent);
    let mut numbers: Vec<usize> = log.values().copied().collect();
    numbers.sort_unstable();
    assert!(
        numbers.into_iter().eq(0..sent),
        "a record is lost, or there twice"
    );
    assert_eq!(&log, seen);
    for delivery in delivered(producer, deliveries, sent) {
        match delivery.outcome {
            // librdkafka says so of a batch whose first acknowledgement a kill swallowed.
            Ok((_, offset)) if offset < 0 => {}
            Ok(place) => assert_eq!(log.get(&place), Some(&delivery.number)),
            Err(code) => panic!("record {}: {code:?}", delivery.number),
        }
    }
}

#[test]
fn clients_live_on_with_one_shard() {
    clients_live_on(1, "lz4");
}

#[test]
fn clients_live_on_with_three_shards() {
    clients_live_on(3, "zstd");
}
