//! `ringlog topic delete`

use crate::cli::cluster::Cluster;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remote::confirm;
use crate::cli::{output, refusal};
use net::wire::{Str, delete_topics};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let question = format!("delete {} with every record?", arguments.topics.join(", "));
    if !confirm(&question, arguments.yes) {
        return Err(Failure::new("nothing was deleted"));
    }
    let name = |name: &String| Str::from(name.as_str());
    let state = |topic: &String| delete_topics::DeleteTopicState {
        name: Some(name(topic)),
        ..Default::default()
    };
    let request = delete_topics::Request {
        topics: arguments.topics.iter().map(state).collect(),
        topic_names: arguments.topics.iter().map(name).collect(),
        timeout_ms: cluster.timeout_ms(),
    };
    let controller = cluster.controller()?;
    let mut failed = Ok(());
    for result in cluster.ask_node(controller, &request)?.responses {
        let name = result.name.as_deref().unwrap_or_default();
        let about = format!("cannot delete topic {name}");
        match refusal::check(&about, result.error_code, result.error_message.as_ref()) {
            Ok(()) => output::line(&format!("deleted topic {name}"))?,
            Err(failure) => failed = Err(failure),
        }
    }
    failed
}
