//! DescribeLogDirs (key 35): KIP-113, 827.

use std::collections::{BTreeMap, BTreeSet};

use net::wire::Str;
use net::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic, Request, Response,
};
use reactor::op::Space;

use crate::partition::answers::LogDirs;
use crate::shard::mail::{Answer, Call};

use super::error::Code;
use super::{Cx, FinishCx, Handled};

pub(super) fn handle(cx: &mut Cx<'_>, request: Request) -> Handled {
    let to = cx.reply_to();
    let asked: Option<BTreeSet<(Str, i32)>> = request.topics.map(|topics| {
        let of = |topic: net::wire::describe_log_dirs::DescribableLogDirTopic| {
            let name = topic.topic.detached();
            topic
                .partitions
                .into_iter()
                .map(move |index| (name.clone(), index))
        };
        topics.into_iter().flat_map(of).collect()
    });
    let shards = cx.brokers().listed();
    // Every shard sees the same file systems.
    let spaces = (shards.start, Call::Spaces);
    let mut calls: Vec<_> = shards.map(|shard| (shard, Call::LogDirs)).collect();
    calls.push(spaces);
    Handled::work(cx, calls, move |cx, answers| {
        let (mut all, mut spaces) = (LogDirs::default(), Vec::new());
        for answer in answers {
            match answer {
                Answer::LogDirs(more) => {
                    all.parts.extend(more.parts);
                    all.broken.extend(more.broken);
                }
                Answer::Spaces(of) => spaces = of,
                _ => {}
            }
        }
        let dirs = cx.broker.log_dirs.iter();
        let spaces: BTreeMap<&str, Space> = dirs
            .zip(spaces)
            .filter_map(|(dir, space)| Some((dir.as_str(), space?)))
            .collect();
        let response = Response {
            results: results(cx, all, asked.as_ref(), &spaces),
            ..Default::default()
        };
        to.reply(|w, version| response.encode(w, version))
    })
}

fn results(
    cx: &FinishCx<'_>,
    all: LogDirs,
    asked: Option<&BTreeSet<(Str, i32)>>,
    spaces: &BTreeMap<&str, Space>,
) -> Vec<DescribeLogDirsResult> {
    type Topics = BTreeMap<Str, Vec<DescribeLogDirsPartition>>;
    let mut dirs: BTreeMap<String, Topics> = BTreeMap::new();
    for dir in cx.broker.log_dirs.iter().cloned() {
        dirs.insert(dir, BTreeMap::new());
    }
    for part in all.parts {
        let Some(topic) = cx.image.topic_by_id(part.id.topic) else {
            continue;
        };
        let key = (Str::from(&*topic.name), part.id.index);
        if asked.is_some_and(|asked| !asked.contains(&key)) {
            continue;
        }
        let partition = DescribeLogDirsPartition {
            partition_index: part.id.index,
            partition_size: i64::try_from(part.size_bytes).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        };
        dirs.entry(part.dir)
            .or_default()
            .entry(key.0)
            .or_default()
            .push(partition);
    }
    let result = |(dir, topics): (String, Topics)| {
        let topic = |(name, mut partitions): (Str, Vec<DescribeLogDirsPartition>)| {
            partitions.sort_by_key(|part| part.partition_index);
            DescribeLogDirsTopic { name, partitions }
        };
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let space = spaces.get(&*dir);
        // Its partitions are told all the same: what they hold may still be read.
        let failed = space.is_none() || all.broken.contains(&dir);
        DescribeLogDirsResult {
            error_code: if failed {
                Code::KAFKA_STORAGE_ERROR.0
            } else {
                0
            },
            total_bytes: space.map_or(-1, |space| bytes(space.total)),
            usable_bytes: space.map_or(-1, |space| bytes(space.usable)),
            log_dir: dir.into(),
            topics: topics.into_iter().map(topic).collect(),
        }
    };
    dirs.into_iter().map(result).collect()
}
