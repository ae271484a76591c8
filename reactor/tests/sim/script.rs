//! A machine that does what a test tells it, one operation after the other or all at once.

use bytes::Bytes;
use reactor::op::{Done, FileId, Input, Machine, Now, Op, OpenMode, Outbox, ShardId, Token};
use reactor::sim::{Settings, World};
use std::path::Path;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) todo: Vec<(Token, Op)>,
    pub(crate) done: Vec<(Token, Done)>,
    next: u64,
}

impl Machine for Script {
    type Mail = ();

    fn step(&mut self, _: Now, inputs: &mut Vec<Input<()>>, _: usize, out: &mut Outbox<()>) {
        for input in inputs.drain(..) {
            if let Input::Done(token, done) = input {
                self.done.push((token, done));
            }
        }
        out.ops.append(&mut self.todo);
    }
}

/// A world with one scripted shard.
pub(crate) struct Bench {
    pub(crate) world: World<Script>,
}

const MINUTE: u64 = 60_000_000_000;

impl Bench {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Settings::default());
        world.disk().add_device("/a", None);
        world.disk().add_device("/b", None);
        let mut bench = Self { world };
        bench.start();
        bench
    }

    pub(crate) fn start(&mut self) {
        self.world.start(1, |_, _| Script::default());
    }

    pub(crate) fn restart_after_power_cut(&mut self) {
        self.world.power_cut();
        self.start();
    }

    /// Leaves an operation in flight.
    pub(crate) fn submit(&mut self, op: Op) -> Token {
        let machine = self.world.machine_mut(ShardId(0));
        machine.next += 1;
        let token = Token(machine.next);
        machine.todo.push((token, op));
        token
    }

    /// The next completion of `token`.
    pub(crate) fn wait(&mut self, token: Token) -> Done {
        let found = |world: &World<Script>| {
            let done = &world.machine(ShardId(0)).done;
            done.iter().position(|(of, _)| *of == token)
        };
        assert!(
            self.world.run(MINUTE, |world| found(world).is_some()),
            "no completion"
        );
        let at = found(&self.world).expect("just seen");
        self.world.machine_mut(ShardId(0)).done.remove(at).1
    }

    pub(crate) fn op(&mut self, op: Op) -> Done {
        let token = self.submit(op);
        self.wait(token)
    }

    pub(crate) fn ok(&mut self, op: Op) {
        let done = self.op(op);
        assert!(matches!(done, Done::Ok), "{done:?}");
    }

    pub(crate) fn open(&mut self, path: &str, mode: OpenMode) -> FileId {
        self.open_as(path, mode, true)
    }

    pub(crate) fn open_as(&mut self, path: &str, mode: OpenMode, direct: bool) -> FileId {
        match self.op(Op::Open {
            path: path.into(),
            mode,
            direct,
        }) {
            Done::Opened { file, .. } => file,
            other => panic!("{path}: {other:?}"),
        }
    }

    pub(crate) fn sync(&mut self, file: FileId) {
        self.ok(Op::Sync { file });
    }

    pub(crate) fn sync_dir(&mut self, path: impl AsRef<Path>) {
        self.ok(Op::SyncDir {
            path: path.as_ref().to_owned(),
        });
    }

    pub(crate) fn write(&mut self, file: FileId, pos: u64, byte: u8) {
        self.ok(write_op(file, pos, byte));
    }
}

/// One block full of one byte.
pub(crate) fn write_op(file: FileId, pos: u64, byte: u8) -> Op {
    let mut buf = reactor::buf::Arena::heap(1 << 20)
        .alloc(4096)
        .expect("room for a block");
    buf.append(&[byte; 4096]);
    let parts: Vec<Bytes> = vec![buf.freeze()];
    Op::Write {
        file,
        pos,
        parts,
        sync: false,
    }
}
