//! The carry: every partition of a journal is restated behind the beginning of a new file, so that
//! the files before it become free. It goes on beside the news, a few partitions at a time.

use super::Store;
use super::api::Fx;
use super::round::Draft;
use crate::canary::{Canary, armed};
use crate::format::round::ROUND_HEADER_LEN;
use crate::journal::Journal;
use crate::types::Slot;
use reactor::op::Now;
use std::ops::Bound::{Excluded, Unbounded};

/// Bytes of full states that one round carries at most beside news.
const CARRIED_BYTES_MAX: usize = 256 * 1024;

/// Partitions that destage at a time for the sake of a carry: each may make a file and sync three
/// directories, and the rounds wait behind all of that. More of them as the journal fills.
const SETTLING_MIN: u64 = 4;
const SETTLING_MAX: u64 = 256;

impl Store {
    /// Full states of the carry that can be written now; the next of the others are asked to
    /// destage.
    pub(super) fn draft_states(&mut self, v: usize, draft: &mut Draft, now: Now, fx: &mut Fx) {
        let settling_max = self.vols[v].journal.settling_max();
        let limit = draft.limit.min(CARRIED_BYTES_MAX + ROUND_HEADER_LEN);
        let mut settling = 0;
        let mut from = Unbounded;
        while settling < settling_max {
            let carry = self.vols[v].journal.carry.as_ref();
            let next = carry.and_then(|carry| carry.pending.range((from, Unbounded)).next());
            let Some(&slot) = next else {
                return;
            };
            from = Excluded(slot);
            if draft.restated.contains(&slot) {
                continue;
            }
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                continue;
            };
            if !log.is_settled() && log.fenced.is_none() && !armed(Canary::RestateWithoutDestage) {
                settling += 1;
                if !log.urgent {
                    log.urgent = true;
                    self.pump(slot, now, fx);
                }
                continue;
            }
            // One that does not fit beside others gets a round of its own.
            let alone = draft.restated.is_empty();
            if !draft.state(slot, log, if alone { draft.limit } else { limit }) {
                if log.fenced.is_some() {
                    continue;
                }
                break;
            }
        }
    }

    /// Whether the news of a partition wait until it has been restated: one that has news in every
    /// round would never be without blocks that are on their way to its segment. Only when the
    /// carry is late, and as long as they are on their way.
    pub(super) fn must_settle_first(&self, v: usize, slot: Slot) -> bool {
        let vol = &self.vols[v];
        let carry = vol.journal.carry.as_ref();
        let carried = carry.is_some_and(|carry| carry.pending.contains(&slot));
        if !carried || !vol.journal.carry_is_late() || vol.full.is_some() {
            return false;
        }
        self.log(slot)
            .is_some_and(|log| log.urgent && log.busy > 0 && !log.is_settled())
    }
}

impl Journal {
    /// Whether the carry has come into a file behind the one that it began in.
    fn carry_is_over_one_file(&self) -> bool {
        let first = self.carry.as_ref().map_or(u64::MAX, |carry| carry.first);
        self.chain.back().is_some_and(|last| last.first > first)
    }

    /// Whether that is so, or the file is half full.
    fn carry_is_late(&self) -> bool {
        let len = self.chain.back().map_or(0, |last| last.len);
        self.carry_is_over_one_file() || 2 * self.room() < len
    }

    /// How many partitions may destage at a time so that the carry is over before the file is full.
    /// All of them in an opening, which nothing waits behind.
    fn settling_max(&self) -> u64 {
        if self.opening {
            return u64::MAX;
        }
        if self.carry_is_over_one_file() {
            return SETTLING_MAX;
        }
        let len = self.chain.back().map_or(0, |last| last.len);
        (SETTLING_MIN * len / self.room().max(1)).clamp(SETTLING_MIN, SETTLING_MAX)
    }
}
