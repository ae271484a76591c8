//! OffsetForLeaderEpoch (key 23): KIP-101, 279, 320.

use net::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderTopicResult, Request, Response,
};

use crate::shard::mail::{Answer, Call, PartitionAsk};

use super::error::Code;
use super::{Cx, Handled, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    for topic in request.topics {
        let found = cx.image.topic(&topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let id = found
                .ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)
                .and_then(|topic| topics::partition(topic, part.partition));
            let mut answer = EpochEndOffset {
                partition: part.partition,
                ..Default::default()
            };
            match id {
                Ok(id) => {
                    let ask = PartitionAsk::EpochEnd {
                        leader_epoch: part.current_leader_epoch,
                        epoch: part.leader_epoch,
                    };
                    places.push((response.topics.len(), partitions.len()));
                    calls.push((cx.image.owner(id, cx.shards), Call::Partition { id, ask }));
                }
                Err(code) => answer.error_code = code.0,
            }
            partitions.push(answer);
        }
        response.topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic,
            partitions,
        });
    }
    Handled::work(cx, calls, move |_, answers| {
        for ((topic, at), answer) in places.into_iter().zip(answers) {
            let part = &mut response.topics[topic].partitions[at];
            match answer {
                Answer::EpochEnd(Ok((epoch, end))) => {
                    part.leader_epoch = epoch;
                    part.end_offset = end;
                }
                Answer::EpochEnd(Err(trouble)) => part.error_code = Code::from(trouble).0,
                _ => part.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}
