//! Lives of the storage on simulated disks: appends, rolls, deletions, changed shard counts, clean
//! stops, kills and power cuts at any instant, recovery included, and after each the whole content
//! compared with what was acknowledged.
//!
//! `RINGLOG_SIM_SEEDS=20000 cargo test --test sim` runs more seeds, `RINGLOG_SIM_SEED=77` one.

mod ambush;
#[cfg(canary)]
mod canaries;
mod life;
mod metadata;
mod model;
mod plan;
mod shell;

use life::run_seed;
use model::Moves;
use plan::Mistake;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds that a plain `cargo test` runs.
const SEEDS: u64 = 300;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// Runs `seeds` on all cores; returns the smallest that fails, with the reason.
fn first_failure(seeds: std::ops::Range<u64>, mistake: Option<Mistake>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicU64::new(seeds.end);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut failure = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                return failure;
            }
            if let Err(reason) = run_seed(seed, mistake) {
                stop.fetch_min(seed, Ordering::Relaxed);
                failure = Some((seed, reason));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let found = workers
            .into_iter()
            .filter_map(|worker| worker.join().expect("caught inside"));
        found.min_by_key(|(seed, _)| *seed)
    })
}

#[test]
fn nothing_acknowledged_is_ever_lost() {
    let seeds = match from_environment("RINGLOG_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("RINGLOG_SIM_SEEDS").unwrap_or(SEEDS),
    };
    if let Some((seed, reason)) = first_failure(seeds, None) {
        panic!("{reason}\nreplay: RINGLOG_SIM_SEED={seed} cargo test --test sim nothing_ack");
    }
}

/// Seeds that lost something or stood still once, beyond those that every run plays: 2824,
/// segments of a fenced partition were not restated; 3480, the low mark rose in a round that was
/// dropped; 6315, a crumb fitted into no file; 8783, a partition whose medium failed was not
/// restated in the very next round; 690, a log start that was kept lay behind records that were
/// in memory only; 101 and 2459, a partition was restated from behind what counts of it; 598,
/// twice in one round; 215, a failed flush lost what a round over recycled space had written;
/// 11418, an extent below a log start of its own round was not checked; 11197, a round that one
/// start dropped, and that began partitions, was believed by the next; 10161, an opening outlived
/// the round before it, which a killed process had not synced; 1576, a dropped round came back for
/// a partition whose medium had failed in that start; 1032, the same as 10161, where the sync of
/// the life before had failed, so that another one told nothing. What a seed does changes with the
/// simulator: some tell other stories now.
#[test]
fn seeds_that_failed_once_pass() {
    for seed in [
        101, 215, 598, 690, 1032, 1576, 2459, 2824, 3480, 6315, 8783, 10161, 11197, 11418,
    ] {
        assert!(run_seed(seed, None).is_ok(), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..5 {
        assert_eq!(run_seed(seed, None), run_seed(seed, None), "seed {seed}");
    }
}

/// Lives without recycling would prove nothing about it.
#[test]
fn retired_segments_are_written_over_again() {
    let mut all = Moves::default();
    for seed in 0..100 {
        let (_, moves) = life::play(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        all.kept += moves.kept;
        all.reused += moves.reused;
        all.kept_in_part += moves.kept_in_part;
        all.reused_in_part += moves.reused_in_part;
        all.left_over += moves.left_over;
    }
    println!("{all:?}");
    assert!(all.kept > 100 && all.reused > 100, "{all:?}");
    assert!(all.kept_in_part > 5 && all.reused_in_part > 5, "{all:?}");
    assert!(all.left_over > 20, "{all:?}");
}

/// Mistakes that the code above the storage could make, or the kernel below.
#[test]
fn mistakes_around_the_storage_are_caught() {
    for mistake in Mistake::ALL {
        let found = first_failure(0..3000, Some(mistake));
        assert!(found.is_some(), "{mistake:?} went unnoticed");
    }
}
