//! Commit rounds: what waits is made durable together, by one journal write and its flushes.

use super::api::{Event, Fx};
use super::extent::{DurableBy, WrittenExtent, make_durable};
use super::pump::aligned;
use super::save::Occasion;
use super::script::{Outcome, Script};
use super::{Store, Then};
use crate::canary::{Canary, armed};
use crate::format::round::{
    CLEAN, Entry, OPENING, OPENING_END, ROUND_HEADER_LEN, State, put_crumb,
};
use crate::format::{DATA_START, block_floor};
use crate::journal::ENTRY_HEAD_MAX;
use crate::log::Log;
use crate::log::segment::File;
use crate::types::Slot;
use bytes::Bytes;
use reactor::op::{ErrorKind, Now, Op};

/// How long news gather that nobody waits for, in ms: those of partitions that are durable enough
/// in memory.
const GATHER_MS: u64 = 10;

/// How far a round brings one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) slot: Slot,
    pub(crate) end: i64,
    /// The segment and the position in it behind the last batch.
    pub(crate) at: (i64, u64),
}

/// What follows when a round is durable.
#[derive(Debug, Default)]
pub(crate) struct RoundEnd {
    pub(crate) vol: usize,
    pub(crate) sequence: u64,
    pub(crate) low: u64,
    pub(crate) flags: u16,
    pub(crate) acks: Vec<Ack>,
    pub(crate) starts: Vec<(Slot, i64)>,
    pub(crate) extents: Vec<WrittenExtent>,
}

/// A round being put together.
#[derive(Debug)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    pub(super) limit: usize,
    pub(super) restated: Vec<Slot>,
    writes: Vec<Op>,
    /// At a stop: nothing is left to say after it.
    is_last: bool,
    /// Bulk in bytes that a partition may put between two of its full states: a start reads it.
    lag_max: u64,
    end: RoundEnd,
}

/// Whether there was room for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Taken,
    Full,
    /// It has to wait for its segment file.
    Waits,
}

impl Store {
    /// Writes the next round of a journal if it is free and something waits.
    pub(crate) fn begin_round(&mut self, v: usize, now: Now, fx: &mut Fx) {
        if !self.vols[v].journal.can_write() || self.vols[v].drafting {
            return;
        }
        if self.vols[v].journal.opening && !self.vols[v].journal.entered {
            if !self.enter_next(v, false, fx) {
                self.prepare_file(v, fx);
                return;
            }
            self.vols[v].journal.entered = true;
        }
        if !self.has_work(v, now, fx) {
            return;
        }
        if self.vols[v].journal.is_full() && !self.enter_next(v, false, fx) {
            self.prepare_file(v, fx);
            return;
        }
        // What a round takes is not in the list any more when the step ends.
        self.report_memory(v, fx);
        let mut draft = Draft::new(v, &self.vols[v].journal, self.recent_lag);
        // What is asked of partitions meanwhile must not begin another round.
        self.vols[v].drafting = true;
        let Some(mends) = self.draft_failed(v, &mut draft, fx) else {
            self.vols[v].drafting = false;
            return;
        };
        self.draft_states(v, &mut draft, now, fx);
        let journal = &self.vols[v].journal;
        if !(mends || journal.opening || journal.low_is_due()) && self.is_eager(v, now, fx) {
            self.draft_news(v, &mut draft, now, fx);
        }
        if self.vols[v].stop_round {
            draft.is_last = self.draft_last_states(v, &mut draft);
        }
        self.vols[v].drafting = false;
        // A last round with a bad extent is dropped whole, and then the rounds below its low mark
        // are needed again: the mark rises only in a round that cannot be dropped.
        let low = if draft.end.extents.is_empty() || armed(Canary::LowWithExtents) {
            self.vols[v].journal.low_with(&draft.restated)
        } else {
            self.vols[v].journal.low
        };
        let said = draft.bytes.len() > ROUND_HEADER_LEN;
        let raises = low > self.vols[v].journal.low;
        let vol = &self.vols[v];
        if said || raises || mends || vol.closing || vol.stop_round || vol.journal.opening {
            self.write_round(v, draft, low, fx);
        }
    }

    fn has_work(&mut self, v: usize, now: Now, fx: &mut Fx) -> bool {
        let eager = self.is_eager(v, now, fx);
        let vol = &self.vols[v];
        let carries = vol
            .journal
            .carry
            .as_ref()
            .is_some_and(|carry| !carry.pending.is_empty());
        let news = eager && !vol.dirty.is_empty() && !vol.journal.opening;
        let mends = !vol.failed.is_empty();
        let restates = carries || mends || vol.journal.opening || vol.journal.low_is_due();
        news || restates || vol.closing || vol.stop_round
    }

    /// Whether the news, if there are any, are to be written now. What nobody waits for gathers.
    fn is_eager(&mut self, v: usize, now: Now, fx: &mut Fx) -> bool {
        let vol = &mut self.vols[v];
        if vol.eager || self.stopping || vol.dirty.is_empty() {
            return true;
        }
        let later = || now.mono.after_ms(GATHER_MS);
        let due = *vol.round_due.get_or_insert_with(later);
        fx.wake(due);
        due <= now.mono
    }

    /// Goes on in the next file, if there is one, and has the one after it made at once.
    fn enter_next(&mut self, v: usize, need: bool, fx: &mut Fx) -> bool {
        let logs = &self.logs;
        let residents = self.vols[v].residents.iter().copied().filter(|slot| {
            let Some(log) = logs.get(slot.0 as usize).and_then(Option::as_ref) else {
                return false;
            };
            !(armed(Canary::CarryOnlyNonEmptyTails) && log.tail_is_empty())
        });
        let residents: Vec<Slot> = residents.collect();
        let journal = &mut self.vols[v].journal;
        let entered = journal.enter_next(residents.into_iter(), need);
        if entered {
            self.prepare_file(v, fx);
        }
        entered
    }

    /// Full states of the partitions with a bad extent in the round before: then recovery needs
    /// that extent no more. It checks no round but the last, so this is the very next one, and it
    /// brings no extents of its own, which might get it dropped. Whether there is something to
    /// mend; `None` when there can be no round now.
    fn draft_failed(&mut self, v: usize, draft: &mut Draft, fx: &mut Fx) -> Option<bool> {
        let failed = std::mem::take(&mut self.vols[v].failed);
        if failed.is_empty() || self.states_of(&failed, draft) {
            return Some(!failed.is_empty());
        }
        let journal = &self.vols[v].journal;
        if journal.at == 0 {
            let why = "partitions whose medium failed hold too much to be restated";
            self.break_journal(v, why, fx);
            return None;
        }
        // Another file has more room.
        self.vols[v].failed.clone_from(&failed);
        if !self.enter_next(v, true, fx) {
            self.prepare_file(v, fx);
            return None;
        }
        *draft = Draft::new(v, &self.vols[v].journal, self.recent_lag);
        self.draft_failed(v, draft, fx)
    }

    /// Adds full states of all these partitions, or says `false` when they do not fit.
    fn states_of(&mut self, slots: &[Slot], draft: &mut Draft) -> bool {
        slots.iter().all(|slot| {
            let log = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut);
            log.is_none_or(|log| draft.state(*slot, log, draft.limit))
        })
    }

    /// What the partitions of the journal have to say, as long as there is room.
    fn draft_news(&mut self, v: usize, draft: &mut Draft, now: Now, fx: &mut Fx) {
        let bulk_min = self.vols[v].journal.bulk_min();
        let (mut waiting, mut later) = (Vec::new(), Vec::new());
        while let Some(slot) = self.vols[v].dirty.pop_front() {
            if self.must_settle_first(v, slot) {
                later.push(slot);
                continue;
            }
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                continue;
            };
            if log.deleted || log.fenced.is_some() {
                log.dirty = false;
                continue;
            }
            let resident = log.state_round != 0;
            let mut fit = Fit::Full;
            if self.vols[v]
                .journal
                .has_room_for_news(draft.bytes.len() as u64 + 2 * bulk_min)
            {
                fit = draft.news(slot, log, bulk_min);
            }
            if !resident && log.state_round != 0 {
                self.vols[v].residents.insert(slot);
                self.vols[v].journal.residents += 1;
            }
            match fit {
                Fit::Taken => log.dirty = false,
                Fit::Full => {
                    self.vols[v].dirty.push_front(slot);
                    break;
                }
                Fit::Waits => {
                    waiting.push(slot);
                    self.pump(slot, now, fx);
                }
            }
        }
        self.prepare_file(v, fx);
        let vol = &mut self.vols[v];
        vol.dirty.extend(later);
        (vol.eager, vol.round_due) = (!vol.dirty.is_empty(), None);
        for slot in waiting {
            if let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) {
                log.dirty = false;
                log.blocked = true;
            }
        }
    }

    /// Full states of the partitions whose segments the next start would have to read otherwise;
    /// `false` when there are more than one round takes.
    fn draft_last_states(&mut self, v: usize, draft: &mut Draft) -> bool {
        let residents: Vec<Slot> = self.vols[v].residents.iter().copied().collect();
        residents.into_iter().all(|slot| {
            let log = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut);
            let log = log.filter(|log| log.bulk_since_state > 0 && log.fenced.is_none());
            log.is_none_or(|log| !log.is_settled() || draft.state(slot, log, draft.limit))
        })
    }

    fn write_round(&mut self, v: usize, mut draft: Draft, low: u64, fx: &mut Fx) {
        let ends = self.vols[v].journal.opening && self.ends_opening(v, &draft.restated);
        let vol = &mut self.vols[v];
        let mut flags = 0;
        if vol.journal.opening {
            flags |= OPENING | if ends { OPENING_END } else { 0 };
        }
        if vol.stop_round && draft.is_last {
            flags |= CLEAN;
        }
        vol.journal.header(flags, low).seal(&mut draft.bytes);
        if let Some(carry) = &mut vol.journal.carry {
            draft.restated.iter().for_each(|slot| {
                carry.pending.remove(slot);
            });
        }
        vol.journal.unclosed = !draft.end.acks.is_empty();
        vol.flush_failed = false;
        vol.closing = false;
        let bytes = aligned(&draft.bytes);
        draft.end.low = low;
        draft.end.flags = flags;
        draft.writes.insert(0, vol.journal.place(bytes));
        let mut writes = std::mem::take(&mut draft.writes);
        let syncs = make_durable(
            &mut writes,
            &mut draft.end.extents,
            self.config.synced_writes,
        );
        let script = Script::new().then(writes).then(syncs);
        self.run(script.keep_going(), Then::Round(Box::new(draft.end)), fx);
    }

    /// A round's operations are over.
    pub(crate) fn end_round(
        &mut self,
        mut end: RoundEnd,
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        let v = end.vol;
        self.vols[v].journal.in_flight -= 1;
        if self.vols[v].journal.broken.is_some() {
            return;
        }
        if let Some(failure) = outcome.failures.iter().find(|failure| failure.index == 0) {
            self.break_journal(v, &failure.words(), fx);
            return;
        }
        // What a failed flush has lost, the next one does not tell.
        let mut first = outcome.failures.iter().filter(|failure| failure.step == 0);
        self.vols[v].flush_failed |= first.any(|failure| failure.error.kind == ErrorKind::Medium);
        let mut written = Vec::new();
        let mut failed = false;
        for (at, extent) in end.extents.drain(..).enumerate() {
            let why = extent.failure(at, outcome);
            // Without a sync of its own it relied on what the device had not lost.
            let lost = extent.durable_by == DurableBy::Journal && self.vols[v].flush_failed;
            let why = why.or_else(|| lost.then(|| "a flush has failed meanwhile".to_owned()));
            failed |= why.is_some();
            match why {
                Some(why) => self.end_extent(&extent, Some(why), fx),
                None => written.push(extent),
            }
        }
        for extent in written {
            self.end_extent(&extent, None, fx);
        }
        let mut ends = std::mem::take(&mut self.vols[v].held);
        ends.push(end);
        if failed {
            // A last round with a bad extent is dropped whole by recovery: nobody in it may rely on
            // it before the next one, which restates the partitions that failed, is durable.
            self.vols[v].held = ends;
        } else {
            for end in ends {
                self.committed(&end, now, fx);
            }
        }
        self.begin_round(v, now, fx);
    }

    /// A round is durable, and will be found whole.
    fn committed(&mut self, end: &RoundEnd, now: Now, fx: &mut Fx) {
        let v = end.vol;
        self.vols[v].journal.raise_low(end.low);
        for (slot, log_start) in &end.starts {
            self.log_start_durable(*slot, *log_start, now, fx);
        }
        for ack in &end.acks {
            let slot = ack.slot;
            let Some(log) = self.log_mut(slot) else {
                continue;
            };
            if !log.extent_failed {
                log.committed_end = log.committed_end.max(ack.end);
                log.committed_at = ack.at;
            }
            if log.fenced.is_none() && ack.end > log.durable_end {
                log.durable_end = ack.end;
                let end_offset = ack.end;
                fx.events.push(Event::Durable { slot, end_offset });
            }
            self.trim_recent(slot);
            self.save_derived(slot, Occasion::Round, fx);
            self.retire(slot, fx);
            self.pump(slot, now, fx);
        }
        if !end.acks.is_empty() {
            self.close_later(v, now, fx);
        }
        if end.flags & OPENING_END != 0 {
            self.opened(v, now, fx);
        }
        if end.flags & CLEAN != 0 {
            self.vol_stopped(v);
        }
    }

    fn end_extent(&mut self, extent: &WrittenExtent, why: Option<String>, fx: &mut Fx) {
        let Some(log) = self.log_mut(extent.slot) else {
            return;
        };
        log.busy -= 1;
        let vol = log.vol;
        match why {
            Some(why) => {
                log.extent_failed = true;
                let failed = &mut self.vols[vol].failed;
                if !failed.contains(&extent.slot) {
                    failed.push(extent.slot);
                }
                self.fence(extent.slot, &why, fx);
            }
            // Nothing of the round counts for a partition that failed in it: what is durable must
            // not end behind what it is restated with.
            None if log.extent_failed => {}
            None => {
                if let Some(segment) = log.segment_mut(extent.base) {
                    segment.end_write(extent.from);
                }
            }
        }
    }
}

impl Draft {
    fn new(vol: usize, journal: &crate::journal::Journal, lag_max: u64) -> Self {
        Self {
            bytes: vec![0; ROUND_HEADER_LEN],
            limit: journal.round_max().min(journal.room()) as usize,
            restated: Vec::new(),
            writes: Vec::new(),
            is_last: false,
            lag_max,
            end: RoundEnd {
                vol,
                sequence: journal.sequence,
                ..RoundEnd::default()
            },
        }
    }

    /// Adds a full state if it fits below `limit`.
    pub(super) fn state(&mut self, slot: Slot, log: &mut Log, limit: usize) -> bool {
        let before = self.bytes.len();
        if let Some(why) = &log.damaged {
            Entry::Fence {
                id: log.id,
                why: Bytes::copy_from_slice(why.as_bytes()),
            }
            .encode(&mut self.bytes);
        } else if armed(Canary::RestateWithoutDestage) {
            let (at, end, end_offset) = log.named();
            log.full_state(at, (end, end_offset))
                .encode(&mut self.bytes);
        } else if log.can_be_restated(limit.saturating_sub(before)) {
            log.restatement(&mut self.bytes);
        } else {
            return false;
        }
        if self.bytes.len() > limit {
            self.bytes.truncate(before);
            return false;
        }
        log.state_round = self.end.sequence;
        log.bulk_since_state = 0;
        self.restated.push(slot);
        true
    }

    /// Adds what the partition has to say.
    fn news(&mut self, slot: Slot, log: &mut Log, bulk_min: u64) -> Fit {
        let needs_state =
            log.state_round == 0 || (log.bulk_since_state > self.lag_max && log.is_settled());
        if needs_state && !self.restated.contains(&slot) && !self.state(slot, log, self.limit) {
            return Fit::Full;
        }
        if log.start_pending {
            if self.bytes.len() + ENTRY_HEAD_MAX > self.limit {
                return Fit::Full;
            }
            log.start_pending = false;
            log.log_start_named = log.log_start;
            Entry::Start {
                id: log.id,
                log_start: log.log_start,
            }
            .encode(&mut self.bytes);
            self.end.starts.push((slot, log.log_start));
        }
        let mut at = log.journaled_segment();
        loop {
            match self.segment_news(slot, log, at, bulk_min) {
                Fit::Taken => {}
                fit => {
                    self.acknowledge(slot, log);
                    return fit;
                }
            }
            at += 1;
            if at >= log.segments.len() {
                break;
            }
        }
        self.acknowledge(slot, log);
        Fit::Taken
    }

    fn acknowledge(&mut self, slot: Slot, log: &Log) {
        let segment = &log.segments[log.journaled_segment()];
        let at = (segment.base, segment.journaled);
        if log.journaled_end > log.committed_end || at != log.committed_at {
            self.end.acks.push(Ack {
                slot,
                end: log.journaled_end,
                at,
            });
        }
    }

    fn segment_news(&mut self, slot: Slot, log: &mut Log, at: usize, bulk_min: u64) -> Fit {
        let id = log.id;
        let end_offset = log.end_of_segment(at);
        let next = log.segments.get(at + 1).map(|next| next.base);
        let segment = &mut log.segments[at];
        let (base, from) = (segment.base, segment.journaled);
        let news = segment.end - from;
        let mut crumb_from = from;
        if news >= bulk_min {
            if self.bytes.len() + 4096 + 2 * ENTRY_HEAD_MAX > self.limit {
                return Fit::Full;
            }
            let to = block_floor(segment.end);
            let File::Open(file) = segment.file else {
                return Fit::Waits;
            };
            if segment.allocated < to {
                return Fit::Waits;
            }
            let durable_by = DurableBy::of(to <= segment.converted);
            let (pos, parts, crc) = segment.begin_write(to);
            self.writes.push(Op::Write {
                file,
                pos,
                parts,
                sync: false,
            });
            self.end.extents.push(WrittenExtent {
                slot,
                base,
                from: pos,
                durable_by,
            });
            Entry::Extent {
                id,
                base,
                pos,
                len: to - pos,
                crc,
                end_offset,
            }
            .encode(&mut self.bytes);
            crumb_from = to;
            log.bulk_since_state += to - pos;
            log.busy += 1;
        } else if self.bytes.len() + news as usize + 2 * ENTRY_HEAD_MAX > self.limit {
            return Fit::Full;
        }
        let segment = &mut log.segments[at];
        if crumb_from < segment.end {
            let parts = segment.tail.slice(crumb_from, segment.end);
            put_crumb(&mut self.bytes, &id, base, crumb_from, end_offset, &parts);
        }
        segment.journaled = segment.end;
        if let Some(next) = next
            && !segment.roll_journaled
        {
            segment.roll_journaled = true;
            Entry::Roll {
                id,
                ended: segment.ended(),
                base: next,
            }
            .encode(&mut self.bytes);
        }
        log.journaled_end = end_offset;
        Fit::Taken
    }
}

impl Log {
    /// The offset behind the last record of a segment.
    pub(crate) fn end_of_segment(&self, at: usize) -> i64 {
        self.segments.get(at + 1).map_or(self.end, |next| next.base)
    }

    fn tail_is_empty(&self) -> bool {
        let segment = &self.segments[self.journaled_segment()];
        segment.journaled.is_multiple_of(crate::format::BLOCK_U64)
    }

    /// The last segment of which rounds say something that counts, as a place in `segments`, and
    /// how far: position and offset.
    fn named(&self) -> (usize, u64, i64) {
        if self.extent_failed {
            // What the failed round named does not count.
            let (base, pos) = self.committed_at;
            if let Some(at) = self.segments.iter().position(|known| known.base == base) {
                return (at, pos, self.committed_end);
            }
        }
        let at = self.journaled_segment();
        (at, self.segments[at].journaled, self.journaled_end)
    }

    /// The first segment that is not complete in its file, or the one that rounds name last.
    fn first_open(&self) -> usize {
        let (last, ..) = self.named();
        let mut older = self.segments.iter().take(last);
        older.position(|segment| !segment.sealed).unwrap_or(last)
    }

    /// Whether all that [`Self::restatement`] says of segments behind the first is in memory, and
    /// what it says of tails may fit: this is asked for each round as long as it does not.
    fn can_be_restated(&self, room: usize) -> bool {
        let (first, (last, pos, _)) = (self.first_open(), self.named());
        let begin = self.segments[first].durable().pos;
        let ends = self.segments.range(first..last).map(|s| s.end - DATA_START);
        let bytes = (ends.sum::<u64>() + pos).saturating_sub(begin);
        let mut later = self.segments.range(first + 1..last.max(first) + 1);
        bytes <= room as u64 && later.all(|segment| segment.tail.start() == DATA_START)
    }

    /// Everything that recovery must know if it sees nothing older. The tail begins where the file
    /// is durable, or at the last block. A partition whose medium failed may have left several
    /// segments open: they follow, as they were first named.
    fn restatement(&self, out: &mut Vec<u8>) {
        let (last, pos, end_offset) = self.named();
        let first = self.first_open();
        let upto = |at: usize| {
            if at == last {
                (pos, end_offset)
            } else {
                (self.segments[at].end, self.end_of_segment(at))
            }
        };
        self.full_state(first, upto(first)).encode(out);
        for at in first + 1..=last {
            let (before, segment) = (&self.segments[at - 1], &self.segments[at]);
            let (id, base) = (self.id, segment.base);
            let ended = before.ended();
            Entry::Roll { id, ended, base }.encode(out);
            let (end, end_offset) = upto(at);
            if end > DATA_START {
                let parts = segment.tail.slice(DATA_START, end);
                put_crumb(out, &id, base, DATA_START, end_offset, &parts);
            }
        }
    }

    fn full_state(&self, at: usize, (end, end_offset): (u64, i64)) -> Entry {
        let segment = &self.segments[at];
        let mark = segment.durable();
        let tail = segment.tail.slice(mark.pos, end.max(mark.pos));
        Entry::State(State {
            id: self.id,
            log_start: self.log_start_named,
            before: segment.before,
            base: segment.base,
            pos: mark.pos,
            end_offset,
            piece_crc: mark.crc,
            sums_from: segment.sums_durable as u32,
            sums: segment.sums_up_to(mark),
            tail: Bytes::from(tail.concat()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block_ceil;
    use crate::format::round::{Parsed, RoundHeader, parse};
    use crate::journal::scan::{Chain, FoundRound};
    use crate::log::revive::{Revived, replay};
    use crate::types::{LogConfig, METADATA};

    const TEXTS: [&[u8]; 3] = [b"first", b"second", b"third"];

    /// A log of three segments that rounds name to their ends and whose files lack everything.
    fn three_open_segments() -> Log {
        let arena = reactor::buf::Arena::heap(1 << 20);
        let mut log = Log::new(METADATA, LogConfig::default(), 0);
        for (text, end) in TEXTS.into_iter().zip([3, 7, 9]) {
            if log.end > 0 {
                log.roll();
                let before = log.segments.len() - 2;
                log.segments[before].roll_journaled = true;
            }
            let active = log.active_mut();
            assert!(active.tail.reserve(&arena, text.len()));
            active.tail.append(text);
            active.end += text.len() as u64;
            active.journaled = active.end;
            log.end = end;
            log.journaled_end = end;
        }
        log
    }

    fn restated(log: &Log) -> Revived {
        let header = RoundHeader {
            flags: 0,
            shard: 0,
            dir_id: 1,
            sequence: 5,
            start: 1,
            low: 5,
            salt: 2,
            salt_before: 1,
        };
        let mut bytes = vec![0; ROUND_HEADER_LEN];
        assert!(log.can_be_restated(100));
        log.restatement(&mut bytes);
        header.seal(&mut bytes);
        let len = bytes.len() as u64;
        let Parsed::Round(header, entries, _) = parse(&Bytes::from(bytes), len) else {
            panic!("a round that was just sealed does not check");
        };
        let chain = Chain {
            dir: 0,
            shard: 0,
            rounds: vec![FoundRound { header, entries }],
            damaged_below: 0,
            clean: false,
        };
        replay(&[chain]).remove(&METADATA).expect("a full state")
    }

    /// The low mark passes all that the journal knew of a partition when it has been restated: a
    /// fenced one may have left several segments open, and lost the older ones so.
    #[test]
    fn every_open_segment_of_a_fenced_partition_is_restated() {
        let mut log = three_open_segments();
        assert!(!log.can_be_restated(TEXTS.concat().len() - 1));
        let revived = restated(&log);
        assert_eq!((revived.end, &revived.damaged), (9, &None));
        for ((segment, text), base) in revived.segments.iter().zip(TEXTS).zip([0, 3, 7]) {
            assert_eq!(segment.base, base);
            assert_eq!(segment.content(std::iter::empty()).as_deref(), Some(text));
            assert_eq!(segment.rolled, base < 7);
        }
        // The first one is in its file, padded to whole blocks, and only its checksums are not.
        let first = &mut log.segments[0];
        let (from, ..) = first.begin_write(block_ceil(first.end));
        first.end_write(from);
        let revived = restated(&log);
        let first = &revived.segments[0];
        assert_eq!((revived.end, revived.segments.len()), (9, 3));
        assert_eq!(
            (first.end, first.pos),
            (DATA_START + 5, block_ceil(first.end))
        );
        assert_eq!(first.content(std::iter::empty()), Some(Vec::new()));
    }

    /// What is neither in memory nor in a complete file cannot be said again: the journal keeps it.
    #[test]
    fn an_open_segment_that_left_memory_is_not_restated() {
        let mut log = three_open_segments();
        let second = &mut log.segments[1];
        let (from, ..) = second.begin_write(block_ceil(second.end));
        second.end_write(from);
        second.tail.release(second.durable().pos, 0);
        assert!(!log.can_be_restated(100));
        log.segments[0].sealed = true;
        assert!(log.can_be_restated(100));
    }
}
