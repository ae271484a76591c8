//! What a round writes, and what makes it durable.

use super::script::Outcome;
use crate::canary::{Canary, armed};
use crate::types::Slot;
use reactor::op::Op;

/// So many extents over written space are synced each by itself; more share one flush.
const OWN_SYNCS_MAX: usize = 2;

/// What makes an extent durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurableBy {
    /// Its own write.
    Write,
    /// The sync of its file, at this place in the script's second step.
    Sync(usize),
    /// The flush of the device that the sync of the journal is.
    Journal,
}

impl DurableBy {
    /// What is not converted is made durable by a sync of its own file only.
    pub(crate) const fn of(converted: bool) -> Self {
        if converted {
            Self::Journal
        } else {
            Self::Write
        }
    }
}

/// An extent that a round wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenExtent {
    pub(crate) slot: Slot,
    pub(crate) base: i64,
    pub(crate) from: u64,
    pub(crate) durable_by: DurableBy,
}

impl WrittenExtent {
    /// Why the extent, the round's one number `at`, is not durable by what it did itself.
    pub(crate) fn failure(&self, at: usize, outcome: &Outcome) -> Option<String> {
        let mut failures = outcome.failures.iter();
        let failure = failures.find(|failure| match failure.step {
            0 => failure.index == at + 1,
            _ => self.durable_by == DurableBy::Sync(failure.index),
        });
        failure.map(super::script::Failure::words)
    }
}

/// Marks those of a round's writes (the journal's, then one an extent) that are to be durable by
/// themselves, and gives the syncs that have to follow, the journal's first. One step saves a wait
/// and a wake-up; but many extents over written space are served better by one flush behind them.
pub(crate) fn make_durable(
    writes: &mut [Op],
    extents: &mut [WrittenExtent],
    synced_writes: bool,
) -> Vec<Op> {
    let shared = |extent: &&WrittenExtent| extent.durable_by == DurableBy::Journal;
    let shared = extents.iter().filter(shared).count();
    let journal_only = armed(Canary::FlushJournalOnly);
    let flushes = !synced_writes || shared > OWN_SYNCS_MAX || journal_only;
    let mut syncs = Vec::new();
    for (at, write) in writes.iter_mut().enumerate() {
        let Op::Write { file, sync, .. } = write else {
            continue;
        };
        let Some(by) = at.checked_sub(1).map(|at| &mut extents[at].durable_by) else {
            *sync = !flushes;
            syncs.extend(flushes.then_some(Op::Sync { file: *file }));
            continue;
        };
        if journal_only || (*by == DurableBy::Journal && flushes) {
            continue;
        }
        *sync = synced_writes;
        *by = DurableBy::Write;
        if !synced_writes {
            *by = DurableBy::Sync(syncs.len());
            syncs.push(Op::Sync { file: *file });
        }
    }
    if armed(Canary::AckBeforeFlush) {
        for write in writes {
            if let Op::Write { sync, .. } = write {
                *sync = false;
            }
        }
        syncs.clear();
    }
    syncs
}
