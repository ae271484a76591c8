//! `ringlog topic`

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use super::failure::Outcome;
use super::remote::Remote;
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create topics.
    Create(create::Arguments),
    /// List topics.
    List(list::Arguments),
    /// Show partitions and settings of topics.
    Describe(describe::Arguments),
    /// Change settings or add partitions.
    Alter(alter::Arguments),
    /// Delete topics and everything in them.
    Delete(delete::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let mut cluster = arguments.remote.cluster();
    match arguments.command {
        Command::Create(arguments) => create::run(&mut cluster, &arguments),
        Command::List(arguments) => list::run(&mut cluster, &arguments),
        Command::Describe(arguments) => describe::run(&mut cluster, &arguments),
        Command::Alter(arguments) => alter::run(&mut cluster, &arguments),
        Command::Delete(arguments) => delete::run(&mut cluster, &arguments),
    }
}
