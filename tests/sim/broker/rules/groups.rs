//! Groups through restarts, damage and a topic of offsets that must not grow.

use net::wire::api::ApiKey;
use net::wire::{Str, describe_groups, find_coordinator, heartbeat, join_group};
use net::wire::{offset_commit, offset_fetch, sync_group};
use ringlog::cluster::placement::group_partition;
use ringlog::coordinator::group::{CommitOffsets, CommitPartition, CommitTopic, GroupCall};
use ringlog::shard::mail::Call;

use super::stand::{End, MS, Stand, ask};
use crate::client::Client;

const NOT_COORDINATOR: i16 = 16;
const FENCED_INSTANCE_ID: i16 = 82;

/// Finds the coordinator, which makes the topic of offsets.
fn find(stand: &mut Stand, client: &mut Client) {
    let request = find_coordinator::Request {
        coordinator_keys: vec![Str::from_static("any")],
        ..Default::default()
    };
    let answer = ask!(stand, client, FindCoordinator 4, find_coordinator, request);
    assert_eq!(answer.coordinators[0].error_code, 0);
}

/// Commits without membership: offset and metadata of some partitions.
fn commit(
    stand: &mut Stand,
    client: &mut Client,
    (group, topic): (&str, &'static str),
    (partitions, offset, note): (i32, i64, &str),
) -> i16 {
    let part = |partition_index| offset_commit::OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        committed_metadata: Some(Str::from(note)),
        ..Default::default()
    };
    let request = offset_commit::Request {
        group_id: Str::from(group),
        generation_id_or_member_epoch: -1,
        topics: vec![offset_commit::OffsetCommitRequestTopic {
            name: Str::from_static(topic),
            partitions: (0..partitions).map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = ask!(stand, client, OffsetCommit 7, offset_commit, request);
    answer.topics[0].partitions[0].error_code
}

/// Error code of the request, offset and metadata of one partition.
fn committed(
    stand: &mut Stand,
    client: &mut Client,
    (group, topic): (&str, &'static str),
    partition: i32,
) -> (i16, i64, String) {
    let request = offset_fetch::Request {
        group_id: Str::from(group),
        topics: Some(vec![offset_fetch::OffsetFetchRequestTopic {
            name: Str::from_static(topic),
            partition_indexes: vec![partition],
        }]),
        ..Default::default()
    };
    let answer = ask!(stand, client, OffsetFetch 5, offset_fetch, request);
    match answer.topics.first() {
        None => (answer.error_code, -1, String::new()),
        Some(topic) => {
            let part = &topic.partitions[0];
            let note = part.metadata.as_deref().unwrap_or_default().to_owned();
            (answer.error_code, part.committed_offset, note)
        }
    }
}

fn join_request(group: &'static str, member: &Str) -> join_group::Request {
    join_group::Request {
        group_id: Str::from_static(group),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.clone(),
        group_instance_id: Some(Str::from_static("one")),
        protocol_type: Str::from_static("consumer"),
        protocols: vec![join_group::JoinGroupRequestProtocol {
            name: Str::from_static("range"),
            metadata: bytes::Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"),
        }],
        ..Default::default()
    }
}

fn beat(
    stand: &mut Stand,
    client: &mut Client,
    group: &'static str,
    (generation_id, member_id): (i32, &Str),
) -> i16 {
    let request = heartbeat::Request {
        group_id: Str::from_static(group),
        generation_id,
        member_id: member_id.clone(),
        group_instance_id: Some(Str::from_static("one")),
    };
    ask!(stand, client, Heartbeat 3, heartbeat, request).error_code
}

#[test]
fn the_topic_of_offsets_stays_small_and_nothing_is_lost() {
    let mut stand = Stand::new(
        2,
        &[
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.segment.bytes", "1048576"),
        ],
    );
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 40, &[]), 0);
    find(&mut stand, &mut client);
    // One that is written once must outlive every rewriting.
    assert_eq!(
        commit(&mut stand, &mut client, ("once", "t"), (1, 7, "first")),
        0
    );
    let (mut written, mut largest) = (0, 0);
    for round in 0..400_i64 {
        let note = format!("{round:04000}");
        assert_eq!(
            commit(&mut stand, &mut client, ("often", "t"), (40, round, &note)),
            0
        );
        written += 40 * note.len() as u64;
        largest = largest.max(stand.world.disk().space_used("/disk"));
        if round % 100 == 50 {
            let how = [End::PowerCut, End::Clean][usize::from(round > 200)];
            stand.restart(how);
            client = stand.client();
            assert_eq!(
                committed(&mut stand, &mut client, ("often", "t"), 39),
                (0, round, note)
            );
            assert_eq!(
                committed(&mut stand, &mut client, ("once", "t"), 0),
                (0, 7, "first".to_owned())
            );
        }
    }
    assert!(
        written > 60_000_000 && largest < 30_000_000,
        "{written} bytes took {largest}"
    );
    for partition in 0..40 {
        let found = committed(&mut stand, &mut client, ("often", "t"), partition);
        assert_eq!((found.0, found.1), (0, 399));
    }
}

#[test]
fn a_static_member_keeps_its_generation_through_a_restart() {
    let mut stand = Stand::new(2, &[]);
    let mut client = stand.client();
    find(&mut stand, &mut client);
    let joined = ask!(stand, client, JoinGroup 7, join_group, join_request("g", &Str::default()));
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let request = sync_group::Request {
        group_id: Str::from_static("g"),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        group_instance_id: Some(Str::from_static("one")),
        assignments: vec![sync_group::SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: bytes::Bytes::from_static(b"all of it"),
        }],
        ..Default::default()
    };
    assert_eq!(
        ask!(stand, client, SyncGroup 3, sync_group, request).error_code,
        0
    );
    stand.restart(End::PowerCut);
    client = stand.client();
    let old = joined.member_id;
    assert_eq!(beat(&mut stand, &mut client, "g", (1, &old)), 0);
    // The process comes back without its member id: no rebalance, and the old id is fenced.
    let again = ask!(stand, client, JoinGroup 7, join_group, join_request("g", &Str::default()));
    assert_eq!((again.error_code, again.generation_id), (0, 1));
    assert_ne!(again.member_id, old);
    for life in 0..2 {
        assert_eq!(
            beat(&mut stand, &mut client, "g", (1, &old)),
            FENCED_INSTANCE_ID
        );
        assert_eq!(
            beat(&mut stand, &mut client, "g", (1, &again.member_id)),
            0,
            "life {life}"
        );
        let request = describe_groups::Request {
            groups: vec![Str::from_static("g")],
            ..Default::default()
        };
        let described = ask!(stand, client, DescribeGroups 5, describe_groups, request);
        let group = &described.groups[0];
        assert_eq!(&*group.group_state, "Stable");
        assert_eq!(&group.members[0].member_assignment[..], b"all of it");
        stand.restart(End::PowerCut);
        client = stand.client();
    }
    // Nobody comes back: the session ends, and the next generation is a higher one.
    stand.world.pass(70_000 * MS);
    let later = ask!(stand, client, JoinGroup 7, join_group, join_request("g", &Str::default()));
    assert_eq!(later.error_code, 0);
    assert!(later.generation_id > 1, "{}", later.generation_id);
}

#[test]
fn a_stop_answers_a_parked_join() {
    let mut stand = Stand::new(2, &[("group.initial.rebalance.delay.ms", "60000")]);
    let mut client = stand.client();
    find(&mut stand, &mut client);
    let request = join_request("g", &Str::default());
    client.send(&mut stand.world, (ApiKey::JoinGroup, 7), 0, |w, v| {
        request.encode(w, v)
    });
    assert!(
        stand.reply(&mut client, 500).is_none(),
        "the initial delay is a minute"
    );
    (0..2).for_each(|shard| stand.drain(shard));
    let mut reply = stand
        .reply(&mut client, 2_000)
        .expect("an answer before the end");
    let answer = join_group::Response::decode(&mut reply.body, 7).unwrap();
    assert_eq!(answer.error_code, NOT_COORDINATOR);
}

#[test]
fn offsets_of_a_deleted_topic_do_not_meet_its_namesake() {
    for shards in [1, 2, 3] {
        let mut stand = Stand::new(shards, &[]);
        let mut client = stand.client();
        assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
        find(&mut stand, &mut client);
        for group in ["a", "b", "c"] {
            assert_eq!(commit(&mut stand, &mut client, (group, "t"), (1, 5, "")), 0);
        }
        // The power goes as soon as the deletion is acknowledged.
        stand.world.settings().latency_ns = 100 * MS;
        assert_eq!(stand.delete(&mut client, "t"), 0);
        stand.world.settings().latency_ns = MS / 10;
        stand.restart(End::PowerCut);
        client = stand.client();
        assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
        for group in ["a", "b", "c"] {
            let (code, offset, _) = committed(&mut stand, &mut client, (group, "t"), 0);
            assert_eq!((code, offset), (0, -1), "{group} on {shards} shards");
        }
    }
}

/// A commit that was on its way to the group's shard when the topic was deleted.
#[test]
fn a_late_commit_leaves_no_offset_for_a_topic_that_is_gone() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    find(&mut stand, &mut client);
    for _ in 0..2 {
        assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
        let place = ("g", "t");
        assert_eq!(
            commit(&mut stand, &mut client, place, (1, 7, "")),
            0,
            "there is a topic"
        );
        let found = committed(&mut stand, &mut client, place, 0);
        assert_eq!(found, (0, 7, String::new()));
        assert_eq!(stand.delete(&mut client, "t"), 0);
        let commit = CommitOffsets {
            group: Some("g".into()),
            generation: -1,
            topics: vec![CommitTopic {
                name: "t".into(),
                partitions: vec![CommitPartition {
                    offset: 8,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        stand.call(Call::Group {
            partition: group_partition("g", 3),
            call: Box::new(GroupCall::CommitOffsets(commit)),
        });
        stand.world.pass(100 * MS);
        assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
        let found = committed(&mut stand, &mut client, place, 0);
        assert_eq!(found, (0, -1, String::new()));
        assert_eq!(stand.delete(&mut client, "t"), 0);
        stand.restart(End::PowerCut);
        client = stand.client();
    }
}
