//! One shard's logs in all log directories: append, commit rounds, read, recover.

mod ahead;
mod api;
mod boot;
mod carry;
mod extent;
mod mail;
mod pump;
mod read;
mod recycle;
mod restore;
mod round;
mod save;
pub(crate) mod script;
mod upkeep;

pub use api::{
    AppendError, Appended, Event, Finding, Found, Fx, Lack, LogInfo, ReadError, ReadRequest,
    Reading, RecoveredPartition, RecoveryReport, TOKEN_TAG, TimeQuery, is_storage,
};
pub use mail::StoreMail;

use crate::batch::Admitted;
use crate::format::names::META_JOURNAL;
use crate::journal::Journal;
use crate::log::Log;
use crate::producer::{ProducerError, ProducerView, Verdict};
use crate::types::{Durability, LogConfig, METADATA, PartitionId, Slot, StoreConfig};
use boot::{Boot, BootStep};
use reactor::buf::Arena;
use reactor::op::{Done, Mono, Now, Op, Token};
use recycle::{Pool, Spare};
use round::RoundEnd;
use script::{Outcome, Script, Scripts};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

/// A quiet journal gets its closing round this long after the last acknowledgement, in ms.
const CLOSE_AFTER_MS: u64 = 100;

/// The arena's share that appends may not use, so that rounds and reads can go on: one eighth.
const ARENA_RESERVE: usize = 8;

/// One log directory as this shard uses it, or the metadata log's own journal in the first one.
#[derive(Debug)]
struct Volume {
    dir: PathBuf,
    journal: Journal,
    /// Partitions with something to say in the next round.
    dirty: VecDeque<Slot>,
    /// Somebody waits for what they have to say. Otherwise it can wait until then.
    eager: bool,
    round_due: Option<Mono>,
    /// Partitions with a full state in the journal.
    residents: BTreeSet<Slot>,
    /// Partitions with a bad extent in the last round: the next one restates them.
    failed: Vec<Slot>,
    /// A round is being put together.
    drafting: bool,
    /// A medium failed since the round in flight was written: what a failed flush has lost, the
    /// next one does not tell.
    flush_failed: bool,
    /// Rounds whose acknowledgements wait for the next one.
    held: Vec<RoundEnd>,
    /// A closing round is due now.
    closing: bool,
    close_at: Option<Mono>,
    /// The round of a clean stop is due now.
    stop_round: bool,
    stopped: bool,
    /// Retired segment files, to be written over again.
    pool: Pool,
    /// The device that a sync of the journal flushes, where it writes in place.
    device: Option<u64>,
    /// The directory was full at the last try; when to try again.
    full: Option<Mono>,
    /// It was, and retired files are being freed: nothing is refused before that is done.
    giving_back: bool,
    /// A person has been told that the directory is full.
    told_full: bool,
    /// A person has been told that direct I/O does not work here.
    told_buffered: bool,
}

/// What follows a script.
#[derive(Debug)]
enum Then {
    Round(Box<RoundEnd>),
    JournalFile {
        vol: usize,
        number: u64,
        len: u64,
    },
    Io(Slot, i64, pump::Step),
    Read(u64),
    Restore(u64),
    Boot(BootStep),
    /// A retired file is in the pool's folder.
    Kept {
        slot: Slot,
        base: i64,
        spare: Spare,
    },
    /// Retired files were freed because the directory is full.
    GaveBack {
        vol: usize,
    },
    /// The index of a segment is written.
    Indexed(Slot, i64),
    /// What is derived from a partition's batches is saved, if nothing failed.
    Saved(Slot),
    /// What nobody needs any more is removed.
    Cleared,
    /// Nothing depends on it.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    arena: Arena,
    vols: Vec<Volume>,
    /// By slot; a slot is never used twice.
    logs: Vec<Option<Log>>,
    by_id: HashMap<PartitionId, Slot>,
    scripts: Scripts<Then>,
    /// Removals that wait for the one under way, if there is one.
    clearing: Option<VecDeque<Script>>,
    reads: HashMap<u64, read::ReadJob>,
    next_read: u64,
    ahead: ahead::Ahead,
    restores: HashMap<u64, restore::Restore>,
    boot: Boot,
    /// When retention is checked, and when idle memory is given back.
    next_check: Option<Mono>,
    /// The clocks at the first tick.
    first_look: Option<Now>,
    next_idle: Option<Mono>,
    /// Recent bytes that a partition keeps in memory.
    recent_bytes: usize,
    /// Bytes that go to a segment together.
    destage_run: u64,
    /// See [`save::recent_lag`]; as much bulk may lie between two full states of a partition.
    recent_lag: u64,
    /// The arena was relieved since the last flush, down to so many bytes if that was possible.
    relieved_to: usize,
    /// The partition that gives up memory next, and those to be destaged for it at the next flush.
    relieved: usize,
    hurried: Vec<Slot>,
    stopping: bool,
    stopped: bool,
}

impl Store {
    /// A store that has touched nothing yet.
    ///
    /// Panics when the configuration names no directory or a shard that does not exist.
    #[must_use]
    pub fn new(config: StoreConfig, arena: Arena) -> Self {
        assert!(!config.dirs.is_empty(), "a store needs a log directory");
        assert!(config.shard < config.shards, "a store is one of its shards");
        let mut vols = Vec::new();
        if config.shard == 0 {
            vols.push(Volume::new(
                &config.dirs[0],
                META_JOURNAL,
                (config.journal_bytes / 16, config.journal_first_bytes / 16),
                0,
            ));
        }
        for dir in &config.dirs {
            let journal = (config.journal_bytes, config.journal_first_bytes);
            let recycle = config.recycle_bytes_max;
            vols.push(Volume::new(dir, config.shard, journal, recycle));
        }
        let recent_bytes = upkeep::recent_bytes(&arena, 1);
        let destage_run = pump::destage_run(&config, &arena, 1);
        let recent_lag = save::recent_lag(&config, 1);
        Self {
            config,
            arena,
            vols,
            logs: Vec::new(),
            by_id: HashMap::new(),
            scripts: Scripts::new(),
            clearing: None,
            reads: HashMap::new(),
            next_read: 1,
            ahead: ahead::Ahead::default(),
            restores: HashMap::new(),
            boot: Boot::default(),
            next_check: None,
            first_look: None,
            next_idle: None,
            recent_bytes,
            destage_run,
            recent_lag,
            relieved_to: usize::MAX,
            relieved: 0,
            hurried: Vec::new(),
            stopping: false,
            stopped: false,
        }
    }

    /// Takes the completion of an operation with a token for which [`is_storage`] holds.
    pub fn on_done(&mut self, token: Token, done: Done, now: Now, fx: &mut Fx) {
        let Some((then, outcome)) = self.scripts.done(token, done, &mut fx.ops) else {
            return;
        };
        match then {
            Then::Round(end) => self.end_round(*end, &outcome, now, fx),
            Then::JournalFile { vol, number, len } => {
                self.journal_file_done(vol, (number, len), &outcome, now, fx);
            }
            Then::Io(slot, base, step) => self.end_io(slot, base, step, &outcome, now, fx),
            Then::Read(job) => self.end_read(job, &outcome, now, fx),
            Then::Restore(number) => self.end_restore(number, &outcome, now, fx),
            Then::Boot(step) => self.end_boot(step, outcome, now, fx),
            Then::Kept { slot, base, spare } => self.kept((slot, base, spare), &outcome, now, fx),
            Then::GaveBack { vol } => self.gave_back(vol, now, fx),
            Then::Indexed(slot, base) => self.end_index(slot, base, now, fx),
            Then::Saved(slot) => self.saved(slot, &outcome, now, fx),
            Then::Cleared => self.cleared(&outcome, fx),
            Then::Nothing => {}
        }
        self.try_stop(now, fx);
    }

    /// Starts a commit round wherever something waits and none is in flight: to be called once at
    /// the end of every step.
    pub fn flush(&mut self, now: Now, fx: &mut Fx) {
        self.relieved_to = usize::MAX;
        for slot in std::mem::take(&mut self.hurried) {
            self.pump(slot, now, fx);
        }
        for v in 0..self.vols.len() {
            self.begin_round(v, now, fx);
            self.report_memory(v, fx);
        }
        self.try_stop(now, fx);
    }

    /// Where memory is durable enough, the end in memory is what counts.
    pub(crate) fn report_memory(&mut self, v: usize, fx: &mut Fx) {
        for slot in &self.vols[v].dirty {
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                continue;
            };
            let memory = log.config.durability == Durability::Memory;
            if memory && log.fenced.is_none() && log.end > log.durable_end {
                log.durable_end = log.end;
                fx.events.push(Event::Durable {
                    slot: *slot,
                    end_offset: log.end,
                });
            }
        }
    }

    /// Makes a partition known. Nothing is written before its first append.
    pub fn create(&mut self, id: PartitionId, config: LogConfig, _now: Now) -> Slot {
        if let Some(known) = self.by_id.get(&id) {
            return *known;
        }
        let vol = self.home(&id);
        self.insert(Log::new(id, config, vol))
    }

    fn insert(&mut self, log: Log) -> Slot {
        let number = u32::try_from(self.logs.len()).expect("fewer than 2^32 partitions a life");
        let slot = Slot(number);
        self.by_id.insert(log.id, slot);
        self.logs.push(Some(log));
        slot
    }

    /// The journal of a new partition: directories take turns by the partition's identity.
    fn home(&self, id: &PartitionId) -> usize {
        if *id == METADATA && self.config.shard == 0 {
            return 0;
        }
        let first = usize::from(self.config.shard == 0);
        let mut key = id.topic.0.to_vec();
        key.extend_from_slice(&id.index.to_le_bytes());
        first + crate::crc::crc32c(&key) as usize % self.config.dirs.len()
    }

    /// The slot of a known partition.
    #[must_use]
    pub fn slot(&self, id: &PartitionId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// Changes a partition's settings.
    pub fn configure(&mut self, slot: Slot, config: LogConfig) {
        if let Some(log) = self.log_mut(slot) {
            log.config = config;
        }
    }

    /// Appends a batch in memory; durable when an [`Event::Durable`] says so.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing has changed then.
    pub fn append(
        &mut self,
        slot: Slot,
        batch: &Admitted,
        leader_epoch: i32,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let len = batch.pieces.len();
        let refusal = self.refusal(slot, len);
        let waits = refusal.is_none() && !self.make_room(len);
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return Err(AppendError::Fenced);
        };
        let vol = &mut self.vols[log.vol];
        if refusal == Some(AppendError::Fenced) {
            return Err(AppendError::Fenced);
        }
        if let Some(original) = duplicate(log, batch)? {
            if vol.told_full && original.last_offset >= log.durable_end {
                return Err(AppendError::NoSpace);
            }
            return Ok(original);
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if waits {
            return Err(AppendError::Busy);
        }
        if log.must_roll(&batch.header, len, now) {
            log.roll();
        }
        let base_offset = log.end;
        if !log.place(batch, leader_epoch, &self.arena, now) {
            self.relieve(0);
            return Err(AppendError::Busy);
        }
        // Where memory is durable enough, nobody waits for the round.
        vol.eager |= log.config.durability == Durability::Disk;
        if !log.dirty {
            log.dirty = true;
            vol.dirty.push_back(slot);
        }
        Ok(Appended {
            base_offset,
            last_offset: log.end - 1,
            log_append_time_ms: append_time(batch),
            duplicate: false,
        })
    }

    /// Why an append of `len` bytes is refused, whatever is in them.
    fn refusal(&self, slot: Slot, len: usize) -> Option<AppendError> {
        let Some(log) = self.log(slot) else {
            return Some(AppendError::Fenced);
        };
        let vol = &self.vols[log.vol];
        let shut = vol.journal.broken.is_some() || self.stopping;
        if log.fenced.is_some() || log.deleted || shut {
            return Some(AppendError::Fenced);
        }
        // Not before a new try has succeeded: until then they would only fill the memory. The
        // metadata uses what it has reserved for just this: to delete topics takes space.
        let reserved = log.id == METADATA && log.has_place_for(len);
        (vol.told_full && !reserved).then_some(AppendError::NoSpace)
    }

    /// Whether an append of `len` bytes would only be told to wait for memory.
    pub fn must_wait(&mut self, slot: Slot, len: usize) -> bool {
        self.refusal(slot, len).is_none() && !self.make_room(len)
    }

    /// A partition's log at a glance.
    ///
    /// Panics when the slot's partition has been deleted.
    #[must_use]
    pub fn info(&self, slot: Slot) -> LogInfo {
        let log = self
            .log(slot)
            .expect("the slot belongs to a partition that exists");
        LogInfo {
            id: log.id,
            log_start: log.log_start,
            log_start_durable: log.log_start_durable,
            end: log.end,
            durable_end: log.durable_end,
            size_bytes: log.size(),
            dir: self.vols[log.vol].dir.clone(),
            latest_epoch: log.epochs.latest().unwrap_or(-1),
            fenced: log.fenced.is_some(),
        }
    }

    /// The largest known epoch not above `epoch`, and the offset behind it (KIP-101); (-1, -1) when
    /// unknown.
    #[must_use]
    pub fn epoch_end(&self, slot: Slot, epoch: i32) -> (i32, i64) {
        self.log(slot)
            .map_or((-1, -1), |log| log.epochs.end_offset_for(epoch, log.end))
    }

    /// The leader epoch of the record at `offset`, -1 when unknown.
    #[must_use]
    pub fn epoch_at(&self, slot: Slot, offset: i64) -> i32 {
        self.log(slot)
            .and_then(|log| log.epochs.epoch_at(offset))
            .unwrap_or(-1)
    }

    /// The idempotent producers that the partition remembers.
    #[must_use]
    pub fn producers(&self, slot: Slot) -> Vec<ProducerView> {
        self.log(slot)
            .map_or_else(Vec::new, |log| log.producers.iter().collect())
    }

    fn log(&self, slot: Slot) -> Option<&Log> {
        self.logs.get(slot.0 as usize).and_then(Option::as_ref)
    }

    fn log_mut(&mut self, slot: Slot) -> Option<&mut Log> {
        self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut)
    }

    fn run(&mut self, script: Script, then: Then, fx: &mut Fx) {
        self.scripts.run(script, then, &mut fx.ops);
    }

    fn mark_dirty(&mut self, slot: Slot) {
        if let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) {
            let vol = &mut self.vols[log.vol];
            vol.eager = true;
            if !log.dirty {
                log.dirty = true;
                vol.dirty.push_back(slot);
            }
        }
    }

    /// Takes no more appends for one partition.
    fn fence(&mut self, slot: Slot, why: &str, fx: &mut Fx) {
        let Some(log) = self.log_mut(slot) else {
            return;
        };
        if log.fenced.is_some() {
            return;
        }
        log.fenced = Some(why.to_owned());
        let what = format!(
            "partition {} of topic {}",
            log.id.index,
            hex(&log.id.topic.0)
        );
        fx.events.push(Event::Fenced {
            what,
            why: why.to_owned(),
            slots: vec![slot],
        });
    }

    /// The log directories whose journal takes no more appends of this shard.
    pub fn broken_dirs(&self) -> impl Iterator<Item = &Path> {
        let broken = |vol: &&Volume| vol.journal.broken.is_some();
        self.vols.iter().filter(broken).map(|vol| &*vol.dir)
    }

    /// Takes no more appends for a whole journal.
    fn break_journal(&mut self, v: usize, why: &str, fx: &mut Fx) {
        let vol = &mut self.vols[v];
        if vol.journal.broken.is_some() {
            return;
        }
        vol.journal.broken = Some(why.to_owned());
        if !self.boot.ready && (vol.journal.opening || !vol.journal.live) {
            let why = unwritable(&vol.dir, why);
            return self.fail(&why, fx);
        }
        let what = format!(
            "every partition of shard {} in {}",
            vol.journal.shard,
            vol.dir.display()
        );
        let here = |log: &Option<Log>| log.as_ref().is_some_and(|log| log.vol == v);
        let slots = (0..).map(Slot).zip(&self.logs);
        let slots = slots.filter(|(_, log)| here(log)).map(|(slot, _)| slot);
        fx.events.push(Event::Fenced {
            what,
            why: why.to_owned(),
            slots: slots.collect(),
        });
    }

    /// Starts writing another journal file if one is wanted.
    fn prepare_file(&mut self, v: usize, fx: &mut Fx) {
        let starting = !self.boot.ready;
        let vol = &mut self.vols[v];
        // Until every shard has recovered, space is for what recovery needs.
        if vol.full.is_some() || starting && vol.journal.can_start() {
            return;
        }
        let Some(len) = vol.journal.wanted_file() else {
            return;
        };
        let (number, script) = vol.journal.prepare(len);
        let then = Then::JournalFile {
            vol: v,
            number,
            len,
        };
        self.run(script, then, fx);
    }

    fn journal_file_done(
        &mut self,
        v: usize,
        (number, len): (u64, u64),
        outcome: &Outcome,
        now: Now,
        fx: &mut Fx,
    ) {
        self.vols[v].journal.preparing = false;
        if let Some(failure) = outcome.failure() {
            let words = failure.words();
            self.leave_draft(v, number, outcome, fx);
            if self.out_of_space(v, failure.error.kind, now, fx) {
                return;
            }
            self.break_journal(v, &words, fx);
            return;
        }
        self.space_is_back(v, fx);
        if let Some(opened) = outcome.opened {
            self.told_buffered(v, opened.direct, fx);
            self.vols[v].device = opened.in_place.map(|place| place.device);
            let journal = &mut self.vols[v].journal;
            journal.spare.push_back(crate::journal::JournalFile {
                number,
                file: opened.file,
                len,
                first: 0,
            });
            let gone = journal.outgrown();
            let unlinks: Vec<Op> = gone.iter().flat_map(|gone| journal.unlink(gone)).collect();
            if !unlinks.is_empty() {
                let script = Script::new().then(unlinks).keep_going();
                self.run(script, Then::Nothing, fx);
            }
        }
        self.begin_round(v, now, fx);
        self.prepare_file(v, fx);
    }

    /// The next try goes on with the same draft: what it has got of the space stays the journal's,
    /// and a start on a full directory finds it.
    fn leave_draft(&mut self, v: usize, number: u64, outcome: &Outcome, fx: &mut Fx) {
        self.vols[v].journal.next_number = number;
        if let Some(opened) = outcome.opened {
            let close = Op::Close { file: opened.file };
            self.run(Script::new().then(vec![close]), Then::Nothing, fx);
        }
    }

    fn told_buffered(&mut self, v: usize, direct: bool, fx: &mut Fx) {
        let dir = &self.vols[v].dir;
        let told = self
            .vols
            .iter()
            .any(|vol| vol.told_buffered && vol.dir == *dir);
        // Every shard has a journal in every directory: one of them tells.
        if direct || told || self.config.shard != 0 {
            return;
        }
        let vol = &mut self.vols[v];
        vol.told_buffered = true;
        fx.events.push(Event::Notice(format!(
            "{}: this file system has no direct I/O; everything works, more slowly",
            vol.dir.display()
        )));
    }
}

impl Volume {
    fn new(dir: &Path, shard: u16, journal_bytes: (u64, u64), recycle_bytes_max: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            journal: Journal::new(dir, shard, journal_bytes),
            dirty: VecDeque::new(),
            eager: false,
            round_due: None,
            failed: Vec::new(),
            flush_failed: false,
            residents: BTreeSet::new(),
            drafting: false,
            held: Vec::new(),
            closing: false,
            close_at: None,
            stop_round: false,
            stopped: false,
            pool: Pool::new(dir, shard, recycle_bytes_max),
            device: None,
            full: None,
            giving_back: false,
            told_full: false,
            told_buffered: false,
        }
    }
}

/// Why a start ends that cannot write a journal in `dir`.
fn unwritable(dir: &Path, why: &str) -> String {
    format!(
        "the journal in {} cannot be written: {why}; no record was given up. If that stays so, \
         copy the directory to another disk, and start again",
        dir.display()
    )
}

/// The place of a batch that was appended before.
fn duplicate(log: &Log, batch: &Admitted) -> Result<Option<Appended>, AppendError> {
    match log.producers.check(&batch.header) {
        Ok(Verdict::Append) => Ok(None),
        Ok(Verdict::Duplicate {
            base_offset,
            last_offset,
            timestamp,
        }) => Ok(Some(Appended {
            base_offset,
            last_offset,
            log_append_time_ms: timestamp,
            duplicate: true,
        })),
        Err(ProducerError::OutOfOrderSequence { .. }) => Err(AppendError::OutOfOrderSequence),
        Err(ProducerError::InvalidEpoch { .. }) => Err(AppendError::InvalidProducerEpoch),
    }
}

const fn append_time(batch: &Admitted) -> i64 {
    if batch.header.attributes.log_append_time() {
        batch.header.max_timestamp
    } else {
        -1
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
