//! Reading: from memory where the bytes are in the tail, otherwise from segment files, checked
//! against the sidecar's checksums before anything is served.

use super::ahead::Known;
use super::api::{Event, Finding, Found, Fx, ReadError, ReadRequest, Reading, TimeQuery};
use super::script::{OPENED, Outcome, Script};
use super::{Store, Then};
use crate::format::segment::{SUMS_PER_BLOCK, decode_sums, pieces, sums_position};
use crate::format::{DATA_START, PIECE, block_ceil, names, piece_floor};
use crate::index::Index;
use crate::log::Log;
use crate::log::rope::Rope;
use crate::log::segment::{File, Segment};
use crate::log::select::{Seen, for_read, for_time};
use crate::types::{PartitionId, Slot, Ticket};
use bytes::Bytes;
use reactor::op::{ErrorKind, Now, Op, OpenMode};
use std::path::Path;
use std::sync::Arc;

/// Bytes read ahead of what a request needs, between these bounds.
const READ_AHEAD_MIN: u64 = PIECE;
pub(crate) const READ_AHEAD_MAX: u64 = 1 << 20;

/// More than the checkpoint of an index with the most entries takes, in bytes.
const INDEX_BYTES_MAX: u32 = 256 * 1024;

/// What a job looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    Batches(ReadRequest),
    /// Nothing yet: see [`super::ahead`].
    Ahead,
    Time {
        query: TimeQuery,
        from: i64,
        upto: i64,
    },
}

/// What is being read for a job.
#[derive(Debug)]
pub(crate) enum Stage {
    Index,
    Sums { count: usize },
    Data { from: u64, rest: Vec<Bytes> },
}

/// A read that waits for the disk.
#[derive(Debug)]
pub(crate) struct ReadJob {
    pub(crate) slot: Slot,
    pub(crate) base: i64,
    pub(crate) ticket: Ticket,
    goal: Goal,
    /// The batch boundary to go on from, once the index has told it.
    at: Option<u64>,
    /// At least so far.
    to: u64,
    pub(crate) stage: Stage,
    /// It goes on where an answer before it ended.
    pub(crate) follows: bool,
    /// What was read for it.
    pub(crate) rope: Option<Rope>,
}

/// What a look at a segment led to.
pub(crate) enum Look {
    /// The position and the offset behind them, if they are not from the tail.
    Batches(Vec<Bytes>, Option<(u64, i64)>),
    Found(Option<Found>),
    /// Nothing in this segment: go on in the next.
    Next,
    Disk(Script, Stage),
    /// What lies at this position is being read ahead.
    Ahead(u64),
    Failed(ReadError),
}

impl Store {
    /// Whole batches from the one that contains the offset on; empty at `upto`.
    ///
    /// # Errors
    /// When the offset lies outside of the log, or what is there cannot be trusted.
    pub fn read(
        &mut self,
        slot: Slot,
        request: &ReadRequest,
        ticket: Ticket,
        now: Now,
        fx: &mut Fx,
    ) -> Result<Reading, ReadError> {
        let log = self.readable(slot)?;
        let (log_start, end) = (log.log_start, log.end);
        if request.offset < log_start || request.offset > end {
            return Err(ReadError::OutOfRange { log_start, end });
        }
        let request = ReadRequest {
            upto: request.upto.min(end),
            ..*request
        };
        if request.offset >= request.upto {
            return Ok(Reading::Ready(Vec::new()));
        }
        let base = log.segments[log.segment_of(request.offset)].base;
        let mut job = ReadJob::new(slot, base, ticket, Goal::Batches(request));
        let trail = self.ahead.trail(slot, request.offset);
        job.follows = trail.is_some();
        job.at = trail.filter(|(of, _)| *of == base).map(|(_, at)| at);
        match self.look(&mut job) {
            Look::Batches(parts, end) => {
                if let Some(end) = end {
                    self.read_on(&mut job, end, fx);
                }
                Ok(Reading::Ready(parts))
            }
            Look::Failed(why) => Err(why),
            Look::Ahead(at) => {
                self.wait_for_ahead(job, at, now, fx);
                Ok(Reading::Pending)
            }
            Look::Disk(script, stage) => {
                self.wait_for_disk(job, script, stage, fx);
                Ok(Reading::Pending)
            }
            Look::Found(_) | Look::Next => Ok(Reading::Ready(Vec::new())),
        }
    }

    /// The first record below `upto` that answers a query by time.
    ///
    /// # Errors
    /// When what is there cannot be trusted.
    pub fn find_time(
        &mut self,
        slot: Slot,
        query: TimeQuery,
        upto: i64,
        ticket: Ticket,
        _now: Now,
        fx: &mut Fx,
    ) -> Result<Finding, ReadError> {
        let log = self.readable(slot)?;
        let goal = Goal::Time {
            query,
            from: log.log_start,
            upto: upto.min(log.end),
        };
        let Some(base) = log.candidate(query, i64::MIN) else {
            return Ok(Finding::Ready(None));
        };
        let mut job = ReadJob::new(slot, base, ticket, goal);
        loop {
            match self.look(&mut job) {
                Look::Found(found) => return Ok(Finding::Ready(found)),
                Look::Failed(why) => return Err(why),
                Look::Disk(script, stage) => {
                    self.wait_for_disk(job, script, stage, fx);
                    return Ok(Finding::Pending);
                }
                Look::Batches(..) | Look::Ahead(_) => return Ok(Finding::Ready(None)),
                Look::Next => {
                    if !self.next_candidate(&mut job) {
                        return Ok(Finding::Ready(None));
                    }
                }
            }
        }
    }

    /// About how many bytes of batches lie between two offsets; zero only if there are none.
    #[must_use]
    pub fn bytes_between(&self, slot: Slot, from: i64, upto: i64) -> u64 {
        let Some(log) = self.log(slot) else {
            return 0;
        };
        let (from, upto) = (from.max(log.log_start), upto.min(log.end));
        if from >= upto {
            return 0;
        }
        let (first, last) = (log.segment_of(from), log.segment_of(upto - 1));
        let mut bytes = 0;
        for at in first..=last {
            let segment = &log.segments[at];
            let begin = if at == first {
                segment.about(from, DATA_START)
            } else {
                DATA_START
            };
            let end = if at == last && upto < log.end {
                segment.about(upto, segment.end)
            } else {
                segment.end
            };
            bytes += end.saturating_sub(begin);
        }
        bytes.max(1)
    }

    fn readable(&self, slot: Slot) -> Result<&Log, ReadError> {
        match self.log(slot) {
            Some(log) if log.damaged.is_none() && !log.deleted => Ok(log),
            _ => Err(ReadError::Fenced),
        }
    }

    fn next_candidate(&self, job: &mut ReadJob) -> bool {
        let Goal::Time {
            query: query @ TimeQuery::AtOrAfter(_),
            ..
        } = job.goal
        else {
            return false;
        };
        let next = self
            .log(job.slot)
            .and_then(|log| log.candidate(query, job.base));
        job.at = None;
        job.to = 0;
        next.map(|base| job.base = base).is_some()
    }

    /// Looks for the answer in memory, or says what has to be read for it.
    pub(crate) fn look(&mut self, job: &mut ReadJob) -> Look {
        let Some(log) = self
            .logs
            .get_mut(job.slot.0 as usize)
            .and_then(Option::as_mut)
        else {
            return Look::Failed(ReadError::Fenced);
        };
        let dir = &self.vols[log.vol].dir;
        let id = log.id;
        let outside = ReadError::OutOfRange {
            log_start: log.log_start,
            end: log.end,
        };
        let Some(segment) = log.segment_mut(job.base) else {
            return Look::Failed(outside);
        };
        let Some(index) = &segment.index else {
            let script = read_file(names::index(dir, &id, segment.base), INDEX_BYTES_MAX);
            return Look::Disk(script, Stage::Index);
        };
        let at = *job.at.get_or_insert_with(|| job.goal.begin(index));
        if at >= segment.tail.start() {
            let rope = segment.tail.rope(at, segment.end);
            return job
                .goal
                .examine(&rope, at, segment.end)
                .map(Look::without_end)
                .unwrap_or_else(|(at, to)| {
                    // All of the segment's rest was seen, so nothing more can be asked for.
                    job.at = Some(at);
                    job.to = to;
                    Look::Failed(ReadError::Damaged)
                });
        }
        if let (Goal::Batches(_), Known::Bytes(rope, grows)) =
            (job.goal, self.ahead.find(job.slot, job.base, at))
        {
            match job.goal.examine(&rope, at, segment.end) {
                Ok(look) => return look,
                Err(_) if grows => return Look::Ahead(at),
                Err((_, to)) => job.to = to,
            }
        }
        match disk(dir, &id, segment, at, job.goal.bytes_wanted(), job.to) {
            Some((script, stage)) => Look::Disk(script, stage),
            None => Look::Failed(ReadError::Damaged),
        }
    }

    pub(crate) fn wait_for_disk(
        &mut self,
        mut job: ReadJob,
        script: Script,
        stage: Stage,
        fx: &mut Fx,
    ) {
        job.stage = stage;
        let number = self.number_read(&job);
        self.reads.insert(number, job);
        self.run(script, Then::Read(number), fx);
    }

    /// The number of a read, whose segment stays until it has ended.
    pub(crate) fn number_read(&mut self, job: &ReadJob) -> u64 {
        if let Some(segment) = self
            .log_mut(job.slot)
            .and_then(|log| log.segment_mut(job.base))
        {
            segment.readers += 1;
        }
        self.next_read += 1;
        self.next_read - 1
    }

    /// What a job waited for has come.
    pub(crate) fn end_read(&mut self, number: u64, outcome: &Outcome, now: Now, fx: &mut Fx) {
        let Some(mut job) = self.reads.remove(&number) else {
            return;
        };
        let slot = job.slot;
        self.close_second_handle(&job, outcome, fx);
        if matches!(job.goal, Goal::Ahead) {
            self.end_ahead(number, &mut job, outcome, now, fx);
        } else {
            let looked = self.take_read(&mut job, outcome, fx);
            let mut look = looked.unwrap_or_else(|| self.look(&mut job));
            while matches!(look, Look::Next) && self.next_candidate(&mut job) {
                look = self.look(&mut job);
            }
            match look {
                Look::Disk(script, stage) => self.wait_for_disk(job, script, stage, fx),
                Look::Ahead(at) => self.wait_for_ahead(job, at, now, fx),
                look => self.conclude(job, look, fx),
            }
        }
        self.retire(slot, fx);
        self.pump(slot, now, fx);
    }

    /// Tells what came of a job.
    pub(crate) fn conclude(&mut self, mut job: ReadJob, look: Look, fx: &mut Fx) {
        if let Look::Batches(_, Some(end)) = look {
            self.read_on(&mut job, end, fx);
        }
        fx.events.extend(job.finish(look));
    }

    /// Two reads may have opened a file at the same time: one handle is enough.
    fn close_second_handle(&mut self, job: &ReadJob, outcome: &Outcome, fx: &mut Fx) {
        let segment = self
            .log_mut(job.slot)
            .and_then(|log| log.segment_mut(job.base));
        if let (Stage::Data { .. }, Some(opened)) = (&job.stage, outcome.opened)
            && let Some(segment) = segment
            && let File::Open(file) = segment.file
        {
            segment.file = File::Open(opened.file);
            let close = Script::new().then(vec![Op::Close { file }]);
            self.run(close, Then::Nothing, fx);
        }
    }

    /// Takes what was read. `None`: look again.
    fn take_read(&mut self, job: &mut ReadJob, outcome: &Outcome, fx: &mut Fx) -> Option<Look> {
        let Some(log) = self
            .logs
            .get_mut(job.slot.0 as usize)
            .and_then(Option::as_mut)
        else {
            return Some(Look::Failed(ReadError::Fenced));
        };
        let id = log.id;
        let (interval, slot) = (log.config.index_interval_bytes, job.slot);
        let Some(segment) = log.segment_mut(job.base) else {
            return Some(Look::Failed(ReadError::Fenced));
        };
        segment.readers -= 1;
        if let (Some(opened), Stage::Data { .. }) = (outcome.opened, &job.stage) {
            segment.file = File::Open(opened.file);
        }
        let mut why = None;
        match (&mut job.stage, outcome.failure()) {
            (Stage::Index, _) => {
                // A lookup without an entry begins at the start of the segment: slow, and right.
                let read = outcome
                    .reads
                    .first()
                    .and_then(|bytes| Index::decode(bytes).ok());
                segment.index = Some(read.unwrap_or_else(|| Index::new(interval)));
            }
            (_, Some(failure)) => why = Some((failure.words(), failure.error.kind)),
            (Stage::Sums { count }, None) => {
                let read = outcome.reads.first().map_or(&[][..], |bytes| &bytes[..]);
                match decode_sums(read, &id, segment.base, *count) {
                    Some(sums) => segment.known_sums = Some(Arc::new(sums)),
                    None => why = Some(("its checksums are damaged".to_owned(), ErrorKind::Medium)),
                }
            }
            (Stage::Data { from, rest }, None) => {
                let mut rope = Rope::new(*from);
                outcome
                    .reads
                    .iter()
                    .for_each(|bytes| rope.push(bytes.clone()));
                if segment.check(&rope) {
                    rest.drain(..).for_each(|bytes| rope.push(bytes));
                    let at = job.at.unwrap_or(DATA_START);
                    match job.goal.examine(&rope, at, segment.end) {
                        Ok(look) => {
                            job.rope = Some(rope);
                            return Some(look);
                        }
                        Err((at, to)) => {
                            job.at = Some(at);
                            job.to = to;
                            return None;
                        }
                    }
                }
                let words = format!("the segment at offset {} is not what was written", job.base);
                why = Some((words, ErrorKind::Medium));
            }
        }
        let (words, kind) = why?;
        if kind != ErrorKind::TooManyFiles {
            self.fence(slot, &words, fx);
        }
        Some(Look::Failed(ReadError::Damaged))
    }
}

/// What has to be read from the disk next for the batches at `at`: `ahead` bytes, and at least up
/// to `to`. `None` if that is impossible.
pub(crate) fn disk(
    dir: &Path,
    id: &PartitionId,
    segment: &Segment,
    at: u64,
    ahead: u64,
    to: u64,
) -> Option<(Script, Stage)> {
    if segment.sealed && segment.sums.is_empty() && segment.known_sums.is_none() {
        let count = pieces(block_ceil(segment.end));
        let len = sums_position(count.div_ceil(SUMS_PER_BLOCK)) as u32;
        let script = read_file(names::sums(dir, id, segment.base), len);
        return Some((script, Stage::Sums { count }));
    }
    let limit = if segment.sealed {
        block_ceil(segment.end)
    } else {
        segment.durable().pos
    };
    let from = piece_floor(at);
    let ahead = ahead.clamp(READ_AHEAD_MIN, READ_AHEAD_MAX);
    let to = (at + ahead).max(to).next_multiple_of(PIECE).min(limit);
    let rest = if to == limit && !segment.sealed {
        segment.tail.slice(to, segment.end)
    } else {
        Vec::new()
    };
    let mut script = Script::new();
    let file = match segment.file {
        File::Open(file) => file,
        _ => {
            let path = names::segment(dir, id, segment.base);
            script = script.then(vec![Op::Open {
                path,
                mode: OpenMode::Write,
                direct: true,
            }]);
            OPENED
        }
    };
    let len = u32::try_from(to.checked_sub(from)?).ok()?;
    let script = script.then(vec![Op::Read {
        file,
        pos: from,
        len,
    }]);
    Some((script, Stage::Data { from, rest }))
}

/// Reads a small file from its start.
fn read_file(path: std::path::PathBuf, len: u32) -> Script {
    Script::new()
        .then(vec![Op::Open {
            path,
            mode: OpenMode::Read,
            direct: false,
        }])
        .then(vec![Op::Read {
            file: OPENED,
            pos: 0,
            len,
        }])
        .then(vec![Op::Close { file: OPENED }])
}

impl Look {
    /// There is nothing to be read ahead behind what the tail holds.
    fn without_end(self) -> Self {
        match self {
            Self::Batches(parts, _) => Self::Batches(parts, None),
            look => look,
        }
    }
}

impl Goal {
    /// Where the search begins in a segment.
    fn begin(&self, index: &Index) -> u64 {
        let entry = match self {
            Self::Batches(request) => index.by_offset(request.offset),
            Self::Time {
                query: TimeQuery::AtOrAfter(time),
                ..
            } => index.by_time(*time),
            Self::Time {
                query: TimeQuery::Max,
                ..
            } => {
                return index.max_time().map_or(DATA_START, |max| max.position);
            }
            Self::Ahead => None,
        };
        entry.map_or(DATA_START, |entry| entry.position)
    }

    const fn bytes_wanted(&self) -> u64 {
        match self {
            Self::Batches(request) => request.bytes_max as u64,
            Self::Time { .. } | Self::Ahead => READ_AHEAD_MAX,
        }
    }

    /// The answer, if it lies in these bytes; else where to go on and how far to read.
    fn examine(&self, rope: &Rope, at: u64, end: u64) -> Result<Look, (u64, u64)> {
        match self {
            Self::Batches(request) => match for_read(rope, at, end, request) {
                Seen::Is((from, to, next)) => {
                    Ok(Look::Batches(rope.slice(from, to), Some((to, next))))
                }
                Seen::More { at, to } => Err((at, to)),
                Seen::End => Ok(Look::Batches(Vec::new(), None)),
                Seen::Broken => Ok(Look::Failed(ReadError::Damaged)),
            },
            // It is never looked for: what was read is kept.
            Self::Ahead => Ok(Look::Batches(Vec::new(), None)),
            Self::Time { query, from, upto } => {
                match for_time(rope, at, end, *query, *from, *upto) {
                    Seen::Is(found) => Ok(Look::Found(Some(found))),
                    Seen::More { at, to } => Err((at, to)),
                    Seen::End => Ok(Look::Next),
                    Seen::Broken => Ok(Look::Failed(ReadError::Damaged)),
                }
            }
        }
    }
}

impl ReadJob {
    pub(crate) const fn new(slot: Slot, base: i64, ticket: Ticket, goal: Goal) -> Self {
        Self {
            slot,
            base,
            ticket,
            goal,
            at: None,
            to: 0,
            stage: Stage::Index,
            follows: false,
            rope: None,
        }
    }

    /// Nobody is told of what was read ahead.
    fn finish(&self, look: Look) -> Option<Event> {
        let ticket = self.ticket;
        let event = match (self.goal, look) {
            (Goal::Ahead, _) => return None,
            (Goal::Batches(_), Look::Batches(parts, _)) => Event::Read {
                ticket,
                result: Ok(parts),
            },
            (Goal::Batches(_), Look::Failed(why)) => Event::Read {
                ticket,
                result: Err(why),
            },
            (Goal::Batches(_), _) => Event::Read {
                ticket,
                result: Ok(Vec::new()),
            },
            (Goal::Time { .. }, Look::Found(found)) => Event::Found {
                ticket,
                result: Ok(found),
            },
            (Goal::Time { .. }, Look::Failed(why)) => Event::Found {
                ticket,
                result: Err(why),
            },
            (Goal::Time { .. }, _) => Event::Found {
                ticket,
                result: Ok(None),
            },
        };
        Some(event)
    }
}

impl Segment {
    /// About where `offset` lies.
    fn about(&self, offset: i64, unknown: u64) -> u64 {
        let entry = self
            .index
            .as_ref()
            .and_then(|index| index.by_offset(offset));
        entry.map_or(unknown, |entry| entry.position)
    }

    /// Whether every whole piece of these bytes, which begin at a piece, has its checksum.
    pub(crate) fn check(&self, rope: &Rope) -> bool {
        let sums = self
            .known_sums
            .as_ref()
            .map_or(&self.sums[..], |sums| &sums[..]);
        let last = block_ceil(self.end);
        let mut from = rope.start();
        while from < rope.end() {
            let to = (from + PIECE).min(rope.end());
            let whole = to.is_multiple_of(PIECE) || (self.sealed && to == last);
            let data = from.max(DATA_START);
            if whole {
                let sum = sums.get((from / PIECE) as usize);
                if sum != Some(&rope.crc(0, data, to)) {
                    return false;
                }
            }
            from = to;
        }
        true
    }
}

impl Log {
    /// The first segment behind `after` that may hold the answer to a query by time.
    fn candidate(&self, query: TimeQuery, after: i64) -> Option<i64> {
        let later = self
            .segments
            .iter()
            .filter(|segment| segment.base > after || after == i64::MIN);
        match query {
            TimeQuery::AtOrAfter(time) => later
                .filter(|segment| segment.size() > 0)
                .find(|segment| segment.max_timestamp >= time)
                .map(|segment| segment.base),
            TimeQuery::Max => {
                let newest = self
                    .segments
                    .iter()
                    .map(|segment| segment.max_timestamp)
                    .max()?;
                later
                    .filter(|segment| segment.size() > 0)
                    .find(|segment| segment.max_timestamp == newest)
                    .map(|segment| segment.base)
            }
        }
    }
}
