//! The log stays within a few times its live state.

use super::offset_rules::commit;
use super::*;

fn big(offset: i64) -> GroupCall {
    let mut call = commit(-1, "", offset);
    call.topics[0].partitions[0].metadata = "x".repeat(4_000).into();
    call.into()
}

fn offset(bench: &mut Bench) -> i64 {
    let all = FetchOffsets {
        group: Some("g".into()),
        topics: None,
        require_stable: false,
    };
    match bench.ask(GroupCall::FetchOffsets(all)) {
        GroupAnswer::FetchOffsets(Ok(topics)) => topics[0].partitions[0].offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_of_one_key_is_trimmed_again_and_again() {
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 0).into());
    let mut begins = Vec::new();
    for round in 1..=5_000 {
        bench.ask(big(round));
        if begins.last() != Some(&bench.begin) {
            begins.push(bench.begin);
        }
        let kept = bench.log.len() as i64 - bench.begin;
        assert!(kept < 1_300, "{kept} records kept");
    }
    assert!(begins.len() > 3);
    bench.restart();
    assert_eq!(offset(&mut bench), 5_000);
}

#[test]
fn a_copy_of_a_write_that_fails_is_corrected() {
    let mut bench = Bench::new();
    for round in 0..1_030 {
        bench.ask(big(round));
    }
    assert_eq!(bench.begin, 0);
    bench.hold = true;
    let mut writes = 0;
    let lost = loop {
        // The write that begins the copy is itself the one that is lost.
        let ticket = bench.call(big(9_999));
        writes += 1;
        if bench.held.len() > 1 {
            break ticket;
        }
        assert!(writes < 100, "no copy is begun");
        bench.fail_one(WriteFailure::Unavailable);
        bench.replies.clear();
        let _ = ticket;
    };
    bench.fail_one(WriteFailure::Unavailable);
    assert!(bench.answer(lost).is_some());
    bench.settle();
    assert!(bench.begin > 0);
    assert_eq!(offset(&mut bench), 1_029);
    bench.restart();
    assert_eq!(offset(&mut bench), 1_029);
}

#[test]
fn what_cannot_be_read_is_kept() {
    let mut bench = Bench::new();
    let mut groups = Groups::new(GroupSettings::default(), 5);
    groups.load(PARTITION);
    assert_eq!(
        groups.replay(PARTITION, &[0, 99, 1], Some(&[1])),
        Err(Malformed)
    );
    assert_eq!(groups.replay(PARTITION, &[], None), Err(Malformed));
    bench.groups = groups;
    bench.step(|groups, now, fx| groups.loaded(PARTITION, now, fx));
    for round in 0..3_000 {
        bench.ask(big(round));
    }
    assert_eq!(bench.begin, 0);
}
