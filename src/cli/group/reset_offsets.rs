//! `ringlog group reset-offsets`

use super::offsets::committed;
use crate::cli::cluster::{Cluster, EARLIEST, LATEST};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::json::Json;
use crate::cli::remote::confirm;
use crate::cli::table::Table;
use crate::cli::{moment, output, refusal};
use net::wire::{Str, offset_commit};
use std::collections::BTreeMap;
use std::io::Write;

/// UNKNOWN_MEMBER_ID: said to a commit from outside while the group has members.
const HAS_MEMBERS: i16 = 25;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(value_name = "GROUP")]
    group: String,
    /// A topic, or single partitions of it (orders or orders:0,3); may be given several times.
    /// Without it every topic the group has committed offsets of.
    #[arg(long = "topic", short, value_name = "TOPIC[:PARTITIONS]", value_parser = selection)]
    topics: Vec<(String, Vec<i32>)>,
    /// Where to go on: earliest, latest, an offset, +N or -N from the committed one, or
    /// @TIME (milliseconds, a date such as 2026-11-23T12:00:00Z, or 6h for six hours ago).
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = target)]
    to: Target,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Offset(i64),
    Shift(i64),
    Time(i64),
}

fn target(text: &str) -> Result<Target, String> {
    let wrong = || "expected earliest, latest, OFFSET, +N, -N or @TIME".to_owned();
    match text {
        "earliest" => Ok(Target::Earliest),
        "latest" => Ok(Target::Latest),
        _ if text.starts_with('@') => moment::parse(&text[1..], moment::now_ms())
            .map(Target::Time)
            .ok_or_else(wrong),
        _ if text.starts_with(['+', '-']) => text.parse().map(Target::Shift).map_err(|_| wrong()),
        _ => text.parse().map(Target::Offset).map_err(|_| wrong()),
    }
}

fn selection(text: &str) -> Result<(String, Vec<i32>), String> {
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    let items = partitions.split(',').filter(|item| !item.is_empty());
    let numbers: Result<Vec<i32>, _> = items.map(str::parse).collect();
    match numbers {
        Ok(numbers) if !topic.is_empty() => Ok((topic.to_owned(), numbers)),
        _ => Err("expected TOPIC or TOPIC:0,1,2".to_owned()),
    }
}

/// What will change: from the committed offset, if any, to the new one.
struct Move {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let moves = plan(cluster, arguments)?;
    if moves.is_empty() {
        return Err(
            Failure::new(format!("group {} has no offsets to move", arguments.group))
                .advise("name the topics with --topic"),
        );
    }
    show(&moves, arguments.json)?;
    if arguments.dry_run {
        return Ok(());
    }
    let question = format!(
        "move {} offset(s) of group {}?",
        moves.len(),
        arguments.group
    );
    if !confirm(&question, arguments.yes) {
        return Err(Failure::new("no offset was moved"));
    }
    commit(cluster, &arguments.group, &moves)
}

fn plan(cluster: &mut Cluster, arguments: &Arguments) -> Outcome<Vec<Move>> {
    let committed = committed(cluster, &arguments.group)?;
    let mut chosen = arguments.topics.clone();
    if chosen.is_empty() {
        let all = committed.iter();
        chosen = all
            .map(|(topic, at)| (topic.clone(), at.keys().copied().collect()))
            .collect();
    }
    let mut moves = Vec::new();
    for (topic, mut partitions) in chosen {
        if partitions.is_empty() {
            let known = cluster.topic(&topic)?.partitions;
            partitions = known
                .iter()
                .map(|partition| partition.partition_index)
                .collect();
            partitions.sort_unstable();
        }
        let at = |time: i64| {
            partitions
                .iter()
                .map(|index| (*index, time))
                .collect::<Vec<_>>()
        };
        let begins = cluster.offsets_at(&topic, &at(EARLIEST))?;
        let ends = cluster.offsets_at(&topic, &at(LATEST))?;
        let times = match arguments.to {
            Target::Time(ms) => cluster.offsets_at(&topic, &at(ms))?,
            _ => BTreeMap::new(),
        };
        for partition in partitions {
            let from = committed
                .get(&topic)
                .and_then(|offsets| offsets.get(&partition))
                .copied();
            let of = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
            let (begin, end) = (of(&begins), of(&ends));
            let to = match arguments.to {
                Target::Earliest => begin,
                Target::Latest => end,
                Target::Offset(offset) => offset,
                Target::Shift(by) => from.unwrap_or(begin).saturating_add(by),
                // No record is that late: the end.
                Target::Time(_) => Some(of(&times)).filter(|at| *at >= 0).unwrap_or(end),
            };
            let to = to.max(begin).min(end);
            moves.push(Move {
                topic: topic.clone(),
                partition,
                from,
                to,
            });
        }
    }
    Ok(moves)
}

fn show(moves: &[Move], json: bool) -> Outcome {
    let mut out = output::open();
    let mut table = Table::new(&["topic", "partition", "from", "to"]);
    for change in moves {
        if json {
            let object = Json::Object(vec![
                ("topic", Json::text(&change.topic)),
                ("partition", Json::Number(i64::from(change.partition))),
                ("from", change.from.map_or(Json::Null, Json::Number)),
                ("to", Json::Number(change.to)),
            ]);
            writeln!(out, "{object}")?;
        } else {
            table.row([
                change.topic.clone(),
                change.partition.to_string(),
                change
                    .from
                    .map_or_else(|| "-".to_owned(), |from| from.to_string()),
                change.to.to_string(),
            ]);
        }
    }
    if !json {
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn commit(cluster: &mut Cluster, group: &str, moves: &[Move]) -> Outcome {
    let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for change in moves {
        let partition = offset_commit::OffsetCommitRequestPartition {
            partition_index: change.partition,
            committed_offset: change.to,
            committed_leader_epoch: -1,
            committed_metadata: Some(Str::default()),
        };
        topics.entry(&change.topic).or_default().push(partition);
    }
    let topic = |(name, partitions)| offset_commit::OffsetCommitRequestTopic {
        name: Str::from(name),
        partitions,
        ..Default::default()
    };
    let request = offset_commit::Request {
        group_id: Str::from(group),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let code = |response: &offset_commit::Response| {
        let all = response.topics.iter().flat_map(|topic| &topic.partitions);
        all.into_iter()
            .map(|partition| partition.error_code)
            .find(|code| *code != 0)
            .unwrap_or(0)
    };
    let response = cluster.ask_coordinator(group, &request, code)?;
    if code(&response) == HAS_MEMBERS {
        return Err(
            Failure::new(format!("group {group} has members: no offset was moved"))
                .advise("stop its consumers and wait until `ringlog group describe` shows Empty"),
        );
    }
    refusal::check(
        &format!("cannot move offsets of group {group}"),
        code(&response),
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart() {
        for (text, expected) in [
            ("earliest", Target::Earliest),
            ("latest", Target::Latest),
            ("17", Target::Offset(17)),
            ("-17", Target::Shift(-17)),
            ("+3", Target::Shift(3)),
            ("@1700000000000", Target::Time(1_700_000_000_000)),
        ] {
            assert_eq!(target(text), Ok(expected), "{text}");
        }
        for text in ["", "now", "@", "@x", "+", "1.5"] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn partitions_are_picked() {
        assert_eq!(selection("t"), Ok(("t".to_owned(), vec![])));
        assert_eq!(selection("t:0,2"), Ok(("t".to_owned(), vec![0, 2])));
        assert!(selection(":1").is_err());
        assert!(selection("t:x").is_err());
    }
}
