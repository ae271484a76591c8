//! `ringlog topic alter`

use crate::cli::cluster::Cluster;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remote::assignment;
use crate::cli::{output, refusal};
use net::wire::{Str, create_partitions, incremental_alter_configs};

/// Resource type and operations of IncrementalAlterConfigs (KIP-339).
const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The number of partitions there shall be; more than there are.
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Gives a setting a value; may be given several times.
    #[arg(long = "set", short, value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// Lets a setting follow the broker's default again; may be given several times.
    #[arg(long = "unset", value_name = "NAME")]
    unset: Vec<String>,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let name = &arguments.topic;
    let is_idle = arguments.partitions.is_none() && arguments.settings.is_empty();
    if is_idle && arguments.unset.is_empty() {
        return Err(Failure::new("nothing to change")
            .advise("give --partitions N, --set NAME=VALUE or --unset NAME"));
    }
    cluster.topic(name)?;
    if !arguments.settings.is_empty() || !arguments.unset.is_empty() {
        configure(cluster, arguments)?;
        output::line(&format!("changed settings of topic {name}"))?;
    }
    if let Some(count) = arguments.partitions {
        grow(cluster, name, count)?;
        output::line(&format!("topic {name} has {count} partition(s) now"))?;
    }
    Ok(())
}

fn configure(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let set = arguments
        .settings
        .iter()
        .map(|(name, value)| (name, SET, Some(value)));
    let unset = arguments.unset.iter().map(|name| (name, DELETE, None));
    let config = |(name, operation, value): (&String, i8, Option<&String>)| {
        incremental_alter_configs::AlterableConfig {
            name: Str::from(name.as_str()),
            config_operation: operation,
            value: value.map(|value| Str::from(value.as_str())),
        }
    };
    let request = incremental_alter_configs::Request {
        resources: vec![incremental_alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: Str::from(arguments.topic.as_str()),
            configs: set.chain(unset).map(config).collect(),
        }],
        validate_only: false,
    };
    let controller = cluster.controller()?;
    for response in cluster.ask_node(controller, &request)?.responses {
        let about = format!("cannot change topic {}", arguments.topic);
        refusal::check(&about, response.error_code, response.error_message.as_ref())?;
    }
    Ok(())
}

fn grow(cluster: &mut Cluster, name: &str, count: i32) -> Outcome {
    let request = create_partitions::Request {
        topics: vec![create_partitions::CreatePartitionsTopic {
            name: Str::from(name),
            count,
            assignments: None,
        }],
        timeout_ms: cluster.timeout_ms(),
        validate_only: false,
    };
    let controller = cluster.controller()?;
    for result in cluster.ask_node(controller, &request)?.results {
        let about = format!("cannot add partitions to topic {name}");
        refusal::check(&about, result.error_code, result.error_message.as_ref())?;
    }
    Ok(())
}
