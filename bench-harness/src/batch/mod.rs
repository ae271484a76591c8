//! Record batches of format 2: built by patching a template, read by a cursor. Written for the
//! harness alone, so that a mistake of the broker's own code cannot hide itself.

mod keys;
mod read;

pub(crate) use keys::{KEY_BYTES, key, partition_of};
pub(crate) use read::{Mark, View, views};

use crate::schedule::Random;

/// What stands before the records of a batch.
pub(crate) const HEADER_BYTES: usize = 61;
/// Intended time, producer and sequence.
pub(crate) const MARK_BYTES: u32 = 16;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const LAST_DELTA_AT: usize = 23;
const BASE_TIME_AT: usize = 27;
const LAST_TIME_AT: usize = 35;
const PRODUCER_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// A full batch of records without marks; any shorter batch is a prefix of it.
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the value of each record begins, and where the record ends.
    values: Vec<u32>,
    ends: Vec<u32>,
    keyed: bool,
}

/// Who sends a batch; all minus one without idempotence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

impl Template {
    /// As many records as `batch_bytes` hold, but one at least.
    pub(crate) fn new(record_bytes: u32, keyed: bool, batch_bytes: u32, seed: u64) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[MAGIC_AT] = 2;
        put(&mut bytes, EPOCH_AT, (-1_i32).to_be_bytes());
        let mut random = Random::new(seed);
        let payload: Vec<u8> = (0..record_bytes).map(|_| random.next() as u8).collect();
        let (mut values, mut ends) = (Vec::new(), Vec::new());
        loop {
            let before = bytes.len();
            let value_at = push_record(&mut bytes, values.len() as i64, keyed, &payload);
            if bytes.len() > batch_bytes as usize && !values.is_empty() {
                bytes.truncate(before);
                break;
            }
            values.push(value_at as u32);
            ends.push(bytes.len() as u32);
            if bytes.len() >= batch_bytes as usize {
                break;
            }
        }
        Self {
            bytes,
            values,
            ends,
            keyed,
        }
    }

    pub(crate) fn records_max(&self) -> u32 {
        self.values.len() as u32
    }

    /// Bytes of a batch of so many records.
    pub(crate) fn bytes_of(&self, count: u32) -> usize {
        match count {
            0 => HEADER_BYTES,
            _ => self.ends[count as usize - 1] as usize,
        }
    }

    /// Makes record `index` ready in `buffer`, which came from this template or is empty.
    pub(crate) fn put_record(&self, buffer: &mut Vec<u8>, index: u32, mark: Mark, key: u32) {
        let end = self.ends[index as usize] as usize;
        if buffer.len() < end {
            let until = (end + end / 2 + 256).min(self.bytes.len());
            buffer.extend_from_slice(&self.bytes[buffer.len()..until]);
        }
        let value = self.values[index as usize] as usize;
        mark.put(&mut buffer[value..value + MARK_BYTES as usize]);
        if self.keyed {
            let length = value_length_bytes(end - value);
            let at = value - length - KEY_BYTES;
            buffer[at..at + KEY_BYTES].copy_from_slice(&keys::key(key));
        }
    }

    /// Completes the header and the checksum of a batch of `count` records.
    pub(crate) fn seal(&self, buffer: &mut [u8], count: u32, time_ms: i64, sender: Sender) {
        let end = self.bytes_of(count);
        put(buffer, LENGTH_AT, (end as i32 - 12).to_be_bytes());
        put(buffer, LAST_DELTA_AT, (count as i32 - 1).to_be_bytes());
        put(buffer, BASE_TIME_AT, time_ms.to_be_bytes());
        put(buffer, LAST_TIME_AT, time_ms.to_be_bytes());
        put(buffer, PRODUCER_AT, sender.id.to_be_bytes());
        put(buffer, PRODUCER_EPOCH_AT, sender.epoch.to_be_bytes());
        put(buffer, SEQUENCE_AT, sender.sequence.to_be_bytes());
        put(buffer, COUNT_AT, (count as i32).to_be_bytes());
        let crc = crc32c::crc32c(&buffer[CRC_FROM..end]);
        put(buffer, CRC_AT, crc.to_be_bytes());
    }
}

fn put<const N: usize>(buffer: &mut [u8], at: usize, bytes: [u8; N]) {
    buffer[at..at + N].copy_from_slice(&bytes);
}

/// Appends a record and tells where its value begins.
fn push_record(bytes: &mut Vec<u8>, delta: i64, keyed: bool, payload: &[u8]) -> usize {
    let mut body = vec![0, 0];
    push_varint(&mut body, delta);
    if keyed {
        push_varint(&mut body, KEY_BYTES as i64);
        body.extend_from_slice(&[b'0'; KEY_BYTES]);
    } else {
        push_varint(&mut body, -1);
    }
    push_varint(&mut body, payload.len() as i64);
    let value = body.len();
    body.extend_from_slice(payload);
    push_varint(&mut body, 0);
    push_varint(bytes, body.len() as i64);
    let at = bytes.len() + value;
    bytes.extend_from_slice(&body);
    at
}

fn push_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
}

/// Of the length before a value that ends, with the count of headers, after `rest` bytes.
fn value_length_bytes(rest: usize) -> usize {
    let mut bits = (rest - 1) << 1;
    let mut bytes = 1;
    while bits >= 0x80 {
        bits >>= 7;
        bytes += 1;
    }
    bytes
}

#[cfg(test)]
mod tests;
