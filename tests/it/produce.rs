//! Records of every codec and level of acknowledgement, there and back.

use crate::broker::Broker;
use crate::clients::{PATIENCE, Seen, create, delivered, producer, reader, take, until};
use crate::wire::batches;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders, Timestamp};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const PARTITIONS: i32 = 3;
const RECORDS: usize = 3_000;
/// Of the first record, in milliseconds; each record is one second later than the one before.
const BEGIN: i64 = 1_700_000_000_000;

/// The record of a number: its key, its value and its header, some of them null.
fn content(number: usize) -> Seen {
    let text = format!("record {number} says the same as all the others, and compresses well");
    Seen {
        partition: number as i32 % PARTITIONS,
        offset: number as i64 / i64::from(PARTITIONS),
        timestamp: Timestamp::CreateTime(BEGIN + number as i64 * 1_000),
        key: (!number.is_multiple_of(7)).then(|| format!("key {number}").into_bytes()),
        value: (!number.is_multiple_of(11)).then(|| text.into_bytes()),
        headers: match number % 5 {
            0 => Vec::new(),
            1 => vec![("empty".to_owned(), None)],
            _ => vec![
                ("number".to_owned(), Some(number.to_string().into_bytes())),
                ("twice".to_owned(), Some(b"1".to_vec())),
                ("twice".to_owned(), Some(vec![0, 255])),
            ],
        },
    }
}

/// Sends the records of [`content`] to their partitions, and checks what is said of each.
fn produce(address: &str, topic: &str, codec: &str, acks: &str) {
    let idempotent = if acks == "all" { "true" } else { "false" };
    let (producer, deliveries) = producer(
        address,
        &[
            ("compression.codec", codec),
            ("acks", acks),
            ("enable.idempotence", idempotent),
            ("linger.ms", "20"),
        ],
    );
    for number in 0..RECORDS {
        let record = content(number);
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: value.as_ref(),
            });
        }
        let timestamp = record.timestamp.to_millis().expect("a time");
        let mut sent = BaseRecord::with_opaque_to(topic, number)
            .partition(record.partition)
            .timestamp(timestamp)
            .headers(headers);
        if let Some(key) = &record.key {
            sent = sent.key(key);
        }
        if let Some(value) = &record.value {
            sent = sent.payload(value);
        }
        producer
            .send(sent)
            .map_err(|(error, _)| error)
            .expect("queued");
    }
    for delivery in delivered(&producer, &deliveries, RECORDS) {
        let expected = content(delivery.number);
        let (partition, offset) = delivery.outcome.expect("delivered");
        assert_eq!(partition, expected.partition);
        if acks != "0" {
            assert_eq!(offset, expected.offset, "record {}", delivery.number);
        }
    }
}

/// All records of a topic, by their numbers.
fn consume(address: &str, topic: &str) -> Vec<Seen> {
    let all: Vec<_> = (0..PARTITIONS).map(|at| (at, Offset::Beginning)).collect();
    let mut seen = take(&reader(address, topic, &all), RECORDS);
    seen.sort_by_key(|record| (record.offset, record.partition));
    seen
}

/// What the log holds is what librdkafka compressed, batch for batch.
fn check_codec(address: &str, topic: &str, codec: &str) {
    for partition in 0..PARTITIONS {
        let batches = batches(address, topic, partition);
        let records: i32 = batches.iter().map(|batch| batch.records).sum();
        assert_eq!(records, RECORDS as i32 / PARTITIONS);
        let bytes: usize = batches.iter().map(|batch| batch.bytes).sum();
        let each = bytes / records as usize;
        // A lone record may not get smaller, and librdkafka sends it as it is then.
        let compressed = batches.iter().filter(|batch| batch.records >= 20);
        assert!(compressed.clone().next().is_some(), "only tiny batches");
        for batch in compressed {
            assert_eq!(batch.codec, codec, "{topic}-{partition}: {batch:?}");
        }
        let is_small = each < 60;
        assert_eq!(is_small, codec != "none", "{topic}: {each} bytes a record");
    }
}

fn every_codec(shards: u16) {
    let mut broker = Broker::start("codecs", shards, &[]);
    let address = broker.address().to_owned();
    let topics = CODECS
        .iter()
        .flat_map(|codec| ["0", "1", "all"].map(|acks| (format!("{codec}-{acks}"), *codec, acks)));
    let topics: Vec<_> = topics.collect();
    for (topic, codec, acks) in &topics {
        create(&address, topic, PARTITIONS, &[]);
        produce(&address, topic, codec, acks);
    }
    let expected: Vec<Seen> = (0..RECORDS).map(content).collect();
    let check = || {
        for (topic, codec, _) in &topics {
            assert_eq!(consume(&address, topic), expected, "{topic}");
            check_codec(&address, topic, codec);
        }
    };
    check();
    // And from the disk, when nothing is in memory.
    broker.stop();
    broker.start_again();
    check();
    times_and_ends(&address, "zstd-all");
}

/// Offsets by time, and the two ends of each partition.
fn times_and_ends(address: &str, topic: &str) {
    let consumer: BaseConsumer = crate::clients::config(address)
        .create()
        .expect("a consumer");
    let last = RECORDS as i64 / i64::from(PARTITIONS);
    let at = |time: i64| {
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked
                .add_partition_offset(topic, partition, Offset::Offset(time))
                .expect("a time");
        }
        let told = consumer
            .offsets_for_times(asked, PATIENCE)
            .expect("offsets");
        let offsets = told.elements().into_iter().map(|one| one.offset());
        offsets.collect::<Vec<_>>()
    };
    assert_eq!(at(0), [Offset::Offset(0); 3]);
    // Number 300 is the 100th of partition 0; 301 and 302 are those of the others.
    assert_eq!(at(BEGIN + 300_000), [Offset::Offset(100); 3]);
    let after = [
        Offset::Offset(101),
        Offset::Offset(100),
        Offset::Offset(100),
    ];
    assert_eq!(at(BEGIN + 300_001), after);
    assert_eq!(at(BEGIN + 100_000_000), [Offset::End; 3]);
    for partition in 0..PARTITIONS {
        let ends = consumer.fetch_watermarks(topic, partition, PATIENCE);
        assert_eq!(ends, Ok((0, last)));
    }
}

#[test]
fn every_codec_with_one_shard() {
    every_codec(1);
}

#[test]
fn every_codec_with_three_shards() {
    every_codec(3);
}

#[test]
fn librdkafka_is_built_with_every_codec() {
    let native = ClientConfig::new()
        .create_native_config()
        .expect("a configuration");
    let features = native.get("builtin.features").expect("it is known");
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        assert!(features.split(',').any(|one| one == codec), "{features}");
    }
}

#[test]
fn a_message_that_is_too_large_fails_alone() {
    let broker = Broker::start("too-large", 3, &[]);
    create(broker.address(), "t", 1, &[("max.message.bytes", "2000")]);
    for idempotence in ["false", "true"] {
        let settings = [("enable.idempotence", idempotence), ("linger.ms", "0")];
        let (producer, deliveries) = producer(broker.address(), &settings);
        for (number, bytes) in [100, 5_000, 200].into_iter().enumerate() {
            let value = vec![b'x'; bytes];
            let record = BaseRecord::with_opaque_to("t", number).partition(0);
            let sent = producer.send(record.key("k").payload(&value));
            sent.map_err(|(error, _)| error).expect("queued");
            rdkafka::producer::Producer::flush(&producer, PATIENCE).expect("flushed");
        }
        let outcomes = delivered(&producer, &deliveries, 3);
        assert!(
            outcomes[0].outcome.is_ok() && outcomes[2].outcome.is_ok(),
            "{outcomes:?}"
        );
        let wrong = Err(RDKafkaErrorCode::MessageSizeTooLarge);
        assert_eq!(outcomes[1].outcome, wrong);
    }
    let seen = take(&reader(broker.address(), "t", &[(0, Offset::Beginning)]), 4);
    let sizes = seen
        .iter()
        .map(|one| one.value.as_ref().map_or(0, Vec::len));
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 200, 100, 200]);
}

#[test]
fn the_brokers_time_replaces_the_producers() {
    let broker = Broker::start("append-time", 1, &[]);
    let address = broker.address();
    create(
        address,
        "t",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let (producer, deliveries) = producer(address, &[("compression.codec", "lz4")]);
    let record = BaseRecord::with_opaque_to("t", 0).key("k").payload("v");
    let sent = producer.send(record.timestamp(BEGIN));
    sent.map_err(|(error, _)| error).expect("queued");
    assert!(delivered(&producer, &deliveries, 1)[0].outcome.is_ok());
    let seen = take(&reader(address, "t", &[(0, Offset::Beginning)]), 1);
    match seen[0].timestamp {
        Timestamp::LogAppendTime(time) => assert!(time > BEGIN),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_is_made_by_its_first_record() {
    let broker = Broker::start("auto", 3, &["num.partitions=4"]);
    let (producer, deliveries) = producer(broker.address(), &[]);
    for number in 0..100 {
        let key = number.to_string();
        let record = BaseRecord::with_opaque_to("new", number)
            .key(&key)
            .payload("v");
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("queued");
    }
    let outcomes = delivered(&producer, &deliveries, 100);
    assert!(
        outcomes.iter().all(|one| one.outcome.is_ok()),
        "{outcomes:?}"
    );
    let consumer: BaseConsumer = crate::clients::config(broker.address())
        .create()
        .expect("a consumer");
    let metadata = consumer
        .fetch_metadata(Some("new"), PATIENCE)
        .expect("metadata");
    assert_eq!(metadata.topics()[0].partitions().len(), 4);
    let all: Vec<_> = (0..4).map(|at| (at, Offset::Beginning)).collect();
    assert_eq!(take(&reader(broker.address(), "new", &all), 100).len(), 100);
}

#[test]
fn no_topic_is_made_where_that_is_switched_off() {
    let broker = Broker::start("no-auto", 1, &["auto.create.topics.enable=false"]);
    let settings = [
        ("message.timeout.ms", "30000"),
        ("topic.metadata.propagation.max.ms", "500"),
    ];
    let (producer, deliveries) = producer(broker.address(), &settings);
    let record = BaseRecord::with_opaque_to("new", 0).key("k").payload("v");
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("queued");
    let outcome = until("an answer", || deliveries.try_recv().ok()).outcome;
    let unknown = [
        RDKafkaErrorCode::UnknownTopic,
        RDKafkaErrorCode::UnknownTopicOrPartition,
    ];
    assert!(
        outcome.is_err_and(|code| unknown.contains(&code)),
        "{outcome:?}"
    );
}
