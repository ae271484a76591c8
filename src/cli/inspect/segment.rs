//! The batches of a segment file, checked against their CRCs and the checksums beside it.

use super::items::{Items, number};
use super::{before, cannot_read, identity};
use crate::cli::failure::Outcome;
use crate::cli::json::Json;
use bytes::Bytes;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use storage::batch::{self, HEADER_LEN, Header, MAGIC, Summary};
use storage::inspect::{self, CHECKSUM_PIECE, Kind, SEGMENT_DATA_START, SegmentView};

/// Most bytes that the records of one batch are inflated to.
const INFLATED_BYTES_MAX: usize = 1 << 30;
/// Checksums that one block of a sidecar holds.
const CHECKSUMS_STEP: usize = 1023;

/// Prints the header, every batch, and what ends them; `false` when the file is damaged.
pub(super) fn print(items: &mut Items<'_>, path: &Path, records: bool) -> Outcome<bool> {
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let len = file
        .metadata()
        .map_err(|error| cannot_read(path, &error))?
        .len();
    let segment = Segment { file, path, len };
    let Some(view) = inspect::segment_header(&segment.read(0, SEGMENT_DATA_START)?) else {
        return items.damaged("its first block is not the header of a segment");
    };
    items.put(
        "segment",
        vec![
            identity(&view.id),
            ("base_offset", Json::Number(view.base)),
            ("before", before(view.before)),
        ],
    )?;
    let (end, whole) = print_batches(items, &segment, view.base, records)?;
    let checked = print_checksums(items, &segment, &view, end)?;
    Ok(whole && checked)
}

struct Segment<'a> {
    file: File,
    path: &'a Path,
    len: u64,
}

impl Segment<'_> {
    /// At most `len` bytes from `at`: fewer at the end of the file.
    fn read(&self, at: u64, len: u64) -> Outcome<Bytes> {
        let len = len.min(self.len.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Bytes::new()),
            Err(error) => Err(cannot_read(self.path, &error)),
        }
    }
}

/// Prints the batches; returns where they end and whether none of them is damaged.
fn print_batches(
    items: &mut Items<'_>,
    segment: &Segment<'_>,
    base: i64,
    records: bool,
) -> Outcome<(u64, bool)> {
    let (mut at, mut next, mut whole) = (SEGMENT_DATA_START, base, true);
    let end = successor(segment.path).and_then(|path| end_before(&path, base));
    let why = loop {
        if end == Some(at) {
            break "the next segment";
        }
        let head = segment.read(at, HEADER_LEN as u64)?;
        let Some(header) = Header::of(&head) else {
            break "the end of the file";
        };
        let summary = header.summary();
        if header.magic != MAGIC {
            break if head.iter().all(|byte| *byte == 0) {
                "zeros"
            } else {
                "no batch"
            };
        }
        if summary.base_offset != next {
            break "a batch of another life of this file";
        }
        let Some(len) = header
            .batch_len()
            .filter(|len| *len as u64 <= segment.len - at)
        else {
            break "a batch that is cut off";
        };
        let batch = segment.read(at, len as u64)?;
        let intact = batch::check_crc(&batch);
        print_batch(items, at, &batch, &summary, intact)?;
        if !intact {
            if successor(segment.path).is_some() {
                whole = false;
                break "a batch with a wrong CRC";
            }
            break "a batch that does not check: damaged, or its rest lies in the journal";
        }
        if records {
            whole &= print_records(items, &batch)?;
        }
        at += len as u64;
        next = summary.last_offset().saturating_add(1);
    };
    items.put(
        "end",
        vec![
            ("position", number(at)),
            ("next_offset", Json::Number(next)),
            ("then", Json::text(why)),
        ],
    )?;
    Ok((at, whole))
}

/// The segment in which the log goes on, so that this one is complete.
fn successor(path: &Path) -> Option<PathBuf> {
    let base = |path: &Path| match inspect::kind_of(path.file_name()?.to_str()?)? {
        Kind::Segment(base) => Some(base),
        _ => None,
    };
    let this = base(path)?;
    let siblings = std::fs::read_dir(path.parent()?).ok()?;
    let bases = siblings.flatten().filter_map(|entry| {
        let path = entry.path();
        Some((base(&path).filter(|other| *other > this)?, path))
    });
    bases.min().map(|(_, path)| path)
}

/// Where the segment from `base` on ends, as the next one says. Behind that may lie batches of the
/// segment that the file belonged to before.
fn end_before(path: &Path, base: i64) -> Option<u64> {
    let mut head = [0; SEGMENT_DATA_START as usize];
    File::open(path).ok()?.read_exact_at(&mut head, 0).ok()?;
    let before = inspect::segment_header(&head)?.before?;
    (before.base == base).then_some(before.end)
}

fn print_batch(
    items: &mut Items<'_>,
    at: u64,
    batch: &[u8],
    summary: &Summary,
    intact: bool,
) -> Outcome {
    let bits = summary.attributes;
    let codec = bits.codec().map_or_else(
        |id| Json::Number(id.into()),
        |codec| Json::text(format!("{codec:?}").to_lowercase()),
    );
    items.put(
        "batch",
        vec![
            ("position", number(at)),
            ("len", number(batch.len())),
            ("base_offset", Json::Number(summary.base_offset)),
            ("last_offset", Json::Number(summary.last_offset())),
            ("records", Json::Number(summary.count.into())),
            ("leader_epoch", Json::Number(summary.leader_epoch.into())),
            ("codec", codec),
            ("base_timestamp", Json::Number(summary.base_timestamp)),
            ("max_timestamp", Json::Number(summary.max_timestamp)),
            ("log_append_time", Json::Bool(bits.log_append_time())),
            ("transactional", Json::Bool(bits.transactional())),
            ("control", Json::Bool(bits.control())),
            ("producer_id", Json::Number(summary.producer_id)),
            (
                "producer_epoch",
                Json::Number(summary.producer_epoch.into()),
            ),
            ("base_sequence", Json::Number(summary.base_sequence.into())),
            ("crc_is_right", Json::Bool(intact)),
        ],
    )
}

/// Prints the records of a batch; `false` when they cannot be read.
fn print_records(items: &mut Items<'_>, batch: &Bytes) -> Outcome<bool> {
    let records = match batch::records(batch, INFLATED_BYTES_MAX) {
        Ok(records) => records,
        Err(why) => return items.damaged(&format!("its records do not inflate ({why:?})")),
    };
    let base = records.summary().base_offset;
    for record in records {
        let Ok(record) = record else {
            return items.damaged("a record is broken");
        };
        let headers = record.headers.iter().map(|(name, value)| {
            Json::List(vec![Json::bytes(Some(name)), Json::bytes(value.as_deref())])
        });
        items.put(
            "record",
            vec![
                (
                    "offset",
                    Json::Number(base.saturating_add(record.offset_delta.into())),
                ),
                ("timestamp", Json::Number(record.timestamp)),
                ("key", Json::bytes(record.key.as_deref())),
                ("value", Json::bytes(record.value.as_deref())),
                ("headers", Json::List(headers.collect())),
            ],
        )?;
    }
    Ok(true)
}

/// Compares the pieces of the segment with the checksums beside it, as far as it has some.
fn print_checksums(
    items: &mut Items<'_>,
    segment: &Segment<'_>,
    view: &SegmentView,
    end: u64,
) -> Outcome<bool> {
    let path = segment.path.with_extension("sum");
    let Ok(sidecar) = std::fs::read(&path) else {
        items.put("checksums", vec![("pieces", number(0))])?;
        return Ok(true);
    };
    // A complete segment ends with a padded block, whose checksum covers no more than that.
    let end = end.next_multiple_of(SEGMENT_DATA_START);
    let pieces = usize::try_from(end.div_ceil(CHECKSUM_PIECE)).unwrap_or(0);
    let sums = (0..=pieces.div_ceil(CHECKSUMS_STEP))
        .rev()
        .map(|blocks| pieces.min(blocks * CHECKSUMS_STEP))
        .find_map(|count| inspect::checksums(&sidecar, &view.id, view.base, count));
    let Some(sums) = sums else {
        return items.damaged("the checksums beside it are damaged");
    };
    let (mut right, mut wrong) = (0usize, Vec::new());
    for (piece, sum) in sums.iter().enumerate() {
        let at = piece as u64 * CHECKSUM_PIECE;
        let bytes = segment.read(at, CHECKSUM_PIECE)?;
        let padded = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        if storage::crc::crc32c(&bytes) == *sum || storage::crc::crc32c(&bytes[..padded]) == *sum {
            right += 1;
        } else if *sum != 0 {
            // A checksum that is not written yet is 0.
            wrong.push(number(at));
        }
    }
    let sound = wrong.is_empty();
    let counts = [("pieces", number(pieces)), ("right", number(right))];
    let members = counts.into_iter().chain([("wrong_at", Json::List(wrong))]);
    items.put("checksums", members.collect())?;
    Ok(sound)
}
