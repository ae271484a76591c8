//! Bringing one partition back after a start: its segments are found and checked, what only the
//! journal held is put into memory and from there into segments, and what is derived is rebuilt.

use super::api::Fx;
use super::read::{READ_AHEAD_MAX, Stage, disk};
use super::script::{Failure, OPENED, OpenedFile, Outcome, Script};
use super::{Store, Then};
use crate::canary::{Canary, armed};
use crate::epochs::Epochs;
use crate::format::segment::{SUMS_PER_BLOCK, SegmentHeader, decode_sums, pieces, sums_position};
use crate::format::{BLOCK_U64, DATA_START, PIECE, block_ceil, names, piece_floor};
use crate::index::Index;
use crate::log::Log;
use crate::log::checkpoint::{Checkpoint, Lag};
use crate::log::revive::{Piece, Revived, RevivedSegment};
use crate::log::rope::{Gone, Rope};
use crate::log::segment::{File, Mark, Segment};
use crate::producer::Producers;
use crate::types::METADATA;
use bytes::Bytes;
use reactor::buf::Arena;
use reactor::op::{ErrorKind, FileId, Now, Op, OpenMode};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// The largest checkpoint that is read, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 20;

/// What a restore waits for.
#[derive(Debug)]
enum Waits {
    Folder,
    Headers {
        bases: Vec<i64>,
    },
    /// The header, the open piece and the extents of the segment at this place.
    Content {
        at: usize,
    },
    Sums {
        at: usize,
    },
    Checkpoint {
        durable: bool,
    },
    Replay(Stage),
}

/// One partition on its way back.
#[derive(Debug)]
pub(crate) struct Restore {
    revived: Revived,
    dir: PathBuf,
    arena: Arena,
    interval: u32,
    vol: usize,
    waits: Waits,
    headers: BTreeMap<i64, SegmentHeader>,
    /// When the file of a segment was last written, by its base offset.
    modified_ms: BTreeMap<i64, i64>,
    segments: VecDeque<Segment>,
    epochs: Epochs,
    producers: Producers,
    /// The checkpoints that lie in the folder and were not read yet: length, and whether it is the
    /// durable one.
    checkpoints: Vec<(u64, bool)>,
    /// The newest that was read and fits the log.
    checkpoint: Option<Checkpoint>,
    /// Where the replay of batches goes on: segment, position, offset.
    replay: (usize, u64, i64),
    /// Of what was saved: bytes that were replayed count for what is saved next.
    lag: Lag,
    /// The next read has to reach this far.
    needed: u64,
    /// Files that nothing names.
    junk: Vec<PathBuf>,
    /// Files that are opened anew when they are needed.
    closes: Vec<FileId>,
}

/// What a step led to.
enum Next {
    Run(Script, Waits),
    /// Replay what is at hand.
    Replay,
    Done,
    Damaged(String),
    /// Something could not be read: that says nothing about what is there.
    Failed(String),
    /// Memory is used up: again later.
    Later,
}

/// Why a start cannot go on: what is not readable now may be later, so nothing may be concluded
/// from it.
pub(super) fn unreadable(failure: &Failure) -> String {
    let cure = match failure.error.kind {
        ErrorKind::TooManyFiles => "raise the limit of open files (LimitNOFILE, ulimit -n)",
        ErrorKind::PermissionDenied => "give the files to the user that runs the broker",
        ErrorKind::Medium => "if that stays so, copy what can be read to another disk",
        _ => "see to it",
    };
    format!(
        "{}; {cure}, and start again: no record was given up",
        failure.words()
    )
}

/// Opens a segment file and reads the block of its header.
pub(super) fn read_header(path: PathBuf) -> Script {
    Script::new()
        .then(vec![Op::Open {
            path,
            mode: OpenMode::Read,
            direct: true,
        }])
        .then(vec![Op::Read {
            file: OPENED,
            pos: 0,
            len: BLOCK_U64 as u32,
        }])
}

impl Next {
    /// What a failed operation leads to. That a file is not there is an answer, too.
    fn after(failure: &Failure) -> Self {
        if failure.error.kind == ErrorKind::NotFound {
            Self::Damaged(failure.words())
        } else {
            Self::Failed(unreadable(failure))
        }
    }
}

impl Store {
    pub(crate) fn restore(&mut self, revived: Revived, now: Now, fx: &mut Fx) {
        let metadata = revived.id == METADATA && self.config.shard == 0;
        let first = usize::from(self.config.shard == 0);
        let config = self.boot.configs.get(&revived.id);
        let mut restore = Restore {
            dir: self.config.dirs[revived.dir].clone(),
            arena: self.arena.clone(),
            interval: config.map_or(4096, |config| config.index_interval_bytes),
            vol: if metadata { 0 } else { first + revived.dir },
            revived,
            waits: Waits::Folder,
            headers: BTreeMap::new(),
            modified_ms: BTreeMap::new(),
            segments: VecDeque::new(),
            epochs: Epochs::default(),
            producers: Producers::default(),
            checkpoints: Vec::new(),
            checkpoint: None,
            replay: (0, DATA_START, 0),
            lag: Lag::default(),
            needed: 0,
            junk: Vec::new(),
            closes: Vec::new(),
        };
        let next = restore.begin();
        self.follow(restore, next, now, fx);
    }

    pub(crate) fn end_restore(&mut self, number: u64, outcome: &Outcome, now: Now, fx: &mut Fx) {
        let Some(mut restore) = self.restores.remove(&number) else {
            return;
        };
        let next = match std::mem::replace(&mut restore.waits, Waits::Folder) {
            Waits::Folder => restore.folder(outcome),
            Waits::Headers { bases } => restore.chain(&bases, outcome),
            Waits::Content { at } => restore.contents(at, outcome),
            Waits::Sums { at } => restore.sums(at, outcome),
            Waits::Checkpoint { durable } => restore.checkpoint(durable, outcome),
            Waits::Replay(stage) => restore.replayed(stage, outcome, now),
        };
        self.follow(restore, next, now, fx);
    }

    fn follow(&mut self, mut restore: Restore, mut next: Next, now: Now, fx: &mut Fx) {
        if matches!(next, Next::Replay) {
            next = restore.replay(now);
        }
        match next {
            Next::Run(script, waits) => {
                restore.waits = waits;
                let number = self.next_read;
                self.next_read += 1;
                self.restores.insert(number, restore);
                self.run(script, Then::Restore(number), fx);
            }
            Next::Done | Next::Replay => self.revive(restore, None, now, fx),
            Next::Damaged(why) if restore.revived.id == METADATA => {
                let why = format!(
                    "the metadata log is damaged ({why}): restore {} from a backup",
                    names::partition(&restore.dir, &METADATA).display()
                );
                self.fail(&why, fx);
            }
            Next::Damaged(why) => self.revive(restore, Some(why), now, fx),
            Next::Failed(why) => self.fail(&why, fx),
            Next::Later if self.restoring_others() => self.boot.waiting.push_back(restore.revived),
            Next::Later => {
                let fenced = self.logs.iter().flatten().any(|log| log.fenced.is_some());
                let mut why =
                    "recovery needs more memory than the arena has: give it more".to_owned();
                if fenced {
                    why += ", or mend the disk: what cannot be written to it stays in memory";
                }
                self.fail(&why, fx);
            }
        }
    }

    /// The partition is known again; what the journal held goes to its segments now.
    fn revive(&mut self, mut restore: Restore, damaged: Option<String>, now: Now, fx: &mut Fx) {
        self.boot.junk.append(&mut restore.junk);
        if !restore.closes.is_empty() {
            let closes = restore
                .closes
                .drain(..)
                .map(|file| Op::Close { file })
                .collect();
            self.run(Script::new().then(closes), Then::Nothing, fx);
        }
        let id = restore.revived.id;
        let config = self.boot.configs.get(&id).cloned().unwrap_or_default();
        let mut log = Log::new(id, config, restore.vol);
        log.log_start = restore.revived.log_start;
        log.log_start_durable = log.log_start;
        log.log_start_named = log.log_start;
        log.end = restore.revived.end;
        log.journaled_end = log.end;
        log.committed_end = log.end;
        log.durable_end = log.end;
        log.state_round = 1;
        log.epochs = restore.epochs;
        log.producers = restore.producers;
        let broken = damaged.is_some();
        if !broken {
            log.lag = restore.lag;
        }
        if !broken && !restore.segments.is_empty() {
            // Nearly all partitions have one segment, and room for four costs a kilobyte.
            log.segments = restore.segments;
            log.segments.shrink_to_fit();
        }
        log.date_segments(&restore.modified_ms, now);
        let active = log.active();
        log.committed_at = (active.base, active.end);
        log.damaged = damaged.clone();
        log.urgent = !broken;
        let slot = match self.by_id.get(&id) {
            Some(slot) => {
                self.logs[slot.0 as usize] = Some(log);
                *slot
            }
            None => self.insert(log),
        };
        let moved = restore.revived.shard != self.vols[restore.vol].journal.shard;
        self.boot.moved.extend(moved.then_some(slot));
        if !(moved && armed(Canary::MovedNotRestated)) {
            self.vols[restore.vol].residents.insert(slot);
            self.vols[restore.vol].journal.residents += 1;
        }
        if let Some(why) = damaged {
            self.fence(slot, &why, fx);
            self.restored(now, fx);
            return;
        }
        self.settle(slot);
        self.pump(slot, now, fx);
    }
}

impl Restore {
    fn begin(&mut self) -> Next {
        if let Some(why) = self.revived.damaged.clone() {
            return Next::Damaged(why);
        }
        let on_disk = |segment: &RevivedSegment| segment.needs_file() || segment.before.is_some();
        let begins_anew = self.revived.begin_anew_if_gone();
        if !begins_anew && self.revived.segments.len() == 1 && !on_disk(&self.revived.segments[0]) {
            // A young partition: everything is in the journal.
            return self.content(0);
        }
        let path = names::partition(&self.dir, &self.revived.id);
        Next::Run(
            Script::new().then(vec![Op::ListDir { path }]),
            Waits::Folder,
        )
    }

    fn folder(&mut self, outcome: &Outcome) -> Next {
        if let Some(failure) = outcome.failure()
            && !outcome.not_found()
        {
            return Next::after(failure);
        }
        let mut bases = Vec::new();
        let mut script = Script::new();
        for entry in outcome.listed.iter().flatten() {
            let durable = entry.name == names::CHECKPOINT;
            if (durable || entry.name == names::RECENT) && entry.len <= CHECKPOINT_BYTES_MAX {
                self.checkpoints.push((entry.len, durable));
            }
            if let Some((base, "log")) = names::parse_segment(&entry.name) {
                bases.push(base);
                self.modified_ms.insert(base, entry.modified_ms);
                let path = names::segment(&self.dir, &self.revived.id, base);
                script = script
                    .join(read_header(path))
                    .then(vec![Op::Close { file: OPENED }]);
            }
        }
        if bases.is_empty() {
            return self.chain(&bases, &Outcome::default());
        }
        Next::Run(script, Waits::Headers { bases })
    }

    fn chain(&mut self, bases: &[i64], outcome: &Outcome) -> Next {
        if let Some(failure) = outcome.failure() {
            return Next::after(failure);
        }
        match self.follow_chain(bases, outcome) {
            Ok(()) => self.content(0),
            Err(why) => Next::Damaged(why),
        }
    }

    /// Follows the segments from the journal's oldest back to the log start.
    fn follow_chain(&mut self, bases: &[i64], outcome: &Outcome) -> Result<(), String> {
        for (base, block) in bases.iter().zip(&outcome.reads) {
            let own = |header: &SegmentHeader| {
                let same = header.id == self.revived.id
                    || (armed(Canary::NoTopicId) && header.id.index == self.revived.id.index);
                same && header.base == *base
            };
            if let Some(header) = SegmentHeader::decode(block).filter(own) {
                self.headers.insert(*base, header);
            }
        }
        let log_start = self.revived.log_start;
        let mut named: Vec<i64> = self.revived.segments.iter().map(|s| s.base).collect();
        // Segments of the journal that lie below the log start may be gone already.
        while self.revived.segments.len() > 1 && self.revived.segments[1].base <= log_start {
            self.revived.segments.remove(0);
        }
        let first = &self.revived.segments[0];
        let (mut oldest, mut before) = (first.base, first.before);
        while oldest > log_start {
            let missing = || format!("the segment before offset {oldest} is missing or damaged");
            let ended = before.ok_or_else(missing)?;
            let header = self.headers.get(&ended.base).ok_or_else(missing)?;
            let mut segment = Segment::new(ended.base, header.before, self.interval);
            segment.restore_sealed(ended);
            self.segments.push_front(segment);
            named.push(ended.base);
            (oldest, before) = (ended.base, header.before);
        }
        let junk = bases.iter().filter(|base| !named.contains(base));
        self.junk = junk
            .map(|base| names::segment(&self.dir, &self.revived.id, *base))
            .collect();
        Ok(())
    }

    /// Reads what the file of a segment must hold: the open piece and the extents.
    fn content(&mut self, at: usize) -> Next {
        let Some(segment) = self.revived.segments.get(at) else {
            return self.begin_replay();
        };
        let path = names::segment(&self.dir, &self.revived.id, segment.base);
        let known = self.headers.contains_key(&segment.base) || armed(Canary::NoSegmentHeader);
        // A header that nothing durable rests on is written again: its sync may have failed, and
        // then it can be read until the power goes, and is gone after.
        if !known || !segment.needs_file() {
            if segment.needs_file() {
                let base = segment.base;
                return Next::Damaged(format!(
                    "the segment at offset {base} is missing or damaged"
                ));
            }
            return self
                .fill(at, &mut Vec::new(), None)
                .unwrap_or_else(|| self.content(at + 1));
        }
        let mut script = Script::new().then(vec![Op::Open {
            path,
            mode: OpenMode::Write,
            direct: true,
        }]);
        let open_piece = piece_floor(segment.pos).max(DATA_START);
        let mut read = |from: u64, to: u64| {
            let mut pos = from;
            while pos < to {
                let len = (to - pos).min(4 << 20) as u32;
                let op = Op::Read {
                    file: OPENED,
                    pos,
                    len,
                };
                script = std::mem::take(&mut script).then(vec![op]);
                pos += u64::from(len);
            }
        };
        read(open_piece, segment.pos);
        for piece in &segment.pieces {
            if let Piece::Extent { pos, len, .. } = piece {
                read(*pos, pos + len);
            }
        }
        if !armed(Canary::NoSyncBeforeServing) {
            let folder = names::partition(&self.dir, &self.revived.id);
            script = script.then(vec![
                Op::Sync { file: OPENED },
                Op::SyncDir { path: folder },
                Op::SyncDir {
                    path: names::topic(&self.dir, self.revived.id.topic),
                },
                Op::SyncDir {
                    path: names::topics_dir(&self.dir),
                },
            ]);
        }
        Next::Run(script, Waits::Content { at })
    }

    fn contents(&mut self, at: usize, outcome: &Outcome) -> Next {
        if let Some(failure) = outcome.failure() {
            return Next::after(failure);
        }
        let segment = &self.revived.segments[at];
        let mut rope: VecDeque<Bytes> = outcome.reads.clone().into();
        let mut take = |len: u64| {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < len {
                match rope.pop_front() {
                    Some(part) if !part.is_empty() => bytes.extend_from_slice(&part),
                    _ => break,
                }
            }
            Bytes::from(bytes)
        };
        let file = outcome.opened;
        let mut extents = Vec::new();
        if file.is_some() {
            let open_piece = piece_floor(segment.pos).max(DATA_START);
            let prefix = take(segment.pos - open_piece);
            if crate::crc::crc32c(&prefix) != segment.piece_crc {
                let base = segment.base;
                return Next::Damaged(format!(
                    "the end of the segment at offset {base} is damaged"
                ));
            }
            for piece in &segment.pieces {
                if let Piece::Extent { len, .. } = piece {
                    extents.push(take(*len));
                }
            }
        }
        if let Some(next) = self.fill(at, &mut extents, file) {
            return next;
        }
        let segment = &self.revived.segments[at];
        if segment.sums_from > 0 {
            let path = names::sums(&self.dir, &self.revived.id, segment.base);
            let len = sums_position(segment.sums_from.div_ceil(SUMS_PER_BLOCK)) as u32;
            let script = Script::new()
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
                .then(vec![Op::Close { file: OPENED }]);
            return Next::Run(script, Waits::Sums { at });
        }
        self.content(at + 1)
    }

    /// Puts what the journal knows of a segment into memory. `None`: done.
    fn fill(
        &mut self,
        at: usize,
        extents: &mut Vec<Bytes>,
        file: Option<OpenedFile>,
    ) -> Option<Next> {
        let revived = &self.revived.segments[at];
        let damaged = || {
            format!(
                "what the journal wrote to offset {} is damaged",
                revived.base
            )
        };
        let Some(content) = revived.content(extents.drain(..)) else {
            return Some(Next::Damaged(damaged()));
        };
        let mut segment = Segment::new(revived.base, revived.before, self.interval);
        if !segment.restore_open(revived, &content, &self.arena) {
            return Some(Next::Later);
        }
        if let Some(opened) = file.filter(|_| revived.pos == DATA_START) {
            self.closes.push(opened.file);
        } else if let Some(opened) = file {
            segment.file = File::Open(opened.file);
            segment.allocated = opened.len - opened.len % BLOCK_U64;
            if armed(Canary::TrustUnsyncedSpace) {
                segment.converted = segment.allocated;
            }
        }
        self.segments.push_back(segment);
        None
    }

    fn sums(&mut self, at: usize, outcome: &Outcome) -> Next {
        if let Some(failure) = outcome.failure() {
            return Next::after(failure);
        }
        let revived = &self.revived.segments[at];
        let read = outcome.reads.first().map_or(&[][..], |bytes| &bytes[..]);
        let known = decode_sums(read, &self.revived.id, revived.base, revived.sums_from);
        let Some(mut sums) = known else {
            let base = revived.base;
            return Next::Damaged(format!(
                "the checksums of the segment at {base} are damaged"
            ));
        };
        if let Some(segment) = self.segments.iter_mut().find(|s| s.base == revived.base) {
            sums.append(&mut segment.sums);
            segment.sums = sums;
        }
        self.content(at + 1)
    }

    /// Everything is found: rebuild what is derived, from a checkpoint on if there is one.
    fn begin_replay(&mut self) -> Next {
        for (at, next) in (1..self.segments.len()).enumerate() {
            let before = self.segments[next].before.map(|ended| ended.max_timestamp);
            if let Some(max) = before {
                self.segments[at].max_timestamp = max;
            }
        }
        let Some(first) = self.segments.front() else {
            return Next::Damaged("no segment is left".to_owned());
        };
        self.replay = (0, DATA_START, first.base);
        if self.segments.len() == 1 && first.written() == DATA_START {
            return Next::Replay;
        }
        // The durable one first: the other may hold what is newer, and says how much.
        self.checkpoints.sort_by_key(|(_, durable)| *durable);
        self.read_checkpoint()
    }

    fn read_checkpoint(&mut self) -> Next {
        let Some((len, durable)) = self.checkpoints.pop() else {
            return self.replay_from_checkpoint();
        };
        let path = if durable {
            names::checkpoint(&self.dir, &self.revived.id)
        } else {
            names::recent(&self.dir, &self.revived.id)
        };
        let script = Script::new()
            .then(vec![Op::Open {
                path,
                mode: OpenMode::Read,
                direct: false,
            }])
            .then(vec![Op::Read {
                file: OPENED,
                pos: 0,
                len: len as u32,
            }])
            .then(vec![Op::Close { file: OPENED }]);
        Next::Run(script, Waits::Checkpoint { durable })
    }

    /// One that cannot be read is as good as none.
    fn checkpoint(&mut self, durable: bool, outcome: &Outcome) -> Next {
        let read = outcome.reads.first();
        let known = read.and_then(|bytes| Checkpoint::decode(bytes));
        let newest = self.checkpoint.as_ref().map_or(0, |best| best.end);
        let fits = |known: &Checkpoint| {
            let of = self.segments.iter().find(|s| s.base == known.base);
            let written = of.is_some_and(|segment| segment.end >= known.pos);
            written && known.end <= self.revived.end && known.end > newest
        };
        if let Some(known) = known.filter(fits) {
            if !durable {
                let same = |best: &&Checkpoint| best.base == known.base;
                let from = self.checkpoint.as_ref().filter(same);
                let from = from.map_or(DATA_START, |best| best.pos);
                self.lag.durable = known.pos.saturating_sub(from);
            }
            self.lag.saved_bytes = read.map_or(0, Bytes::len) as u64;
            self.checkpoint = Some(known);
        }
        self.read_checkpoint()
    }

    /// Goes on from the newest checkpoint, if there is one.
    fn replay_from_checkpoint(&mut self) -> Next {
        if let Some(known) = self.checkpoint.take()
            && let Some(at) = self.segments.iter().position(|s| s.base == known.base)
        {
            self.replay = (at, known.pos, known.end);
            self.epochs = known.epochs;
            self.producers = known.producers;
            let segment = &mut self.segments[at];
            segment.max_timestamp = segment.max_timestamp.max(known.index.max_timestamp());
            segment.index = Some(known.index);
            segment.rolls_from = known.rolls_from;
        }
        Next::Replay
    }

    /// Replays batches from memory, or reads the next ones.
    fn replay(&mut self, now: Now) -> Next {
        loop {
            let (at, pos, offset) = self.replay;
            let Some(segment) = self.segments.get_mut(at) else {
                let end = self.revived.end;
                if offset == end {
                    return Next::Done;
                }
                return Next::Damaged(format!("the log ends at {offset}, the journal at {end}"));
            };
            if pos >= segment.end {
                let next = self.segments.get(at + 1).map_or(offset, |next| next.base);
                self.replay = (at + 1, DATA_START, next);
                continue;
            }
            if pos == DATA_START && segment.index.is_none() {
                segment.index = Some(Index::new(self.interval));
            }
            if pos < segment.tail.start() {
                let (id, needed) = (&self.revived.id, self.needed);
                return match disk(&self.dir, id, segment, pos, READ_AHEAD_MAX, needed) {
                    Some((script, stage)) => Next::Run(script, Waits::Replay(stage)),
                    None => Next::Damaged(format!("the batch at offset {offset} is damaged")),
                };
            }
            let rope = segment.tail.rope(pos, segment.end);
            if let Err(why) = self.apply(&rope, now) {
                return Next::Damaged(why);
            }
        }
    }

    fn replayed(&mut self, stage: Stage, outcome: &Outcome, now: Now) -> Next {
        if let Some(failure) = outcome.failure() {
            return Next::after(failure);
        }
        let (at, pos, _) = self.replay;
        let id = self.revived.id;
        let segment = &mut self.segments[at];
        let damaged = format!(
            "the segment at offset {} is not what was written",
            segment.base
        );
        match stage {
            Stage::Index => {}
            Stage::Sums { count } => {
                let read = outcome.reads.first().map_or(&[][..], |bytes| &bytes[..]);
                let Some(sums) = decode_sums(read, &id, segment.base, count) else {
                    return Next::Damaged(damaged);
                };
                segment.known_sums = Some(Arc::new(sums));
            }
            Stage::Data { from, rest } => {
                if let Some(opened) = outcome.opened {
                    segment.file = File::Open(opened.file);
                    segment.allocated = segment.allocated.max(opened.len - opened.len % BLOCK_U64);
                }
                let mut rope = Rope::new(from);
                outcome
                    .reads
                    .iter()
                    .for_each(|bytes| rope.push(bytes.clone()));
                if !segment.check(&rope) {
                    return Next::Damaged(damaged);
                }
                rest.into_iter().for_each(|bytes| rope.push(bytes));
                let before = pos;
                if let Err(why) = self.apply(&rope, now) {
                    return Next::Damaged(why);
                }
                if self.replay.1 == before && self.replay.0 == at {
                    // One batch is longer than what was read: read at least that much.
                    let Err(Gone::Short(needed)) = rope.batch_at(pos) else {
                        return Next::Damaged(damaged);
                    };
                    self.needed = needed;
                }
            }
        }
        Next::Replay
    }

    /// Notes the batches of a rope from the place of the replay on.
    fn apply(&mut self, rope: &Rope, now: Now) -> Result<(), String> {
        let (at, mut pos, mut offset) = self.replay;
        let segment = &mut self.segments[at];
        while pos < segment.end {
            let batch = match rope.batch_at(pos) {
                Ok(batch) => batch,
                Err(Gone::Short(to)) if to <= segment.end && rope.end() < segment.end => break,
                Err(_) => return Err(format!("the batch at offset {offset} is damaged")),
            };
            let summary = batch.summary;
            if summary.base_offset != offset {
                return Err(format!(
                    "where offset {offset} belongs lies {}",
                    summary.base_offset
                ));
            }
            let len = (batch.end - pos) as usize;
            segment.note(pos, len, &summary, 0, now.wall_ms);
            self.epochs.assign(summary.leader_epoch, offset);
            self.producers.apply(&summary, offset, now.wall_ms);
            self.lag.durable += batch.end - pos;
            self.lag.recent += batch.end - pos;
            pos = batch.end;
            offset = summary.last_offset() + 1;
        }
        self.needed = 0;
        self.replay = (at, pos, offset);
        Ok(())
    }
}

impl Log {
    /// Tells when each segment was last appended to, never too early, from when the files were last
    /// written. What of a segment is only in the journal may have come later than its file; but the
    /// file of the next one came later still.
    fn date_segments(&mut self, modified_ms: &BTreeMap<i64, i64>, now: Now) {
        let mut next = None;
        for segment in self.segments.iter_mut().rev() {
            let own = modified_ms.get(&segment.base);
            let known = if segment.sealed { own } else { next };
            segment.touched_ms = known.map_or(now.wall_ms, |ms| now.wall_ms.min(*ms));
            next = own;
        }
    }
}

impl Segment {
    /// A segment that was sealed in an earlier life; its index is read when it is needed.
    fn restore_sealed(&mut self, ended: crate::format::segment::Ended) {
        let padded = block_ceil(ended.end);
        self.resume(
            Mark {
                pos: padded,
                sums: pieces(padded),
                crc: 0,
            },
            Vec::new(),
            pieces(padded),
        );
        self.end = ended.end;
        self.journaled = ended.end;
        self.rolled = true;
        self.roll_journaled = true;
        self.sealed = true;
        self.max_timestamp = ended.max_timestamp;
        self.file = File::Closed;
        self.index = None;
    }

    /// The segment as the journal knows it, with the bytes from `revived.pos` on in memory.
    fn restore_open(&mut self, revived: &RevivedSegment, content: &[u8], arena: &Arena) -> bool {
        let sums = (revived.pos / PIECE) as usize;
        let mark = Mark {
            pos: revived.pos,
            sums,
            crc: revived.piece_crc,
        };
        self.resume(mark, revived.sums.clone(), revived.sums_from);
        if !content.is_empty() && !self.tail.reserve(arena, content.len()) {
            return false;
        }
        self.tail.append(content);
        self.end = revived.end;
        self.journaled = revived.end;
        if revived.rolled {
            self.rolled = true;
            self.roll_journaled = true;
            self.pad();
        }
        true
    }
}
