//! Crashes of the real broker under the load of real clients: nothing that was acknowledged may be
//! lost, nothing that an idempotent producer sent may be there twice.
//!
//! `tests/crash/run` runs it. One seed gives all random choices; the order in which threads and
//! processes come to run stays the kernel's.

mod admin;
mod broker;
mod bulk;
mod chance;
mod disk;
mod groups;
mod images;
mod kills;
mod numbers;
mod produce;
mod record;
mod report;
mod space;
mod verify;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Kills when nothing is asked for, as part of `cargo test`.
const KILLS: u64 = 2;

const OPTIONS: &str =
    "--kills N, or --images N [--volatile], or --bulk N, or --space; --seed N; --work DIR";

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: u64,
    /// Copies of the image of a disk, instead of kills.
    pub(crate) images: u64,
    pub(crate) volatile: bool,
    /// Copies after large batches to many partitions, instead of kills.
    pub(crate) bulk: u64,
    /// Full file systems and odd ones, instead of kills.
    pub(crate) space: bool,
    pub(crate) seed: u64,
    pub(crate) work: PathBuf,
}

fn plan() -> Result<Plan, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    let mut plan = Plan {
        kills: KILLS,
        images: 0,
        volatile: false,
        bulk: 0,
        space: false,
        seed: u64::try_from(now % 1_000_000_000).expect("it is below"),
        work: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crash"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))
        };
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match name.as_str() {
            "--kills" => plan.kills = number(value()?)?,
            "--images" => plan.images = number(value()?)?,
            "--bulk" => plan.bulk = number(value()?)?,
            "--volatile" => plan.volatile = true,
            "--space" => plan.space = true,
            "--seed" => plan.seed = number(value()?)?,
            "--work" => plan.work = PathBuf::from(value()?),
            // What `cargo test` hands to every test program.
            "--quiet" | "-q" | "--nocapture" => {}
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(plan)
}

fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("crash: {problem}; options: {OPTIONS}");
            return ExitCode::FAILURE;
        }
    };
    let result = if plan.space {
        println!("crash: seed {}, full and odd file systems", plan.seed);
        space::run(&plan)
    } else if plan.bulk > 0 {
        println!("crash: seed {}, bulk, {} copies", plan.seed, plan.bulk);
        bulk::run(&plan)
    } else if plan.images > 0 {
        println!(
            "crash: seed {}, {} copies of a disk",
            plan.seed, plan.images
        );
        images::run(&plan, plan.volatile)
    } else {
        println!("crash: seed {}, {} kills", plan.seed, plan.kills);
        kills::run(&plan)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("crash: FAILED with seed {}: {problem}", plan.seed);
            println!(
                "crash: the data and the broker's log are in {}",
                plan.work.display()
            );
            ExitCode::FAILURE
        }
    }
}
