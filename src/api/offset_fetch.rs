//! OffsetFetch (key 9): one group up to version 7, many from 8 on (KIP-709), topic ids from 10 on.

use net::wire::Str;
use net::wire::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics, Request, Response,
};

use crate::cluster::image::Image;
use crate::coordinator::group::{FetchOffsets, FetchTopic, FetchedTopic, GroupAnswer, GroupCall};

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, groups, topics};

/// A topic id that is not known: answered without asking the coordinator.
type Unknown = Vec<OffsetFetchResponseTopics>;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let require_stable = request.require_stable;
    let asked = if to.version >= 8 {
        request.groups
    } else {
        vec![single(request)]
    };
    let mut answers: Vec<OffsetFetchResponseGroup> = Vec::with_capacity(asked.len());
    let mut calls = Vec::new();
    let mut places: Vec<(usize, Unknown)> = Vec::new();
    for group in asked {
        let mut answer = OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            ..Default::default()
        };
        let (topics, unknown) = wanted(cx, &group);
        let fetch = FetchOffsets {
            group: Some(groups::text(&group.group_id)),
            topics,
            require_stable,
        };
        match groups::call(cx, &group.group_id, GroupCall::FetchOffsets(fetch)) {
            Ok(call) => {
                places.push((answers.len(), unknown));
                calls.push(call);
            }
            Err(code) => answer.error_code = code.0,
        }
        answers.push(answer);
    }
    Handled::work(cx, calls, move |cx, got| {
        for ((at, unknown), got) in places.into_iter().zip(groups::answers(got)) {
            let group = &mut answers[at];
            match got {
                Some(GroupAnswer::FetchOffsets(Ok(found))) => {
                    group.topics = found
                        .iter()
                        .map(|topic| answered(cx.image, topic, to))
                        .collect();
                    group.topics.extend(unknown);
                }
                Some(GroupAnswer::FetchOffsets(Err(error))) => {
                    group.error_code = Code::from(error).0;
                }
                _ => group.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        reply(to, answers)
    })
}

/// The one group of an old version, in the form of the new ones.
fn single(request: Request) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topic =
            |topic: net::wire::offset_fetch::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    }
}

fn wanted(cx: &Cx<'_>, group: &OffsetFetchRequestGroup) -> (Option<Vec<FetchTopic>>, Unknown) {
    let by_id = cx.version() >= 10;
    let mut unknown = Vec::new();
    let Some(asked) = &group.topics else {
        return (None, unknown);
    };
    let mut wanted = Vec::with_capacity(asked.len());
    for topic in asked {
        let name = if by_id {
            match cx.image.topic_by_id(topics::topic_id(topic.topic_id)) {
                Some(found) => std::sync::Arc::clone(&found.name),
                None => {
                    unknown.push(unknown_topic(topic));
                    continue;
                }
            }
        } else {
            groups::text(&topic.name)
        };
        let id = if by_id { topic.topic_id.0 } else { [0; 16] };
        wanted.push(FetchTopic {
            name,
            id,
            partitions: topic.partition_indexes.clone(),
        });
    }
    (Some(wanted), unknown)
}

fn unknown_topic(topic: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: Code::UNKNOWN_TOPIC_ID.0,
    };
    OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        ..Default::default()
    }
}

fn answered(image: &Image, topic: &FetchedTopic, to: ReplyHeader) -> OffsetFetchResponseTopics {
    let partition =
        |part: &crate::coordinator::group::FetchedPartition| OffsetFetchResponsePartitions {
            partition_index: part.index,
            committed_offset: part.offset,
            committed_leader_epoch: part.leader_epoch,
            metadata: Some(groups::str(&part.metadata)),
            error_code: 0,
        };
    let id = if to.version >= 10 && topic.id == [0; 16] {
        image
            .topic(&topic.name)
            .map(|topic| topic.id.0)
            .unwrap_or_default()
    } else {
        topic.id
    };
    OffsetFetchResponseTopics {
        name: groups::str(&topic.name),
        topic_id: net::wire::Uuid(id),
        partitions: topic.partitions.iter().map(partition).collect(),
    }
}

fn reply(to: ReplyHeader, mut answers: Vec<OffsetFetchResponseGroup>) -> Handled {
    let mut response = Response::default();
    if to.version >= 8 {
        response.groups = answers;
    } else if let Some(group) = answers.pop() {
        response.error_code = group.error_code;
        response.topics = group.topics.into_iter().map(old_topic).collect();
    }
    to.reply(|w, version| response.encode(w, version))
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |part: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: part.partition_index,
        committed_offset: part.committed_offset,
        committed_leader_epoch: part.committed_leader_epoch,
        metadata: part.metadata,
        error_code: part.error_code,
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    }
}
