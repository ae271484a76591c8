//! Requests that are made before and after the load, one at a time.

use super::error_name;
use super::fast::CLIENT;
use crate::failure::{Failure, Outcome};
use net::wire::api::ApiKey;
use net::wire::{
    Reader, RequestHeader, Str, Writer, create_topics as create, delete_topics as delete,
    init_producer_id, list_offsets, metadata,
};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const CONNECT_WAIT: Duration = Duration::from_secs(5);
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How long new topics may be without leaders.
const LEADERS_WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
const FRAME_BYTES_MAX: usize = 256 << 20;
const TIMEOUT_MS: i32 = 60_000;

const METADATA_VERSION: i16 = 9;
const CREATE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 4;
const OFFSETS_VERSION: i16 = 6;
const INIT_VERSION: i16 = 2;
const LATEST: i64 = -1;

/// A connection that waits for each answer.
pub(crate) struct Control {
    stream: TcpStream,
    address: String,
    correlation: i32,
}

/// Where the leader of each partition of each topic listens.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<SocketAddr>,
    /// By topic and partition: an index into `nodes`.
    pub(crate) leaders: Vec<Vec<usize>>,
}

impl Cluster {
    /// The partitions of a topic that a node leads.
    pub(crate) fn led(&self, topic: usize, node: usize) -> Vec<u32> {
        let leaders = self.leaders[topic].iter().enumerate();
        let own = leaders.filter(|(_, leader)| **leader == node);
        own.map(|(partition, _)| partition as u32).collect()
    }
}

pub(crate) fn resolve(address: &str) -> Outcome<SocketAddr> {
    let found = address.to_socket_addrs().map(|mut all| all.next());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Failure::new(format!("{address} has no address"))),
        Err(error) => Err(Failure::new(format!("{address} is no address: {error}"))
            .advise("give it as HOST:PORT, such as localhost:9092")),
    }
}

impl Control {
    pub(crate) fn open(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&resolve(address)?, CONNECT_WAIT);
        let stream = stream.map_err(|error| {
            Failure::new(format!("cannot connect to {address}: {error}"))
                .advise("is the broker running, and does it listen there?")
        })?;
        let options = || -> io::Result<()> {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_WAIT))
        };
        options().map_err(|error| Failure::new(format!("{address}: {error}")))?;
        Ok(Self {
            stream,
            address: address.to_owned(),
            correlation: 0,
        })
    }

    fn call(
        &mut self,
        api_key: ApiKey,
        api_version: i16,
        encode: impl FnOnce(&mut Writer),
    ) -> Outcome<Reader> {
        self.correlation += 1;
        let mut writer = Writer::new();
        let header = RequestHeader {
            api_key,
            api_version,
            correlation_id: self.correlation,
            client_id: Some(Str::from_static(CLIENT)),
        };
        header.encode(&mut writer);
        encode(&mut writer);
        self.exchange(writer).map_err(|error| {
            let name = api_key.info().name;
            Failure::new(format!("{} did not answer {name}: {error}", self.address)).advise(
                "the harness needs a broker of Kafka 2.4 or later, without TLS and passwords",
            )
        })
    }

    fn exchange(&mut self, writer: Writer) -> io::Result<Reader> {
        let request = writer.into_bytes();
        let mut frame = (request.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&request);
        self.stream.write_all(&frame)?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size) as usize;
        if !(5..=FRAME_BYTES_MAX).contains(&size) {
            return Err(io::Error::other(format!("an answer of {size} bytes")));
        }
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer)?;
        if answer[..4] != self.correlation.to_be_bytes() || answer[4] != 0 {
            return Err(io::Error::other("an answer to something else"));
        }
        // All versions used here have a flexible header: the number and no tags.
        Ok(Reader::new(answer.split_off(5).into()))
    }

    fn metadata(&mut self, topics: &[String]) -> Outcome<metadata::Response> {
        let request = metadata::Request {
            topics: Some(topics.iter().map(|name| named(name)).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let version = METADATA_VERSION;
        let mut answer = self.call(ApiKey::Metadata, version, |w| request.encode(w, version))?;
        metadata::Response::decode(&mut answer, version).map_err(|error| self.unclear(error))
    }

    fn unclear(&self, error: impl std::fmt::Display) -> Failure {
        Failure::new(format!(
            "{} sent an answer that is none: {error}",
            self.address
        ))
    }
}

fn named(name: &str) -> metadata::MetadataRequestTopic {
    metadata::MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    }
}

/// Makes the topics and waits until every partition has a leader.
pub(crate) fn create_topics(
    control: &mut Control,
    names: &[String],
    partitions: u32,
    settings: &[(String, String)],
) -> Outcome<Cluster> {
    let configs = settings
        .iter()
        .map(|(name, value)| create::CreatableTopicConfig {
            name: name.as_str().into(),
            value: Some(value.as_str().into()),
        });
    let configs: Vec<_> = configs.collect();
    let topics = names.iter().map(|name| create::CreatableTopic {
        name: name.as_str().into(),
        num_partitions: partitions as i32,
        replication_factor: -1,
        configs: configs.clone(),
        ..Default::default()
    });
    let request = create::Request {
        topics: topics.collect(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let version = CREATE_VERSION;
    let mut answer = control.call(ApiKey::CreateTopics, version, |w| {
        request.encode(w, version)
    })?;
    let answer =
        create::Response::decode(&mut answer, version).map_err(|error| control.unclear(error))?;
    for topic in &answer.topics {
        if topic.error_code != 0 {
            let why = topic
                .error_message
                .as_ref()
                .map_or("", |text| text.as_str());
            let name = error_name(topic.error_code);
            return Err(Failure::new(format!(
                "{} did not make the topic {}: {name} {why}",
                control.address,
                topic.name.as_str()
            ))
            .advise("check the partitions and topic settings of the workload"));
        }
    }
    wait_for_leaders(control, names, partitions)
}

fn wait_for_leaders(control: &mut Control, names: &[String], partitions: u32) -> Outcome<Cluster> {
    let deadline = Instant::now() + LEADERS_WAIT;
    loop {
        let answer = control.metadata(names)?;
        if let Some(cluster) = cluster(&answer, names, partitions)? {
            return Ok(cluster);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "partitions of {} had no leader within {LEADERS_WAIT:?}",
                names.first().map_or("", String::as_str)
            )));
        }
        std::thread::sleep(PAUSE);
    }
}

/// None while a leader is missing.
fn cluster(
    answer: &metadata::Response,
    names: &[String],
    partitions: u32,
) -> Outcome<Option<Cluster>> {
    let mut index = BTreeMap::new();
    let mut nodes = Vec::new();
    for broker in &answer.brokers {
        index.insert(broker.node_id, nodes.len());
        nodes.push(resolve(&format!(
            "{}:{}",
            broker.host.as_str(),
            broker.port
        ))?);
    }
    let mut leaders = Vec::new();
    for name in names {
        let found = answer.topics.iter().find(|topic| {
            topic.name.as_ref().map_or("", |found| found.as_str()) == name && topic.error_code == 0
        });
        let Some(topic) = found else {
            return Ok(None);
        };
        let mut own = vec![usize::MAX; partitions as usize];
        for partition in &topic.partitions {
            let at = own.get_mut(partition.partition_index as usize);
            if let (Some(at), Some(node)) = (at, index.get(&partition.leader_id)) {
                *at = *node;
            }
        }
        if own.contains(&usize::MAX) {
            return Ok(None);
        }
        leaders.push(own);
    }
    Ok(Some(Cluster { nodes, leaders }))
}

pub(crate) fn delete_topics(control: &mut Control, names: &[String]) -> Outcome<()> {
    let request = delete::Request {
        topic_names: names.iter().map(|name| name.as_str().into()).collect(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let version = DELETE_VERSION;
    let mut answer = control.call(ApiKey::DeleteTopics, version, |w| {
        request.encode(w, version)
    })?;
    let answer =
        delete::Response::decode(&mut answer, version).map_err(|error| control.unclear(error))?;
    match answer.responses.iter().find(|topic| topic.error_code != 0) {
        None => Ok(()),
        Some(topic) => Err(Failure::new(format!(
            "{} did not delete a topic of the run: {}",
            control.address,
            error_name(topic.error_code)
        ))
        .advise("delete it by hand; its name begins with bench-")),
    }
}

/// The identity of an idempotent producer.
pub(crate) fn producer_id(control: &mut Control) -> Outcome<(i64, i16)> {
    let request = init_producer_id::Request {
        transactional_id: None,
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let version = INIT_VERSION;
    let mut answer = control.call(ApiKey::InitProducerId, version, |w| {
        request.encode(w, version)
    })?;
    let answer = init_producer_id::Response::decode(&mut answer, version)
        .map_err(|error| control.unclear(error))?;
    match answer.error_code {
        0 => Ok((answer.producer_id, answer.producer_epoch)),
        code => Err(Failure::new(format!(
            "{} gave no producer id: {}",
            control.address,
            error_name(code)
        ))),
    }
}

/// How far each of these partitions of one topic goes, as their leader `address` says.
pub(crate) fn end_offsets(
    address: SocketAddr,
    topic: &str,
    partitions: &[u32],
) -> Outcome<Vec<(u32, i64)>> {
    let mut control = Control::open(&address.to_string())?;
    let asked = partitions
        .iter()
        .map(|partition| list_offsets::ListOffsetsPartition {
            partition_index: *partition as i32,
            current_leader_epoch: -1,
            timestamp: LATEST,
        });
    let request = list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::ListOffsetsTopic {
            name: topic.into(),
            partitions: asked.collect(),
        }],
        ..Default::default()
    };
    let version = OFFSETS_VERSION;
    let mut answer = control.call(ApiKey::ListOffsets, version, |w| request.encode(w, version))?;
    let answer = list_offsets::Response::decode(&mut answer, version)
        .map_err(|error| control.unclear(error))?;
    let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let good = parts.filter(|part| part.error_code == 0);
    Ok(good
        .map(|part| (part.partition_index as u32, part.offset))
        .collect())
}
