//! Hands libFuzzer's inputs to the target that `RINGLOG_FUZZ_TARGET` names, after writing that
//! target's seeds to the folder `RINGLOG_FUZZ_CORPUS`.

#![no_main]

#[allow(dead_code, reason = "the codec's tests use the rest of it")]
#[path = "../../../../net/tests/wire/draw.rs"]
mod draw;
#[path = "../../messages.rs"]
mod messages;
#[allow(dead_code, reason = "the build script uses the rest of it")]
#[path = "../../../../net/codegen/schema.rs"]
mod schema;
#[path = "../../targets.rs"]
mod targets;

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("RINGLOG_FUZZ_TARGET").unwrap_or_default();
    let known = TARGETS
        .iter()
        .map(|target| target.name)
        .collect::<Vec<_>>()
        .join(", ");
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("RINGLOG_FUZZ_TARGET must be one of {known}, not {name:?}"))
});

fn write_seeds() {
    let Ok(folder) = std::env::var("RINGLOG_FUZZ_CORPUS") else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("the folder of the corpus can be made");
    for (at, seed) in (TARGET.seeds)().iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{at}"));
        std::fs::write(path, seed).expect("a seed can be written");
    }
}

fuzz_target!(init: write_seeds(), |data: &[u8]| (TARGET.run)(data));
