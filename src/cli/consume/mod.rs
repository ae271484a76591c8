//! `ringlog consume`

mod format;
mod reader;

use super::failure::{Failure, Outcome};
use super::output;
use super::progress::Progress;
use super::remote::Remote;
use super::{cluster, moment};
use format::Format;
use reader::{Reader, Span};
use std::io::Write;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Only this partition; may be given several times.
    #[arg(long = "partition", short, value_name = "N")]
    partitions: Vec<i32>,
    /// Where to begin: earliest, latest, an offset, -N for the last N records of each partition,
    /// or @TIME (milliseconds, a date such as 2026-11-23T12:00:00Z, or 6h for six hours ago).
    #[arg(long, value_name = "WHERE", default_value = "earliest", allow_hyphen_values = true,
          value_parser = start)]
    from: Start,
    /// Stop after this many records.
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Go on at the end and wait for new records.
    #[arg(long, short = 'F')]
    follow: bool,
    /// Keys, too, before a tab.
    #[arg(long, short)]
    key: bool,
    /// Headers, too, before a tab.
    #[arg(long, short = 'H')]
    headers: bool,
    /// What to print: %s value, %k key, %h headers, %t topic, %p partition, %o offset,
    /// %T timestamp (ms), %D timestamp (date), %S and %K lengths, %% a percent sign, and \n \t \\.
    #[arg(long, short, value_name = "FORMAT", value_parser = Format::parse,
          conflicts_with_all = ["key", "headers", "json"])]
    format: Option<Format>,
    /// One JSON object a line; bytes that are not UTF-8 as {"base64": ...}.
    #[arg(long, conflicts_with_all = ["key", "headers"])]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    Offset(i64),
    /// So many before the end.
    Last(i64),
    Time(i64),
}

fn start(text: &str) -> Result<Start, String> {
    let wrong = || "expected earliest, latest, OFFSET, -N or @TIME".to_owned();
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => match (text.strip_prefix('@'), text.strip_prefix('-')) {
            (Some(time), _) => moment::parse(time, moment::now_ms())
                .map(Start::Time)
                .ok_or_else(wrong),
            (_, Some(count)) => match count.parse() {
                Ok(count) if count >= 0 => Ok(Start::Last(count)),
                _ => Err(wrong()),
            },
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(Start::Offset(offset)),
                _ => Err(wrong()),
            },
        },
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut cluster = arguments.remote.cluster();
    let spans = spans(&mut cluster, arguments)?;
    let format = match &arguments.format {
        Some(format) => format.clone(),
        None if arguments.json => Format::json(),
        None => Format::plain(arguments.key, arguments.headers),
    };
    let total: i64 = spans.iter().map(|span| (span.end - span.next).max(0)).sum();
    let total = u64::try_from(total).ok().filter(|_| !arguments.follow);
    let total = match (total, arguments.count) {
        (Some(total), Some(count)) => Some(total.min(count)),
        (total, count) => total.or(count),
    };
    let mut out = output::open();
    let mut progress = Progress::new(true);
    let (mut records, mut bytes) = (0u64, 0u64);
    let is_enough = |records: u64| arguments.count.is_some_and(|count| records >= count);
    let mut reader = Reader::new(&mut cluster, &arguments.topic, spans, arguments.follow);
    while !is_enough(records) && !reader.is_done() {
        for (partition, offset, record) in reader.next()? {
            if is_enough(records) {
                break;
            }
            format.write(&mut out, &arguments.topic, partition, offset, &record)?;
            records += 1;
            bytes += record.value.as_ref().map_or(0, |value| value.len() as u64);
        }
        out.flush()?;
        progress.at(records, bytes, total);
    }
    Ok(())
}

/// What to read of each partition: from where, and up to the end there is now.
fn spans(cluster: &mut cluster::Cluster, arguments: &Arguments) -> Outcome<Vec<Span>> {
    let known = cluster.topic(&arguments.topic)?.partitions;
    let mut indexes: Vec<i32> = known
        .iter()
        .map(|partition| partition.partition_index)
        .collect();
    indexes.sort_unstable();
    if let Some(missing) = arguments
        .partitions
        .iter()
        .find(|index| !indexes.contains(index))
    {
        return Err(
            Failure::new(format!("{} has no partition {missing}", arguments.topic))
                .advise(format!("it has {}, numbered from 0", indexes.len())),
        );
    }
    indexes.retain(|i| arguments.partitions.is_empty() || arguments.partitions.contains(i));
    let at = |time: i64| {
        indexes
            .iter()
            .map(|index| (*index, time))
            .collect::<Vec<_>>()
    };
    let begins = cluster.offsets_at(&arguments.topic, &at(cluster::EARLIEST))?;
    let ends = cluster.offsets_at(&arguments.topic, &at(cluster::LATEST))?;
    let times = match arguments.from {
        Start::Time(ms) => cluster.offsets_at(&arguments.topic, &at(ms))?,
        _ => begins.clone(),
    };
    let span = |index: &i32| {
        let begin = begins.get(index).copied().unwrap_or(0);
        let end = ends.get(index).copied().unwrap_or(begin);
        let next = match arguments.from {
            Start::Earliest => begin,
            Start::Latest => end,
            Start::Offset(offset) => offset,
            Start::Last(count) => end.saturating_sub(count),
            Start::Time(_) => times
                .get(index)
                .copied()
                .filter(|at| *at >= 0)
                .unwrap_or(end),
        };
        Span {
            partition: *index,
            next: next.max(begin),
            end,
        }
    };
    Ok(indexes.iter().map(span).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_told_apart() {
        for (text, expected) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("0", Start::Offset(0)),
            ("-10", Start::Last(10)),
            ("@1970-01-02", Start::Time(86_400_000)),
        ] {
            assert_eq!(start(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "@", "first", "--1"] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
