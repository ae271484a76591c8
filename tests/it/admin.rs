//! What librdkafka's admin client can ask.

use crate::broker::Broker;
use crate::clients::{
    PATIENCE, admin, config, create, delivered, patient, producer, reader, take, until, wait,
};
use rdkafka::admin::{
    AlterConfig, ConfigEntry, ConfigSource, NewPartitions, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

fn fill(address: &str, topic: &str, partitions: i32, each: usize) {
    let (producer, deliveries) = producer(address, &[]);
    let count = each * partitions as usize;
    for number in 0..count {
        let record =
            BaseRecord::with_opaque_to(topic, number).partition(number as i32 % partitions);
        let sent = producer.send(record.key("k").payload("v"));
        sent.map_err(|(error, _)| error).expect("queued");
    }
    let outcomes = delivered(&producer, &deliveries, count);
    assert!(
        outcomes.iter().all(|one| one.outcome.is_ok()),
        "{outcomes:?}"
    );
}

/// The number of partitions of every topic that is not internal.
fn topics(address: &str) -> Vec<(String, usize)> {
    let consumer: BaseConsumer = config(address).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("metadata");
    let topics = metadata.topics().iter();
    let topics = topics.map(|topic| (topic.name().to_owned(), topic.partitions().len()));
    let mut topics: Vec<_> = topics.filter(|(name, _)| !name.starts_with("__")).collect();
    topics.sort();
    topics
}

fn topics_come_and_go(shards: u16) {
    let mut broker = Broker::start("topics", shards, &[]);
    let address = broker.address().to_owned();
    let admin = admin(&address);
    create(&address, "a", 2, &[]);
    create(&address, "b", 5, &[("retention.ms", "5000")]);
    let wrong = [
        NewTopic::new("a", 1, TopicReplication::Fixed(1)),
        NewTopic::new("c/d", 1, TopicReplication::Fixed(1)),
        NewTopic::new("e", 1, TopicReplication::Fixed(3)),
        NewTopic::new("f", 1, TopicReplication::Fixed(1)).set("retention.ms", "soon"),
    ];
    let answers = wait(admin.create_topics(&wrong, &patient())).expect("answers");
    let expected = [
        ("a", RDKafkaErrorCode::TopicAlreadyExists),
        ("c/d", RDKafkaErrorCode::InvalidTopic),
        ("e", RDKafkaErrorCode::InvalidReplicationFactor),
        ("f", RDKafkaErrorCode::InvalidConfig),
    ];
    for (name, code) in expected {
        assert!(
            answers.contains(&Err((name.to_owned(), code))),
            "{name}: {answers:?}"
        );
    }
    let only_asked = NewTopic::new("g", 1, TopicReplication::Fixed(1));
    let asked = wait(admin.create_topics([&only_asked], &patient().validate_only(true)));
    assert_eq!(asked.expect("an answer"), [Ok("g".to_owned())]);

    fill(&address, "a", 2, 10);
    let more = [NewPartitions::new("a", 4), NewPartitions::new("b", 5)];
    let answers = wait(admin.create_partitions(&more, &patient())).expect("answers");
    let refused = Err(("b".to_owned(), RDKafkaErrorCode::InvalidPartitions));
    assert_eq!(answers, [Ok("a".to_owned()), refused]);
    let expected = [("a".to_owned(), 4), ("b".to_owned(), 5)];
    until("four partitions", || {
        (topics(&address) == expected).then_some(())
    });
    fill(&address, "a", 4, 5);

    broker.kill();
    broker.start_again();
    assert_eq!(topics(&address), expected);
    let from: Vec<_> = (0..4).map(|at| (at, Offset::Beginning)).collect();
    assert_eq!(take(&reader(&address, "a", &from), 40).len(), 40);

    let answers = wait(admin.delete_topics(&["a", "zzz"], &patient())).expect("answers");
    let unknown = Err(("zzz".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition));
    assert_eq!(answers, [Ok("a".to_owned()), unknown]);
    assert_eq!(topics(&address), expected[1..]);
    // One of the same name starts empty.
    create(&address, "a", 1, &[]);
    let consumer: BaseConsumer = config(&address).create().expect("a consumer");
    assert_eq!(consumer.fetch_watermarks("a", 0, PATIENCE), Ok((0, 0)));
}

#[test]
fn topics_come_and_go_with_one_shard() {
    topics_come_and_go(1);
}

#[test]
fn topics_come_and_go_with_three_shards() {
    topics_come_and_go(3);
}

/// One setting of a topic or of the broker.
fn setting(address: &str, of: &ResourceSpecifier<'_>, name: &str) -> ConfigEntry {
    let mut answers = wait(admin(address).describe_configs([of], &patient())).expect("an answer");
    let resource = answers.remove(0).expect("it is described");
    let mut entries = resource.entries.into_iter();
    entries
        .find(|entry| entry.name == name)
        .expect("the setting is there")
}

#[test]
fn settings_are_described_and_altered() {
    let mut broker = Broker::start("settings", 3, &["log.retention.hours=7"]);
    let address = broker.address().to_owned();
    create(&address, "t", 1, &[("max.message.bytes", "3000")]);
    let topic = ResourceSpecifier::Topic("t");
    let own = setting(&address, &topic, "max.message.bytes");
    assert_eq!(own.value.as_deref(), Some("3000"));
    assert_eq!(own.source, ConfigSource::DynamicTopic);
    let inherited = setting(&address, &topic, "retention.ms");
    assert_eq!(inherited.value.as_deref(), Some("25200000"));
    let default = setting(&address, &topic, "durability");
    assert_eq!(default.value.as_deref(), Some("disk"));
    assert_eq!(default.source, ConfigSource::Default);
    assert!(default.is_default && !default.is_read_only && !default.is_sensitive);

    let admin = admin(&address);
    // AlterConfigs replaces: what it does not name goes back to the default.
    let change = AlterConfig::new(topic).set("retention.ms", "99000");
    let answers = wait(admin.alter_configs([&change], &patient())).expect("an answer");
    assert_eq!(answers, [Ok(OwnedResourceSpecifier::Topic("t".to_owned()))]);
    let told = |broker: &Broker| {
        let of = ["retention.ms", "max.message.bytes"];
        of.map(|name| setting(broker.address(), &ResourceSpecifier::Topic("t"), name).value)
    };
    let expected = ["99000", "1048588"].map(|value| Some(value.to_owned()));
    assert_eq!(told(&broker), expected);
    let wrong = AlterConfig::new(ResourceSpecifier::Topic("t")).set("retention.ms", "x");
    // The crate passes on that there was an answer, but not what it says.
    wait(admin.alter_configs([&wrong], &patient())).expect("an answer");
    assert_eq!(told(&broker), expected);
    broker.kill();
    broker.start_again();
    assert_eq!(told(&broker), expected);

    let id = setting(&address, &ResourceSpecifier::Broker(1), "node.id");
    assert!(
        id.is_read_only && id.value.as_deref() == Some("1"),
        "{id:?}"
    );
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let mut broker = Broker::start("delete-records", 3, &[]);
    let address = broker.address().to_owned();
    create(&address, "t", 2, &[]);
    fill(&address, "t", 2, 100);
    let admin = admin(&address);
    let mut ask = TopicPartitionList::new();
    ask.add_partition_offset("t", 0, Offset::Offset(40))
        .expect("an offset");
    ask.add_partition_offset("t", 1, Offset::End)
        .expect("an offset");
    let told = wait(admin.delete_records(&ask, &patient())).expect("an answer");
    let lows: Vec<_> = told
        .elements()
        .iter()
        .map(|one| (one.offset(), one.error()))
        .collect();
    assert_eq!(
        lows,
        [(Offset::Offset(40), Ok(())), (Offset::Offset(100), Ok(()))]
    );
    let check = || {
        let consumer: BaseConsumer = config(&address).create().expect("a consumer");
        assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE), Ok((40, 100)));
        assert_eq!(consumer.fetch_watermarks("t", 1, PATIENCE), Ok((100, 100)));
        let seen = take(&reader(&address, "t", &[(0, Offset::Beginning)]), 60);
        let offsets: Vec<i64> = seen.iter().map(|one| one.offset).collect();
        assert_eq!(offsets, (40..100).collect::<Vec<_>>());
    };
    check();
    broker.kill();
    broker.start_again();
    check();

    let mut beyond = TopicPartitionList::new();
    beyond
        .add_partition_offset("t", 0, Offset::Offset(101))
        .expect("an offset");
    let told = wait(admin.delete_records(&beyond, &patient())).expect("an answer");
    let error = told.elements()[0].error();
    let wrong = Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetOutOfRange));
    assert_eq!(error, wrong);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let broker = Broker::start("groups-admin", 3, &["group.initial.rebalance.delay.ms=0"]);
    let address = broker.address();
    create(address, "t", 2, &[]);
    fill(address, "t", 2, 10);
    let member: BaseConsumer = config(address)
        .set("group.id", "g")
        .set("client.id", "someone")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    member.subscribe(&["t"]).expect("subscribed");
    assert_eq!(take(&member, 20).len(), 20);
    member
        .commit_consumer_state(CommitMode::Sync)
        .expect("committed");

    let other: BaseConsumer = config(address).create().expect("a consumer");
    let list = other.fetch_group_list(None, PATIENCE).expect("groups");
    let [group] = list.groups() else {
        panic!("{} groups", list.groups().len());
    };
    assert_eq!((group.name(), group.state()), ("g", "Stable"));
    assert_eq!(
        (group.protocol_type(), group.protocol()),
        ("consumer", "range")
    );
    let [only] = group.members() else {
        panic!("{} members", group.members().len());
    };
    assert_eq!(only.client_id(), "someone");
    assert!(
        only.client_host().contains("127."),
        "{}",
        only.client_host()
    );
    assert!(only.assignment().is_some_and(|bytes| !bytes.is_empty()));

    let admin = admin(address);
    let answers = wait(admin.delete_groups(&["g", "h"], &patient())).expect("answers");
    let expected = [
        Err(("g".to_owned(), RDKafkaErrorCode::NonEmptyGroup)),
        Err(("h".to_owned(), RDKafkaErrorCode::GroupIdNotFound)),
    ];
    assert_eq!(answers, expected);
    drop(member);
    until("an empty group", || {
        let list = other.fetch_group_list(Some("g"), PATIENCE).ok()?;
        (list.groups().first()?.state() == "Empty").then_some(())
    });
    let answers = wait(admin.delete_groups(&["g"], &patient())).expect("answers");
    assert_eq!(answers, [Ok("g".to_owned())]);
    let list = other.fetch_group_list(None, PATIENCE).expect("groups");
    assert!(list.groups().is_empty());
}
