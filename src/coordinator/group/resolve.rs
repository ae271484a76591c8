//! What happens when a write is durable, when it has failed, and when a deadline has come.

use super::Hosted;
use super::answer::{GroupAnswer, GroupError};
use super::deadlines::{Alarm, Due};
use super::effects::{After, Cx, InFlight};
use super::join::{complete_join, drop_member, initial_delay_over, maybe_complete};
use super::join::{replaced, replacement_failed};
use super::session::session_over;
use super::state::Group;
use super::sync::{assigned, assignment_failed, sync_overdue};
use super::{refuse_answer, rewrite};
use std::sync::Arc;

/// What a failed write was about.
struct Undone {
    group: Arc<str>,
    /// The group's own record was one of those written.
    record: bool,
    offsets: Vec<(Arc<str>, i32)>,
}

impl Hosted {
    pub(super) fn committed(&mut self, cx: &mut Cx<'_>, id: u64, base_offset: i64) {
        let Some(InFlight { after, waiting }) = cx.writes.in_flight.remove(&id) else {
            return;
        };
        match after {
            After::NewGroup { group } | After::Emptied { group } => self.stored(&group, id),
            After::Assignment {
                group,
                generation,
                assignment,
            } => {
                self.stored(&group, id);
                if let Some(group) = self.partition.groups.get_mut(&group) {
                    assigned(cx, group, generation, assignment);
                }
            }
            After::Replaced(done) => {
                self.stored(&done.group, id);
                if let Some(group) = self.partition.groups.get_mut(&done.group) {
                    replaced(cx, group, &done);
                }
            }
            After::Offsets {
                group,
                touched,
                reply,
            } => {
                self.partition
                    .resolve(&group, &touched, |versions| versions.commit(id));
                if let Some((ticket, answer)) = reply {
                    cx.reply(ticket, answer);
                }
            }
            After::Deleted {
                group,
                touched,
                ticket,
            } => {
                self.partition
                    .resolve(&group.id, &touched, |versions| versions.commit(id));
                if let Some(ticket) = ticket {
                    cx.reply(ticket, GroupAnswer::Delete(Ok(())));
                }
            }
            After::Rewrite { last } => {
                if let Some(begins) = self.rewrite.committed(cx.writes, id, base_offset, last) {
                    cx.fx.trims.push((cx.partition, begins));
                }
            }
            After::Correction => {}
        }
        for (ticket, answer) in waiting {
            cx.reply(ticket, answer);
        }
    }

    /// A group's record is durable.
    fn stored(&mut self, group: &Arc<str>, id: u64) {
        if let Some(group) = self.partition.groups.get_mut(group) {
            group.stored.commit(id);
        }
    }

    pub(super) fn failed(&mut self, cx: &mut Cx<'_>, id: u64, error: GroupError) {
        let Some(InFlight { after, waiting }) = cx.writes.in_flight.remove(&id) else {
            return;
        };
        if matches!(after, After::Correction) {
            // Without it the copy is wrong: the log stays as it is.
            self.rewrite.failed(cx.writes);
        }
        let must_correct = self.rewrite.must_correct(id);
        let undone = self.take_back(cx, id, after, error);
        if must_correct && let Some(undone) = undone {
            let (record, offsets) = (undone.record, &undone.offsets);
            rewrite::correct(
                cx,
                self.partition.records_of(&undone.group, record, offsets),
            );
        }
        for (ticket, answer) in waiting {
            cx.reply(ticket, refuse_answer(&answer, error));
        }
    }

    /// Undoes a failed write and says what it was about.
    fn take_back(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        after: After,
        error: GroupError,
    ) -> Option<Undone> {
        match after {
            After::Offsets {
                group,
                touched,
                reply,
            } => {
                self.partition
                    .resolve(&group, &touched, |versions| versions.fail(id));
                self.partition.forget_unfounded(&group);
                if let Some((ticket, answer)) = reply {
                    cx.reply(ticket, refuse_answer(&answer, error));
                }
                Some(Undone {
                    group,
                    record: false,
                    offsets: touched,
                })
            }
            After::Deleted {
                group,
                touched,
                ticket,
            } => {
                let name = group.id.clone();
                self.partition
                    .resolve(&name, &touched, |versions| versions.fail(id));
                self.bring_back(*group, id);
                self.partition.forget_unfounded(&name);
                if let Some(ticket) = ticket {
                    cx.reply(ticket, GroupAnswer::Delete(Err(error)));
                }
                Some(Undone {
                    group: name,
                    record: true,
                    offsets: touched,
                })
            }
            After::Rewrite { .. } => {
                self.rewrite.failed(cx.writes);
                None
            }
            After::Correction => None,
            After::NewGroup { .. }
            | After::Emptied { .. }
            | After::Assignment { .. }
            | After::Replaced(_) => self.take_back_record(cx, id, after, error),
        }
    }

    /// Undoes a write of a group's own record.
    fn take_back_record(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        after: After,
        error: GroupError,
    ) -> Option<Undone> {
        let name = match &after {
            After::NewGroup { group }
            | After::Emptied { group }
            | After::Assignment { group, .. } => group.clone(),
            After::Replaced(done) => done.group.clone(),
            _ => return None,
        };
        let undone = Undone {
            group: name.clone(),
            record: true,
            offsets: Vec::new(),
        };
        let Some(group) = self.partition.groups.get_mut(&name) else {
            return Some(undone);
        };
        group.stored.fail(id);
        match after {
            // If a later record of the group is under way, it stands or falls with that.
            After::NewGroup { .. } if group.stored.is_vacant() => {
                self.remove_group(cx, &name, error);
            }
            After::Assignment { generation, .. } => {
                assignment_failed(cx, group, generation, error);
            }
            After::Replaced(done) => {
                replacement_failed(cx, group, *done, error);
                maybe_complete(cx, group);
            }
            _ => {}
        }
        Some(undone)
    }

    /// A group that could not be deleted is there again. If another of its name was made
    /// meanwhile, that one goes on from the old one's generation.
    fn bring_back(&mut self, mut group: Group, id: u64) {
        group.stored.fail(id);
        match self.partition.groups.get_mut(&group.id) {
            Some(newer) => {
                newer.generation = newer.generation.max(group.generation);
                let record = group.stored.committed().cloned();
                if newer.stored.is_vacant() {
                    newer.stored.replay(record);
                }
            }
            None => {
                self.partition.groups.insert(group.id.clone(), group);
            }
        }
    }

    fn remove_group(&mut self, cx: &mut Cx<'_>, name: &Arc<str>, error: GroupError) {
        let Some(mut group) = self.partition.groups.remove(name) else {
            return;
        };
        let ids: Vec<Arc<str>> = group.members().keys().cloned().collect();
        for id in ids {
            drop_member(cx, &mut group, &id, error);
        }
        super::partition::cancel_alarms(cx, &mut group);
        if self.partition.offsets.contains_key(name) {
            // Offsets were committed to it meanwhile: a group without members stays for them.
            self.partition
                .groups
                .insert(name.clone(), Group::new(name.clone(), cx.now));
        }
    }

    /// Everybody who waits for a write is refused.
    pub(super) fn refuse_waiting(&mut self, cx: &mut Cx<'_>, error: GroupError) {
        for (_, InFlight { after, waiting }) in std::mem::take(&mut cx.writes.in_flight) {
            let reply = match after {
                After::Offsets { reply, .. } => reply,
                After::Deleted { ticket, .. } => ticket.map(|t| (t, GroupAnswer::Delete(Ok(())))),
                _ => None,
            };
            for (ticket, answer) in reply.into_iter().chain(waiting) {
                cx.reply(ticket, refuse_answer(&answer, error));
            }
        }
    }

    pub(super) fn on_due(&mut self, cx: &mut Cx<'_>, alarm: Alarm, due: Due) {
        let groups = &mut self.partition.groups;
        match due {
            Due::Session { group, member, .. } => {
                if let Some(group) = groups.get_mut(&group)
                    && take_session(group, &member, alarm)
                {
                    session_over(cx, group, &member);
                }
            }
            Due::Join { group, .. } => {
                if let Some(group) = groups.get_mut(&group)
                    && group.join_alarm.take_if(|set| *set == alarm).is_some()
                {
                    complete_join(cx, group);
                }
            }
            Due::InitialJoin {
                group,
                delay_ms,
                remaining_ms,
                ..
            } => {
                if let Some(group) = groups.get_mut(&group)
                    && group.join_alarm.take_if(|set| *set == alarm).is_some()
                {
                    initial_delay_over(cx, group, delay_ms, remaining_ms);
                }
            }
            Due::Sync {
                group, generation, ..
            } => {
                if let Some(group) = groups.get_mut(&group)
                    && group.sync_alarm.take_if(|set| *set == alarm).is_some()
                {
                    sync_overdue(cx, group, generation);
                }
            }
            Due::Retention { .. } => {
                self.partition.expire(cx);
                self.look_for_old_offsets_later(cx);
            }
        }
    }

    pub(super) fn look_for_old_offsets_later(&mut self, cx: &mut Cx<'_>) {
        let at = cx
            .now
            .mono
            .after_ms(cx.settings.offsets_retention_check_ms.max(1));
        cx.deadlines.set(
            &mut self.retention,
            at,
            Due::Retention {
                partition: cx.partition,
            },
        );
    }
}

/// Whether `alarm` is still the one set for this member, or member to be.
fn take_session(group: &mut Group, member: &str, alarm: Alarm) -> bool {
    let pending = group.pending_joins.get_mut(member);
    if pending.is_some_and(|set| set.take_if(|set| *set == alarm).is_some()) {
        return true;
    }
    let member = group.member_mut(member);
    member.is_some_and(|member| member.session.take_if(|set| *set == alarm).is_some())
}
