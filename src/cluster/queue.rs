//! Writes on their way into the metadata log.
//!
//! A write rests on those before it, so the log must not take it when it has refused one of them.
//! It refuses some at once and some late: a smaller write finds place in a full log where a larger
//! one did not, and for memory one may have to wait. So a write that the log does not take at once
//! holds back those behind it until its fate is known.

use super::controller::Write;
use std::collections::VecDeque;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Write>,
    held_by: Option<u64>,
}

impl Queue {
    pub fn extend(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.waiting.extend(writes);
    }

    /// The write to be appended now, if there is one.
    pub fn take(&mut self) -> Option<Write> {
        if self.held_by.is_some() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// The log has not taken the write `id`, which it was just given: not yet, or not at all.
    pub const fn hold(&mut self, id: u64) {
        self.held_by = Some(id);
    }

    /// The write `id` is durable.
    pub fn committed(&mut self, id: u64) {
        self.held_by.take_if(|held_by| *held_by == id);
    }

    /// The write `id` will never be durable: those behind it must not be either.
    pub fn failed(&mut self, id: u64) {
        self.held_by.take_if(|held_by| *held_by == id);
        self.waiting.retain(|write| write.id < id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(ids: std::ops::Range<u64>) -> Queue {
        let mut queue = Queue::default();
        let records = Vec::new();
        queue.extend(ids.map(|id| Write {
            id,
            records: records.clone(),
        }));
        queue
    }

    fn next(queue: &mut Queue) -> Option<u64> {
        queue.take().map(|write| write.id)
    }

    #[test]
    fn a_write_that_is_not_taken_holds_back_the_next_until_it_is_durable() {
        let mut queue = queue(1..4);
        assert_eq!(next(&mut queue), Some(1));
        assert_eq!(next(&mut queue), Some(2));
        queue.hold(2);
        queue.committed(1);
        assert_eq!(next(&mut queue), None);
        queue.committed(2);
        assert_eq!(next(&mut queue), Some(3));
        assert_eq!(next(&mut queue), None);
    }

    #[test]
    fn what_rests_on_a_refused_write_never_reaches_the_log() {
        let mut queue = queue(1..4);
        assert_eq!(next(&mut queue), Some(1));
        queue.hold(1);
        queue.failed(1);
        assert_eq!(next(&mut queue), None);
        queue.extend([Write {
            id: 4,
            records: Vec::new(),
        }]);
        assert_eq!(next(&mut queue), Some(4));
    }
}
