//! Directories: what their entries are now, what they are durably, and the changes in between.
//!
//! At a power cut each change survives or not by itself, with two restrictions that every journaled
//! file system keeps: a change survives only if the earlier ones to the same name and to the same
//! file do, and a rename is one change.

use super::block::Mood;
use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A file or directory, by number; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ino(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ino: Ino,
    pub(super) is_dir: bool,
}

/// A name in a directory.
pub(super) type Name = (Ino, String);

/// One change of entries that is not durable.
#[derive(Clone, Debug)]
struct Change {
    stamp: u64,
    entry: Entry,
    clears: Option<Name>,
    sets: Option<Name>,
}

impl Change {
    fn names(&self) -> impl Iterator<Item = &Name> {
        self.clears.iter().chain(&self.sets)
    }

    fn apply(self, dirs: &mut BTreeMap<Name, Entry>) {
        if let Some(name) = self.clears
            && dirs
                .get(&name)
                .is_some_and(|entry| entry.ino == self.entry.ino)
        {
            dirs.remove(&name);
        }
        if let Some(name) = self.sets {
            dirs.insert(name, self.entry);
        }
    }
}

/// Every entry of every directory of one machine.
#[derive(Debug, Default)]
pub(super) struct Names {
    now: BTreeMap<Name, Entry>,
    durable: BTreeMap<Name, Entry>,
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, name: &Name) -> Option<Entry> {
        self.now.get(name).copied()
    }

    /// The entries of `dir`.
    pub(super) fn list(&self, dir: Ino) -> impl Iterator<Item = (&str, Entry)> {
        self.now
            .range((dir, String::new())..)
            .take_while(move |((of, _), _)| *of == dir)
            .map(|((_, name), entry)| (name.as_str(), *entry))
    }

    /// A change of the entries now: `clears` loses `entry`, `sets` gains it.
    pub(super) fn change(
        &mut self,
        stamp: u64,
        entry: Entry,
        clears: Option<Name>,
        sets: Option<Name>,
    ) {
        let change = Change {
            stamp,
            entry,
            clears,
            sets,
        };
        change.clone().apply(&mut self.now);
        self.changes.push(change);
    }

    /// Makes everything so far durable, as if the machine had been set up long ago.
    pub(super) fn settle(&mut self) {
        self.durable = self.now.clone();
        self.changes.clear();
    }

    /// fsync of `dir`, begun at `start`: its changes, and those they rest on.
    pub(super) fn sync(&mut self, dir: Ino, start: u64) {
        let mut names = BTreeSet::new();
        let mut inos = BTreeSet::new();
        let mut covered = vec![false; self.changes.len()];
        for (at, change) in self.changes.iter().enumerate().rev() {
            let here = change.stamp <= start && change.names().any(|(of, _)| *of == dir);
            let needed =
                inos.contains(&change.entry.ino) || change.names().any(|name| names.contains(name));
            if here || needed {
                covered[at] = true;
                inos.insert(change.entry.ino);
                names.extend(change.names().cloned());
            }
        }
        let mut covered = covered.into_iter();
        let (durable, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|_| covered.next().is_some_and(|is| is));
        for change in durable {
            change.apply(&mut self.durable);
        }
        self.changes = kept;
    }

    /// A power cut: what is durable, and some of the changes.
    pub(super) fn cut(&mut self, rng: &mut Rng, mood: Mood) {
        let mut lost_names = BTreeSet::new();
        let mut lost_inos = BTreeSet::new();
        for change in std::mem::take(&mut self.changes) {
            let possible = !lost_inos.contains(&change.entry.ino)
                && !change.names().any(|name| lost_names.contains(name));
            if possible && mood.keeps(rng) {
                change.apply(&mut self.durable);
            } else {
                lost_inos.insert(change.entry.ino);
                lost_names.extend(change.names().cloned());
            }
        }
        self.now = self.durable.clone();
    }

    /// Whether an entry, now or after a power cut, may lead to `ino`.
    pub(super) fn mentioned(&self) -> BTreeSet<Ino> {
        let now = self.now.values().map(|entry| entry.ino);
        let durable = self.durable.values().map(|entry| entry.ino);
        let changed = self.changes.iter().map(|change| change.entry.ino);
        now.chain(durable).chain(changed).collect()
    }
}
