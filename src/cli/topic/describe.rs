//! `ringlog topic describe`

use crate::cli::cluster::{Cluster, EARLIEST, LATEST};
use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use crate::cli::table::Table;
use crate::cli::{output, refusal};
use net::wire::{Str, describe_configs, metadata};
use std::collections::BTreeMap;
use std::io::Write;

/// Resource type and value source of topics in DescribeConfigs.
const TOPIC: i8 = 2;
const FROM_TOPIC: i8 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Every setting, not only those of the topic itself.
    #[arg(long, short)]
    all: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

type Offsets = BTreeMap<i32, i64>;

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    for name in &arguments.topics {
        let mut topic = cluster.topic(name)?;
        topic
            .partitions
            .sort_by_key(|partition| partition.partition_index);
        let at = |time: i64| -> Vec<(i32, i64)> {
            topic
                .partitions
                .iter()
                .map(|p| (p.partition_index, time))
                .collect()
        };
        let begins = cluster.offsets_at(name, &at(EARLIEST))?;
        let ends = cluster.offsets_at(name, &at(LATEST))?;
        let settings = settings(cluster, name, arguments.all)?;
        if arguments.json {
            output::json(&to_json(name, &topic, (&begins, &ends), &settings))?;
        } else {
            print(name, &topic, (&begins, &ends), &settings)?;
        }
    }
    Ok(())
}

fn settings(cluster: &mut Cluster, name: &str, all: bool) -> Outcome<Vec<(String, String)>> {
    let request = describe_configs::Request {
        resources: vec![describe_configs::DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: Str::from(name),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let mut settings = Vec::new();
    for result in cluster.ask(&request)?.results {
        let about = format!("settings of topic {name}");
        refusal::check(&about, result.error_code, result.error_message.as_ref())?;
        for config in result.configs {
            if all || config.config_source == FROM_TOPIC {
                let value = config.value.as_deref().unwrap_or_default().to_owned();
                settings.push((config.name.to_string(), value));
            }
        }
    }
    settings.sort();
    Ok(settings)
}

fn print(
    name: &str,
    topic: &metadata::MetadataResponseTopic,
    (begins, ends): (&Offsets, &Offsets),
    settings: &[(String, String)],
) -> Outcome {
    let mut out = output::open();
    writeln!(out, "topic {name}, id {}", id_text(&topic.topic_id.0))?;
    for (name, value) in settings {
        writeln!(out, "  {name} = {value}")?;
    }
    let titles = [
        "partition",
        "leader",
        "epoch",
        "begins",
        "ends",
        "records",
        "replicas",
        "isr",
    ];
    let mut table = Table::new(&titles);
    for partition in &topic.partitions {
        let index = partition.partition_index;
        let of = |offsets: &Offsets| offsets.get(&index).copied().unwrap_or(-1);
        table.row([
            index.to_string(),
            partition.leader_id.to_string(),
            partition.leader_epoch.to_string(),
            of(begins).to_string(),
            of(ends).to_string(),
            (of(ends) - of(begins)).to_string(),
            nodes(&partition.replica_nodes),
            nodes(&partition.isr_nodes),
        ]);
    }
    table.print(&mut out)?;
    out.flush()?;
    Ok(())
}

fn nodes(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn to_json(
    name: &str,
    topic: &metadata::MetadataResponseTopic,
    (begins, ends): (&Offsets, &Offsets),
    settings: &[(String, String)],
) -> Json {
    let numbers = |ids: &[i32]| ids.iter().map(|id| Json::Number(i64::from(*id))).collect();
    let partition = |partition: &metadata::MetadataResponsePartition| {
        let index = partition.partition_index;
        let of = |offsets: &Offsets| Json::Number(offsets.get(&index).copied().unwrap_or(-1));
        Json::Object(vec![
            ("partition", Json::Number(i64::from(index))),
            ("leader", Json::Number(i64::from(partition.leader_id))),
            (
                "leader_epoch",
                Json::Number(i64::from(partition.leader_epoch)),
            ),
            ("begins", of(begins)),
            ("ends", of(ends)),
            ("replicas", Json::List(numbers(&partition.replica_nodes))),
            ("isr", Json::List(numbers(&partition.isr_nodes))),
        ])
    };
    let setting = |(name, value): &(String, String)| (name.clone(), Json::text(value));
    Json::Object(vec![
        ("topic", Json::text(name)),
        ("id", Json::text(id_text(&topic.topic_id.0))),
        (
            "settings",
            Json::Map(settings.iter().map(setting).collect()),
        ),
        (
            "partitions",
            Json::List(topic.partitions.iter().map(partition).collect()),
        ),
    ])
}

/// A topic id as Kafka's tools print it: base64 with the URL alphabet, no padding.
pub(super) fn id_text(id: &[u8; 16]) -> String {
    crate::cli::json::base64(id)
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}
