//! One group and its members: the state of KIP-62's rebalance protocol, without any input or
//! output. The rules are those of `ClassicGroup` in Kafka 4.2.

use super::answer::{GroupError, JoinedMember};
use super::call::{Client, Join};
use super::deadlines::Alarm;
use super::records::{GroupMetadata, MemberMetadata};
use super::subscription::subscribed_topics;
use super::versions::Versions;
use bytes::Bytes;
use reactor::op::{Mono, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a group is in its life. A group that is gone (Kafka's `Dead`) is simply not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No members; offsets may remain.
    Empty,
    /// Waits for members to join.
    PreparingRebalance,
    /// Waits for the leader's assignment.
    CompletingRebalance,
    Stable,
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }

    const fn may_become(self, next: Self) -> bool {
        match next {
            Self::PreparingRebalance => !matches!(self, Self::PreparingRebalance),
            Self::CompletingRebalance | Self::Empty => matches!(self, Self::PreparingRebalance),
            Self::Stable => matches!(self, Self::CompletingRebalance),
        }
    }
}

/// The protocol type of consumers, the only one whose metadata is looked into.
const CONSUMER: &str = "consumer";

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client: Client,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    /// The parked JoinGroup.
    pub(super) joining: Option<u64>,
    /// The parked SyncGroup.
    pub(super) syncing: Option<u64>,
    /// Has never been in a generation.
    pub(super) is_new: bool,
    pub(super) session: Option<Alarm>,
}

impl Member {
    pub(super) fn new(id: Arc<str>, call: &Join) -> Self {
        Self {
            id,
            instance: call.instance.clone(),
            client: call.client.clone(),
            rebalance_timeout_ms: rebalance_timeout(call),
            session_timeout_ms: call.session_timeout_ms,
            protocols: own_protocols(call),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
            session: None,
        }
    }

    /// The member's metadata for one protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| &**name == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// Whether a JoinGroup says nothing new.
    pub(super) fn matches(&self, call: &Join) -> bool {
        self.protocols == own_protocols(call)
    }

    /// A member parked in a rebalance need not send heartbeats, unless it is new: then its session
    /// bounds how long its JoinGroup may be parked.
    pub(super) const fn keeps_session(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}

/// Version 0 has only one timeout.
fn rebalance_timeout(call: &Join) -> i32 {
    call.rebalance_timeout_ms
        .unwrap_or(call.session_timeout_ms)
        .max(0)
}

/// The protocols of a call, each name once, copied out of the received frame so that a small
/// member does not keep a large buffer alive.
fn own_protocols(call: &Join) -> Vec<(Arc<str>, Bytes)> {
    let mut own: Vec<(Arc<str>, Bytes)> = Vec::with_capacity(call.protocols.len());
    let mut names = BTreeSet::new();
    for (name, metadata) in &call.protocols {
        if names.insert(name) {
            own.push((name.clone(), Bytes::copy_from_slice(metadata)));
        }
    }
    own
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    state: State,
    previous: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Instance id to member id.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out by MEMBER_ID_REQUIRED whose owners have not come back yet.
    pub(super) pending_joins: BTreeMap<Arc<str>, Option<Alarm>>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) pending_syncs: BTreeSet<Arc<str>>,
    /// How many members support each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    joining: usize,
    /// Somebody joined since the initial delay was last extended.
    pub(super) new_member_added: bool,
    /// Wall clock, for retention across restarts.
    pub(super) state_since_ms: Option<i64>,
    /// Monotonic clock, if this process saw the change.
    pub(super) state_since: Option<Mono>,
    /// `None`: not known, or not a group of consumers.
    subscribed: Option<BTreeSet<Arc<str>>>,
    pub(super) join_alarm: Option<Alarm>,
    pub(super) sync_alarm: Option<Alarm>,
    /// The write that stores this generation's assignment, while it is under way.
    pub(super) assigning: Option<u64>,
    /// The group's record in the log.
    pub(super) stored: Versions<Bytes>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, now: Now) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            supported: BTreeMap::new(),
            joining: 0,
            new_member_added: false,
            state_since_ms: Some(now.wall_ms),
            state_since: Some(now.mono),
            subscribed: None,
            join_alarm: None,
            sync_alarm: None,
            assigning: None,
            stored: Versions::default(),
        }
    }

    pub(super) fn from_record(id: Arc<str>, record: GroupMetadata) -> Self {
        let mut group = Self::new(id, Now::default());
        group.state = if record.members.is_empty() {
            State::Empty
        } else {
            State::Stable
        };
        group.previous = group.state;
        group.generation = record.generation;
        group.protocol_type = Some(record.protocol_type).filter(|name| !name.is_empty());
        group.protocol = record.protocol;
        group.state_since_ms = Some(record.state_since_ms).filter(|at| *at != -1);
        group.state_since = None;
        let protocol = group.protocol.clone().unwrap_or_default();
        for member in record.members {
            let rebalance = member.rebalance_timeout_ms;
            group.add(Member {
                id: member.id,
                instance: member.instance,
                client: Client {
                    id: member.client_id,
                    host: member.client_host,
                },
                rebalance_timeout_ms: if rebalance < 0 {
                    member.session_timeout_ms
                } else {
                    rebalance
                },
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![(protocol.clone(), member.subscription)],
                assignment: member.assignment,
                joining: None,
                syncing: None,
                is_new: false,
                session: None,
            });
        }
        group.leader = record
            .leader
            .filter(|leader| group.members.contains_key(leader));
        if group.leader.is_none() {
            group.leader = group.members.keys().next().cloned();
        }
        group.learn_subscriptions();
        group
    }

    /// The group's record; every member gets what `assignment` gives it, or else what it has.
    pub(super) fn to_record(&self, assignment: Option<&BTreeMap<Arc<str>, Bytes>>) -> Bytes {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| MemberMetadata {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment.map_or_else(
                || member.assignment.clone(),
                |all| all.get(&member.id).cloned().unwrap_or_default(),
            ),
        });
        let record = GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        };
        record.encode()
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// The first rebalance after the group was empty.
    pub(super) fn is_initial_rebalance(&self) -> bool {
        self.state == State::PreparingRebalance && self.previous == State::Empty
    }

    /// # Panics
    /// On a transition that KIP-62 does not have: a bug of ours.
    pub(super) fn become_state(&mut self, next: State, now: Now) {
        assert!(
            self.state.may_become(next),
            "group {}: {:?} -> {next:?}",
            self.id,
            self.state
        );
        self.previous = self.state;
        self.state = next;
        self.state_since_ms = Some(now.wall_ms);
        self.state_since = Some(now.mono);
    }

    pub(super) const fn members(&self) -> &BTreeMap<Arc<str>, Member> {
        &self.members
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(super) fn member_of_instance(&self, instance: &str) -> Option<&Arc<str>> {
        self.instances.get(instance)
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Members whose JoinGroup is parked.
    pub(super) const fn joining(&self) -> usize {
        self.joining
    }

    pub(super) fn all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_joins.is_empty()
    }

    pub(super) fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_protocols(&member.protocols, true);
        self.joining += usize::from(member.joining.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out; the caller cancels its alarm and answers what it had parked.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, false);
            self.joining -= usize::from(member.joining.is_some());
            if let Some(instance) = &member.instance {
                self.instances.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_syncs.remove(id);
        removed
    }

    fn count_protocols(&mut self, protocols: &[(Arc<str>, Bytes)], more: bool) {
        for (name, _) in protocols {
            let count = self.supported.entry(name.clone()).or_default();
            *count = if more {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// Parks or takes back a member's JoinGroup and returns the one that was parked before.
    pub(super) fn park_join(&mut self, id: &str, ticket: Option<u64>) -> Option<u64> {
        let member = self.members.get_mut(id)?;
        let before = std::mem::replace(&mut member.joining, ticket);
        self.joining += usize::from(ticket.is_some());
        self.joining -= usize::from(before.is_some());
        before
    }

    /// A member's new protocols and timeouts.
    pub(super) fn update(&mut self, id: &str, call: &Join) {
        let session = call.session_timeout_ms;
        self.set_terms(id, own_protocols(call), rebalance_timeout(call), session);
    }

    pub(super) fn set_terms(
        &mut self,
        id: &str,
        protocols: Vec<(Arc<str>, Bytes)>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
    }

    /// Gives a static member a new id in the old one's place and returns the old one, whose alarm
    /// and parked calls are now the caller's.
    pub(super) fn rename(&mut self, instance: &str, old: &str, new: &Arc<str>) -> Option<Member> {
        let was_leader = self.is_leader(old);
        let member = self.remove(old)?;
        let renamed = Member {
            id: new.clone(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
            ..member.clone()
        };
        self.add(renamed);
        self.instances.insert(Arc::from(instance), new.clone());
        if was_leader {
            self.leader = Some(new.clone());
        }
        Some(member)
    }

    /// # Errors
    /// An unknown member, or an instance id that another member has taken over.
    pub(super) fn check_member(
        &self,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(owner) if &**owner != member => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    /// Whether a member with this protocol type and these protocols can be one of this group.
    pub(super) fn supports(&self, call: &Join) -> bool {
        if self.state == State::Empty {
            return !call.protocol_type.is_empty() && !call.protocols.is_empty();
        }
        let count = self.members.len();
        let shared = |name: &str| self.supported.get(name).copied().unwrap_or(0) == count;
        self.protocol_type.as_ref() == Some(&call.protocol_type)
            && call.protocols.iter().any(|(name, _)| shared(name))
    }

    /// The protocol that most members prefer among those that all support.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let count = self.members.len();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let shared = |name: &Arc<str>| self.supported.get(name) == Some(&count);
            let vote = member
                .protocols
                .iter()
                .map(|(name, _)| name)
                .find(|name| shared(name))?;
            *votes.entry(vote).or_default() += 1;
        }
        votes
            .into_iter()
            .max_by_key(|(_, votes)| *votes)
            .map(|(name, _)| name.clone())
    }

    /// The longest rebalance timeout of the members, in milliseconds.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self
            .members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max();
        u64::try_from(longest.unwrap_or(0)).unwrap_or(0)
    }

    /// Lets a member that has joined lead, if the leader has not. False if nobody has joined.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.keys().find(|id| joined(id)).cloned();
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    /// The next generation: of the members there are, or empty.
    pub(super) fn next_generation(&mut self, now: Now) {
        self.generation = self.generation.wrapping_add(1).max(0);
        self.protocol = self.select_protocol();
        self.learn_subscriptions();
        let next = if self.members.is_empty() {
            State::Empty
        } else {
            State::CompletingRebalance
        };
        self.become_state(next, now);
        self.pending_syncs.clear();
        self.assigning = None;
    }

    fn learn_subscriptions(&mut self) {
        self.subscribed = match (&self.protocol, self.is_consumer()) {
            (_, false) => None,
            (_, true) if self.members.is_empty() => Some(BTreeSet::new()),
            (None, true) => None,
            (Some(protocol), true) => {
                let all: Vec<Bytes> = self
                    .members
                    .values()
                    .map(|member| member.metadata(protocol))
                    .collect();
                subscribed_topics(all.iter())
            }
        };
    }

    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The subscribed topics are known.
    pub(super) const fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    /// If in doubt, a group of consumers counts as subscribed.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed
            .as_ref()
            .map_or_else(|| self.is_consumer(), |set| set.contains(topic))
    }

    /// The members as the leader sees them.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }
}
