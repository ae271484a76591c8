//! One segment of a log: what of it is in memory, in the journal, in the file, and durable there.

use super::tail::Tail;
use crate::batch::Summary;
use crate::crc::{crc32c, crc32c_combine};
use crate::format::segment::{Ended, SUMS_PER_BLOCK};
use crate::format::{BLOCK_U64, DATA_START, PIECE, block_ceil, block_floor};
use crate::index::Index;
use bytes::Bytes;
use reactor::op::FileId;
use std::sync::Arc;

/// The file behind a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// Nothing on disk yet.
    Absent,
    /// Being created, with its header.
    Making,
    Open(FileId),
    /// On disk, closed: opened again by the next read.
    Closed,
}

/// The checksums at a position: complete pieces before it, and the CRC of its own up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pos: u64,
    pub(crate) sums: usize,
    pub(crate) crc: u32,
}

/// See the module. Positions are file positions.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    pub(crate) before: Option<Ended>,
    pub(crate) tail: Tail,
    /// Behind the last batch.
    pub(crate) end: u64,
    /// No more batches are added.
    pub(crate) rolled: bool,
    /// A round names this segment's end, and the next segment.
    pub(crate) roll_journaled: bool,
    /// Named by a round that is durable or in flight.
    pub(crate) journaled: u64,
    /// Blocks before `written.pos` were handed to the kernel.
    written: Mark,
    /// Writes that are not durable yet, each with the mark at its start.
    flights: Vec<(Mark, u64)>,
    pub(crate) file: File,
    /// Space is reserved up to here.
    pub(crate) allocated: u64,
    pub(crate) growing: bool,
    /// Space before this was written and synced by this process.
    pub(crate) converted: u64,
    /// Checksums of all complete pieces up to `written`.
    pub(crate) sums: Vec<u32>,
    /// Checksums in the sidecar that are durable.
    pub(crate) sums_durable: usize,
    pub(crate) sums_busy: bool,
    /// Complete in the file, checksums included.
    pub(crate) sealed: bool,
    pub(crate) max_timestamp: i64,
    /// The wall clock at the last append. Of an earlier life: as the files tell it, or else the
    /// start of this one.
    pub(crate) touched_ms: i64,
    /// The largest timestamp of the first batch, and the wall clock at its append.
    pub(crate) rolls_from: Option<(i64, i64)>,
    /// Checksums as read from the sidecar, for reads of a segment of an earlier life.
    pub(crate) known_sums: Option<Arc<Vec<u32>>>,
    /// Reads in flight.
    pub(crate) readers: u32,
    /// Where to look for an offset or a time; `None` until it is read from the checkpoint.
    pub(crate) index: Option<Index>,
    /// A destage is in flight.
    pub(crate) destaging: bool,
}

impl Segment {
    pub(crate) fn new(base: i64, before: Option<Ended>, interval: u32) -> Self {
        Self {
            base,
            before,
            tail: Tail::new(DATA_START),
            end: DATA_START,
            rolled: false,
            roll_journaled: false,
            index: Some(Index::new(interval)),
            destaging: false,
            journaled: DATA_START,
            written: Mark {
                pos: DATA_START,
                sums: 0,
                crc: 0,
            },
            flights: Vec::new(),
            file: File::Absent,
            allocated: 0,
            growing: false,
            converted: 0,
            sums: Vec::new(),
            sums_durable: 0,
            sums_busy: false,
            sealed: false,
            max_timestamp: -1,
            touched_ms: 0,
            rolls_from: None,
            known_sums: None,
            readers: 0,
        }
    }

    /// Bytes of batches.
    pub(crate) const fn size(&self) -> u64 {
        self.end - DATA_START
    }

    /// How young the segment is, as Kafka tells it (`LogSegment.largestTimestamp`, 4.2).
    pub(crate) const fn newest_ms(&self) -> i64 {
        if self.max_timestamp >= 0 {
            self.max_timestamp
        } else {
            self.touched_ms
        }
    }

    pub(crate) fn ended(&self) -> Ended {
        Ended {
            base: self.base,
            end: self.end,
            max_timestamp: self.max_timestamp,
        }
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written.pos
    }

    /// Notes a batch that was added at `pos`.
    pub(crate) fn note(
        &mut self,
        pos: u64,
        len: usize,
        summary: &Summary,
        max_ts_offset_delta: i32,
        wall_ms: i64,
    ) {
        self.rolls_from
            .get_or_insert((summary.max_timestamp, wall_ms));
        self.max_timestamp = self.max_timestamp.max(summary.max_timestamp);
        self.touched_ms = wall_ms;
        if let Some(index) = &mut self.index {
            index.append(pos, len, summary, max_ts_offset_delta);
        }
    }

    /// Where everything before is durable in the file.
    pub(crate) fn durable(&self) -> Mark {
        self.flights
            .iter()
            .map(|(mark, _)| *mark)
            .min_by_key(|mark| mark.pos)
            .unwrap_or(self.written)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.flights.is_empty()
    }

    /// How far blocks may go to the file now: whole ones that the journal names, and the padded
    /// last one of a rolled segment.
    pub(crate) fn writable(&self) -> u64 {
        if self.roll_journaled {
            block_ceil(self.end)
        } else {
            block_floor(self.journaled)
        }
    }

    /// Fills the last block with zeros in memory.
    pub(crate) fn pad(&mut self) {
        let padding = (block_ceil(self.end) - self.tail.end()) as usize;
        self.tail.append(&[0; BLOCK_U64 as usize][..padding]);
    }

    /// Takes the blocks from `written` to `to` for a write: their bytes and their CRC.
    pub(crate) fn begin_write(&mut self, to: u64) -> (u64, Vec<Bytes>, u32) {
        let from = self.written.pos;
        let parts = self.tail.slice(from, to);
        self.flights.push((self.written, to));
        let mut crc = 0;
        for part in &parts {
            crc = self.sum(part, crc);
        }
        (from, parts, crc)
    }

    /// Continues the checksums over bytes that follow `written`. `crc` is the one of what came
    /// before them; returns it with them.
    fn sum(&mut self, mut bytes: &[u8], mut crc: u32) -> u32 {
        while !bytes.is_empty() {
            let left = (PIECE - self.written.pos % PIECE) as usize;
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            // Each byte is looked at once; both sums follow from the one of these.
            let sum = crc32c(now);
            crc = crc32c_combine(crc, sum, now.len());
            self.written.crc = crc32c_combine(self.written.crc, sum, now.len());
            self.written.pos += now.len() as u64;
            if self.written.pos.is_multiple_of(PIECE) {
                self.sums.push(self.written.crc);
                self.written.sums += 1;
                self.written.crc = 0;
            }
            bytes = later;
        }
        crc
    }

    /// The write that began at `from` is durable.
    pub(crate) fn end_write(&mut self, from: u64) {
        if let Some(at) = self.flights.iter().position(|(mark, _)| mark.pos == from) {
            let (_, to) = self.flights.swap_remove(at);
            self.converted = self.converted.max(to.min(self.durable().pos));
        }
    }

    /// Continues a segment of an earlier life from `mark` on, which is durable in the file.
    pub(crate) fn resume(&mut self, mark: Mark, sums: Vec<u32>, sums_durable: usize) {
        self.written = mark;
        self.tail = Tail::new(mark.pos);
        self.end = mark.pos;
        self.journaled = mark.pos;
        self.sums = sums;
        self.sums_durable = sums_durable;
    }

    /// All checksums, the incomplete last piece's included: only for a segment written to its end.
    pub(crate) fn final_sums(&self) -> Vec<u32> {
        let mut sums = self.sums.clone();
        if !self.written.pos.is_multiple_of(PIECE) {
            sums.push(self.written.crc);
        }
        sums
    }

    /// Checksums that the sidecar lacks, for a full state whose tail begins at `mark`.
    pub(crate) fn sums_up_to(&self, mark: Mark) -> Vec<u32> {
        self.sums
            .get(self.sums_durable..mark.sums)
            .unwrap_or_default()
            .to_vec()
    }

    /// Whole blocks of checksums that are complete and durable data, but not in the sidecar yet.
    pub(crate) fn sums_due(&self) -> bool {
        self.durable().sums >= self.sums_durable + SUMS_PER_BLOCK
    }
}
