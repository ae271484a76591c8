//! Heartbeat, LeaveGroup and the end of sessions.

use super::answer::{GroupAnswer, GroupError, MemberLeft};
use super::call::{Heartbeat, Leave, MemberName};
use super::effects::Cx;
use super::join::{complete_join, drop_member, maybe_complete, rebalance_or_complete};
use super::partition::Partition;
use super::state::{Group, State};

impl Partition {
    pub(super) fn heartbeat(&mut self, cx: &mut Cx<'_>, call: &Heartbeat, ticket: u64) {
        let answer = self.try_heartbeat(cx, call);
        cx.reply(ticket, GroupAnswer::Heartbeat(answer));
    }

    fn try_heartbeat(&mut self, cx: &mut Cx<'_>, call: &Heartbeat) -> Result<(), GroupError> {
        if call.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let group = self
            .groups
            .get_mut(&call.group)
            .ok_or(GroupError::UnknownMember)?;
        group.check_member(&call.member, call.instance.as_deref())?;
        if call.generation != group.generation {
            return Err(GroupError::IllegalGeneration);
        }
        match group.state() {
            State::Empty => Err(GroupError::UnknownMember),
            State::PreparingRebalance => {
                cx.renew_session(group, &call.member);
                Err(GroupError::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                cx.renew_session(group, &call.member);
                Ok(())
            }
        }
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, call: Leave, ticket: u64) {
        let answer = self.try_leave(cx, call);
        cx.reply(ticket, GroupAnswer::Leave(answer));
    }

    fn try_leave(&mut self, cx: &mut Cx<'_>, call: Leave) -> Result<Vec<MemberLeft>, GroupError> {
        if call.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let Some(group) = self.groups.get_mut(&call.group) else {
            let unknown = |name| (name, Err(GroupError::UnknownMember));
            return Ok(call.members.into_iter().map(unknown).collect());
        };
        let mut results = Vec::with_capacity(call.members.len());
        for name in call.members {
            let result = leave_one(cx, group, &name);
            results.push((name, result));
        }
        if results.iter().any(|(_, result)| result.is_ok()) {
            match group.state() {
                State::Stable | State::CompletingRebalance => rebalance_or_complete(cx, group),
                State::PreparingRebalance => maybe_complete(cx, group),
                State::Empty => {}
            }
        }
        Ok(results)
    }
}

fn leave_one(cx: &mut Cx<'_>, group: &mut Group, name: &MemberName) -> Result<(), GroupError> {
    let id = if name.member.is_empty() {
        // An administrator names a static member by its instance id alone.
        let instance = name.instance.as_deref().ok_or(GroupError::UnknownMember)?;
        group
            .member_of_instance(instance)
            .cloned()
            .ok_or(GroupError::UnknownMember)?
    } else {
        if !group.pending_joins.contains_key(&name.member) {
            group.check_member(&name.member, name.instance.as_deref())?;
        }
        name.member.clone()
    };
    drop_member(cx, group, &id, GroupError::UnknownMember);
    Ok(())
}

/// A session has run out: the member goes, unless it is parked in a rebalance.
pub(super) fn session_over(cx: &mut Cx<'_>, group: &mut Group, id: &str) {
    let is_pending = group.pending_joins.contains_key(id);
    if !is_pending
        && group
            .members()
            .get(id)
            .is_none_or(|member| member.keeps_session())
    {
        return;
    }
    drop_member(cx, group, id, GroupError::UnknownMember);
    match group.state() {
        State::Stable | State::CompletingRebalance if !is_pending => {
            rebalance_or_complete(cx, group);
        }
        // As Kafka: unlike a leave, the end of a session does not spare the initial delay.
        State::PreparingRebalance if group.all_joined() => complete_join(cx, group),
        _ => {}
    }
}
