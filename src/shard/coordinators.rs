//! The coordinators of a shard and their logs: group coordinators, and the controller on shard 0.
//!
//! Both work alike: a call yields records and an answer; the records go through the ordinary append
//! path of an internal partition; the answer leaves when they are durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use reactor::op::{Mono, Now};
use storage::batch::{Builder, Compression};
use storage::store::ReadError;
use storage::types::{METADATA, PartitionId, Slot, Ticket};

use crate::cluster::command::{Answer as ControlAnswer, Command};
use crate::cluster::controller::{Controller, Fx as ControllerFx};
use crate::cluster::image::Image;
use crate::cluster::queue::Queue;
use crate::cluster::replay::Replay as MetadataReplay;
use crate::coordinator::group::{GroupCall, GroupFx, Groups, TopicUuid, Write, WriteFailure};
use crate::partition::answers::{ProducedPart, Refusal, Trouble};
use crate::partition::calls::{ProduceCall, ProducePart};

use super::mail::{Answer, Mail, ReplyTo};
use super::replay::{LogRecord, Replay, Replayed};
use super::settings::{ShardSettings, metadata_settings};
use super::{INTERNAL, Level, Shard};

/// Whose records an internal append carries; the `part` of its [`ReplyTo`].
const OF_GROUPS: u32 = 0;
const OF_CONTROLLER: u32 = 1;

/// What a replay fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Metadata,
    Groups(PartitionId),
}

/// The coordinators of one shard.
pub(super) struct Coordinators {
    groups: Groups,
    group_fx: GroupFx,
    /// Partitions of the offsets topic that are loaded or being loaded here.
    group_partitions: BTreeMap<i32, PartitionId>,
    /// On shard 0, once the metadata log has been replayed.
    controller: Option<Controller>,
    metadata: MetadataReplay,
    seed: u64,
    controller_fx: ControllerFx,
    metadata_writes: Queue,
    tickets: BTreeMap<u64, ReplyTo>,
    replays: BTreeMap<Ticket, (Target, Replay)>,
    next: u64,
    /// Answers of the controller that wait until every shard has applied an image.
    unpublished: Vec<(u64, ReplyTo, ControlAnswer)>,
    /// By shard: the newest image it has applied.
    applied: Vec<u64>,
}

impl Coordinators {
    #[must_use]
    pub(super) fn new(settings: &ShardSettings, shard: u16) -> Self {
        let seed = settings.seed.wrapping_add(u64::from(shard) << 32);
        Self {
            groups: Groups::new(settings.group_settings(), seed),
            group_fx: GroupFx::default(),
            group_partitions: BTreeMap::new(),
            controller: None,
            metadata: MetadataReplay::new(),
            seed,
            controller_fx: ControllerFx::default(),
            metadata_writes: Queue::default(),
            tickets: BTreeMap::new(),
            replays: BTreeMap::new(),
            next: 0,
            unpublished: Vec::new(),
            applied: vec![0; usize::from(settings.shards)],
        }
    }

    #[must_use]
    pub(super) fn is_loading(&self) -> bool {
        !self.replays.is_empty()
    }

    #[must_use]
    pub(super) fn wake_at(&self) -> Option<Mono> {
        self.group_fx.wake_at
    }

    /// A partition is gone: its groups are too.
    pub(super) fn forget(&mut self, id: &PartitionId, now: Now) {
        if self.group_partitions.get(&id.index) == Some(id) {
            self.group_partitions.remove(&id.index);
            self.groups.unload(id.index, now, &mut self.group_fx);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Shard {
    // ---- replays -------------------------------------------------------------------------

    pub(super) fn on_metadata_ready(&mut self, now: Now) {
        let settings = metadata_settings();
        let slot = self.store.slot(&METADATA);
        let slot = slot.unwrap_or_else(|| self.store.create(METADATA, settings.log.clone(), now));
        self.partitions
            .open(METADATA, slot, 0, settings, &self.store);
        self.start_replay(Target::Metadata, slot, now);
    }

    pub(super) fn load_group_partition(&mut self, id: PartitionId, slot: Slot, now: Now) {
        if self.coordinators.group_partitions.get(&id.index) == Some(&id) {
            return;
        }
        self.coordinators.group_partitions.insert(id.index, id);
        self.coordinators.groups.load(id.index);
        self.start_replay(Target::Groups(id), slot, now);
    }

    fn start_replay(&mut self, target: Target, slot: Slot, now: Now) {
        let number = self.coordinators.number();
        let replay = Replay::new(slot, number, &self.store);
        self.run_replay(target, replay, Vec::new(), now);
    }

    fn run_replay(
        &mut self,
        target: Target,
        mut replay: Replay,
        records: Vec<LogRecord>,
        now: Now,
    ) {
        self.replay_records(target, records);
        match replay.run(now, &mut self.store, &mut self.fx.store) {
            Replayed::Pending(records) => {
                self.replay_records(target, records);
                self.coordinators
                    .replays
                    .insert(replay.ticket(), (target, replay));
            }
            Replayed::Complete(records) => {
                self.replay_records(target, records);
                self.replayed(target, now);
            }
            Replayed::Failed(why) => self.replay_failed(target, &why, now),
        }
    }

    pub(super) fn on_replay_read(
        &mut self,
        ticket: Ticket,
        result: Result<Vec<Bytes>, ReadError>,
        now: Now,
    ) {
        let Some((target, mut replay)) = self.coordinators.replays.remove(&ticket) else {
            return;
        };
        let mut records = Vec::new();
        match replay.on_read(result, &mut records) {
            Ok(()) => self.run_replay(target, replay, records, now),
            Err(why) => self.replay_failed(target, &why, now),
        }
        // A log that cannot be read ends its replay too: the others' groups are not held up.
        self.check_prepared();
    }

    fn replay_records(&mut self, target: Target, records: Vec<LogRecord>) {
        for record in records {
            match target {
                Target::Metadata => {
                    let value = record.value.unwrap_or_default();
                    if let Err(error) = self.coordinators.metadata.record(&value) {
                        let offset = record.offset;
                        self.fail(format!(
                            "the metadata log is damaged at offset {offset}: {error}. Restore the \
                             data directory from a copy."
                        ));
                        return;
                    }
                }
                Target::Groups(id) => {
                    let key = record.key.unwrap_or_default();
                    let value = record.value.as_deref();
                    if let Err(error) = self.coordinators.groups.replay(id.index, &key, value) {
                        let (index, offset) = (id.index, record.offset);
                        let line = format!(
                            "a record of __consumer_offsets-{index} is left out: offset {offset}, \
                             {error:?}"
                        );
                        self.line(Level::Warning, line);
                    }
                }
            }
        }
    }

    fn replayed(&mut self, target: Target, now: Now) {
        match target {
            Target::Metadata => self.metadata_replayed(now),
            Target::Groups(id) => {
                self.coordinators
                    .groups
                    .loaded(id.index, now, &mut self.coordinators.group_fx);
                self.forget_absent_topics(id.index, now);
                self.carry_group_effects(now);
            }
        }
    }

    /// A crash may have come between the deletion of a topic and that of its offsets. Offsets are
    /// committed for topics that exist only, so these would meet another topic of the same name.
    fn forget_absent_topics(&mut self, partition: i32, now: Now) {
        let (coordinators, image) = (&mut self.coordinators, &self.image);
        let fx = &mut coordinators.group_fx;
        let is_gone = |name: &Arc<str>, id: TopicUuid| is_gone(image, name, id);
        coordinators
            .groups
            .forget_offsets(partition, &is_gone, now, fx);
    }

    /// The controller begins where the metadata log ends; every shard learns what exists.
    fn metadata_replayed(&mut self, now: Now) {
        let replay = std::mem::take(&mut self.coordinators.metadata);
        let (bytes, seed) = (replay.bytes(), self.coordinators.seed);
        let fixed = Arc::new(self.settings.fixed.clone());
        let controller = Controller::new(fixed, replay.finish(), bytes, seed);
        if let Some(conflict) = controller.identity_conflict() {
            self.fail(conflict);
            return;
        }
        self.image = Arc::clone(controller.image());
        self.coordinators.controller = Some(controller);
        self.image_version = 1;
        let image = Arc::clone(&self.image);
        self.mail_image(&image);
        self.declare_alive(now);
    }

    fn replay_failed(&mut self, target: Target, why: &str, now: Now) {
        match target {
            Target::Metadata => self.fail(format!("the metadata log cannot be read: {why}")),
            Target::Groups(id) => {
                let index = id.index;
                self.coordinators
                    .groups
                    .unload(index, now, &mut self.coordinators.group_fx);
                let line = format!("groups of __consumer_offsets-{index} cannot be loaded: {why}");
                self.line(Level::Error, line);
            }
        }
    }

    // ---- groups --------------------------------------------------------------------------

    pub(super) fn group_call(
        &mut self,
        reply_to: ReplyTo,
        partition: i32,
        mut call: GroupCall,
        now: Now,
    ) {
        // Whoever sent it may have looked at an older image: the topic's offsets have been deleted
        // here since, and one that came behind would stay for the next topic of that name.
        if let GroupCall::CommitOffsets(commit) = &mut call {
            for topic in &mut commit.topics {
                topic.is_gone = is_gone(&self.applied, &topic.name, topic.id);
            }
        }
        let ticket = self.coordinators.number();
        self.coordinators.tickets.insert(ticket, reply_to);
        let coordinators = &mut self.coordinators;
        coordinators
            .groups
            .handle(now, partition, call, ticket, &mut coordinators.group_fx);
        self.carry_group_effects(now);
    }

    /// Replies leave, records are appended.
    fn carry_group_effects(&mut self, now: Now) {
        for (ticket, answer) in std::mem::take(&mut self.coordinators.group_fx.replies) {
            if let Some(reply_to) = self.coordinators.tickets.remove(&ticket) {
                self.fx
                    .answers
                    .push((reply_to, Answer::Group(Box::new(answer))));
            }
        }
        for write in std::mem::take(&mut self.coordinators.group_fx.writes) {
            self.append_group_records(write, now);
        }
        for (partition, offset) in std::mem::take(&mut self.coordinators.group_fx.trims) {
            if let Some(id) = self.coordinators.group_partitions.get(&partition).copied() {
                self.trim(id, offset, now);
            }
        }
    }

    fn append_group_records(&mut self, write: Write, now: Now) {
        let Some(id) = self
            .coordinators
            .group_partitions
            .get(&write.partition)
            .copied()
        else {
            let failure = WriteFailure::Lost;
            self.coordinators.groups.failed(
                write.id,
                failure,
                now,
                &mut self.coordinators.group_fx,
            );
            return;
        };
        let reply_to = ReplyTo {
            shard: INTERNAL,
            request: write.id,
            part: OF_GROUPS,
        };
        let keyed = write
            .records
            .into_iter()
            .map(|(key, value)| (Some(key), value));
        let records: Vec<(Option<Bytes>, Option<Bytes>)> = keyed.collect();
        self.append_internal(reply_to, id, &records, now);
    }

    fn append_internal(
        &mut self,
        reply_to: ReplyTo,
        id: PartitionId,
        records: &[(Option<Bytes>, Option<Bytes>)],
        now: Now,
    ) {
        let mut builder = Builder::new(Compression::None);
        let fits = records.iter().try_for_each(|(key, value)| {
            builder.append(now.wall_ms, key.as_deref(), value.as_deref(), &[])
        });
        let Some(batch) = fits.ok().and_then(|()| builder.build()) else {
            let refusal = Refusal::plain(Trouble::RecordListTooLarge);
            let parts = vec![ProducedPart {
                index: 0,
                result: Err(refusal),
            }];
            self.fx.answers.push((reply_to, Answer::Produced(parts)));
            return;
        };
        let part = ProducePart {
            index: 0,
            id,
            records: batch.into(),
        };
        let call = ProduceCall {
            parts: vec![part],
            deadline: Mono(u64::MAX),
            until_durable: true,
            internal: true,
            zstd_allowed: true,
        };
        self.partitions
            .produce(reply_to, call, now, &mut self.store, &mut self.fx);
    }

    pub(super) fn on_internal_append(&mut self, reply_to: ReplyTo, answer: &Answer, now: Now) {
        let Answer::Produced(parts) = answer else {
            return;
        };
        let [ProducedPart { result, .. }] = parts.as_slice() else {
            return;
        };
        let outcome = match result {
            Ok(produced) => Ok(produced.base_offset),
            Err(refusal) => Err(refusal.trouble),
        };
        let id = reply_to.request;
        match reply_to.part {
            OF_GROUPS => {
                let coordinators = &mut self.coordinators;
                match outcome {
                    Ok(base_offset) => {
                        let fx = &mut coordinators.group_fx;
                        coordinators.groups.committed(id, base_offset, now, fx);
                    }
                    Err(trouble) => coordinators.groups.failed(
                        id,
                        write_failure(trouble),
                        now,
                        &mut coordinators.group_fx,
                    ),
                }
                self.carry_group_effects(now);
            }
            OF_CONTROLLER => self.on_metadata_append(id, outcome, now),
            _ => {}
        }
    }

    /// What lies before `offset` is written again behind it and durable: it may go.
    fn trim(&mut self, id: PartitionId, offset: i64, now: Now) {
        let Some(slot) = self.partitions.slot(&id) else {
            return;
        };
        if let Err(error) = self.store.delete_records(slot, offset, now) {
            let line = format!("the old part of an internal log cannot be deleted: {error:?}");
            self.line(Level::Warning, line);
        }
    }

    pub(super) fn tick_coordinators(&mut self, now: Now) {
        let coordinators = &mut self.coordinators;
        if coordinators
            .group_fx
            .wake_at
            .is_some_and(|at| at <= now.mono)
        {
            coordinators.groups.tick(now, &mut coordinators.group_fx);
            self.carry_group_effects(now);
        }
    }

    /// Topics are gone: their committed offsets go too.
    pub(super) fn forget_topics(&mut self, topics: &[Arc<str>], now: Now) {
        let coordinators = &mut self.coordinators;
        coordinators
            .groups
            .topics_deleted(topics, now, &mut coordinators.group_fx);
        self.carry_group_effects(now);
    }

    pub(super) fn drain_coordinators(&mut self, now: Now) {
        let coordinators = &mut self.coordinators;
        coordinators.groups.drain(now, &mut coordinators.group_fx);
        self.carry_group_effects(now);
    }

    // ---- controller ----------------------------------------------------------------------

    pub(super) fn control_call(&mut self, reply_to: ReplyTo, command: Command, now: Now) {
        let ticket = self.coordinators.number();
        self.coordinators.tickets.insert(ticket, reply_to);
        let coordinators = &mut self.coordinators;
        if let Some(controller) = &mut coordinators.controller {
            controller.handle(now, command, ticket, &mut coordinators.controller_fx);
        }
        self.carry_control_effects(now);
    }

    /// At the very first start cluster and node get their names; then everyone serves.
    pub(super) fn register_cluster(&mut self, now: Now) {
        self.control_for_ourselves(Command::Register, now);
    }

    fn control_for_ourselves(&mut self, command: Command, now: Now) {
        let ticket = self.coordinators.number();
        let reply_to = ReplyTo {
            shard: INTERNAL,
            request: ticket,
            part: 0,
        };
        self.control_call(reply_to, command, now);
    }

    fn carry_control_effects(&mut self, now: Now) {
        let writes = std::mem::take(&mut self.coordinators.controller_fx.writes);
        self.coordinators.metadata_writes.extend(writes);
        self.append_metadata(now);
        if let Some(image) = self.coordinators.controller_fx.image.take() {
            self.publish(image, now);
        }
        if let Some(before) = self.coordinators.controller_fx.delete_before.take() {
            self.trim(METADATA, before, now);
        }
        for (ticket, answer) in std::mem::take(&mut self.coordinators.controller_fx.answers) {
            if let Some(reply_to) = self.coordinators.tickets.remove(&ticket) {
                let version = self.image_version;
                self.coordinators
                    .unpublished
                    .push((version, reply_to, answer));
            }
        }
        self.release_control_answers(now);
    }

    fn append_metadata(&mut self, now: Now) {
        while let Some(write) = self.coordinators.metadata_writes.take() {
            let id = write.id;
            let reply_to = ReplyTo {
                shard: INTERNAL,
                request: id,
                part: OF_CONTROLLER,
            };
            let values = write.records.into_iter();
            let records: Vec<_> = values.map(|value| (None, Some(value))).collect();
            let end = self.metadata_end();
            self.append_internal(reply_to, METADATA, &records, now);
            if self.metadata_end() == end {
                self.coordinators.metadata_writes.hold(id);
            }
        }
    }

    /// The end of the metadata log in memory.
    fn metadata_end(&self) -> Option<i64> {
        let slot = self.store.slot(&METADATA)?;
        Some(self.store.info(slot).end)
    }

    fn publish(&mut self, image: Arc<Image>, now: Now) {
        self.image_version += 1;
        self.mail_image(&image);
        self.coordinators.applied[0] = self.image_version;
        self.image = image;
        self.apply_image(now);
    }

    fn mail_image(&mut self, image: &Arc<Image>) {
        let version = self.image_version;
        for shard in 1..self.life.shards {
            self.post(
                shard,
                Mail::Image {
                    version,
                    image: Arc::clone(image),
                },
            );
        }
    }

    pub(super) fn on_image_applied(&mut self, from: u16, version: u64, now: Now) {
        if let Some(applied) = self.coordinators.applied.get_mut(usize::from(from)) {
            *applied = version.max(*applied);
        }
        self.release_control_answers(now);
    }

    /// An answer leaves when every shard works by the image that it speaks of.
    fn release_control_answers(&mut self, now: Now) {
        let coordinators = &mut self.coordinators;
        let oldest = coordinators.applied.iter().copied().min().unwrap_or(0);
        let (ready, waiting) = std::mem::take(&mut coordinators.unpublished)
            .into_iter()
            .partition(|(version, ..)| *version <= oldest);
        coordinators.unpublished = waiting;
        let ready: Vec<(u64, ReplyTo, ControlAnswer)> = ready;
        for (_, reply_to, answer) in ready {
            if reply_to.shard == INTERNAL {
                self.registered(answer, now);
            } else {
                self.fx
                    .answers
                    .push((reply_to, Answer::Control(Box::new(answer))));
            }
        }
    }

    /// One of our own commands is carried out: the next one, or the end of the start.
    fn registered(&mut self, answer: ControlAnswer, now: Now) {
        match answer {
            ControlAnswer::Failed(error) => {
                self.fail(format!(
                    "the cluster's id or an epoch cannot be stored: {error}"
                ));
            }
            _ if self.life.lossy.is_empty() => self.everyone_serve(),
            _ => {
                let partitions = std::mem::take(&mut self.life.lossy);
                self.control_for_ourselves(Command::BumpEpochs { partitions }, now);
            }
        }
    }

    fn on_metadata_append(&mut self, id: u64, outcome: Result<i64, Trouble>, now: Now) {
        let coordinators = &mut self.coordinators;
        let Some(controller) = &mut coordinators.controller else {
            return;
        };
        let fx = &mut coordinators.controller_fx;
        match outcome {
            Ok(base_offset) => {
                coordinators.metadata_writes.committed(id);
                controller.committed(id, base_offset, fx);
            }
            Err(trouble) => {
                coordinators.metadata_writes.failed(id);
                let why = format!("The metadata log cannot be written: {trouble:?}.");
                controller.failed(id, &why, fx);
            }
        }
        self.carry_control_effects(now);
    }
}

/// Whether an offset for the topic of this name and id, where that is known, is for none there is.
fn is_gone(image: &Image, name: &str, id: TopicUuid) -> bool {
    let topic = image.topic(name);
    topic.is_none_or(|topic| id != TopicUuid::default() && id != topic.id.0)
}

/// What Kafka's coordinator makes of a failed append (`CoordinatorRuntime`, 4.2).
fn write_failure(trouble: Trouble) -> WriteFailure {
    match trouble {
        Trouble::UnknownPartition | Trouble::TimedOut => WriteFailure::Unavailable,
        Trouble::MessageTooLarge | Trouble::RecordListTooLarge => WriteFailure::TooLarge,
        _ => WriteFailure::Lost,
    }
}
