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

/// Operations of one of the steps that [`Script::then_all`] makes: what is removed keeps the device
/// busy (a file system may discard its blocks), and commits wait behind it.
const STEP_OPS_MAX: usize = 16;

/// What [`Failure::what`] calls a sync.
const SYNC: &str = "sync";

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

    /// Adds a step; an empty one is left out. [`Failure`] names operations by their step and place.
    pub(crate) fn then(mut self, ops: Vec<Op>) -> Self {
        if !ops.is_empty() {
            self.steps.push_back(ops);
        }
        self
    }

    /// Adds as many steps as it takes: for operations whose number has no bound, such as the
    /// removal of a partition's files, and whose places in the script nobody asks for.
    pub(crate) fn then_all(mut self, mut ops: Vec<Op>) -> Self {
        while ops.len() > STEP_OPS_MAX {
            let rest = ops.split_off(STEP_OPS_MAX);
            self = self.then(std::mem::replace(&mut ops, rest));
        }
        self.then(ops)
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
            sync: false,
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
    /// The file opened last. After a failure only if it is still open: where the script would have
    /// closed it, it has been closed.
    pub(crate) opened: Option<OpenedFile>,
    pub(crate) reads: Vec<Bytes>,
    pub(crate) listed: Vec<Vec<DirEntry>>,
    pub(crate) failures: Vec<Failure>,
}

impl Outcome {
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failures.first()
    }

    /// A sync has failed: what that has lost, of other files too, the next one does not tell.
    pub(crate) fn has_lost_a_flush(&self) -> bool {
        let lost = |failure: &Failure| failure.error.kind == ErrorKind::Medium;
        let mut syncs = self.failures.iter().filter(|failure| failure.what == SYNC);
        syncs.any(lost)
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
    /// The file opened last, until the script closes it.
    open: Option<FileId>,
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
            open: None,
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
        if !(running.outcome.failures.is_empty() || running.script.keep_going) {
            running.abandon();
        }
        if running.issue(id, ops) {
            return None;
        }
        let mut running = self.running.remove(&id)?;
        if running.open.is_none() && !running.outcome.failures.is_empty() {
            running.outcome.opened = None;
        }
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
    /// Nothing follows but the closing of the file that is open, if that was to come.
    fn abandon(&mut self) {
        let closing = |op: &Op| match op {
            Op::Close { file } => *file == OPENED || Some(*file) == self.open,
            _ => false,
        };
        let closes = self.open.is_some() && self.script.steps.iter().flatten().any(closing);
        self.script.steps.clear();
        if closes {
            self.script
                .steps
                .push_back(vec![Op::Close { file: OPENED }]);
        }
    }

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
            if matches!(op, Op::Close { file } if Some(file) == self.open) {
                self.open = None;
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
                self.open = Some(file);
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
        Op::SyncParent { of } => named("sync the directory around", of),
        Op::ListDir { path } => named("list", path),
        Op::Space { path } => named("ask for the space of", path),
        Op::Lock { path } => named("lock", path),
        Op::Write { .. } => "write".to_owned(),
        Op::Read { .. } => "read".to_owned(),
        Op::Sync { .. } => SYNC.to_owned(),
        Op::Allocate { .. } => "allocate".to_owned(),
        _ => "operation".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::op::IoError;

    fn open() -> Op {
        Op::Open {
            path: "a".into(),
            mode: OpenMode::Read,
            direct: false,
        }
    }

    fn opened(file: u32) -> Done {
        Done::Opened {
            file: FileId(file),
            len: 0,
            direct: false,
            in_place: None,
        }
    }

    fn failed() -> Done {
        Done::Failed(IoError {
            kind: ErrorKind::Medium,
            errno: 5,
        })
    }

    /// Runs a script whose operations end as `ends` says, in order; the files closed, and the end.
    fn run(script: Script, ends: Vec<Done>) -> (Vec<FileId>, Outcome) {
        let (mut scripts, mut ops, mut closed) = (Scripts::new(), Vec::new(), Vec::new());
        scripts.run(script, (), &mut ops);
        let mut ends = ends.into_iter();
        let mut outcome = None;
        while let Some((token, op)) = ops.pop() {
            let done = if let Op::Close { file } = op {
                closed.push(file);
                Done::Ok
            } else {
                ends.next().expect("one more operation")
            };
            if let Some((_, end)) = scripts.done(token, done, &mut ops) {
                outcome = Some(end);
            }
        }
        assert!(scripts.is_idle());
        (closed, outcome.expect("an end"))
    }

    fn read() -> Op {
        Op::Read {
            file: OPENED,
            pos: 0,
            len: 1,
        }
    }

    #[test]
    fn a_file_is_closed_also_when_its_script_fails() {
        let script = || {
            Script::new()
                .then(vec![open()])
                .then(vec![read()])
                .then(vec![Op::Close { file: OPENED }])
        };
        let (closed, end) = run(script(), vec![opened(3), failed()]);
        assert_eq!(closed, [FileId(3)]);
        assert!(end.opened.is_none() && end.failure().is_some());
        // One that never opened closes nothing, also when the one before it was closed.
        let twice = script().join(script());
        let (closed, end) = run(twice, vec![opened(3), Done::Ok, failed()]);
        assert_eq!(closed, [FileId(3)]);
        assert!(end.opened.is_none());
        // Where the script leaves it open, it is handed over.
        let kept = Script::new().then(vec![open()]).then(vec![read()]);
        let (closed, end) = run(kept, vec![opened(3), failed()]);
        assert_eq!(closed, []);
        assert_eq!(end.opened.map(|opened| opened.file), Some(FileId(3)));
    }

    #[test]
    fn a_partition_of_very_many_files_is_unlinked_in_steps() {
        let path = || "a".into();
        let ops: Vec<Op> = (0..70_000).map(|_| Op::Unlink { path: path() }).collect();
        let (mut scripts, mut out) = (Scripts::new(), Vec::new());
        scripts.run(Script::new().then_all(ops), (), &mut out);
        let (mut seen, mut most) = (0, 0);
        while !scripts.is_idle() {
            most = most.max(out.len());
            for (token, _) in std::mem::take(&mut out) {
                seen += 1;
                scripts.done(token, Done::Ok, &mut out);
            }
        }
        assert_eq!((seen, most), (70_000, STEP_OPS_MAX));
    }
}
