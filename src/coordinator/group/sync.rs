//! SyncGroup: the leader hands in the assignment, everybody else waits for it.

use super::answer::{GroupError, Synced};
use super::call::Sync;
use super::effects::{After, Cx};
use super::join::{drop_member, prepare_rebalance, rebalance_or_complete};
use super::partition::Partition;
use super::records::group_key;
use super::state::{Group, State};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Partition {
    pub(super) fn sync(&mut self, cx: &mut Cx<'_>, call: &Sync, ticket: u64) {
        if call.group.is_empty() {
            return cx.sync(ticket, Err(GroupError::InvalidGroupId));
        }
        let known = self.groups.get_mut(&call.group);
        let Some(group) = known.filter(|group| group.state() != State::Empty) else {
            return cx.sync(ticket, Err(GroupError::UnknownMember));
        };
        if let Err(error) = check(group, call) {
            return cx.sync(ticket, Err(error));
        }
        match group.state() {
            State::Empty | State::PreparingRebalance => {
                cx.sync(ticket, Err(GroupError::RebalanceInProgress));
            }
            State::CompletingRebalance => {
                synced(cx, group, &call.member);
                let member = group
                    .member_mut(&call.member)
                    .expect("the call was checked");
                if let Some(before) = member.syncing.replace(ticket) {
                    cx.sync(before, Err(GroupError::RebalanceInProgress));
                }
                if group.is_leader(&call.member) && group.assigning.is_none() {
                    store_assignment(cx, group, call);
                }
            }
            State::Stable => {
                synced(cx, group, &call.member);
                let answer = assignment_of(group, &call.member);
                cx.sync(ticket, Ok(answer));
            }
        }
    }
}

fn check(group: &Group, call: &Sync) -> Result<(), GroupError> {
    group.check_member(&call.member, call.instance.as_deref())?;
    if call.generation != group.generation {
        return Err(GroupError::IllegalGeneration);
    }
    let differs = |said: &Option<Arc<str>>, is: &Option<Arc<str>>| {
        said.is_some() && is.is_some() && said != is
    };
    if differs(&call.protocol_type, &group.protocol_type)
        || differs(&call.protocol_name, &group.protocol)
    {
        return Err(GroupError::InconsistentProtocol);
    }
    Ok(())
}

/// The member has asked for its assignment in time.
fn synced(cx: &mut Cx<'_>, group: &mut Group, member: &str) {
    group.pending_syncs.remove(member);
    if group.pending_syncs.is_empty() {
        cx.deadlines.cancel(&mut group.sync_alarm);
    }
}

fn assignment_of(group: &Group, member: &str) -> Synced {
    Synced {
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol.clone(),
        assignment: group
            .members()
            .get(member)
            .map(|m| m.assignment.clone())
            .unwrap_or_default(),
    }
}

/// Writes the leader's assignment; a member it does not name gets an empty one.
fn store_assignment(cx: &mut Cx<'_>, group: &mut Group, call: &Sync) {
    let given: BTreeMap<&Arc<str>, &Bytes> = call
        .assignments
        .iter()
        .map(|(member, bytes)| (member, bytes))
        .collect();
    let own = |id: &Arc<str>| {
        let bytes = given.get(id).map(|bytes| Bytes::copy_from_slice(bytes));
        (id.clone(), bytes.unwrap_or_default())
    };
    let assignment: BTreeMap<Arc<str>, Bytes> = group.members().keys().map(own).collect();
    let value = group.to_record(Some(&assignment));
    let (id, generation) = (group.id.clone(), group.generation);
    group.stored.write(cx.next_write(), Some(value.clone()));
    group.assigning = Some(cx.next_write());
    let after = After::Assignment {
        group: id.clone(),
        generation,
        assignment,
    };
    cx.write(vec![(group_key(&id), Some(value))], after);
}

/// The assignment is durable: the generation is stable, and everybody who waits is told.
pub(super) fn assigned(
    cx: &mut Cx<'_>,
    group: &mut Group,
    generation: i32,
    mut assignment: BTreeMap<Arc<str>, Bytes>,
) {
    if group.state() != State::CompletingRebalance || group.generation != generation {
        return;
    }
    for member in group.members_mut() {
        member.assignment = assignment.remove(&member.id).unwrap_or_default();
    }
    group.become_state(State::Stable, cx.now);
    group.assigning = None;
    answer_parked_syncs(cx, group, None);
}

/// The assignment could not be written: everybody has to join again.
pub(super) fn assignment_failed(
    cx: &mut Cx<'_>,
    group: &mut Group,
    generation: i32,
    error: GroupError,
) {
    if group.state() == State::CompletingRebalance && group.generation == generation {
        reset_assignments(cx, group, error);
        rebalance_or_complete(cx, group);
    }
}

pub(super) fn reset_assignments(cx: &mut Cx<'_>, group: &mut Group, error: GroupError) {
    for member in group.members_mut() {
        member.assignment = Bytes::new();
    }
    answer_parked_syncs(cx, group, Some(error));
}

/// Answers parked calls and starts the members' sessions anew, which stood still meanwhile.
fn answer_parked_syncs(cx: &mut Cx<'_>, group: &mut Group, error: Option<GroupError>) {
    let ids: Vec<Arc<str>> = group.members().keys().cloned().collect();
    for id in ids {
        let Some(ticket) = group
            .member_mut(&id)
            .and_then(|member| member.syncing.take())
        else {
            continue;
        };
        let answer = error.map_or_else(|| Ok(assignment_of(group, &id)), Err);
        cx.sync(ticket, answer);
        cx.renew_session(group, &id);
    }
}

/// Members that have not asked for their assignment within the rebalance timeout are taken out.
pub(super) fn sync_overdue(cx: &mut Cx<'_>, group: &mut Group, generation: i32) {
    let is_open = matches!(group.state(), State::CompletingRebalance | State::Stable);
    if !is_open || group.generation != generation || group.pending_syncs.is_empty() {
        return;
    }
    for id in std::mem::take(&mut group.pending_syncs) {
        drop_member(cx, group, &id, GroupError::UnknownMember);
    }
    prepare_rebalance(cx, group);
}
