//! A value with the changes to it that are written but not yet durable.

/// The durable value and, in the order they were written, the ones in flight. `None` is absence:
/// never written, or deleted.
#[derive(Clone, Debug)]
pub(super) struct Versions<T> {
    committed: Option<T>,
    /// The write that made `committed`, so that one resolved out of order changes nothing.
    committed_by: u64,
    in_flight: Vec<(u64, Option<T>)>,
}

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self {
            committed: None,
            committed_by: 0,
            in_flight: Vec::new(),
        }
    }
}

impl<T> Versions<T> {
    /// What a reader sees who must not see what can still be lost.
    pub(super) const fn committed(&self) -> Option<&T> {
        self.committed.as_ref()
    }

    /// What the log will hold when every write succeeds.
    pub(super) fn latest(&self) -> Option<&T> {
        self.in_flight
            .last()
            .map_or(self.committed.as_ref(), |(_, value)| value.as_ref())
    }

    /// Sets the durable value, as replay does.
    pub(super) fn replay(&mut self, value: Option<T>) {
        self.committed = value;
    }

    pub(super) fn write(&mut self, id: u64, value: Option<T>) {
        self.in_flight.push((id, value));
    }

    pub(super) fn commit(&mut self, id: u64) {
        let Some(at) = self.in_flight.iter().position(|(write, _)| *write == id) else {
            return;
        };
        let (_, value) = self.in_flight.remove(at);
        // One write may hold several values: the last of them counts.
        if id >= self.committed_by {
            self.committed = value;
            self.committed_by = id;
        }
    }

    pub(super) fn fail(&mut self, id: u64) {
        self.in_flight.retain(|(write, _)| *write != id);
    }

    /// Nothing is under way.
    pub(super) const fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Nothing durable and nothing under way: the entry can go.
    pub(super) const fn is_vacant(&self) -> bool {
        self.committed.is_none() && self.in_flight.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_is_around_it() {
        let mut value = Versions::default();
        value.replay(Some(1));
        value.write(10, Some(2));
        value.write(11, Some(3));
        assert_eq!((value.committed(), value.latest()), (Some(&1), Some(&3)));
        value.fail(10);
        assert_eq!((value.committed(), value.latest()), (Some(&1), Some(&3)));
        value.write(12, None);
        value.commit(11);
        assert_eq!((value.committed(), value.latest()), (Some(&3), None));
        value.fail(12);
        assert_eq!((value.committed(), value.latest()), (Some(&3), Some(&3)));
    }

    #[test]
    fn of_two_values_in_one_write_the_last_counts() {
        let mut value = Versions::default();
        value.write(1, Some(5));
        value.write(1, Some(9));
        value.commit(1);
        value.commit(1);
        assert_eq!((value.committed(), value.latest()), (Some(&9), Some(&9)));
    }

    #[test]
    fn an_older_write_resolved_late_does_not_win() {
        let mut value = Versions::default();
        value.write(1, Some(1));
        value.write(2, Some(2));
        value.commit(2);
        value.commit(1);
        assert_eq!(value.latest(), Some(&2));
    }
}
