//! The controller: one command at a time becomes records, and its answer waits for them.
//!
//! A command is checked against the newest state, committed or not, so that two commands cannot
//! contradict each other. Every answer, a refusal too, waits until the state it was given on is
//! durable; then the image is published and the answer released, in this order.

use super::command::{Answer, Command, ProducerIds};
use super::error::{Error, ErrorKind};
use super::ids::{Ids, base64};
use super::image::Image;
use super::plan::Plan;
use super::record::Record;
use super::replay::snapshot;
use super::{alter, create, delete, size};
use crate::config::Static;
use crate::limits::METADATA_TAIL_BYTES_MAX;
use bytes::Bytes;
use reactor::op::Now;
use std::collections::VecDeque;
use std::sync::Arc;
use storage::types::PartitionId;

/// Producer ids handed out at a time (Kafka's `PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK: i32 = 1000;

/// What the controller wants done.
#[derive(Debug, Default)]
pub struct Fx {
    /// To be appended to the metadata log, in this order.
    pub writes: Vec<Write>,
    /// By the ticket of the command.
    pub answers: Vec<(u64, Answer)>,
    /// The newest durable image, if there is a new one: to be known everywhere before the answers
    /// leave.
    pub image: Option<Arc<Image>>,
    /// Records of the metadata log below this offset are no longer needed.
    pub delete_before: Option<i64>,
}

/// Records that go into one batch of the metadata log: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub id: u64,
    /// The values; the keys are null.
    pub records: Vec<Bytes>,
}

/// What waits for a write.
#[derive(Debug)]
struct Pending {
    write: u64,
    answer: Option<(u64, Answer)>,
    image: Arc<Image>,
}

/// A snapshot on its way into the log.
#[derive(Debug)]
struct Snapshot {
    first: u64,
    last: u64,
    bytes: u64,
    base_offset: Option<i64>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Controller {
    fixed: Arc<Static>,
    ids: Ids,
    durable: Arc<Image>,
    newest: Arc<Image>,
    waiting: VecDeque<Pending>,
    next_write: u64,
    snapshot: Option<Snapshot>,
    /// Bytes of records behind the last snapshot, and of that snapshot.
    tail_bytes: u64,
    snapshot_bytes: u64,
}

impl Controller {
    /// A controller over what the metadata log holds: the image of its replay and the bytes read.
    /// `seed` decides the ids it makes: a new one for each start.
    pub fn new(fixed: Arc<Static>, image: Image, replayed_bytes: u64, seed: u64) -> Self {
        let image = Arc::new(image);
        Self {
            fixed,
            ids: Ids::new(seed),
            durable: Arc::clone(&image),
            newest: image,
            waiting: VecDeque::new(),
            next_write: 0,
            snapshot: None,
            tail_bytes: replayed_bytes,
            snapshot_bytes: 0,
        }
    }

    /// The newest durable image.
    pub const fn image(&self) -> &Arc<Image> {
        &self.durable
    }

    /// Whether the settings name another node than the one this data belongs to: a message for the
    /// person who started it.
    pub fn identity_conflict(&self) -> Option<String> {
        let wanted: i32 = self.fixed.get("node.id")?.parse().ok()?;
        let node = self.durable.node_id;
        (self.durable.is_registered() && wanted != node).then(|| {
            format!(
                "node.id is {wanted} in the settings, but this data directory belongs to node \
                 {node}; set node.id={node} or use another directory"
            )
        })
    }

    /// Takes a command. Its answer comes under `ticket`, now or after a write.
    pub fn handle(&mut self, now: Now, command: Command, ticket: u64, fx: &mut Fx) {
        let mut plan = Plan {
            draft: Image::clone(&self.newest),
            records: Vec::new(),
            fixed: &self.fixed,
            ids: &mut self.ids,
            wall_ms: now.wall_ms,
        };
        let mut answer = run(&mut plan, command);
        let Plan { draft, records, .. } = plan;
        let mut values: Vec<Bytes> = records.iter().map(|record| record.encode(false)).collect();
        if let Err(error) = size::check(&records, &values, &draft) {
            answer = Answer::Failed(error);
            values.clear();
        }
        if !values.is_empty() {
            self.newest = Arc::new(draft);
            let write = self.write(values, fx);
            self.wait(write, Some((ticket, answer)));
        } else if let Some(last) = self.waiting.back() {
            self.wait(last.write, Some((ticket, answer)));
        } else {
            fx.answers.push((ticket, answer));
        }
    }

    fn write(&mut self, records: Vec<Bytes>, fx: &mut Fx) -> u64 {
        let id = self.next_write;
        self.next_write += 1;
        self.tail_bytes += records.iter().map(|value| value.len() as u64).sum::<u64>();
        fx.writes.push(Write { id, records });
        id
    }

    fn wait(&mut self, write: u64, answer: Option<(u64, Answer)>) {
        let image = Arc::clone(&self.newest);
        self.waiting.push_back(Pending {
            write,
            answer,
            image,
        });
    }

    /// The write `id`, which lies at `base_offset`, and all before it are durable. To be called for
    /// every write, in their order.
    pub fn committed(&mut self, id: u64, base_offset: i64, fx: &mut Fx) {
        while self.waiting.front().is_some_and(|first| first.write <= id) {
            let Some(Pending { answer, image, .. }) = self.waiting.pop_front() else {
                break;
            };
            if !Arc::ptr_eq(&image, &self.durable) {
                fx.image = Some(Arc::clone(&image));
                self.durable = image;
            }
            fx.answers.extend(answer);
        }
        self.snapshot_committed(id, base_offset, fx);
        self.snapshot_if_due(fx);
    }

    fn snapshot_committed(&mut self, id: u64, base_offset: i64, fx: &mut Fx) {
        let Some(snapshot) = &mut self.snapshot else {
            return;
        };
        if id == snapshot.first {
            snapshot.base_offset = Some(base_offset);
        }
        if id >= snapshot.last {
            fx.delete_before = snapshot.base_offset;
            self.tail_bytes = self.tail_bytes.saturating_sub(snapshot.bytes);
            self.snapshot_bytes = snapshot.bytes;
            self.snapshot = None;
        }
    }

    /// Writes the state out when the log behind the last snapshot has grown long. The batches of a
    /// snapshot follow each other directly: they are handed out in one go.
    fn snapshot_if_due(&mut self, fx: &mut Fx) {
        let bound = METADATA_TAIL_BYTES_MAX.max(2 * self.snapshot_bytes);
        if self.snapshot.is_some() || !self.waiting.is_empty() || self.tail_bytes < bound {
            return;
        }
        let before = self.tail_bytes;
        let groups = snapshot(&self.newest);
        let first = self.next_write;
        let last = first + groups.len() as u64 - 1;
        for group in groups {
            self.write(group, fx);
        }
        self.snapshot = Some(Snapshot {
            first,
            last,
            bytes: self.tail_bytes - before,
            base_offset: None,
        });
        self.tail_bytes -= before;
    }

    /// The write `id` and every later one will never be durable: what rests on them is undone and
    /// answered with the reason. Writes that were handed out and not yet appended must not be; a
    /// [`Queue`](super::queue::Queue) sees to it that no later one was.
    pub fn failed(&mut self, id: u64, why: &str, fx: &mut Fx) {
        let keep = self.waiting.partition_point(|pending| pending.write < id);
        for pending in self.waiting.drain(keep..) {
            if let Some((ticket, _)) = pending.answer {
                let error = Error::new(ErrorKind::Storage, why);
                fx.answers.push((ticket, Answer::Failed(error)));
            }
        }
        let newest = self
            .waiting
            .back()
            .map_or(&self.durable, |last| &last.image);
        self.newest = Arc::clone(newest);
        self.snapshot = self.snapshot.take().filter(|snapshot| snapshot.last < id);
    }
}

fn run(plan: &mut Plan<'_>, command: Command) -> Answer {
    match command {
        Command::CreateTopics {
            topics,
            validate_only,
        } => create::topics(plan, topics, validate_only),
        Command::DeleteTopics { topics } => delete::topics(plan, topics),
        Command::CreatePartitions {
            topics,
            validate_only,
        } => create::partitions(plan, topics, validate_only),
        Command::IncrementalAlterConfigs {
            resources,
            validate_only,
        } => alter::incremental(plan, resources, validate_only),
        Command::AlterConfigs {
            resources,
            validate_only,
        } => alter::replace(plan, resources, validate_only),
        Command::AllocateProducerIds => producer_ids(plan),
        Command::Register => register(plan),
        Command::BumpEpochs { partitions } => bump(plan, &partitions),
    }
}

fn producer_ids(plan: &mut Plan<'_>) -> Answer {
    let (first, len) = (plan.draft.next_producer_id, PRODUCER_ID_BLOCK);
    let Some(next) = first.checked_add(i64::from(len)) else {
        let message = "Exhausted all producerIds as the next block's end producerId has exceeded \
                       the int64 type limit";
        return Answer::Failed(Error::new(ErrorKind::InvalidRequest, message));
    };
    plan.record(Record::ProducerIds { next });
    Answer::ProducerIds(ProducerIds { first, len })
}

fn register(plan: &mut Plan<'_>) -> Answer {
    if plan.draft.is_registered() {
        return Answer::Done;
    }
    let cluster_id = base64(plan.ids.uuid());
    let node = plan.layers().broker("node.id");
    let node_id = node.and_then(|id| id.parse().ok()).unwrap_or(1);
    plan.record(Record::Registered {
        cluster_id,
        node_id,
    });
    // Since KIP-966 this setting belongs to the cluster; Kafka writes it down when it formats one.
    let name = "min.insync.replicas".to_owned();
    let value = plan.layers().broker(&name).map(str::to_owned);
    plan.record(Record::BrokerConfigSet {
        all: true,
        name,
        value,
    });
    Answer::Done
}

fn bump(plan: &mut Plan<'_>, partitions: &[PartitionId]) -> Answer {
    for &PartitionId { topic: id, index } in partitions {
        let partition = plan.draft.partition(PartitionId { topic: id, index });
        if let Some(epoch) = partition.and_then(|p| p.leader_epoch.checked_add(1)) {
            plan.record(Record::LeaderEpoch { id, index, epoch });
        }
    }
    Answer::Done
}
