//! Each row sets up a disk, cuts the power, and says what may be found and is found with some seed.

use crate::script::{Bench, write_op};
use bytes::Bytes;
use reactor::op::{Done, ErrorKind, Op, OpenMode};
use reactor::sim::{Fault, FaultOn, Rng};
use std::collections::BTreeSet;

const SEEDS: u64 = 150;

/// What is found at `/a/f` after the power cut.
fn found(bench: &mut Bench) -> String {
    let Some(content) = bench.world.disk().content("/a/f") else {
        return "absent".into();
    };
    let Some(block) = content.get(..4096) else {
        return "short".into();
    };
    let seen: BTreeSet<u8> = block.iter().copied().collect();
    match (seen.first(), seen.len()) {
        (Some(0), 1) => "zeros".into(),
        (Some(byte), 1) => char::from(*byte).to_string(),
        _ => {
            let torn = block
                .chunks(512)
                .all(|sector| sector.iter().all(|b| *b == sector[0]));
            assert!(torn, "a sector is written whole or not at all");
            "torn".into()
        }
    }
}

/// Runs `scene` and a power cut with many seeds; exactly `outcomes` must be found.
fn cut_after(outcomes: &[&str], scene: impl Fn(&mut Bench)) {
    let mut all = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut bench = Bench::new(seed);
        scene(&mut bench);
        bench.restart_after_power_cut();
        all.insert(found(&mut bench));
    }
    assert_eq!(all, outcomes.iter().map(|&s| s.to_owned()).collect());
}

/// `/a/f`: one block, allocated, named and of durable length, not written.
fn allocated(bench: &mut Bench) -> reactor::op::FileId {
    let file = bench.open("/a/f", OpenMode::CreateNew);
    bench.ok(Op::Allocate {
        file,
        pos: 0,
        len: 4096,
    });
    bench.sync(file);
    bench.sync_dir("/a");
    file
}

/// `/a/f`: one durable block of `A`.
fn written(bench: &mut Bench) -> reactor::op::FileId {
    let file = allocated(bench);
    bench.write(file, 0, b'A');
    bench.sync(file);
    file
}

#[test]
fn a_first_write_is_durable_only_after_a_sync_of_that_file() {
    cut_after(&["zeros", "B"], |bench| {
        let file = allocated(bench);
        let other = bench.open("/a/other", OpenMode::Create);
        bench.write(file, 0, b'B');
        bench.sync(other);
    });
    cut_after(&["B"], |bench| {
        let file = allocated(bench);
        bench.write(file, 0, b'B');
        bench.sync(file);
    });
}

#[test]
fn written_space_needs_one_flush_of_its_device_only() {
    cut_after(&["B"], |bench| {
        let file = written(bench);
        let other = bench.open("/a/other", OpenMode::Create);
        bench.write(file, 0, b'B');
        bench.sync(other);
    });
    cut_after(&["A", "B", "torn"], |bench| {
        let file = written(bench);
        let other = bench.open("/b/other", OpenMode::Create);
        bench.write(file, 0, b'B');
        bench.sync(other);
    });
}

#[test]
fn a_buffered_write_is_durable_only_after_a_sync_of_that_file() {
    cut_after(&["A", "B", "torn"], |bench| {
        written(bench);
        let file = bench.open_as("/a/f", OpenMode::Write, false);
        let other = bench.open("/a/other", OpenMode::Create);
        bench.write(file, 0, b'B');
        bench.sync(other);
    });
}

#[test]
fn a_sync_covers_only_what_had_completed_before_it_began() {
    cut_after(&["A", "B", "torn"], |bench| {
        let file = written(bench);
        let write = bench.submit(write_op(file, 0, b'B'));
        let sync = bench.submit(Op::Sync { file });
        bench.wait(write);
        bench.wait(sync);
    });
}

#[test]
fn a_write_in_flight_may_be_found_in_any_part() {
    cut_after(&["A", "B", "torn"], |bench| {
        let file = written(bench);
        bench.submit(write_op(file, 0, b'B'));
        bench.world.pass(20_000);
    });
}

/// A write that is durable by itself says nothing of what was written beside it.
#[test]
fn a_synced_write_is_durable_and_nothing_else_is() {
    let synced = |file, pos, byte| match write_op(file, pos, byte) {
        Op::Write {
            file, pos, parts, ..
        } => Op::Write {
            file,
            pos,
            parts,
            sync: true,
        },
        other => other,
    };
    cut_after(&["B"], |bench| {
        let file = written(bench);
        bench.ok(synced(file, 0, b'B'));
    });
    cut_after(&["A", "B", "torn"], |bench| {
        let file = written(bench);
        bench.write(file, 0, b'B');
        bench.ok(synced(file, 4096, b'C'));
    });
}

#[test]
fn nothing_after_a_failed_flush_saves_what_it_lost() {
    cut_after(&["A"], |bench| {
        let file = written(bench);
        bench.write(file, 0, b'B');
        let fault = Fault {
            on: FaultOn::Sync,
            path_part: "/a/f".into(),
            after: 0,
            times: 1,
            kind: ErrorKind::Medium,
        };
        bench.world.disk().inject(fault);
        let done = bench.op(Op::Sync { file });
        assert!(matches!(done, Done::Failed(error) if error.kind == ErrorKind::Medium));
        bench.sync(file);
    });
}

#[test]
fn a_new_file_needs_its_directory_and_its_own_sync() {
    cut_after(&["absent", "short", "zeros", "B"], |bench| {
        let file = bench.open("/a/f", OpenMode::CreateNew);
        bench.ok(Op::Allocate {
            file,
            pos: 0,
            len: 4096,
        });
        bench.write(file, 0, b'B');
    });
    cut_after(&["absent", "B"], |bench| {
        let file = bench.open("/a/f", OpenMode::CreateNew);
        bench.write(file, 0, b'B');
        bench.sync(file);
    });
    cut_after(&["short", "zeros", "B"], |bench| {
        let file = bench.open("/a/f", OpenMode::CreateNew);
        bench.ok(Op::Allocate {
            file,
            pos: 0,
            len: 4096,
        });
        bench.write(file, 0, b'B');
        bench.sync_dir("/a");
    });
}

#[test]
fn a_rename_is_atomic_and_durable_after_a_sync_of_its_directory() {
    let renamed = |bench: &mut Bench| {
        let file = bench.open("/a/new", OpenMode::CreateNew);
        bench.write(file, 0, b'N');
        bench.sync(file);
        bench.sync_dir("/a");
        bench.ok(Op::Rename {
            from: "/a/new".into(),
            to: "/a/f".into(),
        });
    };
    cut_after(&["A", "N"], |bench| {
        written(bench);
        renamed(bench);
    });
    cut_after(&["N"], |bench| {
        written(bench);
        renamed(bench);
        bench.sync_dir("/a");
    });
    for seed in 0..SEEDS {
        let mut bench = Bench::new(seed);
        renamed(&mut bench);
        bench.restart_after_power_cut();
        assert_eq!(
            bench.world.disk().names("/a").len(),
            1,
            "one name, old or new"
        );
    }
}

#[test]
fn an_unlink_is_durable_after_a_sync_of_its_directory() {
    cut_after(&["A", "absent"], |bench| {
        written(bench);
        bench.ok(Op::Unlink {
            path: "/a/f".into(),
        });
    });
    cut_after(&["absent"], |bench| {
        written(bench);
        bench.ok(Op::Unlink {
            path: "/a/f".into(),
        });
        bench.sync_dir("/a");
    });
}

#[test]
fn a_truncation_that_was_not_synced_may_be_undone() {
    cut_after(&["A", "short"], |bench| {
        let file = written(bench);
        bench.ok(Op::Truncate { file, len: 0 });
    });
    cut_after(&["short"], |bench| {
        let file = written(bench);
        bench.ok(Op::Truncate { file, len: 0 });
        bench.sync(file);
    });
}

#[test]
fn a_moved_name_is_never_lost_between_old_and_new() {
    // The old name is used again at once: the first file must be under one of its names.
    for seed in 0..SEEDS {
        let mut bench = Bench::new(seed);
        written(&mut bench);
        bench.ok(Op::Rename {
            from: "/a/f".into(),
            to: "/a/kept".into(),
        });
        bench.open("/a/f", OpenMode::CreateNew);
        bench.restart_after_power_cut();
        let disk = bench.world.disk();
        let kept = [disk.content("/a/f"), disk.content("/a/kept")];
        let found = kept
            .iter()
            .flatten()
            .filter(|bytes| bytes.first() == Some(&b'A'))
            .count();
        assert_eq!(found, 1, "seed {seed}: {:?}", disk.names("/a"));
    }
}

#[test]
fn a_kill_keeps_what_completed_and_may_let_a_write_land_late() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut bench = Bench::new(seed);
        bench.ok(Op::Lock {
            path: "/a/lock".into(),
        });
        let file = written(&mut bench);
        bench.write(file, 0, b'B');
        bench.submit(write_op(file, 0, b'C'));
        bench.world.pass(12_000);
        bench.world.kill();
        bench.start();
        let before = found(&mut bench);
        let locked = loop {
            match bench.op(Op::Lock {
                path: "/a/lock".into(),
            }) {
                Done::Ok => break found(&mut bench),
                Done::Failed(error) => assert_eq!(error.kind, ErrorKind::Locked),
                other => panic!("{other:?}"),
            }
        };
        bench.world.pass(1_000_000_000);
        assert_eq!(
            found(&mut bench),
            locked,
            "nothing lands after the lock is free"
        );
        outcomes.insert(format!("{before} {locked}"));
    }
    assert_eq!(outcomes, ["B B", "B C", "C C"].map(String::from).into());
}

#[test]
fn space_is_bounded_and_comes_back() {
    let mut bench = Bench::new(1);
    bench.world.disk().add_device("/small", Some(8192));
    let file = bench.open("/small/f", OpenMode::Create);
    bench.ok(Op::Allocate {
        file,
        pos: 0,
        len: 8192,
    });
    bench.write(file, 4096, b'A');
    let full = bench.op(write_op(file, 8192, b'B'));
    assert!(matches!(full, Done::Failed(error) if error.kind == ErrorKind::NoSpace));
    bench.ok(Op::Unlink {
        path: "/small/f".into(),
    });
    assert_eq!(bench.world.disk().space_used("/small"), 8192, "still open");
    bench.ok(Op::Close { file });
    assert_eq!(bench.world.disk().space_used("/small"), 0);
}

#[test]
fn reads_are_short_at_the_end_of_the_file_only() {
    let mut bench = Bench::new(1);
    let file = written(&mut bench);
    let Done::Read(bytes) = bench.op(Op::Read {
        file,
        pos: 0,
        len: 8192,
    }) else {
        panic!("a read");
    };
    assert_eq!(&bytes[..], &[b'A'; 4096]);
    let Done::Read(bytes) = bench.op(Op::Read {
        file,
        pos: 4096,
        len: 4096,
    }) else {
        panic!("a read");
    };
    assert!(bytes.is_empty());
}

#[test]
#[should_panic(expected = "unaligned direct read")]
fn a_direct_read_must_be_aligned() {
    let mut bench = Bench::new(1);
    let file = written(&mut bench);
    bench.op(Op::Read {
        file,
        pos: 1,
        len: 4096,
    });
}

#[test]
fn a_file_system_without_direct_io_says_so() {
    let mut bench = Bench::new(1);
    bench.world.disk().direct_allowed = false;
    let open = Op::Open {
        path: "/a/f".into(),
        mode: OpenMode::Create,
        direct: true,
    };
    assert!(matches!(bench.op(open), Done::Opened { direct: false, .. }));
}

/// Without power cuts a file is an array of bytes, wherever and however it is written.
#[test]
fn a_file_is_what_was_written_to_it() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(seed);
        let file = bench.open_as("/a/f", OpenMode::Create, false);
        let mut expected: Vec<u8> = Vec::new();
        for byte in 1..60 {
            let pos = rng.below(20_000);
            let len = rng.between(1, 10_000);
            let end = (pos + len) as usize;
            match rng.below(8) {
                0 => {
                    bench.ok(Op::Truncate { file, len });
                    expected.resize(len as usize, 0);
                }
                1 => {
                    bench.ok(Op::Allocate { file, pos, len });
                    expected.resize(expected.len().max(end), 0);
                }
                2 => bench.sync(file),
                _ => {
                    let parts = vec![Bytes::from(vec![byte; len as usize])];
                    bench.ok(Op::Write {
                        file,
                        pos,
                        parts,
                        sync: false,
                    });
                    expected.resize(expected.len().max(end), 0);
                    expected[pos as usize..end].fill(byte);
                }
            }
            let (pos, len) = (rng.below(25_000), rng.below(25_000) as u32);
            let Done::Read(bytes) = bench.op(Op::Read { file, pos, len }) else {
                panic!("a read");
            };
            let from = expected.len().min(pos as usize);
            let upto = expected.len().min(pos as usize + len as usize);
            assert!(bytes == expected[from..upto], "seed {seed}");
        }
        assert!(bench.world.disk().content("/a/f").as_ref() == Some(&expected));
    }
}
