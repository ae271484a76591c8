//! OffsetCommit (key 8): KIP-211, 320, 345, 848; topics by id from version 10 on.

use net::wire::offset_commit::{
    OffsetCommitRequestTopic, OffsetCommitResponsePartition, OffsetCommitResponseTopic, Request,
    Response,
};

use crate::coordinator::group::{
    CommitOffsets, CommitPartition, CommitTopic, GroupAnswer, GroupCall, GroupError, TopicResults,
};

use super::error::{Code, code_of};
use super::{Cx, Handled, groups, topics};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let version = cx.version();
    let by_id = version >= 10;
    let mut response = Response::default();
    let mut places = Vec::new();
    let mut commits = Vec::new();
    for topic in &request.topics {
        let (commit, answers) = split(cx, topic, &mut places, response.topics.len());
        response.topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: answers,
        });
        commits.extend(commit);
    }
    if commits.is_empty() {
        return to.reply(|w, version| response.encode(w, version));
    }
    let commit = CommitOffsets {
        group: Some(groups::text(&request.group_id)),
        generation: request.generation_id_or_member_epoch,
        member: groups::text(&request.member_id),
        instance: groups::some_text(request.group_instance_id.as_ref()),
        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms >= 0),
        knows_group_id_not_found: version >= 9,
        topics: commits,
    };
    let call = match groups::call(cx, &request.group_id, GroupCall::CommitOffsets(commit)) {
        Ok(call) => call,
        Err(code) => {
            fail_all(&mut response, &places, code);
            return to.reply(|w, version| response.encode(w, version));
        }
    };
    Handled::work(cx, vec![call], move |_, answers| {
        match groups::answer(answers) {
            Some(GroupAnswer::CommitOffsets(Ok(results))) => {
                fill(&mut response, &places, &results, by_id);
            }
            Some(GroupAnswer::CommitOffsets(Err(error))) => {
                fail_all(&mut response, &places, error.into());
            }
            _ => fail_all(&mut response, &places, Code::UNKNOWN_SERVER_ERROR),
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

/// What of a topic goes to the coordinator, and the answers of what does not.
fn split(
    cx: &Cx<'_>,
    topic: &OffsetCommitRequestTopic,
    places: &mut Vec<(usize, usize)>,
    at: usize,
) -> (Option<CommitTopic>, Vec<OffsetCommitResponsePartition>) {
    let by_id = cx.version() >= 10;
    let found = topics::find(cx.image, &topic.name, topic.topic_id, by_id);
    let mut partitions = Vec::new();
    let mut answers = Vec::with_capacity(topic.partitions.len());
    for part in &topic.partitions {
        let index = part.partition_index;
        let mut answer = OffsetCommitResponsePartition {
            partition_index: index,
            ..Default::default()
        };
        match found.and_then(|topic| topics::partition(topic, index)) {
            Ok(_) => {
                places.push((at, answers.len()));
                partitions.push(CommitPartition {
                    index,
                    offset: part.committed_offset,
                    leader_epoch: part.committed_leader_epoch,
                    metadata: groups::text(&part.committed_metadata.clone().unwrap_or_default()),
                });
            }
            Err(code) => answer.error_code = code.0,
        }
        answers.push(answer);
    }
    let commit = found
        .ok()
        .filter(|_| !partitions.is_empty())
        .map(|found| CommitTopic {
            name: std::sync::Arc::clone(&found.name),
            id: found.id.0,
            is_gone: false,
            partitions,
        });
    (commit, answers)
}

fn fill(response: &mut Response, places: &[(usize, usize)], results: &[TopicResults], by_id: bool) {
    let flat = results.iter().flat_map(|topic| &topic.partitions);
    for ((topic, at), (_, result)) in places.iter().zip(flat) {
        let code = match result {
            Err(GroupError::UnknownTopic) if by_id => Code::UNKNOWN_TOPIC_ID.0,
            result => code_of(result),
        };
        response.topics[*topic].partitions[*at].error_code = code;
    }
}

fn fail_all(response: &mut Response, places: &[(usize, usize)], code: Code) {
    for (topic, at) in places {
        response.topics[*topic].partitions[*at].error_code = code.0;
    }
}
