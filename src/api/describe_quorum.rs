//! DescribeQuorum (key 55): KIP-595, 836, 853. The quorum is the one node there is.

use net::wire::Str;
use net::wire::describe_quorum::{
    Listener, Node, PartitionData, ReplicaState, Request, Response, TopicData,
};
use storage::types::METADATA;

use crate::shard::mail::{Answer, Call, PartitionAsk};

use super::error::{self, Code};
use super::{Cx, Handled};

/// Kafka's name of the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// ListOffsets' marker for the end of a log.
const LATEST: i64 = -1;

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let (_, endpoint) = cx.brokers().controller();
    let known = matches!(request.topics.as_slice(), [topic] if topic.topic_name == METADATA_TOPIC
        && matches!(topic.partitions.as_slice(), [part] if part.partition_index == 0));
    if !known {
        let topics = request.topics.into_iter().map(unknown).collect();
        let response = Response {
            topics,
            ..Default::default()
        };
        return to.reply(|w, version| response.encode(w, version));
    }
    let ask = PartitionAsk::Time {
        timestamp: LATEST,
        leader_epoch: -1,
        committed_only: false,
    };
    let calls = vec![(0, Call::Partition { id: METADATA, ask })];
    Handled::work(cx, calls, move |cx, answers| {
        let end = match answers.first() {
            Some(Answer::Time(Ok(found))) => found.offset,
            _ => -1,
        };
        let node_id = cx.image.node_id;
        let voter = ReplicaState {
            replica_id: node_id,
            log_end_offset: end,
            last_fetch_timestamp: cx.now.wall_ms,
            last_caught_up_timestamp: cx.now.wall_ms,
            ..Default::default()
        };
        let partition = PartitionData {
            leader_id: node_id,
            leader_epoch: 0,
            high_watermark: end,
            current_voters: vec![voter],
            ..Default::default()
        };
        let topic_name = Str::from_static(METADATA_TOPIC);
        let topics = vec![TopicData {
            topic_name,
            partitions: vec![partition],
        }];
        let listener = Listener {
            name: Str::from_static("PLAINTEXT"),
            host: endpoint.host.clone(),
            port: u16::try_from(endpoint.port).unwrap_or(0),
        };
        let nodes = vec![Node {
            node_id,
            listeners: vec![listener],
        }];
        let response = Response {
            topics,
            nodes,
            ..Default::default()
        };
        to.reply(|w, version| response.encode(w, version))
    })
}

fn unknown(topic: net::wire::describe_quorum::RequestedTopic) -> TopicData {
    let partition = |part: net::wire::describe_quorum::RequestedPartition| PartitionData {
        partition_index: part.partition_index,
        error_code: Code::UNKNOWN_TOPIC_OR_PARTITION.0,
        error_message: Some(Str::from_static(error::UNKNOWN_TOPIC_OR_PARTITION)),
        ..Default::default()
    };
    TopicData {
        topic_name: topic.topic_name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    }
}
