//! What a store keeps to over whole lives: how much memory recovery takes, and that a journal goes
//! on from file to file.

mod shell;

use shell::{ARENA_BYTES, Plan, id, live, new_world};
use std::path::Path;

/// The files of the journal after that many appends, each made when the one before is durable.
fn journal_files_after(appends: usize, bytes: fn(usize) -> usize) -> usize {
    let plan = Plan {
        partitions: 3,
        journal_bytes: 1 << 20,
        appends,
        bytes,
    };
    let mut world = new_world();
    assert_eq!(live(&mut world, plan).acknowledged, appends);
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
