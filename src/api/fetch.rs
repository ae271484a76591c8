//! Fetch (key 1): long polls (KIP-74), incremental sessions (KIP-227), topic ids (KIP-516),
//! truncation detection (KIP-595).

use std::collections::BTreeMap;

use net::wire::fetch::{EpochEndOffset, FetchableTopicResponse, PartitionData, Request, Response};
use net::wire::{Records, Str, Uuid};

use crate::partition::answers::{Fetched, FetchedPart};
use crate::partition::calls::{FetchCall, FetchPart};
use crate::shard::mail::{Answer, Call};
use storage::types::PartitionId;

use super::error::Code;
use super::session::{Context, PartKey, Sent, TopicKey, Wanted};
use super::{Cx, FinishCx, Handled, ReplyHeader, Work, topics};

/// First version that names topics by id.
const IDS_FROM: i16 = 13;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let by_id = cx.version() >= IDS_FROM;
    if !(0..=1).contains(&request.isolation_level) {
        return refuse(to, Code::INVALID_REQUEST);
    }
    let session = (request.session_id, request.session_epoch);
    let forgotten: Vec<PartKey> = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| {
            let key = topic_key(&topic.topic, topic.topic_id, by_id);
            topic.partitions.iter().map(move |at| PartKey {
                topic: key.clone(),
                partition: *at,
            })
        })
        .collect();
    let wanted = wanted(&request, by_id);
    let begun = cx
        .sessions
        .begin(session, by_id, wanted, &forgotten, cx.now.mono);
    let (context, wanted) = match begun {
        Ok(begun) => begun,
        Err(error) => return refuse(to, error.into()),
    };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
    let bytes_max = bytes_max
        .min(cx.broker.fetch_bytes_max)
        .min(cx.reply_bytes_max);
    let wait_ms = if cx.hurried {
        0
    } else {
        u64::try_from(request.max_wait_ms).unwrap_or(0)
    };
    let limits = Limits {
        replica: request.replica_id >= 0 || request.replica_state.replica_id >= 0,
        negative: request.max_bytes < 0,
        committed_only: request.isolation_level == 1,
        bytes_max,
        bytes_min: request.min_bytes.max(0) as u64,
        wait_ms,
        committed: request.isolation_level == 1,
    };
    read(cx, context, wanted, &limits)
}

struct Limits {
    /// The client says that it is a replica, of which there are none: there is one node.
    replica: bool,
    /// The client wants less than nothing.
    negative: bool,
    /// READ_COMMITTED: the answer lists aborted transactions, of which there are none yet.
    committed_only: bool,
    bytes_max: usize,
    bytes_min: u64,
    wait_ms: u64,
    /// READ_COMMITTED: transactions that were aborted are named, of which there are none.
    committed: bool,
}

impl Limits {
    /// What stops the read of a partition that exists.
    fn check(&self, part: &Wanted) -> Result<(), Code> {
        if self.replica {
            Err(Code::NOT_LEADER_OR_FOLLOWER)
        } else if self.negative || part.bytes_max < 0 {
            Err(Code::INVALID_REQUEST)
        } else {
            Ok(())
        }
    }
}

fn topic_key(name: &Str, id: Uuid, by_id: bool) -> TopicKey {
    if by_id {
        TopicKey::Id(id)
    } else {
        TopicKey::Name(name.detached())
    }
}

fn wanted(request: &Request, by_id: bool) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let key = topic_key(&topic.topic, topic.topic_id, by_id);
        wanted.extend(topic.partitions.iter().map(|part| Wanted {
            key: PartKey {
                topic: key.clone(),
                partition: part.partition,
            },
            offset: part.fetch_offset,
            bytes_max: part.partition_max_bytes,
            leader_epoch: part.current_leader_epoch,
            last_fetched_epoch: part.last_fetched_epoch,
        }));
    }
    if wanted.len() > 1 && names_one_twice(request, by_id) {
        last_of_each(wanted)
    } else {
        wanted
    }
}

/// Whether the request names a topic or a partition more than once.
fn names_one_twice(request: &Request, by_id: bool) -> bool {
    let mut topics: Vec<(&str, Uuid)> = Vec::with_capacity(request.topics.len());
    let mut indexes = Vec::new();
    for topic in &request.topics {
        let id = if by_id {
            topic.topic_id
        } else {
            Uuid::default()
        };
        topics.push((if by_id { "" } else { &topic.topic }, id));
        indexes.clear();
        indexes.extend(topic.partitions.iter().map(|part| part.partition));
        indexes.sort_unstable();
        if indexes.windows(2).any(|pair| pair[0] == pair[1]) {
            return true;
        }
    }
    topics.sort_unstable();
    topics.windows(2).any(|pair| pair[0] == pair[1])
}

/// Of what is named more than once the last counts, in the first one's place, as in Kafka.
fn last_of_each(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut places: BTreeMap<PartKey, usize> = BTreeMap::new();
    let mut own: Vec<Wanted> = Vec::new();
    for part in wanted {
        let at = *places.entry(part.key.clone()).or_insert(own.len());
        match own.get_mut(at) {
            Some(known) => *known = part,
            None => own.push(part),
        }
    }
    own
}

/// Sends each part to the shard that owns it.
fn read(cx: &mut Cx<'_>, context: Context, wanted: Vec<Wanted>, limits: &Limits) -> Handled {
    let to = cx.reply_to();
    let mut parts: BTreeMap<u16, Vec<FetchPart>> = BTreeMap::new();
    let mut answers: Vec<PartitionData> = Vec::with_capacity(wanted.len());
    let mut urgent = false;
    for (at, part) in wanted.iter().enumerate() {
        let mut answer = unanswered(part);
        let found = resolve(cx, &part.key);
        if found.is_ok() && !limits.committed_only {
            answer.aborted_transactions = None;
        }
        match found.and_then(|id| limits.check(part).map(|()| id)) {
            Ok(id) => {
                let part = FetchPart {
                    index: u32::try_from(at).unwrap_or(u32::MAX),
                    id,
                    offset: part.offset,
                    bytes_max: usize::try_from(part.bytes_max).unwrap_or(0),
                    // Every negative epoch means none here, in other requests only -1.
                    leader_epoch: part.leader_epoch.max(-1),
                    last_fetched_epoch: part.last_fetched_epoch,
                };
                parts
                    .entry(cx.image.owner(id, cx.shards))
                    .or_default()
                    .push(part);
            }
            Err(code) => {
                answer.error_code = code.0;
                urgent = true;
            }
        }
        answers.push(answer);
    }
    let wait_ms = if urgent { 0 } else { limits.wait_ms };
    // Shards do not know of each other's bytes: with several, each tells what it could read, and
    // the origin of the request hurries them all once that is enough.
    let shared = parts.len() > 1;
    let bytes_min = limits.bytes_min;
    let deadline = cx.now.mono.after_ms(wait_ms);
    let (bytes_max, committed) = (limits.bytes_max, limits.committed);
    let calls: Vec<(u16, Call)> = parts
        .into_iter()
        .map(|(shard, parts)| {
            let call = FetchCall {
                parts,
                bytes_max,
                bytes_min,
                deadline,
                shared,
            };
            (shard, Call::Fetch(call))
        })
        .collect();
    let finish = move |cx: &mut FinishCx<'_>, got: Vec<Answer>| {
        gather(&mut answers, got, committed);
        trim(&mut answers, &wanted, bytes_max);
        finish(cx, to, context, &wanted, answers)
    };
    if calls.is_empty() {
        return finish(&mut cx.finish(), Vec::new());
    }
    let fetch_bytes_min = Some(limits.bytes_min);
    Handled::Work(Work {
        calls,
        finish: Box::new(finish),
        fetch_bytes_min,
    })
}

/// The answer of a part before its shard has given one.
fn unanswered(part: &Wanted) -> PartitionData {
    PartitionData {
        partition_index: part.key.partition,
        high_watermark: -1,
        records: Some(Records::default()),
        ..Default::default()
    }
}

fn resolve(cx: &Cx<'_>, key: &PartKey) -> Result<PartitionId, Code> {
    let image = cx.image;
    let topic = match &key.topic {
        TopicKey::Name(name) => image.topic(name).ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?,
        TopicKey::Id(id) => image
            .topic_by_id(topics::topic_id(*id))
            .ok_or(Code::UNKNOWN_TOPIC_ID)?,
    };
    topics::partition(topic, key.partition)
}

/// Takes in what the shards have read.
fn gather(answers: &mut [PartitionData], got: Vec<Answer>, committed: bool) {
    for answer in got {
        let Answer::Fetched(parts) = answer else {
            continue;
        };
        for part in parts {
            if let Some(answer) = answers.get_mut(part.index as usize) {
                fill(answer, part, committed);
            }
        }
    }
}

fn finish(
    cx: &mut FinishCx<'_>,
    to: ReplyHeader,
    context: Context,
    wanted: &[Wanted],
    answers: Vec<PartitionData>,
) -> Handled {
    let sent: Vec<(PartKey, Sent)> = wanted
        .iter()
        .zip(&answers)
        .map(|(part, answer)| (part.key.clone(), sent(answer)))
        .collect();
    let send = cx.sessions.end(context, &sent);
    let mut response = Response {
        session_id: context.id(),
        ..Default::default()
    };
    // A topic is named again where another came between its partitions, as in Kafka.
    let mut topic: Option<&TopicKey> = None;
    for ((part, answer), send) in wanted.iter().zip(answers).zip(send) {
        if !send {
            continue;
        }
        if topic != Some(&part.key.topic) {
            topic = Some(&part.key.topic);
            response.responses.push(topic_response(&part.key.topic));
        }
        if let Some(last) = response.responses.last_mut() {
            last.partitions.push(answer);
        }
    }
    to.reply(|w, version| response.encode(w, version))
}

fn topic_response(key: &TopicKey) -> FetchableTopicResponse {
    match key {
        TopicKey::Name(name) => FetchableTopicResponse {
            topic: name.clone(),
            ..Default::default()
        },
        TopicKey::Id(id) => FetchableTopicResponse {
            topic_id: *id,
            ..Default::default()
        },
    }
}

fn fill(answer: &mut PartitionData, part: FetchedPart, committed: bool) {
    match part.result {
        Err(refusal) => answer.error_code = Code::from(refusal.trouble).0,
        Ok(Fetched {
            high_watermark,
            last_stable,
            log_start,
            data,
            diverging,
        }) => {
            answer.high_watermark = high_watermark;
            answer.last_stable_offset = last_stable;
            answer.log_start_offset = log_start;
            answer.records = Some(Records::from(data));
            // Null, not empty, where the client did not ask or nothing was read.
            answer.aborted_transactions = (committed && diverging.is_none()).then(Vec::new);
            if let Some((epoch, end_offset)) = diverging {
                answer.diverging_epoch = EpochEndOffset { epoch, end_offset };
            }
        }
    }
}

/// Each shard kept to the request's limit; together they may not exceed it either. The first part
/// with records is always whole, so that a large batch cannot stop a consumer; any other keeps to
/// its own limit as well, although it may have been the first of its shard.
fn trim(answers: &mut [PartitionData], wanted: &[Wanted], bytes_max: usize) {
    let mut room = bytes_max;
    let mut first = true;
    for (answer, part) in answers.iter_mut().zip(wanted) {
        let bytes = answer.records.as_ref().map_or(0, Records::bytes_len);
        if bytes == 0 {
            continue;
        }
        let most = usize::try_from(part.bytes_max).unwrap_or(0).min(room);
        if !first && bytes > most {
            answer.records = Some(Records::default());
            continue;
        }
        first = false;
        room = room.saturating_sub(bytes);
    }
}

fn sent(answer: &PartitionData) -> Sent {
    Sent {
        high_watermark: answer.high_watermark,
        log_start: answer.log_start_offset,
        has_records: answer
            .records
            .as_ref()
            .is_some_and(|records| records.bytes_len() > 0),
        is_special: answer.error_code != 0 || answer.diverging_epoch.epoch >= 0,
        is_error: answer.error_code != 0,
    }
}

fn refuse(to: ReplyHeader, code: Code) -> Handled {
    let response = Response {
        error_code: code.0,
        ..Default::default()
    };
    to.reply(|w, version| response.encode(w, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use net::wire::fetch::{FetchPartition, FetchTopic};

    #[test]
    fn only_the_first_part_with_records_may_exceed_its_limit() {
        let wanted = |bytes_max| Wanted {
            key: PartKey {
                topic: TopicKey::Name(Str::from_static("t")),
                partition: 0,
            },
            offset: 0,
            bytes_max,
            leader_epoch: -1,
            last_fetched_epoch: -1,
        };
        let answer = |bytes: usize| PartitionData {
            records: Some(Records::from(vec![Bytes::from(vec![0; bytes])])),
            ..Default::default()
        };
        let trimmed = |parts: &[(usize, i32)], bytes_max| {
            let (mut answers, wanted): (Vec<_>, Vec<_>) = parts
                .iter()
                .map(|(bytes, limit)| (answer(*bytes), wanted(*limit)))
                .unzip();
            trim(&mut answers, &wanted, bytes_max);
            let left = |answer: &PartitionData| answer.records.as_ref().unwrap().bytes_len();
            answers.iter().map(left).collect::<Vec<_>>()
        };
        assert_eq!(trimmed(&[(0, 10), (50, 10), (5, 10)], 100), [0, 50, 5]);
        assert_eq!(trimmed(&[(50, 10), (50, 10), (5, 10)], 200), [50, 0, 5]);
        assert_eq!(trimmed(&[(50, 10), (50, 90)], 80), [50, 0]);
        assert_eq!(trimmed(&[(150, 10), (1, 90)], 80), [150, 0]);
    }

    #[test]
    fn of_a_partition_named_twice_the_last_counts_in_the_first_ones_place() {
        let part = |partition, offset| FetchPartition {
            partition,
            fetch_offset: offset,
            ..Default::default()
        };
        let topic = |name, parts: &[(i32, i64)]| FetchTopic {
            topic: Str::from_static(name),
            partitions: parts
                .iter()
                .map(|(at, offset)| part(*at, *offset))
                .collect(),
            ..Default::default()
        };
        let asked = |topics| {
            let request = Request {
                topics,
                ..Default::default()
            };
            let wanted = wanted(&request, false);
            let named = wanted.into_iter().map(|part| {
                let TopicKey::Name(name) = part.key.topic else {
                    panic!("by name")
                };
                (name.to_string(), part.key.partition, part.offset)
            });
            named.collect::<Vec<_>>()
        };
        let own = |parts: &[(&str, i32, i64)]| {
            let own = parts
                .iter()
                .map(|(name, at, offset)| ((*name).to_owned(), *at, *offset));
            own.collect::<Vec<_>>()
        };
        let once = asked(vec![topic("a", &[(1, 5), (0, 6)]), topic("b", &[(1, 7)])]);
        assert_eq!(once, own(&[("a", 1, 5), ("a", 0, 6), ("b", 1, 7)]));
        let twice = asked(vec![topic("a", &[(1, 5), (0, 6), (1, 8)])]);
        assert_eq!(twice, own(&[("a", 1, 8), ("a", 0, 6)]));
        let apart = asked(vec![
            topic("a", &[(1, 5)]),
            topic("b", &[(1, 7)]),
            topic("a", &[(1, 9)]),
        ]);
        assert_eq!(apart, own(&[("a", 1, 9), ("b", 1, 7)]));
    }
}
