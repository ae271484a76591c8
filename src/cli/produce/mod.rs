//! `ringlog produce`

mod lines;
mod murmur;
mod sender;

use super::failure::{Failure, Outcome};
use super::progress::Progress;
use super::remote::{Remote, assignment};
use bytes::Bytes;
use clap::ValueEnum;
use lines::Line;
use sender::Sender;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, stderr, stdin};
use std::path::PathBuf;
use storage::batch::{Codec, Compression};

/// Input is read in pieces of this many bytes.
const READ_BYTES: usize = 256 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Read from a file instead of the standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands between key and value in a line, such as : or \t; without it there is no key.
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = lines::separator)]
    key_separator: Option<String>,
    /// One key for every record.
    #[arg(long, short, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header for every record; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = assignment)]
    headers: Vec<(String, String)>,
    /// Send everything to one partition, instead of choosing by the key as Java clients do.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How to compress batches.
    #[arg(long, short = 'z', value_enum, default_value_t = Compress::None)]
    compression: Compress,
    /// A line that is exactly this becomes a record without a value (a deletion).
    #[arg(long, value_name = "TEXT")]
    null_value: Option<String>,
    /// The whole input is one record.
    #[arg(long)]
    whole: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compress {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compress {
    const fn compression(self) -> Compression {
        Compression::default_of(match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut input = open(arguments)?;
    let mut cluster = arguments.remote.cluster();
    let headers: Vec<(Bytes, Option<Bytes>)> = arguments
        .headers
        .iter()
        .map(|(name, value)| (name.clone().into(), Some(value.clone().into())))
        .collect();
    let compression = arguments.compression.compression();
    let mut sender = Sender::new(&mut cluster, &arguments.topic, compression, headers)?;
    if arguments.file.is_none() && stdin().is_terminal() && stderr().is_terminal() {
        eprintln!("one record a line; end with Ctrl-D");
    }
    let mut progress = Progress::new(false);
    let mut bytes = Vec::new();
    let cannot_read = |error| Failure::new(format!("cannot read the input: {error}"));
    loop {
        bytes.clear();
        let read = if arguments.whole {
            input.read_to_end(&mut bytes).map_err(cannot_read)?
        } else {
            input.read_until(b'\n', &mut bytes).map_err(cannot_read)?
        };
        if read == 0 {
            break;
        }
        let line = Line::new(&bytes, arguments)?;
        sender.add(&line, arguments.partition)?;
        // Nothing more is there at once: whoever types does not wait for a batch to fill.
        if input.buffer().is_empty() {
            sender.flush()?;
        }
        progress.at(sender.records(), sender.bytes(), None);
    }
    sender.flush()?;
    progress.clear();
    if stderr().is_terminal() {
        eprintln!("{} record(s) acknowledged", sender.records());
    }
    Ok(())
}

fn open(arguments: &Arguments) -> Outcome<BufReader<Box<dyn Read>>> {
    let input: Box<dyn Read> =
        match &arguments.file {
            None => Box::new(stdin()),
            Some(path) => Box::new(File::open(path).map_err(|error| {
                Failure::new(format!("cannot open {}: {error}", path.display()))
            })?),
        };
    Ok(BufReader::with_capacity(READ_BYTES, input))
}
