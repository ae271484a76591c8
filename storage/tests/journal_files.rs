//! A journal goes on from file to file: what it no longer needs is used again, and what does not
//! fit into the rest of a file goes into the next one.

use bytes::Bytes;
use reactor::buf::Arena;
use reactor::op::{Input, Machine, Now, Outbox, ShardId};
use reactor::sim::{Settings, World};
use std::path::Path;
use storage::batch::{self, Admitted, Builder, Compression, Origin, Rules};
use storage::store::{Event, Fx, Store, StoreMail};
use storage::types::{AlivePartition, LogConfig, METADATA, PartitionId, StoreConfig, TopicId};

const PARTITIONS: i32 = 3;
const ARENA_BYTES: usize = 16 << 20;
const JOURNAL_BYTES: u64 = 1 << 20;
/// Longer than anything takes, in nanoseconds of simulated time.
const PATIENCE: u64 = 60_000_000_000;

fn id(index: i32) -> PartitionId {
    PartitionId {
        topic: TopicId([7; 16]),
        index,
    }
}

fn alive() -> Vec<AlivePartition> {
    let partition = |id| AlivePartition {
        id,
        owner: 0,
        config: LogConfig {
            retention_ms: None,
            ..LogConfig::default()
        },
    };
    std::iter::once(METADATA)
        .chain((0..PARTITIONS).map(id))
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
        batch_bytes_max: 1 << 20,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max: 1 << 20,
        origin: Origin::Client,
    };
    batch::admit(bytes, &rules).expect("a good batch")
}

/// A shard that appends to one partition after the other, each time the last append is durable.
struct Shell {
    store: Store,
    started: bool,
    ready: bool,
    failed: Option<String>,
    /// Appends to come, and whether one is under way.
    left: usize,
    waiting: bool,
    acknowledged: usize,
    /// Length of the append that comes when so many are left.
    bytes: fn(usize) -> usize,
}

impl Shell {
    fn new(arena: Arena, appends: usize, bytes: fn(usize) -> usize) -> Self {
        let config = StoreConfig {
            dirs: vec!["/data".into()],
            shard: 0,
            shards: 1,
            journal_bytes: JOURNAL_BYTES,
            recycle_bytes_max: 0,
            retention_check_ms: 300_000,
        };
        Self {
            store: Store::new(config, arena),
            started: false,
            ready: false,
            failed: None,
            left: appends,
            waiting: false,
            acknowledged: 0,
            bytes,
        }
    }

    fn on_event(&mut self, event: Event, now: Now, fx: &mut Fx) {
        match event {
            Event::Mail { mail, .. } => self.store.on_mail(0, mail, now, fx),
            Event::MetadataReady => self.store.set_alive(&alive(), now, fx),
            Event::Ready(_) => self.ready = true,
            Event::Durable { .. } => {
                self.waiting = false;
                self.acknowledged += 1;
            }
            Event::Failed(why) => self.failed = Some(why),
            Event::Fenced { why, .. } => self.failed = Some(why),
            _ => {}
        }
    }

    fn append_next(&mut self, now: Now) {
        if !self.ready || self.waiting || self.left == 0 {
            return;
        }
        self.left -= 1;
        let id = id((self.left % PARTITIONS as usize) as i32);
        let slot = self.store.slot(&id).expect("created at the start");
        self.store
            .append(slot, &batch((self.bytes)(self.left), now), 0, now)
            .expect("there is room");
        self.waiting = true;
    }
}

impl Machine for Shell {
    type Mail = StoreMail;

    fn step(
        &mut self,
        now: Now,
        inputs: &mut Vec<Input<StoreMail>>,
        _: usize,
        out: &mut Outbox<StoreMail>,
    ) {
        let mut fx = Fx::default();
        if !std::mem::replace(&mut self.started, true) {
            self.store.start(now, &mut fx);
        }
        for input in inputs.drain(..) {
            if let Input::Done(token, done) = input {
                self.store.on_done(token, done, now, &mut fx);
            }
        }
        self.store.tick(now, &mut fx);
        loop {
            self.append_next(now);
            self.store.flush(now, &mut fx);
            if fx.events.is_empty() {
                break;
            }
            for event in std::mem::take(&mut fx.events) {
                self.on_event(event, now, &mut fx);
            }
        }
        out.wake_at = fx.wake_at;
        out.ops.append(&mut fx.ops);
    }
}

/// The files of the journal after that many appends, each made when the one before is durable.
fn journal_files_after(appends: usize, bytes: fn(usize) -> usize) -> usize {
    let settings = Settings {
        arena_bytes: ARENA_BYTES,
        ..Settings::default()
    };
    let mut world: World<Shell> = World::new(1, settings);
    world.disk().make_dirs(Path::new("/data"));
    world.start(1, |_, arena| Shell::new(arena, appends, bytes));
    world.run(PATIENCE, |world| {
        let shell = world.machine(ShardId(0));
        shell.failed.is_some() || (shell.left == 0 && !shell.waiting)
    });
    let shell = world.machine(ShardId(0));
    assert_eq!(shell.failed, None);
    assert_eq!(shell.acknowledged, appends);
    let names = world.disk().names(Path::new("/data/journal"));
    names.iter().filter(|name| name.starts_with("0-")).count()
}

#[test]
fn the_first_files_of_a_journal_are_used_again() {
    // Ten times what one file holds, in the very first life.
    let files = journal_files_after(1_000, |_| 8_000);
    assert!(files <= 4, "{files} files");
}

#[test]
fn what_does_not_fit_into_the_rest_of_a_file_goes_into_the_next() {
    // All lengths that still go through the journal, so that the rest is of every size.
    let files = journal_files_after(1_500, |left| 200 + left * 7_919 % 32_000);
    assert!(files <= 4, "{files} files");
}
