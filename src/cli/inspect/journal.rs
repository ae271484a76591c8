//! The rounds of a journal file.

use super::items::{Items, number};
use super::{before, cannot_read, identity};
use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use storage::inspect::{
    EntryView, JOURNAL_ROUND_BYTES_MAX, JOURNAL_STEP, JournalPlace, RoundView, journal_at,
};
use storage::types::PartitionId;

/// Prints every round that checks, wherever it lies. A journal is written over and over, so that
/// places without a round are normal.
pub(super) fn print(items: &mut Items<'_>, path: &Path) -> Outcome<bool> {
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let len = file
        .metadata()
        .map_err(|error| cannot_read(path, &error))?
        .len();
    let (mut at, mut rounds, mut empty) = (0, 0usize, 0usize);
    while at + JOURNAL_STEP <= len {
        let mut found =
            read(&file, path, at, JOURNAL_STEP).map(|bytes| journal_at(&bytes, len - at))?;
        if let JournalPlace::Longer(needed) = found {
            let whole = read(&file, path, at, needed.min(JOURNAL_ROUND_BYTES_MAX as u64))?;
            found = journal_at(&whole, len - at);
        }
        match found {
            JournalPlace::Round(round) => {
                print_round(items, at, &round)?;
                rounds += 1;
                at += round.len;
            }
            JournalPlace::Longer(_) | JournalPlace::Nothing => {
                empty += 1;
                at += JOURNAL_STEP;
            }
        }
    }
    let about = vec![
        ("rounds", number(rounds)),
        ("places_without_round", number(empty)),
    ];
    items.put("journal", about)?;
    Ok(true)
}

fn read(file: &File, path: &Path, at: u64, len: u64) -> Outcome<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(JOURNAL_ROUND_BYTES_MAX)];
    file.read_exact_at(&mut bytes, at)
        .map_err(|error| cannot_read(path, &error))?;
    Ok(bytes.into())
}

fn print_round(items: &mut Items<'_>, at: u64, round: &RoundView) -> Outcome {
    let flags = [
        ("opening", round.opening),
        ("opening_end", round.opening_end),
        ("clean", round.clean),
        ("void", round.void),
    ];
    let flags = flags
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| Json::text(name));
    items.put(
        "round",
        vec![
            ("position", number(at)),
            ("len", number(round.len)),
            ("sequence", number(round.sequence)),
            ("start", number(round.start)),
            ("low", number(round.low)),
            ("flags", Json::List(flags.collect())),
            ("entries", number(round.entries.len())),
        ],
    )?;
    for entry in &round.entries {
        print_entry(items, entry)?;
    }
    Ok(())
}

fn print_entry(items: &mut Items<'_>, entry: &EntryView) -> Outcome {
    match entry {
        EntryView::State { .. } => print_state(items, entry),
        EntryView::Crumb {
            id,
            base,
            position,
            end_offset,
            data,
        } => {
            let place = [*base, *end_offset];
            items.put(
                "crumb",
                placed(id, place, *position, data.len() as u64, None),
            )
        }
        EntryView::Extent {
            id,
            base,
            position,
            len,
            crc,
            end_offset,
        } => {
            let place = [*base, *end_offset];
            items.put("extent", placed(id, place, *position, *len, Some(*crc)))
        }
        EntryView::Roll { id, ended, base } => {
            let ended = ("ended", before(Some(*ended)));
            items.put(
                "roll",
                vec![identity(id), ended, ("segment", Json::Number(*base))],
            )
        }
        EntryView::Start { id, log_start } => {
            let offset = ("offset", Json::Number(*log_start));
            items.put("log_start", vec![identity(id), offset])
        }
        EntryView::Fence { id, why } => items.put(
            "fence",
            vec![identity(id), ("why", Json::text(why.as_str()))],
        ),
    }
}

/// Bytes of a segment: its base offset and the log's end behind them, their position and number.
fn placed(
    id: &PartitionId,
    [base, end_offset]: [i64; 2],
    position: u64,
    len: u64,
    crc: Option<u32>,
) -> Vec<(&'static str, Json)> {
    let crc = crc.map(|crc| ("crc", Json::text(format!("{crc:08x}"))));
    [
        identity(id),
        ("segment", Json::Number(base)),
        ("position", number(position)),
        ("bytes", number(len)),
        ("end_offset", Json::Number(end_offset)),
    ]
    .into_iter()
    .chain(crc)
    .collect()
}

fn print_state(items: &mut Items<'_>, state: &EntryView) -> Outcome {
    let EntryView::State {
        id,
        log_start,
        before: end,
        base,
        position,
        end_offset,
        checksums,
        tail,
    } = state
    else {
        return Ok(());
    };
    items.put(
        "state",
        vec![
            identity(id),
            ("log_start", Json::Number(*log_start)),
            ("before", before(*end)),
            ("segment", Json::Number(*base)),
            ("position", number(*position)),
            ("end_offset", Json::Number(*end_offset)),
            ("checksums", number(*checksums)),
            ("tail_bytes", number(tail.len())),
        ],
    )
}
