//! Commands of the `ringlog` program (SHELL).

pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A streaming broker that speaks Apache Kafka's wire protocol, and its tools.
#[derive(Debug, Parser)]
#[command(
    name = "ringlog",
    version,
    args_conflicts_with_subcommands = true,
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
}

/// Runs the command that the process arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve::run(&arguments.serve),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
    }
}
