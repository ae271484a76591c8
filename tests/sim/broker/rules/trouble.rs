//! What one failed or full place may cost the others: nothing.

use net::wire::api::ApiKey;
use net::wire::{Str, create_topics, metadata, produce};
use reactor::op::ErrorKind;
use reactor::sim::FaultOn;
use ringlog::cluster::command::{Change, Command, Op, Resource, ResourceChange, TopicRef};
use ringlog::shard::mail::Call;

use super::stand::{End, MS, SECOND, Stand, ask, fault, produce_request};
use crate::client::Client;

const STORAGE_ERROR: i16 = 56;
const TOPIC_EXISTS: i16 = 36;
const REPLICAS: &str = "leader.replication.throttled.replicas";

fn create_request(name: &'static str) -> create_topics::Request {
    create_topics::Request {
        topics: vec![create_topics::CreatableTopic {
            name: Str::from_static(name),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 60_000,
        ..Default::default()
    }
}

fn error_of(stand: &mut Stand, client: &mut Client, topic: &'static str) -> i16 {
    let request = metadata::Request {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some(Str::from_static(topic)),
            ..Default::default()
        }]),
        ..Default::default()
    };
    ask!(stand, client, Metadata 10, metadata, request).topics[0].error_code
}

/// The journal of the partitions breaks while a topic is being made: that is written to a journal
/// of its own, and becomes durable. To call it failed would make the topic twice.
#[test]
fn a_broken_journal_refuses_no_write_of_another_one() {
    let mut struck = 0;
    for seed in 0..40 {
        let mut stand = Stand::seeded(seed, 1, &[]);
        let mut client = stand.client();
        let mut producer = stand.client();
        assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
        stand.world.pass(SECOND);
        let broken = fault(FaultOn::Write, "journal/0-", ErrorKind::Medium);
        stand.world.disk().inject(broken);
        let request = produce_request(("t", 0), stand.batch(1, 10), -1, 30_000);
        producer.send(&mut stand.world, (ApiKey::Produce, 9), 0, |w, v| {
            request.encode(w, v);
        });
        stand.world.pass(seed * MS / 100);
        let request = create_request("new");
        let answer = ask!(stand, client, CreateTopics 5, create_topics, request);
        assert_eq!(answer.topics[0].error_code, 0, "seed {seed}");
        let mut reply = stand.reply(&mut producer, 60_000).expect("an answer");
        let answer = produce::Response::decode(&mut reply.body, 9).expect("a response");
        let code = answer.responses[0].partition_responses[0].error_code;
        struck += u32::from(code == STORAGE_ERROR);
        stand.world.disk().heal();
        stand.restart(End::PowerCut);
        let mut client = stand.client();
        assert_eq!(stand.create(&mut client, "new", 1, &[]), TOPIC_EXISTS);
    }
    assert_eq!(struck, 40);
}

/// The full metadata log refuses a large write and would take a small one that came behind it.
/// The small one rests on the large one: neither may be in the log.
#[test]
fn a_refused_metadata_write_takes_those_behind_it_along() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    let metadata_log = "topics/00000000000000000000000000000001";
    let full = fault(FaultOn::Allocate, metadata_log, ErrorKind::NoSpace);
    stand.world.disk().inject(full);
    let large = vec!["0:1"; 1_000].join(",");
    let filled = (0..2_000).any(|at| {
        let value = format!("{at}:1,{large}");
        let code = stand.set(&mut client, (2, "t"), REPLICAS, &value);
        assert!(code == 0 || code == STORAGE_ERROR, "{code}");
        code == STORAGE_ERROR
    });
    assert!(filled, "the metadata log is never full");
    let change = Change {
        name: REPLICAS.to_owned(),
        op: Op::Set,
        value: Some(large),
    };
    let alter = Command::IncrementalAlterConfigs {
        resources: vec![ResourceChange {
            resource: Resource::Topic("t".to_owned()),
            changes: vec![change],
        }],
        validate_only: false,
    };
    let delete = Command::DeleteTopics {
        topics: vec![TopicRef::Name("t".to_owned())],
    };
    // Both in one step of the shard.
    stand.call(Call::Control(Box::new(alter)));
    stand.call(Call::Control(Box::new(delete)));
    stand.world.pass(SECOND);
    assert_eq!(error_of(&mut stand, &mut client, "t"), 0);
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 1));
    stand.world.disk().heal();
    stand.restart(End::PowerCut);
    // What was acknowledged is there.
    let mut client = stand.client();
    assert_eq!(error_of(&mut stand, &mut client, "t"), 0);
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 2));
    assert_eq!(stand.delete(&mut client, "t"), 0);
}
