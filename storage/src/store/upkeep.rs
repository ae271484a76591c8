//! What happens by time: closing rounds, retention, memory given back, full disks tried again;
//! and what ends: deleted records, deleted partitions, a clean stop.

use super::api::{Event, Fx, ReadError};
use super::pump::destage_run;
use super::save::{Occasion, recent_lag};
use super::script::Script;
use super::{ARENA_RESERVE, CLOSE_AFTER_MS, Store, Then};
use crate::log::Log;
use crate::log::segment::{File, Segment};
use crate::log::tail::is_large;
use crate::types::{PartitionId, Slot};
use reactor::buf::Arena;
use reactor::op::{Mono, Now, Op};

/// Memory of idle partitions is looked after this often, in ms.
const IDLE_CHECK_MS: u64 = 5_000;

/// Recent bytes kept in memory for readers of the tails take this share of the arena: the rest is
/// for what is on its way to the disk, and memory that is used again soon is still in the caches.
const RECENT_SHARE: usize = 4;

/// When the arena is full, so great a share of it is freed beyond what is asked for, if it can be.
const RELIEF_SHARE: usize = 16;

/// Recent bytes that each partition may keep, however many share the arena.
const RECENT_BYTES_MIN: usize = 64 * 1024;

/// What each of `warm` partitions may keep of its recent bytes.
pub(super) fn recent_bytes(arena: &Arena, warm: usize) -> usize {
    (arena.bytes_max() / RECENT_SHARE / warm.max(1)).max(RECENT_BYTES_MIN)
}

impl Store {
    /// Does what is due by time, and says anew when the next tick is due: what was asked for
    /// before has come, or is asked for again.
    pub fn tick(&mut self, now: Now, fx: &mut Fx) {
        fx.wake_at = None;
        self.first_look.get_or_insert(now);
        for v in 0..self.vols.len() {
            if self.vols[v].full.is_some_and(|retry| retry <= now.mono) {
                self.retry_space(v, now, fx);
            }
            if self.vols[v].close_at.is_some_and(|due| due <= now.mono) {
                self.vols[v].close_at = None;
                self.vols[v].closing = self.vols[v].journal.unclosed;
            }
            if self.vols[v].round_due.is_some_and(|due| due <= now.mono) {
                self.vols[v].round_due = None;
                self.vols[v].eager = true;
            }
            self.begin_round(v, now, fx);
        }
        self.tell_lock(now, fx);
        if self.next_idle.is_some_and(|due| due <= now.mono) {
            self.next_idle = Some(now.mono.after_ms(IDLE_CHECK_MS));
            self.ahead.drop_idle();
            self.give_back_memory(fx);
        }
        if self.next_check.is_some_and(|due| due <= now.mono) {
            self.next_check = Some(now.mono.after_ms(self.config.retention_check_ms.max(1)));
            self.expire(now, fx);
        }
        let times = self
            .vols
            .iter()
            .flat_map(|vol| [vol.full, vol.close_at, vol.round_due]);
        let due: Option<Mono> = times
            .chain([self.next_idle, self.next_check, self.boot.lock_told_at])
            .flatten()
            .min();
        if let Some(due) = due {
            fx.wake(due);
        }
    }

    /// The journal's last round acknowledged something: if nothing follows, an empty round will,
    /// so that damage to it can be told from a round that was never finished.
    pub(crate) fn close_later(&mut self, v: usize, now: Now, fx: &mut Fx) {
        let due = now.mono.after_ms(CLOSE_AFTER_MS);
        self.vols[v].close_at = Some(due);
        fx.wake(due);
    }

    fn give_back_memory(&mut self, fx: &mut Fx) {
        let mut files = Vec::new();
        let warm = self.logs.iter().flatten().filter(|log| log.warm).count();
        self.recent_bytes = recent_bytes(&self.arena, warm);
        self.destage_run = destage_run(&self.config, &self.arena, warm);
        self.recent_lag = recent_lag(&self.config, warm);
        self.save_idle(fx);
        for log in self.logs.iter_mut().flatten() {
            let may_let_go = log.may_let_go();
            if std::mem::take(&mut log.warm) {
                if may_let_go {
                    log.trim(self.recent_bytes);
                }
            } else {
                if may_let_go {
                    log.shrink(&self.arena);
                }
                files.append(&mut log.idle_files());
            }
        }
        for file in files {
            let close = Script::new().then(vec![Op::Close { file }]);
            self.run(close, Then::Nothing, fx);
        }
    }

    /// Lets go of what a partition keeps beyond its share, now that more is on the disk.
    pub(crate) fn trim_recent(&mut self, slot: Slot) {
        let recent = self.recent_bytes;
        if let Some(log) = self.log_mut(slot).filter(|log| log.may_let_go()) {
            log.trim_newest(recent);
        }
    }

    /// Keeps only what is in no segment yet of one partition.
    pub(crate) fn let_go(&mut self, slot: Slot) {
        if let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            log.trim(0);
            log.shrink(&self.arena);
        }
    }

    /// Whether an append of `len` bytes may find memory. Where it is short, lets go of what can be.
    pub(crate) fn make_room(&mut self, len: usize) -> bool {
        let max = self.arena.bytes_max();
        let limit = max - max / ARENA_RESERVE;
        let used = |store: &Self| store.arena.bytes_used() + len;
        if is_large(&self.arena, len) || used(self) <= limit {
            return true;
        }
        self.relieve(limit.saturating_sub(len + max / RELIEF_SHARE));
        used(self) <= limit
    }

    /// The arena is full: recent bytes go, and whatever can be destaged is, of one partition after
    /// the other until no more than `enough` bytes are in use, or will be when that is done. Once
    /// between two flushes.
    pub(crate) fn relieve(&mut self, enough: usize) {
        if enough >= self.relieved_to {
            return;
        }
        self.relieved_to = enough;
        self.vols.iter_mut().for_each(|vol| vol.eager = true);
        self.ahead.relieve();
        let mut coming = 0;
        for _ in 0..self.logs.len() {
            if self.arena.bytes_used().saturating_sub(coming) <= enough {
                return;
            }
            let at = self.relieved % self.logs.len();
            self.relieved = at + 1;
            let Some(log) = self.logs[at].as_mut().filter(|log| log.may_let_go()) else {
                continue;
            };
            log.trim(0);
            log.shrink_worth(&self.arena);
            let left = log.destageable();
            if left > 0 {
                coming += left as usize;
                log.urgent = true;
                self.hurried.push(Slot(at as u32));
            }
        }
    }

    /// A wall clock that is set forward must not make young records old: no more time counts than
    /// has passed since the first look of this life.
    fn cautious_wall(&mut self, now: Now) -> i64 {
        let begun = *self.first_look.get_or_insert(now);
        let elapsed = i64::try_from(now.mono.ms_since(begun.mono)).unwrap_or(i64::MAX);
        now.wall_ms.min(begun.wall_ms.saturating_add(elapsed))
    }

    /// Applies retention by time and size to every partition, and forgets idle producers.
    fn expire(&mut self, now: Now, fx: &mut Fx) {
        let wall_ms = self.cautious_wall(now);
        for at in 0..self.logs.len() {
            let slot = Slot(at as u32);
            let Some(log) = self.log_mut(slot) else {
                continue;
            };
            log.producers
                .expire(wall_ms, log.config.producer_expiration_ms);
            if self.retain(slot, wall_ms, true) {
                self.pump(slot, now, fx);
            }
        }
    }

    /// A segment is complete: under steady load another one has to go for it now. Left to the next
    /// check, all that came since the last one would go at once, more than can be recycled.
    ///
    /// Not at a start: what it completes again may be old, and the settings of the metadata's own
    /// partition are known only when that has been read.
    pub(crate) fn retain_complete(&mut self, slot: Slot, now: Now) {
        if !self.boot.ready {
            return;
        }
        let wall_ms = self.cautious_wall(now);
        self.retain(slot, wall_ms, false);
    }

    /// Applies retention to one partition, and to the segment that is written to if that is
    /// `even_active`. Whether something is given up.
    fn retain(&mut self, slot: Slot, wall_ms: i64, even_active: bool) -> bool {
        let Some(log) = self.log_mut(slot) else {
            return false;
        };
        if log.deleted || log.fenced.is_some() || log.damaged.is_some() {
            return false;
        }
        let start = log.retained_from(wall_ms, even_active);
        if let Some(start) = start {
            self.raise_log_start(slot, start);
        }
        start.is_some()
    }

    fn raise_log_start(&mut self, slot: Slot, start: i64) {
        if let Some(log) = self.log_mut(slot) {
            log.log_start = start;
            log.start_pending = true;
            self.mark_dirty(slot);
        }
    }

    /// Makes the records below `offset` unreadable and frees what space that can;
    /// [`Event::LogStart`] tells when it is durable. Returns the new log start.
    ///
    /// # Errors
    /// When the offset lies outside of the log, or the log is fenced.
    pub fn delete_records(&mut self, slot: Slot, offset: i64, _now: Now) -> Result<i64, ReadError> {
        let Some(log) = self.log(slot) else {
            return Err(ReadError::Fenced);
        };
        let broken = self.vols[log.vol].journal.broken.is_some();
        if broken || log.fenced.is_some() || log.damaged.is_some() || log.deleted {
            return Err(ReadError::Fenced);
        }
        if offset > log.durable_end || offset < 0 {
            return Err(ReadError::OutOfRange {
                log_start: log.log_start,
                end: log.durable_end,
            });
        }
        let start = log.log_start;
        if offset <= start {
            // Durable, or on its way there: that is told in any case.
            return Ok(start);
        }
        self.raise_log_start(slot, offset);
        Ok(offset)
    }

    pub(crate) fn log_start_durable(&mut self, slot: Slot, start: i64, now: Now, fx: &mut Fx) {
        let Some(log) = self.log_mut(slot) else {
            return;
        };
        log.log_start_durable = log.log_start_durable.max(start);
        fx.events.push(Event::LogStart {
            slot,
            log_start: start,
        });
        self.retire(slot, fx);
        self.pump(slot, now, fx);
    }

    /// Forgets a partition and frees its space. Its tombstone must be durable in the metadata log.
    pub fn delete(&mut self, id: &PartitionId, _now: Now, fx: &mut Fx) {
        let Some(slot) = self.by_id.remove(id) else {
            return;
        };
        let Some(log) = self.log_mut(slot) else {
            return;
        };
        log.deleted = true;
        let (v, resident) = (log.vol, log.state_round != 0);
        self.vols[v].journal.forget(slot, resident);
        self.vols[v].residents.remove(&slot);
        self.bury(slot, fx);
    }

    /// Ends the store: everything appended is made durable and moved to segments, and the journals
    /// end with a round that says so; then [`Event::Stopped`]. Appends are refused from now on.
    pub fn stop(&mut self, now: Now, fx: &mut Fx) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        for dir in self.config.dirs.clone() {
            self.give_back(&dir, Then::Nothing, fx);
        }
        for at in 0..self.logs.len() {
            if let Some(log) = &mut self.logs[at] {
                log.urgent = true;
            }
            self.pump(Slot(at as u32), now, fx);
        }
        for v in 0..self.vols.len() {
            self.begin_round(v, now, fx);
        }
        self.try_stop(now, fx);
    }

    /// Writes the last round of each journal whose partitions have nothing left to do.
    pub(crate) fn try_stop(&mut self, now: Now, fx: &mut Fx) {
        if !self.stopping || self.stopped {
            return;
        }
        for v in 0..self.vols.len() {
            let vol = &self.vols[v];
            if vol.stop_round || vol.stopped {
                continue;
            }
            if vol.journal.broken.is_some() || vol.journal.chain.is_empty() {
                self.vols[v].stopped = true;
                continue;
            }
            let settled = self
                .logs
                .iter()
                .flatten()
                .filter(|log| log.vol == v)
                .all(Log::is_at_rest);
            if settled && vol.dirty.is_empty() && vol.journal.in_flight == 0 {
                self.save_all_derived(v, fx);
                self.vols[v].stop_round = true;
                self.begin_round(v, now, fx);
            }
        }
        if self.vols.iter().all(|vol| vol.stopped) && self.scripts.is_idle() {
            self.stopped = true;
            fx.events.push(Event::Stopped);
        }
    }

    fn save_all_derived(&mut self, v: usize, fx: &mut Fx) {
        for at in 0..self.logs.len() {
            if self.logs[at].as_ref().is_some_and(|log| log.vol == v) {
                self.save_derived(Slot(at as u32), Occasion::Stop, fx);
            }
        }
    }

    pub(crate) fn vol_stopped(&mut self, v: usize) {
        self.vols[v].stop_round = false;
        self.vols[v].stopped = true;
    }
}

impl Log {
    /// Nothing waits, nothing is in flight, everything but the tail block is in its segment.
    fn is_at_rest(&self) -> bool {
        let given_up = self.fenced.is_some() || self.damaged.is_some();
        let told = !self.dirty && !self.blocked && self.journaled_end == self.end;
        let resting = told && self.is_settled() && self.destageable() == 0;
        self.busy == 0 && (given_up || resting)
    }

    /// Whether nothing of it has to be in memory but what is in no segment: a partition whose
    /// medium failed on the way there is restated from memory, if at all.
    fn may_let_go(&self) -> bool {
        self.fenced.is_none() || self.is_settled()
    }

    /// Keeps at most `keep` bytes of what is durable in segments.
    pub(crate) fn trim(&mut self, keep: usize) {
        for segment in &mut self.segments {
            let durable = segment.durable().pos;
            segment.tail.release(durable, keep);
        }
    }

    /// The same of the segments that have just been written to.
    fn trim_newest(&mut self, keep: usize) {
        for segment in self.segments.iter_mut().rev().take(2) {
            let durable = segment.durable().pos;
            segment.tail.release(durable, keep);
        }
    }

    /// The last block of a batch must not hold all of its memory.
    fn shrink_worth(&mut self, arena: &Arena) {
        for segment in &mut self.segments {
            let durable = segment.durable().pos;
            segment.tail.shrink_worth(arena, durable);
        }
    }

    fn shrink(&mut self, arena: &Arena) {
        for segment in &mut self.segments {
            let durable = segment.durable().pos;
            segment.tail.shrink(arena, durable);
        }
    }

    /// The log start that retention asks for, if it asks for anything, as Kafka decides it
    /// (`UnifiedLog`, 4.2): whole segments go, `even_active` the active one as well, and then a new
    /// one begins.
    fn retained_from(&mut self, wall_ms: i64, even_active: bool) -> Option<i64> {
        // What lies below the log start is gone, even if its files are still there.
        let first = self.segment_of(self.log_start);
        let size: u64 = self.segments.range(first..).map(Segment::size).sum();
        let max = self.config.retention_bytes;
        let mut excess = max.and_then(|max| size.checked_sub(max));
        let mut start = None;
        for at in first..self.segments.len() {
            let segment = &self.segments[at];
            let is_active = at + 1 == self.segments.len();
            let next = self.end_of_segment(at);
            let old = self.is_too_old(segment.newest_ms(), wall_ms);
            let big = excess.is_some_and(|excess| excess >= segment.size());
            let kept = is_active && (segment.size() == 0 || !even_active);
            if next > self.durable_end || kept || !(old || big) {
                break;
            }
            excess = excess.map(|excess| excess.saturating_sub(segment.size()));
            start = Some(next.max(self.log_start));
            if is_active {
                self.roll();
                break;
            }
        }
        start
    }

    fn is_too_old(&self, newest_ms: i64, wall_ms: i64) -> bool {
        let Some(limit) = self.config.retention_ms else {
            return false;
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        wall_ms.saturating_sub(newest_ms) > limit
    }

    /// Files of sealed segments that nobody reads.
    pub(crate) fn idle_files(&mut self) -> Vec<reactor::op::FileId> {
        let mut files = Vec::new();
        for segment in &mut self.segments {
            if let File::Open(file) = segment.file
                && segment.sealed
                && segment.readers == 0
            {
                segment.file = File::Closed;
                files.push(file);
            }
        }
        files
    }
}
