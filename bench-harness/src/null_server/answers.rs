//! What is answered to whom.

use net::wire::api::ApiKey;
use net::wire::{
    Reader, RequestHeader, Str, Writer, create_topics, delete_topics, encode_response_header,
    list_offsets, metadata,
};
use std::collections::BTreeMap;

const PRODUCE_KEY: [u8; 2] = [0, 0];
/// Offsets of a batch in its header: records are counted there.
const COUNT_AT: usize = 57;

pub(super) struct Answers {
    port: u16,
    /// Partitions of each topic that was made.
    topics: BTreeMap<String, i32>,
}

impl Answers {
    pub(super) const fn new(port: u16) -> Self {
        Self {
            port,
            topics: BTreeMap::new(),
        }
    }

    /// Appends the frame of an answer; false if the request is not understood.
    pub(super) fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> bool {
        if request.starts_with(&PRODUCE_KEY) {
            return produced(request, out).is_some();
        }
        self.control(request, out).is_some()
    }

    fn control(&mut self, request: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut reader = Reader::new(request.to_vec().into());
        let header = RequestHeader::decode(&mut reader).ok()?;
        let (key, version) = (header.api_key, header.api_version);
        let mut writer = Writer::new();
        encode_response_header(&mut writer, key, version, header.correlation_id);
        match key {
            ApiKey::Metadata => {
                let asked = metadata::Request::decode(&mut reader, version).ok()?;
                self.metadata(&asked).encode(&mut writer, version);
            }
            ApiKey::CreateTopics => {
                let asked = create_topics::Request::decode(&mut reader, version).ok()?;
                for topic in &asked.topics {
                    self.topics
                        .insert(topic.name.to_string(), topic.num_partitions);
                }
                create_topics::Response::default().encode(&mut writer, version);
            }
            ApiKey::DeleteTopics => {
                let asked = delete_topics::Request::decode(&mut reader, version).ok()?;
                for name in &asked.topic_names {
                    self.topics.remove(name.as_str());
                }
                delete_topics::Response::default().encode(&mut writer, version);
            }
            ApiKey::ListOffsets => {
                let asked = list_offsets::Request::decode(&mut reader, version).ok()?;
                no_offsets(&asked).encode(&mut writer, version);
            }
            _ => return None,
        }
        let answer = writer.into_bytes();
        out.extend_from_slice(&(answer.len() as u32).to_be_bytes());
        out.extend_from_slice(&answer);
        Some(())
    }

    fn metadata(&self, asked: &metadata::Request) -> metadata::Response {
        let names = asked
            .topics
            .iter()
            .flatten()
            .filter_map(|topic| topic.name.clone());
        let topics = names.map(|name| {
            let count = self.topics.get(name.as_str()).copied().unwrap_or(0);
            let partitions = (0..count).map(|index| metadata::MetadataResponsePartition {
                partition_index: index,
                leader_id: 1,
                ..Default::default()
            });
            metadata::MetadataResponseTopic {
                name: Some(name),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        metadata::Response {
            brokers: vec![metadata::MetadataResponseBroker {
                node_id: 1,
                host: Str::from_static("127.0.0.1"),
                port: i32::from(self.port),
                ..Default::default()
            }],
            topics: topics.collect(),
            ..Default::default()
        }
    }
}

/// Every partition is there; nothing is kept, so no offset is told.
fn no_offsets(asked: &list_offsets::Request) -> list_offsets::Response {
    let topics = asked.topics.iter().map(|topic| {
        let parts = topic.partitions.iter();
        let parts = parts.map(|part| list_offsets::ListOffsetsPartitionResponse {
            partition_index: part.partition_index,
            offset: -1,
            ..Default::default()
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

/// Answers Produce of version 9 and one topic, as the harness sends it.
fn produced(request: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let correlation = request.get(4..8)?;
    let client = u16::from_be_bytes(*request.get(8..)?.first_chunk()?) as usize;
    // The tags of the header, no transaction, acks, timeout, one topic.
    let mut rest = request.get(10 + client + 1 + 1 + 2 + 4 + 1..)?;
    let topic = varint(&mut rest)?.checked_sub(1)?;
    let name = rest.get(..topic)?;
    rest = &rest[topic..];
    let count = varint(&mut rest)?;
    let from = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(correlation);
    out.extend_from_slice(&[0, 2]);
    push_varint(out, topic + 1);
    out.extend_from_slice(name);
    push_varint(out, count);
    for _ in 1..count {
        out.extend_from_slice(rest.get(..4)?);
        rest = &rest[4..];
        let length = varint(&mut rest)?.checked_sub(1)?;
        rest.get(COUNT_AT..length)?;
        // The batch and the tags after it.
        rest = rest.get(length + 1..)?;
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(&[255; 8]);
        out.extend_from_slice(&[0; 8]);
        // No errors of records, no message, no tags.
        out.extend_from_slice(&[1, 0, 0]);
    }
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    let length = (out.len() - from) as u32 - 4;
    out[from..from + 4].copy_from_slice(&length.to_be_bytes());
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut bits = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        bits |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(bits);
        }
    }
    None
}

fn push_varint(out: &mut Vec<u8>, value: usize) {
    let mut bits = value;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}
