//! A plain client over a blocking socket, and the pieces that hostile ones are made of.

use bytes::Bytes;
use net::wire::api::ApiKey;
use net::wire::{
    Reader, Records, RequestHeader, Str, Writer, create_topics, delete_topics, fetch, list_offsets,
    metadata, produce,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use storage::batch::{Builder, Compression};

use crate::broker::{PATIENCE, wait_for};

pub(crate) const PRODUCE: i16 = 9;
pub(crate) const FETCH: i16 = 11;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: i32,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self {
            stream,
            correlation: 0,
        }
    }

    /// Sends bytes as they are. The broker may have closed already, which reading will show.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, key: ApiKey, version: i16, body: &[u8]) {
        self.correlation += 1;
        let bytes = request(key, version, self.correlation, body);
        self.stream.write_all(&bytes).expect("sent");
    }

    /// The body of the next reply, which must be the one to the request numbered `correlation`.
    pub(crate) fn reply_to(&mut self, correlation: i32, flexible: bool) -> Bytes {
        let reply = self.reply().expect("a reply");
        assert_eq!(reply[..4], correlation.to_be_bytes());
        reply.slice(if flexible { 5 } else { 4 }..)
    }

    /// The next reply with its header, or why there is none.
    pub(crate) fn reply(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut reply = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut reply)?;
        Ok(reply.into())
    }

    /// Waits until the broker has closed the connection; what it sent before that.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        match self.stream.read_to_end(&mut got) {
            Ok(_) => got,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => got,
            Err(error) => panic!("the connection is still open: {error}"),
        }
    }

    pub(crate) fn ask(&mut self, key: ApiKey, version: i16, body: &[u8]) -> Reader {
        self.send(key, version, body);
        let flexible = version >= key.info().flexible_from && key != ApiKey::ApiVersions;
        Reader::new(self.reply_to(self.correlation, flexible))
    }

    /// Makes a topic with these settings and waits until all its partitions can be written.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let topic = create_topics::CreatableTopic {
            name: Str::from(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(name, value)| create_topics::CreatableTopicConfig {
                    name: Str::from(*name),
                    value: Some(Str::from(*value)),
                })
                .collect(),
            ..Default::default()
        };
        let request = create_topics::Request {
            topics: vec![topic],
            timeout_ms: 60_000,
            ..Default::default()
        };
        let body = encoded(|w| request.encode(w, 4));
        let mut reply = self.ask(ApiKey::CreateTopics, 4, &body);
        let response = create_topics::Response::decode(&mut reply, 4).expect("a response");
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    /// The error code and base offset that one batch got.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> (i16, i64) {
        let body = produce_body(topic, partition, batch, -1);
        let mut reply = self.ask(ApiKey::Produce, PRODUCE, &body);
        let response = produce::Response::decode(&mut reply, PRODUCE).expect("a response");
        let part = &response.responses[0].partition_responses[0];
        (part.error_code, part.base_offset)
    }

    /// The batches from `offset` on, as far as one fetch brings them.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64, bytes: i32) -> Bytes {
        let body = fetch_body(topic, partition, offset, bytes, 500);
        let mut reply = self.ask(ApiKey::Fetch, FETCH, &body);
        fetched(&mut reply)
    }

    /// As [`fetch`](Self::fetch); `None` when the partition answers with an error.
    pub(crate) fn try_fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes: i32,
    ) -> Option<Bytes> {
        let body = fetch_body(topic, partition, offset, bytes, 0);
        let mut reply = self.ask(ApiKey::Fetch, FETCH, &body);
        let response = fetch::Response::decode(&mut reply, FETCH).expect("a response");
        let part = response.responses.first()?.partitions.first()?;
        let records = part.records.clone().filter(|_| part.error_code == 0)?;
        Some(records.into_bytes())
    }

    pub(crate) fn delete_topic(&mut self, name: &str) {
        let request = delete_topics::Request {
            topic_names: vec![Str::from(name)],
            timeout_ms: 60_000,
            ..Default::default()
        };
        let body = encoded(|w| request.encode(w, 3));
        let mut reply = self.ask(ApiKey::DeleteTopics, 3, &body);
        let response = delete_topics::Response::decode(&mut reply, 3).expect("a response");
        assert_eq!(response.responses[0].error_code, 0);
    }

    /// The end of a partition.
    pub(crate) fn end(&mut self, topic: &str, partition: i32) -> i64 {
        let part = list_offsets::ListOffsetsPartition {
            partition_index: partition,
            timestamp: -1,
            ..Default::default()
        };
        let request = list_offsets::Request {
            replica_id: -1,
            topics: vec![list_offsets::ListOffsetsTopic {
                name: Str::from(topic),
                partitions: vec![part],
            }],
            ..Default::default()
        };
        let body = encoded(|w| request.encode(w, 4));
        let mut reply = self.ask(ApiKey::ListOffsets, 4, &body);
        let response = list_offsets::Response::decode(&mut reply, 4).expect("a response");
        response.topics[0].partitions[0].offset
    }

    /// The error code of a topic in a Metadata reply.
    pub(crate) fn topic_error(&mut self, name: &str) -> i16 {
        let mut reply = self.ask(ApiKey::Metadata, 5, &metadata_body(name));
        let response = metadata::Response::decode(&mut reply, 5).expect("a response");
        response.topics[0].error_code
    }
}

/// Connects again and again until the broker lets the client stay and answers.
pub(crate) fn admitted(address: SocketAddr) -> Client {
    wait_for("a place for a connection", || {
        let mut client = Client::connect(address);
        client.send_raw(&request(ApiKey::ApiVersions, 0, 1, &[]));
        client.reply().is_ok().then_some(client)
    })
}

pub(crate) fn encoded(encode: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    encode(&mut w);
    w.into_bytes().to_vec()
}

/// A whole request as it lies on the wire.
pub(crate) fn request(key: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id,
        client_id: Some(Str::from("hostile")),
    };
    let mut frame = encoded(|w| header.encode(w));
    frame.extend_from_slice(body);
    framed(&frame)
}

pub(crate) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).expect("a small frame");
    [&length.to_be_bytes(), frame].concat()
}

pub(crate) fn metadata_body(topic: &str) -> Vec<u8> {
    let request = metadata::Request {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some(Str::from(topic)),
            ..Default::default()
        }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    encoded(|w| request.encode(w, 5))
}

pub(crate) fn produce_body(topic: &str, partition: i32, batch: &[u8], acks: i16) -> Vec<u8> {
    produce_to(topic, &[partition], batch, acks)
}

/// The same batch for several partitions in one request.
pub(crate) fn produce_to(topic: &str, partitions: &[i32], batch: &[u8], acks: i16) -> Vec<u8> {
    let part = |partition: &i32| produce::PartitionProduceData {
        index: *partition,
        records: Some(Records::from(Bytes::copy_from_slice(batch))),
    };
    let request = produce::Request {
        acks,
        timeout_ms: 60_000,
        topic_data: vec![produce::TopicProduceData {
            name: Str::from(topic),
            partition_data: partitions.iter().map(part).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    encoded(|w| request.encode(w, PRODUCE))
}

pub(crate) fn fetch_body(
    topic: &str,
    partition: i32,
    offset: i64,
    bytes: i32,
    max_wait_ms: i32,
) -> Vec<u8> {
    let part = fetch::FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: bytes,
        ..Default::default()
    };
    let request = fetch::Request {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: bytes,
        topics: vec![fetch::FetchTopic {
            topic: Str::from(topic),
            partitions: vec![part],
            ..Default::default()
        }],
        ..Default::default()
    };
    encoded(|w| request.encode(w, FETCH))
}

/// The records in the answer to a fetch of one partition.
pub(crate) fn fetched(reply: &mut Reader) -> Bytes {
    let response = fetch::Response::decode(reply, FETCH).expect("a response");
    let part = &response.responses[0].partitions[0];
    assert_eq!(part.error_code, 0, "{:?}", part.partition_index);
    let records = part.records.clone().map(Records::into_bytes);
    records.unwrap_or_default()
}

/// A batch of one record.
pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    batch_of(Compression::None, &[value])
}

pub(crate) fn batch_of(compression: Compression, values: &[&[u8]]) -> Vec<u8> {
    // One time for all, so that a batch made twice is the same, and none that retention ends.
    static NOW_MS: OnceLock<i64> = OnceLock::new();
    let now_ms = *NOW_MS.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        i64::try_from(since.expect("a clock after 1970").as_millis()).expect("a date")
    });
    let mut builder = Builder::new(compression);
    for value in values {
        builder
            .append(now_ms, None, Some(value), &[])
            .expect("room");
    }
    builder.build().expect("a batch").to_vec()
}

/// A batch as the broker stores it: with this offset, in epoch 0.
pub(crate) fn stored(batch: &[u8], offset: i64) -> Vec<u8> {
    let mut stored = batch.to_vec();
    stored[..8].copy_from_slice(&offset.to_be_bytes());
    stored[12..16].copy_from_slice(&0_i32.to_be_bytes());
    stored
}
