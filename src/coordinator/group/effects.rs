//! What a step of the coordinator works with, and what happens when a write is resolved.

use super::answer::{GroupAnswer, GroupError, GroupFx, JoinRefused, Joined, Synced, Write};
use super::deadlines::{Alarm, Deadlines, Due};
use super::member_id::MemberIds;
use super::settings::GroupSettings;
use super::state::Group;
use bytes::Bytes;
use reactor::op::Now;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One record: key, and value or tombstone.
pub(super) type Record = (Bytes, Option<Bytes>);

/// The surroundings of one step on one partition.
pub(super) struct Cx<'a> {
    pub(super) settings: &'a GroupSettings,
    pub(super) ids: &'a mut MemberIds,
    pub(super) deadlines: &'a mut Deadlines,
    pub(super) next_write: &'a mut u64,
    pub(super) fx: &'a mut GroupFx,
    pub(super) now: Now,
    pub(super) partition: i32,
    pub(super) writes: &'a mut Writes,
}

/// The writes of one partition that are under way, and the length of its log.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) in_flight: BTreeMap<u64, InFlight>,
    /// Bytes of keys and values in the log, roughly.
    pub(super) log_bytes: u64,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) after: After,
    /// Answers that hold once this write and all before it are durable (KIP-447).
    pub(super) waiting: Vec<(u64, GroupAnswer)>,
}

/// What rests on a write.
#[derive(Debug)]
pub(super) enum After {
    /// A group that was created by a JoinGroup.
    NewGroup { group: Arc<str> },
    /// The end of a group's last generation with members. Nothing waits for it: should it fail, the
    /// generation before it comes back at the next start, and its members time out again.
    Emptied { group: Arc<str> },
    /// The leader's assignment.
    Assignment {
        group: Arc<str>,
        generation: i32,
        assignment: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member came back under a new id.
    Replaced(Box<Replaced>),
    /// Offsets were written or deleted.
    Offsets {
        group: Arc<str>,
        touched: Vec<(Arc<str>, i32)>,
        reply: Option<(u64, GroupAnswer)>,
    },
    /// A group was deleted, its offsets with it.
    Deleted {
        group: Box<Group>,
        touched: Vec<(Arc<str>, i32)>,
        ticket: Option<u64>,
    },
    /// A part of the live state, written again. The last part lets the log be trimmed.
    Rewrite { last: bool },
    /// Records that undo what a rewrite has copied from a write that failed before it.
    Correction,
}

/// How to answer, or take back, the replacement of a static member.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) instance: Arc<str>,
    pub(super) old: Arc<str>,
    pub(super) new: Arc<str>,
    pub(super) old_protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) old_rebalance_timeout_ms: i32,
    pub(super) old_session_timeout_ms: i32,
    pub(super) old_leader: Option<Arc<str>>,
    pub(super) can_skip_assignment: bool,
}

impl Cx<'_> {
    pub(super) fn reply(&mut self, ticket: u64, answer: GroupAnswer) {
        self.fx.replies.push((ticket, answer));
    }

    pub(super) fn refuse_join(&mut self, ticket: u64, error: GroupError, member: Arc<str>) {
        self.reply(
            ticket,
            GroupAnswer::Join(Err(JoinRefused { error, member })),
        );
    }

    pub(super) fn joined(&mut self, ticket: u64, joined: Joined) {
        self.reply(ticket, GroupAnswer::Join(Ok(joined)));
    }

    pub(super) fn sync(&mut self, ticket: u64, answer: Result<Synced, GroupError>) {
        self.reply(ticket, GroupAnswer::Sync(answer));
    }

    /// The id that the next write will have.
    pub(super) const fn next_write(&self) -> u64 {
        *self.next_write
    }

    pub(super) fn write(&mut self, records: Vec<Record>, after: After) -> u64 {
        let id = *self.next_write;
        *self.next_write += 1;
        self.writes.log_bytes += records.iter().map(record_bytes).sum::<u64>();
        self.writes.in_flight.insert(
            id,
            InFlight {
                after,
                waiting: Vec::new(),
            },
        );
        self.fx.writes.push(Write {
            id,
            partition: self.partition,
            records,
        });
        id
    }

    /// Sends an answer when all that is written so far is durable.
    pub(super) fn reply_when_stable(&mut self, ticket: u64, answer: GroupAnswer) {
        match self.writes.in_flight.last_entry() {
            Some(mut last) => last.get_mut().waiting.push((ticket, answer)),
            None => self.reply(ticket, answer),
        }
    }

    pub(super) fn set_session(&mut self, group: &mut Group, member: &str, timeout_ms: i32) {
        let id = group.id.clone();
        if let Some(member) = group.member_mut(member) {
            let due = Due::Session {
                partition: self.partition,
                group: id,
                member: member.id.clone(),
            };
            self.alarm(&mut member.session, timeout_ms, due);
        }
    }

    /// The member has shown life.
    pub(super) fn renew_session(&mut self, group: &mut Group, member: &str) {
        if let Some(timeout_ms) = group.members().get(member).map(|m| m.session_timeout_ms) {
            self.set_session(group, member, timeout_ms);
        }
    }

    fn alarm(&mut self, slot: &mut Option<Alarm>, timeout_ms: i32, due: Due) {
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
        self.deadlines
            .set(slot, self.now.mono.after_ms(timeout_ms), due);
    }
}

/// What a record takes in the log, roughly: its key, its value, and their frame.
pub(super) fn record_bytes(record: &Record) -> u64 {
    const FRAME_BYTES: usize = 12;
    (record.0.len() + record.1.as_ref().map_or(0, Bytes::len) + FRAME_BYTES) as u64
}
