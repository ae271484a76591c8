//! Consumer groups, classic protocol (KIP-62, 134, 211, 345, 394, 429, 496, 814).
//!
//! A shard owns the groups of the `__consumer_offsets` partitions that it owns: each has one
//! [`Groups`]. The machine is pure. It is called with the time, leaves answers and records in a
//! [`GroupFx`], and is told what became of the records. What a reader could lose is not shown to
//! it: an answer that rests on a record leaves when the record is durable.
//!
//! Deadlines are on the monotonic clock; the wall clock is for timestamps and retention only.

mod admin;
mod answer;
mod call;
mod deadlines;
mod effects;
mod join;
mod member_id;
mod offsets;
mod partition;
mod records;
mod resolve;
mod retention;
mod rewrite;
mod session;
mod settings;
mod state;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod versions;

pub use answer::*;
pub use call::*;
pub use records::Malformed;
pub use settings::GroupSettings;

use deadlines::{Alarm, Deadlines, Due};
use effects::{Cx, Writes};
use member_id::MemberIds;
use partition::Partition;
use reactor::op::Now;
use rewrite::Rewrite;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names in records have 16-bit lengths.
const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// The groups of one shard. Lives as long as the shard.
#[derive(Debug)]
pub struct Groups {
    settings: GroupSettings,
    ids: MemberIds,
    hosted: BTreeMap<i32, Hosted>,
    deadlines: Deadlines,
    next_write: u64,
    draining: bool,
}

/// One partition with what is under way for it.
#[derive(Debug)]
struct Hosted {
    partition: Partition,
    writes: Writes,
    rewrite: Rewrite,
    retention: Option<Alarm>,
}

impl Groups {
    /// `seed` makes the member ids that this coordinator gives out.
    #[must_use]
    pub const fn new(settings: GroupSettings, seed: u64) -> Self {
        Self {
            settings,
            ids: MemberIds::new(seed),
            hosted: BTreeMap::new(),
            deadlines: Deadlines::new(),
            next_write: 1,
            draining: false,
        }
    }

    /// Settings as they are from now on; running deadlines keep theirs.
    pub fn configure(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// This shard owns `partition` now and will replay its log. Until
    /// [`loaded`](Self::loaded) calls are answered with [`GroupError::Loading`].
    pub fn load(&mut self, partition: i32) {
        let hosted = Hosted {
            partition: Partition::new(),
            writes: Writes::default(),
            rewrite: Rewrite::default(),
            retention: None,
        };
        self.hosted.insert(partition, hosted);
    }

    /// Takes over one record of a partition being loaded, in the order of its log.
    ///
    /// # Errors
    /// The record cannot be read. It is left out, and its log is never trimmed.
    pub fn replay(
        &mut self,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Malformed> {
        let Some(hosted) = self.hosted.get_mut(&partition) else {
            return Ok(());
        };
        hosted.writes.log_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        hosted.partition.replay(key, value)
    }

    /// The log of `partition` has been replayed to its end.
    pub fn loaded(&mut self, partition: i32, now: Now, fx: &mut GroupFx) {
        self.on(partition, now, fx, |hosted, cx| {
            hosted.partition.become_loaded(cx);
            hosted.look_for_old_offsets_later(cx);
        });
    }

    /// This shard no longer owns `partition`: everybody who waits is sent elsewhere.
    pub fn unload(&mut self, partition: i32, now: Now, fx: &mut GroupFx) {
        self.on(partition, now, fx, |hosted, cx| {
            hosted.partition.abandon(cx);
            cx.deadlines.cancel(&mut hosted.retention);
            hosted.refuse_waiting(cx, GroupError::NotCoordinator);
        });
        self.hosted.remove(&partition);
    }

    /// One call. The answer comes under `ticket` in `fx`, now or after a later input.
    pub fn handle(
        &mut self,
        now: Now,
        partition: i32,
        call: GroupCall,
        ticket: u64,
        fx: &mut GroupFx,
    ) {
        if let Some(error) = self.refusal(partition, &call) {
            fx.replies.push((ticket, refuse(&call, error)));
        } else if let GroupCall::List(filter) = &call {
            let partitions = self.hosted.values();
            let listed = partitions
                .flat_map(|hosted| hosted.partition.list(filter))
                .collect();
            fx.replies.push((ticket, GroupAnswer::List(Ok(listed))));
        } else {
            self.on(partition, now, fx, |hosted, cx| {
                hosted.partition.handle(cx, call, ticket)
            });
        }
        fx.wake_at = self.deadlines.wake_at();
    }

    fn refusal(&self, partition: i32, call: &GroupCall) -> Option<GroupError> {
        let is_loading = |hosted: &Hosted| hosted.partition.loaded.is_none();
        if self.draining {
            return Some(GroupError::NotAvailable);
        }
        if matches!(call, GroupCall::List(_)) {
            return self
                .hosted
                .values()
                .any(is_loading)
                .then_some(GroupError::Loading);
        }
        if group_of(call).is_some_and(|id| id.len() > NAME_BYTES_MAX) {
            return Some(GroupError::InvalidGroupId);
        }
        match self.hosted.get(&partition) {
            None => Some(GroupError::NotCoordinator),
            Some(hosted) => is_loading(hosted).then_some(GroupError::Loading),
        }
    }

    /// The write `id` is durable; its first record has offset `base_offset`.
    pub fn committed(&mut self, id: u64, base_offset: i64, now: Now, fx: &mut GroupFx) {
        if let Some(partition) = self.partition_of(id) {
            self.on(partition, now, fx, |hosted, cx| {
                hosted.committed(cx, id, base_offset)
            });
        }
    }

    /// The write `id` is not in the log: everything that came of it is taken back.
    pub fn failed(&mut self, id: u64, why: WriteFailure, now: Now, fx: &mut GroupFx) {
        if let Some(partition) = self.partition_of(id) {
            self.on(partition, now, fx, |hosted, cx| {
                hosted.failed(cx, id, why.error())
            });
        }
    }

    /// Carries out every deadline that has come.
    pub fn tick(&mut self, now: Now, fx: &mut GroupFx) {
        let mark = self.deadlines.mark();
        while let Some((alarm, due)) = self.deadlines.next_due(now.mono, mark) {
            let (Due::Session { partition, .. }
            | Due::Join { partition, .. }
            | Due::InitialJoin { partition, .. }
            | Due::Sync { partition, .. }
            | Due::Retention { partition }) = due;
            self.on(partition, now, fx, |hosted, cx| {
                hosted.on_due(cx, alarm, due)
            });
        }
        fx.wake_at = self.deadlines.wake_at();
    }

    /// The broker is stopping: whoever is parked in a rebalance is sent elsewhere, new calls are
    /// refused; answers that wait for a write still come.
    pub fn drain(&mut self, now: Now, fx: &mut GroupFx) {
        self.draining = true;
        let all: Vec<i32> = self.hosted.keys().copied().collect();
        for partition in all {
            self.on(partition, now, fx, |hosted, cx| {
                hosted.partition.abandon(cx)
            });
        }
        self.deadlines = Deadlines::new();
        fx.wake_at = None;
    }

    /// Topics were deleted: their offsets are, too.
    pub fn topics_deleted(&mut self, topics: &[Arc<str>], now: Now, fx: &mut GroupFx) {
        let all: Vec<i32> = self.hosted.keys().copied().collect();
        for partition in all {
            self.forget_offsets(partition, &|topic, _| topics.contains(topic), now, fx);
        }
    }

    /// Deletes the offsets of `partition` whose topics are gone, by their names and ids; the id is
    /// zero where the offset was stored without.
    pub fn forget_offsets(
        &mut self,
        partition: i32,
        is_gone: &dyn Fn(&Arc<str>, TopicUuid) -> bool,
        now: Now,
        fx: &mut GroupFx,
    ) {
        self.on(partition, now, fx, |hosted, cx| {
            hosted.partition.forget_offsets(cx, is_gone)
        });
    }

    /// Keys and values that a replay of the whole log of `partition` would leave, those of writes
    /// under way included.
    #[must_use]
    pub fn live_records(&self, partition: i32) -> Vec<(bytes::Bytes, Option<bytes::Bytes>)> {
        self.hosted
            .get(&partition)
            .map(|hosted| hosted.partition.live_records())
            .unwrap_or_default()
    }

    fn partition_of(&self, write: u64) -> Option<i32> {
        let holds = |hosted: &Hosted| hosted.writes.in_flight.contains_key(&write);
        self.hosted
            .iter()
            .find(|(_, hosted)| holds(hosted))
            .map(|(partition, _)| *partition)
    }

    fn on(
        &mut self,
        partition: i32,
        now: Now,
        fx: &mut GroupFx,
        step: impl FnOnce(&mut Hosted, &mut Cx<'_>),
    ) {
        if let Some(hosted) = self.hosted.get_mut(&partition) {
            // Moved out, so that a step can change the partition and write records at once.
            let mut writes = std::mem::take(&mut hosted.writes);
            let mut cx = Cx {
                settings: &self.settings,
                ids: &mut self.ids,
                deadlines: &mut self.deadlines,
                next_write: &mut self.next_write,
                fx,
                now,
                partition,
                writes: &mut writes,
            };
            step(hosted, &mut cx);
            if hosted.partition.loaded.is_some() && !self.draining {
                hosted.rewrite.consider(&hosted.partition, &mut cx);
            }
            hosted.writes = writes;
        }
        fx.wake_at = self.deadlines.wake_at();
    }
}

/// The group that a call is about.
fn group_of(call: &GroupCall) -> Option<&Arc<str>> {
    match call {
        GroupCall::Join(call) => Some(&call.group),
        GroupCall::Sync(call) => Some(&call.group),
        GroupCall::Heartbeat(call) => Some(&call.group),
        GroupCall::Leave(call) => Some(&call.group),
        GroupCall::CommitOffsets(call) => call.group.as_ref(),
        GroupCall::FetchOffsets(call) => call.group.as_ref(),
        GroupCall::DeleteOffsets(call) => Some(&call.group),
        GroupCall::Describe { group } | GroupCall::Delete { group } => Some(group),
        GroupCall::List(_) => None,
    }
}

/// The answer that refuses a call as a whole.
fn refuse(call: &GroupCall, error: GroupError) -> GroupAnswer {
    match call {
        GroupCall::Join(call) => GroupAnswer::Join(Err(JoinRefused {
            error,
            member: call.member.clone(),
        })),
        GroupCall::Sync(_) => GroupAnswer::Sync(Err(error)),
        // A member need not know that its group is still being loaded: its session begins anew.
        GroupCall::Heartbeat(_) if error == GroupError::Loading => GroupAnswer::Heartbeat(Ok(())),
        GroupCall::Heartbeat(_) => GroupAnswer::Heartbeat(Err(error)),
        GroupCall::Leave(_) => GroupAnswer::Leave(Err(error)),
        GroupCall::CommitOffsets(_) => GroupAnswer::CommitOffsets(Err(error)),
        GroupCall::FetchOffsets(_) => GroupAnswer::FetchOffsets(Err(error)),
        GroupCall::DeleteOffsets(_) => GroupAnswer::DeleteOffsets(Err(error)),
        GroupCall::Describe { .. } => GroupAnswer::Describe(Err(error)),
        GroupCall::Delete { .. } => GroupAnswer::Delete(Err(error)),
        GroupCall::List(_) => GroupAnswer::List(Err(error)),
    }
}

/// The answer that takes another one's place when what it rests on has failed.
fn refuse_answer(answer: &GroupAnswer, error: GroupError) -> GroupAnswer {
    match answer {
        GroupAnswer::Join(answer) => {
            let member = match answer {
                Ok(joined) => joined.member.clone(),
                Err(refused) => refused.member.clone(),
            };
            GroupAnswer::Join(Err(JoinRefused { error, member }))
        }
        GroupAnswer::Sync(_) => GroupAnswer::Sync(Err(error)),
        GroupAnswer::Heartbeat(_) => GroupAnswer::Heartbeat(Err(error)),
        GroupAnswer::Leave(_) => GroupAnswer::Leave(Err(error)),
        GroupAnswer::CommitOffsets(_) => GroupAnswer::CommitOffsets(Err(error)),
        GroupAnswer::FetchOffsets(_) => GroupAnswer::FetchOffsets(Err(error)),
        GroupAnswer::DeleteOffsets(_) => GroupAnswer::DeleteOffsets(Err(error)),
        GroupAnswer::Describe(_) => GroupAnswer::Describe(Err(error)),
        GroupAnswer::Delete(_) => GroupAnswer::Delete(Err(error)),
        GroupAnswer::List(_) => GroupAnswer::List(Err(error)),
    }
}
