//! A coordinator with a log that a test holds in its hands.

mod joining;
mod leaving;
mod log_bound;
mod model;
mod offset_rules;
mod retention_rules;

use super::*;
use ::bytes::Bytes;
use reactor::op::Mono;
use std::collections::VecDeque;

pub(super) const PARTITION: i32 = 3;
/// Session and rebalance timeouts of test members, in milliseconds.
pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;

pub(super) type LogRecord = (Bytes, Option<Bytes>);

/// One coordinator, its clock and its log. Writes become durable at once unless `hold` is set.
pub(super) struct Bench {
    pub(super) groups: Groups,
    pub(super) settings: GroupSettings,
    pub(super) now: Now,
    pub(super) log: Vec<LogRecord>,
    pub(super) begin: i64,
    pub(super) held: VecDeque<Write>,
    pub(super) hold: bool,
    pub(super) replies: Vec<(u64, GroupAnswer)>,
    next_ticket: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(GroupSettings::default())
    }

    pub(super) fn with(settings: GroupSettings) -> Self {
        let mut bench = Self {
            groups: Groups::new(settings.clone(), 1),
            settings,
            now: Now {
                mono: Mono(0),
                wall_ms: 1_700_000_000_000,
            },
            log: Vec::new(),
            begin: 0,
            held: VecDeque::new(),
            hold: false,
            replies: Vec::new(),
            next_ticket: 0,
        };
        bench.restart();
        bench
    }

    /// What was not durable is lost; everything else is replayed by a new coordinator.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.replies.clear();
        let seed = self.next_ticket + 77;
        self.groups = Groups::new(self.settings.clone(), seed);
        self.groups.load(PARTITION);
        for (key, value) in &self.log[self.begin as usize..] {
            self.groups
                .replay(PARTITION, key, value.as_deref())
                .expect("own records");
        }
        self.step(|groups, now, fx| groups.loaded(PARTITION, now, fx));
    }

    pub(super) fn step(&mut self, step: impl FnOnce(&mut Groups, Now, &mut GroupFx)) {
        let mut fx = GroupFx::default();
        step(&mut self.groups, self.now, &mut fx);
        self.take(fx);
        if !self.hold {
            self.settle();
        }
    }

    fn take(&mut self, fx: GroupFx) {
        self.replies.extend(fx.replies);
        self.held.extend(fx.writes);
        for (partition, offset) in fx.trims {
            assert_eq!(partition, PARTITION);
            assert!(offset > self.begin && (offset as usize) < self.log.len());
            self.begin = offset;
        }
    }

    /// Makes every held write durable.
    pub(super) fn settle(&mut self) {
        while self.commit_one() {}
    }

    /// Makes the oldest held write durable.
    pub(super) fn commit_one(&mut self) -> bool {
        let Some(write) = self.held.pop_front() else {
            return false;
        };
        assert!(!write.records.is_empty());
        let base = self.log.len() as i64;
        self.log.extend(write.records);
        let mut fx = GroupFx::default();
        self.groups.committed(write.id, base, self.now, &mut fx);
        self.take(fx);
        true
    }

    /// Lets the oldest held write fail.
    pub(super) fn fail_one(&mut self, why: WriteFailure) -> bool {
        let Some(write) = self.held.pop_front() else {
            return false;
        };
        let mut fx = GroupFx::default();
        self.groups.failed(write.id, why, self.now, &mut fx);
        self.take(fx);
        true
    }

    /// Both clocks go on, deadline by deadline.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end = self.now.mono.after_ms(ms);
        loop {
            let mut fx = GroupFx::default();
            self.groups.tick(self.now, &mut fx);
            let next = fx.wake_at.filter(|at| *at <= end);
            self.take(fx);
            if !self.hold {
                self.settle();
            }
            let Some(at) = next else { break };
            let at = at.max(self.now.mono);
            self.now.wall_ms += at.ms_since(self.now.mono) as i64;
            self.now.mono = at;
        }
        self.now.wall_ms += end.ms_since(self.now.mono) as i64;
        self.now.mono = end;
    }

    /// Lets time pass until an answer is there.
    pub(super) fn until_answered(&mut self, ticket: u64) {
        for _ in 0..1_000 {
            if self.replies.iter().any(|(of, _)| *of == ticket) {
                return;
            }
            self.pass_ms(100);
        }
        panic!("no answer");
    }

    /// Makes a call and returns its ticket.
    pub(super) fn call(&mut self, call: GroupCall) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.step(|groups, now, fx| groups.handle(now, PARTITION, call, ticket, fx));
        ticket
    }

    /// The answer to a call, if it has come.
    pub(super) fn answer(&mut self, ticket: u64) -> Option<GroupAnswer> {
        let at = self.replies.iter().position(|(of, _)| *of == ticket)?;
        Some(self.replies.remove(at).1)
    }

    /// The answer to a call, which must have come.
    pub(super) fn ask(&mut self, call: GroupCall) -> GroupAnswer {
        let ticket = self.call(call);
        self.answer(ticket).expect("answered at once")
    }

    pub(super) fn joined(&mut self, ticket: u64) -> Joined {
        match self.answer(ticket) {
            Some(GroupAnswer::Join(Ok(joined))) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub(super) fn join_error(&mut self, ticket: u64) -> GroupError {
        match self.answer(ticket) {
            Some(GroupAnswer::Join(Err(refused))) => refused.error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(super) fn sync_result(&mut self, ticket: u64) -> Result<Bytes, GroupError> {
        match self.answer(ticket) {
            Some(GroupAnswer::Sync(result)) => result.map(|synced| synced.assignment),
            other => panic!("not synced: {other:?}"),
        }
    }

    pub(super) fn heartbeat(&mut self, member: &Joined) -> Result<(), GroupError> {
        let call = Heartbeat {
            group: "g".into(),
            generation: member.generation,
            member: member.member.clone(),
            instance: None,
        };
        match self.ask(GroupCall::Heartbeat(call)) {
            GroupAnswer::Heartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&mut self) -> &'static str {
        match self.ask(GroupCall::Describe { group: "g".into() }) {
            GroupAnswer::Describe(Ok(described)) => described.state,
            _ => "Dead",
        }
    }

    /// A stable group "g" of `count` dynamic members, each assigned its own id; the first leads.
    pub(super) fn stable(&mut self, count: usize) -> Vec<Joined> {
        let tickets: Vec<u64> = (0..count)
            .map(|_| self.call(join("", None).into()))
            .collect();
        self.until_answered(tickets[0]);
        let members: Vec<Joined> = tickets.iter().map(|ticket| self.joined(*ticket)).collect();
        let leader = members
            .iter()
            .find(|m| m.leader == m.member)
            .expect("one leads")
            .clone();
        for member in &members {
            let mut call = sync(member);
            if member.member == leader.member {
                call.assignments = each_its_name(&leader);
            }
            self.call(call.into());
        }
        assert_eq!(self.state(), "Stable");
        self.replies.clear();
        members
    }
}

/// The assignment that gives every member its own id.
pub(super) fn each_its_name(leader: &Joined) -> Vec<(Arc<str>, Bytes)> {
    let own = |m: &JoinedMember| (m.member.clone(), Bytes::from(m.member.to_string()));
    leader.members.iter().map(own).collect()
}

/// The metadata of a consumer that subscribes to these topics.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

/// A JoinGroup of a version below 4 with the protocol "range".
pub(super) fn join(member: &str, instance: Option<&str>) -> Join {
    Join {
        group: "g".into(),
        client: Client {
            id: "app".into(),
            host: "/127.0.0.1".into(),
        },
        member: member.into(),
        instance: instance.map(Arc::from),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: Some(REBALANCE_MS),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["t"]))],
        member_id_required: false,
        can_skip_assignment: false,
    }
}

pub(super) fn sync(member: &Joined) -> Sync {
    Sync {
        group: "g".into(),
        generation: member.generation,
        member: member.member.clone(),
        ..Sync::default()
    }
}

impl From<Join> for GroupCall {
    fn from(call: Join) -> Self {
        Self::Join(call)
    }
}

impl From<Sync> for GroupCall {
    fn from(call: Sync) -> Self {
        Self::Sync(call)
    }
}
