//! Lives that end while one certain thing is under way: the windows between a name and its sync are
//! so short that an end at random hardly ever falls into them.

use crate::plan::{Plan, Trouble};
use crate::shell::is_in_pool;
use reactor::op::{Done, ErrorKind, Input, Op, OpenMode};
use reactor::sim::Rng;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Rename,
    Unlink,
    RemoveDir,
    SyncDir,
    CreateDir,
    Sync,
    /// The medium failed: the moments after it.
    Failure,
    /// A retired segment file goes into the pool, or out of it.
    Keep,
    Reuse,
    /// A segment begins.
    Begin,
}

/// A life ends when this many operations of a kind have been begun, or have failed.
#[derive(Clone, Debug)]
pub(crate) struct Ambush {
    on: On,
    left: u64,
    /// What happens in the world between the last of them and the end.
    pub(crate) steps: u64,
}

impl Ambush {
    pub(crate) fn draw(rng: &mut Rng, plan: &Plan) -> Self {
        if plan.churns {
            return Self {
                on: [On::Keep, On::Reuse, On::Begin][rng.index(3)],
                left: rng.between(1, 6),
                steps: rng.below(16),
            };
        }
        if plan.deletes {
            return Self {
                on: [On::RemoveDir, On::Unlink][rng.index(2)],
                left: rng.between(1, 3),
                steps: rng.below(20),
            };
        }
        let kinds = [
            On::Rename,
            On::Unlink,
            On::RemoveDir,
            On::SyncDir,
            On::CreateDir,
            On::Sync,
        ];
        let fails = plan.trouble == Some(Trouble::Medium);
        let on = if fails && rng.chance(1, 2) {
            On::Failure
        } else {
            kinds[rng.index(kinds.len())]
        };
        let most = [1, 4, 40][rng.index(3)];
        let steps = [1, 10, 100][rng.index(3)];
        Self {
            on,
            left: rng.between(1, most),
            steps: rng.below(steps),
        }
    }

    pub(crate) const fn is_sprung(&self) -> bool {
        self.left == 0
    }

    /// Takes note of what a shard begins.
    pub(crate) fn watch<'a>(&mut self, ops: impl Iterator<Item = &'a Op>) {
        let on = self.on;
        let awaited = ops.filter(|op| on.is_met_by(op)).count() as u64;
        self.left = self.left.saturating_sub(awaited);
    }

    /// Takes note of what a shard is told.
    pub(crate) fn hear<M>(&mut self, inputs: &[Input<M>]) {
        let failed = |input: &&Input<M>| match input {
            Input::Done(_, Done::Failed(error)) => error.kind == ErrorKind::Medium,
            _ => false,
        };
        if self.on == On::Failure {
            let failures = inputs.iter().filter(failed).count() as u64;
            self.left = self.left.saturating_sub(failures);
        }
    }
}

impl On {
    fn is_met_by(self, op: &Op) -> bool {
        match (self, op) {
            (Self::Keep, Op::Rename { to, .. }) => is_in_pool(to),
            (Self::Reuse, Op::Rename { from, .. }) => is_in_pool(from),
            (
                Self::Begin,
                Op::Open {
                    path,
                    mode: OpenMode::Create,
                    ..
                },
            ) => path.extension().is_some_and(|kind| kind == "log"),
            (Self::Rename, Op::Rename { .. })
            | (Self::Unlink, Op::Unlink { .. })
            | (Self::RemoveDir, Op::RemoveDir { .. })
            | (Self::SyncDir, Op::SyncDir { .. } | Op::SyncParent { .. })
            | (Self::CreateDir, Op::CreateDir { .. })
            | (Self::Sync, Op::Sync { .. }) => true,
            _ => false,
        }
    }
}
