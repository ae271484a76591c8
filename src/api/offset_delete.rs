//! OffsetDelete (key 47): KIP-496.

use net::wire::offset_delete::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic, Request, Response,
};

use crate::coordinator::group::{DeleteOffsets, GroupAnswer, GroupCall, TopicResults};

use super::error::{Code, code_of};
use super::{Cx, Handled, ReplyHeader, groups, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut places = Vec::new();
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let found = cx
            .image
            .topic(&topic.name)
            .ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION);
        let mut partitions = Vec::new();
        let mut known = Vec::new();
        for part in &topic.partitions {
            let index = part.partition_index;
            let mut answer = OffsetDeleteResponsePartition {
                partition_index: index,
                ..Default::default()
            };
            match found.and_then(|topic| topics::partition(topic, index)) {
                Ok(_) => {
                    places.push((response.topics.len(), partitions.len()));
                    known.push(index);
                }
                Err(code) => answer.error_code = code.0,
            }
            partitions.push(answer);
        }
        if !known.is_empty() {
            wanted.push((groups::text(&topic.name), known));
        }
        response.topics.push(OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions,
        });
    }
    let delete = DeleteOffsets {
        group: groups::text(&request.group_id),
        topics: wanted,
    };
    match groups::call(cx, &request.group_id, GroupCall::DeleteOffsets(delete)) {
        Err(code) => refuse(to, code),
        Ok(call) => Handled::work(cx, vec![call], move |_, answers| {
            match groups::answer(answers) {
                Some(GroupAnswer::DeleteOffsets(Ok(results))) => {
                    fill(&mut response, &places, &results);
                    to.reply(|w, version| response.encode(w, version))
                }
                Some(GroupAnswer::DeleteOffsets(Err(error))) => refuse(to, error.into()),
                _ => refuse(to, Code::UNKNOWN_SERVER_ERROR),
            }
        }),
    }
}

fn fill(response: &mut Response, places: &[(usize, usize)], results: &[TopicResults]) {
    let flat = results.iter().flat_map(|topic| &topic.partitions);
    for ((topic, at), (_, result)) in places.iter().zip(flat) {
        response.topics[*topic].partitions[*at].error_code = code_of(result);
    }
}

fn refuse(to: ReplyHeader, code: Code) -> Handled {
    let response = Response {
        error_code: code.0,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}
