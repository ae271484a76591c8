//! Reading ahead for whoever reads a partition from one end to the other: what will be asked for
//! next is read while the last answer is on its way. When the arena is crowded all of it is given
//! up, so that it never pushes a tail out.

use super::api::Fx;
use super::read::{Goal, Look, READ_AHEAD_MAX, ReadJob, Stage, disk};
use super::script::Outcome;
use super::{Store, Then};
use crate::format::PIECE;
use crate::log::rope::Rope;
use crate::log::segment::File;
use crate::types::{Slot, Ticket};
use reactor::op::Now;
use std::collections::VecDeque;

/// So many bytes behind the last answer are held or under way.
const AHEAD_BYTES: u64 = 2 << 20;
/// Readers that are read ahead for at once; each may hold [`AHEAD_BYTES`], a read more, and the
/// rest of an answer.
const READERS_MAX: usize = 16;
/// Ends of answers that are remembered, to tell a sequence from reads here and there.
const TRAILS_MAX: usize = 64;

/// Where an answer from the disk ended.
#[derive(Clone, Copy, Debug)]
struct Trail {
    slot: Slot,
    base: i64,
    next_offset: i64,
    at: u64,
}

/// What is held for one reader.
#[derive(Debug)]
struct Held {
    slot: Slot,
    base: i64,
    /// Checked, from the end of the last answer on.
    rope: Rope,
    /// The read under way, which continues `rope`, and who waits for it.
    flight: Option<(u64, Vec<ReadJob>)>,
    /// Asked for since the last look at what is idle.
    used: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Ahead {
    trails: VecDeque<Trail>,
    held: Vec<Held>,
}

/// What is known ahead of a read.
pub(crate) enum Known {
    Nothing,
    /// Bytes from before the wanted position on, and whether more of them are coming.
    Bytes(Rope, bool),
}

impl Ahead {
    /// The segment and position where the reader goes on who had the answer before `offset`.
    pub(crate) fn trail(&mut self, slot: Slot, offset: i64) -> Option<(i64, u64)> {
        let same = |trail: &Trail| trail.slot == slot && trail.next_offset == offset;
        let at = self.trails.iter().position(same)?;
        self.trails.remove(at).map(|trail| (trail.base, trail.at))
    }

    fn leave_trail(&mut self, trail: Trail) {
        if self.trails.len() == TRAILS_MAX {
            self.trails.pop_front();
        }
        self.trails.push_back(trail);
    }

    fn place(&self, slot: Slot, base: i64, at: u64) -> Option<usize> {
        self.held.iter().position(|held| {
            let reaches = at < held.rope.end() || held.flight.is_some() && at == held.rope.end();
            (held.slot, held.base) == (slot, base) && held.rope.start() <= at && reaches
        })
    }

    pub(crate) fn find(&mut self, slot: Slot, base: i64, at: u64) -> Known {
        let Some(place) = self.place(slot, base, at) else {
            return Known::Nothing;
        };
        let held = &mut self.held[place];
        held.used = true;
        Known::Bytes(held.rope.clone(), held.flight.is_some())
    }

    /// Who waits for what is under way behind `at`, if something is.
    fn waiting(&mut self, job: &ReadJob, at: u64) -> Option<&mut Vec<ReadJob>> {
        let place = self.place(job.slot, job.base, at)?;
        let flight = self.held[place].flight.as_mut();
        flight.map(|(_, waiting)| waiting)
    }

    /// Gives up what nobody has asked for since the last time.
    pub(crate) fn drop_idle(&mut self) {
        self.held.retain_mut(|held| {
            let waits = held.flight.is_some();
            std::mem::take(&mut held.used) || waits
        });
    }

    /// Gives up everything that is not under way: memory is short.
    pub(crate) fn relieve(&mut self) {
        self.held.retain_mut(|held| {
            held.rope = Rope::new(held.rope.end());
            held.flight.is_some()
        });
    }

    /// The place of what is held for the reader who goes on at `at`, made if there is room. `rope`
    /// is what was read for the last answer.
    fn hold(&mut self, job: &ReadJob, at: u64, rope: Option<Rope>) -> Option<usize> {
        let place = self.place(job.slot, job.base, at);
        let place = place.or_else(|| {
            let ends = |held: &Held| (held.slot, held.base) == (job.slot, job.base);
            let ends = |held: &Held| ends(held) && held.rope.end() == at;
            self.held.iter().position(ends)
        });
        if let Some(place) = place {
            let held = &mut self.held[place];
            held.rope = held.rope.suffix(at);
            return Some(place);
        }
        let rope = rope.filter(|rope| rope.end() >= at)?;
        // The same reader has left what he cannot come back to.
        self.held.retain(|held| {
            let left = held.base < job.base || held.rope.end() <= at;
            held.slot != job.slot || held.flight.is_some() || !left
        });
        (self.held.len() < READERS_MAX).then(|| {
            self.held.push(Held {
                slot: job.slot,
                base: job.base,
                rope: rope.suffix(at),
                flight: None,
                used: true,
            });
            self.held.len() - 1
        })
    }
}

impl Store {
    /// A reader has its answer, which ended at `at`: remembers that, and reads on if it is not the
    /// first of a sequence.
    pub(crate) fn read_on(
        &mut self,
        job: &mut ReadJob,
        (at, next_offset): (u64, i64),
        fx: &mut Fx,
    ) {
        self.ahead.leave_trail(Trail {
            slot: job.slot,
            base: job.base,
            next_offset,
            at,
        });
        let rope = job.rope.take();
        if !job.follows {
            return;
        }
        let Some(place) = self.ahead.hold(job, at, rope) else {
            return;
        };
        self.read_further(place, fx);
    }

    /// Reads what follows what is held for a reader, unless that is enough for him.
    fn read_further(&mut self, place: usize, fx: &mut Fx) {
        let held = &self.ahead.held[place];
        let (slot, base, from) = (held.slot, held.base, held.rope.end());
        let enough = from - held.rope.start() >= AHEAD_BYTES;
        if held.flight.is_some() || !from.is_multiple_of(PIECE) || enough {
            return;
        }
        let Some(log) = self.log(slot) else {
            return;
        };
        let dir = &self.vols[log.vol].dir;
        let Some(segment) = log.segments.iter().find(|segment| segment.base == base) else {
            return;
        };
        if from >= segment.tail.start().min(segment.end) {
            return;
        }
        let next = disk(dir, &log.id, segment, from, READ_AHEAD_MAX, 0);
        let Some((script, stage @ Stage::Data { .. })) = next else {
            return;
        };
        let mut job = ReadJob::new(slot, base, Ticket(0), Goal::Ahead);
        job.stage = stage;
        let number = self.number_read(&job);
        self.ahead.held[place].flight = Some((number, Vec::new()));
        self.reads.insert(number, job);
        self.run(script, Then::Read(number), fx);
    }

    /// Lets a job wait for what is being read ahead; looks again if that has just come.
    pub(crate) fn wait_for_ahead(&mut self, job: ReadJob, at: u64, now: Now, fx: &mut Fx) {
        match self.ahead.waiting(&job, at) {
            Some(waiting) => waiting.push(job),
            None => self.go_on(job, now, fx),
        }
    }

    /// What was read ahead has come, or has failed: then whoever needs it reads it himself and
    /// finds out why.
    pub(crate) fn end_ahead(
        &mut self,
        number: u64,
        job: &mut ReadJob,
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        let mine = |held: &Held| held.flight.as_ref().is_some_and(|(own, _)| *own == number);
        let place = self.ahead.held.iter().position(mine);
        let log = self.logs.get_mut(job.slot.0 as usize);
        let segment = log
            .and_then(Option::as_mut)
            .and_then(|log| log.segment_mut(job.base));
        let mut whole = false;
        if let (Some(segment), Stage::Data { from, rest }) = (segment, &mut job.stage) {
            segment.readers -= 1;
            if let Some(opened) = outcome.opened {
                segment.file = File::Open(opened.file);
            }
            let mut rope = Rope::new(*from);
            for bytes in &outcome.reads {
                rope.push(bytes.clone());
            }
            whole = outcome.failure().is_none() && segment.check(&rope);
            if let (true, Some(place)) = (whole, place) {
                let held = &mut self.ahead.held[place].rope;
                rope.slice(rope.start(), rope.end())
                    .into_iter()
                    .chain(rest.drain(..))
                    .for_each(|bytes| held.push(bytes));
            }
        }
        let flight = place.and_then(|place| self.ahead.held[place].flight.take());
        if let (false, Some(place)) = (whole, place) {
            self.ahead.held.swap_remove(place);
        }
        let place = place.filter(|_| whole);
        let end = place.map(|place| self.ahead.held[place].rope.end());
        for waiting in flight.into_iter().flat_map(|(_, waiting)| waiting) {
            self.go_on(waiting, now, fx);
        }
        let same = |held: &Held| {
            (held.slot, held.base, Some(held.rope.end())) == (job.slot, job.base, end)
        };
        // While the reader is busy with his answer, unless memory is wanted for more than that.
        let roomy = self.arena.bytes_used() <= self.arena.bytes_max() / 2;
        let place = self.ahead.held.iter().position(same);
        if let Some(place) = place.filter(|_| roomy) {
            self.read_further(place, fx);
        }
    }

    /// Looks for what a job wants, and waits for what that takes.
    pub(crate) fn go_on(&mut self, mut job: ReadJob, now: Now, fx: &mut Fx) {
        match self.look(&mut job) {
            Look::Disk(script, stage) => self.wait_for_disk(job, script, stage, fx),
            Look::Ahead(at) => self.wait_for_ahead(job, at, now, fx),
            look => self.conclude(job, look, fx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn rope(start: u64, len: usize) -> Rope {
        let mut rope = Rope::new(start);
        rope.push(Bytes::from(vec![7; len]));
        rope
    }

    fn job(slot: u32) -> ReadJob {
        ReadJob::new(Slot(slot), 0, Ticket(0), Goal::Ahead)
    }

    #[test]
    fn readers_beyond_the_bound_push_nobody_out() {
        let mut ahead = Ahead::default();
        for slot in 0..READERS_MAX as u32 {
            assert!(ahead.hold(&job(slot), 100, Some(rope(0, 200))).is_some());
        }
        assert!(ahead.hold(&job(99), 100, Some(rope(0, 200))).is_none());
        assert!(matches!(
            ahead.find(Slot(0), 0, 150),
            Known::Bytes(rope, false) if (rope.start(), rope.end()) == (100, 200)
        ));
        assert!(matches!(ahead.find(Slot(0), 0, 200), Known::Nothing));
        // All were new at the first look, and only one has been asked for since.
        ahead.drop_idle();
        ahead.find(Slot(0), 0, 150);
        ahead.drop_idle();
        assert_eq!(ahead.held.len(), 1);
        assert!(ahead.hold(&job(99), 100, Some(rope(0, 200))).is_some());
    }

    #[test]
    fn a_trail_is_found_by_who_goes_on_and_no_longer_than_the_bound() {
        let mut ahead = Ahead::default();
        for next_offset in 0..=TRAILS_MAX as i64 {
            ahead.leave_trail(Trail {
                slot: Slot(1),
                base: 0,
                next_offset,
                at: 8,
            });
        }
        assert_eq!(ahead.trail(Slot(1), 0), None);
        assert_eq!(ahead.trail(Slot(2), 1), None);
        assert_eq!(ahead.trail(Slot(1), 1), Some((0, 8)));
        assert_eq!(ahead.trail(Slot(1), 1), None);
    }
}
