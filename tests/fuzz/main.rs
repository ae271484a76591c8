//! Mutational fuzzing of everything that reads a client's bytes or a file's, small enough for every
//! test run; `libfuzzer/smoke` does the same with coverage for as long as one likes.
//!
//! `RINGLOG_FUZZ_ITERATIONS` (inputs a target, 3000 by default) and `RINGLOG_FUZZ_SEED` (a number)
//! choose how much and where.

#[allow(dead_code, reason = "the codec's tests use the rest of it")]
#[path = "../../net/tests/wire/draw.rs"]
mod draw;
mod messages;
mod mutate;
#[allow(dead_code, reason = "the build script uses the rest of it")]
#[path = "../../net/codegen/schema.rs"]
mod schema;
mod targets;

use bytes::Bytes;
use mutate::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use storage::batch::{self, Builder, Compression, Origin, Rules};
use targets::{INFLATED_BYTES_MAX, TARGETS};

/// Memory that one input may cost at once, beyond a few times its own and its inflated length: the
/// states of the codecs and a bounded list of errors.
const BYTES_FIXED_MAX: usize = 2 << 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
    })
}

#[test]
fn mutated_inputs_neither_panic_nor_cost_much_memory() {
    let iterations = setting("RINGLOG_FUZZ_ITERATIONS", 3000);
    let seed = setting("RINGLOG_FUZZ_SEED", 1);
    for target in TARGETS {
        let seeds = (target.seeds)();
        let mut random = Random::new(seed);
        for iteration in 0..iterations {
            let input = if (iteration as usize) < seeds.len() {
                seeds[iteration as usize].clone()
            } else {
                mutate::any_of(&seeds, &mut random)
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                allocation_counter::measure(|| (target.run)(&input)).bytes_max
            }));
            let bytes_max = 16 * (input.len() + INFLATED_BYTES_MAX) + BYTES_FIXED_MAX;
            let fault = match outcome {
                Err(_) => "panicked".to_owned(),
                Ok(bytes) if bytes > bytes_max as u64 => format!("took {bytes} bytes"),
                Ok(_) => continue,
            };
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!(
                "{} {fault} at iteration {iteration} of seed {seed} on {hex}",
                target.name
            );
        }
    }
}

fn rules(inflated_bytes_max: usize) -> Rules {
    Rules {
        now_ms: 0,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        batch_bytes_max: 16 << 20,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max,
        origin: Origin::Client,
    }
}

fn build(compression: Compression, records: usize, value: &[u8]) -> Bytes {
    let mut builder = Builder::new(compression);
    let headers = [(
        Bytes::from_static(b"name"),
        Some(Bytes::from_static(b"value")),
    )];
    for _ in 0..records {
        builder
            .append(5, Some(b"key"), Some(value), &headers)
            .expect("small");
    }
    builder.build().expect("not empty")
}

#[test]
fn an_uncompressed_batch_is_admitted_without_any_allocation() {
    let batch = build(Compression::None, 1000, &[b'x'; 100]);
    let rules = rules(0);
    let mut admitted = None;
    let records = batch.clone();
    let info = allocation_counter::measure(|| admitted = Some(batch::admit(records, &rules)));
    assert_eq!(info.count_total, 0, "{info:?}");
    assert_eq!(
        admitted
            .expect("measured")
            .expect("a good batch")
            .bytes()
            .as_ptr(),
        batch.as_ptr()
    );
}

/// 64 MiB of zeros in each codec: refused, at the cost of the bound and not of what they inflate
/// to.
#[test]
fn a_compression_bomb_costs_no_more_than_the_bound() {
    const BOUND: usize = 1 << 20;
    for compression in [
        Compression::Gzip { level: 9 },
        Compression::Snappy,
        Compression::Lz4 { level: 9 },
        Compression::Zstd { level: 3 },
    ] {
        let bomb = build(compression, 1, &vec![0; 64 << 20]);
        let mut refused = false;
        let rules = rules(BOUND);
        let info = allocation_counter::measure(|| {
            refused = batch::admit(bomb, &rules)
                .is_err_and(|rejection| rejection.why == batch::Reject::MessageTooLarge);
        });
        assert!(refused, "{compression:?}");
        let bytes_max = 4 * BOUND + BYTES_FIXED_MAX;
        assert!(
            info.bytes_max <= bytes_max as u64,
            "{compression:?}: {info:?}"
        );
    }
}

/// The smallest records, each of them faulty: the errors stay bounded.
#[test]
fn a_batch_full_of_faults_costs_no_more_than_its_named_errors() {
    let mut builder = Builder::new(Compression::None);
    for _ in 0..140_000 {
        builder.append(0, None, None, &[]).expect("small");
    }
    let batch = builder.build().expect("not empty");
    let rules = Rules {
        key_required: true,
        ..rules(0)
    };
    let mut named = 0;
    let info = allocation_counter::measure(|| {
        named = batch::admit(batch.clone(), &rules)
            .map_or_else(|fault| fault.record_errors.len(), |_| 0);
    });
    assert_eq!(named, batch::RECORD_ERRORS_MAX);
    assert!(info.bytes_max < batch.len() as u64, "{info:?}");
}
