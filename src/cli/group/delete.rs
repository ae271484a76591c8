//! `ringlog group delete`

use crate::cli::cluster::Cluster;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::remote::confirm;
use crate::cli::{output, refusal};
use net::wire::{Str, delete_groups};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let question = format!("delete {} with every offset?", arguments.groups.join(", "));
    if !confirm(&question, arguments.yes) {
        return Err(Failure::new("nothing was deleted"));
    }
    let mut failed = Ok(());
    for name in &arguments.groups {
        let request = delete_groups::Request {
            groups_names: vec![Str::from(name.as_str())],
        };
        let code = |response: &delete_groups::Response| {
            response
                .results
                .first()
                .map_or(0, |result| result.error_code)
        };
        let response = cluster.ask_coordinator(name, &request, code)?;
        match refusal::check(
            &format!("cannot delete group {name}"),
            code(&response),
            None,
        ) {
            Ok(()) => output::line(&format!("deleted group {name}"))?,
            Err(failure) => failed = Err(failure),
        }
    }
    failed
}
