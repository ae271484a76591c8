//! Partitions that no journal knows. Most of them have never had a record; but one whose journal is
//! lost looks the same, and to begin it anew would destroy it. What tells them apart is a
//! checkpoint: it is made only of what a journal has named.

use super::*;
use crate::store::restore::unreadable;

impl Store {
    /// Whether it is known that all partitions without a state have no data either; otherwise that
    /// is being found out, and [`Store::last_rounds_known`] is called again.
    pub(super) fn has_looked(
        &mut self,
        revived: &HashMap<PartitionId, Revived>,
        fx: &mut Fx,
    ) -> bool {
        if std::mem::replace(&mut self.boot.looked, true) {
            return true;
        }
        let alive = self
            .boot
            .alive
            .iter()
            .flatten()
            .map(|partition| partition.id);
        let unknown = alive.filter(|id| *id != METADATA && !revived.contains_key(id));
        let unknown: Vec<PartitionId> = unknown.collect();
        let mut topics = HashSet::new();
        for id in &unknown {
            if topics.insert(id.topic) {
                for dir in self.config.dirs.clone() {
                    self.look_into(names::topic(&dir, id.topic), fx);
                }
            }
        }
        self.boot.unknown = unknown.into_iter().collect();
        self.boot.looks == 0
    }

    fn look_into(&mut self, path: PathBuf, fx: &mut Fx) {
        self.boot.looks += 1;
        let list = Script::new().then(vec![Op::ListDir { path: path.clone() }]);
        self.run(list, Then::Boot(BootStep::Looked { path }), fx);
    }

    /// The folder of a topic or of a partition is listed, if there is one.
    pub(super) fn looked_into(&mut self, path: &Path, outcome: &Outcome, now: Now, fx: &mut Fx) {
        self.boot.looks -= 1;
        if let Some(failure) = outcome.failure().filter(|_| !outcome.not_found()) {
            return self.fail(&unreadable(failure), fx);
        }
        let topic = path
            .file_name()
            .and_then(|name| names::parse_topic(name.to_str()?));
        for entry in outcome.listed.iter().flatten() {
            if [names::CHECKPOINT, names::RECENT].contains(&entry.name.as_str()) {
                let why = format!(
                    "{} holds data, but no journal says where it ends: a journal is missing or \
                     damaged. Restore the folders `journal` from a backup, or remove that folder \
                     to go on without its records",
                    path.display()
                );
                return self.fail(&why, fx);
            }
            if let (Some(topic), Ok(index)) = (topic, entry.name.parse())
                && self.boot.unknown.contains(&PartitionId { topic, index })
            {
                self.look_into(path.join(&entry.name), fx);
            }
        }
        if self.boot.looks == 0 {
            self.last_rounds_known(now, fx);
        }
    }
}
