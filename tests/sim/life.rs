//! The lives of one seed, one after the other, on the same disks.

use crate::ambush::Ambush;
use crate::metadata::Decision;
use crate::model::{Log, Model, Moves, Stage};
use crate::plan::{Mistake, Plan, Trouble, log_config, pick};
use crate::shell::{Command, Shell, owner};
use reactor::op::{ErrorKind, ShardId};
use reactor::sim::{Fault, FaultOn, Rng, Settings, World};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use storage::types::{METADATA, PartitionId, TopicId};

/// Longer than anything may take, in nanoseconds of simulated time.
const PATIENCE: u64 = 60_000_000_000;
/// How often a start may find the lock of a killed process still held.
const LOCKED_MAX: u32 = 100;

/// Runs every life of a seed. Returns a number that is equal for equal histories, or why a life
/// failed and what came before.
pub(crate) fn run_seed(seed: u64, mistake: Option<Mistake>) -> Result<u64, String> {
    play(seed, mistake).map(|(hash, _)| hash)
}

/// The same, with how often retired segment files were moved.
pub(crate) fn play(seed: u64, mistake: Option<Mistake>) -> Result<(u64, Moves), String> {
    let history = Rc::new(RefCell::new(Vec::new()));
    let lives = AssertUnwindSafe(|| Lives::new(seed, mistake, Rc::clone(&history)).run());
    catch_unwind(lives).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "a panic without words".to_owned());
        format!("{text}\nhistory:\n  {}", history.borrow().join("\n  "))
    })
}

struct Lives {
    rng: Rng,
    /// Draws where lives are cut short, in the seeds that do so.
    ambushes: Option<Rng>,
    /// Draws topics that live in memory or for a short time, and steps of the wall clock.
    oddities: Option<Rng>,
    /// Draws media that fail while a start is under way, in the seeds that have such.
    failing_starts: Option<Rng>,
    plan: Plan,
    world: World<Shell>,
    model: Rc<RefCell<Model>>,
    mistake: Option<Mistake>,
    topics_made: u64,
    /// What happened, in words.
    history: Rc<RefCell<Vec<String>>>,
}

impl Lives {
    fn new(seed: u64, mistake: Option<Mistake>, history: Rc<RefCell<Vec<String>>>) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::draw(&mut rng);
        let churns = seed % 4 == 3;
        let mut ambushes = (churns || seed % 4 == 1).then(|| rng.clone().fork());
        if let Some(rng) = &mut ambushes
            && churns
        {
            plan = plan.churning(rng);
        } else if let Some(rng) = &mut ambushes
            && rng.chance(1, 3)
        {
            // Several extents in every round, so that failures come one after the other.
            plan.trouble = Some(Trouble::Medium);
            plan.sizes = [1, 1, 6];
            plan.pace_ns = 20_000;
        } else if let Some(rng) = &mut ambushes
            && rng.chance(1, 3)
        {
            plan = plan.deleting();
        }
        let starts_fail = seed % 16 == 8;
        if starts_fail {
            plan.trouble = Some(Trouble::Medium);
        }
        let settings = Settings {
            latency_ns: plan.latency_ns,
            lock_outlives_writes: mistake != Some(Mistake::LockEndsEarly),
            ..Settings::default()
        };
        let mut world = World::new(rng.bits(), settings);
        world.disk().direct_allowed = plan.direct_allowed;
        for dir in &plan.dirs {
            if plan.own_devices {
                world.disk().add_device(dir, None);
            } else {
                world.disk().make_dirs(dir);
            }
        }
        let model = Model::default();
        let model = Rc::new(RefCell::new(model));
        model.borrow_mut().logs.insert(METADATA, Log::default());
        history.borrow_mut().push(format!("{plan:?}"));
        Self {
            ambushes,
            oddities: (seed % 4 == 2).then(|| rng.clone().fork()),
            failing_starts: starts_fail.then(|| rng.clone().fork()),
            rng,
            plan,
            world,
            model,
            mistake,
            topics_made: 0,
            history,
        }
    }

    fn note(&self, what: impl std::fmt::Display) {
        let ms = self.world.time() as f64 / 1e6;
        self.history
            .borrow_mut()
            .push(format!("{ms:.3} ms: {what}"));
    }

    fn run(mut self) -> (u64, Moves) {
        for _ in 0..self.plan.lives {
            self.live();
        }
        // What the media did to the last start must be of no consequence.
        self.failing_starts = None;
        self.start();
        self.await_ready();
        self.await_idle();
        let model = self.model.borrow();
        (self.world.trace_hash() ^ model.digest, model.moves)
    }

    fn live(&mut self) {
        self.start();
        if self.walks_into_ambush() {
            return self.end_abruptly();
        }
        if self.rng.chance(self.plan.early_ends, 16) {
            let longest = [60, 400, 2000][self.rng.index(3)];
            for _ in 0..self.rng.below(longest) {
                self.world.step();
            }
            return self.end_abruptly();
        }
        self.await_ready();
        if self.rng.chance(3, 4) {
            self.await_idle();
        }
        for _ in 0..self.rng.between(1, self.plan.commands_max) {
            if self.rng.chance(1, 32) {
                self.make_trouble();
            }
            self.command();
            let pace = self.rng.below(self.plan.pace_ns);
            let pace = if self.rng.chance(1, 4) { 0 } else { pace };
            if self.is_ambushed(pace) {
                return self.end_abruptly();
            }
        }
        self.end();
    }

    /// Lays an ambush for this life, perhaps, and says whether its start ends in it.
    fn walks_into_ambush(&mut self) -> bool {
        let Some(rng) = &mut self.ambushes else {
            return false;
        };
        if rng.chance(1, 4) {
            return false;
        }
        let ambush = Ambush::draw(rng, &self.plan);
        let at_start = !self.plan.churns && !self.plan.deletes && rng.chance(1, 2);
        self.note(format_args!("{ambush:?}, at the start: {at_start}"));
        if !at_start {
            self.await_ready();
        }
        self.model.borrow_mut().ambush = Some(ambush);
        at_start && self.is_ambushed(PATIENCE)
    }

    /// Lets time pass, until the start is over at most, and says whether this life ends now.
    fn is_ambushed(&mut self, ns: u64) -> bool {
        let model = Rc::clone(&self.model);
        let sprung = move || {
            model
                .borrow()
                .ambush
                .as_ref()
                .is_some_and(Ambush::is_sprung)
        };
        let was_ready = Self::all(&self.world, |shell| shell.ready);
        self.world.run(ns, |world| {
            let started = Self::failure(world).is_some() || Self::all(world, |shell| shell.ready);
            sprung() || (started && !was_ready)
        });
        let ambush = self
            .model
            .borrow_mut()
            .ambush
            .take_if(|ambush| ambush.is_sprung());
        let Some(ambush) = ambush else {
            return false;
        };
        self.note("ambushed");
        for _ in 0..ambush.steps {
            self.world.step();
        }
        true
    }

    /// Fills devices up, or makes some operations fail.
    fn make_trouble(&mut self) {
        self.model.borrow_mut().trouble = self.plan.trouble;
        if self.plan.trouble.is_some() {
            self.note("trouble");
        }
        match self.plan.trouble {
            None => {}
            Some(Trouble::Space) => {
                let dir = self.plan.dirs[self.rng.index(self.plan.dirs.len())].clone();
                let room = self.rng.below(200_000);
                let disk = self.world.disk();
                let used = disk.space_used(&dir);
                disk.set_capacity(&dir, Some(used + room));
            }
            Some(Trouble::Medium) => {
                let on = [FaultOn::Write, FaultOn::Sync, FaultOn::Read][self.rng.index(3)];
                let path_part = ["journal", "topics", ".log", ""][self.rng.index(4)].to_owned();
                let after = self.rng.below(20) as u32;
                let times = [1, 3, u32::MAX][self.rng.index(3)];
                let kind = ErrorKind::Medium;
                self.world.disk().inject(Fault {
                    on,
                    path_part,
                    after,
                    times,
                    kind,
                });
            }
        }
    }

    /// The disks are well again.
    fn end_trouble(&mut self) {
        for dir in &self.plan.dirs {
            self.world.disk().set_capacity(dir, None);
        }
        self.world.disk().heal();
    }

    fn start(&mut self) {
        for dir in &self.plan.dirs {
            let left = self.world.disk().names(dir.join("recycle")).len();
            self.model.borrow_mut().moves.left_over += u64::from(left > 0);
        }
        self.end_trouble();
        self.model.borrow_mut().trouble = None;
        self.model.borrow_mut().ambush = None;
        self.make_start_fail();
        let shards = self.rng.between(1, self.plan.shards_max) as u16;
        self.note(format_args!("start with {shards} shards"));
        let (plan, model, mistake) = (&self.plan, &self.model, self.mistake);
        self.world.start(shards, |shard, arena| {
            Shell::new(
                plan.store(shard.0, shards),
                arena,
                Rc::clone(model),
                mistake,
            )
        });
    }

    /// Lets some operations of a start fail, perhaps.
    fn make_start_fail(&mut self) {
        let Some(rng) = &mut self.failing_starts else {
            return;
        };
        if rng.chance(1, 2) {
            return;
        }
        let fault = Fault {
            on: [FaultOn::Write, FaultOn::Sync, FaultOn::Allocate][rng.index(3)],
            path_part: ["journal", "topics", ".log", "/0/", ""][rng.index(5)].to_owned(),
            after: rng.below(20) as u32,
            times: [1, 3, u32::MAX][rng.index(3)],
            kind: ErrorKind::Medium,
        };
        self.note(format_args!("{fault:?}"));
        self.world.disk().inject(fault);
        self.model.borrow_mut().trouble = Some(Trouble::Medium);
    }

    fn all(world: &World<Shell>, is: impl Fn(&Shell) -> bool) -> bool {
        (0..world.shards()).all(|shard| is(world.machine(ShardId(shard))))
    }

    fn failure(world: &World<Shell>) -> Option<String> {
        let mut shards = (0..world.shards()).map(|shard| world.machine(ShardId(shard)));
        shards.find_map(|shell| shell.failed.clone())
    }

    fn await_ready(&mut self) {
        for _ in 0..LOCKED_MAX {
            let ended = self.world.run(PATIENCE, |world| {
                Self::failure(world).is_some() || Self::all(world, |shell| shell.ready)
            });
            assert!(ended, "the recovery does not end");
            match Self::failure(&self.world) {
                None => {
                    self.note("ready");
                    return;
                }
                Some(why) => {
                    let may = why.contains("lock") || self.has_medium_trouble();
                    assert!(may, "the start failed: {why}");
                    self.note(why);
                }
            }
            self.world.kill();
            self.world.pass(5_000_000);
            self.start();
        }
        panic!("the lock of a dead process is held for ever");
    }

    fn await_idle(&mut self) {
        let idle = self
            .world
            .run(PATIENCE, |world| Self::all(world, Shell::idle));
        assert!(idle, "a read is never answered");
    }

    fn await_durable(&mut self) {
        if self.has_medium_trouble() {
            // What failed is fenced until the next start.
            return;
        }
        self.end_trouble();
        let model = Rc::clone(&self.model);
        let durable = self.world.run(PATIENCE, |world| {
            let waiting = |shell: &Shell| shell.commands.is_empty();
            let model = model.borrow();
            let acked =
                |(id, log): (&PartitionId, &Log)| log.acked == log.end || model.is_going(id);
            Self::all(world, waiting) && model.logs.iter().all(acked)
        });
        assert!(durable, "an append is never acknowledged");
    }

    fn has_medium_trouble(&self) -> bool {
        self.model.borrow().trouble == Some(Trouble::Medium)
    }

    fn end_abruptly(&mut self) {
        for shard in 0..self.world.shards() {
            self.world.machine(ShardId(shard)).note_end();
        }
        if pick(&mut self.rng, &self.plan.ends[1..]) == 0 {
            self.note("kill");
            self.world.kill();
        } else {
            self.note("power cut");
            self.world.power_cut();
        }
        if self.rng.chance(1, 4) {
            let pause = self.rng.below(100_000_000);
            self.world.pass(pause);
        }
    }

    fn end(&mut self) {
        if pick(&mut self.rng, &self.plan.ends) != 0 || self.has_medium_trouble() {
            return self.end_abruptly();
        }
        self.end_trouble();
        self.note("stop");
        for shard in 0..self.world.shards() {
            self.send(shard, Command::Stop);
        }
        if self.rng.chance(1, 3) {
            for _ in 0..self.rng.below(200) {
                self.world.step();
            }
            return self.end_abruptly();
        }
        let stopped = self
            .world
            .run(PATIENCE, |world| Self::all(world, |shell| shell.stopped));
        assert!(stopped, "the stop does not end");
        self.end_abruptly();
    }

    fn send(&mut self, shard: u16, command: Command) {
        self.world
            .machine_mut(ShardId(shard))
            .commands
            .push_back(command);
    }

    fn send_owner(&mut self, id: &PartitionId, command: Command) {
        let shard = owner(id, self.world.shards());
        self.send(shard, command);
    }

    fn command(&mut self) {
        if let Some(rng) = &mut self.oddities
            && rng.chance(1, 40)
        {
            let most = [1_000, 100_000_000][rng.index(2)];
            let by_ms = rng.between(0, 2 * most) as i64 - most as i64;
            self.world.step_wall(by_ms);
        }
        match pick(&mut self.rng, &self.plan.weights) {
            0 => self.append(),
            1 => self.create(),
            2 => self.delete(),
            3 => self.delete_records(),
            4 => self.read(),
            _ => self.pause(),
        }
    }

    /// A partition that may be written to.
    fn partition(&mut self) -> Option<PartitionId> {
        let mut ids = self.model.borrow().partitions(Stage::Alive);
        if self.mistake == Some(Mistake::DataBeforeCreation) {
            ids.extend(self.model.borrow().partitions(Stage::Creating));
        }
        (!ids.is_empty()).then(|| ids[self.rng.index(ids.len())])
    }

    fn append(&mut self) {
        let Some(id) = self.partition() else {
            return self.create();
        };
        let largest = log_config(id.topic).segment_bytes / 2;
        let len = match pick(&mut self.rng, &self.plan.sizes) {
            0 => self.rng.between(1, 300),
            1 => self.rng.between(300, 6_000),
            _ => self.rng.between(4_000, largest.min(60_000)),
        };
        let count = self.rng.between(1, 4);
        let values = (0..count).map(|_| self.value(len / count + 1)).collect();
        self.send_owner(&id, Command::Append { id, values });
    }

    /// Bytes that no other record has, most likely.
    fn value(&mut self, len: u64) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).map(|_| self.rng.bits().to_le_bytes());
        let mut value: Vec<u8> = words.flatten().collect();
        value.truncate(len as usize);
        value
    }

    fn create(&mut self) {
        if self.model.borrow().topics.len() >= self.plan.topics_max {
            return;
        }
        self.topics_made += 1;
        let mut topic = TopicId::default();
        topic.0[..8].copy_from_slice(&self.topics_made.to_be_bytes());
        topic.0[15] = self.rng.bits() as u8;
        topic.0[0] = self.topics_made as u8;
        if let Some(rng) = &mut self.oddities {
            topic.0[14] = rng.bits() as u8;
        }
        let partitions = self.rng.between(1, 3) as i32;
        self.send(0, Command::Decide(Decision::Create { topic, partitions }));
    }

    fn delete(&mut self) {
        if let Some(PartitionId { topic, .. }) = self.partition()
            && self.model.borrow().topics[&topic].stage == Stage::Alive
        {
            self.send(0, Command::Decide(Decision::Delete { topic }));
        }
    }

    fn delete_records(&mut self) {
        if let Some(id) = self.partition() {
            let acked = self.model.borrow().logs[&id].acked;
            let offset = self.rng.between(0, acked as u64) as i64;
            self.send_owner(&id, Command::DeleteRecords { id, offset });
        }
    }

    fn read(&mut self) {
        if let Some(id) = self.partition() {
            let end = self.model.borrow().logs[&id].end;
            let offset = self.rng.between(0, end as u64) as i64;
            let bytes_max = self.rng.between(1, 80_000) as usize;
            self.send_owner(
                &id,
                Command::Read {
                    id,
                    offset,
                    bytes_max,
                },
            );
        }
    }

    fn pause(&mut self) {
        match self.rng.below(3) {
            0 => self.await_durable(),
            1 => self.world.pass(3_000_000),
            _ => self.world.pass(400_000_000),
        }
    }
}
