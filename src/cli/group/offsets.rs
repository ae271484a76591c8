//! The committed offsets of a group.

use crate::cli::cluster::Cluster;
use crate::cli::failure::Outcome;
use crate::cli::refusal;
use net::wire::{Str, offset_fetch};
use std::collections::BTreeMap;

/// By topic and partition.
pub(super) type Committed = BTreeMap<String, BTreeMap<i32, i64>>;

/// Everything that `group` has committed.
pub(super) fn committed(cluster: &mut Cluster, group: &str) -> Outcome<Committed> {
    let request = offset_fetch::Request {
        group_id: Str::from(group),
        topics: None,
        groups: vec![offset_fetch::OffsetFetchRequestGroup {
            group_id: Str::from(group),
            topics: None,
            ..Default::default()
        }],
        require_stable: true,
    };
    let code = |response: &offset_fetch::Response| {
        response
            .groups
            .first()
            .map_or(response.error_code, |group| group.error_code)
    };
    let response = cluster.ask_coordinator(group, &request, code)?;
    refusal::check(&format!("offsets of group {group}"), code(&response), None)?;
    let mut committed = Committed::new();
    for topic in response.topics {
        for partition in topic.partitions {
            note(
                &mut committed,
                &topic.name,
                partition.partition_index,
                partition.committed_offset,
            );
        }
    }
    for topic in response.groups.into_iter().flat_map(|group| group.topics) {
        for partition in topic.partitions {
            note(
                &mut committed,
                &topic.name,
                partition.partition_index,
                partition.committed_offset,
            );
        }
    }
    Ok(committed)
}

fn note(committed: &mut Committed, topic: &str, partition: i32, offset: i64) {
    if offset >= 0 {
        committed
            .entry(topic.to_owned())
            .or_default()
            .insert(partition, offset);
    }
}
