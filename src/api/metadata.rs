//! Metadata (key 3): topics by name or id (KIP-516), auto-creation, this node as every leader.

use std::collections::BTreeSet;

use net::wire::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    Request, Response,
};
use net::wire::{Str, Uuid};

use crate::cluster::command::Command;
use crate::cluster::image::{Image, Partition, Topic};
use crate::cluster::name;
use crate::shard::endpoints::{Brokers, Endpoint};
use crate::shard::mail::{Answer, Call};
use storage::types::PartitionId;

use super::error::Code;
use super::{Cx, FinishCx, Handled, ReplyHeader, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let brokers = cx.brokers();
    let missing = missing(cx, &request);
    if missing.is_empty() {
        return reply(&cx.finish(), to, &request, &brokers, &[]);
    }
    // Kafka answers UNKNOWN_TOPIC_OR_PARTITION now and lets the client ask again, which some
    // clients do not; here the request that creates a topic is answered with it.
    let topics = missing
        .iter()
        .map(|name| cx.settings.auto_created(name, cx.image))
        .collect();
    let command = Command::CreateTopics {
        topics,
        validate_only: false,
    };
    let calls = vec![(0, Call::Control(Box::new(command)))];
    Handled::work(cx, calls, move |cx, answers| {
        reply(cx, to, &request, &brokers, &failures(answers))
    })
}

/// Legal names of topics to be created on the way.
fn missing(cx: &Cx<'_>, request: &Request) -> Vec<String> {
    let allowed = cx.version() < 4 || request.allow_auto_topic_creation;
    if !allowed || !cx.broker.auto_create_topics || cx.hurried {
        return Vec::new();
    }
    let asked = request.topics.iter().flatten();
    let mut names: Vec<String> = asked
        .filter(|topic| topic.topic_id == Uuid::default())
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| cx.image.topic(name).is_none() && name::check(name).is_ok())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names that could not be created, and with which error.
fn failures(answers: Vec<Answer>) -> Vec<(String, Code)> {
    use crate::cluster::command::Answer as ControlAnswer;
    let mut failed = Vec::new();
    for answer in answers {
        let Answer::Control(answer) = answer else {
            continue;
        };
        if let ControlAnswer::Created(topics) = *answer {
            let errors = topics
                .into_iter()
                .filter_map(|(name, result)| match result {
                    Ok(_) => None,
                    Err(error) => Some((name, Code::from(error.kind))),
                });
            failed.extend(errors.filter(|(_, code)| *code != Code::TOPIC_ALREADY_EXISTS));
        }
    }
    failed
}

fn reply(
    cx: &FinishCx<'_>,
    to: ReplyHeader,
    request: &Request,
    brokers: &Brokers,
    failed: &[(String, Code)],
) -> Handled {
    let told = Told {
        image: cx.image,
        brokers,
        shards: cx.shards,
        operations: request.include_topic_authorized_operations,
    };
    let image = cx.image;
    let everything = match &request.topics {
        None => true,
        Some(topics) => to.version == 0 && topics.is_empty(),
    };
    let topics: Vec<MetadataResponseTopic> = if everything {
        let mut all: Vec<_> = image.topics().map(|topic| told.described(topic)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    } else {
        // A topic that is named twice is answered once.
        let mut seen = BTreeSet::new();
        let asked = request.topics.iter().flatten();
        asked
            .filter(|topic| seen.insert((topic.topic_id, topic.name.clone())))
            .map(|topic| told.one(topic, to.version, failed))
            .collect()
    };
    let broker = |(node_id, endpoint): (i32, Endpoint)| MetadataResponseBroker {
        node_id,
        host: endpoint.host,
        port: endpoint.port,
        rack: cx.settings.rack(),
    };
    let response = Response {
        brokers: brokers.all().map(broker).collect(),
        cluster_id: Some(Str::from(&*image.cluster_id)),
        controller_id: brokers.controller().0,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            topics::CLUSTER_OPERATIONS
        } else {
            topics::OPERATIONS_NOT_ASKED
        },
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

/// What topics are told by.
struct Told<'a> {
    image: &'a Image,
    brokers: &'a Brokers,
    shards: u16,
    /// Whether the client wants to know what it may do.
    operations: bool,
}

impl Told<'_> {
    fn one(
        &self,
        asked: &MetadataRequestTopic,
        version: i16,
        failed: &[(String, Code)],
    ) -> MetadataResponseTopic {
        let by_id = asked.topic_id != Uuid::default();
        let found = match &asked.name {
            _ if by_id => self.image.topic_by_id(topics::topic_id(asked.topic_id)),
            Some(name) => self.image.topic(name),
            None => None,
        };
        if let Some(topic) = found {
            return self.described(topic);
        }
        let name = asked.name.as_ref().map(|name| name.detached());
        let code = match &name {
            _ if by_id => Code::UNKNOWN_TOPIC_ID,
            Some(name) if name::check(name).is_err() => Code::INVALID_TOPIC,
            Some(name) => failed
                .iter()
                .find(|(failed, _)| failed == &**name)
                .map_or(Code::UNKNOWN_TOPIC_OR_PARTITION, |(_, code)| *code),
            None => Code::UNKNOWN_TOPIC_ID,
        };
        MetadataResponseTopic {
            error_code: code.0,
            // Null is legal from version 12 on only, and there only for ids.
            name: if by_id && version >= 12 {
                None
            } else {
                Some(name.unwrap_or_default())
            },
            topic_id: asked.topic_id,
            ..Default::default()
        }
    }

    fn described(&self, topic: &Topic) -> MetadataResponseTopic {
        let placed = topic.ids().zip(&topic.partitions);
        MetadataResponseTopic {
            error_code: 0,
            name: Some(Str::from(&*topic.name)),
            topic_id: topics::uuid(topic.id),
            is_internal: topic.is_internal(),
            partitions: placed.map(|(id, part)| self.partition(id, part)).collect(),
            topic_authorized_operations: if self.operations {
                topics::TOPIC_OPERATIONS
            } else {
                topics::OPERATIONS_NOT_ASKED
            },
        }
    }

    fn partition(&self, id: PartitionId, partition: &Partition) -> MetadataResponsePartition {
        let shard = self.image.owner(id, self.shards);
        MetadataResponsePartition {
            error_code: 0,
            partition_index: id.index,
            leader_id: self.brokers.holder(partition.leader, shard),
            leader_epoch: partition.leader_epoch,
            replica_nodes: self.brokers.holders(&partition.replicas, shard),
            isr_nodes: self.brokers.holders(&partition.isr, shard),
            offline_replicas: Vec::new(),
        }
    }
}
