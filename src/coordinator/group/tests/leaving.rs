//! Heartbeat, LeaveGroup, sessions, DescribeGroups, ListGroups, DeleteGroups.

use super::*;

fn leave(names: &[(&str, Option<&str>)]) -> GroupCall {
    let name = |(member, instance): &(&str, Option<&str>)| MemberName {
        member: (*member).into(),
        instance: instance.map(Arc::from),
    };
    GroupCall::Leave(Leave {
        group: "g".into(),
        members: names.iter().map(name).collect(),
    })
}

fn results(answer: GroupAnswer) -> Vec<Result<(), GroupError>> {
    match answer {
        GroupAnswer::Leave(Ok(members)) => members.into_iter().map(|(_, result)| result).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_ends_without_heartbeats_whatever_the_wall_clock_says() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    bench.now.wall_ms += 1_000_000_000;
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&member), Ok(()));
    bench.now.wall_ms -= 2_000_000_000;
    bench.pass_ms(9_999);
    assert_eq!(bench.heartbeat(&member), Ok(()));
    bench.pass_ms(10_000);
    assert_eq!(bench.heartbeat(&member), Err(GroupError::UnknownMember));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn the_end_of_a_session_cuts_the_initial_delay_short_and_a_leave_does_not() {
    let slow = GroupSettings {
        initial_rebalance_delay_ms: 30_000,
        ..GroupSettings::default()
    };
    let with_an_id = Join {
        member_id_required: true,
        ..join("", None)
    };
    let begun = || {
        let mut bench = Bench::with(slow.clone());
        let first = bench.call(join("", None).into());
        let asked = bench.call(with_an_id.clone().into());
        let Some(GroupAnswer::Join(Err(refused))) = bench.answer(asked) else {
            panic!("it is given an id first")
        };
        (bench, first, refused.member)
    };
    let (mut bench, first, _) = begun();
    bench.pass_ms(SESSION_MS as u64 - 1);
    assert_eq!(bench.answer(first), None);
    bench.pass_ms(1);
    assert_eq!(bench.joined(first).generation, 1);

    let (mut bench, first, pending) = begun();
    assert_eq!(results(bench.ask(leave(&[(&pending, None)]))), [Ok(())]);
    bench.pass_ms(29_999);
    assert_eq!(bench.answer(first), None);
    bench.pass_ms(1);
    assert_eq!(bench.joined(first).generation, 1);
}

#[test]
fn leaving_ends_a_generation_and_is_told_member_by_member() {
    let mut bench = Bench::new();
    let members = bench.stable(3);
    let goes = members[1].member.clone();
    let answer = bench.ask(leave(&[
        (&goes, None),
        ("x", None),
        ("", Some("i")),
        ("", None),
    ]));
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(results(answer), [Ok(()), unknown, unknown, unknown]);
    assert_eq!(bench.state(), "PreparingRebalance");
    let answer = bench.ask(leave(&[
        (&members[0].member, None),
        (&members[2].member, None),
    ]));
    assert_eq!(results(answer), [Ok(()), Ok(())]);
    assert_eq!(bench.state(), "Empty");
    // An empty group's generation is in the log.
    bench.restart();
    let ticket = bench.call(join("", None).into());
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(ticket).generation, members[0].generation + 2);
}

#[test]
fn a_group_that_is_not_there_knows_nobody() {
    let mut bench = Bench::new();
    assert_eq!(
        results(bench.ask(leave(&[("m", None)]))),
        [Err(GroupError::UnknownMember)]
    );
}

#[test]
fn a_static_member_leaves_by_its_instance_id() {
    let mut bench = Bench::new();
    let ticket = bench.call(join("", Some("i")).into());
    bench.pass_ms(3_000);
    let member = bench.joined(ticket);
    bench.call(sync(&member).into());
    let answer = bench.ask(leave(&[("other", Some("i"))]));
    assert_eq!(results(answer), [Err(GroupError::FencedInstance)]);
    assert_eq!(results(bench.ask(leave(&[("", Some("i"))]))), [Ok(())]);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn groups_are_described_and_listed() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    let answer = bench.ask(GroupCall::Describe { group: "g".into() });
    let GroupAnswer::Describe(Ok(described)) = answer else {
        panic!()
    };
    assert_eq!(
        (&*described.protocol, &*described.protocol_type),
        ("range", "consumer")
    );
    assert_eq!(
        described.members[0].assignment,
        Bytes::from(member.member.to_string())
    );
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
    let unknown = bench.ask(GroupCall::Describe { group: "h".into() });
    assert_eq!(
        unknown,
        GroupAnswer::Describe(Err(GroupError::GroupIdNotFound))
    );
    for (states, types, found) in [
        (vec![], vec![], 1),
        (vec!["stable"], vec![], 1),
        (vec!["Empty", "STABLE"], vec!["Classic"], 1),
        (vec!["empty"], vec![], 0),
        (vec![], vec!["consumer"], 0),
        (vec!["nonsense"], vec![], 0),
    ] {
        let filter = ListFilter {
            states: states.iter().map(|name| Arc::from(*name)).collect(),
            types: types.iter().map(|name| Arc::from(*name)).collect(),
        };
        let GroupAnswer::List(Ok(listed)) = bench.ask(GroupCall::List(filter)) else {
            panic!()
        };
        assert_eq!(listed.len(), found, "{states:?} {types:?}");
    }
}

#[test]
fn only_an_empty_group_is_deleted_and_its_generation_survives_a_failure() {
    let delete = || GroupCall::Delete { group: "g".into() };
    let mut bench = Bench::new();
    assert_eq!(
        bench.ask(delete()),
        GroupAnswer::Delete(Err(GroupError::GroupIdNotFound))
    );
    let member = bench.stable(1).remove(0);
    assert_eq!(
        bench.ask(delete()),
        GroupAnswer::Delete(Err(GroupError::NonEmptyGroup))
    );
    bench.ask(leave(&[(&member.member, None)]));
    bench.hold = true;
    let ticket = bench.call(delete());
    assert_eq!(bench.answer(ticket), None);
    assert!(bench.fail_one(WriteFailure::Unavailable));
    let failed = GroupAnswer::Delete(Err(GroupError::NotAvailable));
    assert_eq!(
        (bench.answer(ticket), bench.state()),
        (Some(failed), "Empty")
    );
    bench.hold = false;
    assert_eq!(bench.ask(delete()), GroupAnswer::Delete(Ok(())));
    bench.restart();
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn a_restart_keeps_members_and_gives_them_a_full_session() {
    let mut bench = Bench::new();
    let members = bench.stable(2);
    bench.restart();
    assert_eq!(bench.state(), "Stable");
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&members[0]), Ok(()));
    bench.pass_ms(1_001);
    assert_eq!(bench.heartbeat(&members[1]), Err(GroupError::UnknownMember));
    assert_eq!(
        bench.heartbeat(&members[0]),
        Err(GroupError::RebalanceInProgress)
    );
}

/// A join phase whose timeout is none ends at once, and nobody may have come back by then.
#[test]
fn a_join_phase_without_a_timeout_leaves_others_their_turn() {
    let mut bench = Bench::new();
    let ticket = bench.call(join("", Some("a")).into());
    bench.until_answered(ticket);
    let first = bench.joined(ticket);
    let mut call = sync(&first);
    call.assignments = each_its_name(&first);
    bench.call(call.into());
    assert_eq!(bench.state(), "Stable");
    // It comes again, with another timeout: no reason for a rebalance.
    let hurried = Join {
        rebalance_timeout_ms: Some(0),
        ..join("", Some("a"))
    };
    let ticket = bench.call(hurried.into());
    bench.until_answered(ticket);
    let again = bench.joined(ticket);
    assert_eq!(bench.state(), "Stable");
    // Someone asks for an id and gives it up: that begins one, and nobody joins it.
    let asked = bench.call(
        Join {
            member_id_required: true,
            ..join("", None)
        }
        .into(),
    );
    let Some(GroupAnswer::Join(Err(refused))) = bench.answer(asked) else {
        panic!("it is given an id first")
    };
    let left = bench.ask(leave(&[(&refused.member, None)]));
    assert_eq!(results(left), [Ok(())]);
    bench.pass_ms(5_000);
    assert_eq!(bench.state(), "PreparingRebalance");
    let ticket = bench.call(join(&again.member, Some("a")).into());
    bench.until_answered(ticket);
    assert_eq!(bench.joined(ticket).generation, again.generation + 1);
}
