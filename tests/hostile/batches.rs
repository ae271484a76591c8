//! Record batches that are not what they say they are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use net::wire::api::ApiKey;
use net::wire::produce;
use storage::batch::Compression;

use crate::broker::Broker;
use crate::client::{Client, PRODUCE, batch, batch_of, metadata_body, produce_to, request, stored};
use crate::witness::Witness;

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

/// Puts the right checksum onto a changed batch.
fn signed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A change of bytes from `at` on, with a right checksum.
fn changed(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    signed(batch)
}

/// The batch with `record` as its only record.
fn with_record(record: &[u8]) -> Vec<u8> {
    let mut made = batch(b"")[..61].to_vec();
    made.extend_from_slice(record);
    let length = i32::try_from(made.len() - 12).expect("a small batch");
    made[8..12].copy_from_slice(&length.to_be_bytes());
    signed(made)
}

fn bad_batches() -> Vec<(&'static str, Vec<u8>)> {
    let good = batch_of(Compression::None, &[b"one", b"two"]);
    let mut torn = good.clone();
    torn[17] ^= 1;
    let int = |value: i32| value.to_be_bytes();
    let mut bad = vec![
        ("a wrong checksum", torn),
        ("nothing", Vec::new()),
        ("half a header", good[..40].to_vec()),
        ("half a batch", good[..good.len() - 1].to_vec()),
        ("two batches", [&good[..], &good].concat()),
        ("magic 0", changed(&good, 16, &[0])),
        ("magic 1", changed(&good, 16, &[1])),
        ("magic 3", changed(&good, 16, &[3])),
        ("magic -1", changed(&good, 16, &[0xff])),
        ("no records", changed(&good, 57, &int(0))),
        ("minus records", changed(&good, 57, &int(-2))),
        ("many records", changed(&good, 57, &int(i32::MAX))),
        ("one record too many", changed(&good, 57, &int(3))),
        ("one record too few", changed(&good, 57, &int(1))),
        ("a negative last delta", changed(&good, 23, &int(-1))),
        ("a huge last delta", changed(&good, 23, &int(i32::MAX))),
        ("an unknown codec", changed(&good, 22, &[7])),
        ("a control batch", changed(&good, 22, &[0x20])),
    ];
    for length in [0, -1, i32::MIN, i32::MAX, 48, 49, 10_000] {
        bad.push(("a wrong length", changed(&good, 8, &int(length))));
    }
    for codec in 1..=4 {
        bad.push((
            "a codec's name on plain bytes",
            changed(&good, 22, &[codec]),
        ));
    }
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let records: [(&str, Vec<u8>); 8] = [
        ("a record of negative length", vec![1]),
        ("a record of huge length", [&huge[..], &[0; 10]].concat()),
        ("a varint without end", vec![0xff; 12]),
        ("a negative offset delta", vec![14, 0, 0, 1, 1, 2, b'v', 0]),
        (
            "a huge offset delta",
            [&[22, 0, 0][..], &huge, &[1, 2, b'v', 0]].concat(),
        ),
        (
            "a value beyond the record",
            vec![14, 0, 0, 0, 1, 120, b'v', 0],
        ),
        ("a negative header count", vec![14, 0, 0, 0, 1, 2, b'v', 1]),
        (
            "headers beyond the record",
            vec![14, 0, 0, 0, 1, 2, b'v', 90],
        ),
    ];
    bad.extend(records.map(|(what, record)| (what, with_record(&record))));
    bad
}

#[test]
fn a_bad_batch_is_refused_and_leaves_nothing_behind() {
    let mut broker = Broker::start("batches", &[]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("bad", 1, &[]);
    let good = with_record(&[14, 0, 0, 0, 1, 2, b'v', 0]);
    assert_eq!(
        client.produce("bad", 0, &good),
        (0, 0),
        "what the bad records are made from"
    );
    for (what, bytes) in bad_batches() {
        let (code, offset) = client.produce("bad", 0, &bytes);
        assert!(
            [
                CORRUPT_MESSAGE,
                INVALID_RECORD,
                MESSAGE_TOO_LARGE,
                -1,
                74,
                76
            ]
            .contains(&code),
            "{what}: {code}"
        );
        assert_eq!(offset, -1, "{what}");
        assert_eq!(client.end("bad", 0), 1, "{what}");
    }
    // Bytes too few for a batch are left out, as by Kafka.
    let more = [&good[..], b"more"].concat();
    assert_eq!(client.produce("bad", 0, &more), (0, 1));
    let both = [stored(&good, 0), stored(&good, 1)].concat();
    assert_eq!(client.fetch("bad", 0, 0, 1 << 20), both);
    witness.end();
    broker.is_sound();
}

#[test]
fn a_time_that_overflows_is_kept_or_refused() {
    let mut broker = Broker::start("times", &[]);
    let mut client = Client::connect(broker.address);
    client.create_topic("times", 1, &[]);
    let good = batch(b"value");
    for base in [i64::MIN, -2, -1, i64::MAX] {
        for max in [i64::MIN, -1, 0, i64::MAX] {
            let bytes = [base.to_be_bytes(), max.to_be_bytes()].concat();
            client.produce("times", 0, &changed(&good, 27, &bytes));
        }
    }
    // The delta takes the record's time beyond what 64 bits hold.
    let delta = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let record = [&[32, 0][..], &delta, &[0, 1, 2, b'v', 0]].concat();
    let bytes = changed(&with_record(&record), 27, &i64::MAX.to_be_bytes());
    client.produce("times", 0, &bytes);
    let end = client.end("times", 0);
    assert_eq!(client.produce("times", 0, &good), (0, end));
    broker.is_sound();
}

#[test]
fn what_inflates_to_more_than_is_allowed_is_refused_with_bounded_memory() {
    let mut broker = Broker::start("bombs", &[]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("bombs", 1, &[("max.message.bytes", "50000000")]);
    let before = broker.memory_mib();
    let zeros = vec![0; 300 << 20];
    let codecs = [
        Compression::Gzip { level: 1 },
        Compression::Snappy,
        Compression::Lz4 { level: 1 },
        Compression::Zstd { level: 1 },
    ];
    for codec in codecs {
        let bomb = batch_of(codec, &[&zeros]);
        assert!(bomb.len() < 50_000_000, "{codec:?}: {} bytes", bomb.len());
        assert_eq!(
            client.produce("bombs", 0, &bomb),
            (MESSAGE_TOO_LARGE, -1),
            "{codec:?}"
        );
    }
    assert_eq!(client.end("bombs", 0), 0);
    let peak = broker.peak_mib() - before;
    assert!(peak < 900, "the peak was {peak} MiB");
    witness.end();
    broker.is_sound();
}

/// One request may bring many batches that inflate to nearly the limit: others get their turn
/// between any two of them.
#[test]
fn batches_that_inflate_much_do_not_keep_others_waiting() {
    const PARTITIONS: i32 = 24;
    let mut broker = Broker::start("inflating", &["shards=1"]);
    let (mut bomber, mut other) = (
        Client::connect(broker.address),
        Client::connect(broker.address),
    );
    bomber.create_topic("inflating", PARTITIONS, &[]);
    let batch = batch_of(Compression::Zstd { level: 1 }, &[&vec![0; 200 << 20]]);
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let body = produce_to("inflating", &all, &batch, -1);
    let (sent, answered) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut between = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sent.store(true, Ordering::SeqCst);
            let mut reply = bomber.ask(ApiKey::Produce, PRODUCE, &body);
            answered.store(true, Ordering::SeqCst);
            let response = produce::Response::decode(&mut reply, PRODUCE).expect("a response");
            let parts = &response.responses[0].partition_responses;
            assert_eq!(parts.len(), all.len());
            assert!(parts.iter().all(|part| part.error_code == 0), "{parts:?}");
        });
        while !answered.load(Ordering::SeqCst) {
            let pending = sent.load(Ordering::SeqCst);
            assert_eq!(other.topic_error("inflating"), 0);
            between += u32::from(pending && !answered.load(Ordering::SeqCst));
            // Not so many in the moment before the request has arrived.
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(
        between >= 8,
        "{between} answers while {PARTITIONS} batches were checked"
    );
    broker.is_sound();
}

/// The memory of a shard is a share of what all have: a large message must still have a place.
#[test]
fn a_batch_larger_than_the_memory_of_a_shard_is_taken() {
    let mut broker = Broker::start("larger", &["shards=2", "arena.bytes=33554432"]);
    let witness = Witness::start(broker.address);
    let mut client = Client::connect(broker.address);
    client.create_topic("larger", 2, &[("max.message.bytes", "60000000")]);
    let value: Vec<u8> = (0..40_000_000_u32).map(|at| (at % 251) as u8).collect();
    let large = batch(&value);
    for round in 0..3 {
        for partition in 0..2 {
            assert_eq!(client.produce("larger", partition, &large), (0, round));
        }
    }
    let got = client.fetch("larger", 1, 2, 1 << 20);
    assert_eq!(got, stored(&large, 2));
    witness.end();
    broker.is_sound();
}

#[test]
fn illegal_topic_names_make_nothing() {
    let mut broker = Broker::start("names", &[]);
    let mut client = Client::connect(broker.address);
    let long = "x".repeat(250);
    let names = [
        "",
        ".",
        "..",
        "a/b",
        "../../etc/passwd",
        "a b",
        "a\0b",
        "\u{e9}",
        "a\\b",
        &long,
    ];
    for name in names {
        let code = client.topic_error(name);
        assert_eq!(code, 17, "{name:?}");
        let (code, _) = client.produce(name, 0, &batch(b"v"));
        assert_eq!(code, 3, "{name:?}");
    }
    // 32,767 bytes are the most a name can have on the wire at all.
    client.send_raw(&request(
        ApiKey::Metadata,
        5,
        100,
        &metadata_body(&"y".repeat(32_767)),
    ));
    client.reply().expect("an answer");
    assert_eq!(client.topic_error(&"x".repeat(249)), 0);
    broker.is_sound();
}
