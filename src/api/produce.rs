//! Produce (key 0): KIP-98, 467, 951; each batch goes to the shard that owns its partition.

use std::collections::BTreeMap;

use net::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, Request, Response, TopicProduceResponse,
};
use net::wire::{Records, Str, Uuid};

use crate::cluster::image::Topic;
use crate::cluster::name;
use crate::partition::answers::{ProducedPart, Refusal};
use crate::partition::calls::{ProduceCall, ProducePart};
use crate::shard::mail::{Answer, Call};
use storage::batch::Pieces;
use storage::types::PartitionId;

use super::error::Code;
use super::{Cx, Handled, ReplyHeader, topics};

/// Batch attribute bit of a transactional batch.
const TRANSACTIONAL: u8 = 0x10;
/// Where the size, the magic and the low byte of the attributes of a batch lie.
const SIZE_AT: usize = 8;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 22;
/// `LegacyRecord.RECORD_OVERHEAD_V0`.
const SIZE_MIN: i32 = 14;

/// A request waits at least this long for its records to be durable. The client's timeout is about
/// replicas that lag, of which one node has none: with Kafka, even a timeout of 0 succeeds there.
const WAIT_MS_MIN: u64 = 5_000;

/// Client id that may write to internal topics (Kafka's own admin tools).
const ADMIN_CLIENT: &str = "__admin_client";

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let acks = request.acks;
    let mut response = Response::default();
    let mut parts: Vec<(u16, Vec<ProducePart>)> = Vec::new();
    let mut places = Vec::new();
    let mut number = 0;
    let refused_whole = refuse_whole(&request);
    let message = refused_whole.as_ref().and_then(|(_, text)| text.clone());
    let last = last_of_each(&request);
    for topic in request.topic_data {
        if topic.partition_data.is_empty() {
            continue;
        }
        let found = topics::find(cx.image, &topic.name, topic.topic_id, cx.version() >= 13);
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            // Of a partition that is named twice the last batch counts, as in Kafka.
            number += 1;
            let key = || (topic.name.clone(), topic.topic_id, data.index);
            if last.as_ref().is_some_and(|last| last[&key()] != number) {
                continue;
            }
            let place = (response.responses.len(), answers.len());
            let records = data
                .records
                .map_or_else(Pieces::default, |records| records.parts.into());
            let admitted = match &refused_whole {
                Some((code, _)) => Err(*code),
                None => found.and_then(|topic| admit(cx, topic, data.index, acks)),
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
                    put(&mut parts, shard, ProducePart { index, id, records });
                }
                Err(code) => {
                    answer.error_code = code.0;
                    answer.error_message = message.clone();
                }
            }
            answers.push(answer);
        }
        response.responses.push(TopicProduceResponse {
            // What waits for the disk must not keep a whole receive buffer for the sake of a name.
            name: topic.name.detached(),
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }
    let calls = calls(cx, parts, acks, request.timeout_ms);
    Handled::work(cx, calls, move |_, answers| {
        for part in answers.into_iter().flat_map(produced_parts) {
            if let Some((topic, at)) = places.get(part.index as usize).copied() {
                fill(&mut response.responses[topic].partition_responses[at], part);
            }
        }
        finish(to, acks, &response)
    })
}

fn put(parts: &mut Vec<(u16, Vec<ProducePart>)>, shard: u16, part: ProducePart) {
    match parts.iter_mut().find(|(owner, _)| *owner == shard) {
        Some((_, parts)) => parts.push(part),
        None => parts.push((shard, vec![part])),
    }
}

fn produced_parts(answer: Answer) -> Vec<ProducedPart> {
    match answer {
        Answer::Produced(parts) => parts,
        _ => Vec::new(),
    }
}

/// One call to each shard that owns any of the partitions.
fn calls(
    cx: &Cx<'_>,
    parts: Vec<(u16, Vec<ProducePart>)>,
    acks: i16,
    timeout_ms: i32,
) -> Vec<(u16, Call)> {
    let wait_ms = u64::try_from(timeout_ms).unwrap_or(0).max(WAIT_MS_MIN);
    let deadline = cx.now.mono.after_ms(wait_ms);
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

/// What can be said before the partition sees its batch.
fn admit(cx: &Cx<'_>, topic: &Topic, index: i32, acks: i16) -> Result<PartitionId, Code> {
    check_internal(cx, &topic.name)?;
    let id = topics::partition(topic, index)?;
    if (-1..=1).contains(&acks) {
        Ok(id)
    } else {
        Err(Code::INVALID_REQUIRED_ACKS)
    }
}

/// How many parts of a request had been counted when the last of each partition came.
type LastOfEach = BTreeMap<(Str, Uuid, i32), usize>;

/// `None` where a request has one part, and so no other of the same partition.
fn last_of_each(request: &Request) -> Option<LastOfEach> {
    if let [topic] = &request.topic_data[..]
        && topic.partition_data.len() == 1
    {
        return None;
    }
    let topics = request.topic_data.iter();
    let parts = topics.flat_map(|topic| {
        let key = |index| (topic.name.clone(), topic.topic_id, index);
        topic.partition_data.iter().map(move |part| key(part.index))
    });
    Some(parts.zip(1..).collect())
}

/// Faults that every partition is answered with: Kafka looks at the first batch of each partition
/// for transactional records before it looks at anything else, and stumbles over broken ones.
fn refuse_whole(request: &Request) -> Option<(Code, Option<Str>)> {
    let mut transactional = false;
    for part in request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data)
    {
        let Some(records) = &part.records else {
            continue;
        };
        match first_batch(records) {
            Err(message) => return Some((Code::CORRUPT_MESSAGE, Some(message.into()))),
            // Kafka looks no further.
            Ok(true) => {
                transactional = true;
                break;
            }
            Ok(false) => {}
        }
    }
    // Transactions are not built yet: no transactional id is known.
    let known = request.transactional_id.is_some();
    match (transactional, known) {
        (false, _) => None,
        (true, false) => Some((Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None)),
        (true, true) => Some((Code::INVALID_TXN_STATE, None)),
    }
}

/// Whether the first batch is transactional; as far as `ByteBufferLogInputStream` (4.2) would look,
/// and with its words.
fn first_batch(records: &Records) -> Result<bool, String> {
    let (head, filled) = records.head::<{ ATTRIBUTES_AT + 1 }>();
    let head = &head[..filled];
    let Some(size) = head.get(SIZE_AT..).and_then(<[u8]>::first_chunk) else {
        return Ok(false);
    };
    let size = i32::from_be_bytes(*size);
    if size < SIZE_MIN {
        return Err(format!(
            "Record size {size} is less than the minimum record overhead ({SIZE_MIN})"
        ));
    }
    let Some(magic) = head.get(MAGIC_AT).map(|byte| i8::from_be_bytes([*byte])) else {
        return Ok(false);
    };
    if !(0..=2).contains(&magic) {
        return Err(format!("Invalid magic found in record: {magic}"));
    }
    let attributes = head.get(ATTRIBUTES_AT).copied().unwrap_or(0);
    Ok(magic == 2 && attributes & TRANSACTIONAL != 0)
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
    // Kafka has words for single records only, not for a batch that is wrong as a whole.
    let with_message = !refusal.record_errors.is_empty();
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
