//! One consumer's share of a subscription, on one connection.

use super::plan::Plan;
use super::stats::{Second, Tally};
use super::time::now;
use crate::batch::{View, views};
use crate::client::{FetchPart, Link, Segment, error_name, fetch_parts, fetch_request};
use crate::model::Pace;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

const SESSION_NOT_FOUND: i16 = 70;
const SESSION_EPOCH: i16 = 71;

pub(crate) struct Fetcher {
    pub(crate) topic: usize,
    parts: Vec<Part>,
    index: HashMap<u32, usize>,
    session: (i32, i32),
    correlation: i32,
    pub(crate) waiting: bool,
    /// Parts whose offset the broker does not know yet.
    moved: Vec<usize>,
}

struct Part {
    partition: u32,
    offset: i64,
    /// The next sequence of each producer.
    next: HashMap<u32, u32>,
}

/// Where a fetcher writes what it sees.
pub(crate) struct Ledger<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) tally: &'a mut Tally,
    pub(crate) second: &'a mut Second,
}

impl Fetcher {
    pub(crate) fn new(topic: usize, partitions: &[u32]) -> Self {
        let parts = partitions.iter().map(|partition| Part {
            partition: *partition,
            offset: 0,
            next: HashMap::new(),
        });
        Self {
            topic,
            parts: parts.collect(),
            index: partitions
                .iter()
                .enumerate()
                .map(|(at, part)| (*part, at))
                .collect(),
            session: (0, 0),
            correlation: 0,
            waiting: false,
            moved: Vec::new(),
        }
    }

    /// Forgets the session: the next request names everything again.
    pub(crate) const fn restart(&mut self) {
        self.session = (0, 0);
        self.waiting = false;
    }

    pub(crate) fn ask(&mut self, link: &mut Link, topic: &str, mut buffer: Vec<u8>) {
        buffer.clear();
        self.correlation += 1;
        let part = |part: &Part| FetchPart {
            partition: part.partition,
            offset: part.offset,
        };
        let (number, session) = (self.correlation, self.session);
        if session == (0, 0) {
            let parts = self.parts.iter().map(part);
            fetch_request(&mut buffer, number, session, topic, parts);
        } else {
            let parts = self.moved.iter().map(|at| part(&self.parts[*at]));
            fetch_request(&mut buffer, number, session, topic, parts);
        }
        self.moved.clear();
        self.waiting = true;
        link.push(Segment::Small(buffer));
    }

    /// Takes an answer; false if it cannot be understood.
    pub(crate) fn take(&mut self, frame: &[u8], ledger: &mut Ledger<'_>) -> bool {
        let time = now();
        self.waiting = false;
        let Some((number, body)) = frame.split_first_chunk() else {
            return false;
        };
        if i32::from_be_bytes(*number) != self.correlation {
            return false;
        }
        let (parts, index, moved) = (&mut self.parts, &self.index, &mut self.moved);
        let fetched = fetch_parts(body, |partition, error, high, records| {
            let Some(at) = index.get(&partition) else {
                ledger.tally.wrong += 1;
                return;
            };
            if error != 0 {
                ledger.tally.error(error_name(error), 1);
                return;
            }
            if parts[*at].read(records, high, time, ledger) {
                moved.push(*at);
            }
        });
        let Some(fetched) = fetched else {
            return false;
        };
        if ledger.plan.measured(time) {
            ledger.tally.counts.fetch_requests += 1;
        }
        if fetched.throttle_ms > 0 {
            ledger.tally.counts.throttled += 1;
            ledger.tally.counts.throttled_ms += u64::from(fetched.throttle_ms);
        }
        match fetched.error {
            0 => {
                let epoch = self.session.1.checked_add(1).unwrap_or(1);
                self.session = match fetched.session {
                    0 => (0, 0),
                    id => (id, epoch),
                };
            }
            SESSION_NOT_FOUND | SESSION_EPOCH => self.session = (0, 0),
            error => ledger.tally.error(error_name(error), 1),
        }
        true
    }

    /// Records that are acknowledged and were not read yet.
    pub(crate) fn missing(&self, plan: &Plan) -> u64 {
        let each = self.parts.iter().map(|part| {
            let acked = plan.acked[plan.slot(self.topic, part.partition)].load(Ordering::Acquire);
            acked.saturating_sub(part.offset as u64)
        });
        each.sum()
    }
}

impl Part {
    /// Whether the offset moved.
    fn read(&mut self, records: &[u8], high: i64, time: u64, ledger: &mut Ledger<'_>) -> bool {
        let before = self.offset;
        for batch in views(records) {
            let count = i64::from(batch.count());
            let skipped = self.offset - batch.base_offset();
            if skipped >= count {
                continue;
            }
            if skipped != 0 || !batch.sound() {
                ledger.tally.wrong += 1;
            }
            self.offset = batch.base_offset() + count;
            self.check(batch, time, ledger);
            if ledger.plan.measured(time) {
                ledger.second.consumed += u64::from(batch.count());
                let bytes = batch.count() * ledger.plan.workload.record_bytes;
                ledger.second.consumed_bytes += u64::from(bytes);
            }
        }
        if ledger.plan.workload.pace == Pace::ConsumeOnly && self.offset > 0 && self.offset >= high
        {
            self.offset = 0;
            self.next.clear();
            return true;
        }
        self.offset != before
    }

    fn check(&mut self, batch: View<'_>, time: u64, ledger: &mut Ledger<'_>) {
        let plan = ledger.plan;
        let timed = plan.workload.pace != Pace::ConsumeOnly;
        let (from, to) = (Plan::at(&plan.measure_from), Plan::at(&plan.measure_to));
        let mut seen = 0;
        let mut producer = None;
        for mark in batch.marks() {
            if producer.is_none() {
                let next = self.next.entry(mark.producer).or_insert(0);
                producer = Some((mark.producer, next));
            }
            let Some((number, next)) = &mut producer else {
                break;
            };
            let foreign = mark.producer != *number || *number >> 16 != plan.number;
            if foreign || mark.sequence != **next {
                ledger.tally.wrong += 1;
            }
            **next = mark.sequence.wrapping_add(1);
            seen += 1;
            if timed && mark.time >= from && mark.time < to {
                ledger.second.end_to_end.add(mark.time, time, 1);
            }
        }
        if seen != batch.count() {
            ledger.tally.wrong += u64::from(batch.count().abs_diff(seen));
        }
    }
}
