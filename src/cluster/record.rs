//! The records of the metadata log: our own format, one record an event.
//!
//! Layout, all integers big-endian: type `u8`, version `u8`, flags `u8` (bit 0: part of a
//! snapshot), then the fields of the type. A string is a `u32` length and UTF-8 bytes, a list a
//! `u32` count and its items, a null string the length `u32::MAX`. Fields are only ever appended to
//! a type, with a higher version: what follows the known fields is skipped. Types from 128 on may
//! be skipped by a broker that does not know them; any other unknown type is an error, because the
//! state without it would be wrong. The checksum is the record batch's.

use super::image::{Configs, Image, Partition, Topic};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;
use storage::types::TopicId;

const VERSION: u8 = 1;
const IN_SNAPSHOT: u8 = 1;
const FIRST_SKIPPABLE: u8 = 128;

/// What happened. Applied in order, records make an [`Image`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A snapshot of the whole image follows, up to [`Record::SnapshotEnd`].
    SnapshotBegin,
    SnapshotEnd,
    Registered {
        cluster_id: String,
        node_id: i32,
    },
    TopicCreated(Topic),
    TopicDeleted {
        id: TopicId,
    },
    /// The new partitions come after the `first` ones that are there.
    PartitionsAdded {
        id: TopicId,
        first: i32,
        partitions: Vec<Partition>,
    },
    TopicConfigSet {
        id: TopicId,
        name: String,
        /// `None`: back to the default.
        value: Option<String>,
    },
    BrokerConfigSet {
        /// For all brokers, not this node only.
        all: bool,
        name: String,
        value: Option<String>,
    },
    /// Every producer id below is given out.
    ProducerIds {
        next: i64,
    },
    LeaderEpoch {
        id: TopicId,
        index: i32,
        epoch: i32,
    },
}

/// A record that cannot be understood or does not fit what came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// It ends before its fields do, or a field is not what it must be.
    Malformed { kind: u8, what: &'static str },
    /// Written by a newer version of this program.
    Unknown { kind: u8 },
    /// For example a change of a topic that does not exist.
    Inconsistent(String),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { kind, what } => {
                write!(f, "metadata record of type {kind} is damaged: {what}")
            }
            Self::Unknown { kind } => write!(
                f,
                "metadata record of type {kind} is unknown: the data directory was written by a \
                 newer version; start that one"
            ),
            Self::Inconsistent(what) => write!(f, "metadata record does not fit: {what}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::SnapshotBegin => 1,
            Self::SnapshotEnd => 2,
            Self::Registered { .. } => 3,
            Self::TopicCreated(_) => 4,
            Self::TopicDeleted { .. } => 5,
            Self::PartitionsAdded { .. } => 6,
            Self::TopicConfigSet { .. } => 7,
            Self::BrokerConfigSet { .. } => 8,
            Self::ProducerIds { .. } => 9,
            Self::LeaderEpoch { .. } => 10,
        }
    }

    /// The bytes of the record's value.
    pub fn encode(&self, in_snapshot: bool) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(self.kind());
        out.put_u8(VERSION);
        out.put_u8(if in_snapshot { IN_SNAPSHOT } else { 0 });
        match self {
            Self::SnapshotBegin | Self::SnapshotEnd => {}
            Self::Registered {
                cluster_id,
                node_id,
            } => {
                put_str(&mut out, cluster_id);
                out.put_i32(*node_id);
            }
            Self::TopicCreated(topic) => put_topic(&mut out, topic),
            Self::TopicDeleted { id } => out.put_slice(&id.0),
            Self::PartitionsAdded {
                id,
                first,
                partitions,
            } => {
                out.put_slice(&id.0);
                out.put_i32(*first);
                put_partitions(&mut out, partitions);
            }
            Self::TopicConfigSet { id, name, value } => {
                out.put_slice(&id.0);
                put_str(&mut out, name);
                put_opt(&mut out, value.as_deref());
            }
            Self::BrokerConfigSet { all, name, value } => {
                out.put_u8(u8::from(*all));
                put_str(&mut out, name);
                put_opt(&mut out, value.as_deref());
            }
            Self::ProducerIds { next } => out.put_i64(*next),
            Self::LeaderEpoch { id, index, epoch } => {
                out.put_slice(&id.0);
                out.put_i32(*index);
                out.put_i32(*epoch);
            }
        }
        out.freeze()
    }

    /// Reads a record's value: the record and whether it is part of a snapshot. `None` for a type
    /// that may be skipped.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] and [`RecordError::Unknown`].
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, bool)>, RecordError> {
        let kind = bytes.first().copied().unwrap_or(0);
        let mut input = Input { kind, bytes };
        input.u8()?;
        input.u8()?;
        let in_snapshot = input.u8()? & IN_SNAPSHOT != 0;
        let record = match kind {
            1 => Self::SnapshotBegin,
            2 => Self::SnapshotEnd,
            3 => Self::Registered {
                cluster_id: input.string()?,
                node_id: input.i32()?,
            },
            4 => Self::TopicCreated(input.topic()?),
            5 => Self::TopicDeleted { id: input.id()? },
            6 => Self::PartitionsAdded {
                id: input.id()?,
                first: input.i32()?,
                partitions: input.partitions()?,
            },
            7 => Self::TopicConfigSet {
                id: input.id()?,
                name: input.string()?,
                value: input.opt()?,
            },
            8 => Self::BrokerConfigSet {
                all: input.u8()? != 0,
                name: input.string()?,
                value: input.opt()?,
            },
            9 => Self::ProducerIds { next: input.i64()? },
            10 => Self::LeaderEpoch {
                id: input.id()?,
                index: input.i32()?,
                epoch: input.i32()?,
            },
            FIRST_SKIPPABLE.. => return Ok(None),
            _ => return Err(RecordError::Unknown { kind }),
        };
        Ok(Some((record, in_snapshot)))
    }

    /// Carries the record out on `image`. Markers of snapshots change nothing.
    ///
    /// # Errors
    /// [`RecordError::Inconsistent`]: the record speaks of what is not there; `image` is unchanged.
    pub fn apply(&self, image: &mut Image) -> Result<(), RecordError> {
        match self {
            Self::SnapshotBegin | Self::SnapshotEnd => {}
            Self::Registered {
                cluster_id,
                node_id,
            } => {
                if *node_id < 0 {
                    let what = format!("the node has the number {node_id}");
                    return Err(RecordError::Inconsistent(what));
                }
                image.cluster_id = Arc::from(cluster_id.as_str());
                image.node_id = *node_id;
            }
            Self::TopicCreated(topic) => {
                if image.topic(&topic.name).is_some() {
                    let what = format!("topic '{}' is created twice", topic.name);
                    return Err(RecordError::Inconsistent(what));
                }
                image.put_topic(topic.clone());
            }
            Self::TopicDeleted { id } => {
                find(image, *id)?;
                image.remove_topic(*id);
            }
            Self::PartitionsAdded {
                id,
                first,
                partitions,
            } => add_partitions(image, *id, *first, partitions)?,
            Self::TopicConfigSet { id, name, value } => {
                let mut topic = find(image, *id)?;
                match value {
                    Some(value) => topic.configs.insert(name.clone(), value.clone()),
                    None => topic.configs.remove(name),
                };
                image.put_topic(topic);
            }
            Self::BrokerConfigSet { all, name, value } => {
                image.put_broker_config(*all, name, value.as_deref());
            }
            Self::ProducerIds { next } => image.next_producer_id = *next,
            Self::LeaderEpoch { id, index, epoch } => set_epoch(image, *id, *index, *epoch)?,
        }
        Ok(())
    }
}

fn find(image: &Image, id: TopicId) -> Result<Topic, RecordError> {
    image
        .topic_by_id(id)
        .map(|topic| Topic::clone(topic))
        .ok_or_else(|| RecordError::Inconsistent(format!("no topic has the id {:02x?}", id.0)))
}

fn add_partitions(
    image: &mut Image,
    id: TopicId,
    first: i32,
    partitions: &[Partition],
) -> Result<(), RecordError> {
    let mut topic = find(image, id)?;
    if usize::try_from(first) != Ok(topic.partitions.len()) {
        let what = format!(
            "topic '{}' has {} partitions, not {first}",
            topic.name,
            topic.partitions.len()
        );
        return Err(RecordError::Inconsistent(what));
    }
    topic.partitions.extend_from_slice(partitions);
    image.put_topic(topic);
    Ok(())
}

fn set_epoch(image: &mut Image, id: TopicId, index: i32, epoch: i32) -> Result<(), RecordError> {
    let mut topic = find(image, id)?;
    let at = usize::try_from(index).ok();
    let Some(partition) = at.and_then(|at| topic.partitions.get_mut(at)) else {
        let what = format!("topic '{}' has no partition {index}", topic.name);
        return Err(RecordError::Inconsistent(what));
    };
    partition.leader_epoch = epoch;
    image.put_topic(topic);
    Ok(())
}

const NULL: u32 = u32::MAX;

fn put_len(out: &mut BytesMut, len: usize) {
    out.put_u32(u32::try_from(len).expect("metadata comes from frames smaller than 4 GiB"));
}

fn put_str(out: &mut BytesMut, text: &str) {
    put_len(out, text.len());
    out.put_slice(text.as_bytes());
}

fn put_opt(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_str(out, text),
        None => out.put_u32(NULL),
    }
}

fn put_nodes(out: &mut BytesMut, nodes: &[i32]) {
    put_len(out, nodes.len());
    nodes.iter().for_each(|&node| out.put_i32(node));
}

fn put_partitions(out: &mut BytesMut, partitions: &[Partition]) {
    put_len(out, partitions.len());
    for partition in partitions {
        out.put_i32(partition.leader);
        out.put_i32(partition.leader_epoch);
        put_nodes(out, &partition.replicas);
        put_nodes(out, &partition.isr);
    }
}

fn put_topic(out: &mut BytesMut, topic: &Topic) {
    out.put_slice(&topic.id.0);
    put_str(out, &topic.name);
    out.put_i64(topic.created_ms);
    put_len(out, topic.configs.len());
    for (name, value) in &topic.configs {
        put_str(out, name);
        put_str(out, value);
    }
    put_partitions(out, &topic.partitions);
}

/// The rest of a record that is being read.
struct Input<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    const fn bad(&self, what: &'static str) -> RecordError {
        let kind = self.kind;
        RecordError::Malformed { kind, what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let split = self.bytes.split_at_checked(len);
        let (head, rest) = split.ok_or_else(|| self.bad("it ends too early"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn id(&mut self) -> Result<TopicId, RecordError> {
        Ok(TopicId(self.array()?))
    }

    /// A count of items of at least `least` bytes each: never more than the bytes that are left.
    fn count(&mut self, least: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() / least {
            return Err(self.bad("a count is larger than the record"));
        }
        Ok(count)
    }

    fn opt(&mut self) -> Result<Option<String>, RecordError> {
        let len = self.u32()?;
        if len == NULL {
            return Ok(None);
        }
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("a string is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    fn string(&mut self) -> Result<String, RecordError> {
        self.opt()?
            .ok_or_else(|| self.bad("a string is null that must not be"))
    }

    fn nodes(&mut self) -> Result<Vec<i32>, RecordError> {
        let count = self.count(4)?;
        (0..count).map(|_| self.i32()).collect()
    }

    fn partitions(&mut self) -> Result<Vec<Partition>, RecordError> {
        let count = self.count(16)?;
        let one = |_| {
            Ok(Partition {
                leader: self.i32()?,
                leader_epoch: self.i32()?,
                replicas: self.nodes()?,
                isr: self.nodes()?,
            })
        };
        (0..count).map(one).collect()
    }

    fn topic(&mut self) -> Result<Topic, RecordError> {
        let id = self.id()?;
        let name = Arc::from(self.string()?);
        let created_ms = self.i64()?;
        let mut configs = Configs::new();
        for _ in 0..self.count(8)? {
            configs.insert(self.string()?, self.string()?);
        }
        let partitions = self.partitions()?;
        Ok(Topic {
            id,
            name,
            partitions,
            configs,
            created_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let partition = Partition {
            leader: 1,
            leader_epoch: 7,
            replicas: vec![1, 2],
            isr: vec![1],
        };
        let id = TopicId(*b"0123456789abcdef");
        let name = "retention.ms".to_owned();
        let value = Some("5".to_owned());
        vec![
            Record::SnapshotBegin,
            Record::SnapshotEnd,
            Record::Registered {
                cluster_id: "abc".to_owned(),
                node_id: 1,
            },
            Record::TopicCreated(Topic {
                id,
                name: Arc::from("t"),
                partitions: vec![partition.clone(); 2],
                configs: [("a".to_owned(), "b".to_owned())].into(),
                created_ms: 99,
            }),
            Record::TopicDeleted { id },
            Record::PartitionsAdded {
                id,
                first: 2,
                partitions: vec![partition],
            },
            Record::TopicConfigSet {
                id,
                name: name.clone(),
                value: None,
            },
            Record::BrokerConfigSet {
                all: true,
                name,
                value,
            },
            Record::ProducerIds { next: 1000 },
            Record::LeaderEpoch {
                id,
                index: 0,
                epoch: 3,
            },
        ]
    }

    #[test]
    fn every_record_comes_back_and_every_cut_is_an_error() {
        for record in samples() {
            let bytes = record.encode(true);
            assert_eq!(Record::decode(&bytes), Ok(Some((record.clone(), true))));
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err(), "{record:?} {end}");
            }
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(b"a later field");
            assert_eq!(Record::decode(&longer), Ok(Some((record, true))));
        }
    }

    #[test]
    fn damaged_bytes_never_reserve_what_they_declare() {
        let mut bytes = vec![6, 1, 0];
        bytes.extend_from_slice(&[0; 20]);
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        let what = "a count is larger than the record";
        let error = RecordError::Malformed { kind: 6, what };
        assert_eq!(Record::decode(&bytes), Err(error));
    }

    #[test]
    fn unknown_records_are_skipped_only_if_they_say_so() {
        assert_eq!(Record::decode(&[200, 1, 0, 9]), Ok(None));
        let error = RecordError::Unknown { kind: 77 };
        assert_eq!(Record::decode(&[77, 1, 0]), Err(error));
    }
}
