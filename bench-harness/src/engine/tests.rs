//! Runs against a small broker in memory that can misbehave.

use super::*;
use crate::batch::views;
use crate::model::{Idle, Keys};
use net::wire::api::ApiKey;
use net::wire::{
    Reader, RequestHeader, Str, Writer, create_topics, delete_topics, encode_response_header,
    fetch, list_offsets, metadata, produce,
};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    /// Closes the connection at the 50th Produce.
    Closes,
    /// Answers every Produce from the 50th on with an error.
    Refuses,
    /// Answers the 300th Produce 300 ms later.
    Stalls,
    /// Takes 20 ms for each request.
    Slow,
    /// Acknowledges the 50th Produce without keeping it.
    Forgets,
    /// Answers Produce after 2 ms, one after the other.
    Far,
    /// Does not lead its partitions until it was asked for their ends five times.
    Young,
}

struct Memory {
    port: u16,
    manner: Manner,
    produces: u32,
    asked_ends: u32,
    /// By topic and partition: batches with their offsets, and the next offset.
    logs: BTreeMap<(String, i32), (Vec<u8>, i64)>,
}

fn serve(manner: Manner) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let memory = Arc::new(Mutex::new(Memory {
        port,
        manner,
        produces: 0,
        asked_ends: 0,
        logs: BTreeMap::new(),
    }));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let memory = Arc::clone(&memory);
            thread::spawn(move || connection(stream, &memory));
        }
    });
    Target {
        address: format!("127.0.0.1:{port}"),
        cores: Vec::new(),
    }
}

fn connection(mut stream: TcpStream, memory: &Mutex<Memory>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut request = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut request)?;
        let Some(answer) = answer(request, memory) else {
            return Ok(());
        };
        stream.write_all(&(answer.len() as u32).to_be_bytes())?;
        stream.write_all(&answer)?;
    }
}

fn answer(request: Vec<u8>, memory: &Mutex<Memory>) -> Option<Vec<u8>> {
    let mut reader = Reader::new(request.into());
    let header = RequestHeader::decode(&mut reader).expect("a good header");
    let (key, version) = (header.api_key, header.api_version);
    let mut writer = Writer::new();
    encode_response_header(&mut writer, key, version, header.correlation_id);
    match key {
        ApiKey::Produce => {
            let asked = produce::Request::decode(&mut reader, version).expect("a good request");
            produced(asked, memory)?.encode(&mut writer, version);
        }
        ApiKey::Fetch => {
            let asked = fetch::Request::decode(&mut reader, version).expect("a good request");
            fetched(&asked, memory).encode(&mut writer, version);
        }
        ApiKey::Metadata => {
            let asked = metadata::Request::decode(&mut reader, version).expect("a good request");
            described(&asked, memory).encode(&mut writer, version);
        }
        ApiKey::CreateTopics => {
            let asked = create_topics::Request::decode(&mut reader, version).expect("good");
            let mut memory = memory.lock().expect("no thread failed");
            for topic in asked.topics {
                for partition in 0..topic.num_partitions {
                    let empty = (Vec::new(), 0);
                    memory
                        .logs
                        .insert((topic.name.to_string(), partition), empty);
                }
            }
            create_topics::Response::default().encode(&mut writer, version);
        }
        ApiKey::DeleteTopics => delete_topics::Response::default().encode(&mut writer, version),
        ApiKey::ListOffsets => {
            let asked = list_offsets::Request::decode(&mut reader, version).expect("good");
            ends(&asked, memory).encode(&mut writer, version);
        }
        other => panic!("{other:?} is not expected"),
    }
    Some(writer.into_bytes().to_vec())
}

fn produced(asked: produce::Request, memory: &Mutex<Memory>) -> Option<produce::Response> {
    let (number, manner, young) = {
        let mut memory = memory.lock().expect("no thread failed");
        memory.produces += 1;
        let young = memory.manner == Manner::Young && memory.asked_ends < 5;
        (memory.produces, memory.manner, young)
    };
    match manner {
        Manner::Closes if number == 50 => return None,
        Manner::Stalls if number == 300 => thread::sleep(Duration::from_millis(300)),
        Manner::Slow => thread::sleep(Duration::from_millis(20)),
        Manner::Far => thread::sleep(Duration::from_millis(2)),
        _ => {}
    }
    let refused = young || (manner == Manner::Refuses && number >= 50);
    let forgotten = manner == Manner::Forgets && number == 50;
    let mut memory = memory.lock().expect("no thread failed");
    let responses = asked.topic_data.into_iter().map(|topic| {
        let parts = topic.partition_data.into_iter().map(|part| {
            let bytes = part
                .records
                .map_or_else(Vec::new, |all| all.into_bytes().to_vec());
            let log = memory.logs.get_mut(&(topic.name.to_string(), part.index));
            let (log, next) = log.expect("the topic was made");
            for batch in views(&bytes).filter(|_| !refused && !forgotten) {
                assert!(batch.sound());
                let at = log.len();
                log.extend_from_slice(&bytes);
                log[at..at + 8].copy_from_slice(&next.to_be_bytes());
                *next += i64::from(batch.count());
            }
            produce::PartitionProduceResponse {
                index: part.index,
                error_code: match (refused, young) {
                    (_, true) => 6,
                    (true, _) => 56,
                    _ => 0,
                },
                ..Default::default()
            }
        });
        produce::TopicProduceResponse {
            partition_responses: parts.collect(),
            name: topic.name.clone(),
            ..Default::default()
        }
    });
    Some(produce::Response {
        responses: responses.collect(),
        ..Default::default()
    })
}

fn fetched(asked: &fetch::Request, memory: &Mutex<Memory>) -> fetch::Response {
    thread::sleep(Duration::from_millis(1));
    let memory = memory.lock().expect("no thread failed");
    let responses = asked.topics.iter().map(|topic| {
        let parts = topic.partitions.iter().map(|part| {
            let (log, next) = &memory.logs[&(topic.topic.to_string(), part.partition)];
            let mut skipped = 0;
            for batch in views(log) {
                if batch.base_offset() + i64::from(batch.count()) > part.fetch_offset {
                    break;
                }
                skipped += batch.len();
            }
            fetch::PartitionData {
                partition_index: part.partition,
                high_watermark: *next,
                records: Some(bytes::Bytes::copy_from_slice(&log[skipped..]).into()),
                ..Default::default()
            }
        });
        fetch::FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: parts.collect(),
            ..Default::default()
        }
    });
    fetch::Response {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn described(asked: &metadata::Request, memory: &Mutex<Memory>) -> metadata::Response {
    let memory = memory.lock().expect("no thread failed");
    let topics = asked.topics.iter().flatten().map(|topic| {
        let name = topic.name.clone().unwrap_or_default();
        let own = memory
            .logs
            .keys()
            .filter(|(other, _)| name == other.as_str());
        let parts = own.map(|(_, partition)| metadata::MetadataResponsePartition {
            partition_index: *partition,
            ..Default::default()
        });
        metadata::MetadataResponseTopic {
            name: Some(name.clone()),
            partitions: parts.collect(),
            ..Default::default()
        }
    });
    metadata::Response {
        brokers: vec![metadata::MetadataResponseBroker {
            host: Str::from_static("127.0.0.1"),
            port: i32::from(memory.port),
            ..Default::default()
        }],
        topics: topics.collect(),
        ..Default::default()
    }
}

fn ends(asked: &list_offsets::Request, memory: &Mutex<Memory>) -> list_offsets::Response {
    let mut memory = memory.lock().expect("no thread failed");
    memory.asked_ends += 1;
    let young = memory.manner == Manner::Young && memory.asked_ends < 5;
    let topics = asked.topics.iter().map(|topic| {
        let parts = topic.partitions.iter().map(|part| {
            let (_, next) = &memory.logs[&(topic.name.to_string(), part.partition_index)];
            list_offsets::ListOffsetsPartitionResponse {
                partition_index: part.partition_index,
                error_code: if young { 6 } else { 0 },
                offset: *next,
                ..Default::default()
            }
        });
        list_offsets::ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: parts.collect(),
        }
    });
    list_offsets::Response {
        topics: topics.collect(),
        ..Default::default()
    }
}

struct Seen(Vec<&'static str>);

impl Observer for Seen {
    fn began(&mut self) {
        self.0.push("began");
    }

    fn second(&mut self, _: &mut Interval) {
        self.0.push("second");
    }

    fn ended(&mut self) -> Option<Cost> {
        self.0.push("ended");
        None
    }
}

fn workload() -> Workload {
    Workload {
        partitions_per_topic: 3,
        record_bytes: 100,
        linger: Duration::ZERO,
        pace: Pace::Rate {
            records_per_s: 1000.0,
        },
        warmup: Duration::ZERO,
        measured: Duration::from_secs(1),
        idle: Idle::Park,
        ..crate::workload::preset("produce").expect("it is built in")
    }
}

fn run_with(workload: &Workload, manner: Manner) -> Run {
    run(workload, &serve(manner), &mut Seen(Vec::new())).expect("the run takes place")
}

fn fatal(run: &Run, part: &str) -> bool {
    run.doubts
        .iter()
        .any(|doubt| doubt.fatal && doubt.what.contains(part))
}

#[test]
fn every_record_is_acknowledged_and_consumed_once() {
    for keys in [Keys::None, Keys::Random { distinct: 50 }] {
        let workload = Workload {
            keys,
            producers_per_topic: 3,
            subscriptions_per_topic: 2,
            consumers_per_subscription: 2,
            generator_threads: 2,
            ..workload()
        };
        let mut seen = Seen(Vec::new());
        let run = run(&workload, &serve(Manner::Good), &mut seen).expect("a good run");
        // A machine that is busy with other tests may make the generator late.
        let late = |doubt: &Doubt| doubt.what.starts_with("The generator was late");
        let doubts = run.doubts.iter();
        assert!(
            doubts.clone().all(|doubt| !doubt.fatal || late(doubt)),
            "{doubts:?}"
        );
        assert!(run.counts.intended > 800, "{:?}", run.counts);
        assert_eq!(run.ack.count, run.counts.intended);
        assert_eq!(run.send_delay.count, run.counts.intended);
        assert_eq!(run.end_to_end.count, 2 * run.counts.intended);
        assert_eq!((seen.0[0], run.intervals.len()), ("began", 1));
    }
}

/// The broker answers one request 300 ms late, and some 300 records are due meanwhile.
#[test]
fn a_stall_counts_for_every_record_that_was_due() {
    let run = run_with(
        &Workload {
            in_flight_max: 1,
            ..workload()
        },
        Manner::Stalls,
    );
    let slow = |us| run.ack.buckets.iter().filter(move |(value, _)| *value > us);
    let count = |us| slow(us).map(|(_, count)| count).sum::<u64>();
    assert!(run.ack.max_us >= 290_000, "{}", run.ack.max_us);
    assert!(count(50_000) >= 180, "{}", count(50_000));
    assert!(count(150_000) >= 90, "{}", count(150_000));
    assert!(run.counts.stalls >= 1 && run.counts.longest_stall_ms >= 290);
}

#[test]
fn what_goes_wrong_makes_the_figures_not_valid() {
    for (manner, part) in [
        (Manner::Closes, "NETWORK_EXCEPTION"),
        (Manner::Refuses, "KAFKA_STORAGE_ERROR"),
        (Manner::Forgets, "not in the broker's log"),
    ] {
        let run = run_with(&workload(), manner);
        assert!(fatal(&run, part), "{:?}", run.doubts);
    }
}

/// Batches that are due but cannot leave grow: 5 requests in flight are enough for a broker that
/// answers 500 a second.
#[test]
fn back_pressure_makes_batches_larger() {
    let workload = Workload {
        pace: Pace::Rate {
            records_per_s: 20_000.0,
        },
        in_flight_max: 5,
        ..workload()
    };
    let run = run_with(&workload, Manner::Far);
    assert!(run.counts.errors.is_empty(), "{:?}", run.counts);
    assert!(!fatal(&run, "of the asked"), "{:?}", run.doubts);
    assert_eq!(run.ack.count, run.counts.intended);
    assert!(run.counts.produce_requests <= 1_000, "{:?}", run.counts);
}

#[test]
fn a_new_topic_is_waited_for_until_it_is_led() {
    let run = run_with(&workload(), Manner::Young);
    assert!(run.counts.errors.is_empty(), "{:?}", run.counts);
    assert_eq!(run.ack.count, run.counts.intended);
}

#[test]
fn a_rate_that_the_broker_cannot_keep_is_not_valid() {
    let slow = Workload {
        in_flight_max: 1,
        batch_bytes: 400,
        ..workload()
    };
    let run = run_with(&slow, Manner::Slow);
    assert!(
        fatal(&run, "of the asked 1000 records/s"),
        "{:?}",
        run.doubts
    );
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let target = Target {
        address: "127.0.0.1:1".to_owned(),
        cores: Vec::new(),
    };
    let began = Instant::now();
    let failure = run(&workload(), &target, &mut Seen(Vec::new())).expect_err("nobody listens");
    assert!(failure.to_string().contains("127.0.0.1:1"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_cannot_be_run_is_refused() {
    for (bad, part) in [
        (
            Workload {
                record_bytes: 15,
                ..workload()
            },
            "16 bytes",
        ),
        (
            Workload {
                compression: "lz4".to_owned(),
                ..workload()
            },
            "lz4",
        ),
        (
            Workload {
                acks: 2,
                ..workload()
            },
            "acks 2",
        ),
        (
            Workload {
                topics: 0,
                ..workload()
            },
            "0 topics",
        ),
        (
            Workload {
                pace: Pace::Maximum,
                batch_bytes: 65_536,
                in_flight_max: 100_000,
                ..workload()
            },
            "fill the memory",
        ),
    ] {
        let failure = setup::check(&bad).expect_err(part);
        assert!(failure.to_string().contains(part), "{failure}");
    }
}

/// At a rate the rate bounds what is on its way; the limit of the generator has no rate.
#[test]
fn many_requests_in_flight_do_not_fill_the_memory_at_full_speed() {
    let workload = Workload {
        batch_bytes: 65_536,
        in_flight_max: 100_000,
        ..workload()
    };
    assert!(matches!(workload.pace, Pace::Rate { .. }));
    assert_eq!(headroom::in_flight_max(&workload), 4096);
    let few = Workload {
        in_flight_max: 5,
        ..workload
    };
    assert_eq!(headroom::in_flight_max(&few), 5);
}

#[test]
fn a_run_ends_when_more_waits_than_is_held_back() {
    let slow = Workload {
        in_flight_max: 1,
        batch_bytes: 400,
        ..workload()
    };
    let target = serve(Manner::Slow);
    let mut control = Control::open(&target.address).expect("a connection");
    let topics = setup::topic_names(&slow, 1);
    let partitions = slow.partitions_per_topic;
    let cluster = create_topics(&mut control, &topics, partitions, &slow.topic_settings);
    let mut plan = setup::plan(&slow, &topics, cluster.expect("made"), 1);
    plan.held_bytes_max = 10_000;
    let run = perform(&plan, &target, &mut Seen(Vec::new()), &mut control);
    let run = run.expect("the run takes place");
    assert!(fatal(&run, "holds back"), "{:?}", run.doubts);
}

#[test]
fn a_seed_repeats_the_schedule() {
    let seeded = |seed| {
        let workload = Workload {
            seed: Some(seed),
            ..workload()
        };
        run_with(&workload, Manner::Good).counts.intended
    };
    let first = seeded(7);
    assert_eq!(first, seeded(7));
    assert!((1..=4).any(|other| seeded(other) != first));
}

#[test]
fn windows_are_made_of_seconds_and_lose_none_of_them() {
    let mut story = Story::new();
    for number in 1..=65_u64 {
        let mut second = Second::new();
        second.acked = number;
        second.ack.add(0, number * 1_000_000, 1);
        let mut interval = second.interval(number as f64);
        interval.broker_descriptors = Some(number);
        story.second(interval, second);
    }
    let acked: Vec<u64> = story.windows.iter().map(|window| window.acked).collect();
    assert_eq!(acked, [(1..=30).sum::<u64>(), (31..=60).sum()]);
    let last = &story.windows[1];
    assert_eq!((last.at_s, last.broker_descriptors), (60.0, Some(60)));
    assert!((59_000..=60_100).contains(&last.ack_p999_us), "{last:?}");
    story.total.merge(story.window);
    assert_eq!(story.total.acked, (1..=65).sum::<u64>());
}
