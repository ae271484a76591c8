//! Long polls, budgets, sessions and what an epoch tells.

use net::wire::api::ApiKey;
use net::wire::{Reader, Str, delete_records, describe_log_dirs, fetch, list_offsets, metadata};
use net::wire::{offset_for_leader_epoch, offset_for_leader_epoch as epochs};
use reactor::op::ErrorKind;
use reactor::sim::FaultOn;
use storage::batch::{Builder, Compression};

use super::stand::{End, MS, SECOND, Stand, ask, batches_of, bytes_of, fault, fetch_request};
use crate::client::Client;

const LONG_MS: i32 = 60_000;

fn send(stand: &mut Stand, client: &mut Client, version: i16, request: &fetch::Request) {
    client.send(&mut stand.world, (ApiKey::Fetch, version), 0, |w, v| {
        request.encode(w, v)
    });
}

fn decode(mut body: Reader, version: i16) -> fetch::Response {
    fetch::Response::decode(&mut body, version).expect("a response")
}

/// The answer to a parked fetch, which must come long before its time is over.
fn woken(stand: &mut Stand, client: &mut Client, version: i16) -> fetch::Response {
    let reply = stand.reply(client, 5_000);
    decode(reply.expect("the fetch is woken").body, version)
}

#[test]
fn enough_bytes_on_several_shards_together_wake_a_parked_fetch() {
    let mut stand = Stand::new(3, &[]);
    let (mut reader, mut writer) = (stand.client(), stand.client());
    assert_eq!(stand.create(&mut writer, "t", 6, &[]), 0);
    let all: Vec<_> = (0..6).map(|at| (at, 0, 1 << 20)).collect();
    // Bytes of one partition only, then of two.
    for (partitions, start) in [([0, 0, 0, 0], 0), ([1, 2, 1, 2], 4)] {
        let mut wanted = all.clone();
        wanted[0].1 = start;
        send(
            &mut stand,
            &mut reader,
            11,
            &fetch_request("t", &wanted, (1_500, 1 << 20, LONG_MS)),
        );
        for (at, partition) in partitions.into_iter().enumerate() {
            assert!(
                stand.reply(&mut reader, 200).is_none(),
                "after {at} batches of 500 bytes"
            );
            let batch = stand.batch(1, 430);
            assert_eq!(stand.produce(&mut writer, ("t", partition), batch).0, 0);
            if at == 2 {
                break;
            }
        }
        let response = woken(&mut stand, &mut reader, 11);
        let bytes: usize = response.responses[0]
            .partitions
            .iter()
            .map(|p| bytes_of(p).len())
            .sum();
        assert!(bytes >= 1_500, "{bytes} bytes were not enough to answer");
        let batch = stand.batch(1, 430);
        assert_eq!(stand.produce(&mut writer, ("t", 0), batch).0, 0);
    }
}

#[test]
fn deletion_of_records_or_of_the_topic_wakes_a_parked_fetch() {
    let mut stand = Stand::new(2, &[]);
    let (mut reader, mut writer) = (stand.client(), stand.client());
    for (name, partitions) in [("records", 1), ("topic", 2)] {
        assert_eq!(stand.create(&mut writer, name, partitions, &[]), 0);
        for _ in 0..3 {
            let batch = stand.batch(1, 100);
            assert_eq!(stand.produce(&mut writer, (name, 0), batch).0, 0);
        }
    }
    let much = (1 << 20, 1 << 20, LONG_MS);
    send(
        &mut stand,
        &mut reader,
        11,
        &fetch_request("records", &[(0, 1, 1 << 20)], much),
    );
    assert!(stand.reply(&mut reader, 200).is_none());
    let request = delete_records::Request {
        topics: vec![delete_records::DeleteRecordsTopic {
            name: Str::from_static("records"),
            partitions: vec![delete_records::DeleteRecordsPartition {
                partition_index: 0,
                offset: 2,
            }],
        }],
        timeout_ms: 60_000,
    };
    let deleted = ask!(stand, writer, DeleteRecords 2, delete_records, request);
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, 2);
    let response = woken(&mut stand, &mut reader, 11);
    assert_eq!(
        response.responses[0].partitions[0].error_code, 1,
        "OFFSET_OUT_OF_RANGE"
    );

    let both = [(0, 1, 1 << 20), (1, 0, 1 << 20)];
    send(
        &mut stand,
        &mut reader,
        11,
        &fetch_request("topic", &both, much),
    );
    assert!(stand.reply(&mut reader, 200).is_none());
    assert_eq!(stand.delete(&mut writer, "topic"), 0);
    let response = woken(&mut stand, &mut reader, 11);
    for part in &response.responses[0].partitions {
        assert_eq!(part.error_code, 3, "UNKNOWN_TOPIC_OR_PARTITION");
    }
}

fn ask_for_deletion(stand: &mut Stand, client: &mut Client, offset: i64) {
    let request = delete_records::Request {
        topics: vec![delete_records::DeleteRecordsTopic {
            name: Str::from_static("t"),
            partitions: vec![delete_records::DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: 60_000,
    };
    client.send(&mut stand.world, (ApiKey::DeleteRecords, 2), 0, |w, v| {
        request.encode(w, v)
    });
}

/// Whoever asks for a deletion that is on its way to the disk waits for it like the one before.
#[test]
fn a_repeated_deletion_of_records_is_answered_when_it_is_durable() {
    let mut stand = Stand::new(1, &[]);
    let mut clients: Vec<Client> = (0..3).map(|_| stand.client()).collect();
    assert_eq!(stand.create(&mut clients[0], "t", 1, &[]), 0);
    let batch = stand.batch(5, 10);
    assert_eq!(stand.produce(&mut clients[0], ("t", 0), batch), (0, 0));
    stand.world.pass(SECOND);
    stand.world.settings().latency_ns = 2 * SECOND;
    // The same again, and one that asks for less.
    for (client, offset) in clients.iter_mut().zip([4, 4, 3]) {
        ask_for_deletion(&mut stand, client, offset);
        let early = stand.reply(client, 100);
        assert!(early.is_none(), "up to {offset}, before it is durable");
    }
    for client in &mut clients {
        let reply = stand.reply(client, 20_000).expect("it becomes durable");
        let mut body = reply.body;
        let told = delete_records::Response::decode(&mut body, 2).expect("a response");
        let part = &told.topics[0].partitions[0];
        assert_eq!((part.error_code, part.low_watermark), (0, 4));
    }
    // What is durable is known at once.
    ask_for_deletion(&mut stand, &mut clients[0], 4);
    assert!(stand.reply(&mut clients[0], 100).is_some());
}

/// Nothing can become durable any more: nobody waits for it.
#[test]
fn a_deletion_of_records_after_the_journal_has_failed_is_refused() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    let batch = stand.batch(5, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    stand.world.pass(SECOND);
    let failing = fault(FaultOn::Write, "/journal/", ErrorKind::Medium);
    stand.world.disk().inject(failing);
    // The first one meets the failure, the second comes after it.
    for offset in [3, 4] {
        ask_for_deletion(&mut stand, &mut client, offset);
        let reply = stand.reply(&mut client, 5_000).expect("an answer");
        let mut body = reply.body;
        let told = delete_records::Response::decode(&mut body, 2).expect("a response");
        let part = &told.topics[0].partitions[0];
        assert_eq!(part.error_code, 56, "KAFKA_STORAGE_ERROR, up to {offset}");
    }
}

#[test]
fn a_log_directory_whose_journal_has_failed_is_told() {
    let mut stand = Stand::new(3, &[]);
    stand.world.disk().set_capacity("/disk", Some(1 << 30));
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 3, &[]), 0);
    let mut told = |stand: &mut Stand| {
        let request = describe_log_dirs::Request { topics: None };
        let answer = ask!(stand, client, DescribeLogDirs 4, describe_log_dirs, request);
        assert_eq!(answer.results.len(), 1);
        let result = &answer.results[0];
        let mut topics = result.topics.iter();
        let topic = topics.find(|topic| &*topic.name == "t");
        let used = stand.world.disk().space_used("/disk") as i64;
        assert_eq!(result.total_bytes, 1 << 30);
        assert_eq!(result.usable_bytes, (1 << 30) - used);
        (result.error_code, topic.map(|topic| topic.partitions.len()))
    };
    assert_eq!(told(&mut stand), (0, Some(3)));
    let failing = fault(FaultOn::Write, "/journal/", ErrorKind::Medium);
    stand.world.disk().inject(failing);
    let mut writer = stand.client();
    let batch = stand.batch(1, 10);
    let refused = stand.produce(&mut writer, ("t", 0), batch);
    assert_eq!(refused.0, 56, "KAFKA_STORAGE_ERROR");
    assert_eq!(told(&mut stand), (56, Some(3)));
}

#[test]
fn a_stop_answers_parked_fetches_and_those_that_come_too_late_to_park() {
    let mut stand = Stand::new(2, &[]);
    let mut clients: Vec<Client> = (0..8).map(|_| stand.client()).collect();
    assert_eq!(stand.create(&mut clients[0], "t", 2, &[]), 0);
    let request = fetch_request(
        "t",
        &[(0, 0, 1 << 20), (1, 0, 1 << 20)],
        (1, 1 << 20, LONG_MS),
    );
    // Both shards read for each request, and one of them is already stopping.
    for client in &mut clients[..4] {
        send(&mut stand, client, 11, &request);
    }
    stand.world.pass(50 * MS);
    stand.drain(1);
    stand.world.pass(50 * MS);
    let open: Vec<usize> = (4..8)
        .filter(|at| !clients[*at].is_gone(&mut stand.world))
        .collect();
    assert!(!open.is_empty(), "connections of the other shard");
    for at in &open {
        send(&mut stand, &mut clients[*at], 11, &request);
    }
    stand.world.pass(50 * MS);
    stand.drain(0);
    for at in (0..4).chain(open) {
        let response = stand.reply(&mut clients[at], 2_000);
        let response = decode(response.expect("an answer before the end").body, 11);
        let parts = &response.responses[0].partitions;
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.error_code == 0));
    }
}

#[test]
fn a_fetch_keeps_to_its_budgets_in_the_order_of_the_request() {
    let mut stand = Stand::new(3, &[("fetch.max.bytes", "4000")]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 3, &[]), 0);
    for partition in 0..3 {
        for _ in 0..3 {
            let batch = stand.batch(10, 90);
            assert_eq!(stand.produce(&mut client, ("t", partition), batch).0, 0);
        }
    }
    let mut counts = |parts: &[(i32, i64, i32)], most: i32| {
        let request = fetch_request("t", parts, (1, most, 0));
        let response = ask!(stand, client, Fetch 11, fetch, request);
        let mut counts = Vec::new();
        for part in &response.responses[0].partitions {
            assert_eq!(part.error_code, 0);
            counts.push((part.partition_index, batches_of(&bytes_of(part)).len()));
        }
        counts
    };
    let plenty = 1 << 20;
    // One batch is a little more than 1,000 bytes. The broker's own bound is 4,000.
    assert_eq!(
        counts(&[(2, 0, plenty), (0, 0, plenty), (1, 0, plenty)], plenty),
        [(2, 3), (0, 0), (1, 0)]
    );
    assert_eq!(
        counts(&[(0, 0, 1_500), (1, 0, 1_500), (2, 0, 1_500)], 2_500),
        [(0, 1), (1, 1), (2, 0)]
    );
    // The first batch of all comes whole, and only that one.
    assert_eq!(
        counts(&[(1, 0, 10), (0, 0, 10), (2, 0, 10)], 10),
        [(1, 1), (0, 0), (2, 0)]
    );
    assert_eq!(
        counts(&[(1, 30, plenty), (0, 0, 10), (2, 0, 10)], 10),
        [(1, 0), (0, 1), (2, 0)]
    );
}

#[test]
fn a_fetch_from_the_middle_of_a_batch_brings_the_whole_batch() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    for _ in 0..3 {
        let batch = stand.batch(10, 10);
        assert_eq!(stand.produce(&mut client, ("t", 0), batch).0, 0);
    }
    for isolation_level in [0, 1] {
        let request = fetch::Request {
            isolation_level,
            ..fetch_request("t", &[(0, 15, 1 << 20)], (1, 1 << 20, 0))
        };
        let response = ask!(stand, client, Fetch 11, fetch, request);
        let part = &response.responses[0].partitions[0];
        assert_eq!(batches_of(&bytes_of(part)), [(10, 10), (20, 10)]);
        assert_eq!((part.high_watermark, part.last_stable_offset), (30, 30));
        let named = part.aborted_transactions.is_some();
        assert_eq!(named, isolation_level == 1, "null unless the client asked");
    }
}

#[test]
fn sessions_tell_what_changed_and_there_are_as_many_as_the_setting_says() {
    let mut stand = Stand::new(1, &[("max.incremental.fetch.session.cache.slots", "1")]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 2, &[]), 0);
    let full = |session_epoch| fetch::Request {
        session_epoch,
        ..fetch_request("t", &[(0, 0, 1 << 20), (1, 0, 1 << 20)], (0, 1 << 20, 0))
    };
    let first = ask!(stand, client, Fetch 11, fetch, full(0));
    assert!(first.session_id > 0);
    assert_eq!(first.responses[0].partitions.len(), 2);
    let second = ask!(stand, client, Fetch 11, fetch, full(0));
    assert_eq!(second.session_id, 0, "the only slot is taken");
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 1), batch).0, 0);
    let next = |session_epoch| fetch::Request {
        session_id: first.session_id,
        session_epoch,
        min_bytes: 0,
        ..Default::default()
    };
    let changed = ask!(stand, client, Fetch 11, fetch, next(1));
    let told: Vec<i32> = changed.responses[0]
        .partitions
        .iter()
        .map(|p| p.partition_index)
        .collect();
    assert_eq!((changed.session_id, told), (first.session_id, vec![1]));
    assert_eq!(ask!(stand, client, Fetch 11, fetch, next(1)).error_code, 71);
}

/// Kafka 4.2 sends batches as they are, whatever the version of the request.
#[test]
fn a_client_too_old_for_zstd_is_served_like_any_other() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(
        stand.create(&mut client, "t", 1, &[("compression.type", "zstd")]),
        0
    );
    let batch = stand.batch(3, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    let request = || fetch_request("t", &[(0, 0, 1 << 20)], (1, 1 << 20, 0));
    let old = ask!(stand, client, Fetch 9, fetch, request());
    let new = ask!(stand, client, Fetch 10, fetch, request());
    for answer in [old, new] {
        let part = &answer.responses[0].partitions[0];
        assert_eq!(part.error_code, 0);
        assert_eq!(batches_of(&bytes_of(part)), [(0, 3)]);
    }
}

fn offset_of(stand: &mut Stand, client: &mut Client, timestamp: i64) -> (i64, i64, i32) {
    let request = list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::ListOffsetsTopic {
            name: Str::from_static("t"),
            partitions: vec![list_offsets::ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp,
            }],
        }],
        ..Default::default()
    };
    let answer = ask!(stand, client, ListOffsets 11, list_offsets, request);
    let part = &answer.topics[0].partitions[0];
    assert_eq!(part.error_code, 0);
    (part.offset, part.timestamp, part.leader_epoch)
}

#[test]
fn offsets_by_time_are_those_of_single_records() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    assert_eq!(offset_of(&mut stand, &mut client, -1), (0, -1, 0));
    assert_eq!(
        offset_of(&mut stand, &mut client, -2),
        (0, -1, 0),
        "the epoch to come"
    );
    let now = stand.world.now().wall_ms;
    for times in [[10, 30, 20], [15, 25, 30]] {
        for compression in [Compression::None, Compression::Lz4 { level: 9 }] {
            let mut builder = Builder::new(compression);
            for time in times {
                builder.append(now + time, None, Some(b"x"), &[]).unwrap();
            }
            let batch = builder.build().unwrap();
            assert_eq!(stand.produce(&mut client, ("t", 0), batch).0, 0);
        }
    }
    // Before and after the records lie on disk only.
    for _ in 0..2 {
        for (wanted, offset, time) in [(0, 0, 10), (11, 1, 30), (30, 1, 30), (31, -1, 0)] {
            let expected = match offset {
                -1 => (-1, -1, -1),
                _ => (offset, now + time, 0),
            };
            assert_eq!(
                offset_of(&mut stand, &mut client, now + wanted),
                expected,
                "{wanted}"
            );
        }
        assert_eq!(offset_of(&mut stand, &mut client, -1), (12, -1, 0));
        assert_eq!(offset_of(&mut stand, &mut client, -3), (1, now + 30, 0));
        assert_eq!(offset_of(&mut stand, &mut client, -4), (0, -1, 0));
        assert_eq!(offset_of(&mut stand, &mut client, -5), (-1, -1, -1));
        stand.restart(End::PowerCut);
        client = stand.client();
    }
}

fn leader_epoch(stand: &mut Stand, client: &mut Client) -> i32 {
    let request = metadata::Request {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some(Str::from_static("t")),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let answer = ask!(stand, client, Metadata 9, metadata, request);
    answer.topics[0].partitions[0].leader_epoch
}

fn epoch_end(stand: &mut Stand, client: &mut Client, epoch: i32) -> (i32, i64) {
    let request = offset_for_leader_epoch::Request {
        replica_id: -1,
        topics: vec![epochs::OffsetForLeaderTopic {
            topic: Str::from_static("t"),
            partitions: vec![epochs::OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: -1,
                leader_epoch: epoch,
            }],
        }],
    };
    let answer = ask!(stand, client, OffsetForLeaderEpoch 3, offset_for_leader_epoch, request);
    let part = &answer.topics[0].partitions[0];
    assert_eq!(part.error_code, 0);
    (part.leader_epoch, part.end_offset)
}

#[test]
fn records_lost_from_memory_end_their_epoch() {
    let lost = (0..20).filter(|seed| life_in_memory(*seed)).count();
    assert!(lost > 0, "no power cut has lost anything");
}

/// Returns whether the power cut has lost acknowledged records.
fn life_in_memory(seed: u64) -> bool {
    let mut stand = Stand::seeded(seed, 2, &[]);
    let mut client = stand.client();
    let memory = [("durability", "memory")];
    assert_eq!(stand.create(&mut client, "t", 1, &memory), 0);
    assert_eq!(epoch_end(&mut stand, &mut client, 0), (0, 0));
    let batch = stand.batch(5, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 0));
    stand.restart(End::Clean);
    client = stand.client();
    let epoch = leader_epoch(&mut stand, &mut client);
    assert_eq!(epoch, 0, "nothing can be lost by a clean stop");
    assert_eq!(epoch_end(&mut stand, &mut client, 0), (0, 5));
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 5));
    stand.world.pass(SECOND);
    // The power goes while the last batch is on its way to the disk.
    stand.world.settings().latency_ns = 2 * SECOND;
    let batch = stand.batch(5, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 6));
    stand.world.settings().latency_ns = MS / 10;
    stand.restart(End::PowerCut);
    client = stand.client();
    assert_eq!(leader_epoch(&mut stand, &mut client), 1);
    let (end, _, epoch) = offset_of(&mut stand, &mut client, -1);
    assert!(epoch == 1 && (6..=11).contains(&end), "{end}, {epoch}");
    // A consumer that had seen more than there is learns where to go on.
    assert_eq!(epoch_end(&mut stand, &mut client, 0), (0, end));
    assert_eq!(epoch_end(&mut stand, &mut client, 1), (1, end));
    let mut request = fetch_request("t", &[(0, end + 3, 1 << 20)], (1, 1 << 20, 0));
    request.topics[0].partitions[0].current_leader_epoch = 1;
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let answer = ask!(stand, client, Fetch 12, fetch, request);
    let part = &answer.responses[0].partitions[0];
    assert_eq!(part.error_code, 0);
    let diverging = &part.diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, end));
    let batch = stand.batch(2, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, end));
    assert_eq!(epoch_end(&mut stand, &mut client, 0), (0, end));
    assert_eq!(epoch_end(&mut stand, &mut client, 1), (1, end + 2));
    end < 11
}
