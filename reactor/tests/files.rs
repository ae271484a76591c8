//! Real files through a real ring.

mod support;

use bytes::Bytes;
use reactor::buf::{Arena, BLOCK};
use reactor::op::{CONTROL, Done, ErrorKind, FileId, Op, OpenMode, Outbox, Token};
use std::path::{Path, PathBuf};
use support::{Dir, Event, config, one_by_one, run_with};

fn blocks(arena: &Arena, count: usize, seed: u8) -> Bytes {
    let mut buf = arena.alloc(count * BLOCK).expect("room in the arena");
    for block in 0..count {
        buf.append(&[seed.wrapping_add(block as u8); BLOCK]);
    }
    buf.freeze()
}

fn file_of(done: &Done) -> FileId {
    match done {
        Done::Opened { file, .. } => *file,
        other => panic!("not opened: {other:?}"),
    }
}

/// Writes three blocks in two parts, syncs, and reads them back, past the end too.
fn write_and_read(path: PathBuf, direct: bool) -> Vec<Done> {
    one_by_one(move |done, arena| {
        let file = done.first().map(file_of);
        Some(match (done.len(), file) {
            (0, _) => Op::Open {
                path: path.clone(),
                mode: OpenMode::CreateNew,
                direct,
            },
            (1, Some(file)) => Op::Allocate {
                file,
                pos: 0,
                len: 8 * BLOCK as u64,
            },
            (2, Some(file)) => {
                let parts = vec![blocks(arena, 2, 1), blocks(arena, 1, 3)];
                Op::Write {
                    file,
                    pos: BLOCK as u64,
                    parts,
                    sync: false,
                }
            }
            (3, Some(file)) => Op::Sync { file },
            (4, Some(file)) => Op::Read {
                file,
                pos: 0,
                len: 4 * BLOCK as u32,
            },
            (5, Some(file)) => Op::Truncate {
                file,
                len: 3 * BLOCK as u64,
            },
            (6, Some(file)) => Op::Read {
                file,
                pos: 2 * BLOCK as u64,
                len: 64 * BLOCK as u32,
            },
            (7, Some(file)) => Op::Read {
                file,
                pos: 4 * BLOCK as u64,
                len: BLOCK as u32,
            },
            (8, Some(file)) => Op::Close { file },
            (9, Some(file)) => Op::Sync { file },
            (10, _) => Op::Open {
                path: path.clone(),
                mode: OpenMode::CreateNew,
                direct,
            },
            (11, _) => Op::Open {
                path: path.clone(),
                mode: OpenMode::Read,
                direct,
            },
            _ => return None,
        })
    })
}

fn check(results: &[Done], expect_direct: Option<bool>) {
    let Done::Opened { len: 0, direct, .. } = results[0] else {
        panic!("{:?}", results[0]);
    };
    assert!(
        expect_direct.is_none_or(|expected| direct == expected),
        "direct: {direct}"
    );
    for index in [1, 2, 3, 5, 8] {
        assert!(
            matches!(results[index], Done::Ok),
            "{index}: {:?}",
            results[index]
        );
    }
    let Done::Read(all) = &results[4] else {
        panic!("{:?}", results[4])
    };
    assert_eq!(all.len(), 4 * BLOCK);
    for (block, value) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        assert!(
            all[block * BLOCK..][..BLOCK]
                .iter()
                .all(|&byte| byte == value)
        );
    }
    let Done::Read(end) = &results[6] else {
        panic!("{:?}", results[6])
    };
    assert_eq!(end.len(), BLOCK, "short only at the end of the file");
    assert!(matches!(&results[7], Done::Read(none) if none.is_empty()));
    assert!(
        matches!(results[9], Done::Failed(_)),
        "a closed file takes nothing"
    );
    assert!(matches!(&results[10], Done::Failed(e) if e.kind == ErrorKind::AlreadyExists));
    assert!(matches!(results[11], Done::Opened { len, .. } if len == 3 * BLOCK as u64));
}

#[test]
fn a_direct_file_keeps_what_is_written() {
    let dir = Dir::new("direct");
    check(&write_and_read(dir.join("file"), true), None);
}

#[test]
fn a_buffered_file_keeps_what_is_written() {
    let dir = Dir::new("buffered");
    check(&write_and_read(dir.join("file"), false), Some(false));
}

#[test]
fn a_file_system_in_memory_is_never_called_direct() {
    let dir = Dir::at(Path::new("/dev/shm"), "tmpfs");
    check(&write_and_read(dir.join("file"), true), Some(false));
}

fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

#[test]
fn the_space_of_a_file_system_is_told() {
    let dir = Dir::new("space");
    let (here, nowhere) = (dir.join(""), dir.join("nowhere"));
    let results = one_by_one(move |done, _| {
        let path = [&here, &nowhere].get(done.len()).copied()?.clone();
        Some(Op::Space { path })
    });
    let Done::Space(space) = results[0] else {
        panic!("{:?}", results[0])
    };
    assert!(space.total > 0 && space.usable <= space.total, "{space:?}");
    assert!(matches!(&results[1], Done::Failed(e) if e.kind == ErrorKind::NotFound));
}

#[test]
fn names_are_made_moved_listed_and_removed() {
    let began_ms = wall_ms();
    let dir = Dir::new("names");
    let sub = dir.join("sub");
    let (one, two) = (sub.join("one"), sub.join("two"));
    let results = one_by_one(move |done, _| {
        Some(match done.len() {
            0 | 1 => Op::CreateDir { path: sub.clone() },
            2 => Op::Open {
                path: one.clone(),
                mode: OpenMode::Create,
                direct: false,
            },
            3 => Op::Write {
                file: file_of(&done[2]),
                pos: 0,
                parts: vec![Bytes::from_static(b"unaligned")],
                sync: false,
            },
            4 => Op::Read {
                file: file_of(&done[2]),
                pos: 2,
                len: 100,
            },
            5 => Op::Rename {
                from: one.clone(),
                to: two.clone(),
            },
            6 => Op::SyncDir { path: sub.clone() },
            7 => Op::ListDir { path: sub.clone() },
            8 => Op::CreateDir { path: two.clone() },
            9 => Op::RemoveDir { path: sub.clone() },
            10 => Op::Unlink { path: two.clone() },
            11 => Op::RemoveDir { path: sub.clone() },
            12 => Op::Open {
                path: two.clone(),
                mode: OpenMode::Read,
                direct: false,
            },
            _ => return None,
        })
    });
    for index in [0, 1, 3, 5, 6, 10, 11] {
        assert!(
            matches!(results[index], Done::Ok),
            "{index}: {:?}",
            results[index]
        );
    }
    assert!(matches!(&results[4], Done::Read(bytes) if &bytes[..] == b"aligned"));
    let Done::Listed(entries) = &results[7] else {
        panic!("{:?}", results[7])
    };
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].name.as_str(), entries[0].len), ("two", 9));
    // The kernel stamps files with the time of its last tick.
    let modified = began_ms - 1_000..=wall_ms() + 1_000;
    assert!(modified.contains(&entries[0].modified_ms), "{entries:?}");
    assert!(matches!(&results[8], Done::Failed(e) if e.kind == ErrorKind::AlreadyExists));
    assert!(
        matches!(results[9], Done::Failed(_)),
        "a directory with a file in it stays"
    );
    assert!(matches!(&results[12], Done::Failed(e) if e.kind == ErrorKind::NotFound));
}

#[test]
fn a_close_waits_for_the_write_before_it_and_lets_nothing_in_behind_it() {
    let dir = Dir::new("close");
    let path = dir.join("file");
    let opened = path.clone();
    let mut order = Vec::new();
    let play = move |event: Event<Vec<(u64, bool)>>, out: &mut Outbox<Vec<(u64, bool)>>| match event
    {
        Event::Start(..) => {
            let path = opened.clone();
            let mode = OpenMode::CreateNew;
            out.ops.push((
                Token(0),
                Op::Open {
                    path,
                    mode,
                    direct: true,
                },
            ));
        }
        Event::Done(Token(0), done) => {
            let file = file_of(&done);
            let parts = vec![Bytes::new(), big()];
            out.ops.push((
                Token(1),
                Op::Write {
                    file,
                    pos: 0,
                    parts,
                    sync: false,
                },
            ));
            out.ops.push((Token(2), Op::Sync { file }));
            out.ops.push((Token(3), Op::Close { file }));
            out.ops.push((Token(4), Op::Sync { file }));
        }
        Event::Done(token, done) => {
            order.push((token.0, matches!(done, Done::Ok)));
            if order.len() == 4 {
                out.mail.push((CONTROL, std::mem::take(&mut order)));
                out.exit = true;
            }
        }
        Event::Mail(..) | Event::Turn(..) => {}
    };
    let handle = run_with(&config(1), vec![play]);
    let (_, order) = handle.inbox().recv().expect("an order");
    handle.join();
    let place = |wanted| order.iter().position(|&got| got == wanted);
    let closed = place((3, true)).expect("closed");
    assert!(place((1, true)).expect("written") < closed);
    assert!(place((2, true)).expect("synced") < closed);
    assert!(
        place((4, false)).is_some(),
        "a closing file takes nothing: {order:?}"
    );
    assert_eq!(std::fs::read(path).expect("there"), vec![5; 256 * BLOCK]);
}

/// A megabyte of fives at an address that is a multiple of a block.
fn big() -> Bytes {
    let arena = Arena::heap(256 * BLOCK);
    let mut buf = arena.alloc(256 * BLOCK).expect("room");
    buf.append(&vec![5; 256 * BLOCK]);
    buf.freeze()
}

/// Merely reserved space is not written; where it cannot be told, nothing is said to be.
#[test]
fn an_open_tells_how_much_of_a_file_is_written() {
    let dir = Dir::new("written");
    let path = dir.join("file");
    let results = one_by_one(move |done, arena| {
        let file = done.first().map(file_of);
        Some(match (done.len(), file) {
            (0, _) => Op::Open {
                path: path.clone(),
                mode: OpenMode::CreateNew,
                direct: true,
            },
            (1, Some(file)) => Op::Allocate {
                file,
                pos: 0,
                len: 8 * BLOCK as u64,
            },
            (2, Some(file)) => Op::Write {
                file,
                pos: 0,
                parts: vec![blocks(arena, 3, 1)],
                sync: false,
            },
            (3, Some(file)) => Op::Sync { file },
            (4, _) => Op::Open {
                path: path.clone(),
                mode: OpenMode::Write,
                direct: true,
            },
            _ => return None,
        })
    });
    let place = |at: usize| match &results[at] {
        Done::Opened { in_place, .. } => *in_place,
        other => panic!("not opened: {other:?}"),
    };
    assert_eq!(place(0).map(|place| place.written), place(0).map(|_| 0));
    assert_eq!(
        place(4).map(|place| place.written),
        place(0).map(|_| 3 * BLOCK as u64)
    );
    assert_eq!(
        place(4).map(|place| place.device),
        place(0).map(|place| place.device)
    );
}
