//! DescribeTopicPartitions (key 75): KIP-966, in pages.

use std::sync::Arc;

use net::wire::Str;
use net::wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    Request, Response,
};

use crate::cluster::image::{Partition, Topic};
use crate::cluster::name;
use crate::shard::endpoints::Brokers;

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let brokers = cx.brokers();
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = limit.min(cx.broker.described_partitions_max).max(1);
    let mut names: Vec<Str> = if request.topics.is_empty() {
        cx.image
            .topics()
            .map(|topic| Str::from(&*topic.name))
            .collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.detached())
            .collect()
    };
    names.sort_unstable();
    names.dedup();
    let start = request.cursor.as_ref();
    if let Some(cursor) = start {
        names.retain(|name| **name >= *cursor.topic_name);
        let foreign = !request.topics.is_empty() && !names.contains(&cursor.topic_name);
        if foreign || cursor.partition_index < 0 {
            return refuse(to, &request);
        }
    }
    let mut response = Response::default();
    for name in names {
        if room == 0 {
            // The next page begins with this topic, whether it exists or not.
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: 0,
            });
            break;
        }
        let Some(topic) = cx.image.topic(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let first = start.filter(|cursor| cursor.topic_name == name);
        let first = first.map_or(0, |cursor| {
            usize::try_from(cursor.partition_index).unwrap_or(0)
        });
        let (described, next) = describe(cx, &brokers, topic, first, room);
        room -= described.partitions.len();
        response.topics.push(described);
        if let Some(partition_index) = next {
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index,
            });
            break;
        }
    }
    to.reply(|w, version| response.encode(w, version))
}

fn describe(
    cx: &Cx<'_>,
    brokers: &Brokers,
    topic: &Arc<Topic>,
    first: usize,
    room: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let placed = topic.ids().zip(&topic.partitions).skip(first);
    let placed = placed.take(room).map(|(id, part)| {
        let shard = cx.image.owner(id, cx.shards);
        partition(brokers, shard, id.index, part)
    });
    let partitions: Vec<_> = placed.collect();
    let next = first + partitions.len();
    let next = (next < topic.partitions.len()).then(|| i32::try_from(next).unwrap_or(i32::MAX));
    let described = DescribeTopicPartitionsResponseTopic {
        name: Some(Str::from(&*topic.name)),
        topic_id: topics::uuid(topic.id),
        is_internal: topic.is_internal(),
        partitions,
        topic_authorized_operations: topics::TOPIC_OPERATIONS,
        ..Default::default()
    };
    (described, next)
}

/// A cursor that fits no topic of the request: every topic is answered with that.
fn refuse(to: ReplyHeader, request: &Request) -> Handled {
    let topic = |name: Str| DescribeTopicPartitionsResponseTopic {
        error_code: Code::INVALID_REQUEST.0,
        name: Some(name),
        ..Default::default()
    };
    let names = request.topics.iter().map(|topic| topic.name.detached());
    let response = Response {
        topics: names.map(topic).collect(),
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

fn unknown(name: Str) -> DescribeTopicPartitionsResponseTopic {
    let code = match name::check(&name) {
        Ok(()) => Code::UNKNOWN_TOPIC_OR_PARTITION,
        Err(_) => Code::INVALID_TOPIC,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.0,
        name: Some(name),
        topic_authorized_operations: topics::TOPIC_OPERATIONS,
        ..Default::default()
    }
}

fn partition(
    brokers: &Brokers,
    shard: u16,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        error_code: 0,
        partition_index: index,
        leader_id: brokers.holder(partition.leader, shard),
        leader_epoch: partition.leader_epoch,
        replica_nodes: brokers.holders(&partition.replicas, shard),
        isr_nodes: brokers.holders(&partition.isr, shard),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}
