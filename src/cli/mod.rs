//! Commands of the `ringlog` program (SHELL).
//!
//! One file a command. Commands that talk to a broker do so over a small blocking client of our
//! own ([`cluster`], [`link`]), so that they work against any broker of the protocol.

mod cluster;
mod completions;
mod config;
mod consume;
mod exchange;
mod failure;
mod group;
mod inspect;
mod json;
mod link;
mod man;
mod moment;
mod output;
mod produce;
mod progress;
mod refusal;
mod remote;
pub mod serve;
mod table;
mod topic;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A streaming broker that speaks Apache Kafka's wire protocol, and its tools.
#[derive(Debug, Parser)]
#[command(
    name = "ringlog",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker: what happens without a command, too.
    Serve(serve::Arguments),
    /// Create, list, describe, alter and delete topics.
    Topic(topic::Arguments),
    /// List, describe and delete consumer groups, and move their offsets.
    Group(group::Arguments),
    /// Send records: one for each line of the input.
    Produce(produce::Arguments),
    /// Print records.
    Consume(consume::Arguments),
    /// Check or show the broker's settings.
    Config(config::Arguments),
    /// Print what the files of a log directory say, while no broker uses them.
    Inspect(inspect::Arguments),
    /// Write a script that completes commands and options in a shell.
    Completions(completions::Arguments),
    /// Write the manual page.
    Man,
}

/// Runs the command that the process arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => return serve::run(&arguments.serve),
        Some(Command::Serve(arguments)) => return serve::run(&arguments),
        Some(Command::Topic(arguments)) => topic::run(arguments),
        Some(Command::Group(arguments)) => group::run(arguments),
        Some(Command::Produce(arguments)) => produce::run(&arguments),
        Some(Command::Consume(arguments)) => consume::run(&arguments),
        Some(Command::Config(arguments)) => config::run(&arguments),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments),
        Some(Command::Completions(arguments)) => completions::run(&arguments),
        Some(Command::Man) => man::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ringlog: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_and_their_options_fit_together() {
        Arguments::command().debug_assert();
    }
}
