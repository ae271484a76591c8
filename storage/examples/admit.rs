//! What it costs to check one batch of a producer: under `valgrind --tool=callgrind` in
//! instructions, otherwise by the clock. Arguments: records in a batch, bytes of a value, batches,
//! and what they are compressed with (none, gzip, snappy, lz4, zstd).

#![forbid(unsafe_code)]

use storage::batch::{Builder, Codec, Compression, Origin, Rules, admit};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let mut next = |default| args.next().and_then(Result::ok).unwrap_or(default);
    let (count, value_bytes, batches) = (next(600), next(100), next(20_000));
    let codec = match std::env::args().nth(4).as_deref() {
        None | Some("none") => Codec::None,
        Some("gzip") => Codec::Gzip,
        Some("snappy") => Codec::Snappy,
        Some("lz4") => Codec::Lz4,
        Some("zstd") => Codec::Zstd,
        Some(other) => panic!("{other} is no compression"),
    };
    let now_ms = 1_700_000_000_000;
    let mut builder = Builder::new(Compression::default_of(codec));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..count {
        let value = letters(&mut state, value_bytes);
        let taken = builder.append(now_ms, None, Some(&value), &[]);
        taken.expect("the batch has room for it");
    }
    let batch = builder.build().expect("there are records");
    let rules = Rules {
        now_ms,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        batch_bytes_max: usize::MAX,
        segment_bytes: 1 << 30,
        compression: Compression::Producer,
        key_required: false,
        zstd_allowed: true,
        inflated_bytes_max: 1 << 20,
        origin: Origin::Client,
    };
    let began = std::time::Instant::now();
    for _ in 0..batches {
        let admitted = admit(std::hint::black_box(batch.clone()), &rules);
        std::hint::black_box(admitted.expect("nothing is wrong with it"));
    }
    let spent = began.elapsed().as_nanos() as f64 / batches as f64;
    println!(
        "batch_bytes={} ns_per_batch={spent:.0} ns_per_record={:.2}",
        batch.len(),
        spent / count as f64
    );
}

/// Letters without a pattern: a codec can leave out three bits of each byte, and no more.
fn letters(state: &mut u64, count: usize) -> Vec<u8> {
    let letter = |_| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        b'A' + (*state >> 33) as u8 % 26
    };
    (0..count).map(letter).collect()
}
