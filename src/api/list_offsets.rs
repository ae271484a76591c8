//! ListOffsets (key 2): KIP-79, 207, 734, 405.

use std::collections::BTreeSet;

use net::wire::Str;
use net::wire::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse, Request, Response,
};

use crate::shard::mail::{Answer, Call, PartitionAsk};

use super::error::Code;
use super::{Cx, Handled, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let committed_only = request.isolation_level == 1;
    let twice = named_twice(&request);
    let mut response = Response::default();
    let mut answered = BTreeSet::new();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    for topic in request.topics {
        let found = cx.image.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let index = part.partition_index;
            let id = found
                .ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)
                .and_then(|topic| topics::partition(topic, index));
            let key = (topic.name.clone(), index);
            if !answered.insert(key.clone()) {
                continue;
            }
            let id = if twice.contains(&key) {
                Err(Code::INVALID_REQUEST)
            } else {
                check_marker(part.timestamp, cx.version()).and(id)
            };
            let mut answer = ListOffsetsPartitionResponse {
                partition_index: index,
                ..Default::default()
            };
            match id {
                Ok(id) => {
                    let ask = PartitionAsk::Time {
                        timestamp: part.timestamp,
                        leader_epoch: part.current_leader_epoch,
                        committed_only,
                    };
                    places.push((response.topics.len(), partitions.len()));
                    calls.push((cx.image.owner(id, cx.shards), Call::Partition { id, ask }));
                }
                Err(code) => answer.error_code = code.0,
            }
            partitions.push(answer);
        }
        response.topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    Handled::work(cx, calls, move |_, answers| {
        for ((topic, at), answer) in places.into_iter().zip(answers) {
            let part = &mut response.topics[topic].partitions[at];
            match answer {
                Answer::Time(Ok(found)) => {
                    part.offset = found.offset;
                    part.timestamp = found.timestamp;
                    if to.version >= 4 {
                        part.leader_epoch = found.leader_epoch;
                    }
                }
                Answer::Time(Err(trouble)) => part.error_code = Code::from(trouble).0,
                _ => part.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

/// Partitions that the request names more than once: each is answered once, with an error.
fn named_twice(request: &Request) -> BTreeSet<(Str, i32)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for part in &topic.partitions {
            let key = (topic.name.clone(), part.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key);
            }
        }
    }
    twice
}

/// Which negative timestamps a version knows.
fn check_marker(timestamp: i64, version: i16) -> Result<(), Code> {
    let first = match timestamp {
        -2.. => 0,
        -3 => 7,
        -4 => 8,
        -5 => 9,
        -6 => 11,
        _ => i16::MAX,
    };
    if version < first {
        Err(Code::UNSUPPORTED_VERSION)
    } else {
        Ok(())
    }
}
