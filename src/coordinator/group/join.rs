//! JoinGroup and the join phase of a rebalance (KIP-62, KIP-134, KIP-345, KIP-394, KIP-814).

use super::answer::{GroupError, Joined};
use super::call::Join;
use super::deadlines::Due;
use super::effects::{After, Cx, Replaced};
use super::partition::Partition;
use super::records::group_key;
use super::state::{Group, Member, State};
use std::sync::Arc;

/// A join phase that nobody has joined is looked at again no sooner than this, in ms.
const JOIN_AGAIN_MS_MIN: u64 = 1_000;

impl Partition {
    pub(super) fn join(&mut self, cx: &mut Cx<'_>, call: &Join, ticket: u64) {
        let settings = cx.settings;
        let session_bounds = settings.session_timeout_min_ms..=settings.session_timeout_max_ms;
        if call.group.is_empty() {
            return cx.refuse_join(ticket, GroupError::InvalidGroupId, call.member.clone());
        }
        if !session_bounds.contains(&call.session_timeout_ms) {
            return cx.refuse_join(
                ticket,
                GroupError::InvalidSessionTimeout,
                call.member.clone(),
            );
        }
        let is_new_group = !self.groups.contains_key(&call.group);
        if is_new_group && !call.member.is_empty() {
            return cx.refuse_join(ticket, GroupError::UnknownMember, call.member.clone());
        }
        let now = cx.now;
        let group = self
            .groups
            .entry(call.group.clone())
            .or_insert_with(|| Group::new(call.group.clone(), now));
        // A brand-new group that refuses its first member was never there.
        if is_new_group && !group.supports(call) {
            self.groups.remove(&call.group);
            return cx.refuse_join(ticket, GroupError::InconsistentProtocol, Arc::default());
        }
        if is_new_group {
            // The group exists before its first generation, so that it is found after a restart.
            let value = group.to_record(None);
            group.stored.write(cx.next_write(), Some(value.clone()));
            let after = After::NewGroup {
                group: group.id.clone(),
            };
            cx.write(vec![(group_key(&group.id), Some(value))], after);
        }
        if !accepts(group, &call.member, settings.members_max) {
            drop_member(cx, group, &call.member, GroupError::GroupMaxSizeReached);
            return cx.refuse_join(ticket, GroupError::GroupMaxSizeReached, Arc::default());
        }
        if call.member.is_empty() {
            join_new(cx, group, call, ticket);
        } else {
            join_known(cx, group, call, ticket);
        }
    }
}

/// Whether `group.max.size` leaves room. During a rebalance those count who are parked, so that
/// the last ones to come back are the ones that have to go.
fn accepts(group: &Group, member: &str, members_max: usize) -> bool {
    let known = group.members().get(member);
    match group.state() {
        State::Empty => true,
        State::PreparingRebalance => {
            known.is_some_and(|member| member.joining.is_some()) || group.joining() < members_max
        }
        State::CompletingRebalance | State::Stable => {
            known.is_some() || group.members().len() < members_max
        }
    }
}

fn join_new(cx: &mut Cx<'_>, group: &mut Group, call: &Join, ticket: u64) {
    if !group.supports(call) {
        return cx.refuse_join(ticket, GroupError::InconsistentProtocol, Arc::default());
    }
    let Some(instance) = &call.instance else {
        let id = cx.ids.generate(&call.client.id);
        if !call.member_id_required {
            return add(cx, group, call, id, ticket);
        }
        let mut alarm = None;
        let due = Due::Session {
            partition: cx.partition,
            group: group.id.clone(),
            member: id.clone(),
        };
        let timeout_ms = u64::try_from(call.session_timeout_ms).unwrap_or(0);
        cx.deadlines
            .set(&mut alarm, cx.now.mono.after_ms(timeout_ms), due);
        group.pending_joins.insert(id.clone(), alarm);
        return cx.refuse_join(ticket, GroupError::MemberIdRequired, id);
    };
    let id = cx.ids.generate(instance);
    match group.member_of_instance(instance).cloned() {
        Some(old) => replace_static(cx, group, call, (instance, &old, id), ticket),
        None => add(cx, group, call, id, ticket),
    }
}

fn join_known(cx: &mut Cx<'_>, group: &mut Group, call: &Join, ticket: u64) {
    let id = &call.member;
    if !group.supports(call) {
        return cx.refuse_join(ticket, GroupError::InconsistentProtocol, id.clone());
    }
    if group.pending_joins.contains_key(id) {
        // Ids are given out to dynamic members only; with an instance id this is somebody else.
        return if call.instance.is_some() {
            cx.refuse_join(ticket, GroupError::UnknownMember, id.clone())
        } else {
            add(cx, group, call, id.clone(), ticket)
        };
    }
    if let Err(error) = group.check_member(id, call.instance.as_deref()) {
        return cx.refuse_join(ticket, error, id.clone());
    }
    let unchanged = group
        .members()
        .get(id)
        .is_some_and(|member| member.matches(call));
    match group.state() {
        // Loaded or half removed: the member shall forget its generation and start again.
        State::Empty => cx.refuse_join(ticket, GroupError::UnknownMember, id.clone()),
        // It missed the answer: the generation stands.
        State::CompletingRebalance if unchanged => {
            let joined = current(group, id, group.is_leader(id));
            cx.joined(ticket, joined);
        }
        // The leader alone may ask for a rebalance without a change of its own, because only it
        // knows when topics have changed.
        State::Stable if unchanged && !group.is_leader(id) => {
            let joined = current(group, id, false);
            cx.joined(ticket, joined);
        }
        _ => {
            group.update(id, call);
            park(cx, group, id, ticket);
            rebalance_or_complete(cx, group);
        }
    }
}

/// Parks a JoinGroup. One parked before belongs to a client that has given up on it.
fn park(cx: &mut Cx<'_>, group: &mut Group, member: &Arc<str>, ticket: u64) {
    if let Some(before) = group.park_join(member, Some(ticket)) {
        cx.refuse_join(before, GroupError::RebalanceInProgress, member.clone());
    }
}

fn current(group: &Group, member: &Arc<str>, with_members: bool) -> Joined {
    Joined {
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol.clone(),
        leader: group.leader.clone().unwrap_or_default(),
        member: member.clone(),
        skip_assignment: false,
        members: if with_members {
            group.joined_members()
        } else {
            Vec::new()
        },
    }
}

fn add(cx: &mut Cx<'_>, group: &mut Group, call: &Join, id: Arc<str>, ticket: u64) {
    if group.is_initial_rebalance() {
        group.new_member_added = true;
    }
    if let Some(mut alarm) = group.pending_joins.remove(&id) {
        cx.deadlines.cancel(&mut alarm);
    }
    if group.members().is_empty() {
        group.protocol_type = Some(call.protocol_type.clone());
    }
    group.add(Member::new(id.clone(), call));
    park(cx, group, &id, ticket);
    // It has no id to send heartbeats with, and a parked connection is not seen to close: without
    // a bound of its own a client that retries would leave dead members behind.
    cx.set_session(group, &id, cx.settings.new_member_join_timeout_ms);
    rebalance_or_complete(cx, group);
}

/// A known instance id under a new member id: the old one is fenced; a stable group goes on
/// without a rebalance if the protocol stays.
fn replace_static(
    cx: &mut Cx<'_>,
    group: &mut Group,
    call: &Join,
    (instance, old, new): (&Arc<str>, &Arc<str>, Arc<str>),
    ticket: u64,
) {
    let old_leader = group.leader.clone();
    let Some(mut fenced) = group.rename(instance, old, &new) else {
        return cx.refuse_join(ticket, GroupError::UnknownMember, Arc::default());
    };
    cx.deadlines.cancel(&mut fenced.session);
    answer_parked(cx, &fenced, GroupError::FencedInstance);
    group.update(&new, call);
    park(cx, group, &new, ticket);
    cx.renew_session(group, &new);
    match group.state() {
        State::Stable if group.select_protocol() == group.protocol => {
            let value = group.to_record(None);
            group.stored.write(cx.next_write(), Some(value.clone()));
            let after = After::Replaced(Box::new(Replaced {
                group: group.id.clone(),
                generation: group.generation,
                instance: instance.clone(),
                old: old.clone(),
                new,
                old_protocols: fenced.protocols,
                old_rebalance_timeout_ms: fenced.rebalance_timeout_ms,
                old_session_timeout_ms: fenced.session_timeout_ms,
                old_leader,
                can_skip_assignment: call.can_skip_assignment,
            }));
            cx.write(vec![(group_key(&group.id), Some(value))], after);
        }
        State::Stable => rebalance_or_complete(cx, group),
        // The leader may have been told the old id already: its assignment would miss the new one.
        State::CompletingRebalance => prepare_rebalance(cx, group),
        State::PreparingRebalance | State::Empty => maybe_complete(cx, group),
    }
}

/// The record of a replacement is durable.
pub(super) fn replaced(cx: &mut Cx<'_>, group: &mut Group, done: &Replaced) {
    // If a rebalance has begun meanwhile, the parked call is part of it.
    if group.state() != State::Stable || group.generation != done.generation {
        return;
    }
    if let Some(ticket) = group.park_join(&done.new, None) {
        // While it was parked its session may have ended without a word.
        cx.renew_session(group, &done.new);
        let is_leader = group.is_leader(&done.new);
        let mut joined = current(group, &done.new, is_leader && done.can_skip_assignment);
        if done.can_skip_assignment {
            joined.skip_assignment = is_leader;
        } else {
            // An older client that saw itself as the leader would assign again; it is shown the
            // id it had before, and takes itself for a follower.
            joined.leader = done.old_leader.clone().unwrap_or_default();
        }
        cx.joined(ticket, joined);
    }
}

/// The record of a replacement could not be written: the old id is back.
pub(super) fn replacement_failed(
    cx: &mut Cx<'_>,
    group: &mut Group,
    done: Replaced,
    error: GroupError,
) {
    if group.member_of_instance(&done.instance) != Some(&done.new) {
        return;
    }
    if let Some(ticket) = group.park_join(&done.new, None) {
        cx.refuse_join(ticket, error, Arc::default());
    }
    if let Some(mut gone) = group.rename(&done.instance, &done.new, &done.old) {
        cx.deadlines.cancel(&mut gone.session);
        answer_parked(cx, &gone, error);
    }
    group.set_terms(
        &done.old,
        done.old_protocols,
        done.old_rebalance_timeout_ms,
        done.old_session_timeout_ms,
    );
    cx.renew_session(group, &done.old);
}

/// Answers what a member has parked, with an error.
pub(super) fn answer_parked(cx: &mut Cx<'_>, member: &Member, error: GroupError) {
    if let Some(ticket) = member.joining {
        let id = match error {
            // As Kafka: the member is to start again without an id.
            GroupError::UnknownMember | GroupError::GroupMaxSizeReached => Arc::default(),
            _ => member.id.clone(),
        };
        cx.refuse_join(ticket, error, id);
    }
    if let Some(ticket) = member.syncing {
        cx.sync(ticket, Err(error));
    }
}

/// Takes a member or pending member out of the group and answers what it has parked.
pub(super) fn drop_member(cx: &mut Cx<'_>, group: &mut Group, id: &str, error: GroupError) {
    if let Some(mut alarm) = group.pending_joins.remove(id) {
        cx.deadlines.cancel(&mut alarm);
    }
    if let Some(mut member) = group.remove(id) {
        cx.deadlines.cancel(&mut member.session);
        answer_parked(cx, &member, error);
    }
}

pub(super) fn rebalance_or_complete(cx: &mut Cx<'_>, group: &mut Group) {
    if group.state() == State::PreparingRebalance {
        maybe_complete(cx, group);
    } else {
        prepare_rebalance(cx, group);
    }
}

/// Ends the join phase if everybody is there; never during the initial delay.
pub(super) fn maybe_complete(cx: &mut Cx<'_>, group: &mut Group) {
    if group.state() == State::PreparingRebalance
        && !group.is_initial_rebalance()
        && group.all_joined()
    {
        complete_join(cx, group);
    }
}

pub(super) fn prepare_rebalance(cx: &mut Cx<'_>, group: &mut Group) {
    if group.state() == State::CompletingRebalance {
        super::sync::reset_assignments(cx, group, GroupError::RebalanceInProgress);
    }
    group.pending_syncs.clear();
    cx.deadlines.cancel(&mut group.sync_alarm);
    let is_initial = group.state() == State::Empty;
    group.become_state(State::PreparingRebalance, cx.now);
    group.assigning = None;
    if is_initial {
        // More members of a new group usually follow at once: one rebalance for all of them.
        let delay_ms = u64::try_from(cx.settings.initial_rebalance_delay_ms).unwrap_or(0);
        let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms);
        group.new_member_added = false;
        delay_initial_join(cx, group, delay_ms, remaining_ms);
    } else if group.all_joined() {
        complete_join(cx, group);
    } else {
        delay_join(cx, group, group.rebalance_timeout_ms());
    }
}

fn delay_join(cx: &mut Cx<'_>, group: &mut Group, delay_ms: u64) {
    let at = cx.now.mono.after_ms(delay_ms);
    let due = Due::Join {
        partition: cx.partition,
        group: group.id.clone(),
    };
    cx.deadlines.set(&mut group.join_alarm, at, due);
}

fn delay_initial_join(cx: &mut Cx<'_>, group: &mut Group, delay_ms: u64, remaining_ms: u64) {
    let at = cx.now.mono.after_ms(delay_ms);
    let (partition, id) = (cx.partition, group.id.clone());
    let due = Due::InitialJoin {
        partition,
        group: id,
        delay_ms,
        remaining_ms,
    };
    cx.deadlines.set(&mut group.join_alarm, at, due);
}

/// The initial delay is over: once more if somebody came meanwhile, up to the rebalance timeout.
pub(super) fn initial_delay_over(
    cx: &mut Cx<'_>,
    group: &mut Group,
    delay_ms: u64,
    remaining_ms: u64,
) {
    if group.new_member_added && remaining_ms != 0 {
        group.new_member_added = false;
        let setting_ms = u64::try_from(cx.settings.initial_rebalance_delay_ms).unwrap_or(0);
        let next_ms = setting_ms.min(remaining_ms);
        delay_initial_join(cx, group, next_ms, remaining_ms.saturating_sub(delay_ms));
    } else {
        complete_join(cx, group);
    }
}

/// Ends the join phase: whoever has not come back goes, the rest are the next generation.
pub(super) fn complete_join(cx: &mut Cx<'_>, group: &mut Group) {
    cx.deadlines.cancel(&mut group.join_alarm);
    if group.state() != State::PreparingRebalance {
        return;
    }
    let absent = |member: &&Member| member.joining.is_none() && member.instance.is_none();
    let gone: Vec<Arc<str>> = group
        .members()
        .values()
        .filter(absent)
        .map(|member| member.id.clone())
        .collect();
    for id in gone {
        drop_member(cx, group, &id, GroupError::UnknownMember);
    }
    if !group.elect_joined_leader() && !group.members().is_empty() {
        // Static members only, and none of them back: their sessions decide. A timeout of none
        // would look again and again until then.
        let again_ms = group.rebalance_timeout_ms().max(JOIN_AGAIN_MS_MIN);
        return delay_join(cx, group, again_ms);
    }
    group.next_generation(cx.now);
    if group.state() == State::Empty {
        let value = group.to_record(None);
        group.stored.write(cx.next_write(), Some(value.clone()));
        let after = After::Emptied {
            group: group.id.clone(),
        };
        cx.write(vec![(group_key(&group.id), Some(value))], after);
        return;
    }
    answer_generation(cx, group);
    let at = cx.now.mono.after_ms(group.rebalance_timeout_ms());
    let (partition, id, generation) = (cx.partition, group.id.clone(), group.generation);
    let due = Due::Sync {
        partition,
        group: id,
        generation,
    };
    cx.deadlines.set(&mut group.sync_alarm, at, due);
}

/// Tells every member that has joined about its generation.
fn answer_generation(cx: &mut Cx<'_>, group: &mut Group) {
    let ids: Vec<Arc<str>> = group.members().keys().cloned().collect();
    for id in ids {
        if let Some(ticket) = group.park_join(&id, None) {
            let joined = current(group, &id, group.is_leader(&id));
            cx.joined(ticket, joined);
        }
        if let Some(member) = group.member_mut(&id) {
            member.is_new = false;
        }
        cx.renew_session(group, &id);
        group.pending_syncs.insert(id);
    }
}
