//! Random members, lost writes and crashes against what must hold whatever happens.

use super::offset_rules::commit;
use super::*;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Out,
    Joining(u64),
    Joined,
    Syncing(u64),
    In,
}

struct Actor {
    instance: Option<String>,
    member: String,
    phase: Phase,
    joined: Option<Joined>,
    topic: String,
}

struct World {
    bench: Bench,
    random: MemberIds,
    actors: Vec<Actor>,
    /// Of a stable generation, the assignment's nonce: the same for everybody, for ever.
    stable: BTreeMap<i32, String>,
    nonce: u64,
    commits: BTreeMap<u64, i64>,
    next_offset: i64,
    acked: i64,
    failed: Vec<i64>,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        bench.hold = true;
        let actor = |at: usize| Actor {
            instance: at.is_multiple_of(3).then(|| format!("i{at}")),
            member: String::new(),
            phase: Phase::Out,
            joined: None,
            topic: "t".into(),
        };
        Self {
            bench,
            random: MemberIds::new(seed),
            actors: (0..5).map(actor).collect(),
            stable: BTreeMap::new(),
            nonce: 0,
            commits: BTreeMap::new(),
            next_offset: 1,
            acked: -1,
            failed: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn join_call(&self, at: usize) -> Join {
        let actor = &self.actors[at];
        Join {
            instance: actor.instance.as_deref().map(Arc::from),
            member: actor.member.as_str().into(),
            protocols: vec![("range".into(), subscription(&[&actor.topic]))],
            member_id_required: true,
            can_skip_assignment: true,
            ..join("", None)
        }
    }

    /// One actor does what a client of its state would do.
    fn act(&mut self, at: usize) {
        match self.actors[at].phase {
            Phase::Out => {
                let ticket = self.bench.call(self.join_call(at).into());
                self.actors[at].phase = Phase::Joining(ticket);
            }
            Phase::Joining(_) | Phase::Syncing(_) => {}
            Phase::Joined => {
                let joined = self.actors[at].joined.clone().expect("it has joined");
                let mut call = sync(&joined);
                call.instance = self.actors[at].instance.as_deref().map(Arc::from);
                if joined.leader == joined.member && !joined.skip_assignment {
                    self.nonce += 1;
                    let nonce = self.nonce;
                    let give = |m: &JoinedMember| {
                        let name = m.instance.as_ref().unwrap_or(&m.member);
                        (m.member.clone(), Bytes::from(format!("{nonce}/{name}")))
                    };
                    call.assignments = joined.members.iter().map(give).collect();
                }
                let ticket = self.bench.call(call.into());
                self.actors[at].phase = Phase::Syncing(ticket);
            }
            Phase::In => self.beat(at),
        }
        self.hear();
    }

    fn beat(&mut self, at: usize) {
        let joined = self.actors[at].joined.clone().expect("it has joined");
        let call = Heartbeat {
            group: "g".into(),
            generation: joined.generation,
            member: joined.member,
            instance: self.actors[at].instance.as_deref().map(Arc::from),
        };
        match self.bench.ask(GroupCall::Heartbeat(call)) {
            GroupAnswer::Heartbeat(Ok(())) => {}
            GroupAnswer::Heartbeat(Err(error)) => self.refused(at, error),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, at: usize, error: GroupError) {
        let actor = &mut self.actors[at];
        actor.phase = Phase::Out;
        if matches!(
            error,
            GroupError::UnknownMember | GroupError::FencedInstance
        ) {
            actor.member.clear();
        }
    }

    /// Takes in every answer that has come.
    fn hear(&mut self) {
        for (ticket, answer) in std::mem::take(&mut self.bench.replies) {
            if let Some(offset) = self.commits.remove(&ticket) {
                match offset_rules::committed(answer) {
                    Ok(()) => self.acked = self.acked.max(offset),
                    Err(_) => self.failed.push(offset),
                }
                continue;
            }
            let waits = |actor: &Actor| {
                actor.phase == Phase::Joining(ticket) || actor.phase == Phase::Syncing(ticket)
            };
            let Some(at) = self.actors.iter().position(waits) else {
                continue;
            };
            match answer {
                GroupAnswer::Join(Ok(joined)) => self.heard_joined(at, joined),
                GroupAnswer::Join(Err(refused)) => {
                    self.refused(at, refused.error);
                    if refused.error == GroupError::MemberIdRequired {
                        self.actors[at].member = refused.member.to_string();
                    }
                }
                GroupAnswer::Sync(Ok(synced)) => self.heard_synced(at, &synced.assignment),
                GroupAnswer::Sync(Err(error)) => self.refused(at, error),
                other => panic!("{other:?}"),
            }
        }
    }

    fn heard_joined(&mut self, at: usize, joined: Joined) {
        let leads = joined.leader == joined.member;
        assert_eq!(
            leads,
            !joined.members.is_empty(),
            "the leader alone sees the members"
        );
        if leads {
            let mut ids: Vec<_> = joined.members.iter().map(|m| &m.member).collect();
            ids.dedup();
            assert_eq!(ids.len(), joined.members.len());
            assert!(ids.contains(&&joined.member));
        }
        let newest = self.stable.keys().next_back().copied().unwrap_or(0);
        assert!(
            joined.generation >= newest,
            "generation {} after {newest}",
            joined.generation
        );
        let actor = &mut self.actors[at];
        actor.member = joined.member.to_string();
        actor.joined = Some(joined);
        actor.phase = Phase::Joined;
    }

    fn heard_synced(&mut self, at: usize, assignment: &Bytes) {
        let joined = self.actors[at].joined.as_ref().expect("it has joined");
        let newest = self.stable.keys().next_back().copied().unwrap_or(0);
        assert!(
            joined.generation >= newest,
            "an old generation is stable again"
        );
        let text = String::from_utf8(assignment.to_vec()).expect("as the leader wrote it");
        let (nonce, name) = text
            .split_once('/')
            .expect("every member was assigned something");
        let own = self.actors[at]
            .instance
            .clone()
            .unwrap_or_else(|| joined.member.to_string());
        assert_eq!(name, own, "somebody else's assignment");
        let known = self
            .stable
            .entry(joined.generation)
            .or_insert_with(|| nonce.to_string());
        assert_eq!(known, nonce, "two assignments in one generation");
        self.actors[at].phase = Phase::In;
    }

    fn commit_offset(&mut self, at: usize) {
        let offset = self.next_offset;
        self.next_offset += 1;
        let call = match &self.actors[at].joined {
            Some(joined) if self.actors[at].phase == Phase::In => {
                let instance = self.actors[at].instance.as_deref().map(Arc::from);
                CommitOffsets {
                    instance,
                    ..commit(joined.generation, &joined.member, offset)
                }
            }
            _ => commit(-1, "", offset),
        };
        let ticket = self.bench.call(call.into());
        self.commits.insert(ticket, offset);
        self.hear();
    }

    fn read_offset(&mut self) -> i64 {
        let all = FetchOffsets {
            group: Some("g".into()),
            topics: None,
            require_stable: false,
        };
        match self.bench.ask(GroupCall::FetchOffsets(all)) {
            GroupAnswer::FetchOffsets(Ok(topics)) if topics.is_empty() => -1,
            GroupAnswer::FetchOffsets(Ok(topics)) => topics[0].partitions[0].offset,
            other => panic!("{other:?}"),
        }
    }

    fn crash(&mut self) {
        self.bench.restart();
        self.commits.clear();
        for actor in &mut self.actors {
            // The connection broke: what was asked is asked again.
            match actor.phase {
                Phase::Joining(_) => actor.phase = Phase::Out,
                Phase::Syncing(_) => actor.phase = Phase::Joined,
                _ => {}
            }
        }
    }

    fn chaos(&mut self) {
        let at = self.below(5) as usize;
        let what = self.below(100);
        self.trace.push(format!("{what} {at}"));
        match what {
            0..45 => self.act(at),
            45..60 => {
                self.bench.commit_one();
            }
            60..63 => {
                let why = [WriteFailure::Lost, WriteFailure::Unavailable];
                let why = why[self.below(2) as usize];
                self.bench.fail_one(why);
            }
            63..75 => {
                let ms = self.below(4_000);
                self.bench.pass_ms(ms);
            }
            75..77 => self.bench.pass_ms(11_000),
            77..80 => self.crash(),
            80..88 => self.commit_offset(at),
            88..91 => {
                // Killed, and started anew without a memory.
                self.actors[at].member.clear();
                self.actors[at].phase = Phase::Out;
            }
            91..94 => self.actors[at].topic = format!("t{}", what + at as u64),
            94..97 => {
                let name = MemberName {
                    member: self.actors[at].member.as_str().into(),
                    instance: self.actors[at].instance.as_deref().map(Arc::from),
                };
                self.bench.ask(GroupCall::Leave(Leave {
                    group: "g".into(),
                    members: vec![name],
                }));
            }
            _ => {
                let delete = GroupCall::Describe { group: "g".into() };
                let GroupAnswer::Describe(_) = self.bench.ask(delete) else {
                    panic!()
                };
            }
        }
        self.hear();
        let read = self.read_offset();
        assert!(
            read >= self.acked,
            "offset {} was committed, {read} is read",
            self.acked
        );
        assert!(!self.failed.contains(&read), "offset {read} was refused");
    }

    /// Without further trouble everybody ends up in one stable generation.
    fn calm_down(&mut self) {
        for _ in 0..400 {
            for at in 0..self.actors.len() {
                self.act(at);
                self.bench.settle();
                self.hear();
            }
            self.bench.pass_ms(1_000);
            self.bench.settle();
            self.hear();
            if self.actors.iter().all(|actor| actor.phase == Phase::In) {
                let generation = |actor: &Actor| actor.joined.as_ref().map(|j| j.generation);
                let first = generation(&self.actors[0]);
                if self.actors.iter().all(|actor| generation(actor) == first)
                    && self.bench.state() == "Stable"
                {
                    return;
                }
            }
        }
        let phases: Vec<_> = self.actors.iter().map(|actor| actor.phase).collect();
        panic!("no stable generation: {phases:?} in {}", self.bench.state());
    }
}

/// Everything that a client can see of the group.
fn picture(bench: &mut Bench) -> (GroupAnswer, GroupAnswer) {
    let all = FetchOffsets {
        group: Some("g".into()),
        topics: None,
        require_stable: true,
    };
    let described = bench.ask(GroupCall::Describe { group: "g".into() });
    (described, bench.ask(GroupCall::FetchOffsets(all)))
}

#[test]
fn whatever_happens() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                for _ in 0..250 {
                    world.chaos();
                }
                world.calm_down();
                world.bench.settle();
                let before = picture(&mut world.bench);
                let mut live: Vec<LogRecord> = world.bench.groups.live_records(PARTITION);
                world.bench.restart();
                assert_eq!(
                    picture(&mut world.bench),
                    before,
                    "a replay gives the same state"
                );
                live.sort();
                let mut again = world.bench.groups.live_records(PARTITION);
                again.sort();
                assert_eq!(again, live, "and would write the same records");
            }
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
        assert!(
            world.stable.len() >= 3,
            "seed {seed}: hardly anything happened"
        );
        assert!(world.acked > 0);
    }
}
