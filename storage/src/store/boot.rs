//! The start: locks, scanning the journals, metadata first, then every partition, then the
//! openings; in the order that the rules of recovery ask for.

use super::api::{Event, Fx, RecoveredPartition, RecoveryReport};
use super::mail::{Letter, StoreMail};
use super::pump::aligned;
use super::script::{OPENED, Outcome, Script};
use super::{Store, Then, unwritable};
use crate::canary::{Canary, armed};
use crate::format::meta::Meta;
use crate::format::names::{self, META_JOURNAL};
use crate::format::round::Entry;
use crate::format::segment::SegmentHeader;
use crate::format::{BLOCK_U64, VERSION};
use crate::journal::JournalFile;
use crate::journal::scan::{Chain, Ending, FileScan, assemble};
use crate::log::revive::{Revived, drop_last_rounds, replay};
use crate::types::mix;
use crate::types::{AlivePartition, Durability, LogConfig, METADATA, PartitionId, Slot, TopicId};
use bytes::Bytes;
use reactor::op::{ErrorKind, Mono, Now, Op, OpenMode};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

/// A person is told after this long, in ms, that a lock is waited for.
const LOCK_TOLD_AFTER_MS: u64 = 500;

/// What a step of the start waits for.
#[derive(Debug)]
pub(crate) enum BootStep {
    Locked,
    MetaWritten,
    Listed,
    Opened {
        journal: usize,
    },
    Walked {
        journal: usize,
        file: usize,
    },
    JournalSynced {
        journal: usize,
    },
    Checked {
        chain: usize,
        extent: (u64, u64, u32),
        id: PartitionId,
        base: i64,
    },
    Looked {
        path: PathBuf,
    },
    Remembered,
    /// What nothing named is removed, before the metadata log and before all others are used.
    MetadataCleared,
    Cleared {
        keep: bool,
    },
    Voided,
    TopicsListed,
    SparesListed {
        dir: usize,
    },
    DeadTopic {
        topic: PathBuf,
    },
    DeadPartition {
        path: PathBuf,
    },
}

/// A journal of this shard's share while its files are walked.
#[derive(Debug)]
struct ScannedJournal {
    dir: usize,
    shard: u16,
    to_open: VecDeque<u64>,
    files: Vec<FileScan>,
    walking: usize,
    ending: Ending,
}

/// Everything that is needed only until the shard is ready.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    dir_ids: Vec<u64>,
    /// Shard 0: what the directories said of themselves.
    metas: Vec<Meta>,
    journals: Vec<ScannedJournal>,
    unscanned: usize,
    unsynced: usize,
    /// Shard 0: reports of the shards, and what came of them.
    reported: u16,
    chains: Vec<Chain>,
    bad_rounds: HashSet<usize>,
    /// Shard 0: directory and shard of journals whose last round was dropped.
    dropped: Vec<(usize, u16)>,
    /// Shard 0: extents that are still to be checked, and how many are being checked.
    to_check: VecDeque<(Script, BootStep)>,
    checks: usize,
    metadata_ready: bool,
    opened_shards: u16,
    alive: Option<Vec<AlivePartition>>,
    assigned: Option<Vec<Revived>>,
    pub(crate) settling: HashSet<Slot>,
    /// Partitions that another journal knows.
    pub(crate) moved: HashSet<Slot>,
    /// Shard 0: some journal lacks one of those.
    lacks: bool,
    pub(crate) configs: HashMap<PartitionId, LogConfig>,
    /// Shard 0: partitions that no journal knows, and how much of them is being listed.
    unknown: HashSet<PartitionId>,
    looks: usize,
    looked: bool,
    pub(crate) restoring: usize,
    live_topics: HashSet<TopicId>,
    /// Segment files that nothing names.
    pub(crate) junk: Vec<PathBuf>,
    /// Retired files of earlier lives, and folders of topics that are gone.
    spares: Vec<PathBuf>,
    dead: Vec<PathBuf>,
    opening: bool,
    start: u64,
    unclean: bool,
    failed: bool,
    /// The directories are being locked; when to say so.
    pub(crate) lock_told_at: Option<Mono>,
    pub(crate) ready: bool,
    pub(crate) waiting: VecDeque<Revived>,
    /// The next ones of those are being begun already.
    pub(crate) restoring_more: bool,
}

impl Store {
    /// Begins recovery: locks the directories, makes them if need be. Ends with [`Event::Ready`] or
    /// [`Event::Failed`].
    pub fn start(&mut self, now: Now, fx: &mut Fx) {
        if self.config.shard != 0 {
            return;
        }
        let mut script = Script::new();
        for dir in self.config.dirs.clone() {
            script = script
                .then(vec![Op::CreateDir { path: dir.clone() }])
                .then(vec![Op::Lock {
                    path: names::lock(&dir),
                }])
                .then(vec![
                    Op::CreateDir {
                        path: names::journal_dir(&dir),
                    },
                    Op::CreateDir {
                        path: names::topics_dir(&dir),
                    },
                    Op::CreateDir {
                        path: names::recycle_dir(&dir),
                    },
                ])
                .then(vec![
                    Op::ListDir {
                        path: names::journal_dir(&dir),
                    },
                    Op::ListDir {
                        path: names::topics_dir(&dir),
                    },
                ])
                .then(vec![Op::Open {
                    path: names::meta(&dir),
                    mode: OpenMode::Create,
                    direct: false,
                }])
                .then(vec![Op::Read {
                    file: OPENED,
                    pos: 0,
                    len: BLOCK_U64 as u32,
                }])
                .then(vec![Op::Close { file: OPENED }]);
        }
        let due = now.mono.after_ms(LOCK_TOLD_AFTER_MS);
        self.boot.lock_told_at = Some(due);
        fx.wake(due);
        self.run(script, Then::Boot(BootStep::Locked), fx);
    }

    pub(crate) fn end_boot(&mut self, step: BootStep, outcome: Outcome, now: Now, fx: &mut Fx) {
        if self.boot.failed {
            return;
        }
        match step {
            BootStep::Locked => self.locked(&outcome, now, fx),
            BootStep::MetaWritten if outcome.failures.is_empty() => self.begin_all(now, fx),
            BootStep::Listed if outcome.failures.is_empty() => self.listed(&outcome, now, fx),
            BootStep::Opened { journal } if outcome.failures.is_empty() => {
                self.opened_journal(journal, &outcome, now, fx);
            }
            BootStep::Walked { journal, file } if outcome.failures.is_empty() => {
                let bytes = outcome.reads.into_iter().next().unwrap_or_default();
                let needed = self.boot.journals[journal].files[file].take(&bytes);
                self.walk(journal, file, needed, now, fx);
            }
            BootStep::JournalSynced { journal } => {
                self.journal_synced(journal, &outcome, now, fx);
            }
            BootStep::Checked {
                chain,
                extent,
                id,
                base,
            } => {
                self.checked(chain, extent, id, base, &outcome, now, fx);
            }
            BootStep::Looked { path } => self.looked_into(&path, &outcome, now, fx),
            BootStep::Remembered if outcome.failures.is_empty() => self.release_all(now, fx),
            BootStep::MetadataCleared => self.metadata_ready(fx),
            BootStep::Cleared { keep } => self.released(keep, now, fx),
            BootStep::Voided => {}
            BootStep::TopicsListed => self.topics_listed(&outcome),
            BootStep::SparesListed { dir } => self.spares_listed(dir, &outcome),
            BootStep::DeadTopic { topic } => self.dead_topic(topic, &outcome, fx),
            BootStep::DeadPartition { path } => self.dead_partition(path, &outcome, fx),
            _ => self.fail(
                &outcome.failure().map(|f| f.words()).unwrap_or_default(),
                fx,
            ),
        }
    }

    /// The start is impossible.
    pub(crate) fn fail(&mut self, why: &str, fx: &mut Fx) {
        if !self.boot.failed {
            self.boot.failed = true;
            fx.events.push(Event::Failed(why.to_owned()));
        }
    }

    /// Says why the start does not go on.
    pub(crate) fn tell_lock(&mut self, now: Now, fx: &mut Fx) {
        if self
            .boot
            .lock_told_at
            .take_if(|due| *due <= now.mono)
            .is_some()
        {
            let dirs = self.config.dirs.iter().map(|dir| dir.display().to_string());
            let dirs = dirs.collect::<Vec<_>>().join(", ");
            fx.events.push(Event::Notice(format!(
                "another process holds {dirs}, or was killed a moment ago and its last writes are \
                 not over: waiting some seconds"
            )));
        }
    }

    fn locked(&mut self, outcome: &Outcome, now: Now, fx: &mut Fx) {
        self.boot.lock_told_at = None;
        if let Some(failure) = outcome.failure() {
            let words = failure.words();
            let why = if failure.error.kind == ErrorKind::Locked {
                let path = words
                    .trim_start_matches("lock ")
                    .split(':')
                    .next()
                    .unwrap_or_default();
                format!(
                    "another process uses the log directory (it holds {path}): stop it, or choose \
                     another directory"
                )
            } else {
                format!("{words}: make the log directory exist and writable for this user")
            };
            return self.fail(&why, fx);
        }
        match self.know_directories(outcome, now) {
            Ok(script) => self.run(script, Then::Boot(BootStep::MetaWritten), fx),
            Err(why) => self.fail(&why, fx),
        }
    }

    fn begin_all(&mut self, now: Now, fx: &mut Fx) {
        let dir_ids = self.boot.dir_ids.clone();
        for to in 0..self.config.shards {
            self.send(
                to,
                Letter::Begin {
                    dir_ids: dir_ids.clone(),
                },
                now,
                fx,
            );
        }
    }

    /// Hands a letter to another shard, or to itself.
    pub(crate) fn send(&mut self, to: u16, letter: Letter, now: Now, fx: &mut Fx) {
        if to == self.config.shard {
            self.letter(letter, now, fx);
        } else {
            fx.events.push(Event::Mail {
                to,
                mail: StoreMail(letter),
            });
        }
    }

    /// Takes mail of another shard's store.
    pub fn on_mail(&mut self, _from: u16, mail: StoreMail, now: Now, fx: &mut Fx) {
        self.letter(mail.0, now, fx);
    }

    fn letter(&mut self, letter: Letter, now: Now, fx: &mut Fx) {
        match letter {
            Letter::Begin { dir_ids } => {
                for vol in &mut self.vols {
                    let at = self
                        .config
                        .dirs
                        .iter()
                        .position(|dir| *dir == vol.dir)
                        .unwrap_or(0);
                    vol.journal.dir_id = dir_ids.get(at).copied().unwrap_or(0);
                }
                self.boot.dir_ids = dir_ids;
                let dirs = self.config.dirs.iter().map(|dir| names::journal_dir(dir));
                let lists = dirs.clone().map(|path| Op::ListDir { path }).collect();
                // A name that was found may not be durable yet, and is to be relied on.
                let syncs = dirs.map(|path| Op::SyncDir { path }).collect();
                let mut script = Script::new().then(lists);
                if !armed(Canary::NoSyncBeforeServing) {
                    script = script.then(syncs);
                }
                self.run(script, Then::Boot(BootStep::Listed), fx);
            }
            Letter::Scanned { chains, start } => {
                self.boot.chains.extend(chains);
                self.boot.start = self.boot.start.max(start);
                self.boot.reported += 1;
                if self.boot.reported == self.config.shards {
                    self.all_scanned(now, fx);
                }
            }
            Letter::Assign {
                start,
                unclean,
                dropped,
                revived,
            } => {
                self.write_over(&dropped);
                self.boot.start = start;
                self.boot.unclean = unclean;
                self.boot.assigned = Some(revived);
                self.restore_assigned(now, fx);
            }
            Letter::Opened { lacks } => {
                self.boot.lacks |= lacks;
                self.boot.opened_shards += 1;
                if self.boot.opened_shards == self.config.shards {
                    self.remember_journals(now, fx);
                }
            }
            Letter::Release { keep } => self.released(keep, now, fx),
            Letter::GiveBack { dir } => {
                let dir = self.config.dirs[dir].clone();
                self.give_back(&dir, Then::Nothing, fx);
            }
        }
    }

    fn listed(&mut self, outcome: &Outcome, now: Now, fx: &mut Fx) {
        let mut found: HashMap<(usize, u16), Vec<u64>> = HashMap::new();
        for (dir, entries) in outcome.listed.iter().enumerate() {
            for entry in entries {
                let Some((shard, number)) = names::parse_journal(&entry.name) else {
                    continue;
                };
                if self.reads_journal_of(shard) {
                    found.entry((dir, shard)).or_default().push(number);
                }
            }
        }
        let mut keys: Vec<(usize, u16)> = found.keys().copied().collect();
        keys.sort_unstable();
        self.boot.unscanned = keys.len();
        for (dir, shard) in keys {
            let mut to_open = found.remove(&(dir, shard)).unwrap_or_default();
            to_open.sort_unstable();
            self.boot.journals.push(ScannedJournal {
                dir,
                shard,
                to_open: to_open.into(),
                files: Vec::new(),
                walking: 0,
                ending: Ending::default(),
            });
        }
        for journal in 0..self.boot.journals.len() {
            self.open_next(journal, fx);
        }
        if self.boot.unscanned == 0 {
            self.report(now, fx);
        }
    }

    fn reads_journal_of(&self, shard: u16) -> bool {
        if armed(Canary::OnlyOwnJournals) && shard != META_JOURNAL {
            return shard == self.config.shard;
        }
        let reader = if shard == META_JOURNAL {
            0
        } else {
            shard % self.config.shards
        };
        reader == self.config.shard
    }

    fn open_next(&mut self, journal: usize, fx: &mut Fx) {
        let scanned = &self.boot.journals[journal];
        let Some(number) = scanned.to_open.front() else {
            return;
        };
        let path = names::journal(&self.config.dirs[scanned.dir], scanned.shard, *number);
        let open = Op::Open {
            path,
            mode: OpenMode::Write,
            direct: true,
        };
        self.run(
            Script::new().then(vec![open]),
            Then::Boot(BootStep::Opened { journal }),
            fx,
        );
    }

    fn opened_journal(&mut self, journal: usize, outcome: &Outcome, now: Now, fx: &mut Fx) {
        let Some(opened) = outcome.opened else {
            return;
        };
        self.note_device(journal, &opened);
        let scanned = &mut self.boot.journals[journal];
        let dir_id = self.boot.dir_ids[scanned.dir];
        let number = scanned.to_open.pop_front().unwrap_or_default();
        let scan = FileScan::new(number, opened.file, opened.len, scanned.shard, dir_id);
        scanned.files.push(scan);
        scanned.walking += 1;
        let file = scanned.files.len() - 1;
        self.open_next(journal, fx);
        self.walk(journal, file, Some(0), now, fx);
    }

    /// Reads on in a journal file, or counts it as walked.
    fn walk(&mut self, journal: usize, file: usize, needed: Option<u64>, now: Now, fx: &mut Fx) {
        let scanned = &mut self.boot.journals[journal];
        let scan = &scanned.files[file];
        if let Some((pos, len)) = needed.and_then(|needed| scan.wants(needed)) {
            let read = Op::Read {
                file: scan.file,
                pos,
                len,
            };
            let then = Then::Boot(BootStep::Walked { journal, file });
            self.run(Script::new().then(vec![read]), then, fx);
            return;
        }
        scanned.walking -= 1;
        if scanned.walking == 0 && scanned.to_open.is_empty() {
            self.boot.unscanned -= 1;
            if self.boot.unscanned == 0 {
                self.sync_journals(now, fx);
            }
        }
    }

    /// The last round of a process that was killed can be read, and may still be in a cache. What
    /// this start writes behind it must not outlive it (rule 21). A sync does not tell what an
    /// earlier one that failed has lost, so the round is written again before it.
    fn sync_journals(&mut self, now: Now, fx: &mut Fx) {
        let mut scripts = Vec::new();
        for (at, journal) in self.boot.journals.iter().enumerate() {
            let newest = journal.files.iter().max_by_key(|scan| {
                let last = scan.rounds.last();
                last.map(|round| (round.header.start, round.header.sequence))
            });
            let last = newest.and_then(|scan| Some((scan.file, scan.last.as_ref()?)));
            let Some((file, (pos, bytes))) = last else {
                continue;
            };
            let write = Op::Write {
                file,
                pos: *pos,
                parts: vec![aligned(bytes)],
                sync: false,
            };
            let script = Script::new().then(vec![write]);
            scripts.push((at, script.then(vec![Op::Sync { file }])));
        }
        if scripts.is_empty() || armed(Canary::NoSyncBeforeServing) {
            return self.report(now, fx);
        }
        self.boot.unsynced = scripts.len();
        for (journal, script) in scripts {
            self.run(script, Then::Boot(BootStep::JournalSynced { journal }), fx);
        }
    }

    fn journal_synced(&mut self, journal: usize, outcome: &Outcome, now: Now, fx: &mut Fx) {
        if let Some(failure) = outcome.failure() {
            let dir = &self.config.dirs[self.boot.journals[journal].dir];
            return self.fail(&unwritable(dir, &failure.words()), fx);
        }
        self.boot.unsynced -= 1;
        if self.boot.unsynced == 0 {
            self.report(now, fx);
        }
    }

    /// All journals of this shard's share are walked.
    fn report(&mut self, now: Now, fx: &mut Fx) {
        let mut chains = Vec::new();
        let mut start = 0;
        for journal in &mut self.boot.journals {
            let (chain, ending) = assemble(journal.dir, journal.shard, &journal.files);
            journal.ending = ending;
            start = start.max(ending.start);
            chains.push(chain);
        }
        for at in 0..self.boot.journals.len() {
            self.adopt(at);
        }
        self.send(0, Letter::Scanned { chains, start }, now, fx);
    }

    /// Goes on with the files of a journal that belongs to this shard.
    fn adopt(&mut self, at: usize) {
        let scanned = &self.boot.journals[at];
        let dir = &self.config.dirs[scanned.dir];
        let Some(vol) = self
            .vols
            .iter_mut()
            .find(|vol| vol.dir == *dir && vol.journal.shard == scanned.shard)
        else {
            return;
        };
        let ending = scanned.ending;
        let journal = &mut vol.journal;
        if !armed(Canary::RestartSequence) {
            journal.sequence = ending.sequence + 1;
        }
        journal.low = ending.low.max(1);
        journal.salt_before = ending.salt;
        let mut chain = Vec::new();
        for scan in &scanned.files {
            journal.next_number = journal.next_number.max(scan.number + 1);
            let first = scan.first_in(ending.low, ending.sequence);
            let file = JournalFile {
                number: scan.number,
                file: scan.file,
                len: scan.len,
                first: first.unwrap_or(0),
            };
            match first {
                Some(_) => chain.push(file),
                None if scan.len >= crate::journal::JOURNAL_BYTES_MIN => {
                    journal.spare.push_back(file)
                }
                None => {}
            }
        }
        chain.sort_unstable_by_key(|file| file.first);
        journal.chain = chain.into();
    }

    fn all_scanned(&mut self, now: Now, fx: &mut Fx) {
        self.boot.unclean = self.boot.chains.iter().any(|chain| !chain.clean);
        if !armed(Canary::KeepStartNumber) {
            self.boot.start += 1;
        }
        self.boot.start = self.boot.start.max(1);
        let meta = |chain: &Chain| chain.shard == META_JOURNAL;
        let metadata = self.boot.chains.iter().position(meta);
        // The first start opens the metadata's journal before any other, and it is never ended.
        let is_lost = metadata.is_none_or(|at| self.boot.chains[at].rounds.is_empty());
        if is_lost
            && self
                .boot
                .chains
                .iter()
                .any(|chain| !chain.rounds.is_empty())
        {
            return self.fail(&journals_gone(&self.config.dirs[0]), fx);
        }
        if let Some(why) = self.missing_journal() {
            return self.fail(&why, fx);
        }
        if let Some(at) = metadata {
            self.check_last_rounds(&[at], fx);
        }
        if self.boot.checks == 0 {
            self.last_rounds_known(now, fx);
        }
    }

    /// Drops the last rounds that were never complete, and hands the partitions out.
    fn last_rounds_known(&mut self, now: Now, fx: &mut Fx) {
        let bad = std::mem::take(&mut self.boot.bad_rounds);
        let journals = bad.iter().map(|at| &self.boot.chains[*at]);
        let dropped = journals.map(|chain| (chain.dir, chain.shard));
        self.boot.dropped.extend(dropped);
        drop_last_rounds(&mut self.boot.chains, bad.into_iter());
        if !self.boot.metadata_ready {
            let mut chains = self.boot.chains.iter_mut();
            if armed(Canary::LivenessBeforeLastRound)
                && let Some(chain) = chains.find(|chain| chain.shard == META_JOURNAL)
            {
                chain.rounds.pop();
            }
            let revived = replay(&self.boot.chains).remove(&METADATA);
            let known = revived.into_iter().collect();
            let dropped = std::mem::take(&mut self.boot.dropped);
            self.write_over(&dropped);
            self.boot.assigned = Some(known);
            self.restore_metadata(now, fx);
            return;
        }
        let mut revived = replay(&self.boot.chains);
        if !self.has_looked(&revived, fx) {
            return;
        }
        let mut shares: Vec<Vec<Revived>> = vec![Vec::new(); usize::from(self.config.shards)];
        for partition in self.boot.alive.iter().flatten() {
            if partition.id == METADATA {
                continue;
            }
            let share = shares.get_mut(usize::from(partition.owner));
            if let (Some(share), Some(known)) = (share, revived.remove(&partition.id)) {
                share.push(known);
            }
        }
        self.boot.chains.clear();
        let (start, unclean) = (self.boot.start, self.boot.unclean);
        let dropped = std::mem::take(&mut self.boot.dropped);
        for (to, revived) in shares.into_iter().enumerate() {
            self.send(
                to as u16,
                Letter::Assign {
                    start,
                    unclean,
                    dropped: dropped.clone(),
                    revived,
                },
                now,
                fx,
            );
        }
    }

    /// Tells which partitions exist and who owns them: on every shard, once, when the metadata has
    /// been replayed.
    pub fn set_alive(&mut self, alive: &[AlivePartition], now: Now, fx: &mut Fx) {
        self.boot.alive = Some(alive.to_vec());
        self.boot.live_topics = alive.iter().map(|partition| partition.id.topic).collect();
        let shard = self.config.shard;
        for partition in alive.iter().filter(|partition| partition.owner == shard) {
            if let Some(slot) = self.slot(&partition.id) {
                self.configure(slot, partition.config.clone());
            }
        }
        if self.config.shard == 0 {
            let lists = self.config.dirs.iter();
            let lists = lists
                .map(|dir| Op::ListDir {
                    path: names::topics_dir(dir),
                })
                .collect();
            self.run(
                Script::new().then(lists),
                Then::Boot(BootStep::TopicsListed),
                fx,
            );
            for dir in 0..self.config.dirs.len() {
                let path = names::recycle_dir(&self.config.dirs[dir]);
                let list = Script::new().then(vec![Op::ListDir { path }]);
                self.run(list, Then::Boot(BootStep::SparesListed { dir }), fx);
            }
            let others = |at: &usize| self.boot.chains[*at].shard != META_JOURNAL;
            let chains: Vec<usize> = (0..self.boot.chains.len()).filter(others).collect();
            self.check_last_rounds(&chains, fx);
            if self.boot.checks == 0 {
                self.last_rounds_known(now, fx);
            }
        } else {
            self.restore_assigned(now, fx);
        }
    }
}

impl Store {
    /// Notes which folders belong to topics that are gone.
    fn topics_listed(&mut self, outcome: &Outcome) {
        for (at, entries) in outcome.listed.iter().enumerate() {
            for entry in entries {
                let Some(topic) = names::parse_topic(&entry.name) else {
                    continue;
                };
                if topic != METADATA.topic && !self.boot.live_topics.contains(&topic) {
                    self.boot
                        .dead
                        .push(names::topic(&self.config.dirs[at], topic));
                }
            }
        }
    }
}

/// A directory without its journals: to begin anew would make a new, empty cluster of it.
fn journals_gone(dir: &Path) -> String {
    format!(
        "{} holds data, but the journal of its metadata is missing or damaged: restore the folder \
         {} from a backup, or move the directory away",
        dir.display(),
        names::journal_dir(dir).display()
    )
}

/// Whether the journals' last rounds are complete.
mod checks;

/// What the directories say of themselves.
mod directories;

/// Opening the journals, once every partition is in its segments.
mod opening;

/// Partitions that no journal knows.
mod unknown;
