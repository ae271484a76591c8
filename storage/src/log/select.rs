//! Which bytes of a run of batches answer a request.

use super::rope::{Gone, Placed, Rope};
use crate::batch::{Record, records};
use crate::store::{Found, ReadRequest, TimeQuery};

/// The most that the records of one batch may inflate to in a search by time, in bytes.
const INFLATED_BYTES_MAX: usize = 256 << 20;

/// What became of a look at some bytes.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    Is(T),
    /// Go on at `at`, a batch boundary, with bytes up to at least `to`.
    More {
        at: u64,
        to: u64,
    },
    /// The segment ends, or nothing may be returned.
    End,
    /// What should be a batch is none.
    Broken,
}

/// The batch boundaries between which the answer to a read lies, and the offset behind it.
pub(crate) fn for_read(
    rope: &Rope,
    mut at: u64,
    end: u64,
    request: &ReadRequest,
) -> Seen<(u64, u64, i64)> {
    let first = loop {
        match next(rope, at, end) {
            Seen::Is(batch) if batch.summary.last_offset() < request.offset => at = batch.end,
            Seen::Is(batch) => break batch,
            Seen::More { at, to } => return Seen::More { at, to },
            Seen::End => return Seen::End,
            Seen::Broken => return Seen::Broken,
        }
    };
    let len = (first.end - first.pos) as usize;
    if first.summary.last_offset() >= request.upto
        || (len > request.bytes_max && !request.first_batch_whole)
    {
        return Seen::End;
    }
    let (mut to, mut next_offset) = (first.end, first.summary.last_offset() + 1);
    while let Seen::Is(batch) = next(rope, to, end) {
        let fits = (batch.end - first.pos) as usize <= request.bytes_max;
        if !fits || batch.summary.last_offset() >= request.upto {
            break;
        }
        (to, next_offset) = (batch.end, batch.summary.last_offset() + 1);
    }
    Seen::Is((first.pos, to, next_offset))
}

fn next(rope: &Rope, at: u64, end: u64) -> Seen<Placed> {
    if at >= end {
        return Seen::End;
    }
    match rope.batch_at(at) {
        Ok(batch) => Seen::Is(batch),
        Err(Gone::Short(to)) if to <= end => Seen::More { at, to },
        Err(_) => Seen::Broken,
    }
}

/// The first record that answers a query by time, of those in `[from, upto)`.
pub(crate) fn for_time(
    rope: &Rope,
    mut at: u64,
    end: u64,
    query: TimeQuery,
    from: i64,
    upto: i64,
) -> Seen<Found> {
    loop {
        let batch = match next(rope, at, end) {
            Seen::Is(batch) => batch,
            Seen::More { at, to } => return Seen::More { at, to },
            Seen::End => return Seen::End,
            Seen::Broken => return Seen::Broken,
        };
        if batch.summary.base_offset >= upto {
            return Seen::End;
        }
        let wanted = match query {
            TimeQuery::AtOrAfter(timestamp) => timestamp,
            TimeQuery::Max => batch.summary.max_timestamp,
        };
        if batch.summary.max_timestamp >= wanted && batch.summary.last_offset() >= from {
            let bytes = rope.joined(batch.pos, batch.end);
            let Ok(records) = records(&bytes, INFLATED_BYTES_MAX) else {
                return Seen::Broken;
            };
            for record in records {
                let Ok(record) = record else {
                    return Seen::Broken;
                };
                if let Some(found) = matches(&batch, &record, wanted, from, upto) {
                    return Seen::Is(found);
                }
            }
        }
        at = batch.end;
    }
}

fn matches(batch: &Placed, record: &Record, wanted: i64, from: i64, upto: i64) -> Option<Found> {
    let offset = batch.summary.base_offset + i64::from(record.offset_delta);
    let inside = offset >= from && offset < upto;
    (inside && record.timestamp >= wanted).then_some(Found {
        offset,
        timestamp: record.timestamp,
        leader_epoch: batch.summary.leader_epoch,
    })
}
