use super::*;
use crate::format::round::{ROUND_HEADER_LEN, RoundHeader, VOID};
use crate::journal::scan::FileScan;
use crate::log::Log;
use crate::store::Volume;
use crate::store::script::OpenedFile;

/// Partitions restored at the same time.
const RESTORES_MAX: usize = 8;

impl Store {
    pub(super) fn restore_metadata(&mut self, now: Now, fx: &mut Fx) {
        let known: VecDeque<Revived> = self.boot.assigned.take().into_iter().flatten().collect();
        self.boot.restoring = known.len();
        self.boot.waiting = known;
        self.restore_more(now, fx);
    }

    /// Restores this shard's partitions once it knows both which they are and what is known of
    /// them.
    pub(super) fn restore_assigned(&mut self, now: Now, fx: &mut Fx) {
        if self.boot.alive.is_none() {
            return;
        }
        let Some(assigned) = self.boot.assigned.take() else {
            return;
        };
        let alive = self.boot.alive.take().unwrap_or_default();
        let shard = self.config.shard;
        for partition in alive.iter().filter(|partition| partition.owner == shard) {
            self.boot
                .configs
                .insert(partition.id, partition.config.clone());
        }
        for partition in alive.iter().filter(|partition| partition.owner == shard) {
            let has_data = assigned.iter().any(|known| known.id == partition.id);
            if !has_data {
                self.create(partition.id, partition.config.clone(), now);
            }
        }
        self.boot.restoring = assigned.len();
        self.boot.waiting = assigned.into();
        self.restore_more(now, fx);
    }

    pub(in crate::store) fn restore_more(&mut self, now: Now, fx: &mut Fx) {
        // Who needs nothing read is restored at once and calls for the next one: the loop below
        // has it, since no stack has room for thousands of them inside each other.
        if std::mem::replace(&mut self.boot.restoring_more, true) {
            return;
        }
        // Each once: who must wait for memory stands at the end of the queue again.
        for _ in 0..self.boot.waiting.len() {
            if self.restores.len() + self.boot.settling.len() >= RESTORES_MAX {
                break;
            }
            if let Some(revived) = self.boot.waiting.pop_front() {
                self.restore(revived, now, fx);
            }
        }
        self.boot.restoring_more = false;
        if self.boot.restoring == 0 && !self.boot.failed {
            self.begin_openings(now, fx);
        }
    }

    /// A restored partition is waiting for its blocks to be in its segments.
    pub(in crate::store) fn settle(&mut self, slot: Slot) {
        self.boot.settling.insert(slot);
    }

    /// Everything of a restored partition is where it belongs, or its medium has failed on the way:
    /// then it stays as it is until the next start.
    pub(in crate::store) fn settled(&mut self, slot: Slot, now: Now, fx: &mut Fx) {
        if self.boot.settling.remove(&slot) {
            // All partitions together may hold far more than the arena. But what one says of
            // segments behind the first open one has to be in memory.
            if self.log(slot).is_some_and(|log| log.fenced.is_none()) {
                self.let_go(slot);
            }
            self.restored(now, fx);
        }
    }

    /// Whether nothing is left for an opening to say after a round that restates these. A partition
    /// whose medium failed may hold more than any round takes. Then all that journals said of it
    /// before still counts: the low mark stays where it is, since the carry stays open.
    pub(in crate::store) fn ends_opening(&self, v: usize, restated: &[Slot]) -> bool {
        let Some(carry) = &self.vols[v].journal.carry else {
            return true;
        };
        let fenced = |slot: &Slot| self.log(*slot).is_some_and(|log| log.fenced.is_some());
        let stuck = restated.is_empty() && carry.pending.iter().all(fenced);
        stuck || carry.left_after(restated) == 0
    }

    /// Whether the openings lack a partition that another journal knows: that one, of a shard that
    /// may be gone, must keep it.
    fn lacks_moved(&self) -> bool {
        let carries = self
            .vols
            .iter()
            .filter_map(|vol| vol.journal.carry.as_ref());
        let mut pending = carries.flat_map(|carry| &carry.pending);
        pending.any(|slot| self.boot.moved.contains(slot))
    }

    pub(in crate::store) fn restored(&mut self, now: Now, fx: &mut Fx) {
        self.boot.restoring -= 1;
        self.restore_more(now, fx);
    }

    pub(in crate::store) fn restoring_others(&self) -> bool {
        !self.boot.settling.is_empty() || !self.restores.is_empty()
    }

    /// The openings of these journals take the number of the last round, which was dropped: it is
    /// not the last one any more behind them, and a partition that they cannot restate would be
    /// believed to have it (rule 22).
    pub(super) fn write_over(&mut self, dropped: &[(usize, u16)]) {
        for (dir, shard) in dropped {
            let dir = &self.config.dirs[*dir];
            let mut vols = self.vols.iter_mut();
            let own = |vol: &&mut Volume| vol.dir == *dir && vol.journal.shard == *shard;
            if let Some(vol) = vols.find(own) {
                vol.journal.sequence = vol.journal.sequence.saturating_sub(1).max(1);
            }
        }
    }

    /// Restates every partition of this shard at the beginning of a new file of each journal.
    fn begin_openings(&mut self, now: Now, fx: &mut Fx) {
        let metadata = self.config.shard == 0 && !self.boot.metadata_ready;
        if self.boot.opening {
            return;
        }
        self.boot.opening = !metadata;
        let first = usize::from(self.config.shard == 0);
        let range = if metadata {
            0..1
        } else {
            first..self.vols.len()
        };
        for v in range {
            let salt = mix(now.wall_ms as u64 ^ now.mono.0.rotate_left(29) ^ (v as u64) << 56);
            let journal = &mut self.vols[v].journal;
            journal.start = self.boot.start;
            journal.salt = salt;
            journal.live = true;
            journal.opening = true;
            if armed(Canary::NoOpeningRound) && journal.enter_next(std::iter::empty(), false) {
                journal.entered = true;
                self.opened(v, now, fx);
                continue;
            }
            self.prepare_file(v, fx);
            self.begin_round(v, now, fx);
        }
    }

    /// The opening of a journal is durable.
    pub(in crate::store) fn opened(&mut self, v: usize, now: Now, fx: &mut Fx) {
        self.vols[v].journal.opening = false;
        if self.config.shard == 0 && v == 0 {
            if !self.clears_junk(BootStep::MetadataCleared, fx) {
                self.metadata_ready(fx);
            }
            return;
        }
        if self
            .vols
            .iter()
            .all(|vol| vol.journal.live && !vol.journal.opening)
        {
            let lacks = self.lacks_moved();
            self.send(0, Letter::Opened { lacks }, now, fx);
        }
    }

    pub(super) fn metadata_ready(&mut self, fx: &mut Fx) {
        self.boot.metadata_ready = true;
        fx.events.push(Event::MetadataReady);
    }

    /// Removes the segment files that nothing names, if there are any; `then` follows. A life that
    /// ended while it began a segment leaves such a file, and the log ends where that segment was
    /// to begin: the next one gets the same name. So they have to be gone before anything is
    /// appended, or the new file would be removed in place of the old one.
    fn clears_junk(&mut self, then: BootStep, fx: &mut Fx) -> bool {
        let junk = std::mem::take(&mut self.boot.junk);
        if junk.is_empty() {
            return false;
        }
        let unlinks = junk.into_iter().map(|path| Op::Unlink { path });
        let script = Script::new().then_all(unlinks.collect()).keep_going();
        self.run(script, Then::Boot(then), fx);
        true
    }

    /// Every opening of every shard is durable: old journals may go, unless they are to be kept.
    pub(super) fn released(&mut self, keep: bool, now: Now, fx: &mut Fx) {
        if self.clears_junk(BootStep::Cleared { keep }, fx) {
            return;
        }
        for vol in &mut self.vols {
            vol.journal.low_held = keep;
            vol.pool.open(self.boot.start);
        }
        self.boot.ready = true;
        if keep {
            self.close_gone(fx);
            self.tell_kept(fx);
        } else {
            self.void_gone(fx);
        }
        for path in std::mem::take(&mut self.boot.spares) {
            let unlink = Script::new().then(vec![Op::Unlink { path }]).keep_going();
            self.run(unlink, Then::Nothing, fx);
        }
        for topic in std::mem::take(&mut self.boot.dead) {
            let list = vec![Op::ListDir {
                path: topic.clone(),
            }];
            self.run(
                Script::new().then(list),
                Then::Boot(BootStep::DeadTopic { topic }),
                fx,
            );
        }
        for v in 0..self.vols.len() {
            self.begin_round(v, now, fx);
            self.prepare_file(v, fx);
        }
        self.next_check = Some(now.mono.after_ms(self.config.retention_check_ms.max(1)));
        self.next_idle = Some(now.mono.after_ms(1000));
        fx.wake(now.mono.after_ms(1000));
        let unclean = self.boot.unclean;
        let logs = self.logs.iter().enumerate();
        let partitions = logs.filter_map(|(at, log)| recovered(at, log.as_ref()?, unclean));
        let partitions = partitions.collect();
        let start_number = self.boot.start;
        // What grows with the number of partitions, and only a start needs.
        self.boot.configs = HashMap::new();
        self.boot.moved = HashSet::new();
        fx.events.push(Event::Ready(RecoveryReport {
            unclean,
            start_number,
            partitions,
        }));
    }

    /// The journals grow as long as this life lasts.
    fn tell_kept(&self, fx: &mut Fx) {
        if self.config.shard == 0 {
            fx.events.push(Event::Notice(
                "a partition that has moved to another core is too large to be written down there \
                 while its disk fails: the journals keep all that they hold, and grow, until a \
                 start finds the disk mended"
                    .to_owned(),
            ));
        }
    }

    /// The journals that were read of shards that no longer exist; what was read is forgotten.
    fn take_gone(&mut self) -> Vec<ScannedJournal> {
        let mut journals = std::mem::take(&mut self.boot.journals);
        journals.retain(|scanned| {
            let dir = &self.config.dirs[scanned.dir];
            let mine = |vol: &Volume| vol.dir == *dir && vol.journal.shard == scanned.shard;
            !self.vols.iter().any(mine)
        });
        journals
    }

    /// Leaves the journals of shards that no longer exist as they are.
    fn close_gone(&mut self, fx: &mut Fx) {
        let files = self.take_gone().into_iter().flat_map(|gone| gone.files);
        let closes: Vec<Op> = files.map(|file| Op::Close { file: file.file }).collect();
        if !closes.is_empty() {
            self.run(Script::new().then_all(closes), Then::Nothing, fx);
        }
    }

    /// Ends the journals of shards that no longer exist (rule 24).
    fn void_gone(&mut self, fx: &mut Fx) {
        for scanned in self.take_gone() {
            let dir = self.config.dirs[scanned.dir].clone();
            let header = RoundHeader {
                flags: VOID,
                shard: scanned.shard,
                dir_id: self.boot.dir_ids[scanned.dir],
                sequence: scanned.ending.sequence + 1,
                start: self.boot.start,
                low: scanned.ending.sequence + 1,
                salt: mix(scanned.ending.salt),
                salt_before: scanned.ending.salt,
            };
            let script = void(&dir, scanned.shard, &scanned.files, &header);
            self.run(script, Then::Boot(BootStep::Voided), fx);
        }
    }

    /// Notes the retired files of earlier lives: how much of them is written died with those.
    pub(super) fn spares_listed(&mut self, dir: usize, outcome: &Outcome) {
        let folder = names::recycle_dir(&self.config.dirs[dir]);
        let found = outcome.listed.iter().flatten();
        let spares = found.filter(|entry| names::is_spare(&entry.name));
        let paths = spares.map(|entry| folder.join(&entry.name));
        self.boot.spares.extend(paths);
    }

    /// Notes what a sync of one of this shard's journals flushes.
    pub(super) fn note_device(&mut self, journal: usize, opened: &OpenedFile) {
        let scanned = &self.boot.journals[journal];
        let dir = &self.config.dirs[scanned.dir];
        let mut vols = self.vols.iter_mut();
        let own = |vol: &&mut Volume| vol.dir == *dir && vol.journal.shard == scanned.shard;
        if let Some(vol) = vols.find(own) {
            vol.device = opened.in_place.map(|place| place.device);
        }
    }

    pub(super) fn dead_topic(&mut self, topic: PathBuf, outcome: &Outcome, fx: &mut Fx) {
        let found = outcome.listed.iter().flatten().count();
        if outcome.failures.is_empty() && found == 0 {
            let remove = vec![Op::RemoveDir { path: topic }];
            self.run(Script::new().then(remove).keep_going(), Then::Nothing, fx);
            return;
        }
        for entry in outcome.listed.iter().flatten().filter(|entry| entry.is_dir) {
            let path = topic.join(&entry.name);
            let list = vec![Op::ListDir { path: path.clone() }];
            self.run(
                Script::new().then(list),
                Then::Boot(BootStep::DeadPartition { path }),
                fx,
            );
        }
    }

    pub(super) fn dead_partition(&mut self, path: PathBuf, outcome: &Outcome, fx: &mut Fx) {
        let files = outcome.listed.iter().flatten();
        let unlinks = files
            .map(|entry| Op::Unlink {
                path: path.join(&entry.name),
            })
            .collect();
        let topic = path.parent().map(|topic| Op::RemoveDir {
            path: topic.to_owned(),
        });
        let script = Script::new()
            .then_all(unlinks)
            .then(vec![Op::RemoveDir { path }])
            .then(topic.into_iter().collect())
            .keep_going();
        self.run(script, Then::Nothing, fx);
    }
}

fn void(dir: &Path, shard: u16, files: &[FileScan], header: &RoundHeader) -> Script {
    let mut bytes = vec![0; ROUND_HEADER_LEN];
    header.seal(&mut bytes);
    let number = files.iter().map(|file| file.number).max().unwrap_or(0) + 1;
    let path = names::journal(dir, shard, number);
    let folder = names::journal_dir(dir);
    let sync = || {
        vec![Op::SyncDir {
            path: folder.clone(),
        }]
    };
    let closes = files
        .iter()
        .map(|file| Op::Close { file: file.file })
        .collect();
    let unlinks = files
        .iter()
        .map(|file| Op::Unlink {
            path: names::journal(dir, shard, file.number),
        })
        .collect();
    let script = Script::new().then(closes);
    script
        .join(Script::replace(path.clone(), bytes))
        .then(unlinks)
        .then(sync())
        .then(vec![Op::Unlink { path }])
        .then(sync())
}

fn recovered(at: usize, log: &Log, unclean: bool) -> Option<RecoveredPartition> {
    if log.end == 0 && log.damaged.is_none() {
        return None;
    }
    let memory = log.config.durability == Durability::Memory;
    Some(RecoveredPartition {
        slot: Slot(at as u32),
        id: log.id,
        log_start: log.log_start,
        end: log.end,
        durability: log.config.durability,
        fenced: log.fenced.is_some(),
        may_have_lost: unclean && memory,
    })
}
