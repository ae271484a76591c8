//! Requests by hand: what a topic's batches say of themselves, before any client has unpacked
//! them, and what librdkafka does not ask.

use net::wire::api::ApiKey;
use net::wire::{Reader, RequestHeader, Writer};
use std::io::{Read, Write};
use std::net::TcpStream;

/// The body of the answer to one request, over a connection of its own.
pub(crate) fn ask(
    address: &str,
    key: ApiKey,
    version: i16,
    encode: impl FnOnce(&mut Writer, i16),
) -> Reader {
    let mut writer = Writer::new();
    let header = RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id: 7,
        client_id: None,
    };
    header.encode(&mut writer);
    encode(&mut writer, version);
    let mut stream = TcpStream::connect(address).expect("a connection");
    let mut answer = exchange(&mut stream, &writer.into_bytes());
    let header = if version >= key.info().flexible_from {
        5
    } else {
        4
    };
    Reader::new(answer.split_off(header).into())
}

/// The answer to one request, with its header.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream
        .write_all(&(request.len() as i32).to_be_bytes())
        .expect("sent");
    stream.write_all(request).expect("sent");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

/// A batch as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) codec: &'static str,
    pub(crate) records: i32,
    pub(crate) bytes: usize,
}

/// All batches of a partition.
pub(crate) fn batches(address: &str, topic: &str, partition: i32) -> Vec<Batch> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let from = batches
            .last()
            .map_or(0, |last| last.base_offset + i64::from(last.records));
        let found = fetch(&mut stream, topic, partition, from);
        if found.is_empty() {
            return batches;
        }
        let mut rest = &found[..];
        while !rest.is_empty() {
            let bytes = 12 + long_or_int(&rest[8..12]) as usize;
            let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(rest[22] & 7)];
            batches.push(Batch {
                base_offset: long_or_int(&rest[..8]),
                codec,
                records: long_or_int(&rest[57..61]) as i32,
                bytes,
            });
            rest = &rest[bytes..];
        }
    }
}

/// The record set from an offset on: Fetch in version 4.
fn fetch(stream: &mut TcpStream, topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend([0, 1, 0, 4, 0, 0, 0, 7, 0xff, 0xff]);
    for number in [-1, 0, 0, 64 << 20] {
        request.extend(i32::to_be_bytes(number));
    }
    request.push(0);
    request.extend(1_i32.to_be_bytes());
    request.extend((topic.len() as i16).to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend(partition.to_be_bytes());
    request.extend(offset.to_be_bytes());
    request.extend((64_i32 << 20).to_be_bytes());
    let mut answer = exchange(stream, &request);
    // Correlation id, throttle time, one topic with its name, one partition with its number.
    let at = 4 + 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[at..at + 2], [0, 0], "an error code");
    // High watermark, last stable offset, no aborted transactions, the length of the records.
    answer.split_off(at + 2 + 8 + 8 + 4 + 4)
}

/// A signed number of four or eight bytes.
fn long_or_int(bytes: &[u8]) -> i64 {
    let first = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes
        .iter()
        .fold(first, |all, byte| all << 8 | i64::from(*byte))
}
