//! What is derived from a log's batches, saved so that a start need not read the whole log again.

use crate::checkpoint::{open, seal};
use crate::epochs::Epochs;
use crate::format::cursor::Cursor;
use crate::index::Index;
use crate::log::Log;
use crate::producer::Producers;

const MAGIC: [u8; 4] = *b"RLCP";
const VERSION: u16 = 1;

/// How far what is saved of a log's derived state lies behind its end.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// Bytes appended since the durable checkpoint.
    pub(crate) durable: u64,
    /// Bytes appended since the newest of both.
    pub(crate) recent: u64,
    /// Length in bytes of what was saved last.
    pub(crate) saved_bytes: u64,
    /// Waits for its end to be durable, and for what is being saved.
    pub(crate) snapshot: Option<Snapshot>,
    /// One is being written.
    pub(crate) saving: bool,
}

/// A checkpoint as bytes.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// End offset of the log when it was taken.
    pub(crate) end: i64,
    pub(crate) bytes: Vec<u8>,
    /// To be saved durably.
    pub(crate) durable: bool,
}

/// Derived state as of one place in the log.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) base: i64,
    pub(crate) pos: u64,
    /// The offset of the next batch.
    pub(crate) end: i64,
    pub(crate) rolls_from: Option<(i64, i64)>,
    pub(crate) index: Index,
    pub(crate) producers: Producers,
    pub(crate) epochs: Epochs,
}

impl Checkpoint {
    /// The derived state at the end of the log, as bytes. `None` if it is too large to be saved.
    pub(crate) fn of(log: &Log) -> Option<Vec<u8>> {
        let active = log.active();
        let (first, since) = active.rolls_from.unwrap_or((i64::MIN, 0));
        let mut out = Vec::new();
        out.extend_from_slice(&active.base.to_le_bytes());
        out.extend_from_slice(&active.end.to_le_bytes());
        out.extend_from_slice(&log.end.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&since.to_le_bytes());
        let index = active.index.as_ref()?.encode();
        for part in [index, log.producers.encode(), log.epochs.encode()] {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(&part);
        }
        seal(MAGIC, VERSION, &out)
    }

    /// `None` for anything but an undamaged checkpoint of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(open(MAGIC, VERSION, bytes).ok()?);
        let (base, pos, end) = (cursor.i64()?, cursor.u64()?, cursor.i64()?);
        let (first, since) = (cursor.i64()?, cursor.i64()?);
        let mut part = || {
            let len = usize::try_from(cursor.u64()?).ok()?;
            cursor.take(len)
        };
        Some(Self {
            base,
            pos,
            end,
            rolls_from: (first != i64::MIN).then_some((first, since)),
            index: Index::decode(part()?).ok()?,
            producers: Producers::decode(part()?).ok()?,
            epochs: Epochs::decode(part()?).ok()?,
        })
    }
}
