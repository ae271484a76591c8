//! A small load program for the measurements of this folder; the scripts beside it call it.
//!
//! ```text
//! load produce KEY=VALUE...   requests on a schedule that no reply can delay; latency from the
//!                             scheduled time
//! load poll KEY=VALUE...      consumers that wait for records which never come
//! load fetch KEY=VALUE...     reads everything as fast as it is answered, without decoding it
//! load fill KEY=VALUE...      so many bytes into every partition, one request after the other
//! load ready KEY=VALUE...     waits until produce and fetch have succeeded on every partition
//! ```
//!
//! Results are lines of `key=value` on standard output.

mod fetch;
mod link;
mod poll;
mod process;
mod produce;
mod ready;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::str::FromStr;

/// What was given on the command line as `key=value`.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    /// The value of `key`, or `standard` if it was not given.
    pub(crate) fn get<T: FromStr>(&self, key: &str, standard: T) -> io::Result<T> {
        let Some(text) = self.0.get(key) else {
            return Ok(standard);
        };
        let wrong = || io::Error::other(format!("{key}={text} cannot be read"));
        text.parse().map_err(|_| wrong())
    }

    /// The address of the broker.
    pub(crate) fn bootstrap(&self) -> io::Result<String> {
        self.get("bootstrap", "127.0.0.1:9092".to_owned())
    }

    /// The topic to use.
    pub(crate) fn topic(&self) -> io::Result<String> {
        self.get("topic", "measure".to_owned())
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let pairs = words.filter_map(|word| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    let options = Options(pairs.collect());
    let done = match command.as_str() {
        "produce" => produce::run(&options),
        "poll" => poll::run(&options),
        "fetch" => fetch::run(&options),
        "fill" => ready::fill(&options),
        "ready" => ready::run(&options),
        _ => Err(io::Error::other(
            "load produce|poll|fetch|fill|ready KEY=VALUE...",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
