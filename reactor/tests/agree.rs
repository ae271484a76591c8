//! Both interpreters of the vocabulary, the ring and the simulated kernel, answer alike: the same
//! random walk over files and directories, with one operation in flight, gets the same answers.

mod support;

use bytes::Bytes;
use reactor::buf::{Arena, BLOCK};
use reactor::op::{
    Done, ErrorKind, FileId, Input, Machine, Now, Op, OpenMode, Outbox, ShardId, Token,
};
use reactor::sim::{Rng, Settings, World};
use std::path::PathBuf;
use support::{Dir, one_by_one};

/// Operations in one walk.
const STEPS: usize = 400;

/// Chooses the next operation from a seed and the answers so far.
struct Walk {
    rng: Rng,
    root: PathBuf,
    /// Every file is opened for direct I/O, and read and written in whole blocks.
    direct: bool,
    files: Vec<FileId>,
    closing: Option<FileId>,
    steps: usize,
}

impl Walk {
    fn new(seed: u64, root: PathBuf) -> Self {
        Self {
            rng: Rng::new(seed),
            root,
            direct: seed % 2 == 1,
            files: Vec::new(),
            closing: None,
            steps: 0,
        }
    }

    fn path(&mut self) -> PathBuf {
        let names = [
            "a",
            "b",
            "c",
            "dir",
            "dir/a",
            "dir/b",
            "dir/sub",
            "dir/sub/a",
        ];
        self.root.join(names[self.rng.index(names.len())])
    }

    fn next(&mut self, last: Option<&Done>) -> Option<Op> {
        if let Some(Done::Opened { file, .. }) = last {
            self.files.push(*file);
        }
        if let Some(closed) = self.closing.take() {
            self.files.retain(|file| *file != closed);
        }
        self.steps += 1;
        if self.steps > STEPS {
            return None;
        }
        if self.rng.chance(1, 2) && !self.files.is_empty() {
            let file = self.files[self.rng.index(self.files.len())];
            return Some(self.on_file(file));
        }
        Some(self.on_path())
    }

    fn on_file(&mut self, file: FileId) -> Op {
        let mut pos = self.rng.below(20_000);
        let mut len = self.rng.between(1, 9_000);
        // Lengths of files are any: a direct read also ends in the middle of a block.
        let file_len = len;
        if self.direct {
            pos = pos / BLOCK as u64 * BLOCK as u64;
            len = len.next_multiple_of(BLOCK as u64);
        }
        match self.rng.below(10) {
            0 => {
                self.closing = Some(file);
                Op::Close { file }
            }
            1 => Op::Sync { file },
            2 => Op::Allocate { file, pos, len },
            3 => Op::Truncate {
                file,
                len: file_len,
            },
            4..=6 => Op::Read {
                file,
                pos,
                len: len as u32,
            },
            _ => {
                let byte = self.rng.bits() as u8;
                let more = if self.direct { BLOCK } else { 100 };
                let first = filled(byte, len as usize);
                let second = filled(!byte, more);
                Op::Write {
                    file,
                    pos,
                    parts: vec![first, second],
                    sync: false,
                }
            }
        }
    }

    fn on_path(&mut self) -> Op {
        let path = self.path();
        match self.rng.below(12) {
            0..=3 => {
                // Files only ever opened for both, so that no write is refused.
                let modes = [OpenMode::Write, OpenMode::Create, OpenMode::CreateNew];
                Op::Open {
                    path,
                    mode: modes[self.rng.index(3)],
                    direct: self.direct,
                }
            }
            4 => Op::Rename {
                from: path,
                to: self.path(),
            },
            5 => Op::Unlink { path },
            6 | 7 => Op::CreateDir { path },
            8 => Op::RemoveDir { path },
            9 => Op::SyncDir {
                path: self.root.clone(),
            },
            _ => Op::ListDir {
                path: if self.rng.chance(1, 2) {
                    self.root.clone()
                } else {
                    path
                },
            },
        }
    }
}

/// Bytes at an address that direct I/O takes.
fn filled(byte: u8, len: usize) -> Bytes {
    let mut buf = Arena::heap(len + BLOCK).alloc(len).expect("room");
    buf.append(&vec![byte; len]);
    buf.freeze()
}

/// What a completion says, without what may differ between machines.
fn describe(done: &Done) -> String {
    match done {
        Done::Opened { len, .. } => format!("opened, {len} bytes"),
        Done::Read(bytes) => format!("{} bytes, sum {}", bytes.len(), sum(bytes)),
        Done::Listed(entries) => {
            let mut names: Vec<_> = entries
                .iter()
                .map(|entry| (entry.name.clone(), entry.is_dir, entry.len))
                .collect();
            names.sort();
            format!("{names:?}")
        }
        // Kinds for which no code above has a case are one.
        Done::Failed(error) if error.kind == ErrorKind::Other => "failed".to_owned(),
        Done::Failed(error) => format!("failed: {:?}", error.kind),
        other => format!("{other:?}"),
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    })
}

/// The walk as a machine of the simulated kernel.
struct Walker {
    walk: Walk,
    results: Vec<Done>,
}

impl Machine for Walker {
    type Mail = ();

    fn step(&mut self, _: Now, inputs: &mut Vec<Input<()>>, _: usize, out: &mut Outbox<()>) {
        for input in inputs.drain(..) {
            if let Input::Done(_, done) = input {
                self.results.push(done);
            }
        }
        match self.walk.next(self.results.last()) {
            Some(op) => out.ops.push((Token(self.results.len() as u64), op)),
            None => out.exit = true,
        }
    }
}

fn simulated(seed: u64) -> Vec<Done> {
    let mut world = World::new(seed, Settings::default());
    world.disk().make_dirs("/root");
    world.start(1, |_, _| Walker {
        walk: Walk::new(seed, "/root".into()),
        results: Vec::new(),
    });
    while !world.exited() {
        assert!(world.step());
    }
    std::mem::take(&mut world.machine_mut(ShardId(0)).results)
}

fn real(seed: u64) -> Vec<Done> {
    let dir = Dir::new(&format!("agree-{seed}"));
    let mut walk = Walk::new(seed, dir.join(""));
    one_by_one(move |done, _| walk.next(done.last()))
}

#[test]
fn the_simulated_kernel_answers_as_the_real_one() {
    for seed in 0..20 {
        let (simulated, real) = (simulated(seed), real(seed));
        assert_eq!(simulated.len(), real.len());
        let mut walk = Walk::new(seed, "/".into());
        let mut last = None;
        for (at, (ours, theirs)) in simulated.iter().zip(&real).enumerate() {
            let op = walk.next(last);
            let (said, expected) = (describe(ours), describe(theirs));
            assert_eq!(
                said, expected,
                "seed {seed}, operation {at}: {op:?}\nreal: {theirs:?}"
            );
            last = Some(ours);
        }
    }
}
