//! What the log directories say of themselves. Names alone do not tell a directory that was never
//! used from one whose disk is not mounted, nor a shard without records from one whose journal is
//! lost: so each directory remembers which journals it has, and which directories belong together.

use super::*;
use crate::format::meta::LOG_DIRS_MAX;

impl Store {
    /// Reads the files `meta`, makes those of new directories, and makes all that was found
    /// durable.
    pub(super) fn know_directories(
        &mut self,
        outcome: &Outcome,
        now: Now,
    ) -> Result<Script, String> {
        if self.config.dirs.len() > LOG_DIRS_MAX {
            return Err(format!("more than {LOG_DIRS_MAX} log directories"));
        }
        let mut script = Script::new();
        let mut new_dirs = Vec::new();
        for (at, dir) in self.config.dirs.iter().enumerate() {
            let block = &outcome.reads[at];
            let (no_journal, no_topic) = (
                outcome.listed[2 * at].is_empty(),
                outcome.listed[2 * at + 1].is_empty(),
            );
            if no_journal && no_topic && !Meta::is_whole(block) {
                let id = mix(now.wall_ms as u64 ^ now.mono.0.rotate_left(32) ^ at as u64);
                let meta = Meta::new(id);
                script = script.join(settle_meta(dir, Some(&meta)));
                new_dirs.push(dir.clone());
                self.boot.metas.push(meta);
                continue;
            }
            if no_journal && !no_topic {
                return Err(journals_gone(dir));
            }
            if block.is_empty() {
                return Err(format!(
                    "{} holds logs, but its file `meta` is empty: restore the file (format version \
                     {VERSION}) from a backup, or move the directory away",
                    dir.display()
                ));
            }
            let meta = Meta::decode(block)
                .map_err(|why| format!("{} {why}", names::meta(dir).display()))?;
            script = script.join(settle_meta(dir, None));
            self.boot.metas.push(meta);
        }
        self.boot.dir_ids = self.boot.metas.iter().map(|meta| meta.dir_id).collect();
        match new_dirs.first().filter(|_| self.misses_directory()) {
            Some(dir) => Err(format!(
                "{} is empty, but one of the log directories that were used until now is missing: \
                 mount its disk there, or start once without this directory to go on without \
                 the records of that one",
                dir.display()
            )),
            None => Ok(script),
        }
    }

    /// Whether a directory that the others were used together with is not among them.
    fn misses_directory(&self) -> bool {
        let mut together = self.boot.metas.iter().flat_map(|meta| &meta.together);
        together.any(|id| !self.boot.dir_ids.contains(id))
    }

    /// The directories and shards whose journals must be there, and the first one that is not, in
    /// words.
    pub(super) fn missing_journal(&self) -> Option<String> {
        let chains = &self.boot.chains;
        for (at, meta) in self.boot.metas.iter().enumerate() {
            let found = |shard: u16| {
                let mut own = chains.iter();
                own.any(|chain| chain.dir == at && chain.shard == shard && !chain.rounds.is_empty())
            };
            if let Some(shard) = (0..meta.shards).find(|shard| !found(*shard)) {
                return Some(format!(
                    "the journal of shard {shard} is missing in {} or damaged from its beginning: \
                     restore that folder from a backup. Its partitions cannot be told from new \
                     ones without it",
                    names::journal_dir(&self.config.dirs[at]).display()
                ));
            }
        }
        None
    }

    /// Every opening is durable: from now on these journals must be found. Those of shards that are
    /// gone need not any more, and are ended after this.
    pub(super) fn remember_journals(&mut self, now: Now, fx: &mut Fx) {
        let mut script = Script::new();
        let mut changed = false;
        for (dir, known) in self.config.dirs.iter().zip(&self.boot.metas) {
            let meta = Meta {
                dir_id: known.dir_id,
                shards: self.config.shards,
                together: self.boot.dir_ids.clone(),
            };
            if meta != *known {
                changed = true;
                script = script.join(Script::replace(names::meta(dir), meta.encode()));
            }
        }
        if changed {
            self.run(script, Then::Boot(BootStep::Remembered), fx);
        } else {
            self.release_all(now, fx);
        }
    }

    pub(super) fn release_all(&mut self, now: Now, fx: &mut Fx) {
        for to in 0..self.config.shards {
            let keep = self.boot.lacks;
            self.send(to, Letter::Release { keep }, now, fx);
        }
    }
}

/// Writes the file `meta` if it is new, and makes it and the directory's names durable: what a
/// start finds may have been left by one that died before its own syncs.
fn settle_meta(dir: &Path, new: Option<&Meta>) -> Script {
    let open = Op::Open {
        path: names::meta(dir),
        mode: OpenMode::Write,
        direct: false,
    };
    let mut script = Script::new().then(vec![open]);
    if let Some(meta) = new {
        let parts = vec![Bytes::from(meta.encode())];
        script = script.then(vec![Op::Write {
            file: OPENED,
            pos: 0,
            parts,
            sync: false,
        }]);
    }
    let parent = dir.parent().filter(|path| !path.as_os_str().is_empty());
    let mut dirs = vec![Op::SyncDir {
        path: dir.to_owned(),
    }];
    dirs.extend(parent.map(|_| Op::SyncParent { of: dir.to_owned() }));
    script
        .then(vec![Op::Sync { file: OPENED }])
        .then(vec![Op::Close { file: OPENED }])
        .then(dirs)
}
