//! A process that appends, over the simulated kernel: of one shard, unless the plan says more.

use super::reader::Reader;
use bytes::Bytes;
use reactor::buf::Arena;
use reactor::op::{Input, Machine, Mono, Now, Op, Outbox, ShardId};
use reactor::sim::{Settings, World};
use std::path::Path;
use storage::batch::{self, Admitted, Builder, Compression, Origin, Rules};
use storage::store::{AppendError, Event, Fx, Store, StoreMail};
use storage::types::{AlivePartition, LogConfig, METADATA, PartitionId, StoreConfig, TopicId};

pub(crate) const ARENA_BYTES: usize = 16 << 20;
pub(crate) const CLEAR_BYTES: u64 = 256 << 10;
/// Longer than anything takes, in nanoseconds of simulated time.
pub(crate) const PATIENCE: u64 = 60_000_000_000;

/// What one life does.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) shards: u16,
    pub(crate) partitions: i32,
    /// Appends go to the metadata's own partition instead.
    pub(crate) metadata: bool,
    pub(crate) journal_bytes: u64,
    pub(crate) journal_first_bytes: u64,
    pub(crate) appends: usize,
    /// Length of the append that comes when so many are left.
    pub(crate) bytes: fn(usize) -> usize,
    pub(crate) recycle_bytes_max: u64,
    pub(crate) synced_writes: bool,
    /// The first partition is read after a start.
    pub(crate) reads: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_check_ms: u64,
    pub(crate) replay_bytes: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shards: 1,
            partitions: 1,
            metadata: false,
            journal_bytes: 1 << 20,
            journal_first_bytes: 4 << 20,
            appends: 0,
            bytes: |_| 1_000,
            recycle_bytes_max: 0,
            synced_writes: false,
            reads: false,
            segment_bytes: 1 << 30,
            retention_bytes: None,
            retention_check_ms: 300_000,
            replay_bytes: 256 << 20,
        }
    }
}

pub(crate) fn id(index: i32) -> PartitionId {
    PartitionId {
        topic: TopicId([7; 16]),
        index,
    }
}

/// Partitions take turns on the shards.
fn owner(id: PartitionId, plan: &Plan) -> u16 {
    (id.index % i32::from(plan.shards)) as u16
}

fn alive(plan: &Plan) -> Vec<AlivePartition> {
    let partition = |id: PartitionId| AlivePartition {
        id,
        owner: owner(id, plan),
        config: LogConfig {
            segment_bytes: plan.segment_bytes,
            retention_ms: None,
            retention_bytes: plan.retention_bytes,
            ..LogConfig::default()
        },
    };
    std::iter::once(METADATA)
        .chain((0..plan.partitions).map(id))
        .map(partition)
        .collect()
}

fn batch(bytes: usize, now: Now) -> Admitted {
    let mut builder = Builder::new(Compression::None);
    let value = vec![b'v'; bytes];
    builder
        .append(now.wall_ms, None, Some(&value), &[])
        .expect("it fits");
    let bytes: Bytes = builder.build().expect("it has a record");
    let rules = Rules {
        now_ms: now.wall_ms,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        batch_bytes_max: 64 << 20,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max: 1 << 20,
        origin: Origin::Client,
    };
    batch::admit(bytes, &rules).expect("a good batch")
}

/// Mail between shards.
pub(crate) enum Letter {
    Store(StoreMail),
    /// The metadata is read: every shard may know which partitions exist.
    Alive,
}

/// A shard that appends to one partition after the other, each time the last append is durable.
pub(crate) struct Shell {
    store: Store,
    plan: Plan,
    /// The partitions of this shard.
    own: Vec<PartitionId>,
    stops: bool,
    started: bool,
    pub(crate) ready: bool,
    pub(crate) failed: Option<String>,
    /// Appends to come, and whether one is under way.
    pub(crate) left: usize,
    waiting: bool,
    /// When to try an append for which the memory did not suffice.
    again: Option<Mono>,
    pub(crate) acknowledged: usize,
    /// Bytes of all reads of files.
    pub(crate) bytes_read: u64,
    /// Syncs of files that were asked for.
    pub(crate) syncs: usize,
    /// Folders that were made, two for each segment file, and the most of them in one step.
    pub(crate) folders: usize,
    pub(crate) folders_max: usize,
    /// Truncations, and the most of them in one step.
    pub(crate) truncates: usize,
    pub(crate) truncates_max: usize,
    /// Files that were removed, and the most of them in one step.
    pub(crate) unlinks: usize,
    pub(crate) unlinks_max: usize,
    /// Segment files that were removed.
    pub(crate) segments_removed: usize,
    arena: Arena,
    /// The most of the arena that was in use between two steps, in bytes.
    pub(crate) memory_max: usize,
    /// Reads the first partition once everything is appended.
    pub(crate) reader: Reader,
    /// Whether the directory was ever said to be full.
    pub(crate) was_full: bool,
    /// The partitions that the start found, and where they ended.
    pub(crate) recovered: Vec<(PartitionId, i64)>,
    /// Where they began.
    pub(crate) recovered_from: Vec<(PartitionId, i64)>,
    /// Partitions that were said to take no more appends, and how many these were not given.
    pub(crate) fenced: Vec<PartitionId>,
    pub(crate) refused: usize,
    pub(crate) notices: Vec<String>,
}

impl Shell {
    fn new(shard: u16, arena: Arena, plan: Plan) -> Self {
        let config = StoreConfig {
            dirs: vec!["/data".into()],
            shard,
            shards: plan.shards,
            journal_bytes: plan.journal_bytes,
            journal_first_bytes: plan.journal_first_bytes,
            recycle_bytes_max: plan.recycle_bytes_max,
            clear_bytes: CLEAR_BYTES,
            destage_bytes: 64 << 10,
            checkpoint_bytes: 16 << 20,
            replay_bytes: plan.replay_bytes,
            retention_check_ms: plan.retention_check_ms,
            synced_writes: plan.synced_writes,
        };
        let own = (0..plan.partitions).map(id);
        let mut own: Vec<_> = own.filter(|id| owner(*id, &plan) == shard).collect();
        if plan.metadata {
            own = vec![METADATA];
        }
        Self {
            store: Store::new(config, arena.clone()),
            plan,
            left: if own.is_empty() { 0 } else { plan.appends },
            own,
            started: false,
            stops: false,
            ready: false,
            failed: None,
            waiting: false,
            again: None,
            acknowledged: 0,
            syncs: 0,
            bytes_read: 0,
            folders: 0,
            folders_max: 0,
            truncates: 0,
            truncates_max: 0,
            unlinks: 0,
            unlinks_max: 0,
            segments_removed: 0,
            arena,
            memory_max: 0,
            reader: Reader::default(),
            was_full: false,
            recovered: Vec::new(),
            recovered_from: Vec::new(),
            fenced: Vec::new(),
            refused: 0,
            notices: Vec::new(),
        }
    }

    /// Whether it is done with all that it is to do.
    pub(crate) fn is_done(&self) -> bool {
        self.ready && self.left == 0 && !self.waiting
    }

    /// The end of a partition that the start found.
    pub(crate) fn end_of(&self, id: PartitionId) -> Option<i64> {
        let mut recovered = self.recovered.iter();
        recovered
            .find(|(known, _)| *known == id)
            .map(|(_, end)| *end)
    }

    fn on_letter(&mut self, letter: Letter, now: Now, fx: &mut Fx) {
        match letter {
            Letter::Store(mail) => self.store.on_mail(0, mail, now, fx),
            Letter::Alive => self.store.set_alive(&alive(&self.plan), now, fx),
        }
    }

    /// Stops at its next step.
    pub(crate) fn stop(&mut self) {
        self.stops = true;
    }

    /// So many more appends are to come.
    pub(crate) fn go_on(&mut self, appends: usize) {
        self.left += appends;
    }

    fn on_event(&mut self, event: Event, now: Now, fx: &mut Fx, out: &mut Outbox<Letter>) {
        match event {
            Event::Mail { to, mail } => out.mail.push((ShardId(to), Letter::Store(mail))),
            Event::MetadataReady => {
                self.store.set_alive(&alive(&self.plan), now, fx);
                let others = (1..self.plan.shards).map(|to| (ShardId(to), Letter::Alive));
                out.mail.extend(others);
            }
            Event::Ready(report) => {
                self.ready = true;
                let found = report.partitions.iter().map(|known| (known.id, known.end));
                self.recovered = found.collect();
                let began = report.partitions.iter();
                self.recovered_from = began.map(|known| (known.id, known.log_start)).collect();
                let first = self.end_of(id(0)).filter(|_| self.plan.reads);
                self.reader.end = first.unwrap_or(0);
            }
            Event::Read { .. } => self.reader.on_event(&event, now),
            Event::Durable { .. } => {
                self.waiting = false;
                self.acknowledged += 1;
            }
            Event::SpaceFull { .. } => self.was_full = true,
            Event::Failed(why) => self.failed = Some(why),
            Event::Fenced { slots, .. } => {
                let fenced = slots.iter().map(|slot| self.store.info(*slot).id);
                self.fenced.extend(fenced);
            }
            Event::Notice(line) => self.notices.push(line),
            _ => {}
        }
    }

    fn append_next(&mut self, now: Now) {
        if !self.ready || self.waiting || self.left == 0 {
            return;
        }
        self.left -= 1;
        let id = self.own[self.left % self.own.len()];
        let slot = self.store.slot(&id).expect("created at the start");
        let batch = batch((self.plan.bytes)(self.left), now);
        match self.store.append(slot, &batch, 0, now) {
            Ok(_) => self.waiting = true,
            // Said before anything changed: the same again when there is room.
            Err(AppendError::NoSpace) => self.left += 1,
            Err(AppendError::Busy) => {
                self.left += 1;
                self.again = Some(now.mono.after_ms(20));
            }
            Err(AppendError::Fenced) if self.fenced.contains(&id) => {
                self.refused += 1;
                self.again = Some(now.mono.after_ms(1));
            }
            Err(error) => panic!("an append was refused: {error:?}"),
        }
    }
}

impl Machine for Shell {
    type Mail = Letter;

    fn step(
        &mut self,
        now: Now,
        inputs: &mut Vec<Input<Letter>>,
        _: usize,
        out: &mut Outbox<Letter>,
    ) {
        let mut fx = Fx::default();
        if !std::mem::replace(&mut self.started, true) {
            self.store.start(now, &mut fx);
        }
        for input in inputs.drain(..) {
            match input {
                Input::Done(token, done) => self.store.on_done(token, done, now, &mut fx),
                Input::Mail { mail, .. } => self.on_letter(mail, now, &mut fx),
            }
        }
        self.store.tick(now, &mut fx);
        if std::mem::take(&mut self.stops) {
            self.store.stop(now, &mut fx);
        }
        loop {
            self.append_next(now);
            self.store.flush(now, &mut fx);
            if fx.events.is_empty() {
                break;
            }
            for event in std::mem::take(&mut fx.events) {
                self.on_event(event, now, &mut fx, out);
            }
        }
        let asked = |kind: fn(&Op) -> bool| fx.ops.iter().filter(|(_, op)| kind(op)).count();
        self.syncs += asked(|op| matches!(op, Op::Sync { .. }));
        let read = fx.ops.iter().map(|(_, op)| match op {
            Op::Read { len, .. } => u64::from(*len),
            _ => 0,
        });
        self.bytes_read += read.sum::<u64>();
        let folders = asked(|op| matches!(op, Op::CreateDir { .. }));
        self.folders += folders;
        self.folders_max = self.folders_max.max(folders);
        let truncates = asked(|op| matches!(op, Op::Truncate { len: 1.., .. }));
        self.truncates += truncates;
        self.truncates_max = self.truncates_max.max(truncates);
        let unlinks = asked(|op| matches!(op, Op::Unlink { .. }));
        self.unlinks += unlinks;
        self.unlinks_max = self.unlinks_max.max(unlinks);
        self.segments_removed += asked(|op| {
            let Op::Unlink { path } = op else {
                return false;
            };
            path.extension().is_some_and(|kind| kind == "log")
        });
        self.again = self.again.filter(|at| *at > now.mono);
        out.wake_at = fx.wake_at.into_iter().chain(self.again).min();
        if self.reader.next < self.reader.end {
            let slot = self.store.slot(&id(0)).expect("recovered");
            let at = self.reader.step(slot, &mut self.store, now, &mut fx);
            out.wake_at = out.wake_at.into_iter().chain([at]).min();
        }
        out.ops.append(&mut fx.ops);
        self.memory_max = self.memory_max.max(self.arena.bytes_used());
    }
}

/// A machine with an empty disk.
pub(crate) fn new_world() -> World<Shell> {
    world_of(1)
}

pub(crate) fn world_of(seed: u64) -> World<Shell> {
    let settings = Settings {
        arena_bytes: ARENA_BYTES,
        ..Settings::default()
    };
    let mut world = World::new(seed, settings);
    world.disk().make_dirs(Path::new("/data"));
    world
}

/// Starts a process and runs it until all that it is to append is durable.
pub(crate) fn live(world: &mut World<Shell>, plan: Plan) -> &Shell {
    start(world, plan);
    finish(world)
}

pub(crate) fn start(world: &mut World<Shell>, plan: Plan) {
    world.start(plan.shards, |shard, arena| Shell::new(shard.0, arena, plan));
}

/// Runs a process until all that it is to append is durable.
pub(crate) fn finish(world: &mut World<Shell>) -> &Shell {
    let done = world.run(PATIENCE, |world| {
        let shell = world.machine(ShardId(0));
        shell.failed.is_some() || !shell.fenced.is_empty() || shell.is_done()
    });
    let shell = world.machine(ShardId(0));
    assert_eq!((&shell.failed, &*shell.fenced), (&None, &[][..]));
    assert!(done, "everything is acknowledged");
    shell
}
