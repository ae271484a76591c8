//! Acknowledgements, repeats, codecs and limits of produce requests.

use bytes::Bytes;
use net::wire::api::ApiKey;
use net::wire::{Str, describe_configs, produce};
use storage::batch::{self, Builder, Codec, Compression};

use super::stand::{End, MS, Stand, ask, batches_of, bytes_of, fetch_request, produce_request};
use crate::client::Client;

const REQUEST_TIMED_OUT: i16 = 7;

fn first(answer: &produce::Response) -> (i16, i64) {
    let part = &answer.responses[0].partition_responses[0];
    (part.error_code, part.base_offset)
}

#[test]
fn a_timeout_shorter_than_a_flush_fails_nothing() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    stand.world.settings().latency_ns = 20 * MS;
    for (acks, offset) in [(1, 0), (-1, 1)] {
        let request = produce_request(("t", 0), stand.batch(1, 10), acks, 0);
        let answer = ask!(stand, client, Produce 9, produce, request);
        assert_eq!(first(&answer), (0, offset));
    }
}

#[test]
fn without_acknowledgements_only_an_error_is_noticed() {
    let mut stand = Stand::new(2, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 2, &[]), 0);
    let send = |stand: &mut Stand, client: &mut Client, partition| {
        let request = produce_request(("t", partition), stand.batch(1, 10), 0, 0);
        client.send_unanswered(&mut stand.world, (ApiKey::Produce, 9), |w, v| {
            request.encode(w, v)
        });
        stand.world.pass(500 * MS);
    };
    for partition in [0, 1] {
        send(&mut stand, &mut client, partition);
        let request = fetch_request("t", &[(partition, 0, 1 << 20)], (1, 1 << 20, 1_000));
        let answer = ask!(stand, client, Fetch 11, fetch, request);
        assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);
    }
    send(&mut stand, &mut client, 2);
    assert!(
        client.is_gone(&mut stand.world),
        "closing is all that can tell of an error"
    );
}

#[test]
fn a_repeat_of_a_batch_in_flight_is_answered_with_the_original() {
    let mut stand = Stand::new(3, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 3, &[]), 0);
    let id = stand.producer_id(&mut client);
    stand.world.settings().latency_ns = 50 * MS;
    for partition in 0..3 {
        let mut other = stand.client();
        let request = |sequence| {
            let builder = Builder::new(Compression::None).producer(id, 0, sequence);
            produce_request(("t", partition), stand.batch_of(builder, 2, 10), -1, 30_000)
        };
        let (one, two) = (request(0), request(2));
        for request in [&one, &two, &one, &two] {
            client.send(&mut stand.world, (ApiKey::Produce, 9), 0, |w, v| {
                request.encode(w, v)
            });
        }
        // A client that has connected anew repeats as well.
        stand.world.pass(MS);
        other.send(&mut stand.world, (ApiKey::Produce, 9), 0, |w, v| {
            two.encode(w, v)
        });
        let mut offsets = Vec::new();
        for from in [&mut client, &mut other] {
            while let Some(mut reply) = stand.reply(from, 2_000) {
                let answer = produce::Response::decode(&mut reply.body, 9).unwrap();
                offsets.push(first(&answer));
            }
        }
        assert_eq!(offsets, [(0, 0), (0, 2), (0, 0), (0, 2), (0, 2)]);
        let request = fetch_request("t", &[(partition, 0, 1 << 20)], (1, 1 << 20, 0));
        let answer = ask!(stand, client, Fetch 11, fetch, request);
        let stored = bytes_of(&answer.responses[0].partitions[0]);
        assert_eq!(batches_of(&stored), [(0, 2), (2, 2)]);
    }
}

#[test]
fn a_topics_codec_holds_for_idempotent_producers_too() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    let id = stand.producer_id(&mut client);
    let codecs = [
        ("uncompressed", Codec::None),
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ];
    let sent = [
        Compression::None,
        Compression::Gzip { level: -1 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
    ];
    for (topic, codec) in codecs {
        assert_eq!(
            stand.create(&mut client, topic, 1, &[("compression.type", topic)]),
            0
        );
        let batches: Vec<_> = (0..)
            .zip(sent)
            .map(|(at, compression)| {
                let builder = Builder::new(compression).producer(id, 0, 3 * at);
                stand.batch_of(builder, 3, 200)
            })
            .collect();
        for (at, batch) in (0..).zip(&batches) {
            let place = stand.produce(&mut client, (topic, 0), batch.clone());
            assert_eq!(place, (0, 3 * at), "{codec:?}");
        }
        for life in 0..2 {
            let request = fetch_request(topic, &[(0, 0, 1 << 20)], (1, 1 << 20, 0));
            let answer = ask!(stand, client, Fetch 11, fetch, request);
            let stored = bytes_of(&answer.responses[0].partitions[0]);
            for stored in batch::batches(&stored) {
                let stored = stored.unwrap();
                assert!(batch::check_crc(stored.bytes));
                let summary = stored.summary();
                assert_eq!(summary.attributes.codec(), Ok(codec));
                assert_eq!((summary.producer_id, summary.count), (id, 3));
                assert_eq!(i64::from(summary.base_sequence), summary.base_offset);
            }
            // The last one again, also after a crash.
            let again = stand.produce(&mut client, (topic, 0), batches[4].clone());
            assert_eq!(again, (0, 12), "{codec:?}, life {life}");
            if life == 0 {
                stand.restart(End::PowerCut);
                client = stand.client();
            }
        }
    }
}

/// The value and the source of a topic's setting.
fn described(stand: &mut Stand, client: &mut Client, name: &'static str) -> (String, i8) {
    let request = describe_configs::Request {
        resources: vec![describe_configs::DescribeConfigsResource {
            resource_type: 2,
            resource_name: Str::from_static("t"),
            configuration_keys: Some(vec![Str::from_static(name)]),
        }],
        ..Default::default()
    };
    let answer = ask!(stand, client, DescribeConfigs 4, describe_configs, request);
    let entry = &answer.results[0].configs[0];
    (
        entry.value.as_ref().unwrap().to_string(),
        entry.config_source,
    )
}

#[test]
fn limits_hold_from_the_moment_they_are_set_and_after_a_restart() {
    let mut stand = Stand::new(2, &[]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 2, &[]), 0);
    let verdicts = |stand: &mut Stand, client: &mut Client| -> [i16; 2] {
        [0, 1].map(|partition| {
            let batch = stand.batch(1, 1_000);
            stand.produce(client, ("t", partition), batch).0
        })
    };
    assert_eq!(verdicts(&mut stand, &mut client), [0, 0]);
    // For all brokers, for this one, for the topic: each goes before the one before.
    let steps = [
        ((4, ""), "message.max.bytes", "500", [10, 10], ("500", 3)),
        ((4, "1"), "message.max.bytes", "5000", [0, 0], ("5000", 2)),
        ((2, "t"), "max.message.bytes", "400", [10, 10], ("400", 1)),
    ];
    for (resource, name, value, expected, (shown, source)) in steps {
        assert_eq!(stand.set(&mut client, resource, name, value), 0);
        for life in 0..2 {
            assert_eq!(
                verdicts(&mut stand, &mut client),
                expected,
                "{name}={value}, life {life}"
            );
            let told = described(&mut stand, &mut client, "max.message.bytes");
            assert_eq!(told, (shown.to_owned(), source));
            stand.restart([End::PowerCut, End::Clean][life]);
            client = stand.client();
        }
    }
}

fn log_start(stand: &mut Stand, client: &mut Client) -> i64 {
    let request = fetch_request("t", &[(0, i64::MAX, 1 << 20)], (0, 1 << 20, 0));
    // Out of range: the start is asked for by its marker.
    let answer = ask!(stand, client, Fetch 11, fetch, request);
    assert_eq!(answer.responses[0].partitions[0].error_code, 1);
    let request = net::wire::list_offsets::Request {
        replica_id: -1,
        topics: vec![net::wire::list_offsets::ListOffsetsTopic {
            name: Str::from_static("t"),
            partitions: vec![net::wire::list_offsets::ListOffsetsPartition {
                timestamp: -2,
                current_leader_epoch: -1,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let answer = ask!(stand, client, ListOffsets 7, list_offsets, request);
    answer.topics[0].partitions[0].offset
}

#[test]
fn retention_and_segment_settings_act_on_a_running_partition() {
    let mut stand = Stand::new(1, &[("log.retention.check.interval.ms", "1000")]);
    let mut client = stand.client();
    assert_eq!(stand.create(&mut client, "t", 1, &[]), 0);
    let fill = |stand: &mut Stand, client: &mut Client| {
        for _ in 0..30 {
            let batch = stand.batch(1, 100_000);
            assert_eq!(stand.produce(client, ("t", 0), batch).0, 0);
        }
        stand.world.pass(5_000 * MS);
    };
    fill(&mut stand, &mut client);
    assert_eq!(
        stand.set(&mut client, (2, "t"), "retention.bytes", "1500000"),
        0
    );
    stand.world.pass(5_000 * MS);
    assert_eq!(
        log_start(&mut stand, &mut client),
        0,
        "one segment of 3 MB holds all"
    );
    assert_eq!(
        stand.set(&mut client, (2, "t"), "segment.bytes", "1048576"),
        0
    );
    fill(&mut stand, &mut client);
    let start = log_start(&mut stand, &mut client);
    assert!(
        (30..=50).contains(&start),
        "size alone leaves 1.5 to 2.5 MB: {start}"
    );
    assert_eq!(stand.set(&mut client, (2, "t"), "retention.ms", "10000"), 0);
    stand.world.pass(12_000 * MS);
    assert_eq!(
        log_start(&mut stand, &mut client),
        60,
        "everything is too old"
    );
}

/// Bytes of all batches that the one topic holds.
fn bytes_held(stand: &mut Stand, client: &mut Client) -> i64 {
    let request = net::wire::describe_log_dirs::Request { topics: None };
    let answer = ask!(stand, client, DescribeLogDirs 4, describe_log_dirs, request);
    let topics = answer.results[0].topics.iter();
    let topic = topics.filter(|topic| &*topic.name == "t");
    topic.map(|topic| topic.partitions[0].partition_size).sum()
}

/// `UnifiedLog.deleteRetentionSizeBreachedSegments`: nothing may stay, then the active segment goes
/// as well, also one that holds only what is deleted already.
#[test]
fn retention_bytes_of_zero_empties_the_active_segment_too() {
    let mut stand = Stand::new(1, &[("log.retention.check.interval.ms", "1000")]);
    let mut client = stand.client();
    let nothing = [("retention.bytes", "0")];
    assert_eq!(stand.create(&mut client, "t", 1, &nothing), 0);
    for round in 1..=3 {
        for at in 0..5 {
            let batch = stand.batch(1, 10_000);
            let offset = 5 * (round - 1) + at;
            assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, offset));
        }
        stand.world.pass(5_000 * MS);
        assert_eq!(log_start(&mut stand, &mut client), 5 * round);
        assert_eq!(bytes_held(&mut stand, &mut client), 0);
        if round < 3 {
            stand.restart([End::Clean, End::PowerCut][(round % 2) as usize]);
            client = stand.client();
            assert_eq!(log_start(&mut stand, &mut client), 5 * round, "as before");
        }
    }
    assert_eq!(stand.set(&mut client, (2, "t"), "retention.bytes", "1"), 0);
    let batch = stand.batch(1, 10_000);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 15));
    stand.world.pass(5_000 * MS);
    assert_eq!(log_start(&mut stand, &mut client), 15, "more than may go");
    assert!(bytes_held(&mut stand, &mut client) > 10_000);
    let request = net::wire::delete_records::Request {
        topics: vec![net::wire::delete_records::DeleteRecordsTopic {
            name: Str::from_static("t"),
            partitions: vec![net::wire::delete_records::DeleteRecordsPartition {
                partition_index: 0,
                offset: -1,
            }],
        }],
        timeout_ms: 60_000,
    };
    let answer = ask!(stand, client, DeleteRecords 2, delete_records, request);
    assert_eq!(answer.topics[0].partitions[0].low_watermark, 16);
    assert!(bytes_held(&mut stand, &mut client) > 10_000);
    assert_eq!(stand.set(&mut client, (2, "t"), "retention.bytes", "0"), 0);
    stand.world.pass(5_000 * MS);
    assert_eq!(log_start(&mut stand, &mut client), 16);
    assert_eq!(bytes_held(&mut stand, &mut client), 0, "its space is free");
    let batch = stand.batch(1, 10);
    assert_eq!(stand.produce(&mut client, ("t", 0), batch), (0, 16));
}

/// A batch that waited for memory until its time was over must not leave the shard awake for ever:
/// the simulator ends a machine that never sleeps.
#[test]
fn a_batch_that_waited_for_memory_in_vain_leaves_nothing_behind() {
    let mut stand = Stand::new(1, &[]);
    let mut client = stand.client();
    let large = [("max.message.bytes", "60000000")];
    assert_eq!(stand.create(&mut client, "t", 2, &large), 0);
    // The first batch keeps the memory for large ones until its write is over.
    stand.world.settings().latency_ns = 60_000 * MS;
    for partition in [0, 1] {
        let request = produce_request(("t", partition), stand.batch(1, 20 << 20), -1, 0);
        client.send(&mut stand.world, (ApiKey::Produce, 9), 0, |w, v| {
            request.encode(w, v)
        });
    }
    for _ in 0..2 {
        let mut reply = stand.reply(&mut client, 40_000).expect("an answer in time");
        let answer = produce::Response::decode(&mut reply.body, 9).unwrap();
        assert_eq!(first(&answer), (REQUEST_TIMED_OUT, -1));
    }
    stand.world.pass(20_000 * MS);
}

/// One request with a batch for each of several partitions: good and bad ones, of every codec.
fn mixed_request() -> produce::Request {
    let batch = |codec, records: i32, bytes: usize| {
        let mut builder = Builder::new(codec);
        for at in 0..records {
            let value: Vec<u8> = (0..bytes as i32)
                .map(|byte| (byte.wrapping_mul(byte) + at) as u8)
                .collect();
            let header = (
                Bytes::from_static(b"name"),
                Some(Bytes::from_static(b"value")),
            );
            let headers = &[header][..usize::from(at % 9 == 8)];
            builder
                .append(1_000 + i64::from(at % 5), None, Some(&value), headers)
                .expect("a small batch");
        }
        builder.build().expect("a batch of records").to_vec()
    };
    let sealed = |mut batch: Vec<u8>| {
        let crc = crc32c::crc32c(&batch[batch::CRC_COVERS_FROM..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    };
    let plain = || batch(Compression::None, 300, 100);
    let (mut torn, mut broken, mut cut) = (plain(), plain(), plain());
    torn[20_000] ^= 1;
    // A whole record in the middle.
    broken[16_000..16_200].fill(0xff);
    cut.truncate(20_000);
    let batches = [
        plain(),
        batch(Compression::None, 2, 60_000),
        torn,
        sealed(broken),
        cut,
        [plain(), plain()].concat(),
        batch(Compression::Gzip { level: -1 }, 300, 100),
        batch(Compression::Snappy, 300, 100),
        batch(Compression::Lz4 { level: 9 }, 300, 100),
        batch(Compression::Zstd { level: 3 }, 300, 100),
        Vec::new(),
        batch(Compression::None, 3, 10),
    ];
    let part = |(index, batch): (i32, Vec<u8>)| produce::PartitionProduceData {
        index,
        records: Some(Bytes::from(batch).into()),
    };
    let data = |name| produce::TopicProduceData {
        name: Str::from_static(name),
        partition_data: (0..).zip(batches.clone()).map(part).collect(),
        ..Default::default()
    };
    produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: ["kept", "stamped", "packed"].map(data).to_vec(),
        ..Default::default()
    }
}

/// The network cuts a request into other pieces with every seed; the answer and what is stored are
/// the same.
#[test]
fn however_the_network_cuts_a_request_the_same_is_answered_and_stored() {
    let mut first_seen = None;
    for seed in 0..24 {
        let mut stand = Stand::seeded(seed, 1 + (seed % 2) as u16, &[]);
        let mut client = stand.client();
        let kept = ("retention.ms", "-1");
        let topics = [
            ("kept", kept),
            ("stamped", ("message.timestamp.type", "LogAppendTime")),
            ("packed", ("compression.type", "lz4")),
        ];
        for (topic, setting) in topics {
            assert_eq!(stand.create(&mut client, topic, 12, &[kept, setting]), 0);
        }
        let mut answer = ask!(stand, client, Produce 9, produce, mixed_request());
        let mut stored = Vec::new();
        for (topic, _) in topics {
            for partition in 0..12 {
                let request = fetch_request(topic, &[(partition, 0, 1 << 20)], (0, 1 << 20, 0));
                let found = ask!(stand, client, Fetch 11, fetch, request);
                let mut found = bytes_of(&found.responses[0].partitions[0]).to_vec();
                if topic == "stamped" && !found.is_empty() {
                    // What depends on the time of append: the latest time, and with it the CRC.
                    assert!(batch::check_crc(&found), "{topic}-{partition}");
                    found[17..21].fill(0);
                    found[35..43].fill(0);
                }
                stored.push(found);
            }
        }
        for part in &mut answer.responses[1].partition_responses {
            part.log_append_time_ms = part.log_append_time_ms.min(0);
        }
        let codes: Vec<i16> = answer.responses[0]
            .partition_responses
            .iter()
            .map(|part| part.error_code)
            .collect();
        const CORRUPT: i16 = 2;
        const INVALID: i16 = 87;
        let expected = [
            0, 0, CORRUPT, INVALID, INVALID, INVALID, 0, 0, 0, 0, INVALID, 0,
        ];
        assert_eq!(codes, expected, "seed {seed}");
        let seen = (answer, stored);
        assert_eq!(
            *first_seen.get_or_insert_with(|| seen.clone()),
            seen,
            "seed {seed}"
        );
    }
}
