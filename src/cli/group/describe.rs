//! `ringlog group describe`

use super::offsets::{Committed, committed};
use crate::cli::cluster::{Cluster, LATEST};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::json::Json;
use crate::cli::table::Table;
use crate::cli::{output, refusal};
use net::wire::{Str, describe_groups};
use std::io::Write;

/// GROUP_ID_NOT_FOUND
const NOT_FOUND: i16 = 69;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// One partition a group has committed an offset of.
struct Position {
    topic: String,
    partition: i32,
    committed: i64,
    /// `None`: the partition is not there any more.
    end: Option<i64>,
}

impl Position {
    fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.committed).max(0))
    }
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    for name in &arguments.groups {
        let group = describe(cluster, name)?;
        let committed = committed(cluster, name)?;
        let positions = positions(cluster, committed)?;
        if arguments.json {
            output::json(&to_json(&group, &positions))?;
        } else {
            print(&group, &positions)?;
        }
    }
    Ok(())
}

fn describe(cluster: &mut Cluster, name: &str) -> Outcome<describe_groups::DescribedGroup> {
    let request = describe_groups::Request {
        groups: vec![Str::from(name)],
        ..Default::default()
    };
    let code = |response: &describe_groups::Response| {
        response.groups.first().map_or(0, |group| group.error_code)
    };
    let response = cluster.ask_coordinator(name, &request, code)?;
    let group = response.groups.into_iter().next();
    let group = group.ok_or_else(|| Failure::new(format!("no answer about group {name}")))?;
    if group.error_code == NOT_FOUND || &*group.group_state == "Dead" {
        return Err(Failure::new(format!("there is no group named {name}"))
            .advise("see `ringlog group list`"));
    }
    refusal::check(
        &format!("group {name}"),
        group.error_code,
        group.error_message.as_ref(),
    )?;
    Ok(group)
}

fn positions(cluster: &mut Cluster, committed: Committed) -> Outcome<Vec<Position>> {
    let mut positions = Vec::new();
    for (topic, partitions) in committed {
        let names = [topic.clone()];
        let known = cluster.metadata(Some(&names))?.topics;
        let exists = |index: i32| {
            let all = known.iter().flat_map(|topic| &topic.partitions);
            all.into_iter()
                .any(|partition| partition.partition_index == index)
        };
        let here: Vec<(i32, i64)> = partitions
            .keys()
            .filter(|at| exists(**at))
            .map(|at| (*at, LATEST))
            .collect();
        let ends = cluster.offsets_at(&topic, &here)?;
        for (partition, committed) in partitions {
            let end = ends.get(&partition).copied();
            positions.push(Position {
                topic: topic.clone(),
                partition,
                committed,
                end,
            });
        }
    }
    Ok(positions)
}

fn print(group: &describe_groups::DescribedGroup, positions: &[Position]) -> Outcome {
    let mut out = output::open();
    let (name, state) = (&group.group_id, &group.group_state);
    writeln!(
        out,
        "group {name}: {state}, {} member(s)",
        group.members.len()
    )?;
    if !group.protocol_data.is_empty() {
        writeln!(out, "assignment by {}", group.protocol_data)?;
    }
    if !group.members.is_empty() {
        let mut table = Table::new(&["member", "instance", "client", "host"]);
        for member in &group.members {
            table.row([
                member.member_id.to_string(),
                member
                    .group_instance_id
                    .as_deref()
                    .unwrap_or("-")
                    .to_owned(),
                member.client_id.to_string(),
                member.client_host.to_string(),
            ]);
        }
        table.print(&mut out)?;
    }
    if !positions.is_empty() {
        let mut table = Table::new(&["topic", "partition", "committed", "ends", "lag"]);
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        for at in positions {
            table.row([
                at.topic.clone(),
                at.partition.to_string(),
                at.committed.to_string(),
                number(at.end),
                number(at.lag()),
            ]);
        }
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn to_json(group: &describe_groups::DescribedGroup, positions: &[Position]) -> Json {
    let number = |number: Option<i64>| number.map_or(Json::Null, Json::Number);
    let member = |member: &describe_groups::DescribedGroupMember| {
        let instance = member.group_instance_id.as_deref();
        Json::Object(vec![
            ("member", Json::text(&*member.member_id)),
            ("instance", instance.map_or(Json::Null, Json::text)),
            ("client", Json::text(&*member.client_id)),
            ("host", Json::text(&*member.client_host)),
        ])
    };
    let position = |at: &Position| {
        Json::Object(vec![
            ("topic", Json::text(&at.topic)),
            ("partition", Json::Number(i64::from(at.partition))),
            ("committed", Json::Number(at.committed)),
            ("ends", number(at.end)),
            ("lag", number(at.lag())),
        ])
    };
    Json::Object(vec![
        ("group", Json::text(&*group.group_id)),
        ("state", Json::text(&*group.group_state)),
        ("protocol_type", Json::text(&*group.protocol_type)),
        ("protocol", Json::text(&*group.protocol_data)),
        (
            "members",
            Json::List(group.members.iter().map(member).collect()),
        ),
        (
            "offsets",
            Json::List(positions.iter().map(position).collect()),
        ),
    ])
}
