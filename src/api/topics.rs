//! How requests name topics, and how they become partitions of the domain.

use std::sync::Arc;

use net::wire::{Str, Uuid};
use storage::types::{PartitionId, TopicId};

use crate::cluster::image::{Image, Topic};

use super::Cx;
use super::error::Code;

/// Bits of the operations that everyone may do while there is no authorizer (KIP-430).
pub(super) const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
pub(super) const CLUSTER_OPERATIONS: i32 =
    1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
pub(super) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// The field's value when the client did not ask.
pub(super) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

pub(super) fn uuid(id: TopicId) -> Uuid {
    Uuid(id.0)
}

pub(super) fn topic_id(uuid: Uuid) -> TopicId {
    TopicId(uuid.0)
}

/// The topic that a request names: by name below `ids_from`, by id from that version on.
pub(super) fn find<'a>(
    image: &'a Image,
    name: &Str,
    id: Uuid,
    by_id: bool,
) -> Result<&'a Arc<Topic>, Code> {
    if by_id {
        image
            .topic_by_id(topic_id(id))
            .ok_or(Code::UNKNOWN_TOPIC_ID)
    } else {
        image.topic(name).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)
    }
}

/// The nodes that a request names by broker ids. Which shard of a node has a partition is not for
/// clients to choose.
pub(super) fn nodes(cx: &Cx<'_>, brokers: &[i32]) -> Vec<i32> {
    let own = cx.image.node_id;
    let node = |id: &i32| {
        if cx.settings.is_node(*id, own) {
            own
        } else {
            *id
        }
    };
    brokers.iter().map(node).collect()
}

/// A partition of a topic, if the topic has it.
pub(super) fn partition(topic: &Topic, index: i32) -> Result<PartitionId, Code> {
    match topic.partition(index) {
        Some(_) => Ok(PartitionId {
            topic: topic.id,
            index,
        }),
        None => Err(Code::UNKNOWN_TOPIC_OR_PARTITION),
    }
}
