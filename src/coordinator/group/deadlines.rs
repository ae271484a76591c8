//! Deadlines on the monotonic clock: setting, cancelling and taking the next are O(log n).

use reactor::op::Mono;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A deadline's identity, kept by whoever set it.
pub(super) type Alarm = (Mono, u64);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A member's session, or a pending member's permission to join, is over.
    Session {
        partition: i32,
        group: Arc<str>,
        member: Arc<str>,
    },
    /// A rebalance must end its join phase.
    Join { partition: i32, group: Arc<str> },
    /// The initial delay of an empty group is over. Times are what is left of it, in milliseconds.
    InitialJoin {
        partition: i32,
        group: Arc<str>,
        delay_ms: u64,
        remaining_ms: u64,
    },
    /// Every member of a generation must have asked for its assignment by now.
    Sync {
        partition: i32,
        group: Arc<str>,
        generation: i32,
    },
    /// Offsets are looked through for old ones.
    Retention { partition: i32 },
}

#[derive(Debug)]
pub(super) struct Deadlines {
    due: BTreeMap<Alarm, Due>,
    serial: u64,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Sets the alarm in `slot`, in place of the one it held.
    pub(super) fn set(&mut self, slot: &mut Option<Alarm>, at: Mono, due: Due) {
        self.cancel(slot);
        self.serial += 1;
        let alarm = (at, self.serial);
        self.due.insert(alarm, due);
        *slot = Some(alarm);
    }

    pub(super) fn cancel(&mut self, slot: &mut Option<Alarm>) {
        if let Some(alarm) = slot.take() {
            self.due.remove(&alarm);
        }
    }

    /// Parts the deadlines set so far from those set later.
    pub(super) const fn mark(&self) -> u64 {
        self.serial
    }

    /// The earliest deadline that has come and was set before `mark`, taken out. One that is set
    /// for no later than now waits for the next look: others get their turn in between.
    pub(super) fn next_due(&mut self, now: Mono, mark: u64) -> Option<(Alarm, Due)> {
        let come = self.due.range(..=(now, u64::MAX));
        let (alarm, _) = come.into_iter().find(|((_, serial), _)| *serial <= mark)?;
        self.due.remove_entry(&{ *alarm })
    }

    pub(super) fn wake_at(&self) -> Option<Mono> {
        self.due.first_key_value().map(|(alarm, _)| alarm.0)
    }
}
