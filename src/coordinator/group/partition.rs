//! The groups and offsets of one partition of `__consumer_offsets`.

use super::answer::GroupError;
use super::call::GroupCall;
use super::effects::{Cx, Record};
use super::join::prepare_rebalance;
use super::records::{GroupMetadata, Key, Malformed, OffsetCommit, group_key, offset_key};
use super::state::{Group, State};
use super::versions::Versions;
use bytes::Bytes;
use reactor::op::{Mono, Now};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A committed offset, and when this process saw it committed (not if it was read from the log).
#[derive(Clone, Debug)]
pub(super) struct StoredOffset {
    pub(super) commit: OffsetCommit,
    pub(super) seen: Option<Mono>,
}

pub(super) type Offsets = BTreeMap<i32, Versions<StoredOffset>>;
pub(super) type Topics = BTreeMap<Arc<str>, Offsets>;

#[derive(Debug)]
pub(super) struct Partition {
    /// When the log was read to its end; `None` while that is under way.
    pub(super) loaded: Option<Now>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    /// By group, topic and partition.
    pub(super) offsets: BTreeMap<Arc<str>, Topics>,
    /// Records in the log that could not be read: they are never trimmed away.
    pub(super) unreadable: u64,
}

impl Partition {
    pub(super) const fn new() -> Self {
        Self {
            loaded: None,
            groups: BTreeMap::new(),
            offsets: BTreeMap::new(),
            unreadable: 0,
        }
    }

    pub(super) fn handle(&mut self, cx: &mut Cx<'_>, call: GroupCall, ticket: u64) {
        match call {
            GroupCall::Join(call) => self.join(cx, &call, ticket),
            GroupCall::Sync(call) => self.sync(cx, &call, ticket),
            GroupCall::Heartbeat(call) => self.heartbeat(cx, &call, ticket),
            GroupCall::Leave(call) => self.leave(cx, call, ticket),
            GroupCall::CommitOffsets(call) => self.commit_offsets(cx, &call, ticket),
            GroupCall::FetchOffsets(call) => self.fetch_offsets(cx, &call, ticket),
            GroupCall::DeleteOffsets(call) => self.delete_offsets(cx, &call, ticket),
            GroupCall::Describe { group } => self.describe(cx, &group, ticket),
            GroupCall::Delete { group } => self.delete(cx, &group, ticket),
            GroupCall::List(_) => {}
        }
    }

    /// Takes over one record of the log.
    pub(super) fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Malformed> {
        let result = Key::decode(key).and_then(|key| self.replay_decoded(key, value));
        self.unreadable += u64::from(result.is_err());
        result
    }

    fn replay_decoded(&mut self, key: Key, value: Option<&[u8]>) -> Result<(), Malformed> {
        match (key, value) {
            (Key::Group(id), None) => {
                self.groups.remove(&id);
            }
            (Key::Group(id), Some(bytes)) => {
                let mut group = Group::from_record(id.clone(), GroupMetadata::decode(bytes)?);
                group.stored.replay(Some(Bytes::copy_from_slice(bytes)));
                self.groups.insert(id, group);
            }
            (
                Key::Offset {
                    group,
                    topic,
                    partition,
                },
                Some(bytes),
            ) => {
                let commit = OffsetCommit::decode(bytes)?;
                let stored = StoredOffset { commit, seen: None };
                // A group without a record of its own: offsets of a consumer without membership.
                self.groups
                    .entry(group.clone())
                    .or_insert_with(|| Group::new(group.clone(), Now::default()));
                self.offset_mut(&group, &topic, partition)
                    .replay(Some(stored));
            }
            (
                Key::Offset {
                    group,
                    topic,
                    partition,
                },
                None,
            ) => {
                self.offset_mut(&group, &topic, partition).replay(None);
                self.forget_vacant(&group, &[(topic, partition)]);
            }
        }
        Ok(())
    }

    /// The log is read to its end: sessions of the members there are begin now.
    pub(super) fn become_loaded(&mut self, cx: &mut Cx<'_>) {
        self.loaded = Some(cx.now);
        for group_id in self.offsets.keys() {
            // Only a log that lost a group's record but not its tombstone has such offsets.
            self.groups
                .entry(group_id.clone())
                .or_insert_with(|| Group::new(group_id.clone(), cx.now));
        }
        for group in self.groups.values_mut() {
            let ids: Vec<Arc<str>> = group.members().keys().cloned().collect();
            for id in &ids {
                cx.renew_session(group, id);
            }
            if ids.len() > cx.settings.members_max && group.state() == State::Stable {
                prepare_rebalance(cx, group);
            }
        }
    }

    /// Answers everything that is parked and cancels every alarm.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>) {
        for group in self.groups.values_mut() {
            let ids: Vec<Arc<str>> = group.members().keys().cloned().collect();
            for id in ids {
                if let Some(ticket) = group.park_join(&id, None) {
                    cx.refuse_join(ticket, GroupError::NotCoordinator, id.clone());
                }
                let Some(member) = group.member_mut(&id) else {
                    continue;
                };
                cx.deadlines.cancel(&mut member.session);
                if let Some(ticket) = member.syncing.take() {
                    cx.sync(ticket, Err(GroupError::NotCoordinator));
                }
            }
            cancel_alarms(cx, group);
        }
    }

    pub(super) fn offset_mut(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
    ) -> &mut Versions<StoredOffset> {
        let topics = self.offsets.entry(group.clone()).or_default();
        topics
            .entry(topic.clone())
            .or_default()
            .entry(partition)
            .or_default()
    }

    /// Applies `change` to offsets that a write has touched.
    pub(super) fn resolve(
        &mut self,
        group: &Arc<str>,
        touched: &[(Arc<str>, i32)],
        change: impl Fn(&mut Versions<StoredOffset>),
    ) {
        for (topic, partition) in touched {
            change(self.offset_mut(group, topic, *partition));
        }
        self.forget_vacant(group, touched);
    }

    fn forget_vacant(&mut self, group: &Arc<str>, touched: &[(Arc<str>, i32)]) {
        let Some(topics) = self.offsets.get_mut(group) else {
            return;
        };
        for (topic, partition) in touched {
            let Some(offsets) = topics.get_mut(topic) else {
                continue;
            };
            if offsets.get(partition).is_some_and(Versions::is_vacant) {
                offsets.remove(partition);
            }
            if offsets.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.offsets.remove(group);
        }
    }

    /// Forgets a group that was only there for offsets that could not be written.
    pub(super) fn forget_unfounded(&mut self, id: &Arc<str>) {
        let unfounded = |group: &Group| {
            group.stored.is_vacant()
                && group.state() == State::Empty
                && group.pending_joins.is_empty()
        };
        if !self.offsets.contains_key(id) && self.groups.get(id).is_some_and(unfounded) {
            self.groups.remove(id);
        }
    }

    /// Every record that a replay of the whole log would leave, with what is under way.
    pub(super) fn live_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, group) in &self.groups {
            if let Some(value) = group.stored.latest() {
                records.push((group_key(id), Some(value.clone())));
            }
        }
        for (id, topics) in &self.offsets {
            for (topic, offsets) in topics {
                for (partition, versions) in offsets {
                    if let Some(stored) = versions.latest() {
                        let key = offset_key(id, topic, *partition);
                        records.push((key, Some(stored.commit.encode())));
                    }
                }
            }
        }
        records
    }

    /// A group's record, if asked for, and some of its offsets, as they should be after the last
    /// one written, tombstones included.
    pub(super) fn records_of(
        &self,
        id: &Arc<str>,
        record: bool,
        offsets: &[(Arc<str>, i32)],
    ) -> Vec<Record> {
        let mut records = Vec::new();
        if record {
            let stored = self
                .groups
                .get(id)
                .and_then(|group| group.stored.latest().cloned());
            records.push((group_key(id), stored));
        }
        let topics = self.offsets.get(id);
        for (topic, partition) in offsets {
            let versions = topics.and_then(|topics| topics.get(topic)?.get(partition));
            let value = versions
                .and_then(Versions::latest)
                .map(|stored| stored.commit.encode());
            records.push((offset_key(id, topic, *partition), value));
        }
        records
    }
}

/// Cancels the alarms of a group that goes.
pub(super) fn cancel_alarms(cx: &mut Cx<'_>, group: &mut Group) {
    cx.deadlines.cancel(&mut group.join_alarm);
    cx.deadlines.cancel(&mut group.sync_alarm);
    for (_, mut alarm) in std::mem::take(&mut group.pending_joins) {
        cx.deadlines.cancel(&mut alarm);
    }
}
