//! DescribeProducers (key 61): KIP-664.

use std::sync::Arc;

use net::wire::Str;
use net::wire::describe_producers::{
    PartitionResponse, ProducerState, Request, Response, TopicResponse,
};

use crate::cluster::image::Topic;
use crate::cluster::name;
use crate::partition::answers::ActiveProducer;
use crate::shard::mail::{Answer, Call, PartitionAsk};

use super::error::{self, Code};
use super::{Cx, Handled, topics};

type Refused = (Code, Option<Str>);

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let mut response = Response::default();
    let mut calls = Vec::new();
    let mut places = Vec::new();
    for topic in request.topics {
        let found = find(cx, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            // Kafka has words for topics only, not for a partition that the topic lacks.
            let id = found
                .as_ref()
                .map_err(Refused::clone)
                .and_then(|topic| topics::partition(topic, index).map_err(|code| (code, None)));
            let mut answer = PartitionResponse {
                partition_index: index,
                ..Default::default()
            };
            match id {
                Ok(id) => {
                    let ask = PartitionAsk::Producers;
                    places.push((response.topics.len(), partitions.len()));
                    calls.push((cx.image.owner(id, cx.shards), Call::Partition { id, ask }));
                }
                Err((code, message)) => {
                    answer.error_code = code.0;
                    answer.error_message = message;
                }
            }
            partitions.push(answer);
        }
        response.topics.push(TopicResponse {
            name: topic.name,
            partitions,
        });
    }
    Handled::work(cx, calls, move |_, answers| {
        for ((topic, at), answer) in places.into_iter().zip(answers) {
            let part = &mut response.topics[topic].partitions[at];
            match answer {
                Answer::Producers(Ok(active)) => {
                    part.active_producers = active.iter().map(state).collect();
                }
                Answer::Producers(Err(trouble)) => part.error_code = Code::from(trouble).0,
                _ => part.error_code = Code::UNKNOWN_SERVER_ERROR.0,
            }
        }
        to.reply(|w, version| response.encode(w, version))
    })
}

fn find<'a>(cx: &Cx<'a>, name: &str) -> Result<&'a Arc<Topic>, Refused> {
    name::check(name).map_err(|error| (Code::INVALID_TOPIC, Some(error.message.into())))?;
    let message = Str::from_static(error::UNKNOWN_TOPIC_OR_PARTITION);
    let unknown = || (Code::UNKNOWN_TOPIC_OR_PARTITION, Some(message));
    cx.image.topic(name).ok_or_else(unknown)
}

fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: i32::from(producer.producer_epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    }
}
