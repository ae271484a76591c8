//! One producer: where its records go, and what waits to be sent.

use super::plan::Plan;
use crate::batch::{Mark, Sender, key, partition_of};
use crate::client::{Link, Pool, ProduceHead, Segment, produce_head};
use crate::model::Keys;
use crate::schedule::Random;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of batches in one request, as clients are set by default.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A batch that is being filled, or that waits.
pub(crate) struct Batch {
    pub(crate) partition: u32,
    pub(crate) count: u32,
    buffer: Vec<u8>,
    /// Intended times: of each record, or one for all.
    pub(crate) times: Vec<u64>,
    serial: u64,
}

/// A batch on its way; what is needed to account for it.
pub(crate) struct Sent {
    pub(crate) partition: u32,
    pub(crate) count: u32,
    pub(crate) times: Vec<u64>,
}

pub(crate) struct Flight {
    pub(crate) correlation: i32,
    pub(crate) batches: Vec<Sent>,
}

/// What belongs to a connection of a producer.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) ready: VecDeque<Batch>,
    pub(crate) flights: VecDeque<Flight>,
    correlation: i32,
}

pub(crate) struct Producer {
    pub(crate) topic: usize,
    /// Its number, with that of the run.
    mark: u32,
    /// By partition: the index of its lane and link within the thread.
    pub(crate) lanes: Vec<usize>,
    open: Vec<Option<Batch>>,
    marks: Vec<u32>,
    sequences: Vec<i32>,
    turn: u32,
    identity: Option<(i64, i16)>,
    random: Random,
}

/// An open batch that must leave at a time, unless it has left before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) at: u64,
    pub(crate) producer: usize,
    slot: usize,
    serial: u64,
}

impl Producer {
    pub(crate) fn new(
        plan: &Plan,
        number: u32,
        topic: usize,
        lanes: Vec<usize>,
        identity: Option<(i64, i16)>,
    ) -> Self {
        let partitions = lanes.len();
        let open = if plan.keyed() { partitions } else { 1 };
        Self {
            topic,
            mark: plan.number << 16 | number & 0xffff,
            open: (0..open).map(|_| None).collect(),
            marks: vec![0; partitions],
            sequences: vec![0; partitions],
            // Producers begin at different partitions.
            turn: number % partitions as u32,
            lanes,
            identity,
            random: Random::new(u64::from(number) << 32 | u64::from(plan.number)),
        }
    }

    /// Puts a record into its batch. A batch that is full now is returned, and one that was opened
    /// is told in `due`.
    pub(crate) fn put(
        &mut self,
        plan: &Plan,
        pool: &mut Pool,
        time: u64,
        due: &mut Option<Due>,
        serial: &mut u64,
    ) -> Option<Batch> {
        let (slot, number) = match plan.workload.keys {
            Keys::None => (0, 0),
            Keys::Random { distinct } => {
                let number = self.random.below(distinct);
                let partitions = self.lanes.len() as u32;
                (partition_of(&key(number), partitions) as usize, number)
            }
        };
        let batch = match &mut self.open[slot] {
            Some(batch) => batch,
            none => {
                let partition = if plan.keyed() { slot as u32 } else { self.turn };
                *serial += 1;
                *due = Some(Due {
                    at: time + plan.workload.linger.as_nanos() as u64,
                    producer: 0,
                    slot,
                    serial: *serial,
                });
                none.insert(Batch {
                    partition,
                    count: 0,
                    buffer: pool.batches.pop().unwrap_or_default(),
                    times: Vec::new(),
                    serial: *serial,
                })
            }
        };
        let sequence = &mut self.marks[batch.partition as usize];
        let mark = Mark {
            time,
            producer: self.mark,
            sequence: *sequence,
        };
        *sequence = sequence.wrapping_add(1);
        plan.template
            .put_record(&mut batch.buffer, batch.count, mark, number);
        batch.count += 1;
        batch.times.push(time);
        (batch.count == plan.template.records_max())
            .then(|| self.close(slot))
            .flatten()
    }

    fn close(&mut self, slot: usize) -> Option<Batch> {
        let batch = self.open[slot].take();
        if batch.is_some() {
            self.turn = (self.turn + 1) % self.lanes.len() as u32;
        }
        batch
    }

    /// A full batch for the partition whose turn it is, all of one time.
    pub(crate) fn whole(&mut self, plan: &Plan, pool: &mut Pool, time: u64) -> Batch {
        let partition = self.turn;
        let mut buffer = pool.batches.pop().unwrap_or_default();
        let count = plan.template.records_max();
        let sequence = &mut self.marks[partition as usize];
        for index in 0..count {
            let mark = Mark {
                time,
                producer: self.mark,
                sequence: *sequence,
            };
            *sequence = sequence.wrapping_add(1);
            plan.template.put_record(&mut buffer, index, mark, 0);
        }
        self.skip();
        Batch {
            partition,
            count,
            buffer,
            times: vec![time],
            serial: 0,
        }
    }

    /// The lane of the partition whose turn it is.
    pub(crate) fn next_lane(&self) -> usize {
        self.lanes[self.turn as usize]
    }

    pub(crate) fn skip(&mut self) {
        self.turn = (self.turn + 1) % self.lanes.len() as u32;
    }

    /// The batch that is due, if it has not left before.
    pub(crate) fn expire(&mut self, due: Due) -> Option<Batch> {
        let open = self.open[due.slot].as_ref()?;
        (open.serial == due.serial)
            .then(|| self.close(due.slot))
            .flatten()
    }

    /// Hands the next request of a lane to its link: one batch for each partition, in order.
    pub(crate) fn send(&mut self, plan: &Plan, lane: &mut Lane, link: &mut Link, pool: &mut Pool) {
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = lane.ready.front() {
            let length = plan.template.bytes_of(batch.count);
            let full = !batches.is_empty() && bytes + length > REQUEST_BYTES_MAX;
            let again = batches
                .iter()
                .any(|other| other.partition == batch.partition);
            if full || again {
                break;
            }
            bytes += length;
            batches.extend(lane.ready.pop_front());
        }
        lane.correlation = lane.correlation.wrapping_add(1);
        let mut head = pool.small.pop().unwrap_or_default();
        head.clear();
        let start = ProduceHead {
            correlation: lane.correlation,
            acks: plan.workload.acks,
            topic: &plan.topics[self.topic],
            batches: batches.len(),
        };
        produce_head(&mut head, start);
        let mut flight = Flight {
            correlation: lane.correlation,
            batches: Vec::with_capacity(batches.len()),
        };
        self.frame(plan, head, batches, &mut flight, link, pool);
        lane.flights.push_back(flight);
    }

    fn frame(
        &mut self,
        plan: &Plan,
        head: Vec<u8>,
        batches: Vec<Batch>,
        flight: &mut Flight,
        link: &mut Link,
        pool: &mut Pool,
    ) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_ms = time.map_or(0, |time| time.as_millis() as i64);
        let mut segments = Vec::with_capacity(2 * batches.len() + 1);
        let mut before = head;
        for mut batch in batches {
            let length = plan.template.bytes_of(batch.count);
            let sender = self.sender(batch.partition, batch.count);
            plan.template
                .seal(&mut batch.buffer, batch.count, time_ms, sender);
            ProduceHead::place(&mut before, batch.partition, length);
            segments.push(Segment::Small(before));
            segments.push(Segment::Batch(batch.buffer, length));
            // No tags after the partition.
            before = pool.small.pop().unwrap_or_default();
            before.clear();
            before.push(0);
            flight.batches.push(Sent {
                partition: batch.partition,
                count: batch.count,
                times: batch.times,
            });
        }
        // Nor after the topic and the request.
        before.extend_from_slice(&[0, 0]);
        segments.push(Segment::Small(before));
        let total: usize = segments.iter().map(Segment::len).sum();
        if let Some(Segment::Small(first)) = segments.first_mut() {
            first[..4].copy_from_slice(&(total as u32 - 4).to_be_bytes());
        }
        for segment in segments {
            link.push(segment);
        }
    }

    fn sender(&mut self, partition: u32, count: u32) -> Sender {
        let Some((id, epoch)) = self.identity else {
            return Sender {
                id: -1,
                epoch: -1,
                sequence: -1,
            };
        };
        let next = &mut self.sequences[partition as usize];
        let sequence = *next;
        // Back to 0 after the largest number, as the protocol has it.
        *next = ((i64::from(sequence) + i64::from(count)) & 0x7fff_ffff) as i32;
        Sender {
            id,
            epoch,
            sequence,
        }
    }
}
