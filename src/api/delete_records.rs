//! DeleteRecords (key 21): KIP-107.

use net::wire::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult, Request, Response,
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
        let found = cx.image.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in topic.partitions {
            let index = part.partition_index;
            let id = match found {
                None => Err(Code::UNKNOWN_TOPIC_OR_PARTITION),
                Some(topic) if topic.is_internal() => Err(Code::INVALID_TOPIC),
                Some(topic) => topics::partition(topic, index),
            };
            let mut answer = DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: -1,
                error_code: 0,
            };
            match id {
                Ok(id) => {
                    let ask = PartitionAsk::DeleteRecords {
                        before: part.offset,
                    };
                    places.push((response.topics.len(), partitions.len()));
                    calls.push((cx.image.owner(id, cx.shards), Call::Partition { id, ask }));
                }
                Err(code) => answer.error_code = code.0,
            }
            partitions.push(answer);
        }
        response.topics.push(DeleteRecordsTopicResult {
            name: topic.name,
            partitions,
        });
    }
    Handled::work(cx, calls, move |_, answers| {
        for ((topic, at), answer) in places.into_iter().zip(answers) {
            let part = &mut response.topics[topic].partitions[at];
            match answer {
                Answer::Truncated(Ok(start)) => part.low_watermark = start,
                Answer::Truncated(Err(trouble)) => part.error_code = Code::from(trouble).0,
                _ => part.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}
