//! Holds admission and producer state against what Apache Kafka 4.2.0 decided about the same bytes:
//! `verdicts.txt` was written by `oracle/Verdicts.java`, which drives Kafka's own log.

use bytes::Bytes;
use storage::batch::{
    self, Admitted, Attributes, Codec, Compression, Header, Origin, Record, Reject, Rejection,
    Rules, Summary,
};
use storage::producer::{Producers, Verdict};

const VERDICTS: &str = include_str!("verdicts.txt");

/// The same settings as `TOPICS` in the Java program.
fn rules(topic: &str, version: i16, now_ms: i64) -> Rules {
    let (time, codec) = match topic.split_once('-') {
        Some(("append", codec)) => (true, codec),
        _ => (topic == "append", topic),
    };
    Rules {
        now_ms,
        log_append_time: time,
        before_max_ms: if topic == "before" { 1000 } else { i64::MAX },
        after_max_ms: 3_600_000,
        batch_bytes_max: if topic == "small" { 150 } else { 1_048_588 },
        segment_bytes: 1 << 30,
        compression: match codec {
            "uncompressed" => Compression::None,
            "gzip" => Compression::Gzip { level: -1 },
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 { level: 9 },
            "zstd" => Compression::Zstd { level: 3 },
            _ => Compression::Producer,
        },
        key_required: topic == "compact",
        zstd_allowed: version >= 7,
        inflated_bytes_max: 1 << 20,
        origin: Origin::Client,
    }
}

const fn name(why: Reject) -> &'static str {
    match why {
        Reject::Corrupt => "CORRUPT_MESSAGE",
        Reject::InvalidRecord => "INVALID_RECORD",
        Reject::MessageTooLarge => "MESSAGE_TOO_LARGE",
        Reject::RecordListTooLarge => "RECORD_LIST_TOO_LARGE",
        Reject::InvalidTimestamp => "INVALID_TIMESTAMP",
        Reject::UnsupportedCompression => "UNSUPPORTED_COMPRESSION_TYPE",
        Reject::InvalidTxn => "INVALID_TXN_STATE",
        Reject::Undecodable => "UNKNOWN_SERVER_ERROR",
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| {
        (text.as_bytes()[at] as char)
            .to_digit(16)
            .expect("a hex digit") as u8
    };
    (0..text.len() / 2)
        .map(|at| digit(2 * at) << 4 | digit(2 * at + 1))
        .collect()
}

/// The records, their offsets counted from 0, and the names of their headers as Kafka writes them:
/// it loses what is not UTF-8.
fn read(batch: &Bytes) -> Option<Vec<Record>> {
    let mut all: Vec<Record> = batch::records(batch, 1 << 20)
        .ok()?
        .collect::<Result<_, _>>()
        .ok()?;
    for (record, delta) in all.iter_mut().zip(0..) {
        record.offset_delta = delta;
        for (name, _) in &mut record.headers {
            *name = String::from_utf8_lossy(name).into_owned().into();
        }
    }
    Some(all)
}

/// Whether the records count their offsets 0, 1, 2, ... or at least stay inside their batch.
fn deltas(batch: &Bytes) -> Option<(bool, bool)> {
    let all = batch::records(batch, 1 << 20)
        .ok()?
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let count = all.len() as i32;
    let consecutive = all.iter().map(|record| record.offset_delta).eq(0..count);
    let inside = all
        .iter()
        .all(|record| (0..count).contains(&record.offset_delta));
    Some((consecutive, inside))
}

/// Why we refuse what Kafka stored: only what no consumer could make sense of.
fn reasonably_stricter(stored: &Bytes, rejection: &Rejection) -> bool {
    match rejection.why {
        // The records cannot be read, or name offsets outside of their batch.
        Reject::InvalidRecord | Reject::Undecodable => {
            !deltas(stored).is_some_and(|(_, inside)| inside)
        }
        _ => false,
    }
}

/// Whether both refuse for reasons that a client cannot tell apart.
fn equally_refused(ours: &Rejection, error: &str, indexes: &str, input: &[u8]) -> bool {
    if name(ours.why) == error {
        let named: Vec<_> = ours
            .record_errors
            .iter()
            .map(|(at, _)| at.to_string())
            .collect();
        return indexes == "-" || named.join(",") == indexes;
    }
    let length = input
        .get(8..12)
        .map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four")));
    if length.is_some_and(|length| length > i32::MAX - 12) {
        // Kafka computes a negative length and stumbles over it.
        return error == "UNKNOWN_SERVER_ERROR" && ours.why == Reject::InvalidRecord;
    }
    // Which of the two a damaged stream ends in depends on where its decoder gives up.
    let compressed = Header::of(input)
        .is_some_and(|header| header.summary().attributes.codec() != Ok(Codec::None));
    let undecodable = |error: &str| ["UNKNOWN_SERVER_ERROR", "INVALID_RECORD"].contains(&error);
    compressed && undecodable(error) && undecodable(name(ours.why))
}

/// Whether the same was stored: the same bytes, or, where an encoder had a say, the same records.
fn equally_stored(ours: &Admitted, kafkas: &Bytes) -> bool {
    let header = Header::of(kafkas).expect("Kafka stored a batch").summary();
    let mut placed = ours.bytes().to_vec();
    batch::patch(&mut placed, header.base_offset, header.leader_epoch);
    if placed == kafkas[..] {
        return true;
    }
    let placed = Header::of(&placed).expect("we stored a batch").summary();
    let encoder_had_a_say = header.attributes.codec() != Ok(Codec::None);
    // Kafka leaves plain records whose offsets repeat or leap as they are; we put them right.
    let put_right =
        deltas(kafkas) == Some((false, true)) && deltas(&ours.bytes()) == Some((true, true));
    placed == header
        && (encoder_had_a_say || put_right)
        && batch::check_crc(&ours.bytes())
        && read(&ours.bytes()) == read(kafkas)
}

#[test]
fn batches_meet_the_fate_that_kafka_gives_them() {
    let (mut now_ms, mut stored, mut refused, mut stricter) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for line in VERDICTS.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (topic, version, hex, verdict) = match words[..] {
            ["now", ms] => {
                now_ms = ms.parse().expect("a time");
                continue;
            }
            ["batch", topic, version, hex, ..] => (topic, version, hex, &words[4..]),
            _ => continue,
        };
        let input = Bytes::from(unhex(hex));
        let rules = rules(topic, version.parse().expect("a version"), now_ms);
        let ours = batch::admit(input.clone(), &rules);
        let agree = match (&ours, verdict) {
            (Ok(admitted), ["ok", hex]) => {
                stored += 1;
                equally_stored(admitted, &unhex(hex).into())
            }
            (Err(rejection), ["err", error, indexes]) => {
                refused += 1;
                equally_refused(rejection, error, indexes, &input)
            }
            (Err(rejection), ["ok", hex]) => {
                stricter += 1;
                reasonably_stricter(&unhex(hex).into(), rejection)
            }
            _ => false,
        };
        if !agree {
            wrong.push(format!(
                "{line}\n    ours: {:?}",
                ours.map(|admitted| admitted.header)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{stored} stored, {refused} refused, {stricter} refused though Kafka stores them");
    assert!(
        stored > 300 && refused > 300 && stricter < 50,
        "the verdicts are one-sided"
    );
}

#[test]
fn producers_are_told_what_kafka_tells_them() {
    let (mut producers, mut end, mut seen) = (Producers::default(), 0i64, 0);
    for line in VERDICTS.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["producer", id, epoch, sequence, count, kafka @ ..] = &words[..] else {
            continue;
        };
        let count: i32 = count.parse().expect("a count");
        let batch = Summary {
            base_offset: 0,
            leader_epoch: 0,
            attributes: Attributes(0),
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: id.parse().expect("an id"),
            producer_epoch: epoch.parse().expect("an epoch"),
            base_sequence: sequence.parse().expect("a sequence number"),
            count,
        };
        let ours = match producers.check(&batch) {
            Ok(Verdict::Append) => {
                producers.apply(&batch, end, 0);
                end += i64::from(count);
                format!("ok {}", end - i64::from(count))
            }
            Ok(Verdict::Duplicate { base_offset, .. }) => format!("ok {base_offset}"),
            Err(storage::producer::ProducerError::OutOfOrderSequence { .. }) => {
                "err OUT_OF_ORDER_SEQUENCE_NUMBER".into()
            }
            Err(storage::producer::ProducerError::InvalidEpoch { .. }) => {
                "err INVALID_PRODUCER_EPOCH".into()
            }
        };
        assert_eq!(ours, kafka.join(" "), "{line}");
        seen += 1;
    }
    assert!(seen > 100);
}
