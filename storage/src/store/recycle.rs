//! Recycling: the file of a retired segment becomes that of a new one. Over space that is already
//! written a round needs one flush of the device, instead of a sync of every file it wrote.
//!
//! Into the pool: nothing reads or writes the file any more; it is synced, so that all of it that
//! was written is known to be; then it is renamed, and both directories are synced; only then it is
//! offered. Out of the pool: its new header is durable before it gets the name of a segment, so
//! that no such name ever leads to the bytes of another one. Behind what the new owner has written
//! the old bytes remain: nothing reads there, for the journal and the next segment say where one
//! ends.
//!
//! A pool belongs to one process. What an earlier one left is unlinked: nobody knows how much of it
//! is durably written.

use super::api::Fx;
use super::mail::Letter;
use super::pump::{Step, unlink_segment, unlinks_of};
use super::script::{OPENED, OpenedFile, Outcome, Script};
use super::{Store, Then};
use crate::canary::{Canary, armed};
use crate::format::{DATA_START, block_ceil, names};
use crate::log::Log;
use crate::log::segment::{File, Segment};
use crate::types::Slot;
use reactor::op::{ErrorKind, Now, Op, OpenMode};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A retired segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    number: u64,
    len: u64,
    /// Everything before is written, and synced by this process.
    converted: u64,
}

/// What there is to know of the file of a segment that is given up.
#[derive(Clone, Copy, Debug)]
struct Retired {
    base: i64,
    file: File,
    len: u64,
    /// Everything before is written.
    converted: u64,
    /// Nothing of it is in flight.
    left_alone: bool,
}

/// The retired files that a shard keeps in one log directory.
#[derive(Debug)]
pub(crate) struct Pool {
    dir: PathBuf,
    shard: u16,
    /// Bytes behind the headers, of the files here and of those on their way.
    bytes: u64,
    bytes_max: u64,
    spares: VecDeque<Spare>,
    /// The number of this start, once files may be kept.
    start: Option<u64>,
    next: u64,
    /// Somebody wanted a file and none was of the right size: the oldest has to make room.
    passed_over: bool,
}

impl Pool {
    pub(crate) fn new(dir: &Path, shard: u16, bytes_max: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            shard,
            bytes: 0,
            bytes_max,
            spares: VecDeque::new(),
            start: None,
            next: 1,
            passed_over: false,
        }
    }

    /// Every opening of every shard is durable: files may be kept from now on.
    pub(crate) const fn open(&mut self, start: u64) {
        self.start = Some(start);
    }

    pub(crate) fn path(&self, spare: Spare) -> PathBuf {
        names::spare(
            &self.dir,
            self.shard,
            self.start.unwrap_or_default(),
            spare.number,
        )
    }

    /// A place for a file of `len` bytes, if it fits, and the files that have to go for it.
    fn admit(&mut self, len: u64, converted: u64) -> Option<(Spare, Vec<Spare>)> {
        let room = self.bytes_max.checked_sub(room(len))?;
        self.start?;
        let mut gone = Vec::new();
        if self.bytes > room && std::mem::take(&mut self.passed_over) {
            while self.bytes > room
                && let Some(oldest) = self.spares.pop_front()
            {
                self.bytes -= self::room(oldest.len);
                gone.push(oldest);
            }
        }
        if self.bytes > room {
            return None;
        }
        self.bytes += self::room(len);
        let number = self.next;
        self.next += 1;
        let spare = Spare {
            number,
            len,
            converted,
        };
        Some((spare, gone))
    }

    /// A file that was admitted is not coming.
    fn forget(&mut self, spare: Spare) {
        self.bytes -= room(spare.len);
    }

    /// A file that was admitted is here. `false` when it is longer than it was said to be, and
    /// does not fit.
    fn offer(&mut self, spare: Spare, len: u64) -> bool {
        self.forget(spare);
        if self.bytes + room(len) > self.bytes_max {
            return false;
        }
        self.bytes += room(len);
        self.spares.push_back(Spare { len, ..spare });
        true
    }

    /// The file whose length is nearest to `wanted`, and no more than twice as long.
    pub(crate) fn take(&mut self, wanted: u64) -> Option<Spare> {
        let fits = |spare: &&(usize, &Spare)| spare.1.len <= wanted.saturating_mul(2);
        let nearest = self.spares.iter().enumerate();
        let nearest: Vec<(usize, &Spare)> = nearest.collect();
        let nearest = nearest.iter().filter(fits);
        let nearest = nearest.min_by_key(|spare| spare.1.len.abs_diff(wanted));
        let Some(at) = nearest.map(|spare| spare.0) else {
            self.passed_over |= !self.spares.is_empty();
            return None;
        };
        let spare = self.spares.remove(at)?;
        self.bytes -= room(spare.len);
        Some(spare)
    }

    /// All files that are here; there are none any more.
    fn drain(&mut self) -> Vec<Op> {
        let spares = std::mem::take(&mut self.spares);
        self.bytes -= spares.iter().map(|spare| room(spare.len)).sum::<u64>();
        let paths = spares.into_iter().map(|spare| self.path(spare));
        paths.map(|path| Op::Unlink { path }).collect()
    }
}

/// What a file counts for: as in `segment.bytes`, only what may hold batches.
const fn room(len: u64) -> u64 {
    len.saturating_sub(DATA_START)
}

impl Spare {
    /// Up to where writes into the file need no sync of their own, given the device that a sync of
    /// the journal flushes.
    pub(crate) fn converted(&self, opened: &OpenedFile, device: Option<u64>) -> u64 {
        if armed(Canary::RecycledSpaceTrusted) {
            return opened.len;
        }
        match opened.in_place {
            Some(place) if device == Some(place.device) => self.converted.min(place.written),
            _ => 0,
        }
    }
}

impl Segment {
    /// The length of a file that suits this segment: as much as the one before it took, and little
    /// when that is not known. More would be lost space: a quiet partition rolls by time.
    pub(crate) fn wanted_len(&self, len_min: u64) -> u64 {
        let before = self.before.map_or(0, |ended| block_ceil(ended.end));
        before.max(len_min)
    }

    fn retired(&self) -> Retired {
        let writing = !self.is_quiet() || self.growing || self.destaging || self.sums_busy;
        Retired {
            base: self.base,
            file: self.file,
            len: self.allocated.max(self.written()),
            converted: self.converted.max(self.durable().pos),
            left_alone: !writing && self.readers == 0,
        }
    }
}

impl Store {
    /// The file of a retired segment is kept if there is room for it, else unlinked.
    pub(crate) fn retire_file(&mut self, slot: Slot, segment: &Segment, fx: &mut Fx) {
        if self.keep_file(slot, segment.retired(), fx) {
            return;
        }
        let Some(log) = self.log(slot) else {
            return;
        };
        let dir = &self.vols[log.vol].dir;
        let path = names::segment(dir, &log.id, segment.base);
        let script = unlink_segment(dir, log, segment);
        self.shorten(path, segment.retired(), fx);
        self.clear_away(script, fx);
    }

    /// Gives the blocks of a file that is to be removed back piece by piece, each made durable
    /// before the next: a file system that discards them does so while it commits, and whoever
    /// syncs another file waits for all of that.
    fn shorten(&mut self, path: PathBuf, retired: Retired, fx: &mut Fx) {
        let piece = self.config.clear_bytes.max(1);
        let exists = matches!(retired.file, File::Open(_) | File::Closed);
        let mut left = retired.len.saturating_sub(1) / piece * piece;
        if !exists || left == 0 || self.stopping {
            return;
        }
        let mut script = Script::new().then(vec![Op::Open {
            path,
            mode: OpenMode::Write,
            direct: true,
        }]);
        while left > 0 {
            script = script
                .then(vec![Op::Truncate {
                    file: OPENED,
                    len: left,
                }])
                .then(vec![Op::Sync { file: OPENED }]);
            left -= piece;
        }
        self.clear_away(script.then(vec![Op::Close { file: OPENED }]), fx);
    }

    /// The same for all segments of a partition.
    pub(crate) fn shorten_all(&mut self, slot: Slot, fx: &mut Fx) {
        let Some(log) = self.log(slot) else {
            return;
        };
        let dir = &self.vols[log.vol].dir;
        let files = log.segments.iter();
        let files = files.map(|s| (names::segment(dir, &log.id, s.base), s.retired()));
        for (path, retired) in files.collect::<Vec<_>>() {
            self.shorten(path, retired, fx);
        }
    }

    /// Removes what nobody needs any more, one after the other: many at once would hold up commits.
    pub(crate) fn clear_away(&mut self, script: Script, fx: &mut Fx) {
        match &mut self.clearing {
            Some(later) if !self.stopping => later.push_back(script),
            _ => {
                self.clearing.get_or_insert_default();
                self.run(script, Then::Cleared, fx);
            }
        }
    }

    /// A removal is over.
    pub(crate) fn cleared(&mut self, outcome: &Outcome, fx: &mut Fx) {
        if outcome.has_lost_a_flush() {
            self.vols.iter_mut().for_each(|vol| vol.flush_failed = true);
        }
        let Some(later) = &mut self.clearing else {
            return;
        };
        let next = if self.stopping { later.len() } else { 1 };
        let next: Vec<Script> = later.drain(..next.min(later.len())).collect();
        if next.is_empty() {
            self.clearing = None;
        }
        for script in next {
            self.run(script, Then::Cleared, fx);
        }
    }

    /// Keeps what may be kept of a deleted partition's files. `false` when nothing is left to keep.
    pub(crate) fn keep_files(&mut self, slot: Slot, fx: &mut Fx) -> bool {
        let segments = self.log(slot).into_iter().flat_map(|log| &log.segments);
        let retired: Vec<Retired> = segments.map(Segment::retired).collect();
        let mut any = false;
        for file in retired {
            if self.keep_file(slot, file, fx) {
                any = true;
                if let Some(segment) = self
                    .log_mut(slot)
                    .and_then(|log| log.segment_mut(file.base))
                {
                    segment.file = File::Absent;
                }
            }
        }
        any
    }

    /// Moves a file that nothing names any more into the pool, if it may be kept and there is room.
    fn keep_file(&mut self, slot: Slot, retired: Retired, fx: &mut Fx) -> bool {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return false;
        };
        let vol = &mut self.vols[log.vol];
        let exists = matches!(retired.file, File::Open(_) | File::Closed);
        let whole = log.fenced.is_none() && log.damaged.is_none() && vol.journal.broken.is_none();
        let quiet = retired.left_alone || armed(Canary::RecycleInFlight);
        let of_use = vol.device.is_some() && vol.full.is_none() && !self.stopping;
        if !(exists && whole && quiet && of_use) {
            return false;
        }
        let Some((spare, gone)) = vol.pool.admit(retired.len, retired.converted) else {
            return false;
        };
        let unlinks = gone.into_iter().map(|spare| Op::Unlink {
            path: vol.pool.path(spare),
        });
        let unlinks: Vec<Op> = unlinks.collect();
        let script = into_pool(&vol.dir, log, retired, vol.pool.path(spare));
        log.busy += 1;
        let base = retired.base;
        self.run(script, Then::Kept { slot, base, spare }, fx);
        if !unlinks.is_empty() {
            self.run(Script::new().then(unlinks), Then::Nothing, fx);
        }
        true
    }

    /// A retired file is in the pool's folder, or something went wrong on its way.
    pub(crate) fn kept(
        &mut self,
        (slot, base, spare): (Slot, i64, Spare),
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        let stopping = self.stopping;
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        log.busy -= 1;
        let vol = &mut self.vols[log.vol];
        let opened = outcome.opened.filter(|_| outcome.failures.is_empty());
        let failure = outcome.failure().map(|failure| failure.error.kind);
        vol.flush_failed |= failure == Some(ErrorKind::Medium);
        let wanted = vol.full.is_none() && !stopping;
        let offered = match opened.filter(|_| wanted) {
            Some(opened) => vol.pool.offer(spare, opened.len),
            None => {
                vol.pool.forget(spare);
                false
            }
        };
        if !offered {
            let mut unlinks = unlinks_of(&vol.dir, log, base);
            unlinks.push(Op::Unlink {
                path: vol.pool.path(spare),
            });
            let script = Script::new().then(unlinks).keep_going();
            self.run(script, Then::Nothing, fx);
        }
        self.pump(slot, now, fx);
    }

    /// A segment could not be made of a retired file: whatever became of it, it is not used.
    pub(crate) fn spoiled(&mut self, v: usize, step: Step, fx: &mut Fx) {
        if let Step::Made { spare: Some(spare) } = step {
            let path = self.vols[v].pool.path(spare);
            let unlink = Script::new().then(vec![Op::Unlink { path }]).keep_going();
            self.run(unlink, Then::Nothing, fx);
        }
    }

    /// A directory is full: frees what its pools hold, and at a start what its journals do not
    /// need. `false` when there is nothing to free.
    pub(super) fn give_back(&mut self, dir: &Path, then: Then, fx: &mut Fx) -> bool {
        let partitions = self.boot.restoring as u64;
        let mut unlinks = Vec::new();
        for vol in self.vols.iter_mut().filter(|vol| vol.dir == dir) {
            unlinks.append(&mut vol.pool.drain());
            unlinks.append(&mut vol.journal.give_up(vol.journal.residents + partitions));
        }
        let any = !unlinks.is_empty();
        if any {
            self.run(Script::new().then(unlinks).keep_going(), then, fx);
        }
        any
    }

    /// Asks the other shards to free what they keep in a full directory.
    pub(crate) fn ask_for_space(&mut self, v: usize, now: Now, fx: &mut Fx) {
        let Some(dir) = self
            .config
            .dirs
            .iter()
            .position(|dir| *dir == self.vols[v].dir)
        else {
            return;
        };
        let own = self.config.shard;
        for to in (0..self.config.shards).filter(|to| *to != own) {
            self.send(to, Letter::GiveBack { dir }, now, fx);
        }
    }

    /// A full directory has more room: what failed for want of it is tried again.
    pub(crate) fn gave_back(&mut self, v: usize, now: Now, fx: &mut Fx) {
        if std::mem::take(&mut self.vols[v].giving_back) {
            self.retry_space(v, now, fx);
        }
    }

    /// Whether the error means that space has run out, and the pool is being freed for it.
    pub(crate) fn makes_room(&mut self, v: usize, kind: ErrorKind, now: Now, fx: &mut Fx) -> bool {
        if kind != ErrorKind::NoSpace {
            return false;
        }
        let dir = self.vols[v].dir.clone();
        if !self.vols[v].giving_back && !self.give_back(&dir, Then::GaveBack { vol: v }, fx) {
            return false;
        }
        let retry = now.mono.after_ms(super::pump::FULL_RETRY_MS);
        let vol = &mut self.vols[v];
        vol.giving_back = true;
        vol.full = Some(retry);
        fx.wake(retry);
        true
    }
}

/// Everything that has to be durable before the file may be offered.
fn into_pool(dir: &Path, log: &Log, retired: Retired, to: PathBuf) -> Script {
    let path = names::segment(dir, &log.id, retired.base);
    let mut begin = vec![Op::Open {
        path: path.clone(),
        mode: OpenMode::Write,
        direct: true,
    }];
    if let File::Open(file) = retired.file {
        begin.push(Op::Close { file });
    }
    let sidecars = unlinks_of(dir, log, retired.base).split_off(1);
    Script::new()
        .then(begin)
        .then(vec![Op::Sync { file: OPENED }])
        .then(vec![Op::Close { file: OPENED }])
        .then(sidecars)
        .then(vec![Op::Rename { from: path, to }])
        .then(vec![
            Op::SyncDir {
                path: names::partition(dir, &log.id),
            },
            Op::SyncDir {
                path: names::recycle_dir(dir),
            },
        ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BLOCK_U64;
    use reactor::op::InPlace;

    const KIB: u64 = 1024;

    fn pool(bytes_max: u64) -> Pool {
        let mut pool = Pool::new(Path::new("d"), 0, bytes_max);
        pool.open(3);
        pool
    }

    fn put(pool: &mut Pool, len: u64) -> Vec<Spare> {
        let (spare, gone) = pool.admit(len, len).expect("room");
        assert!(pool.offer(spare, len));
        gone
    }

    #[test]
    fn a_segment_of_the_default_size_fits_the_default_bound() {
        let mut pool = pool(1 << 30);
        put(&mut pool, (1 << 30) + DATA_START);
        assert_eq!(pool.admit(2 * DATA_START, 0), None);
        assert!(pool.take(1 << 30).is_some());
        assert_eq!((pool.bytes, pool.spares.len()), (0, 0));
    }

    #[test]
    fn files_on_their_way_count_and_those_that_do_not_come_no_longer() {
        let mut pool = pool(300 * KIB);
        let (first, _) = pool.admit(200 * KIB, 0).expect("room");
        assert_eq!(pool.admit(200 * KIB, 0), None);
        pool.forget(first);
        let (second, _) = pool.admit(200 * KIB, 0).expect("room again");
        assert_ne!(first.number, second.number);
        // It turned out to be longer.
        assert!(!pool.offer(second, 400 * KIB));
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn nobody_gets_a_file_that_is_far_too_long() {
        let mut pool = pool(4096 * KIB);
        for len in [256, 1024, 300] {
            put(&mut pool, len * KIB);
        }
        let mut take = |wanted: u64| pool.take(wanted * KIB).map(|spare| spare.len / KIB);
        assert_eq!(take(310), Some(300));
        assert_eq!(take(310), Some(256));
        assert_eq!(take(310), None);
        assert_eq!(take(2000), Some(1024));
    }

    #[test]
    fn files_that_nobody_wants_make_room() {
        let mut pool = pool(1024 * KIB);
        put(&mut pool, 1000 * KIB);
        assert_eq!(pool.admit(256 * KIB, 0), None);
        assert_eq!(pool.take(256 * KIB), None);
        let gone = put(&mut pool, 256 * KIB);
        assert_eq!(gone.first().map(|spare| spare.len), Some(1000 * KIB));
        assert_eq!(pool.bytes, room(256 * KIB));
    }

    #[test]
    fn nothing_is_kept_before_the_openings_are_durable_or_without_a_bound() {
        let mut early = Pool::new(Path::new("d"), 0, 1024 * KIB);
        assert_eq!(early.admit(256 * KIB, 0), None);
        assert_eq!(pool(0).admit(256 * KIB, 0), None);
    }

    #[test]
    fn written_space_counts_only_on_the_device_that_the_journal_flushes() {
        let spare = Spare {
            number: 1,
            len: 8 * BLOCK_U64,
            converted: 5 * BLOCK_U64,
        };
        let opened = |place: Option<(u64, u64)>| OpenedFile {
            file: OPENED,
            len: 8 * BLOCK_U64,
            direct: true,
            in_place: place.map(|(device, written)| InPlace {
                device,
                written: written * BLOCK_U64,
            }),
        };
        let known = |place, device| spare.converted(&opened(place), device) / BLOCK_U64;
        assert_eq!(known(Some((2, 6)), Some(2)), 5);
        assert_eq!(known(Some((2, 4)), Some(2)), 4);
        assert_eq!(known(Some((2, 6)), Some(3)), 0);
        assert_eq!(known(Some((2, 6)), None), 0);
        assert_eq!(known(None, None), 0);
    }
}
