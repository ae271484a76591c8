//! `ringlog topic list`

use crate::cli::cluster::Cluster;
use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use crate::cli::output;
use crate::cli::table::Table;
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Internal topics, too.
    #[arg(long)]
    internal: bool,
    /// Names only.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, arguments: &Arguments) -> Outcome {
    let mut topics = cluster.metadata(None)?.topics;
    topics.retain(|topic| arguments.internal || !topic.is_internal);
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = output::open();
    let mut table = Table::new(&["topic", "partitions", "replicas"]);
    for topic in &topics {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        let partitions = topic.partitions.len();
        let replicas = topic
            .partitions
            .first()
            .map_or(0, |first| first.replica_nodes.len());
        if arguments.quiet {
            writeln!(out, "{name}")?;
        } else if arguments.json {
            let object = Json::Object(vec![
                ("topic", Json::text(name)),
                (
                    "id",
                    Json::text(crate::cli::topic::describe::id_text(&topic.topic_id.0)),
                ),
                ("partitions", Json::Number(partitions as i64)),
                ("replicas", Json::Number(replicas as i64)),
                ("internal", Json::Bool(topic.is_internal)),
            ]);
            writeln!(out, "{object}")?;
        } else {
            table.row([name, partitions.to_string(), replicas.to_string()]);
        }
    }
    if !arguments.quiet && !arguments.json {
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(())
}
