//! One producer: where its records go, and what waits to be sent.

use super::plan::Plan;
use crate::batch::{Mark, Sender, key, partition_of};
use crate::client::{Link, Pool, ProduceHead, Segment, produce_head};
use crate::model::Keys;
use crate::schedule::Random;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of batches in one request, as clients are set by default.
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Batches that are copied behind their head: cheaper than a piece more in a write.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// A batch that is being filled, or that waits.
pub(crate) struct Batch {
    pub(crate) partition: u32,
    pub(crate) count: u32,
    buffer: Vec<u8>,
    /// Intended times: of each record, or one for all.
    times: Vec<u64>,
    serial: u64,
    /// Makes a request of its own, as the closed loop wants it.
    alone: bool,
}

/// A batch on its way; what is needed to account for it.
pub(crate) struct Sent {
    pub(crate) partition: u32,
    pub(crate) count: u32,
    pub(crate) times: Vec<u64>,
}

#[derive(Clone, Copy)]
pub(crate) struct Flight {
    pub(crate) correlation: i32,
    pub(crate) batches: usize,
}

/// What belongs to a connection of a producer.
#[derive(Default)]
pub(crate) struct Lane {
    /// Closed batches, oldest first.
    pub(crate) ready: VecDeque<Batch>,
    /// Open batches that are due, by slot and serial. They grow until a request can take them, as
    /// those of any client do: back-pressure makes batches larger.
    ripe: VecDeque<(usize, u64)>,
    pub(crate) flights: VecDeque<Flight>,
    /// The batches of all flights, in order.
    pub(crate) sent: VecDeque<Sent>,
    correlation: i32,
    /// By partition: the last request that took a batch of it.
    taken: Vec<i32>,
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

impl Lane {
    /// An open batch of this lane is due.
    pub(crate) fn ripen(&mut self, due: Due) {
        self.ripe.push_back((due.slot, due.serial));
    }
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
            random: Random::new(u64::from(number) << 32 | plan.seed()),
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
                    times: pool.times.pop().unwrap_or_default(),
                    serial: *serial,
                    alone: false,
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
        let mut times = pool.times.pop().unwrap_or_default();
        times.push(time);
        Batch {
            partition,
            count,
            buffer,
            times,
            serial: 0,
            alone: true,
        }
    }

    /// The lane of the partition whose turn it is.
    pub(crate) fn next_lane(&self) -> usize {
        self.lanes[self.turn as usize]
    }

    pub(crate) fn skip(&mut self) {
        self.turn = (self.turn + 1) % self.lanes.len() as u32;
    }

    /// The lane of a batch that is due, if it has not left before.
    pub(crate) fn ripen(&self, due: Due) -> Option<usize> {
        let partition = self.open_partition(due.slot, due.serial)?;
        Some(self.lanes[partition as usize])
    }

    fn open_partition(&self, slot: usize, serial: u64) -> Option<u32> {
        let open = self.open[slot].as_ref()?;
        (open.serial == serial).then_some(open.partition)
    }

    /// How many batches the next request takes: one for each partition, in order.
    fn gather(&mut self, plan: &Plan, lane: &mut Lane) -> usize {
        let number = lane.correlation.wrapping_add(1);
        lane.taken.resize(self.lanes.len(), 0);
        let (mut count, mut bytes) = (0, 0);
        loop {
            while count == lane.ready.len() {
                let Some((slot, serial)) = lane.ripe.front().copied() else {
                    return count;
                };
                if let Some(partition) = self.open_partition(slot, serial) {
                    if lane.taken[partition as usize] == number || bytes >= REQUEST_BYTES_MAX {
                        return count;
                    }
                    lane.ready.extend(self.close(slot));
                }
                lane.ripe.pop_front();
            }
            let batch = &lane.ready[count];
            let length = plan.template.bytes_of(batch.count);
            let again = lane.taken[batch.partition as usize] == number;
            if count > 0 && (batch.alone || again || bytes + length > REQUEST_BYTES_MAX) {
                return count;
            }
            lane.taken[batch.partition as usize] = number;
            bytes += length;
            count += 1;
        }
    }

    /// Hands the next request of a lane to its link; how many batches it has.
    pub(crate) fn send(
        &mut self,
        plan: &Plan,
        lane: &mut Lane,
        link: &mut Link,
        pool: &mut Pool,
    ) -> usize {
        let count = self.gather(plan, lane);
        if count == 0 {
            return 0;
        }
        lane.correlation = lane.correlation.wrapping_add(1);
        let head = link.small(pool);
        let from = head.len();
        let start = ProduceHead {
            correlation: lane.correlation,
            acks: plan.workload.acks,
            topic: &plan.topics[self.topic],
            batches: count,
        };
        produce_head(head, start);
        let lengths = lane.ready.iter().take(count);
        let lengths = lengths.map(|batch| plan.template.bytes_of(batch.count));
        let batches: usize = lengths.map(ProduceHead::placed_bytes).sum();
        // Two bytes end the topic and the request.
        let total = (head.len() - from + batches + 2 - 4) as u32;
        head[from..from + 4].copy_from_slice(&total.to_be_bytes());
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_ms = time.map_or(0, |time| time.as_millis() as i64);
        for _ in 0..count {
            if let Some(batch) = lane.ready.pop_front() {
                lane.sent
                    .push_back(self.place(plan, batch, time_ms, link, pool));
            }
        }
        link.small(pool).extend_from_slice(&[0, 0]);
        lane.flights.push_back(Flight {
            correlation: lane.correlation,
            batches: count,
        });
        count
    }

    fn place(
        &mut self,
        plan: &Plan,
        mut batch: Batch,
        time_ms: i64,
        link: &mut Link,
        pool: &mut Pool,
    ) -> Sent {
        let length = plan.template.bytes_of(batch.count);
        let sender = self.sender(batch.partition, batch.count);
        plan.template
            .seal(&mut batch.buffer, batch.count, time_ms, sender);
        let before = link.small(pool);
        ProduceHead::place(before, batch.partition, length);
        if length <= COPIED_BYTES_MAX {
            before.extend_from_slice(&batch.buffer[..length]);
            pool.batches.push(batch.buffer);
        } else {
            link.push(Segment::Batch(batch.buffer, length));
        }
        // No tags after the partition.
        link.small(pool).push(0);
        Sent {
            partition: batch.partition,
            count: batch.count,
            times: batch.times,
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
