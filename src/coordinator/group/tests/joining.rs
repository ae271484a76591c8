//! JoinGroup and SyncGroup, rule by rule.

use super::*;

/// What makes a good call a bad one.
type Change<Call> = fn(&mut Call);

fn protocols(names: &[&str]) -> Vec<(Arc<str>, Bytes)> {
    names
        .iter()
        .map(|name| (Arc::from(*name), subscription(&["t"])))
        .collect()
}

#[test]
fn a_join_is_refused_in_kafkas_order() {
    let refused: [(&str, Change<Join>, GroupError); 6] = [
        (
            "no group id",
            |j| j.group = "".into(),
            GroupError::InvalidGroupId,
        ),
        (
            "short session",
            |j| j.session_timeout_ms = 5_999,
            GroupError::InvalidSessionTimeout,
        ),
        (
            "long session",
            |j| j.session_timeout_ms = 1_800_001,
            GroupError::InvalidSessionTimeout,
        ),
        (
            "an id nobody gave",
            |j| j.member = "m".into(),
            GroupError::UnknownMember,
        ),
        (
            "no type",
            |j| j.protocol_type = "".into(),
            GroupError::InconsistentProtocol,
        ),
        (
            "no protocol",
            |j| j.protocols.clear(),
            GroupError::InconsistentProtocol,
        ),
    ];
    for (why, change, error) in refused {
        let mut bench = Bench::new();
        let mut call = join("", None);
        change(&mut call);
        let ticket = bench.call(call.into());
        assert_eq!(bench.join_error(ticket), error, "{why}");
        assert_eq!(bench.state(), "Dead", "{why}");
    }
    for bound in [6_000, 1_800_000] {
        let mut bench = Bench::new();
        let ticket = bench.call(
            Join {
                session_timeout_ms: bound,
                ..join("", None)
            }
            .into(),
        );
        assert_eq!(bench.answer(ticket), None);
    }
}

#[test]
fn version_4_gives_a_dynamic_member_its_id_first() {
    let mut bench = Bench::new();
    let first = Join {
        member_id_required: true,
        ..join("", None)
    };
    let ticket = bench.call(first.clone().into());
    let Some(GroupAnswer::Join(Err(refused))) = bench.answer(ticket) else {
        panic!()
    };
    assert_eq!(refused.error, GroupError::MemberIdRequired);
    assert!(refused.member.starts_with("app-"));
    // The empty group is in the log already.
    assert_eq!((bench.state(), bench.log.len()), ("Empty", 1));
    let ticket = bench.call(
        Join {
            member: refused.member.clone(),
            ..first.clone()
        }
        .into(),
    );
    bench.pass_ms(3_000);
    let joined = bench.joined(ticket);
    assert_eq!((joined.generation, &joined.member), (1, &refused.member));
    assert_eq!(joined.leader, joined.member);
    assert_eq!(joined.members.len(), 1);
    // A static member needs no second round.
    let ticket = bench.call(
        Join {
            instance: Some("i".into()),
            ..first
        }
        .into(),
    );
    assert_eq!(bench.answer(ticket), None);
}

#[test]
fn an_id_that_is_not_used_in_time_is_forgotten() {
    let mut bench = Bench::new();
    let ticket = bench.call(
        Join {
            member_id_required: true,
            ..join("", None)
        }
        .into(),
    );
    let Some(GroupAnswer::Join(Err(refused))) = bench.answer(ticket) else {
        panic!()
    };
    bench.pass_ms(SESSION_MS as u64);
    let ticket = bench.call(join(&refused.member, None).into());
    assert_eq!(bench.join_error(ticket), GroupError::UnknownMember);
}

#[test]
fn the_initial_delay_is_extended_by_who_comes_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let first = bench.call(join("", None).into());
    bench.pass_ms(2_000);
    let second = bench.call(join("", None).into());
    bench.pass_ms(1_500);
    assert_eq!(bench.answer(first), None);
    bench.pass_ms(2_500);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!(
        first.members.len() + second.members.len(),
        2,
        "the leader alone sees both"
    );

    // Somebody new in every interval: still over after the rebalance timeout.
    let mut bench = Bench::new();
    let first = bench.call(
        Join {
            rebalance_timeout_ms: Some(9_000),
            ..join("", None)
        }
        .into(),
    );
    for _ in 0..5 {
        bench.pass_ms(2_000);
        bench.call(
            Join {
                rebalance_timeout_ms: Some(9_000),
                ..join("", None)
            }
            .into(),
        );
    }
    assert_eq!(bench.joined(first).generation, 1);
}

#[test]
fn version_0_waits_as_long_as_the_session() {
    let mut bench = Bench::new();
    let members = bench.stable(1);
    let old = Join {
        rebalance_timeout_ms: None,
        ..join("", None)
    };
    let ticket = bench.call(old.into());
    // The first member's own rebalance timeout is the longer one and counts.
    for _ in 0..7 {
        bench.pass_ms(8_000);
        let _ = bench.heartbeat(&members[0]);
    }
    bench.pass_ms(4_000);
    assert_eq!(bench.joined(ticket).members.len(), 1);
}

#[test]
fn the_protocol_is_the_one_all_support_and_most_prefer() {
    for (lists, chosen) in [
        (vec![vec!["a", "b"], vec!["b", "a"], vec!["b", "a"]], "b"),
        (vec![vec!["a", "b"], vec!["c", "b"], vec!["a", "b"]], "b"),
        (vec![vec!["a"], vec!["b", "a"], vec!["b", "a"]], "a"),
    ] {
        let mut bench = Bench::new();
        let mut tickets = Vec::new();
        for names in &lists {
            let call = Join {
                protocols: protocols(names),
                ..join("", None)
            };
            tickets.push(bench.call(call.into()));
        }
        bench.until_answered(tickets[0]);
        for ticket in tickets {
            assert_eq!(
                bench.joined(ticket).protocol_name.as_deref(),
                Some(chosen),
                "{lists:?}"
            );
        }
    }
    let mut bench = Bench::new();
    bench.call(
        Join {
            protocols: protocols(&["a"]),
            ..join("", None)
        }
        .into(),
    );
    let other = bench.call(
        Join {
            protocols: protocols(&["b"]),
            ..join("", None)
        }
        .into(),
    );
    assert_eq!(bench.join_error(other), GroupError::InconsistentProtocol);
    let other = bench.call(
        Join {
            protocol_type: "connect".into(),
            ..join("", None)
        }
        .into(),
    );
    assert_eq!(bench.join_error(other), GroupError::InconsistentProtocol);
}

#[test]
fn an_unchanged_follower_gets_its_generation_and_the_leader_a_new_one() {
    let mut bench = Bench::new();
    let members = bench.stable(2);
    let (leader, follower): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.leader == m.member);
    let ticket = bench.call(join(&follower[0].member, None).into());
    let again = bench.joined(ticket);
    assert_eq!(
        (again.generation, again.members.len()),
        (leader[0].generation, 0)
    );
    assert_eq!(bench.state(), "Stable");

    let ticket = bench.call(join(&leader[0].member, None).into());
    assert_eq!(
        (bench.answer(ticket), bench.state()),
        (None, "PreparingRebalance")
    );
    assert_eq!(
        bench.heartbeat(follower[0]),
        Err(GroupError::RebalanceInProgress)
    );
    let other = bench.call(join(&follower[0].member, None).into());
    let next = bench.joined(ticket);
    assert_eq!(next.generation, leader[0].generation + 1);
    assert_eq!(bench.joined(other).generation, next.generation);
    // A lost answer: the same metadata again, in CompletingRebalance.
    let ticket = bench.call(join(&next.member, None).into());
    assert_eq!(bench.joined(ticket), next);
    // Heartbeats are fine meanwhile (KAFKA: NONE, not 27).
    assert_eq!(bench.heartbeat(&next), Ok(()));
    // Changed metadata starts over.
    let changed = Join {
        protocols: vec![("range".into(), subscription(&["u"]))],
        ..join("", None)
    };
    let changed = Join {
        member: next.member.clone(),
        ..changed
    };
    bench.call(changed.into());
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn a_member_that_does_not_come_back_is_left_behind() {
    let mut bench = Bench::new();
    let members = bench.stable(2);
    let (stays, goes) = (&members[0], &members[1]);
    let change = Join {
        protocols: vec![("range".into(), subscription(&["u"]))],
        ..join("", None)
    };
    let ticket = bench.call(
        Join {
            member: stays.member.clone(),
            ..change
        }
        .into(),
    );
    for _ in 0..10 {
        bench.pass_ms(6_000);
        let _ = bench.heartbeat(goes);
    }
    let joined = bench.joined(ticket);
    assert_eq!(
        (joined.members.len(), joined.generation),
        (1, stays.generation + 1)
    );
    assert_eq!(bench.heartbeat(goes), Err(GroupError::UnknownMember));
}

#[test]
fn assignments_leave_when_they_are_durable() {
    let mut bench = Bench::new();
    let tickets = [
        bench.call(join("", None).into()),
        bench.call(join("", None).into()),
    ];
    bench.until_answered(tickets[0]);
    let members = tickets.map(|ticket| bench.joined(ticket));
    let leader = usize::from(members[0].leader != members[0].member);
    bench.hold = true;
    let follower = bench.call(sync(&members[1 - leader]).into());
    let mut call = sync(&members[leader]);
    // One member only: the other gets an empty assignment.
    call.assignments = vec![(members[leader].member.clone(), Bytes::from_static(b"all"))];
    let first = bench.call(call.into());
    assert_eq!(
        (bench.replies.len(), bench.state()),
        (0, "CompletingRebalance")
    );
    assert!(bench.commit_one());
    assert_eq!(bench.sync_result(first), Ok(Bytes::from_static(b"all")));
    assert_eq!(bench.sync_result(follower), Ok(Bytes::new()));
    assert_eq!(bench.state(), "Stable");
    // Asked again, it is given again.
    let again = bench.call(sync(&members[leader]).into());
    assert_eq!(bench.sync_result(again), Ok(Bytes::from_static(b"all")));
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_the_rebalance_again() {
    for (why, error) in [
        (WriteFailure::Unavailable, GroupError::NotAvailable),
        (WriteFailure::Lost, GroupError::NotCoordinator),
        (WriteFailure::TooLarge, GroupError::Unknown),
    ] {
        let mut bench = Bench::new();
        let ticket = bench.call(join("", None).into());
        bench.pass_ms(3_000);
        let member = bench.joined(ticket);
        bench.hold = true;
        let ticket = bench.call(sync(&member).into());
        assert!(bench.fail_one(why));
        assert_eq!(bench.sync_result(ticket), Err(error));
        assert_eq!(bench.state(), "PreparingRebalance");
        assert_eq!(
            bench.heartbeat(&member),
            Err(GroupError::RebalanceInProgress)
        );
    }
}

#[test]
fn a_sync_is_checked() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    let cases: [(Change<Sync>, GroupError); 6] = [
        (|s| s.group = "".into(), GroupError::InvalidGroupId),
        (|s| s.group = "other".into(), GroupError::UnknownMember),
        (|s| s.member = "other".into(), GroupError::UnknownMember),
        (|s| s.generation += 1, GroupError::IllegalGeneration),
        (
            |s| s.protocol_type = Some("connect".into()),
            GroupError::InconsistentProtocol,
        ),
        (
            |s| s.protocol_name = Some("sticky".into()),
            GroupError::InconsistentProtocol,
        ),
    ];
    for (change, error) in cases {
        let mut call = sync(&member);
        change(&mut call);
        let ticket = bench.call(call.into());
        assert_eq!(bench.sync_result(ticket), Err(error));
    }
    let mut call = sync(&member);
    call.protocol_type = Some("consumer".into());
    call.protocol_name = Some("range".into());
    let ticket = bench.call(call.into());
    assert!(bench.sync_result(ticket).is_ok());
}

#[test]
fn who_does_not_sync_within_the_rebalance_timeout_is_out() {
    let mut bench = Bench::new();
    let tickets = [
        bench.call(join("", None).into()),
        bench.call(join("", None).into()),
    ];
    bench.until_answered(tickets[0]);
    let members = tickets.map(|ticket| bench.joined(ticket));
    let leader = usize::from(members[0].leader != members[0].member);
    let mut call = sync(&members[leader]);
    call.assignments = each_its_name(&members[leader]);
    bench.call(call.into());
    assert_eq!(bench.state(), "Stable");
    for _ in 0..8 {
        bench.pass_ms(8_000);
        let _ = bench.heartbeat(&members[0]);
        let _ = bench.heartbeat(&members[1]);
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(
        bench.heartbeat(&members[1 - leader]),
        Err(GroupError::UnknownMember)
    );
}

#[test]
fn a_full_group_takes_nobody_new() {
    let mut bench = Bench::with(GroupSettings {
        members_max: 2,
        ..GroupSettings::default()
    });
    let members = bench.stable(2);
    let ticket = bench.call(join("", None).into());
    assert_eq!(bench.join_error(ticket), GroupError::GroupMaxSizeReached);
    let ticket = bench.call(join(&members[0].member, None).into());
    bench.call(join(&members[1].member, None).into());
    assert!(bench.joined(ticket).generation > 0);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    for can_skip in [false, true] {
        let mut bench = Bench::new();
        let first = bench.call(join("", Some("i")).into());
        bench.pass_ms(3_000);
        let old = bench.joined(first);
        assert!(old.member.starts_with("i-"));
        let mut call = sync(&old);
        call.assignments = vec![(old.member.clone(), Bytes::from_static(b"mine"))];
        bench.call(call.into());
        let call = Join {
            can_skip_assignment: can_skip,
            ..join("", Some("i"))
        };
        let ticket = bench.call(call.into());
        let new = bench.joined(ticket);
        assert_ne!(new.member, old.member);
        assert_eq!(
            (new.generation, new.skip_assignment),
            (old.generation, can_skip)
        );
        assert_eq!(new.members.len(), usize::from(can_skip));
        assert_eq!(
            new.leader,
            if can_skip {
                new.member.clone()
            } else {
                old.member.clone()
            }
        );
        let ticket = bench.call(sync(&new).into());
        assert_eq!(bench.sync_result(ticket), Ok(Bytes::from_static(b"mine")));
        // The old id with its instance id is fenced, without it unknown.
        let fenced = Heartbeat {
            group: "g".into(),
            generation: old.generation,
            member: old.member.clone(),
            instance: Some("i".into()),
        };
        let answer = bench.ask(GroupCall::Heartbeat(fenced.clone()));
        assert_eq!(
            answer,
            GroupAnswer::Heartbeat(Err(GroupError::FencedInstance))
        );
        let plain = Heartbeat {
            instance: None,
            ..fenced
        };
        let answer = bench.ask(GroupCall::Heartbeat(plain));
        assert_eq!(
            answer,
            GroupAnswer::Heartbeat(Err(GroupError::UnknownMember))
        );
        // And all of that is in the log.
        bench.restart();
        let ticket = bench.call(sync(&new).into());
        assert_eq!(bench.sync_result(ticket), Ok(Bytes::from_static(b"mine")));
    }
}

#[test]
fn a_replacement_that_cannot_be_stored_is_taken_back() {
    let mut bench = Bench::new();
    let first = bench.call(join("", Some("i")).into());
    bench.pass_ms(3_000);
    let old = bench.joined(first);
    bench.call(sync(&old).into());
    bench.hold = true;
    let ticket = bench.call(join("", Some("i")).into());
    assert!(bench.fail_one(WriteFailure::Lost));
    assert_eq!(bench.join_error(ticket), GroupError::NotCoordinator);
    assert_eq!(bench.heartbeat(&old), Ok(()));
}

#[test]
fn a_parked_static_member_is_fenced_by_its_successor() {
    let mut bench = Bench::new();
    let first = bench.call(join("", Some("i")).into());
    let second = bench.call(join("", Some("i")).into());
    assert_eq!(bench.join_error(first), GroupError::FencedInstance);
    bench.pass_ms(60_000);
    assert_eq!(bench.joined(second).members.len(), 1);
}

#[test]
fn the_first_members_record_failing_unmakes_the_group() {
    let mut bench = Bench::new();
    bench.hold = true;
    let ticket = bench.call(join("", None).into());
    assert!(bench.fail_one(WriteFailure::Unavailable));
    assert_eq!(bench.join_error(ticket), GroupError::NotAvailable);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn loading_and_moving_are_told() {
    let mut bench = Bench::new();
    bench.stable(1);
    let mut fx = GroupFx::default();
    let call = || GroupCall::from(join("", None));
    bench.groups.load(9);
    bench.groups.handle(bench.now, 9, call(), 1, &mut fx);
    bench.groups.handle(bench.now, 10, call(), 2, &mut fx);
    let heartbeat = GroupCall::Heartbeat(Heartbeat::default());
    bench.groups.handle(bench.now, 9, heartbeat, 3, &mut fx);
    let errors: Vec<_> = fx.replies.drain(..).map(|(_, answer)| answer).collect();
    assert!(matches!(&errors[0], GroupAnswer::Join(Err(r)) if r.error == GroupError::Loading));
    let not_here = GroupError::NotCoordinator;
    assert!(matches!(&errors[1], GroupAnswer::Join(Err(r)) if r.error == not_here));
    assert_eq!(errors[2], GroupAnswer::Heartbeat(Ok(())));

    bench.groups.unload(9, bench.now, &mut fx);
    let ticket = bench.call(join("", None).into());
    bench.step(|groups, now, fx| groups.drain(now, fx));
    assert_eq!(bench.join_error(ticket), GroupError::NotCoordinator);
    let ticket = bench.call(join("", None).into());
    assert_eq!(bench.join_error(ticket), GroupError::NotAvailable);
}
