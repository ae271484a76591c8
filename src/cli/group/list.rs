//! `ringlog group list`

use crate::cli::cluster::Cluster;
use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use crate::cli::table::Table;
use crate::cli::{output, refusal};
use net::wire::{Str, list_groups};
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only groups in this state, such as Stable or Empty; may be given several times.
    #[arg(long)]
    state: Vec<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let states = arguments
        .state
        .iter()
        .map(|state| Str::from(state.as_str()));
    let request = list_groups::Request {
        states_filter: states.collect(),
        ..Default::default()
    };
    let brokers = cluster.metadata(Some(&[]))?.brokers;
    let mut groups = Vec::new();
    for broker in brokers {
        let response = cluster.ask_node(broker.node_id, &request)?;
        refusal::check("cannot list groups", response.error_code, None)?;
        groups.extend(response.groups);
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    let mut out = output::open();
    let mut table = Table::new(&["group", "state", "protocol"]);
    for group in groups {
        let cells = [group.group_id, group.group_state, group.protocol_type];
        let [id, state, protocol] = cells.map(|cell| cell.to_string());
        if arguments.json {
            let object = Json::Object(vec![
                ("group", Json::Text(id)),
                ("state", Json::Text(state)),
                ("protocol_type", Json::Text(protocol)),
            ]);
            writeln!(out, "{object}")?;
        } else {
            table.row([id, state, protocol]);
        }
    }
    if !arguments.json {
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(())
}
