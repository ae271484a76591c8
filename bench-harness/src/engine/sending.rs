//! The producers' half of a thread: queues, requests, acknowledgements.

use super::plan::Plan;
use super::producer::{Batch, REQUEST_BYTES_MAX, Sent};
use super::time::now;
use super::worker::{End, Role, Worker};
use crate::client::{error_name, produce_parts};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Records of the closed loop with keys that are put before answers are read again.
const REFILL_RECORDS_MAX: u32 = 4096;
const LATE_NS: u64 = 1_000_000;

impl Worker<'_> {
    pub(super) fn queue(&mut self, at: usize, batch: Batch) {
        if let Role::Producer { lane, .. } = &mut self.ends[at].role {
            lane.ready.push_back(batch);
        }
        self.leave(at);
    }

    /// Sends what may be sent now, and copes with a broken connection.
    pub(super) fn leave(&mut self, at: usize) {
        if let Err(why) = self.pump(at) {
            self.reconnect(at, &why);
        }
        self.watch(at);
    }

    /// Sends what may be sent now: all requests that may be in flight, in one write.
    pub(super) fn pump(&mut self, at: usize) -> std::io::Result<()> {
        let most = self.plan.workload.in_flight_max.max(1) as usize;
        loop {
            let End { link, role, .. } = &mut self.ends[at];
            let Role::Producer { producer, lane } = role else {
                return Ok(());
            };
            if !link.idle() {
                return Ok(());
            }
            if self.plan.workload.acks == 0 && !lane.flights.is_empty() {
                self.written(at);
                continue;
            }
            let (mut requests, mut batches) = (0, 0);
            while lane.flights.len() < most && !self.closing && link.waiting() < REQUEST_BYTES_MAX {
                let count = self.producers[*producer].send(self.plan, lane, link, &mut self.pool);
                if count == 0 {
                    break;
                }
                requests += 1;
                batches += count;
            }
            if requests == 0 {
                return Ok(());
            }
            let time = now();
            let outcome = link.write(&mut self.pool);
            self.flights += requests;
            self.stalls.expect_from(time);
            self.account(at, requests, batches, time);
            outcome?;
        }
    }

    /// Counts the requests that were handed over last.
    fn account(&mut self, at: usize, requests: usize, batches: usize, time: u64) {
        let Role::Producer { lane, .. } = &self.ends[at].role else {
            return;
        };
        let measured = self.plan.measured(time);
        let counts = &mut self.tally.counts;
        if measured {
            counts.produce_requests += requests as u64;
        }
        let linger = self.plan.workload.linger.as_nanos() as u64 + LATE_NS;
        for batch in lane.sent.iter().skip(lane.sent.len() - batches) {
            let records = u64::from(batch.count);
            self.queued = self.queued.saturating_sub(records);
            if measured {
                counts.sent += records;
            }
            let each = records / batch.times.len().max(1) as u64;
            for intended in &batch.times {
                if self.plan.measured(*intended) {
                    self.tally.send_delay.add(*intended, time, each);
                    counts.late += u64::from(time > intended + linger) * each;
                }
            }
        }
    }

    /// Without acknowledgements, what the kernel has taken is all that is known.
    fn written(&mut self, at: usize) {
        let Role::Producer { producer, lane } = &mut self.ends[at].role else {
            return;
        };
        let topic = self.producers[*producer].topic;
        let time = now();
        self.flights -= lane.flights.len();
        lane.flights.clear();
        for sent in lane.sent.drain(..) {
            taken(self.plan, &mut self.second, topic, &sent, time);
            self.pool.keep_times(sent.times);
        }
        self.stalls.progress(time, self.flights > 0);
    }

    /// Takes an answer to Produce; false if it is none.
    pub(super) fn acknowledged(&mut self, at: usize, frame: Range<usize>) -> bool {
        let time = now();
        let End { link, role, .. } = &mut self.ends[at];
        let Role::Producer { producer, lane } = role else {
            return false;
        };
        let Some((number, body)) = link.bytes(frame).split_first_chunk() else {
            return false;
        };
        let expected = lane.flights.front().map(|flight| flight.correlation);
        if expected != Some(i32::from_be_bytes(*number)) {
            return false;
        }
        let Some(flight) = lane.flights.pop_front() else {
            return false;
        };
        self.flights -= 1;
        self.stalls.progress(time, self.flights > 0);
        let topic = self.producers[*producer].topic;
        let mut answered = 0;
        let (plan, tally, second) = (self.plan, &mut self.tally, &mut self.second);
        let throttle = produce_parts(body, |part| {
            // Brokers answer in the order of the request, but need not.
            let mut own = lane.sent.iter().take(flight.batches);
            let sent = match lane.sent.get(answered) {
                Some(sent) if sent.partition == part.partition => Some(sent),
                _ => own.find(|sent| sent.partition == part.partition),
            };
            let Some(sent) = sent else {
                tally.wrong += 1;
                return;
            };
            answered += 1;
            match part.error {
                0 => taken(plan, second, topic, sent, time),
                error => tally.error(error_name(error), u64::from(sent.count)),
            }
        });
        for sent in lane.sent.drain(..flight.batches) {
            self.pool.keep_times(sent.times);
        }
        if let Some(ms) = throttle.filter(|ms| *ms > 0) {
            tally.counts.throttled += 1;
            tally.counts.throttled_ms += u64::from(ms);
        }
        throttle.is_some() && answered == flight.batches
    }

    /// Closed loop: hands over full batches while requests may be made.
    pub(super) fn refill(&mut self, producer: usize, time: u64) {
        if self.plan.keyed() {
            for _ in 0..REFILL_RECORDS_MAX {
                let lanes = &self.producers[producer].lanes;
                if lanes.iter().any(|at| !self.room(*at)) {
                    return;
                }
                self.put(producer, time);
            }
            return;
        }
        let mut tried = 0;
        while tried < self.producers[producer].lanes.len() {
            let at = self.producers[producer].next_lane();
            if !self.room(at) {
                self.producers[producer].skip();
                tried += 1;
                continue;
            }
            tried = 0;
            let batch = self.producers[producer].whole(self.plan, &mut self.pool, now());
            self.queued += u64::from(batch.count);
            if let Role::Producer { lane, .. } = &mut self.ends[at].role {
                lane.ready.push_back(batch);
            }
            if !self.room(at) {
                self.leave(at);
                if self.plan.workload.acks == 0 {
                    return;
                }
            }
        }
    }

    /// Whether another request may be made for a lane.
    fn room(&self, at: usize) -> bool {
        let most = self.plan.workload.in_flight_max.max(1) as usize;
        let End { link, role, .. } = &self.ends[at];
        match role {
            Role::Producer { lane, .. } => {
                lane.ready.len() + lane.flights.len() < most && link.idle()
            }
            Role::Consumer(_) => false,
        }
    }

    /// What was on its way on a connection that is no more.
    pub(super) fn lose_flights(&mut self, at: usize, name: &str) {
        let Role::Producer { lane, .. } = &mut self.ends[at].role else {
            return;
        };
        let lost: u64 = lane.sent.iter().map(|sent| u64::from(sent.count)).sum();
        self.flights -= lane.flights.len();
        lane.flights.clear();
        lane.sent.clear();
        if lost > 0 {
            self.tally.error(name.to_owned(), lost);
        }
    }
}

/// Counts a batch that the broker has.
fn taken(plan: &Plan, second: &mut super::stats::Second, topic: usize, sent: &Sent, time: u64) {
    let records = u64::from(sent.count);
    let bytes = records * u64::from(plan.workload.record_bytes);
    plan.acked[plan.slot(topic, sent.partition)].fetch_add(records, Ordering::AcqRel);
    plan.filled_bytes.fetch_add(bytes, Ordering::Relaxed);
    if plan.measured(time) {
        second.acked += records;
        second.acked_bytes += bytes;
    }
    let (from, to) = (Plan::at(&plan.measure_from), Plan::at(&plan.measure_to));
    let each = records / sent.times.len().max(1) as u64;
    for intended in &sent.times {
        if *intended >= from && *intended < to {
            second.ack.add(*intended, time, each);
        }
    }
}
