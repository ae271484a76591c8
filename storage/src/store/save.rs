//! Saving what is derived from a partition's batches, so that a start need not read them again.
//!
//! There are two files of a kind. The *checkpoint* is durable, and dear: two flushes. The *recent*
//! one is only written, often and over itself: it outlives a process that is killed, and when the
//! power goes, what is left of it is told from a whole one by its checksum. A start takes the newer
//! one that is whole. Neither has to be right for the log to be: both are only where its replay
//! begins.

use super::api::Fx;
use super::script::{OPENED, Outcome, Script};
use super::{Store, Then};
use crate::canary::{Canary, armed};
use crate::format::names;
use crate::log::Log;
use crate::log::checkpoint::{Checkpoint, Snapshot};
use crate::log::segment::File;
use crate::types::{Slot, StoreConfig};
use bytes::Bytes;
use reactor::op::{Now, Op, OpenMode};
use std::path::PathBuf;

/// The recent file is never written for less than this share of what a durable one is for: where
/// there are very many partitions, making so many files costs more than it saves.
const RECENT_SHARE: u64 = 4;

/// Nor for less than so many times its own length.
const RECENT_WEIGHT: u64 = 8;

/// When nothing is appended to a partition any more, or the store stops, this share is enough.
const IDLE_SHARE: u64 = 256;

/// So many of those at once.
const IDLE_SAVES_MAX: usize = 64;

/// Why a partition is looked at.
#[derive(Clone, Copy)]
pub(super) enum Occasion {
    /// A round is durable.
    Round,
    /// Nothing was appended to it for a while.
    Idle,
    /// Everything is in its place, and the store is about to stop.
    Stop,
}

/// Bytes that a partition may lag behind when `warm` of them are appended to.
pub(super) fn recent_lag(config: &StoreConfig, warm: usize) -> u64 {
    let each = config.replay_bytes / warm.max(1) as u64;
    each.clamp(
        config.checkpoint_bytes / RECENT_SHARE,
        config.checkpoint_bytes,
    )
}

impl Store {
    /// Saves what is derived from the batches when much was appended since the last time, as soon
    /// as all that it rests on is durable.
    pub(super) fn save_derived(&mut self, slot: Slot, occasion: Occasion, fx: &mut Fx) {
        let durable_lag = self.config.checkpoint_bytes;
        let idle_lag = durable_lag / IDLE_SHARE;
        let recent_lag = self.recent_lag;
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let lag = &mut log.lag;
        let (durable, recent) = match occasion {
            Occasion::Round => (
                lag.durable >= durable_lag,
                lag.recent >= recent_lag.max(lag.saved_bytes * RECENT_WEIGHT),
            ),
            Occasion::Idle => (false, lag.recent >= idle_lag),
            Occasion::Stop => {
                lag.snapshot = None;
                (lag.durable >= idle_lag, false)
            }
        };
        if lag.snapshot.is_none() && (durable || recent) {
            lag.recent = 0;
            if durable {
                lag.durable = 0;
            }
            log.lag.snapshot = Checkpoint::of(log).map(|bytes| Snapshot {
                end: log.end,
                bytes,
                durable,
            });
        }
        self.save_snapshot(slot, fx);
    }

    /// Writes the snapshot that waits, if all that it rests on is durable.
    fn save_snapshot(&mut self, slot: Slot, fx: &mut Fx) {
        let log = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut);
        let Some(log) = log.filter(|log| log.lag.snapshot.is_some()) else {
            return;
        };
        let on_disk = log
            .segments
            .iter()
            .any(|segment| segment.file != File::Absent);
        let committed = if armed(Canary::SaveBeforeCommit) {
            log.end
        } else {
            log.committed_end
        };
        let may = on_disk && !log.lag.saving && !log.deleted;
        let due = log.lag.snapshot.take_if(|of| may && of.end <= committed);
        let Some(of) = due else {
            return;
        };
        log.lag.saved_bytes = of.bytes.len() as u64;
        log.lag.saving = true;
        let dir = &self.vols[log.vol].dir;
        let script = if of.durable {
            Script::replace(names::checkpoint(dir, &log.id), of.bytes)
        } else {
            write_over(names::recent(dir, &log.id), of.bytes)
        };
        self.run(script, Then::Saved(slot), fx);
    }

    /// That it failed changes nothing for the partition: a start replays more. But what a failed
    /// flush has lost of others, the next one does not tell.
    pub(super) fn saved(&mut self, slot: Slot, outcome: &Outcome, now: Now, fx: &mut Fx) {
        let log = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut);
        let Some(log) = log else {
            return;
        };
        log.lag.saving = false;
        self.vols[log.vol].flush_failed |= outcome.has_lost_a_flush();
        self.save_snapshot(slot, fx);
        self.pump(slot, now, fx);
    }

    /// Saves some of the partitions that are not appended to any more: those that were cold at the
    /// last look.
    pub(super) fn save_idle(&mut self, fx: &mut Fx) {
        let idle_lag = self.config.checkpoint_bytes / IDLE_SHARE;
        let lags = |log: &Log| !log.warm && log.lag.recent >= idle_lag && log.may_be_saved();
        let idle: Vec<Slot> = (0u32..)
            .zip(&self.logs)
            .filter(|(_, log)| log.as_ref().is_some_and(lags))
            .map(|(at, _)| Slot(at))
            .take(IDLE_SAVES_MAX)
            .collect();
        for slot in idle {
            self.save_derived(slot, Occasion::Idle, fx);
        }
    }
}

impl Log {
    /// Whether a snapshot taken now could be written at once.
    fn may_be_saved(&self) -> bool {
        let idle = self.lag.snapshot.is_none() && !self.lag.saving;
        let sound = self.fenced.is_none() && self.damaged.is_none() && !self.deleted;
        idle && sound && self.committed_end == self.end
    }
}

/// Writes a small file over what it held before, in one piece and not synced.
fn write_over(path: PathBuf, content: Vec<u8>) -> Script {
    Script::new()
        .then(vec![Op::Open {
            path,
            mode: OpenMode::Create,
            direct: false,
        }])
        .then(vec![Op::Write {
            file: OPENED,
            pos: 0,
            parts: vec![Bytes::from(content)],
            sync: false,
        }])
        .then(vec![Op::Close { file: OPENED }])
}
