//! The partitions of one shard: admission, high watermark, and who waits for it.
//!
//! One node holds the only replica, so the high watermark is the end of what is durable (or in
//! memory, for a topic with `durability = memory`), and the last stable offset is the high
//! watermark. Everything here belongs to one shard and is touched by no other.

pub mod answers;
pub mod calls;
mod fetch;
mod produce;
mod query;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use reactor::op::{Mono, Now};
use storage::store::{Fx as StoreFx, Store};
use storage::types::{PartitionId, Slot, Ticket};

use crate::config::settings::TopicSettings;
use crate::shard::mail::{Answer, ReplyTo};

use answers::Trouble;
use fetch::ParkedFetch;
use produce::{ParkedProduce, StalledPart};
use query::ParkedQuery;

/// How long appends that found no memory wait before they are tried again, in ms.
const RETRY_MS: u64 = 20;

/// What a step of this room leaves behind.
#[derive(Debug, Default)]
pub struct Fx {
    pub store: StoreFx,
    pub answers: Vec<(ReplyTo, Answer)>,
    /// Bytes that parked fetches of several shards could read here.
    pub readable: Vec<(ReplyTo, u64)>,
}

/// One partition that this shard owns.
#[derive(Debug)]
struct Partition {
    slot: Slot,
    leader_epoch: i32,
    settings: Arc<TopicSettings>,
    high_watermark: i64,
    /// Appends that wait for the watermark: first offset not covered, and who waits. In offset
    /// order, because appends are.
    produces: VecDeque<(i64, u64, u32)>,
    /// Parked fetches that would like more of this partition, and which of their parts it is.
    fetches: Vec<(u64, u32)>,
    /// DeleteRecords that wait until the log start is durable at this offset.
    truncations: Vec<(i64, ReplyTo)>,
}

impl Partition {
    /// The largest epoch not above `epoch` and its end (KIP-101). Kafka notes an epoch when its
    /// leader begins, our log when its first record comes: until then it begins at the end.
    fn epoch_end(&self, epoch: i32, store: &Store) -> (i32, i64) {
        let info = store.info(self.slot);
        if epoch == self.leader_epoch {
            return (epoch, info.end);
        }
        let is_older = (0..self.leader_epoch).contains(&epoch);
        match store.epoch_end(self.slot, epoch) {
            (-1, _) if is_older && info.latest_epoch < 0 => (epoch, info.end),
            (-1, _) if is_older => (info.latest_epoch, info.end),
            known => known,
        }
    }

    /// The epoch of the record at the start of the log, or of the one that will be there.
    fn epoch_at_start(&self, store: &Store) -> i32 {
        let info = store.info(self.slot);
        if info.log_start == info.end {
            self.leader_epoch
        } else {
            store.epoch_at(self.slot, info.log_start)
        }
    }
}

/// What a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parked {
    Produce(u64),
    Fetch(u64),
}

/// All partitions of one shard and everything that is parked on them.
#[derive(Debug, Default)]
pub struct Partitions {
    by_id: BTreeMap<PartitionId, Partition>,
    by_slot: BTreeMap<Slot, PartitionId>,
    next: u64,
    produces: BTreeMap<u64, ParkedProduce>,
    /// Parts that have to wait, in arrival order: nothing overtakes them.
    stalled: VecDeque<StalledPart>,
    /// Bytes that compressed batches have inflated to in this step.
    inflated: usize,
    /// When to try the first of them again, if it waits for memory and not only for the next step.
    /// Memory comes back with a flush, but also when a client takes its replies or is closed, which
    /// nobody tells.
    retry_at: Option<Mono>,
    fetches: BTreeMap<u64, ParkedFetch>,
    /// Parked fetches by where their answer goes, for [`Partitions::hurry`].
    fetch_of: BTreeMap<ReplyTo, u64>,
    /// Reads that wait for the disk: the fetch, its part, and the bytes that are expected.
    reads: BTreeMap<Ticket, (u64, u32, usize)>,
    /// Bytes that are expected from the disk for all fetches.
    reading_bytes: usize,
    /// Fetches that may be answered but have to wait until fewer bytes are expected.
    fetches_waiting: VecDeque<u64>,
    queries: BTreeMap<Ticket, ParkedQuery>,
    deadlines: BTreeMap<(Mono, Parked), ()>,
    /// The broker is stopping: nothing is parked any more.
    draining: bool,
}

impl Partitions {
    /// Takes over a partition whose log is open. A known partition gets the newer settings.
    pub fn open(
        &mut self,
        id: PartitionId,
        slot: Slot,
        leader_epoch: i32,
        settings: Arc<TopicSettings>,
        store: &Store,
    ) {
        let high_watermark = store.info(slot).durable_end;
        let fresh = || Partition {
            slot,
            leader_epoch,
            settings: Arc::clone(&settings),
            high_watermark,
            produces: VecDeque::new(),
            fetches: Vec::new(),
            truncations: Vec::new(),
        };
        let partition = self.by_id.entry(id).or_insert_with(fresh);
        partition.settings = settings;
        partition.leader_epoch = leader_epoch;
        self.by_slot.insert(slot, id);
    }

    /// Lets go of a partition: whatever is parked on it is told that it is unknown.
    pub fn close(&mut self, id: &PartitionId, now: Now, store: &mut Store, fx: &mut Fx) {
        let Some(partition) = self.by_id.remove(id) else {
            return;
        };
        self.by_slot.remove(&partition.slot);
        for (_, produce, index) in partition.produces {
            self.refuse_part(produce, index, Trouble::UnknownPartition, fx);
        }
        for (_, reply_to) in partition.truncations {
            fx.answers
                .push((reply_to, Answer::Truncated(Err(Trouble::UnknownPartition))));
        }
        for (fetch, _) in partition.fetches {
            self.finish_fetch(fetch, now, store, fx);
        }
    }

    /// The partitions of this shard, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.by_id.keys().copied()
    }

    #[must_use]
    pub fn slot(&self, id: &PartitionId) -> Option<Slot> {
        self.by_id.get(id).map(|partition| partition.slot)
    }

    /// The end of what may leave the broker.
    #[must_use]
    pub fn high_watermark(&self, id: &PartitionId) -> Option<i64> {
        self.by_id.get(id).map(|partition| partition.high_watermark)
    }

    /// Whether appends wait for memory: the shard should take in less.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.retry_at.is_some() && !self.stalled.is_empty()
    }

    /// The next instant at which [`Partitions::tick`] has something to do.
    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        let deadline = self.deadlines.first_key_value().map(|((at, _), ())| *at);
        let retry = self.retry_at.unwrap_or_default();
        let retry = (!self.stalled.is_empty()).then_some(retry);
        deadline.into_iter().chain(retry).min()
    }

    /// Ends what has waited long enough.
    pub fn tick(&mut self, now: Now, store: &mut Store, fx: &mut Fx) {
        while let Some(((at, parked), ())) = self.deadlines.first_key_value() {
            if *at > now.mono {
                break;
            }
            let (at, parked) = (*at, *parked);
            self.deadlines.remove(&(at, parked));
            match parked {
                Parked::Produce(id) => self.time_out_produce(id, fx),
                Parked::Fetch(id) => self.finish_fetch(id, now, store, fx),
            }
        }
        if self.retry_at.is_none_or(|at| at <= now.mono) {
            self.retry_stalled(now, store, fx);
        }
    }

    /// A step of the shard begins: it may inflate anew.
    pub fn begin_step(&mut self) {
        self.inflated = 0;
    }

    /// The log of `slot` is durable up to `end`: answers appends, wakes fetches.
    pub fn on_durable(&mut self, slot: Slot, end: i64, now: Now, store: &mut Store, fx: &mut Fx) {
        let Some(partition) = self
            .by_slot
            .get(&slot)
            .and_then(|id| self.by_id.get_mut(id))
        else {
            return;
        };
        assert!(
            end >= partition.high_watermark,
            "the high watermark of {slot:?} went back"
        );
        partition.high_watermark = end;
        let mut answered = Vec::new();
        while let Some((needed, produce, index)) = partition.produces.front().copied() {
            if needed > end {
                break;
            }
            partition.produces.pop_front();
            answered.push((produce, index));
        }
        let waiting = partition.fetches.clone();
        for (produce, index) in answered {
            self.part_is_durable(produce, index, fx);
        }
        for (fetch, part) in waiting {
            self.wake_fetch(fetch, part, now, store, fx);
        }
        self.retry_stalled(now, store, fx);
    }

    /// The log start of `slot` is durable: answers DeleteRecords, lets fetches look again.
    pub fn on_log_start(
        &mut self,
        slot: Slot,
        start: i64,
        now: Now,
        store: &mut Store,
        fx: &mut Fx,
    ) {
        let Some(partition) = self
            .by_slot
            .get(&slot)
            .and_then(|id| self.by_id.get_mut(id))
        else {
            return;
        };
        let (done, waiting) = std::mem::take(&mut partition.truncations)
            .into_iter()
            .partition(|(at, _)| *at <= start);
        partition.truncations = waiting;
        let fetches = partition.fetches.clone();
        let done: Vec<(i64, ReplyTo)> = done;
        for (_, reply_to) in done {
            fx.answers.push((reply_to, Answer::Truncated(Ok(start))));
        }
        for (fetch, part) in fetches {
            self.wake_fetch(fetch, part, now, store, fx);
        }
    }

    /// The logs of `slots` take no more appends until a restart: what waits for them will not
    /// become durable. All others go on, so nobody else is told so.
    pub fn on_fenced(&mut self, slots: &[Slot], fx: &mut Fx) {
        let mut refused = Vec::new();
        for slot in slots {
            let id = self.by_slot.get(slot);
            let Some(partition) = id.and_then(|id| self.by_id.get_mut(id)) else {
                continue;
            };
            let waiting = partition.produces.drain(..);
            refused.extend(waiting.map(|(_, id, index)| (id, index)));
            for (_, reply_to) in partition.truncations.drain(..) {
                fx.answers
                    .push((reply_to, Answer::Truncated(Err(Trouble::Storage))));
            }
        }
        for (produce, index) in refused {
            self.refuse_part(produce, index, Trouble::Storage, fx);
        }
    }

    /// Appends to the logs in `dir` wait for space that may not come soon: their senders are told.
    /// Whether the records become durable after all is open, as with an append that is late; the
    /// broker's own appends must know, and wait.
    pub fn on_no_space(&mut self, dir: &Path, store: &Store, fx: &mut Fx) {
        let mut refused = Vec::new();
        for partition in self.by_id.values_mut() {
            if partition.produces.is_empty() || store.info(partition.slot).dir != dir {
                continue;
            }
            let own = |id: u64| self.produces.get(&id).is_some_and(|parked| parked.internal);
            partition.produces.retain(|&(_, id, index)| {
                let stays = own(id);
                if !stays {
                    refused.push((id, index));
                }
                stays
            });
        }
        for (produce, index) in refused {
            self.refuse_part(produce, index, Trouble::Storage, fx);
        }
    }

    /// Answers every parked fetch with what there is, and from now on each one at once: the broker
    /// is stopping, and a shard that does not know yet may still send some.
    pub fn drain(&mut self, now: Now, store: &mut Store, fx: &mut Fx) {
        self.draining = true;
        let parked: Vec<u64> = self.fetches.keys().copied().collect();
        for fetch in parked {
            self.finish_fetch(fetch, now, store, fx);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
