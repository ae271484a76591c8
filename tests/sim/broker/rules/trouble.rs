//! What one failed or full place may cost the others: nothing.

use net::wire::api::ApiKey;
use net::wire::{Str, create_topics, produce};
use reactor::op::ErrorKind;
use reactor::sim::{Fault, FaultOn};

use super::stand::{End, MS, SECOND, Stand, ask, produce_request};
const STORAGE_ERROR: i16 = 56;
const TOPIC_EXISTS: i16 = 36;

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

fn fault(on: FaultOn, path_part: &str, kind: ErrorKind) -> Fault {
    Fault {
        on,
        path_part: path_part.to_owned(),
        after: 0,
        times: u32::MAX,
        kind,
    }
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
