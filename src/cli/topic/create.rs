//! `ringlog topic create`

use crate::cli::cluster::Cluster;
use crate::cli::failure::Outcome;
use crate::cli::remote::assignment;
use crate::cli::{output, refusal};
use net::wire::{Str, create_topics};

/// TOPIC_ALREADY_EXISTS
const EXISTS: i16 = 36;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Number of partitions; without it the broker's num.partitions.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Number of replicas; without it the broker's default.replication.factor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topics, such as retention.ms=3600000; may be given several times.
    #[arg(long = "set", short, value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// Topics that are there already are fine.
    #[arg(long)]
    if_not_exists: bool,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let configs: Vec<_> = arguments
        .settings
        .iter()
        .map(|(name, value)| create_topics::CreatableTopicConfig {
            name: Str::from(name.as_str()),
            value: Some(Str::from(value.as_str())),
        })
        .collect();
    let topic = |name: &String| create_topics::CreatableTopic {
        name: Str::from(name.as_str()),
        num_partitions: arguments.partitions.unwrap_or(-1),
        replication_factor: arguments.replication_factor.unwrap_or(-1),
        configs: configs.clone(),
        ..Default::default()
    };
    let request = create_topics::Request {
        topics: arguments.topics.iter().map(topic).collect(),
        timeout_ms: cluster.timeout_ms(),
        validate_only: false,
    };
    let controller = cluster.controller()?;
    let mut failed = Ok(());
    for result in cluster.ask_node(controller, &request)?.topics {
        let name = result.name.as_str();
        if result.error_code == EXISTS && arguments.if_not_exists {
            output::line(&format!("topic {name} is there already"))?;
            continue;
        }
        let about = format!("cannot create topic {name}");
        match refusal::check(&about, result.error_code, result.error_message.as_ref()) {
            Ok(()) if result.num_partitions > 0 => {
                let count = result.num_partitions;
                output::line(&format!("created topic {name} with {count} partition(s)"))?;
            }
            Ok(()) => output::line(&format!("created topic {name}"))?,
            Err(failure) => failed = Err(failure),
        }
    }
    failed
}
