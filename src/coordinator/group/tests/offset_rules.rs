//! OffsetCommit, OffsetFetch, OffsetDelete, rule by rule.

use super::*;

pub(super) fn commit(generation: i32, member: &str, offset: i64) -> CommitOffsets {
    let partition = CommitPartition {
        index: 0,
        offset,
        leader_epoch: 4,
        metadata: "here".into(),
    };
    CommitOffsets {
        group: Some("g".into()),
        generation,
        member: member.into(),
        instance: None,
        retention_ms: None,
        knows_group_id_not_found: true,
        topics: vec![CommitTopic {
            name: "t".into(),
            id: [1; 16],
            is_gone: false,
            partitions: vec![partition],
        }],
    }
}

pub(super) fn committed(answer: GroupAnswer) -> Result<(), GroupError> {
    match answer {
        GroupAnswer::CommitOffsets(Ok(topics)) => topics[0].partitions[0].1,
        GroupAnswer::CommitOffsets(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn fetch(require_stable: bool, id: TopicUuid) -> GroupCall {
    let topic = FetchTopic {
        name: "t".into(),
        id,
        partitions: vec![0, 7],
    };
    GroupCall::FetchOffsets(FetchOffsets {
        group: Some("g".into()),
        topics: Some(vec![topic]),
        require_stable,
    })
}

fn offset(answer: &GroupAnswer) -> i64 {
    match answer {
        GroupAnswer::FetchOffsets(Ok(topics)) => topics[0].partitions[0].offset,
        other => panic!("{other:?}"),
    }
}

impl From<CommitOffsets> for GroupCall {
    fn from(call: CommitOffsets) -> Self {
        Self::CommitOffsets(call)
    }
}

#[test]
fn a_consumer_without_membership_commits_to_a_group_of_its_own() {
    let mut bench = Bench::new();
    assert_eq!(committed(bench.ask(commit(-1, "", 5).into())), Ok(()));
    assert_eq!(bench.state(), "Empty");
    for _ in 0..2 {
        let GroupAnswer::FetchOffsets(Ok(topics)) = bench.ask(fetch(false, [0; 16])) else {
            panic!()
        };
        let [first, unknown] = &topics[0].partitions[..] else {
            panic!()
        };
        assert_eq!(
            (first.offset, first.leader_epoch, &*first.metadata),
            (5, 4, "here")
        );
        assert_eq!(
            (unknown.offset, unknown.leader_epoch, &*unknown.metadata),
            (-1, -1, "")
        );
        bench.restart();
    }
    // Another topic of that name has no offset yet.
    assert_eq!(offset(&bench.ask(fetch(false, [1; 16]))), 5);
    assert_eq!(offset(&bench.ask(fetch(false, [2; 16]))), -1);
    let all = FetchOffsets {
        group: Some("g".into()),
        topics: None,
        require_stable: false,
    };
    assert_eq!(offset(&bench.ask(GroupCall::FetchOffsets(all))), 5);
}

#[test]
fn a_commit_is_checked() {
    let mut bench = Bench::new();
    let unknown_group = committed(bench.ask(commit(3, "m", 1).into()));
    assert_eq!(unknown_group, Err(GroupError::GroupIdNotFound));
    let old = CommitOffsets {
        knows_group_id_not_found: false,
        ..commit(3, "m", 1)
    };
    assert_eq!(
        committed(bench.ask(old.into())),
        Err(GroupError::IllegalGeneration)
    );
    let none = CommitOffsets {
        group: None,
        ..commit(-1, "", 1)
    };
    assert_eq!(
        committed(bench.ask(none.into())),
        Err(GroupError::InvalidGroupId)
    );
    let empty = CommitOffsets {
        group: Some("".into()),
        ..commit(-1, "", 1)
    };
    assert_eq!(committed(bench.ask(empty.into())), Ok(()));

    let members = bench.stable(2);
    let (id, generation) = (members[0].member.clone(), members[0].generation);
    for (call, result) in [
        (commit(generation, &id, 1), Ok(())),
        (
            commit(generation - 1, &id, 1),
            Err(GroupError::IllegalGeneration),
        ),
        (commit(-1, &id, 1), Err(GroupError::IllegalGeneration)),
        (commit(generation, "m", 1), Err(GroupError::UnknownMember)),
        (commit(-1, "", 1), Err(GroupError::UnknownMember)),
        (
            CommitOffsets {
                instance: Some("i".into()),
                ..commit(generation, &id, 1)
            },
            Err(GroupError::UnknownMember),
        ),
    ] {
        let said = format!("{call:?}");
        assert_eq!(committed(bench.ask(call.into())), result, "{said}");
    }
}

#[test]
fn a_member_may_commit_until_the_next_generation_begins() {
    let mut bench = Bench::new();
    let members = bench.stable(2);
    let leads = members
        .iter()
        .find(|m| m.leader == m.member)
        .expect("one leads");
    let other = members
        .iter()
        .find(|m| m.leader != m.member)
        .expect("one does not");
    bench.call(join(&leads.member, None).into());
    assert_eq!(bench.state(), "PreparingRebalance");
    let call = commit(other.generation, &other.member, 1);
    assert_eq!(committed(bench.ask(call.into())), Ok(()));
    bench.call(join(&other.member, None).into());
    assert_eq!(bench.state(), "CompletingRebalance");
    let call = commit(other.generation + 1, &other.member, 1);
    assert_eq!(
        committed(bench.ask(call.into())),
        Err(GroupError::RebalanceInProgress)
    );
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    let member = bench.stable(1).remove(0);
    for _ in 0..3 {
        bench.pass_ms(9_000);
        let call = commit(member.generation, &member.member, 1);
        assert_eq!(committed(bench.ask(call.into())), Ok(()));
    }
}

#[test]
fn metadata_is_bounded_partition_by_partition() {
    let mut bench = Bench::new();
    let mut call = commit(-1, "", 1);
    let partition = |index, metadata: String| CommitPartition {
        index,
        offset: 9,
        leader_epoch: -1,
        metadata: metadata.into(),
    };
    call.topics[0].partitions = vec![
        partition(0, "x".repeat(4_096)),
        partition(1, "x".repeat(4_097)),
        partition(2, "\u{e4}".repeat(4_096)),
    ];
    let GroupAnswer::CommitOffsets(Ok(topics)) = bench.ask(call.into()) else {
        panic!()
    };
    let results: Vec<_> = topics[0]
        .partitions
        .iter()
        .map(|(_, result)| *result)
        .collect();
    assert_eq!(
        results,
        [Ok(()), Err(GroupError::OffsetMetadataTooLarge), Ok(())]
    );
}

#[test]
fn a_reader_sees_what_cannot_be_lost_or_waits_for_it() {
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.hold = true;
    let second = bench.call(commit(-1, "", 2).into());
    let third = bench.call(commit(-1, "", 3).into());
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), 1);
    let stable = bench.call(fetch(true, [0; 16]));
    bench.commit_one();
    assert!(bench.answer(second).is_some());
    assert_eq!((bench.answer(stable), bench.answer(third)), (None, None));
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), 2);
    bench.commit_one();
    assert_eq!(offset(&bench.answer(stable).expect("stable now")), 3);
}

#[test]
fn a_commit_that_fails_leaves_no_trace() {
    let mut bench = Bench::new();
    bench.hold = true;
    let ticket = bench.call(commit(-1, "", 1).into());
    let stable = bench.call(fetch(true, [0; 16]));
    bench.fail_one(WriteFailure::Lost);
    let not_here = GroupError::NotCoordinator;
    assert_eq!(
        committed(bench.answer(ticket).expect("told")),
        Err(not_here)
    );
    assert_eq!(
        bench.answer(stable),
        Some(GroupAnswer::FetchOffsets(Err(not_here)))
    );
    assert_eq!(bench.state(), "Dead");

    bench.hold = false;
    bench.ask(commit(-1, "", 1).into());
    bench.hold = true;
    bench.call(commit(-1, "", 2).into());
    let third = bench.call(commit(-1, "", 3).into());
    bench.fail_one(WriteFailure::Unavailable);
    bench.commit_one();
    assert!(bench.answer(third).is_some());
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), 3);
}

#[test]
fn offsets_of_topics_in_use_are_not_deleted() {
    let delete = |topic: &str| {
        GroupCall::DeleteOffsets(DeleteOffsets {
            group: "g".into(),
            topics: vec![(topic.into(), vec![0, 9])],
        })
    };
    let result = |answer| match answer {
        GroupAnswer::DeleteOffsets(Ok(topics)) => {
            let topics: Vec<TopicResults> = topics;
            topics[0].partitions[0].1
        }
        GroupAnswer::DeleteOffsets(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    };
    let mut bench = Bench::new();
    assert_eq!(
        result(bench.ask(delete("t"))),
        Err(GroupError::GroupIdNotFound)
    );
    let member = bench.stable(1).remove(0);
    let mut call = commit(member.generation, &member.member, 1);
    call.topics.push(CommitTopic {
        name: "u".into(),
        ..call.topics[0].clone()
    });
    bench.ask(call.into());
    let length = bench.log.len();
    assert_eq!(
        result(bench.ask(delete("t"))),
        Err(GroupError::SubscribedToTopic)
    );
    assert_eq!(result(bench.ask(delete("u"))), Ok(()));
    assert_eq!(
        bench.log.len(),
        length + 1,
        "one tombstone, for the offset that was there"
    );
    bench.restart();
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), 1);

    let mut bench = Bench::new();
    let ticket = bench.call(
        Join {
            protocol_type: "connect".into(),
            ..join("", None)
        }
        .into(),
    );
    assert_eq!(
        result(bench.ask(delete("t"))),
        Err(GroupError::NonEmptyGroup)
    );
    assert_eq!(bench.answer(ticket), None);
}

#[test]
fn an_offset_for_a_topic_that_is_gone_is_refused_and_not_stored() {
    let mut bench = Bench::new();
    let mut call = commit(-1, "", 1);
    call.topics[0].is_gone = true;
    assert_eq!(
        committed(bench.ask(call.into())),
        Err(GroupError::UnknownTopic)
    );
    assert_eq!(bench.log.len(), 0);
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), -1);
}

#[test]
fn an_offset_of_another_topic_of_the_same_name_is_forgotten() {
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.restart();
    let mut forget = |id: TopicUuid| {
        bench.step(|groups, now, fx| {
            let is_gone = |_: &Arc<str>, of: TopicUuid| of != id;
            groups.forget_offsets(PARTITION, &is_gone, now, fx);
        });
        offset(&bench.ask(fetch(false, [0; 16])))
    };
    assert_eq!(forget([1; 16]), 1);
    assert_eq!(forget([2; 16]), -1);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut bench = Bench::new();
    bench.ask(commit(-1, "", 1).into());
    bench.step(|groups, now, fx| groups.topics_deleted(&["t".into()], now, fx));
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), -1);
    bench.restart();
    assert_eq!(offset(&bench.ask(fetch(false, [0; 16]))), -1);
}

#[test]
fn of_a_partition_named_twice_in_one_commit_the_last_offset_counts() {
    let mut bench = Bench::new();
    let mut call = commit(-1, "", 5);
    let last = CommitPartition {
        offset: 9,
        ..call.topics[0].partitions[0].clone()
    };
    call.topics[0].partitions.push(last);
    assert_eq!(committed(bench.ask(call.into())), Ok(()));
    assert_eq!(offset(&bench.ask(fetch(false, [1; 16]))), 9);
    bench.restart();
    assert_eq!(offset(&bench.ask(fetch(false, [1; 16]))), 9);
}
