//! Produce (key 0): KIP-98, 467, 951; each batch goes to the shard that owns its partition.

use std::collections::BTreeMap;

use bytes::Bytes;
use net::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, Request, Response, TopicProduceResponse,
};

use crate::cluster::image::Topic;
use crate::cluster::name;
use crate::partition::answers::{ProducedPart, Refusal, Trouble};
use crate::partition::calls::{ProduceCall, ProducePart};
use crate::shard::mail::{Answer, Call};
use storage::types::PartitionId;

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, topics};

/// Batch attribute bit of a transactional batch, and where the attributes lie.
const TRANSACTIONAL: u8 = 0x10;
const ATTRIBUTES_LOW_BYTE: usize = 22;
const MAGIC_BYTE: usize = 16;

/// Client id that may write to internal topics (Kafka's own admin tools).
const ADMIN_CLIENT: &str = "__admin_client";

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let acks = request.acks;
    let mut response = Response::default();
    let mut parts: BTreeMap<u16, Vec<ProducePart>> = BTreeMap::new();
    let mut places = Vec::new();
    let refused_whole = refuse_whole(&request);
    for topic in request.topic_data {
        let found = topics::find(cx.image, &topic.name, topic.topic_id, cx.version() >= 13);
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let place = (response.responses.len(), answers.len());
            let records = data
                .records
                .map(net::wire::Records::into_bytes)
                .unwrap_or_default();
            let admitted = match refused_whole {
                Some(code) => Err(code),
                None => found.and_then(|topic| admit(cx, topic, data.index, &records)),
            };
            let mut answer = PartitionProduceResponse {
                index: data.index,
                base_offset: -1,
                ..Default::default()
            };
            match admitted {
                Ok(id) => {
                    let index = u32::try_from(places.len()).unwrap_or(u32::MAX);
                    places.push(place);
                    let shard = cx.image.owner(id, cx.shards);
                    parts
                        .entry(shard)
                        .or_default()
                        .push(ProducePart { index, id, records });
                }
                Err(code) => answer.error_code = code.0,
            }
            answers.push(answer);
        }
        response.responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }
    let calls = calls(cx, parts, acks, request.timeout_ms);
    Handled::work(cx, calls, move |_, answers| {
        for answer in answers {
            let Answer::Produced(parts) = answer else {
                continue;
            };
            for part in parts {
                let Some((topic, at)) = places.get(part.index as usize).copied() else {
                    continue;
                };
                fill(&mut response.responses[topic].partition_responses[at], part);
            }
        }
        finish(to, acks, &response)
    })
}

/// One call to each shard that owns any of the partitions.
fn calls(
    cx: &Cx<'_>,
    parts: BTreeMap<u16, Vec<ProducePart>>,
    acks: i16,
    timeout_ms: i32,
) -> Vec<(u16, Call)> {
    let deadline = cx.now.mono.after_ms(u64::try_from(timeout_ms).unwrap_or(0));
    let call = |(shard, parts)| {
        let call = ProduceCall {
            parts,
            deadline,
            until_durable: acks != 0,
            internal: false,
            zstd_allowed: cx.version() >= 7,
        };
        (shard, Call::Produce(call))
    };
    parts.into_iter().map(call).collect()
}

/// What can be said of a batch before its partition sees it.
fn admit(cx: &Cx<'_>, topic: &Topic, index: i32, records: &Bytes) -> Result<PartitionId, Code> {
    check_internal(cx, &topic.name)?;
    let id = topics::partition(topic, index)?;
    check_batch(records)?;
    Ok(id)
}

/// Faults of the request itself, which every partition is answered with.
fn refuse_whole(request: &Request) -> Option<Code> {
    if request.transactional_id.is_some() {
        return Some(Code::INVALID_TXN_STATE);
    }
    (!(-1..=1).contains(&request.acks)).then_some(Code::INVALID_REQUIRED_ACKS)
}

fn check_internal(cx: &Cx<'_>, topic: &str) -> Result<(), Code> {
    let admin = cx
        .header
        .client_id
        .as_ref()
        .is_some_and(|id| &**id == ADMIN_CLIENT);
    if name::is_internal(topic) && !admin {
        Err(Code::INVALID_TOPIC)
    } else {
        Ok(())
    }
}

/// Transactions are not built yet: a transactional batch is refused before anything else.
fn check_batch(records: &Bytes) -> Result<(), Code> {
    let magic = records.get(MAGIC_BYTE).copied();
    let attributes = records.get(ATTRIBUTES_LOW_BYTE).copied().unwrap_or(0);
    if magic == Some(2) && attributes & TRANSACTIONAL != 0 {
        return Err(Code::INVALID_TXN_STATE);
    }
    Ok(())
}

fn fill(answer: &mut PartitionProduceResponse, part: ProducedPart) {
    match part.result {
        Ok(produced) => {
            answer.base_offset = produced.base_offset;
            answer.log_append_time_ms = produced.log_append_time_ms;
            answer.log_start_offset = produced.log_start;
        }
        Err(refusal) => fill_refusal(answer, refusal),
    }
}

fn fill_refusal(answer: &mut PartitionProduceResponse, refusal: Refusal) {
    answer.error_code = Code::from(refusal.trouble).0;
    answer.log_start_offset = refusal.log_start;
    let with_message = matches!(
        refusal.trouble,
        Trouble::InvalidRecord | Trouble::InvalidTimestamp
    );
    answer.record_errors = refusal
        .record_errors
        .into_iter()
        .map(|(index, message)| BatchIndexAndErrorMessage {
            batch_index: index,
            batch_index_error_message: message.map(Into::into),
        })
        .collect();
    answer.error_message = refusal.message.filter(|_| with_message).map(Into::into);
}

fn finish(to: ReplyHeader, acks: i16, response: &Response) -> Handled {
    if acks != 0 {
        return to.reply(|w, version| response.encode(w, version));
    }
    // Without a reply, closing the connection is the only way to tell the client (Kafka does so).
    let mut parts = response.responses.iter().flat_map(|topic| {
        topic
            .partition_responses
            .iter()
            .map(move |part| (&topic.name, part))
    });
    match parts.find(|(_, part)| part.error_code != 0) {
        None => Handled::Silent,
        Some((topic, part)) => Handled::Close(format!(
            "produce with acks=0 to {topic}-{} failed with error {}",
            part.index, part.error_code
        )),
    }
}
