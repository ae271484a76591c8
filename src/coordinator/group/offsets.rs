//! OffsetCommit, OffsetFetch and OffsetDelete (`OffsetMetadataManager` in Kafka 4.2).

use super::answer::{FetchedPartition, FetchedTopic, GroupAnswer, GroupError, TopicResults};
use super::call::{CommitOffsets, CommitPartition, CommitTopic, DeleteOffsets, FetchOffsets};
use super::call::{FetchTopic, TopicUuid};
use super::effects::{After, Cx, Record};
use super::partition::{Offsets, Partition, StoredOffset};
use super::records::{OffsetCommit, offset_key};
use super::state::{Group, State};
use super::versions::Versions;
use std::sync::Arc;

impl Partition {
    pub(super) fn commit_offsets(&mut self, cx: &mut Cx<'_>, call: &CommitOffsets, ticket: u64) {
        let group = match self.check_commit(call) {
            Ok(group) => group,
            Err(error) => return cx.reply(ticket, GroupAnswer::CommitOffsets(Err(error))),
        };
        if let Some(group) = self.groups.get_mut(&group)
            && matches!(group.state(), State::Stable | State::PreparingRebalance)
        {
            cx.renew_session(group, &call.member);
        }
        let (id, mut touched, mut records, mut results) =
            (cx.next_write(), Vec::new(), Vec::new(), Vec::new());
        for topic in &call.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let result = check(topic, partition, cx.settings.offset_metadata_bytes_max);
                partitions.push((partition.index, result));
                if result.is_err() {
                    continue;
                }
                let commit = to_record(cx, call.retention_ms, topic, partition);
                let key = offset_key(&group, &topic.name, partition.index);
                records.push((key, Some(commit.encode())));
                let stored = StoredOffset {
                    commit,
                    seen: Some(cx.now.mono),
                };
                self.offset_mut(&group, &topic.name, partition.index)
                    .write(id, Some(stored));
                touched.push((topic.name.clone(), partition.index));
            }
            results.push(TopicResults {
                name: topic.name.clone(),
                id: topic.id,
                partitions,
            });
        }
        let answer = GroupAnswer::CommitOffsets(Ok(results));
        if records.is_empty() {
            return cx.reply(ticket, answer);
        }
        // Offsets of a consumer without membership make a group without a protocol.
        let now = cx.now;
        self.groups
            .entry(group.clone())
            .or_insert_with(|| Group::new(group.clone(), now));
        cx.write(
            records,
            After::Offsets {
                group,
                touched,
                reply: Some((ticket, answer)),
            },
        );
    }

    fn check_commit(&self, call: &CommitOffsets) -> Result<Arc<str>, GroupError> {
        let id = call.group.clone().ok_or(GroupError::InvalidGroupId)?;
        let Some(group) = self.groups.get(&id) else {
            return if call.generation < 0 {
                Ok(id)
            } else if call.knows_group_id_not_found {
                Err(GroupError::GroupIdNotFound)
            } else {
                Err(GroupError::IllegalGeneration)
            };
        };
        if call.generation < 0 && group.state() == State::Empty {
            return Ok(id);
        }
        if call.generation >= 0 || !call.member.is_empty() || call.instance.is_some() {
            group.check_member(&call.member, call.instance.as_deref())?;
            if call.generation != group.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if group.state() != State::Empty {
            return Err(GroupError::UnknownMember);
        }
        if group.state() == State::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(id)
    }

    pub(super) fn fetch_offsets(&self, cx: &mut Cx<'_>, call: &FetchOffsets, ticket: u64) {
        let Some(group) = &call.group else {
            let answer = GroupAnswer::FetchOffsets(Err(GroupError::InvalidGroupId));
            return cx.reply(ticket, answer);
        };
        let topics = call.topics.as_ref().map_or_else(
            || self.fetch_all(group, call.require_stable),
            |topics| {
                topics
                    .iter()
                    .map(|t| self.fetch_topic(group, t, call.require_stable))
                    .collect()
            },
        );
        let answer = GroupAnswer::FetchOffsets(Ok(topics));
        if call.require_stable {
            cx.reply_when_stable(ticket, answer);
        } else {
            cx.reply(ticket, answer);
        }
    }

    fn fetch_all(&self, group: &Arc<str>, stable: bool) -> Vec<FetchedTopic> {
        let mut fetched = Vec::new();
        for (name, offsets) in self.offsets.get(group).into_iter().flatten() {
            let view = |(index, versions): (&i32, _)| {
                readable(versions, stable).map(|stored| show(*index, Some(stored)))
            };
            let partitions: Vec<FetchedPartition> = offsets.iter().filter_map(view).collect();
            if !partitions.is_empty() {
                fetched.push(FetchedTopic {
                    name: name.clone(),
                    id: TopicUuid::default(),
                    partitions,
                });
            }
        }
        fetched
    }

    fn fetch_topic(&self, group: &Arc<str>, topic: &FetchTopic, stable: bool) -> FetchedTopic {
        let offsets: Option<&Offsets> = self
            .offsets
            .get(group)
            .and_then(|topics| topics.get(&topic.name));
        let none = TopicUuid::default();
        let is_same = |stored: &&StoredOffset| {
            stored.commit.topic == none || topic.id == none || stored.commit.topic == topic.id
        };
        let view = |index: &i32| {
            let versions = offsets.and_then(|offsets| offsets.get(index));
            show(
                *index,
                versions
                    .and_then(|found| readable(found, stable))
                    .filter(is_same),
            )
        };
        FetchedTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().map(view).collect(),
        }
    }

    pub(super) fn delete_offsets(&mut self, cx: &mut Cx<'_>, call: &DeleteOffsets, ticket: u64) {
        let id = &call.group;
        let checked = match self.groups.get(id) {
            _ if id.is_empty() => Err(GroupError::InvalidGroupId),
            None => Err(GroupError::GroupIdNotFound),
            Some(group) if group.state() != State::Empty && !group.is_consumer() => {
                Err(GroupError::NonEmptyGroup)
            }
            Some(group) => Ok(group),
        };
        let group = match checked {
            Ok(group) => group,
            Err(error) => return cx.reply(ticket, GroupAnswer::DeleteOffsets(Err(error))),
        };
        let (mut gone, mut results) = (Vec::new(), Vec::new());
        for (topic, partitions) in &call.topics {
            let result = if group.is_subscribed(topic) {
                Err(GroupError::SubscribedToTopic)
            } else {
                gone.extend(partitions.iter().map(|index| (topic.clone(), *index)));
                Ok(())
            };
            let partitions = partitions.iter().map(|index| (*index, result)).collect();
            let id = TopicUuid::default();
            results.push(TopicResults {
                name: topic.clone(),
                id,
                partitions,
            });
        }
        let answer = GroupAnswer::DeleteOffsets(Ok(results));
        let (records, touched) = self.tombstones(cx.next_write(), id, gone);
        if records.is_empty() {
            return cx.reply_when_stable(ticket, answer);
        }
        let group = id.clone();
        cx.write(
            records,
            After::Offsets {
                group,
                touched,
                reply: Some((ticket, answer)),
            },
        );
    }

    /// Deletes those of `offsets` that exist, under the id of the write to come.
    pub(super) fn tombstones(
        &mut self,
        write: u64,
        group: &Arc<str>,
        offsets: Vec<(Arc<str>, i32)>,
    ) -> (Vec<Record>, Vec<(Arc<str>, i32)>) {
        let (mut records, mut touched) = (Vec::new(), Vec::new());
        for (topic, partition) in offsets {
            let found = self
                .offsets
                .get_mut(group)
                .and_then(|topics| topics.get_mut(&topic)?.get_mut(&partition));
            if let Some(versions) = found.filter(|versions| versions.latest().is_some()) {
                versions.write(write, None);
                records.push((offset_key(group, &topic, partition), None));
                touched.push((topic, partition));
            }
        }
        (records, touched)
    }

    /// The id of the topic that an offset was committed for, if it was stored with it.
    fn topic_id_of(&self, group: &Arc<str>, topic: &Arc<str>, index: i32) -> TopicUuid {
        let topics = self.offsets.get(group);
        let versions = topics.and_then(|topics| topics.get(topic)?.get(&index));
        let stored = versions.and_then(Versions::latest);
        stored.map(|stored| stored.commit.topic).unwrap_or_default()
    }

    /// Every offset of a group.
    pub(super) fn all_offsets(&self, group: &Arc<str>) -> Vec<(Arc<str>, i32)> {
        let topics = self.offsets.get(group).into_iter().flatten();
        let each = |(topic, offsets): (&Arc<str>, &Offsets)| {
            let topic = topic.clone();
            offsets
                .keys()
                .map(move |index| (topic.clone(), *index))
                .collect::<Vec<_>>()
        };
        topics.flat_map(each).collect()
    }

    /// Offsets of deleted topics go (the topic's name may come back with another log).
    pub(super) fn forget_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        is_gone: &dyn Fn(&Arc<str>, TopicUuid) -> bool,
    ) {
        let groups: Vec<Arc<str>> = self.offsets.keys().cloned().collect();
        for group in groups {
            let mut gone = self.all_offsets(&group);
            gone.retain(|(topic, index)| is_gone(topic, self.topic_id_of(&group, topic, *index)));
            let (records, touched) = self.tombstones(cx.next_write(), &group, gone);
            if !records.is_empty() {
                cx.write(
                    records,
                    After::Offsets {
                        group,
                        touched,
                        reply: None,
                    },
                );
            }
        }
    }
}

/// Kafka counts UTF-16 units.
fn check(
    topic: &CommitTopic,
    partition: &CommitPartition,
    units_max: usize,
) -> Result<(), GroupError> {
    if topic.is_gone {
        return Err(GroupError::UnknownTopic);
    }
    let text = &partition.metadata;
    if text.len() > units_max && text.encode_utf16().count() > units_max {
        return Err(GroupError::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn to_record(
    cx: &Cx<'_>,
    retention_ms: Option<i64>,
    topic: &CommitTopic,
    partition: &CommitPartition,
) -> OffsetCommit {
    OffsetCommit {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch.max(-1),
        metadata: partition.metadata.clone(),
        committed_at_ms: cx.now.wall_ms,
        expires_at_ms: retention_ms.map(|retention| cx.now.wall_ms.saturating_add(retention)),
        topic: topic.id,
    }
}

/// What a fetch may see. One that asks for stable offsets waits for those under way; any other
/// one sees the durable ones.
fn readable(versions: &Versions<StoredOffset>, stable: bool) -> Option<&StoredOffset> {
    if stable {
        versions.latest()
    } else {
        versions.committed()
    }
}

fn show(index: i32, stored: Option<&StoredOffset>) -> FetchedPartition {
    stored.map_or_else(
        || FetchedPartition {
            index,
            offset: -1,
            leader_epoch: -1,
            metadata: Arc::default(),
        },
        |stored| FetchedPartition {
            index,
            offset: stored.commit.offset,
            leader_epoch: stored.commit.leader_epoch,
            metadata: stored.commit.metadata.clone(),
        },
    )
}
