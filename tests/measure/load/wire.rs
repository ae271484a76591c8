//! Requests as frames and responses as messages, in versions that Kafka 4.2 and we both speak.

use bytes::Bytes;
use net::wire::api::ApiKey;
use net::wire::{Reader, Records, RequestHeader, Str, Writer, create_topics, fetch, produce};
use std::io;

/// The last version that names topics instead of giving their ids.
pub(crate) const PRODUCE_VERSION: i16 = 12;
pub(crate) const FETCH_VERSION: i16 = 12;
pub(crate) const CREATE_VERSION: i16 = 7;

/// Where a framed request has its correlation id.
pub(crate) const CORRELATION_AT: usize = 8;

/// A request with its length and header; its correlation id is 0.
fn frame(api_key: ApiKey, api_version: i16, encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let header = RequestHeader {
        api_key,
        api_version,
        correlation_id: 0,
        client_id: Some(Str::from("load")),
    };
    let mut writer = Writer::new();
    header.encode(&mut writer);
    encode(&mut writer);
    let body = writer.into_bytes();
    let length = u32::try_from(body.len()).expect("requests are far below 4 GiB");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

/// A produce request with the same batch for each of the partitions, to be acknowledged by all.
pub(crate) fn produce(topic: &str, partitions: &[i32], batch: &Bytes) -> Vec<u8> {
    let data = |index: &i32| produce::PartitionProduceData {
        index: *index,
        records: Some(Records::from(batch.clone())),
    };
    let request = produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![produce::TopicProduceData {
            name: Str::from(topic),
            partition_data: partitions.iter().map(data).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    frame(ApiKey::Produce, PRODUCE_VERSION, |w| {
        request.encode(w, PRODUCE_VERSION);
    })
}

/// What a fetch asks for besides partitions and offsets.
#[derive(Clone, Copy, Default)]
pub(crate) struct Poll {
    pub(crate) max_wait_ms: i32,
    pub(crate) session: (i32, i32),
}

/// A fetch of partitions from offsets.
pub(crate) fn fetch(topic: &str, from: &[(i32, i64)], poll: Poll) -> Vec<u8> {
    let part = |(partition, offset): &(i32, i64)| fetch::FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics = vec![fetch::FetchTopic {
        topic: Str::from(topic),
        partitions: from.iter().map(part).collect(),
        ..Default::default()
    }];
    let request = fetch::Request {
        max_wait_ms: poll.max_wait_ms,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_id: poll.session.0,
        session_epoch: poll.session.1,
        topics: if from.is_empty() { Vec::new() } else { topics },
        ..Default::default()
    };
    frame(ApiKey::Fetch, FETCH_VERSION, |w| {
        request.encode(w, FETCH_VERSION);
    })
}

/// A topic of so many partitions, one replica each.
pub(crate) fn create(topic: &str, partitions: i32) -> Vec<u8> {
    let request = create_topics::Request {
        topics: vec![create_topics::CreatableTopic {
            name: Str::from(topic),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 60_000,
        ..Default::default()
    };
    frame(ApiKey::CreateTopics, CREATE_VERSION, |w| {
        request.encode(w, CREATE_VERSION);
    })
}

/// A reader behind the header of a response of a flexible version.
pub(crate) fn body(frame: Bytes) -> io::Result<Reader> {
    match frame.get(4) {
        Some(0) => Ok(Reader::new(frame.slice(5..))),
        _ => Err(io::Error::other("a response has tags in its header")),
    }
}

/// A batch of format 2 with records of random text, none of it compressible to nothing.
pub(crate) fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut area = Vec::new();
    for number in 0..records {
        let mut record = vec![0];
        varint(&mut record, 0);
        varint(&mut record, number as i64);
        varint(&mut record, -1);
        varint(&mut record, value_bytes as i64);
        record.extend((0..value_bytes).map(|_| b'A' + (random.next() % 26) as u8));
        varint(&mut record, 0);
        varint(&mut area, record.len() as i64);
        area.extend_from_slice(&record);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis() as i64);
    let mut checked = Vec::new();
    checked.extend_from_slice(&0_i16.to_be_bytes());
    checked.extend_from_slice(&(records as i32 - 1).to_be_bytes());
    checked.extend_from_slice(&now.to_be_bytes());
    checked.extend_from_slice(&now.to_be_bytes());
    checked.extend_from_slice(&(-1_i64).to_be_bytes());
    checked.extend_from_slice(&(-1_i16).to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&(records as i32).to_be_bytes());
    checked.extend_from_slice(&area);
    let mut batch = Vec::new();
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&0_i32.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch.into()
}

fn varint(to: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        to.push(left as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
}

/// A generator of numbers that look random (xorshift64*), the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Uniform in (0, 1].
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() + 1) as f64 / (1_u64 << 53) as f64
    }
}
