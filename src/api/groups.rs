//! What the group APIs share: where a group's coordinator is, and words of the domain.

use std::sync::Arc;

use net::wire::Str;

use crate::cluster;
use crate::cluster::command::Command;
use crate::cluster::image::Image;
use crate::cluster::name::CONSUMER_OFFSETS;
use crate::cluster::placement;
use crate::coordinator::group::{Client, GroupAnswer, GroupCall};
use crate::shard::mail::{Answer, Call};
use storage::types::PartitionId;

use super::Cx;
use super::error::Code;

/// The call that reaches the coordinator of `group`.
///
/// # Errors
/// `NOT_COORDINATOR` while the offsets topic does not exist: the client looks for the coordinator,
/// and that makes it.
pub(super) fn call(cx: &Cx<'_>, group: &str, call: GroupCall) -> Result<(u16, Call), Code> {
    let id = partition(cx.image, group).ok_or(Code::NOT_COORDINATOR)?;
    let call = Call::Group {
        partition: id.index,
        call: Box::new(call),
    };
    Ok((cx.image.owner(id, cx.shards), call))
}

/// The partition of the offsets topic that holds `group`, if the topic exists.
pub(super) fn partition(image: &Image, group: &str) -> Option<PartitionId> {
    let topic = image.topic(CONSUMER_OFFSETS)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    Some(PartitionId {
        topic: topic.id,
        index: placement::group_partition(group, count),
    })
}

/// Creates the topic of committed offsets.
pub(super) fn create_offsets_topic(cx: &Cx<'_>) -> (u16, Call) {
    let topics = vec![cluster::offsets_topic(cx.broker)];
    (
        0,
        Call::Control(Box::new(Command::CreateTopics {
            topics,
            validate_only: false,
        })),
    )
}

/// The client as DescribeGroups shows it.
pub(super) fn client(cx: &Cx<'_>) -> Client {
    let id = cx.header.client_id.as_deref().unwrap_or("");
    Client {
        id: Arc::from(id),
        host: Arc::from(format!("/{}", cx.peer.ip().to_canonical())),
    }
}

pub(super) fn text(text: &Str) -> Arc<str> {
    Arc::from(&**text)
}

pub(super) fn some_text(text: Option<&Str>) -> Option<Arc<str>> {
    text.map(|text| Arc::from(&**text))
}

pub(super) fn str(text: &Arc<str>) -> Str {
    Str::from(&**text)
}

/// The group answers among `answers`, in the order of the calls.
pub(super) fn answers(answers: Vec<Answer>) -> impl Iterator<Item = Option<GroupAnswer>> {
    answers.into_iter().map(|answer| match answer {
        Answer::Group(answer) => Some(*answer),
        _ => None,
    })
}

/// The only group answer there is.
pub(super) fn answer(all: Vec<Answer>) -> Option<GroupAnswer> {
    answers(all).next().flatten()
}
