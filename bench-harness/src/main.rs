//! Measures brokers of Kafka's protocol from outside, by TCP, like any client.

#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports)]

mod model;

use clap::{Parser, Subcommand};

/// Measures brokers of Kafka's protocol: what they do, what they cost, and how much is possible.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

fn main() {
    match Options::parse().command {}
}
