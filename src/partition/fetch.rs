//! Fetches: read at once when there is enough, else parked until the watermark has moved.
//!
//! A parked fetch is never polled. It keeps, for each of its parts, how many bytes it could read;
//! a moving watermark updates one number, and the read itself happens once, at the end.

use bytes::Bytes;
use reactor::op::{Mono, Now};
use storage::store::{ReadError, ReadRequest, Reading, Store};
use storage::types::Ticket;

use crate::limits::FETCH_READS_BYTES_MAX;
use crate::shard::mail::{Answer, ReplyTo};

use super::answers::{FetchRefusal, Fetched, FetchedPart, Trouble};
use super::calls::{FetchCall, FetchPart};
use super::{Fx, Parked, Partition, Partitions};

/// A fetch between its arrival and its answer.
#[derive(Debug)]
pub(super) struct ParkedFetch {
    reply_to: ReplyTo,
    deadline: Mono,
    bytes_max: usize,
    bytes_min: u64,
    parts: Vec<FetchPart>,
    /// Bytes that each part could read when last looked at.
    readable: Vec<u64>,
    /// Their sum.
    readable_total: u64,
    shared: bool,
    /// Once reading: the answers so far, and how many parts wait for the disk.
    reading: Option<(Vec<FetchedPart>, usize)>,
}

/// What a look at one part says without reading.
enum Look {
    Readable(u64),
    /// Answer the request now: an error or a diverging epoch.
    Urgent,
}

impl Partitions {
    /// Reads at once if `bytes_min` bytes are there, a part is in trouble or the deadline has come.
    pub fn fetch(
        &mut self,
        reply_to: ReplyTo,
        call: FetchCall,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let id = self.number();
        let mut readable = Vec::with_capacity(call.parts.len());
        let due = self.draining || call.deadline <= now.mono;
        let mut urgent = due || call.parts.is_empty();
        for part in &call.parts {
            match self.look(part, store) {
                Look::Readable(bytes) => readable.push(bytes),
                Look::Urgent => {
                    readable.push(0);
                    urgent = true;
                }
            }
        }
        let total: u64 = readable.iter().sum();
        let parked = ParkedFetch {
            reply_to,
            deadline: call.deadline,
            bytes_max: call.bytes_max,
            bytes_min: call.bytes_min,
            parts: call.parts,
            readable,
            readable_total: total,
            shared: call.shared,
            reading: None,
        };
        if !urgent && total < parked.bytes_min {
            if parked.shared && total > 0 {
                fx.readable.push((reply_to, total));
            }
            self.park(id, parked);
        } else {
            self.fetches.insert(id, parked);
            self.finish_fetch(id, now, store, fx);
        }
    }

    /// The origin of a request wants its answer now.
    pub fn hurry(&mut self, reply_to: ReplyTo, now: Now, store: &mut Store, fx: &mut Fx) {
        if let Some(id) = self.fetch_of.get(&reply_to).copied() {
            self.finish_fetch(id, now, store, fx);
        }
    }

    fn park(&mut self, id: u64, parked: ParkedFetch) {
        for (at, part) in parked.parts.iter().enumerate() {
            if let Some(partition) = self.by_id.get_mut(&part.id) {
                partition
                    .fetches
                    .push((id, u32::try_from(at).unwrap_or(u32::MAX)));
            }
        }
        self.deadlines
            .insert((parked.deadline, Parked::Fetch(id)), ());
        self.fetch_of.insert(parked.reply_to, id);
        self.fetches.insert(id, parked);
    }

    /// Something moved in the partition that this part reads.
    pub(super) fn wake_fetch(
        &mut self,
        id: u64,
        part: u32,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let Some(parked) = self.fetches.get(&id) else {
            return;
        };
        let Some(asked) = parked.parts.get(part as usize) else {
            return;
        };
        let look = self.look(asked, store);
        let Some(parked) = self.fetches.get_mut(&id) else {
            return;
        };
        let enough = match look {
            Look::Urgent => true,
            Look::Readable(bytes) => {
                let before = std::mem::replace(&mut parked.readable[part as usize], bytes);
                let moved = before != bytes;
                let total = parked.readable_total - before + bytes;
                parked.readable_total = total;
                let enough = total >= parked.bytes_min;
                if moved && parked.shared && !enough {
                    fx.readable.push((parked.reply_to, total));
                }
                enough
            }
        };
        if enough {
            self.finish_fetch(id, now, store, fx);
        }
    }

    fn look(&self, part: &FetchPart, store: &Store) -> Look {
        let Some(partition) = self.by_id.get(&part.id) else {
            return Look::Urgent;
        };
        if partition.check(part, store).is_err() {
            return Look::Urgent;
        }
        let upto = partition.high_watermark;
        if part.offset >= upto {
            return Look::Readable(0);
        }
        let bytes = store.bytes_between(partition.slot, part.offset, upto);
        Look::Readable(bytes.min(part.bytes_max.max(1) as u64))
    }

    /// Unparks the fetch and reads what there is, part by part in request order.
    pub(super) fn finish_fetch(&mut self, id: u64, now: Now, store: &mut Store, fx: &mut Fx) {
        let Some(mut parked) = self.fetches.remove(&id) else {
            return;
        };
        if parked.reading.is_some() {
            self.fetches.insert(id, parked);
            return;
        }
        self.unpark(id, &parked);
        if self.reading_bytes >= FETCH_READS_BYTES_MAX {
            self.fetches.insert(id, parked);
            self.fetches_waiting.push_back(id);
            return;
        }
        let mut answers = Vec::with_capacity(parked.parts.len());
        let mut waiting = 0;
        let mut room = parked.bytes_max;
        let mut reading_bytes = 0;
        let mut first = true;
        for (at, part) in parked.parts.iter().enumerate() {
            let ticket = Ticket(self.number());
            let read = self.read_part(part, room, first, ticket, now, store, fx);
            let (result, taken) = match read {
                Err(trouble) => (Err(FetchRefusal { trouble }), 0),
                Ok((fetched, ReadPart::Now(data))) => {
                    let fetched = Fetched { data, ..fetched };
                    let bytes = fetched.bytes();
                    (Ok(fetched), bytes)
                }
                Ok((fetched, ReadPart::Later(bytes))) => {
                    waiting += 1;
                    reading_bytes += bytes;
                    let part = u32::try_from(at).unwrap_or(u32::MAX);
                    self.reads.insert(ticket, (id, part, bytes));
                    (Ok(fetched), bytes)
                }
            };
            first &= taken == 0;
            room = room.saturating_sub(taken);
            if self.reading_bytes + reading_bytes >= FETCH_READS_BYTES_MAX {
                room = 0;
            }
            answers.push(FetchedPart {
                index: part.index,
                result,
            });
        }
        self.reading_bytes += reading_bytes;
        if waiting == 0 {
            fx.answers.push((parked.reply_to, Answer::Fetched(answers)));
        } else {
            parked.reading = Some((answers, waiting));
            self.fetches.insert(id, parked);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one part of one read, named at its only call"
    )]
    fn read_part(
        &mut self,
        part: &FetchPart,
        room: usize,
        first: bool,
        ticket: Ticket,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) -> Result<(Fetched, ReadPart), Trouble> {
        let partition = self.by_id.get(&part.id).ok_or(Trouble::UnknownPartition)?;
        let diverging = partition.check(part, store)?;
        let mut fetched = partition.watermarks(store);
        if diverging.is_some() {
            fetched.diverging = diverging;
            return Ok((fetched, ReadPart::Now(Vec::new())));
        }
        let upto = partition.high_watermark;
        let bytes_max = part.bytes_max.min(room);
        if part.offset >= upto || (bytes_max == 0 && !first) {
            return Ok((fetched, ReadPart::Now(Vec::new())));
        }
        let request = ReadRequest {
            offset: part.offset,
            bytes_max,
            first_batch_whole: first,
            upto,
        };
        match store.read(partition.slot, &request, ticket, now, &mut fx.store) {
            Ok(Reading::Ready(data)) => Ok((fetched, ReadPart::Now(data))),
            Ok(Reading::Pending) => {
                let there = store.bytes_between(partition.slot, part.offset, upto);
                let bytes = usize::try_from(there)
                    .unwrap_or(usize::MAX)
                    .min(bytes_max)
                    .max(1);
                Ok((fetched, ReadPart::Later(bytes)))
            }
            Err(error) => Err(read_trouble(&error)),
        }
    }

    /// A read from disk has ended.
    pub fn on_read(
        &mut self,
        ticket: Ticket,
        result: Result<Vec<Bytes>, ReadError>,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let Some((id, part, bytes)) = self.reads.remove(&ticket) else {
            return;
        };
        self.take_read(id, part, result, fx);
        self.reading_bytes -= bytes;
        while self.reading_bytes < FETCH_READS_BYTES_MAX
            && let Some(next) = self.fetches_waiting.pop_front()
        {
            self.finish_fetch(next, now, store, fx);
        }
    }

    fn take_read(
        &mut self,
        id: u64,
        part: u32,
        result: Result<Vec<Bytes>, ReadError>,
        fx: &mut Fx,
    ) {
        let Some(parked) = self.fetches.get_mut(&id) else {
            return;
        };
        let Some((answers, waiting)) = &mut parked.reading else {
            return;
        };
        *waiting -= 1;
        if let Some(answer) = answers.get_mut(part as usize) {
            match (result, &mut answer.result) {
                (Ok(data), Ok(fetched)) => fetched.data = data,
                (Err(error), result) => {
                    *result = Err(FetchRefusal {
                        trouble: read_trouble(&error),
                    });
                }
                (Ok(_), Err(_)) => {}
            }
        }
        if *waiting == 0
            && let Some(parked) = self.fetches.remove(&id)
            && let Some((answers, _)) = parked.reading
        {
            fx.answers.push((parked.reply_to, Answer::Fetched(answers)));
        }
    }

    fn unpark(&mut self, id: u64, parked: &ParkedFetch) {
        self.deadlines.remove(&(parked.deadline, Parked::Fetch(id)));
        if self.fetch_of.remove(&parked.reply_to).is_none() {
            return;
        }
        for part in &parked.parts {
            if let Some(partition) = self.by_id.get_mut(&part.id) {
                partition.fetches.retain(|(fetch, _)| *fetch != id);
            }
        }
    }
}

enum ReadPart {
    Now(Vec<Bytes>),
    /// The disk is asked; this many bytes are expected at most.
    Later(usize),
}

impl Partition {
    fn watermarks(&self, store: &Store) -> Fetched {
        Fetched {
            high_watermark: self.high_watermark,
            last_stable: self.high_watermark,
            log_start: store.info(self.slot).log_start,
            data: Vec::new(),
            diverging: None,
        }
    }

    /// Epochs and bounds, in Kafka's order; `Ok(Some)` is a diverging epoch and its end offset.
    fn check(&self, part: &FetchPart, store: &Store) -> Result<Option<(i32, i64)>, Trouble> {
        self.check_epoch(part.leader_epoch)?;
        let info = store.info(self.slot);
        if part.last_fetched_epoch >= 0 {
            let (epoch, end) = self.epoch_end(part.last_fetched_epoch, store);
            if epoch < 0 || end < 0 {
                return Err(Trouble::OffsetOutOfRange);
            }
            if epoch < part.last_fetched_epoch || end < part.offset {
                return Ok(Some((epoch, end)));
            }
        }
        if part.offset < info.log_start || part.offset > info.end {
            return Err(Trouble::OffsetOutOfRange);
        }
        Ok(None)
    }

    /// KIP-320: the client's idea of the leader epoch against ours; -1 is not checked.
    pub(super) fn check_epoch(&self, leader_epoch: i32) -> Result<(), Trouble> {
        match leader_epoch {
            -1 => Ok(()),
            epoch if epoch < self.leader_epoch => Err(Trouble::FencedLeaderEpoch),
            epoch if epoch > self.leader_epoch => Err(Trouble::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

pub(super) fn read_trouble(error: &ReadError) -> Trouble {
    match error {
        ReadError::OutOfRange { .. } => Trouble::OffsetOutOfRange,
        ReadError::Fenced | ReadError::Damaged => Trouble::Storage,
    }
}
