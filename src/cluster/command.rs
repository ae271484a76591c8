//! What one may ask of the controller, and what it answers.

use super::error::Error;
use super::image::Configs;
use std::sync::Arc;
use storage::types::{PartitionId, TopicId};

/// One request to change the metadata: it becomes one atomic batch of records, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// -> [`Answer::Created`], one entry a topic, in the order of the request.
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
    },
    /// -> [`Answer::Deleted`].
    DeleteTopics { topics: Vec<TopicRef> },
    /// -> [`Answer::PerTopic`].
    CreatePartitions {
        topics: Vec<MorePartitions>,
        validate_only: bool,
    },
    /// -> [`Answer::PerResource`] (KIP-339).
    IncrementalAlterConfigs {
        resources: Vec<ResourceChange>,
        validate_only: bool,
    },
    /// -> [`Answer::PerResource`]. What is not named returns to its default (KIP-133).
    AlterConfigs {
        resources: Vec<ResourceReplacement>,
        validate_only: bool,
    },
    /// -> [`Answer::ProducerIds`]: a block of ids that no one has had.
    AllocateProducerIds,
    /// -> [`Answer::Done`]. Makes cluster id and node id at the very first start; later a no-op.
    Register,
    /// -> [`Answer::Done`]: the leader epoch of each rises by one. Unknown partitions are skipped.
    BumpEpochs { partitions: Vec<PartitionId> },
}

/// A topic to be created (KIP-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// -1: the broker's `num.partitions`; must be -1 with `assignments`.
    pub partitions: i32,
    /// -1: the broker's `default.replication.factor`; must be -1 with `assignments`.
    pub replication_factor: i16,
    /// Partition index and its replicas, the preferred leader first. Empty: the controller places.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Overrides; a null value is refused as Kafka refuses it.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic by name or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    Name(String),
    Id(TopicId),
}

/// More partitions for a topic (KIP-195).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    pub name: String,
    /// The new total.
    pub count: i32,
    /// Replicas of each *new* partition. `None`: the controller places.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    Topic(String),
    /// The name as the request has it: a node id in digits, or empty for all brokers.
    Broker(String),
}

/// What to do with one setting (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Set,
    Delete,
    /// Lists only.
    Append,
    /// Lists only.
    Subtract,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub op: Op,
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    pub resource: Resource,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceReplacement {
    pub resource: Resource,
    pub configs: Vec<(String, Option<String>)>,
}

/// What a topic looks like once it is created (or would, with validate-only).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// All zero with validate-only: no topic was made.
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Its overrides.
    pub configs: Configs,
}

/// The answer to a [`Command`], given once its records are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Created(Vec<(String, Result<CreatedTopic, Error>)>),
    /// Name and id of what the reference meant, as far as known; the request's order.
    Deleted(Vec<DeletedTopic>),
    PerTopic(Vec<(String, Result<(), Error>)>),
    PerResource(Vec<(Resource, Result<(), Error>)>),
    ProducerIds(ProducerIds),
    Done,
    /// The records could not be made durable: nothing changed.
    Failed(Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<Arc<str>>,
    pub id: Option<TopicId>,
    pub result: Result<(), Error>,
}

/// Producer ids `first .. first + len`, each to be given out at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIds {
    pub first: i64,
    pub len: i32,
}
