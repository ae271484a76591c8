//! Measures brokers of Kafka's protocol from outside, by TCP, like any client.

#![forbid(unsafe_code)]

mod batch;
mod brokers;
mod client;
mod clock;
mod compare;
mod engine;
mod failure;
#[allow(
    dead_code,
    unused_imports,
    reason = "its servers are still being joined to it"
)]
mod floor;
mod kernel;
mod load;
mod model;
mod null_server;
mod quick;
mod report;
mod run;
mod schedule;
mod stage;
mod workload;

use clap::{Parser, Subcommand};
use failure::Outcome;
use std::process::ExitCode;

/// Measures brokers of Kafka's protocol: what they do, what they cost, and how much is possible.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(Box<compare::CompareOptions>),
    Quick(quick::QuickOptions),
    Run(Box<run::RunOptions>),
    #[command(hide = true)]
    NullServer(null_server::NullServerOptions),
    Floor(floor::FloorOptions),
    Report(report::ReportOptions),
    #[command(hide = true)]
    Launch(brokers::LaunchOptions),
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Outcome<()> {
    match options.command {
        Command::Compare(options) => compare::command(&options),
        Command::Quick(options) => quick::command(&options),
        Command::Run(options) => run::command(&options),
        Command::NullServer(options) => null_server::command(&options),
        Command::Floor(options) => floor::command(&options),
        Command::Report(options) => report::command(&options),
        Command::Launch(options) => brokers::launch(&options),
    }
}
