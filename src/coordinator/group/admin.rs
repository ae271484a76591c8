//! DescribeGroups, ListGroups, DeleteGroups.

use super::answer::{Described, DescribedMember, GroupAnswer, GroupError, Listed};
use super::call::ListFilter;
use super::effects::{After, Cx};
use super::partition::{Partition, cancel_alarms};
use super::records::group_key;
use super::state::{Group, State};
use bytes::Bytes;
use std::sync::Arc;

/// The type of every group here (KIP-848 has others).
const TYPE: &str = "classic";

impl Partition {
    pub(super) fn describe(&self, cx: &mut Cx<'_>, id: &Arc<str>, ticket: u64) {
        let described = self
            .groups
            .get(id)
            .map(describe)
            .ok_or(GroupError::GroupIdNotFound);
        cx.reply(ticket, GroupAnswer::Describe(described));
    }

    pub(super) fn list(&self, filter: &ListFilter) -> Vec<Listed> {
        let passes = |wanted: &[Arc<str>], is: &str| {
            wanted.is_empty() || wanted.iter().any(|name| name.eq_ignore_ascii_case(is))
        };
        if !passes(&filter.types, TYPE) {
            return Vec::new();
        }
        let groups = self.groups.values();
        let groups = groups.filter(|group| passes(&filter.states, group.state().name()));
        let list = |group: &Group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state().name(),
        };
        groups.map(list).collect()
    }

    pub(super) fn delete(&mut self, cx: &mut Cx<'_>, id: &Arc<str>, ticket: u64) {
        let refused = match self.groups.get(id).map(Group::state) {
            None => Some(GroupError::GroupIdNotFound),
            Some(State::Empty) => None,
            Some(_) => Some(GroupError::NonEmptyGroup),
        };
        match refused {
            Some(error) => cx.reply(ticket, GroupAnswer::Delete(Err(error))),
            None => self.delete_empty(cx, id, Some(ticket)),
        }
    }

    /// Deletes an empty group and all its offsets.
    pub(super) fn delete_empty(&mut self, cx: &mut Cx<'_>, id: &Arc<str>, ticket: Option<u64>) {
        let Some(mut group) = self.groups.remove(id) else {
            return;
        };
        cancel_alarms(cx, &mut group);
        let write = cx.next_write();
        let all = self.all_offsets(id);
        let (mut records, touched) = self.tombstones(write, id, all);
        group.stored.write(write, None);
        records.push((group_key(id), None));
        cx.write(
            records,
            After::Deleted {
                group: Box::new(group),
                touched,
                ticket,
            },
        );
    }
}

fn describe(group: &Group) -> Described {
    let is_stable = group.state() == State::Stable;
    let protocol = group
        .protocol
        .clone()
        .filter(|_| is_stable)
        .unwrap_or_default();
    let members = group.members().values().map(|member| DescribedMember {
        member: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client.id.clone(),
        client_host: member.client.host.clone(),
        metadata: if is_stable {
            member.metadata(&protocol)
        } else {
            Bytes::new()
        },
        // As Kafka: during a rebalance still the one before it.
        assignment: member.assignment.clone(),
    });
    Described {
        group: group.id.clone(),
        state: group.state().name(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        members: members.collect(),
        protocol,
    }
}
