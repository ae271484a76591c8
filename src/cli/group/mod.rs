//! `ringlog group`

mod delete;
mod describe;
mod list;
mod offsets;
mod reset_offsets;

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
    /// List groups.
    List(list::Arguments),
    /// Show members, committed offsets and lag of groups.
    Describe(describe::Arguments),
    /// Move the offsets that a group goes on from; it must have no members.
    ResetOffsets(reset_offsets::Arguments),
    /// Delete groups and their offsets; they must have no members.
    Delete(delete::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let mut cluster = arguments.remote.cluster();
    match arguments.command {
        Command::List(arguments) => list::run(&mut cluster, &arguments),
        Command::Describe(arguments) => describe::run(&mut cluster, &arguments),
        Command::ResetOffsets(arguments) => reset_offsets::run(&mut cluster, &arguments),
        Command::Delete(arguments) => delete::run(&mut cluster, &arguments),
    }
}
