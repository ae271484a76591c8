//! When offsets expire (KIP-211).

use super::offset_rules::{commit, committed};
use super::*;

const DAY_MS: u64 = 24 * 3_600_000;

fn count(bench: &mut Bench) -> usize {
    let all = FetchOffsets {
        group: Some("g".into()),
        topics: None,
        require_stable: false,
    };
    match bench.ask(GroupCall::FetchOffsets(all)) {
        GroupAnswer::FetchOffsets(Ok(topics)) => topics.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_of_a_simple_group_age_from_their_commit() {
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.pass_ms(6 * DAY_MS);
    bench.restart();
    assert_eq!(count(&mut bench), 1);
    bench.pass_ms(DAY_MS + 600_000);
    assert_eq!((count(&mut bench), bench.state()), (0, "Dead"));
    bench.restart();
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn offsets_of_a_group_age_from_when_its_last_member_went() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    let call = commit(member.generation, &member.member, 1);
    assert_eq!(committed(bench.ask(call.into())), Ok(()));
    for _ in 0..(10 * DAY_MS / 9_000) {
        bench.pass_ms(9_000);
        assert_eq!(bench.heartbeat(&member), Ok(()));
    }
    assert_eq!(count(&mut bench), 1, "subscribed topics do not expire");
    bench.pass_ms(6 * DAY_MS);
    assert_eq!((count(&mut bench), bench.state()), (1, "Empty"));
    bench.pass_ms(DAY_MS + 1_200_000);
    assert_eq!((count(&mut bench), bench.state()), (0, "Dead"));
}

#[test]
fn a_topic_no_longer_subscribed_expires_in_a_stable_group() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    let mut call = commit(member.generation, &member.member, 1);
    call.topics.push(CommitTopic {
        name: "old".into(),
        ..call.topics[0].clone()
    });
    bench.ask(call.into());
    assert_eq!(count(&mut bench), 2);
    for _ in 0..(8 * DAY_MS / 9_000) {
        bench.pass_ms(9_000);
        assert_eq!(bench.heartbeat(&member), Ok(()));
    }
    assert_eq!(count(&mut bench), 1);
}

#[test]
fn an_explicit_retention_counts_instead() {
    let mut bench = Bench::new();
    let call = CommitOffsets {
        retention_ms: Some(DAY_MS as i64),
        ..commit(-1, "", 1)
    };
    bench.ask(call.into());
    bench.restart();
    bench.pass_ms(DAY_MS - 1);
    assert_eq!(count(&mut bench), 1);
    bench.pass_ms(600_001);
    assert_eq!(count(&mut bench), 0);
}

#[test]
fn a_step_of_the_wall_clock_expires_nothing() {
    let week = 7 * DAY_MS as i64;
    // Forward, in the life of this process.
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.now.wall_ms += 100 * week;
    bench.pass_ms(DAY_MS);
    assert_eq!(count(&mut bench), 1);
    // Forward, of an offset read from the log.
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.restart();
    bench.now.wall_ms += 100 * week;
    bench.pass_ms(DAY_MS);
    assert_eq!(count(&mut bench), 1);
    // Committed while the clock was far behind, then set right.
    let mut bench = Bench::new();
    bench.now.wall_ms -= 100 * week;
    bench.ask(commit(-1, "", 1).into());
    bench.now.wall_ms += 100 * week;
    bench.pass_ms(DAY_MS);
    assert_eq!(count(&mut bench), 1);
}
