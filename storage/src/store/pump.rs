//! Moving one partition's blocks from memory to its segments: files are made and grown, runs of
//! full blocks destaged, complete segments sealed with their checksums, retired ones unlinked.

use super::api::{Event, Fx, Lack};
use super::recycle::{Pool, Spare};
use super::script::{OPENED, Outcome, Script};
use super::{Store, Then};
use crate::canary::{Canary, armed};
use crate::format::names;
use crate::format::segment::{
    SUMS_PER_BLOCK, SegmentHeader, sums_block, sums_header, sums_position,
};
use crate::format::{BLOCK_U64, DATA_START, block_ceil, block_floor};
use crate::log::Log;
use crate::log::segment::{File, Segment};
use crate::types::{METADATA, Slot, StoreConfig};
use bytes::Bytes;
use reactor::buf::Arena;
use reactor::op::{ErrorKind, FileId, Now, Op, OpenMode};
use std::path::{Path, PathBuf};

/// Where few partitions are written to, a run is so many times the least.
const DESTAGE_FACTOR: u64 = 4;

/// What waits for its run takes this share of the arena at most, as long as runs are not the least.
const DESTAGE_SHARE: usize = 16;

/// Bytes of a run when `warm` partitions are written to: full blocks go to the segment in runs of
/// at least so many, unless space is wanted. Each run costs a write, and a flush of its file where
/// that has not been written to before.
pub(super) fn destage_run(config: &StoreConfig, arena: &Arena, warm: usize) -> u64 {
    let (least, each) = (config.destage_bytes, arena.bytes_max() / DESTAGE_SHARE);
    block_floor((each / warm.max(1)) as u64).clamp(least, DESTAGE_FACTOR * least)
}

/// Segments grow by doubling, within these bounds in bytes.
const GROW_MIN: u64 = 256 * 1024;
const GROW_MAX: u64 = 64 << 20;

/// A full directory is tried again after this long, in ms.
pub(crate) const FULL_RETRY_MS: u64 = 1000;

/// What was done to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Of a retired file, if one fitted.
    Made {
        spare: Option<Spare>,
    },
    Grown {
        to: u64,
    },
    Destaged {
        from: u64,
    },
    /// Checksums up to this many are in the sidecar.
    Summed {
        to: usize,
    },
    Sealed,
}

impl Store {
    /// Starts whatever the partition's segments need next.
    pub(crate) fn pump(&mut self, slot: Slot, now: Now, fx: &mut Fx) {
        let Some(log) = self.log(slot) else {
            return;
        };
        let v = log.vol;
        if log.deleted {
            self.bury(slot, fx);
            return;
        }
        if log.fenced.is_some() || log.damaged.is_some() {
            return;
        }
        if self.stopping
            && let Some(log) = self.log_mut(slot)
        {
            log.urgent = true;
        }
        let (synced, run) = (self.config.synced_writes, self.destage_run);
        for at in 0..self.log(slot).map_or(0, |log| log.segments.len()) {
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                return;
            };
            if !log.segments[at].sealed {
                let vol = &mut self.vols[v];
                let full = vol.full.is_some();
                let bulk_min = vol.journal.bulk_min();
                let device_only = armed(Canary::DestageFlushesDeviceOnly);
                let flush = vol.journal.current().filter(|_| device_only);
                let step = log.next_step(
                    at,
                    &vol.dir,
                    (bulk_min, run),
                    (full, synced, flush),
                    &mut vol.pool,
                );
                if let Some((script, step)) = step {
                    log.busy += 1;
                    let base = log.segments[at].base;
                    self.run(script, Then::Io(slot, base, step), fx);
                }
            }
        }
        self.after_pump(slot, now, fx);
    }

    /// Tells the journal what has become possible.
    fn after_pump(&mut self, slot: Slot, now: Now, fx: &mut Fx) {
        let Some(log) = self.log_mut(slot) else {
            return;
        };
        let v = log.vol;
        let sealed = log
            .segments
            .iter()
            .filter(|segment| segment.rolled)
            .all(|s| s.sealed);
        if log.urgent && log.is_settled() && log.destageable() == 0 && sealed {
            log.urgent = false;
            self.settled(slot, now, fx);
            self.begin_round(v, now, fx);
        }
        let bulk_min = self.vols[v].journal.bulk_min();
        let Some(log) = self.log_mut(slot) else {
            return;
        };
        if log.blocked && !log.waits_for_file(bulk_min) {
            log.blocked = false;
            self.mark_dirty(slot);
            self.begin_round(v, now, fx);
        }
    }

    /// A step is over.
    pub(crate) fn end_io(
        &mut self,
        slot: Slot,
        base: i64,
        step: Step,
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        log.busy -= 1;
        let v = log.vol;
        let failed = outcome
            .failure()
            .map(|failure| (failure.error.kind, failure.words()));
        let Some(segment) = log.segment_mut(base) else {
            self.pump(slot, now, fx);
            return;
        };
        if let Some((kind, why)) = failed {
            segment.give_up(step);
            if let Some(opened) = outcome.opened {
                let close = Script::new().then(vec![Op::Close { file: opened.file }]);
                self.run(close, Then::Nothing, fx);
            }
            self.spoiled(v, step, fx);
            self.vols[v].flush_failed |= kind == ErrorKind::Medium;
            if matches!(step, Step::Made { .. }) && kind == ErrorKind::NotFound {
                // The folder of the topic went with a partition that was deleted: make it again.
                self.pump(slot, now, fx);
            } else if matches!(step, Step::Destaged { .. }) || !self.out_of_space(v, kind, now, fx)
            {
                // What was to be written into space that was reserved cannot be tried again.
                self.fence(slot, &why, fx);
                self.settled(slot, now, fx);
            }
            self.try_again_if_full(v, now, fx);
            return;
        }
        segment.finish(step, outcome, self.vols[v].device);
        if step == Step::Sealed {
            log.release_sealed();
        }
        if let Some(opened) = outcome.opened {
            self.told_buffered(v, opened.direct, fx);
        }
        match step {
            Step::Made { .. } | Step::Grown { .. } => self.space_is_back(v, fx),
            // The last try has waited for this; it says too little to be the end of it.
            _ => self.try_again_if_full(v, now, fx),
        }
        if step == Step::Sealed {
            self.write_index(slot, base, fx);
            self.retain_complete(slot, now);
            self.retire(slot, fx);
        }
        self.pump(slot, now, fx);
    }

    /// Whether `kind` means that the directory is full for now; it is tried again later then.
    pub(crate) fn out_of_space(
        &mut self,
        v: usize,
        kind: ErrorKind,
        now: Now,
        fx: &mut Fx,
    ) -> bool {
        let lacks = match kind {
            ErrorKind::NoSpace => Lack::Space,
            ErrorKind::TooManyFiles => Lack::OpenFiles,
            _ => return false,
        };
        if self.makes_room(v, kind, now, fx) {
            return true;
        }
        let retry = now.mono.after_ms(FULL_RETRY_MS);
        let vol = &mut self.vols[v];
        let dir = vol.dir.clone();
        fx.wake(retry);
        if !vol.told_full {
            vol.told_full = true;
            fx.events.push(Event::SpaceFull { dir, lacks });
        } else if vol.full.is_none() {
            fx.events.push(Event::SpaceStillFull { dir });
        }
        vol.full = Some(retry);
        if lacks == Lack::Space {
            self.ask_for_space(v, now, fx);
        }
        true
    }

    /// A directory that is said to be full is tried again, however the last try has ended.
    fn try_again_if_full(&mut self, v: usize, now: Now, fx: &mut Fx) {
        let vol = &mut self.vols[v];
        if vol.told_full && vol.full.is_none() {
            let retry = now.mono.after_ms(FULL_RETRY_MS);
            vol.full = Some(retry);
            fx.wake(retry);
        }
    }

    /// Tries a full directory again.
    pub(crate) fn retry_space(&mut self, v: usize, now: Now, fx: &mut Fx) {
        self.vols[v].full = None;
        self.vols[v].giving_back = false;
        for at in 0..self.logs.len() {
            if self.logs[at].as_ref().is_some_and(|log| log.vol == v) {
                self.pump(Slot(at as u32), now, fx);
            }
        }
        self.prepare_file(v, fx);
        let here = self.logs.iter().flatten().filter(|log| log.vol == v);
        let trying = here.flat_map(|log| &log.segments).any(Segment::is_growing);
        if self.vols[v].told_full && !trying && !self.vols[v].journal.preparing {
            self.space_is_back(v, fx);
        }
    }

    pub(crate) fn space_is_back(&mut self, v: usize, fx: &mut Fx) {
        if std::mem::take(&mut self.vols[v].told_full) {
            let dir = self.vols[v].dir.clone();
            fx.events.push(Event::SpaceBack { dir });
        }
    }

    fn write_index(&mut self, slot: Slot, base: i64, fx: &mut Fx) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let path = names::index(&self.vols[log.vol].dir, &log.id, base);
        let Some(index) = log
            .segment_mut(base)
            .and_then(|segment| segment.index.as_mut())
        else {
            return;
        };
        index.shrink();
        let script = write_whole(&path, index.encode());
        if let Some(segment) = log.segment_mut(base) {
            // Its names may not go before it has come.
            segment.readers += 1;
        }
        self.run(script, Then::Indexed(slot, base), fx);
    }

    pub(crate) fn end_index(&mut self, slot: Slot, base: i64, now: Now, fx: &mut Fx) {
        if let Some(segment) = self.log_mut(slot).and_then(|log| log.segment_mut(base)) {
            segment.readers -= 1;
        }
        self.retire(slot, fx);
        self.pump(slot, now, fx);
    }

    /// Gives up segments wholly below the log start.
    pub(crate) fn retire(&mut self, slot: Slot, fx: &mut Fx) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let start = if armed(Canary::RetireBeforeLogStart) {
            log.log_start
        } else {
            log.log_start_durable
        };
        let mut retired = Vec::new();
        while log.segments.len() > 1 && log.segments[1].base <= start {
            let first = &log.segments[0];
            // The round that names the next segment must be durable as well.
            let named = log.committed_at.0 >= log.segments[1].base;
            let in_use = !first.sealed || first.readers > 0;
            if (in_use && !armed(Canary::RecycleInFlight)) || !named {
                break;
            }
            retired.extend(log.segments.pop_front());
        }
        log.epochs.truncate_front(log.log_start);
        for segment in retired {
            self.retire_file(slot, &segment, fx);
        }
    }

    /// Gives up everything of a deleted partition once nothing of it is in flight.
    pub(crate) fn bury(&mut self, slot: Slot, fx: &mut Fx) {
        let Some(log) = self.log(slot) else {
            return;
        };
        let reading = log.segments.iter().any(|segment| segment.readers > 0);
        if (log.busy > 0 || reading || log.lag.saving) && !armed(Canary::RecycleInFlight) {
            return;
        }
        if self.keep_files(slot, fx) {
            // It comes back here when they are in the pool.
            return;
        }
        self.shorten_all(slot, fx);
        let Some(log) = self.log(slot) else {
            return;
        };
        let dir = self.vols[log.vol].dir.clone();
        let mut closes = Vec::new();
        let mut unlinks = vec![
            Op::Unlink {
                path: names::checkpoint(&dir, &log.id),
            },
            Op::Unlink {
                path: names::recent(&dir, &log.id),
            },
        ];
        for segment in &log.segments {
            if let File::Open(file) = segment.file {
                closes.push(Op::Close { file });
            }
            unlinks.extend(unlinks_of(&dir, log, segment.base));
        }
        let folder = names::partition(&dir, &log.id);
        let script = Script::new()
            .then_all(closes)
            .then_all(unlinks)
            .then(vec![Op::RemoveDir { path: folder }])
            .then(vec![Op::RemoveDir {
                path: names::topic(&dir, log.id.topic),
            }])
            .keep_going();
        self.logs[slot.0 as usize] = None;
        self.clear_away(script, fx);
    }
}

/// Writes a small file whole and renames it to its name; not synced.
fn write_whole(path: &Path, content: Vec<u8>) -> Script {
    let draft = path.with_extension("tmp");
    let write = Op::Write {
        file: OPENED,
        pos: 0,
        parts: vec![Bytes::from(content)],
        sync: false,
    };
    Script::new()
        .then(vec![Op::Open {
            path: draft.clone(),
            mode: OpenMode::Create,
            direct: false,
        }])
        .then(vec![Op::Truncate {
            file: OPENED,
            len: 0,
        }])
        .then(vec![write])
        .then(vec![Op::Close { file: OPENED }])
        .then(vec![Op::Rename {
            from: draft,
            to: path.to_owned(),
        }])
}

pub(crate) fn unlinks_of(dir: &Path, log: &Log, base: i64) -> Vec<Op> {
    [
        names::segment(dir, &log.id, base),
        names::sums(dir, &log.id, base),
        names::index(dir, &log.id, base),
    ]
    .into_iter()
    .map(|path| Op::Unlink { path })
    .collect()
}

pub(crate) fn unlink_segment(dir: &Path, log: &Log, segment: &Segment) -> Script {
    let mut closes = Vec::new();
    if let File::Open(file) = segment.file {
        closes.push(Op::Close { file });
    }
    Script::new()
        .then(closes)
        .then(unlinks_of(dir, log, segment.base))
        .keep_going()
}

/// Bytes at an address that direct I/O accepts.
pub(super) fn aligned(bytes: &[u8]) -> Bytes {
    let arena = Arena::heap(bytes.len().next_multiple_of(reactor::buf::BLOCK));
    let mut buf = arena
        .alloc(bytes.len())
        .expect("the arena holds exactly this");
    buf.append(bytes);
    buf.freeze()
}

impl Log {
    /// Lets go of complete segments. One behind a segment that is not stays in memory: should the
    /// medium fail under that one, all behind it is restated from there.
    fn release_sealed(&mut self) {
        let sealed = self
            .segments
            .iter_mut()
            .take_while(|segment| segment.sealed);
        sealed.for_each(|segment| segment.tail.release(u64::MAX, 0));
    }

    /// Whether bulk cannot have a place in a round yet.
    fn waits_for_file(&self, bulk_min: u64) -> bool {
        self.segments
            .iter()
            .skip(self.journaled_segment())
            .any(|segment| {
                let bulk = segment.end - segment.journaled >= bulk_min;
                let open = matches!(segment.file, File::Open(_));
                bulk && (!open || segment.allocated < block_floor(segment.end))
            })
    }

    /// The next thing to do for one segment, if there is one.
    fn next_step(
        &mut self,
        at: usize,
        dir: &Path,
        (bulk_min, run): (u64, u64),
        (full, synced, at_most_flushed): (bool, bool, Option<FileId>),
        pool: &mut Pool,
    ) -> Option<(Script, Step)> {
        let id = self.id;
        let urgent = self.urgent;
        let limit = self.config.segment_bytes;
        let writable = self.writable(at);
        let segment = &mut self.segments[at];
        let left = writable.saturating_sub(segment.written());
        let wanted = left >= run || (left > 0 && (urgent || segment.roll_journaled));
        let bulk = segment.end - segment.journaled >= bulk_min;
        let mut target = if bulk {
            writable.max(block_floor(segment.end))
        } else {
            writable
        };
        // Topics must be deletable when the disk is full: the metadata has its space before.
        let ahead = id == METADATA && !segment.roll_journaled && !segment.growing && !full;
        if ahead {
            target = target.max((writable + GROW_MIN / 2).min(block_ceil(limit)));
        }
        match segment.file {
            File::Absent if ahead || (wanted || bulk) && !full => {
                segment.file = File::Making;
                let spare = pool.take(segment.wanted_len(GROW_MIN));
                let from = spare.map(|spare| pool.path(spare));
                Some((make(dir, &id, segment, from), Step::Made { spare }))
            }
            File::Open(file) if (wanted || bulk || ahead) && segment.allocated < target => {
                if segment.growing || full {
                    return None;
                }
                segment.growing = true;
                let to = block_ceil(target.max(segment.grown(limit)));
                let pos = segment.allocated;
                let grow = Op::Allocate {
                    file,
                    pos,
                    len: to - pos,
                };
                Some((Script::new().then(vec![grow]), Step::Grown { to }))
            }
            File::Open(file) if wanted && !segment.destaging => {
                segment.destaging = true;
                let (from, parts, _) = segment.begin_write(writable);
                if armed(Canary::FreeBeforeDestageSynced) {
                    segment.end_write(from);
                }
                let write = Op::Write {
                    file,
                    pos: from,
                    parts,
                    sync: synced && at_most_flushed.is_none(),
                };
                let file = at_most_flushed.unwrap_or(file);
                let mut script = Script::new().then(vec![write]);
                if !synced || at_most_flushed.is_some() {
                    script = script.then(vec![Op::Sync { file }]);
                }
                Some((script, Step::Destaged { from }))
            }
            File::Open(_) if !segment.sums_busy && !full => sums_step(dir, &id, segment),
            _ => None,
        }
    }
}

/// Creates the file with its header; all of it durable before anything rests on it (rule 12). A
/// retired file gets its new name only when it has its new header.
fn make(
    dir: &Path,
    id: &crate::types::PartitionId,
    segment: &Segment,
    retired: Option<PathBuf>,
) -> Script {
    let path = names::segment(dir, id, segment.base);
    let folder = names::partition(dir, id);
    let topic = names::topic(dir, id.topic);
    let write = header_write(id, segment);
    let mut syncs = Vec::new();
    if !armed(Canary::SegmentDirNotSynced) {
        syncs.extend([
            Op::SyncDir {
                path: folder.clone(),
            },
            Op::SyncDir {
                path: topic.clone(),
            },
            Op::SyncDir {
                path: names::topics_dir(dir),
            },
        ]);
    }
    let script = Script::new()
        .then(vec![Op::CreateDir { path: topic }])
        .then(vec![Op::CreateDir { path: folder }]);
    let sync = Op::Sync { file: OPENED };
    let open = |path, mode| Op::Open {
        path,
        mode,
        direct: true,
    };
    let Some(retired) = retired else {
        syncs.push(sync);
        return script
            .then(vec![open(path, OpenMode::Create)])
            .then(vec![Op::Allocate {
                file: OPENED,
                pos: 0,
                len: GROW_MIN,
            }])
            .then(vec![write])
            .then(syncs);
    };
    syncs.push(Op::SyncDir {
        path: names::recycle_dir(dir),
    });
    script
        .then(vec![open(retired.clone(), OpenMode::Write)])
        .then(vec![write])
        .then(vec![sync])
        .then(vec![Op::Rename {
            from: retired,
            to: path,
        }])
        .then(syncs)
}

/// Writes whom a segment file belongs to.
fn header_write(id: &crate::types::PartitionId, segment: &Segment) -> Op {
    let before = segment
        .before
        .filter(|_| !armed(Canary::SealedEndOnlyInJournal));
    let header = SegmentHeader {
        id: *id,
        base: segment.base,
        before,
    };
    let content = if armed(Canary::NoSegmentHeader) {
        vec![0; BLOCK_U64 as usize]
    } else {
        header.encode()
    };
    Op::Write {
        file: OPENED,
        pos: 0,
        parts: vec![aligned(&content)],
        sync: false,
    }
}

/// Writes checksums that are due: whole blocks of them, or all at the end.
fn sums_step(
    dir: &Path,
    id: &crate::types::PartitionId,
    segment: &mut Segment,
) -> Option<(Script, Step)> {
    let complete = segment.roll_journaled
        && segment.is_quiet()
        && segment.written() == block_ceil(segment.end);
    if !complete && !segment.sums_due() {
        return None;
    }
    segment.sums_busy = true;
    let from = segment.sums_durable;
    let (sums, to, step) = if complete {
        let sums = segment.final_sums();
        let to = sums.len();
        (sums, to, Step::Sealed)
    } else {
        let to = from + SUMS_PER_BLOCK;
        (segment.sums[..to].to_vec(), to, Step::Summed { to })
    };
    let mut content = Vec::new();
    let mut pos = sums_position(from / SUMS_PER_BLOCK);
    if from == 0 {
        content = sums_header(id, segment.base);
        pos = 0;
    }
    for block in sums[from..to].chunks(SUMS_PER_BLOCK) {
        content.extend(sums_block(block));
    }
    let path = names::sums(dir, id, segment.base);
    let mut script = Script::new().then(vec![Op::Open {
        path,
        mode: OpenMode::Create,
        direct: true,
    }]);
    if !content.is_empty() {
        script = script.then(vec![Op::Write {
            file: OPENED,
            pos,
            parts: vec![aligned(&content)],
            sync: false,
        }]);
    }
    let folder = names::partition(dir, id);
    let script = script
        .then(vec![
            Op::Sync { file: OPENED },
            Op::SyncDir { path: folder },
        ])
        .then(vec![Op::Close { file: OPENED }]);
    Some((script, step))
}

impl Segment {
    /// How far the next growth brings its file: no more than a full segment takes.
    fn grown(&self, limit: u64) -> u64 {
        let step = self.allocated.clamp(GROW_MIN, GROW_MAX);
        (self.allocated + step.min(block_ceil(limit))).min(DATA_START + block_ceil(limit))
    }

    fn is_growing(&self) -> bool {
        self.growing || self.sums_busy || self.file == File::Making
    }

    /// `device` is the one that a sync of the journal flushes.
    fn finish(&mut self, step: Step, outcome: &Outcome, device: Option<u64>) {
        match step {
            Step::Made { spare } => {
                if let Some(opened) = outcome.opened {
                    self.file = File::Open(opened.file);
                    self.allocated = GROW_MIN;
                    if let Some(spare) = spare {
                        self.allocated = opened.len - opened.len % BLOCK_U64;
                        self.converted = spare.converted(&opened, device);
                    }
                }
            }
            Step::Grown { to } => {
                self.growing = false;
                self.allocated = to;
            }
            Step::Destaged { from } => {
                self.destaging = false;
                self.end_write(from);
            }
            Step::Summed { to } => {
                self.sums_busy = false;
                self.sums_durable = to;
            }
            Step::Sealed => {
                self.sums_busy = false;
                self.sums = self.final_sums();
                self.sums_durable = self.sums.len();
                self.sealed = true;
            }
        }
    }

    /// Undoes what can be tried again.
    fn give_up(&mut self, step: Step) {
        match step {
            Step::Made { .. } => self.file = File::Absent,
            Step::Grown { .. } => self.growing = false,
            Step::Destaged { .. } => {}
            Step::Summed { .. } | Step::Sealed => self.sums_busy = false,
        }
    }
}
