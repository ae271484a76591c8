//! Chains of kernel operations: each step's operations run together, the next step follows when
//! all of them are done, and the end is reported once.

use super::api::TOKEN_TAG;
use crate::format::names;
use bytes::Bytes;
use reactor::op::{DirEntry, Done, ErrorKind, FileId, InPlace, IoError, Op, OpenMode, Token};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

/// Stands for the file that the script opened last.
pub(crate) const OPENED: FileId = FileId(u32::MAX);

/// Operations in the order they have to be durable in.
#[derive(Debug, Default)]
pub(crate) struct Script {
    steps: VecDeque<Vec<Op>>,
    keep_going: bool,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a step; an empty one is left out.
    pub(crate) fn then(mut self, ops: Vec<Op>) -> Self {
        if !ops.is_empty() {
            self.steps.push_back(ops);
        }
        self
    }

    /// Puts a small file in its place, whole and durable: written beside it, synced, renamed, its
    /// directory synced.
    pub(crate) fn replace(path: PathBuf, content: Vec<u8>) -> Self {
        let draft = names::unfinished(&path);
        let folder = path.parent().map(Path::to_owned);
        let write = Op::Write {
            file: OPENED,
            pos: 0,
            parts: vec![Bytes::from(content)],
        };
        Self::new()
            .then(vec![Op::Open {
                path: draft.clone(),
                mode: OpenMode::Create,
                direct: false,
            }])
            .then(vec![Op::Truncate {
                file: OPENED,
                len: 0,
            }])
            .then(vec![write])
            .then(vec![Op::Sync { file: OPENED }])
            .then(vec![Op::Close { file: OPENED }])
            .then(vec![Op::Rename {
                from: draft,
                to: path,
            }])
            .then(
                folder
                    .map(|path| Op::SyncDir { path })
                    .into_iter()
                    .collect(),
            )
    }

    /// Adds the steps of another script.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Later steps run even if an operation fails: the caller sorts failures out at the end.
    pub(crate) const fn keep_going(mut self) -> Self {
        self.keep_going = true;
        self
    }
}

/// A file that a script opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenedFile {
    pub(crate) file: FileId,
    pub(crate) len: u64,
    pub(crate) direct: bool,
    /// See [`Done::Opened`].
    pub(crate) in_place: Option<InPlace>,
}

/// An operation that failed: its step and place in the script.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) index: usize,
    pub(crate) what: String,
    pub(crate) error: IoError,
}

impl Failure {
    pub(crate) fn words(&self) -> String {
        format!("{}: {}", self.what, self.error)
    }
}

/// What a finished script brings back. Results are in the order of the operations.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) opened: Option<OpenedFile>,
    pub(crate) reads: Vec<Bytes>,
    pub(crate) listed: Vec<Vec<DirEntry>>,
    pub(crate) failures: Vec<Failure>,
}

impl Outcome {
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failures.first()
    }

    /// The script failed because something does not exist.
    pub(crate) fn not_found(&self) -> bool {
        self.failure()
            .is_some_and(|failure| failure.error.kind == ErrorKind::NotFound)
    }
}

#[derive(Debug)]
struct Running<T> {
    script: Script,
    step: usize,
    waiting: usize,
    words: Vec<String>,
    reads: Vec<(usize, usize, Bytes)>,
    lists: Vec<(usize, usize, Vec<DirEntry>)>,
    outcome: Outcome,
    then: T,
}

/// All scripts under way, each with what is to follow it.
#[derive(Debug)]
pub(crate) struct Scripts<T> {
    next: u64,
    running: HashMap<u64, Running<T>>,
}

impl<T> Scripts<T> {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            running: HashMap::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts a script of at least one step.
    pub(crate) fn run(&mut self, script: Script, then: T, ops: &mut Vec<(Token, Op)>) {
        assert!(
            !script.steps.is_empty(),
            "a script without steps would never end"
        );
        let id = self.next;
        self.next += 1;
        let mut running = Running {
            script,
            step: 0,
            waiting: 0,
            words: Vec::new(),
            reads: Vec::new(),
            lists: Vec::new(),
            outcome: Outcome::default(),
            then,
        };
        running.issue(id, ops);
        self.running.insert(id, running);
    }

    /// Takes one completion; returns the outcome when it was the script's last.
    pub(crate) fn done(
        &mut self,
        token: Token,
        done: Done,
        ops: &mut Vec<(Token, Op)>,
    ) -> Option<(T, Outcome)> {
        let id = (token.0 >> 16) & 0xff_ffff_ffff;
        let running = self.running.get_mut(&id)?;
        running.take((token.0 & 0xffff) as usize, done);
        if running.waiting > 0 {
            return None;
        }
        running.step += 1;
        let go_on = running.outcome.failures.is_empty() || running.script.keep_going;
        if go_on && running.issue(id, ops) {
            return None;
        }
        let mut running = self.running.remove(&id)?;
        running
            .reads
            .sort_by_key(|(step, index, _)| (*step, *index));
        running
            .lists
            .sort_by_key(|(step, index, _)| (*step, *index));
        running
            .outcome
            .failures
            .sort_by_key(|failure| (failure.step, failure.index));
        running.outcome.reads = running.reads.into_iter().map(|(_, _, read)| read).collect();
        running.outcome.listed = running.lists.into_iter().map(|(_, _, list)| list).collect();
        Some((running.then, running.outcome))
    }
}

impl<T> Running<T> {
    fn issue(&mut self, id: u64, out: &mut Vec<(Token, Op)>) -> bool {
        let Some(ops) = self.script.steps.pop_front() else {
            return false;
        };
        assert!(ops.len() <= 1 << 16, "a step has at most 65536 operations");
        self.waiting = ops.len();
        self.words = ops.iter().map(words).collect();
        for (index, mut op) in ops.into_iter().enumerate() {
            if let Some(opened) = self.outcome.opened {
                put_file(&mut op, opened.file);
            }
            let token = u64::from(TOKEN_TAG) << 56 | id << 16 | index as u64;
            out.push((Token(token), op));
        }
        true
    }

    fn take(&mut self, index: usize, done: Done) {
        self.waiting -= 1;
        match done {
            Done::Opened {
                file,
                len,
                direct,
                in_place,
            } => {
                self.outcome.opened = Some(OpenedFile {
                    file,
                    len,
                    direct,
                    in_place,
                });
            }
            Done::Read(bytes) => self.reads.push((self.step, index, bytes)),
            Done::Listed(entries) => self.lists.push((self.step, index, entries)),
            Done::Failed(error) => {
                let what = self.words[index].clone();
                // What is to be gone and is not there is what was wanted.
                let gone = what.starts_with("remove ");
                if !(gone && error.kind == ErrorKind::NotFound) {
                    self.outcome.failures.push(Failure {
                        step: self.step,
                        index,
                        what,
                        error,
                    });
                }
            }
            _ => {}
        }
    }
}

fn put_file(op: &mut Op, opened: FileId) {
    match op {
        Op::Close { file }
        | Op::Read { file, .. }
        | Op::Write { file, .. }
        | Op::Sync { file }
        | Op::Allocate { file, .. }
        | Op::Truncate { file, .. }
            if *file == OPENED =>
        {
            *file = opened;
        }
        _ => {}
    }
}

fn words(op: &Op) -> String {
    let named = |verb: &str, path: &Path| format!("{verb} {}", path.display());
    match op {
        Op::Open { path, .. } => named("open", path),
        Op::Rename { to, .. } => named("rename to", to),
        Op::Unlink { path } | Op::RemoveDir { path } => named("remove", path),
        Op::CreateDir { path } => named("create directory", path),
        Op::SyncDir { path } => named("sync directory", path),
        Op::ListDir { path } => named("list", path),
        Op::Space { path } => named("ask for the space of", path),
        Op::Lock { path } => named("lock", path),
        Op::Write { .. } => "write".to_owned(),
        Op::Read { .. } => "read".to_owned(),
        Op::Sync { .. } => "sync".to_owned(),
        Op::Allocate { .. } => "allocate".to_owned(),
        _ => "operation".to_owned(),
    }
}
