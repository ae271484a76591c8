//! Asks a broker what an acknowledgement of it means, before anything is measured.

use super::durability::{Said, Settings};
use crate::failure::{Failure, Outcome};
use crate::model::Workload;
use bytes::Bytes;
use net::wire::api::{ApiKey, TABLE};
use net::wire::{
    DecodeError, Reader, RequestHeader, Str, Writer, api_versions, create_topics, delete_topics,
    describe_configs, metadata,
};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// A response longer than this is not one, in bytes.
const RESPONSE_BYTES_MAX: u32 = 64 << 20;
const POLL: Duration = Duration::from_millis(100);
/// UNSUPPORTED_VERSION, which ApiVersions answers in version 0 (KIP-511).
const UNSUPPORTED_VERSION: i16 = 35;
/// Kinds of resources that have settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// The last version of DeleteTopics that takes a plain list of names.
const DELETE_BY_NAME: i16 = 5;

/// One connection, one request at a time.
struct Link<'a> {
    address: &'a str,
    stream: TcpStream,
    /// What both sides speak, at most.
    versions: Vec<(i16, i16)>,
    sent: i32,
}

type Decoded<T> = fn(&mut Reader, i16) -> Result<T, DecodeError>;

impl<'a> Link<'a> {
    fn open(address: &'a str) -> Outcome<Self> {
        let stream = connect(address).map_err(|error| {
            Failure::new(format!("cannot reach a broker at {address}: {error}"))
                .advise("is it running, and listening there without TLS?")
        })?;
        let mut link = Self {
            address,
            stream,
            versions: Vec::new(),
            sent: 0,
        };
        let request = api_versions::Request {
            client_software_name: Str::from("bench-harness"),
            client_software_version: Str::from(env!("CARGO_PKG_VERSION")),
        };
        let mut ask = |version| {
            let encode = |writer: &mut Writer| request.encode(writer, version);
            let decode: Decoded<_> = |reader, version| {
                let refused = reader
                    .rest()
                    .starts_with(&UNSUPPORTED_VERSION.to_be_bytes());
                api_versions::Response::decode(reader, if refused { 0 } else { version })
            };
            link.exchange(ApiKey::ApiVersions, version, encode, decode)
        };
        let mut response = ask(3)?;
        if response.error_code == UNSUPPORTED_VERSION {
            response = ask(0)?;
        }
        for theirs in &response.api_keys {
            let own = TABLE.iter().find(|own| own.key.to_wire() == theirs.api_key);
            if let Some(own) = own {
                let version = own.max.min(theirs.max_version);
                if version >= own.min.max(theirs.min_version) {
                    link.versions.push((theirs.api_key, version));
                }
            }
        }
        Ok(link)
    }

    fn version(&self, key: ApiKey, newest: i16) -> Outcome<i16> {
        let found = self
            .versions
            .iter()
            .find(|(other, _)| *other == key.to_wire());
        let found = found.map(|(_, version)| (*version).min(newest));
        found.ok_or_else(|| {
            let name = key.info().name;
            Failure::new(format!(
                "the broker at {} does not know {name}",
                self.address
            ))
        })
    }

    fn exchange<T>(
        &mut self,
        key: ApiKey,
        version: i16,
        encode: impl Fn(&mut Writer),
        decode: Decoded<T>,
    ) -> Outcome<T> {
        self.sent += 1;
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: self.sent,
            client_id: Some(Str::from("bench-harness")),
        };
        let mut writer = Writer::new();
        header.encode(&mut writer);
        encode(&mut writer);
        let (name, address) = (key.info().name, self.address);
        let frame = self.send(&writer.into_bytes()).map_err(|error| {
            Failure::new(format!(
                "the broker at {address} did not answer {name}: {error}"
            ))
        })?;
        let body = body(&frame, key, version).ok_or(DecodeError::Truncated);
        body.and_then(|body| decode(&mut Reader::new(body), version))
            .map_err(|error| {
                Failure::new(format!(
                    "the answer to {name} from {address} makes no sense: {error}"
                ))
                .advise("is a broker of Kafka's protocol listening there, without TLS?")
            })
    }

    fn send(&mut self, request: &[u8]) -> io::Result<Bytes> {
        let length = u32::try_from(request.len()).map_err(io::Error::other)?;
        let frame = [&length.to_be_bytes()[..], request].concat();
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > RESPONSE_BYTES_MAX {
            return Err(io::Error::other("that is no response of a Kafka broker"));
        }
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What follows the response header: the correlation id, and tags where the version has them.
fn body(frame: &Bytes, key: ApiKey, version: i16) -> Option<Bytes> {
    let flexible = key != ApiKey::ApiVersions && version >= key.info().flexible_from;
    let at = if flexible {
        // No broker puts tags there, and those of one that did are not known here.
        (frame.get(4) == Some(&0)).then_some(5)?
    } else {
        4
    };
    (frame.len() >= at).then(|| frame.slice(at..))
}

/// Makes a topic like those of the workload, asks about it and removes it.
pub(crate) fn ask(address: &str, workload: &Workload) -> Outcome<Said> {
    let mut link = Link::open(address)?;
    let name = format!("bench-harness-asks-{}", std::process::id());
    create(&mut link, &name, workload)?;
    let said = about(&mut link, &name);
    delete(&mut link, &name)?;
    said
}

fn create(link: &mut Link<'_>, name: &str, workload: &Workload) -> Outcome<()> {
    let version = link.version(ApiKey::CreateTopics, i16::MAX)?;
    let setting = |(name, value): &(String, String)| create_topics::CreatableTopicConfig {
        name: Str::from(&**name),
        value: Some(Str::from(&**value)),
    };
    let request = create_topics::Request {
        topics: vec![create_topics::CreatableTopic {
            name: Str::from(name),
            num_partitions: 1,
            // As the broker has it by default (KIP-464).
            replication_factor: -1,
            assignments: Vec::new(),
            configs: workload.topic_settings.iter().map(setting).collect(),
        }],
        timeout_ms: PATIENCE.as_millis() as i32,
        validate_only: false,
    };
    let encode = |writer: &mut Writer| request.encode(writer, version);
    let decode = create_topics::Response::decode;
    let response = link.exchange(ApiKey::CreateTopics, version, encode, decode)?;
    for topic in &response.topics {
        if topic.error_code != 0 {
            let why = topic
                .error_message
                .as_deref()
                .unwrap_or("it does not say why");
            return Err(Failure::new(format!(
                "the broker at {} makes no topic like those of {}: error {}, {why}",
                link.address, workload.name, topic.error_code
            )));
        }
    }
    Ok(())
}

fn delete(link: &mut Link<'_>, name: &str) -> Outcome<()> {
    let version = link.version(ApiKey::DeleteTopics, DELETE_BY_NAME)?;
    let request = delete_topics::Request {
        topic_names: vec![Str::from(name)],
        timeout_ms: PATIENCE.as_millis() as i32,
        ..delete_topics::Request::default()
    };
    let encode = |writer: &mut Writer| request.encode(writer, version);
    let decode = delete_topics::Response::decode;
    link.exchange(ApiKey::DeleteTopics, version, encode, decode)?;
    Ok(())
}

fn about(link: &mut Link<'_>, name: &str) -> Outcome<Said> {
    let (broker, replicas) = leader(link, name)?;
    // A broker that does not know DescribeConfigs, or refuses it, says nothing about itself.
    Ok(Said {
        topic: settings(link, TOPIC, name).unwrap_or_default(),
        broker: settings(link, BROKER, &broker.to_string()).unwrap_or_default(),
        replicas,
    })
}

/// Who leads the topic, and how many have it; a new topic takes a moment to get a leader.
fn leader(link: &mut Link<'_>, name: &str) -> Outcome<(i32, usize)> {
    let version = link.version(ApiKey::Metadata, i16::MAX)?;
    let request = metadata::Request {
        topics: Some(vec![metadata::MetadataRequestTopic {
            name: Some(Str::from(name)),
            ..metadata::MetadataRequestTopic::default()
        }]),
        ..metadata::Request::default()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let encode = |writer: &mut Writer| request.encode(writer, version);
        let decode = metadata::Response::decode;
        let response = link.exchange(ApiKey::Metadata, version, encode, decode)?;
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        match partitions.next() {
            Some(partition) if partition.leader_id >= 0 => {
                return Ok((partition.leader_id, partition.replica_nodes.len()));
            }
            _ if Instant::now() > until => {
                return Err(Failure::new(format!(
                    "a new topic at {} has no leader after {} s",
                    link.address,
                    PATIENCE.as_secs()
                )));
            }
            _ => std::thread::sleep(POLL),
        }
    }
}

fn settings(link: &mut Link<'_>, kind: i8, name: &str) -> Outcome<Settings> {
    let version = link.version(ApiKey::DescribeConfigs, i16::MAX)?;
    let request = describe_configs::Request {
        resources: vec![describe_configs::DescribeConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configuration_keys: None,
        }],
        include_synonyms: false,
        include_documentation: false,
    };
    let encode = |writer: &mut Writer| request.encode(writer, version);
    let decode = describe_configs::Response::decode;
    let response = link.exchange(ApiKey::DescribeConfigs, version, encode, decode)?;
    let configs = response.results.iter().flat_map(|result| &result.configs);
    let one = |config: &describe_configs::DescribeConfigsResourceResult| {
        let value = config.value.as_ref().map(|value| value.as_str().to_owned());
        (config.name.as_str().to_owned(), value)
    };
    Ok(configs.map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn where_nobody_listens_there_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let failure = Link::open(&address)
            .err()
            .expect("nobody listens")
            .to_string();
        assert!(failure.contains("cannot reach a broker"), "{failure}");
    }

    #[test]
    fn what_speaks_another_protocol_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .expect("it is connected");
        });
        let failure = Link::open(&address).err().expect("no broker").to_string();
        assert!(failure.contains("did not answer ApiVersions"), "{failure}");
        server.join().expect("it answered");
    }
}
