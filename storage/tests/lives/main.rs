//! What a store keeps to over whole lives: how much memory recovery takes, that a journal goes on
//! from file to file, and what recycled segments are good for.

mod medium;
mod reader;
mod shell;

use reactor::op::{ErrorKind, ShardId};
use reactor::sim::{Fault, FaultOn, World};
use shell::{ARENA_BYTES, PATIENCE, Plan, Shell, finish, id, live, new_world, start, world_of};
use std::path::{Path, PathBuf};
use storage::types::METADATA;

/// The files of the journal after that many appends, each made when the one before is durable.
fn journal_files_after(appends: usize, bytes: fn(usize) -> usize, synced_writes: bool) -> usize {
    journal_files_of(3, appends, bytes, synced_writes)
}

fn journal_files_of(
    partitions: i32,
    appends: usize,
    bytes: fn(usize) -> usize,
    synced_writes: bool,
) -> usize {
    let plan = Plan {
        partitions,
        synced_writes,
        journal_bytes: 1 << 20,
        appends,
        bytes,
        ..Plan::default()
    };
    let mut world = new_world();
    assert_eq!(live(&mut world, plan).acknowledged, appends);
    let names = world.disk().names(Path::new("/data/journal"));
    names.iter().filter(|name| name.starts_with("0-")).count()
}

#[test]
fn the_first_files_of_a_journal_are_used_again() {
    // Ten times what one file holds, in the very first life.
    for synced_writes in [false, true] {
        let files = journal_files_after(1_000, |_| 8_000, synced_writes);
        assert!(files <= 4, "{files} files");
    }
}

/// Each round has news of it, and at the end of each its blocks are on their way to the segment: it
/// was never restated, and no file given up.
#[test]
fn a_partition_that_never_rests_does_not_make_the_journal_grow() {
    for synced_writes in [false, true] {
        let files = journal_files_of(1, 1_500, |_| 9_000, synced_writes);
        assert!(files <= 4, "{files} files, synced writes: {synced_writes}");
    }
}

#[test]
fn what_does_not_fit_into_the_rest_of_a_file_goes_into_the_next() {
    // All lengths that still go through the journal, so that the rest is of every size.
    for synced_writes in [false, true] {
        let lengths = |left| 200 + left * 7_919 % 32_000;
        let files = journal_files_after(1_500, lengths, synced_writes);
        // Rounds of one step come faster; what frees a file takes as long as before.
        assert!(
            files <= 4 + usize::from(synced_writes),
            "{files} files, synced writes: {synced_writes}"
        );
    }
}

/// Recovery restores partitions one after the other: together they may hold more than the arena.
#[test]
fn recovery_needs_no_more_memory_than_a_few_partitions() {
    const BATCHES: usize = 16;
    const BATCH_BYTES: usize = 64 << 10;
    let partitions = 48;
    let plan = Plan {
        partitions,
        journal_bytes: 8 << 20,
        appends: partitions as usize * BATCHES,
        bytes: |_| BATCH_BYTES,
        ..Plan::default()
    };
    assert!(plan.appends * BATCH_BYTES > 2 * ARENA_BYTES);
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    world.pass(5_000_000_000);
    let next = Plan { appends: 0, ..plan };
    let recovered = &live(&mut world, next).recovered;
    let held = |index| recovered.contains(&(id(index), BATCHES as i64));
    assert!((0..partitions).all(held), "{recovered:?}");
}

/// What needs nothing read is restored at once, and the next one after it: in turn, and not inside
/// each other, for which a stack has no room.
#[test]
fn thousands_of_small_partitions_are_restored_on_a_small_stack() {
    let partitions = 2_000;
    let plan = Plan {
        partitions,
        journal_bytes: 8 << 20,
        appends: partitions as usize,
        bytes: |_| 100,
        ..Plan::default()
    };
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    world.pass(5_000_000_000);
    let next = Plan { appends: 0, ..plan };
    let recovered = &live(&mut world, next).recovered;
    let held = |index| recovered.contains(&(id(index), 1));
    assert!((0..partitions).all(held), "{} recovered", recovered.len());
}

#[test]
fn a_first_start_does_not_wait_for_the_whole_of_a_journal_file() {
    let mut world = new_world();
    let plan = Plan {
        journal_bytes: 64 << 20,
        ..Plan::default()
    };
    start(&mut world, plan);
    let ready = world.run(PATIENCE, |world| world.machine(ShardId(0)).ready);
    assert!(ready);
    let used = world.disk().space_used("/data");
    assert!(
        used < 16 << 20,
        "{used} bytes are written before it is ready"
    );
}

/// 10 MiB, less than makes a life save durably by itself.
fn some() -> Plan {
    Plan {
        journal_bytes: 8 << 20,
        appends: 80,
        bytes: |_| 128 << 10,
        ..Plan::default()
    }
}

/// Each start would read again what no life saved.
#[test]
fn what_a_start_replayed_counts_for_what_is_saved() {
    let plan = some();
    let mut world = new_world();
    let durable = |world: &mut World<Shell>| {
        world.pass(1_000_000_000);
        saved(world).contains(&"checkpoint".to_owned())
    };
    live(&mut world, plan);
    assert!(!durable(&mut world));
    world.kill();
    world.pass(5_000_000_000);
    live(&mut world, plan);
    assert!(durable(&mut world));
}

/// The recent checkpoint makes a start short; how much only that covers must not be forgotten.
#[test]
fn what_only_the_recent_checkpoint_covers_counts_as_well() {
    let plan = Plan {
        replay_bytes: 1 << 20,
        ..some()
    };
    let mut world = new_world();
    live(&mut world, plan);
    world.pass(1_000_000_000);
    let files = saved(&mut world);
    assert!(files.contains(&"recent".to_owned()), "{files:?}");
    assert!(!files.contains(&"checkpoint".to_owned()), "{files:?}");
    world.kill();
    world.pass(5_000_000_000);
    live(&mut world, plan);
    world.pass(1_000_000_000);
    assert!(saved(&mut world).contains(&"checkpoint".to_owned()));
}

#[test]
fn a_stop_saves_what_its_start_replayed() {
    let plan = some();
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    world.pass(5_000_000_000);
    live(&mut world, Plan { appends: 0, ..plan });
    assert!(!saved(&mut world).contains(&"checkpoint".to_owned()));
    world.machine_mut(ShardId(0)).stop();
    world.pass(1_000_000_000);
    assert!(saved(&mut world).contains(&"checkpoint".to_owned()));
}

/// The files of the first partition.
fn saved(world: &mut World<Shell>) -> Vec<String> {
    let topics = Path::new("/data/topics");
    let Some(topic) = world.disk().names(topics).pop() else {
        return Vec::new();
    };
    world.disk().names(topics.join(topic).join("0"))
}

/// Four partitions with 15 MiB each, killed: bytes that the next start reads. Before it begins,
/// `happens`.
fn read_after_a_kill(replay_bytes: u64, happens: fn(&mut World<Shell>)) -> u64 {
    let plan = Plan {
        partitions: 4,
        journal_bytes: 1 << 20,
        appends: 480,
        bytes: |_| 128 << 10,
        replay_bytes,
        ..Plan::default()
    };
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    world.pass(5_000_000_000);
    happens(&mut world);
    let next = Plan { appends: 0, ..plan };
    let shell = live(&mut world, next);
    for index in 0..4 {
        assert_eq!(shell.end_of(id(index)), Some(120));
    }
    shell.bytes_read
}

#[test]
fn a_start_after_a_kill_reads_only_what_came_of_late() {
    let all = read_after_a_kill(256 << 20, |_| ());
    let late = read_after_a_kill(1 << 20, |_| ());
    assert!(all > 60 << 20, "{all} bytes read");
    assert!(late < 24 << 20, "{late} bytes read");
}

/// It is written over itself and not synced, so that a part of it may be lost.
#[test]
fn what_is_left_of_a_damaged_recent_checkpoint_is_not_believed() {
    let whole = read_after_a_kill(1 << 20, |_| ());
    let damaged = read_after_a_kill(1 << 20, |world| {
        assert!(saved(world).contains(&"recent".to_owned()));
        let topics = Path::new("/data/topics");
        let topic = topics.join(&world.disk().names(topics)[0]);
        world.disk().damage(topic.join("0/recent"), 100, 1);
    });
    assert!(damaged > whole + (6 << 20), "{damaged} bytes read, {whole}");
}

#[test]
fn a_partition_that_comes_to_rest_is_saved() {
    let mut world = new_world();
    let plan = Plan {
        appends: 8,
        bytes: |_| 128 << 10,
        ..Plan::default()
    };
    live(&mut world, plan);
    assert!(!saved(&mut world).contains(&"recent".to_owned()));
    world.pass(20_000_000_000);
    assert!(saved(&mut world).contains(&"recent".to_owned()));
}

/// A life may end when it has made the file of a segment and nothing names it yet. The next one
/// removes that file, and makes one of the same name. (Found by the simulator, seed 9239 of
/// dc720a9: the new one was removed.)
#[test]
fn a_file_that_nothing_named_is_gone_before_its_name_is_used_again() {
    let plan = Plan {
        // So many fit into a segment.
        appends: 7,
        bytes: |_| 128 << 10,
        segment_bytes: 1 << 20,
        ..Plan::default()
    };
    let mut removed = 0;
    for seed in 0..40 {
        let mut world = world_of(seed);
        live(&mut world, plan);
        world.disk().inject(Fault {
            on: FaultOn::Write,
            path_part: "/journal/".to_owned(),
            after: 0,
            times: u32::MAX,
            kind: ErrorKind::Medium,
        });
        world.machine_mut(ShardId(0)).go_on(1);
        let begun = world.run(PATIENCE, |world| segments(world) == 2);
        world.disk().heal();
        assert!(begun, "the second segment is begun");
        world.kill();
        world.pass(5_000_000_000);
        assert_eq!((seed, segments(&mut world)), (seed, 2));
        let shell = live(&mut world, Plan { appends: 2, ..plan });
        removed += shell.unlinks;
        assert_eq!((seed, segments(&mut world)), (seed, 2));
        world.kill();
        world.pass(5_000_000_000);
        live(&mut world, Plan { appends: 0, ..plan });
    }
    assert!(removed > 20, "{removed} files were removed");
}

/// A life may end while it removes a topic, at any step of that.
#[test]
fn what_is_left_of_a_topic_that_is_gone_is_removed_even_if_it_is_empty() {
    let mut world = new_world();
    live(&mut world, Plan::default());
    world.kill();
    for (digit, folder) in (2..).zip(["", "/0", "/1"]) {
        let topic = format!("/data/topics/{digit:032}{folder}");
        world.disk().make_dirs(topic);
    }
    world.pass(5_000_000_000);
    live(&mut world, Plan::default());
    world.pass(1_000_000_000);
    assert_eq!(world.disk().names("/data/topics"), Vec::<String>::new());
}

/// Bulk into segments of 1 MiB, of which two or three are kept.
fn rolling(recycle_bytes_max: u64, retention_check_ms: u64) -> Plan {
    Plan {
        partitions: 4,
        journal_bytes: 8 << 20,
        appends: 800,
        bytes: |_| 128 << 10,
        recycle_bytes_max,
        synced_writes: false,
        reads: false,
        segment_bytes: 1 << 20,
        retention_bytes: Some(2 << 20),
        retention_check_ms,
        ..Plan::default()
    }
}

#[test]
fn over_recycled_space_a_round_syncs_only_its_journal() {
    let syncs = |recycle_bytes_max| {
        let mut world = new_world();
        let plan = rolling(recycle_bytes_max, 10);
        let shell = live(&mut world, plan);
        assert_eq!(shell.acknowledged, plan.appends);
        shell.syncs
    };
    let (fresh, recycled) = (syncs(0), syncs(16 << 20));
    // A sync of the journal each, and one of the segment, but for what happens at each roll.
    assert!(fresh >= 2 * 800, "{fresh} syncs");
    assert!(recycled < fresh - 400, "{recycled} syncs, {fresh} without");
}

#[test]
fn a_round_of_synced_writes_needs_no_sync_behind_them() {
    let mut world = new_world();
    let plan = Plan {
        synced_writes: true,
        ..rolling(16 << 20, 10)
    };
    let shell = live(&mut world, plan);
    assert_eq!(shell.acknowledged, plan.appends);
    // What is left happens at each roll.
    assert!(shell.syncs < plan.appends / 2, "{} syncs", shell.syncs);
}

/// Lengths of the retired files that are kept.
fn kept(world: &mut World<Shell>) -> Vec<usize> {
    let dir = Path::new("/data/recycle");
    let disk = world.disk();
    let contents = disk
        .names(dir)
        .into_iter()
        .map(|name| disk.content(dir.join(name)));
    contents.flatten().map(|content| content.len()).collect()
}

#[test]
fn what_is_kept_stays_within_its_bound_and_does_not_outlive_the_process() {
    let plan = rolling(3 << 20, 200);
    let mut world = new_world();
    start(&mut world, plan);
    let mut most = 0;
    let filled = world.run(PATIENCE, |world| {
        most = most.max(kept(world).len());
        kept(world).len() == 3
    });
    assert!(filled, "at most {most} files are kept");
    world.kill();
    world.pass(5_000_000_000);
    // Nothing is to be retained anew, which could give up, and keep, more.
    let next = Plan {
        appends: 0,
        retention_bytes: None,
        ..plan
    };
    live(&mut world, next);
    world.pass(5_000_000_000);
    assert_eq!(kept(&mut world), Vec::<usize>::new());
}

#[test]
fn a_full_directory_takes_what_is_kept_before_anything_is_refused() {
    let mut world = new_world();
    start(&mut world, rolling(64 << 20, 200));
    let filled = world.run(PATIENCE, |world| {
        let busy = world.machine(ShardId(0)).acknowledged > 200;
        busy && kept(world).len() >= 4
    });
    assert!(filled, "retired files are kept");
    // Checksums and indexes need more, even where segments do not.
    let used = world.disk().space_used("/data");
    world.disk().set_capacity("/data", Some(used));
    let freed = world.run(PATIENCE, |world| {
        world.disk().space_used("/data") + (3 << 20) <= used
    });
    assert!(freed, "what was kept is given back");
    assert!(!world.machine(ShardId(0)).was_full);
    world.disk().set_capacity("/data", None);
    assert_eq!(finish(&mut world).acknowledged, 800);
}

/// Small and large appends into segments that end often.
fn mixed() -> Plan {
    Plan {
        bytes: |left| 200 + left * 7_919 % 60_000,
        partitions: 3,
        appends: 1_400,
        journal_bytes: 1 << 20,
        ..rolling(0, 200)
    }
}

/// Runs a process until so much is acknowledged, and bounds its directory to what it uses then.
fn filled(until: usize) -> World<Shell> {
    let mut world = new_world();
    start(&mut world, mixed());
    let busy = world.run(PATIENCE, |world| {
        world.machine(ShardId(0)).acknowledged > until
    });
    assert!(busy, "{until} appends");
    let used = world.disk().space_used("/data");
    world.disk().set_capacity("/data", Some(used));
    world
}

/// Whatever state the journal and the segments are in: a start begins in a file of its own and has
/// checksums and indexes to write.
#[test]
fn a_start_on_a_full_directory_needs_no_space() {
    for until in (100..1_300).step_by(23) {
        let mut world = filled(until);
        world.kill();
        world.pass(5_000_000_000);
        live(
            &mut world,
            Plan {
                appends: 0,
                ..mixed()
            },
        );
    }
}

/// Whatever was being written when the directory became full, and when it had room again.
#[test]
fn appends_go_on_by_themselves_when_there_is_room() {
    let mut refusals = 0;
    for until in (100..1_300).step_by(23) {
        let mut world = filled(until);
        world.run(until as u64 * 5_000_000, |_| false);
        refusals += usize::from(world.machine(ShardId(0)).was_full);
        world.disk().set_capacity("/data", None);
        assert_eq!(finish(&mut world).acknowledged, 1_400, "full after {until}");
    }
    assert!(refusals > 20, "{refusals} of the directories were full");
}

/// A journal that goes on in its next file needs every partition restated, and so destaged: all at
/// once they held up the rounds for as long as it takes to make a file for each.
#[test]
fn a_change_of_the_journal_file_has_few_partitions_destaged_at_a_time() {
    let partitions = 200;
    let plan = Plan {
        partitions,
        journal_bytes: 8 << 20,
        appends: 2_400,
        bytes: |_| 5_000,
        ..Plan::default()
    };
    let mut world = new_world();
    start(&mut world, plan);
    let shell = finish(&mut world);
    // It came round: each partition has its file.
    assert!(
        shell.folders >= 2 * partitions as usize,
        "{}",
        shell.folders
    );
    assert!(shell.folders_max <= 16, "{} at once", shell.folders_max);
}

/// The last block of a batch held the memory of all of it: with so many partitions the arena was
/// full, and nothing was appended until the idle ones were looked after, seconds later.
#[test]
fn more_partitions_than_the_arena_has_batches_do_not_stop_each_other() {
    const BATCH_BYTES: usize = 64 << 10;
    let partitions = 400;
    let plan = Plan {
        partitions,
        journal_bytes: 8 << 20,
        appends: 2 * partitions as usize,
        bytes: |_| BATCH_BYTES,
        ..Plan::default()
    };
    assert!(partitions as usize * BATCH_BYTES > ARENA_BYTES);
    let mut world = new_world();
    start(&mut world, plan);
    let began = world.now();
    finish(&mut world);
    let took_ms = world.now().mono.ms_since(began.mono);
    assert!(took_ms < 4_000, "{took_ms} ms");
}

/// A file system may discard the blocks of what is removed, and commits wait behind that.
#[test]
fn what_retention_gives_up_is_removed_file_by_file() {
    let mut world = new_world();
    start(&mut world, rolling(0, 1_000));
    let shell = finish(&mut world);
    let acknowledged = shell.acknowledged;
    world.pass(3_000_000_000);
    let shell = world.machine(ShardId(0));
    let (all, most) = (shell.unlinks, shell.unlinks_max);
    assert!(all > 30, "{all} files after {acknowledged} appends");
    // A segment, its checksums and its index.
    assert!(most <= 3, "{most} at once");
    // Four pieces of each segment, the last of which goes with the file.
    let (pieces, most) = (shell.truncates, shell.truncates_max);
    assert!(pieces >= all, "{pieces} pieces of {all} files");
    assert!(most <= 1, "{most} pieces at once");
}

/// Under steady load a segment goes for each that is complete, and becomes the space of the next:
/// left to the next check, more would go at once than can be kept.
#[test]
fn retention_keeps_pace_with_what_is_written() {
    let mut world = new_world();
    let plan = rolling(16 << 20, 300_000);
    start(&mut world, plan);
    let mut most = 0;
    let written = world.run(PATIENCE, |world| {
        most = most.max(segments(world));
        world.machine(ShardId(0)).is_done()
    });
    assert!(written);
    // Three that are retained, the one that is written to, and one that has just been completed.
    assert!(most <= 4 * 5, "{most} segments at once");
    // Far more than the sixteen that may be kept were retired.
    let removed = world.machine(ShardId(0)).segments_removed;
    assert_eq!(removed, 0, "files are written over again");
}

/// The segment that is written to is left to the check: it would go with every batch.
#[test]
fn a_topic_that_keeps_nothing_fills_its_segments() {
    let plan = Plan {
        retention_bytes: Some(0),
        ..rolling(16 << 20, 300_000)
    };
    let mut world = new_world();
    let shell = live(&mut world, plan);
    assert_eq!(shell.acknowledged, plan.appends);
    // Two folders are made for each segment, which takes at least seven batches.
    let segments = shell.folders / 2;
    assert!(
        segments <= plan.appends / 7 + 4 + 1,
        "{segments} segments of {} batches",
        plan.appends
    );
}

/// A start completes segments again that were complete, and does not know the settings of the
/// metadata's partition yet: what is in there is never too old.
#[test]
fn a_start_after_a_long_time_retires_no_metadata() {
    let plan = Plan {
        metadata: true,
        appends: 40,
        bytes: |_| 128 << 10,
        segment_bytes: 1 << 20,
        ..Plan::default()
    };
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    let eight_days_ns = 8 * 24 * 3_600 * 1_000_000_000;
    world.pass(eight_days_ns);
    let next = Plan { appends: 0, ..plan };
    let shell = live(&mut world, next);
    assert_eq!(shell.recovered_from, [(METADATA, 0)]);
    assert_eq!(shell.recovered, [(METADATA, 40)]);
}

/// Segment files of all partitions.
fn segments(world: &mut World<Shell>) -> usize {
    let disk = world.disk();
    let mut folders = vec![PathBuf::from("/data/topics")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for name in disk.names(&folder) {
            let path = folder.join(name);
            found += usize::from(path.extension().is_some_and(|kind| kind == "log"));
            folders.push(path);
        }
    }
    found
}

#[test]
fn what_is_recent_keeps_its_share_of_the_arena_and_no_more() {
    // Twice the arena, in less time than passes between two looks for idle memory.
    let plan = Plan {
        journal_bytes: 8 << 20,
        appends: 2 * ARENA_BYTES / 100_000,
        bytes: |_| 100_000,
        ..Plan::default()
    };
    let mut world = new_world();
    let most = live(&mut world, plan).memory_max;
    let share = ARENA_BYTES / 4;
    assert!(
        most > share / 2,
        "{most} bytes: nothing is kept for readers"
    );
    assert!(most < share + (2 << 20), "{most} bytes");
}

/// A batch that is larger than the arena gets memory beside it, and the last block of one must not
/// keep the next from its memory.
#[test]
fn batches_larger_than_the_arena_are_stored() {
    let plan = Plan {
        partitions: 3,
        journal_bytes: 1 << 20,
        appends: 24,
        bytes: |left| match left % 4 {
            0 => ARENA_BYTES + 4_321,
            1 => ARENA_BYTES / 2 - 8_000,
            2 => 700,
            _ => 3 * ARENA_BYTES / 4,
        },
        ..Plan::default()
    };
    let mut world = new_world();
    assert_eq!(live(&mut world, plan).acknowledged, plan.appends);
    world.kill();
    world.pass(5_000_000_000);
    let next = Plan { appends: 0, ..plan };
    let recovered = &live(&mut world, next).recovered;
    for index in 0..3 {
        assert!(recovered.contains(&(id(index), 8)), "{recovered:?}");
    }
}

/// A file that cannot be opened or read now may be readable later: a start that meets one must not
/// conclude that records are damaged, or were never acknowledged, and must write nothing down.
#[test]
fn a_start_that_cannot_read_everything_changes_nothing() {
    let next = Plan {
        appends: 0,
        ..mixed()
    };
    let killed = |until| {
        let mut world = new_world();
        start(&mut world, mixed());
        world.run(PATIENCE, |world| {
            world.machine(ShardId(0)).acknowledged > until
        });
        world.kill();
        world.pass(5_000_000_000);
        world
    };
    let recovered = |world: &mut World<Shell>| {
        let mut known = live(world, next).recovered.clone();
        known.sort_by_key(|(id, _)| id.index);
        known
    };
    let mut failures = 0;
    for at in 0..100 {
        let expected = recovered(&mut killed(600 + at));
        let kinds = [
            ErrorKind::Medium,
            ErrorKind::TooManyFiles,
            ErrorKind::PermissionDenied,
        ];
        let mut world = killed(600 + at);
        world.disk().inject(Fault {
            on: [FaultOn::Open, FaultOn::Read][at % 2],
            path_part: "/data/topics/".into(),
            after: at as u32 / 4 % 5,
            times: [1, u32::MAX][at / 2 % 2],
            kind: kinds[at % 3],
        });
        start(&mut world, next);
        world.run(PATIENCE, |world| {
            let shell = world.machine(ShardId(0));
            shell.failed.is_some() || shell.ready
        });
        failures += usize::from(world.machine(ShardId(0)).failed.is_some());
        world.run(5_000_000_000, |_| false);
        world.kill();
        world.disk().heal();
        world.pass(5_000_000_000);
        assert_eq!(recovered(&mut world), expected, "fault {at}");
    }
    assert!(failures > 20, "{failures} starts failed");
}

/// What comes next is read while the last answer is on its way.
#[test]
fn who_reads_on_seldom_waits_for_the_disk() {
    let plan = Plan {
        partitions: 1,
        journal_bytes: 8 << 20,
        appends: 400,
        bytes: |_| 60_000,
        ..Plan::default()
    };
    let mut world = new_world();
    live(&mut world, plan);
    world.kill();
    world.pass(5_000_000_000);
    let reading = Plan {
        appends: 0,
        reads: true,
        ..plan
    };
    start(&mut world, reading);
    let read = world.run(PATIENCE, |world| {
        let reader = &world.machine(ShardId(0)).reader;
        reader.end > 0 && reader.next == reader.end
    });
    let reader = &world.machine(ShardId(0)).reader;
    assert!(read, "{reader:?}");
    assert_eq!(reader.end, 400);
    assert!(reader.at_once > 5 * reader.waited, "{reader:?}");
}
