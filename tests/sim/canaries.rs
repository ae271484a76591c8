//! Built with `--cfg canary` only: every deliberate mistake in the storage must make a seed fail.

use crate::life::run_seed;
use crate::{first_failure, from_environment};
use storage::canary::{Canary, arm};

/// Seeds that one mistake may take to be noticed.
const SEEDS: u64 = 20_000;

/// The first seed that fails with the mistake and passes without it, and how it fails.
fn caught(canary: Canary, seeds: u64) -> Option<(u64, String)> {
    let mut from = 0;
    loop {
        arm(Some(canary));
        let found = first_failure(from..seeds, None);
        arm(None);
        let (seed, reason) = found?;
        if run_seed(seed, None).is_ok() {
            let line = reason.lines().next().unwrap_or_default();
            return Some((seed, line.to_owned()));
        }
        from = seed + 1;
    }
}

#[test]
fn every_canary_is_caught() {
    let seeds = from_environment("RINGLOG_SIM_SEEDS").unwrap_or(SEEDS);
    let only = std::env::var("RINGLOG_SIM_CANARY").ok();
    let chosen = |canary: &Canary| {
        only.as_ref()
            .is_none_or(|only| format!("{canary:?}") == *only)
    };
    // Thousands of failures are expected: their reasons are told below, once each.
    if only.is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let mut unnoticed = Vec::new();
    for canary in Canary::ALL.into_iter().filter(chosen) {
        match caught(canary, seeds) {
            Some((seed, reason)) => println!("{canary:?}: seed {seed}: {reason}"),
            None => {
                println!("{canary:?}: NOT NOTICED in {seeds} seeds");
                unnoticed.push(canary);
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
