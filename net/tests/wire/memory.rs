//! What decoding costs in memory, counted at the allocator.

use super::*;
use net::wire::{DECODE_RATIO_MAX, DECODE_SLACK_MAX};
use std::collections::BTreeMap;

/// Runs `decode` on a frame of `length` bytes; returns what it gave and the bytes it allocated in
/// all, which must be within the limit.
pub(crate) fn allocated<T>(length: usize, decode: impl FnOnce() -> T) -> (T, usize) {
    let mut outcome = None;
    let info = allocation_counter::measure(|| outcome = Some(decode()));
    let bytes = usize::try_from(info.bytes_total).expect("a small number");
    let limit = length * DECODE_RATIO_MAX + DECODE_SLACK_MAX;
    assert!(
        bytes <= limit,
        "{bytes} bytes allocated for a frame of {length}"
    );
    (outcome.expect("measure calls its argument"), bytes)
}

/// Decodes and returns the outcome and the bytes allocated.
fn cost(api: &Api, plan: Plan, frame: Vec<u8>) -> (Result<(), DecodeError>, usize) {
    // The frame is shared beforehand, as one cut from a receive buffer is.
    let frame = Bytes::from(frame);
    let _shared = frame.clone();
    allocated(frame.len(), || {
        let mut reader = Reader::new(frame);
        recode(key_of(api), plan.version, plan.response, &mut reader, None)
    })
}

/// The densest honest messages (one array crowded with the smallest elements there are) must be
/// accepted; prints each API's worst ratio of memory to frame.
#[test]
fn memory_is_bounded_by_the_frame() {
    let mut worst = BTreeMap::new();
    for_each_message(|api, version, response| {
        for position in 0..draw::arrays(api, response, version) {
            for count in [1, 100, 10_000] {
                let plan = Plan {
                    crowd: Some((position, count)),
                    ..Plan::new(response, version, Fill::Least, 1)
                };
                let frame = drawn(api, plan);
                let length = frame.len();
                let (outcome, bytes) = cost(api, plan, frame);
                assert_eq!(outcome, Ok(()), "{} {plan:?}", api.name);
                let ratio = bytes as f64 / length as f64;
                let entry = worst
                    .entry((api.key, response))
                    .or_insert((0.0, version, length));
                if ratio > entry.0 && length > 1_000 {
                    *entry = (ratio, version, length);
                }
            }
        }
    });
    println!("bytes allocated per byte of frame, worst honest message:");
    for ((key, response), (ratio, version, length)) in &worst {
        let name = ApiKey::from_wire(*key)
            .expect("an API of the table")
            .info()
            .name;
        let direction = if *response { "response" } else { "request" };
        println!("{ratio:6.2}  {name} v{version} {direction}, {length} bytes");
    }
    let most = worst.values().map(|entry| entry.0).fold(0.0, f64::max);
    assert!(most > 20.0, "the densest message was not met: {most}");
}

/// Counts that lie about what follows, at each byte of a message: no reservation follows them.
#[test]
fn lying_counts_reserve_nothing() {
    for_each_message(|api, version, response| {
        let plan = Plan::new(response, version, Fill::Full, 3);
        let honest = drawn(api, plan);
        for at in 0..honest.len() {
            for lie in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x07],
                &[0x7f],
            ] {
                let mut frame = honest.clone();
                frame.splice(at..(at + lie.len()).min(honest.len()), lie.iter().copied());
                let _outcome = cost(api, plan, frame);
            }
        }
    });
}
