//! Memory that a shard's connections hold together: requests that are coming in or are carried
//! out, replies that their peers have not taken.
//!
//! One connection is bounded by its own machine. That is not enough against many of them, so when
//! all together hold too much, large requests come in one after the other, fetches bring one batch
//! at a time, and whoever makes no progress meanwhile is closed.

use std::collections::BTreeSet;

use reactor::op::Mono;

use crate::limits::{REQUESTS_BYTES_MAX, TURN_MS_MAX};

/// How often those that make no progress are looked for while memory is short, in ms.
const CHECK_MS: u64 = 1_000;

/// What one connection holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) requests: usize,
    pub(super) replies: usize,
}

#[derive(Debug)]
pub(super) struct Budget {
    held: Held,
    replies_max: usize,
    /// Appends wait for memory that replies may hold.
    appends_wait: bool,
    /// Connections that are received from no further for now.
    squeezed: BTreeSet<u64>,
    /// The one whose large request comes in although memory is short, and until when.
    turn: Option<(u64, Mono)>,
    check_at: Option<Mono>,
}

impl Budget {
    pub(super) fn new(replies_max: usize) -> Self {
        Self {
            held: Held::default(),
            replies_max,
            appends_wait: false,
            squeezed: BTreeSet::new(),
            turn: None,
            check_at: None,
        }
    }

    /// A connection that held `before` holds `now`.
    pub(super) const fn change(&mut self, before: Held, now: Held) {
        self.held.requests = self.held.requests + now.requests - before.requests;
        self.held.replies = self.held.replies + now.replies - before.replies;
    }

    /// Whether requests hold too much together.
    pub(super) const fn has_too_many_requests(&self) -> bool {
        self.held.requests > REQUESTS_BYTES_MAX
    }

    /// Whether replies hold too much together, or what appends need.
    pub(super) const fn has_too_many_replies(&self) -> bool {
        self.held.replies > self.replies_max || self.appends_wait
    }

    /// Bytes that further replies may hold.
    pub(super) const fn room_for_replies(&self) -> usize {
        self.replies_max.saturating_sub(self.held.replies)
    }

    /// Whether a connection with a large request must wait for its turn.
    pub(super) fn squeezes(&mut self, id: u64) -> bool {
        let squeezed = self.has_too_many_requests() && self.turn.is_none_or(|(turn, _)| turn != id);
        if squeezed {
            self.squeezed.insert(id);
        } else {
            self.squeezed.remove(&id);
        }
        squeezed
    }

    /// The connection is gone, or its large request has been answered.
    pub(super) fn forget(&mut self, id: u64) {
        self.squeezed.remove(&id);
        self.turn.take_if(|(turn, _)| *turn == id);
    }

    /// Connections to receive from again: all of them, or the next one whose turn it is.
    pub(super) fn released(&mut self, now: Mono) -> Vec<u64> {
        if !self.has_too_many_requests() {
            self.turn = None;
            return std::mem::take(&mut self.squeezed).into_iter().collect();
        }
        if self.turn.is_some() {
            return Vec::new();
        }
        let next = self.squeezed.pop_first();
        self.turn = next.map(|id| (id, now.after_ms(TURN_MS_MAX)));
        next.into_iter().collect()
    }

    /// The connection whose turn has lasted too long.
    pub(super) fn overdue(&self, now: Mono) -> Option<u64> {
        self.turn
            .filter(|(_, until)| *until <= now)
            .map(|(id, _)| id)
    }

    /// Whether it is time to look for those that make no progress.
    pub(super) fn must_check(&mut self, appends_wait: bool, now: Mono) -> bool {
        self.appends_wait = appends_wait;
        if !self.has_too_many_requests() && !self.has_too_many_replies() {
            self.check_at = None;
            return false;
        }
        let due = self.check_at.is_some_and(|at| at <= now);
        if due || self.check_at.is_none() {
            self.check_at = Some(now.after_ms(CHECK_MS));
        }
        due
    }

    pub(super) const fn wake_at(&self) -> Option<Mono> {
        self.check_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Held = Held {
        requests: REQUESTS_BYTES_MAX / 2 + 1,
        replies: 0,
    };

    #[test]
    fn large_requests_come_in_one_after_the_other_while_memory_is_short() {
        let mut budget = Budget::new(100);
        budget.change(Held::default(), LARGE);
        assert!(!budget.squeezes(1) && budget.released(Mono(0)).is_empty());
        budget.change(Held::default(), LARGE);
        assert!(budget.squeezes(1) && budget.squeezes(2) && budget.squeezes(3));
        assert_eq!(budget.released(Mono(0)), [1]);
        assert!(!budget.squeezes(1) && budget.squeezes(2));
        assert_eq!(budget.released(Mono(0)), [0; 0], "one at a time");
        assert_eq!(budget.overdue(Mono(0)), None);
        assert_eq!(budget.overdue(Mono(0).after_ms(TURN_MS_MAX)), Some(1));
        budget.forget(1);
        assert_eq!(budget.released(Mono(0)), [2]);
        budget.change(LARGE, Held::default());
        assert_eq!(budget.released(Mono(0)), [3], "there is room for all");
    }

    #[test]
    fn it_looks_for_those_that_make_no_progress_only_while_memory_is_short() {
        let mut budget = Budget::new(100);
        let (second, later) = (Mono(0).after_ms(CHECK_MS), Mono(0).after_ms(CHECK_MS * 2));
        assert!(!budget.must_check(false, Mono(0)) && budget.wake_at().is_none());
        let replies = Held {
            requests: 0,
            replies: 101,
        };
        budget.change(Held::default(), replies);
        assert_eq!(budget.room_for_replies(), 0);
        assert!(!budget.must_check(false, Mono(0)), "not at once");
        assert_eq!(budget.wake_at(), Some(second));
        assert!(budget.must_check(false, second));
        assert!(!budget.must_check(false, second));
        budget.change(replies, Held::default());
        assert!(!budget.must_check(false, later) && budget.wake_at().is_none());
        budget.must_check(true, later);
        assert!(budget.has_too_many_replies() && budget.wake_at().is_some());
    }
}
