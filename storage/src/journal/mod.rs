//! The shard's commit journal: a chain of pre-written files, used in turn, each of which begins
//! with the full state of every partition that lives in it.

pub(crate) mod scan;

use crate::canary::{Canary, armed};
use crate::format::names;
use crate::format::round::{ROUND_BYTES_MAX, ROUND_HEADER_LEN, RoundHeader};
use crate::format::{BLOCK_U64, block_floor};
use crate::store::script::{OPENED, Script};
use crate::types::Slot;
use bytes::Bytes;
use reactor::op::{FileId, Op, OpenMode};
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// The smallest journal file: room for a few rounds with full states.
pub(crate) const JOURNAL_BYTES_MIN: u64 = 64 * 1024;

/// Room for what frames the full states of an opening.
const OPENING_SLACK: u64 = JOURNAL_BYTES_MIN;

/// The file that is kept for the next start is at least this share of the others.
const KEPT_SHARE: u64 = 64;

/// What one partition's full state takes at most: a block of tail, a block of checksums, a head.
pub(crate) const STATE_BYTES_MAX: u64 = 2 * BLOCK_U64 + 512;

/// Head of an entry, and a roll, in bytes: more than either takes.
pub(crate) const ENTRY_HEAD_MAX: usize = 128;

/// Bytes of zeros handed to the kernel in one part, and parts in one write: while commits go on,
/// one write follows the other, and none is so large that a round waits long behind it in the
/// device.
const ZEROS_PART: usize = 64 * 1024;
const ZEROS_PARTS_MAX: usize = 8;
/// The same of a start, which waits for the file: all writes at once.
const START_ZEROS_PARTS_MAX: usize = 256;

/// One file of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalFile {
    pub(crate) number: u64,
    pub(crate) file: FileId,
    pub(crate) len: u64,
    /// The first round in it.
    pub(crate) first: u64,
}

/// Restating every partition whose newest full state lies below `first`.
#[derive(Debug)]
pub(crate) struct Carry {
    /// The first round of the file that the carry began in: the low mark to come.
    pub(crate) first: u64,
    pub(crate) pending: BTreeSet<Slot>,
}

impl Carry {
    /// Partitions still to be restated after `restated`.
    pub(crate) fn left_after(&self, restated: &[Slot]) -> usize {
        let done = restated
            .iter()
            .filter(|slot| self.pending.contains(slot))
            .count();
        self.pending.len() - done
    }
}

/// The journal of one shard in one log directory.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) dir: PathBuf,
    pub(crate) shard: u16,
    pub(crate) dir_id: u64,
    /// The number of the next round.
    pub(crate) sequence: u64,
    pub(crate) start: u64,
    pub(crate) salt: u64,
    pub(crate) salt_before: u64,
    pub(crate) low: u64,
    /// The chain in use, oldest first; the last one is written to.
    pub(crate) chain: VecDeque<JournalFile>,
    pub(crate) spare: VecDeque<JournalFile>,
    pub(crate) next_number: u64,
    /// A new file is being written with zeros.
    pub(crate) preparing: bool,
    /// Where the next round goes in the last file of the chain.
    pub(crate) at: u64,
    /// Rounds written and not yet durable.
    pub(crate) in_flight: u32,
    pub(crate) carry: Option<Carry>,
    /// The low mark must not rise: not every opening is durable.
    pub(crate) low_held: bool,
    /// This start writes to it.
    pub(crate) live: bool,
    /// The opening has its file.
    pub(crate) entered: bool,
    /// The opening of this start is being written.
    pub(crate) opening: bool,
    /// Nothing is written any more.
    pub(crate) broken: Option<String>,
    /// Partitions with a full state in this journal.
    pub(crate) residents: u64,
    /// Length of new files, and of the very first one.
    pub(crate) file_bytes: u64,
    pub(crate) first_bytes: u64,
    /// The last round acknowledged something: a closing round is due.
    pub(crate) unclosed: bool,
}

impl Journal {
    pub(crate) fn new(dir: &Path, shard: u16, (file_bytes, first_bytes): (u64, u64)) -> Self {
        Self {
            dir: dir.to_owned(),
            shard,
            dir_id: 0,
            sequence: 1,
            start: 0,
            salt: 0,
            salt_before: 0,
            low: 1,
            chain: VecDeque::new(),
            spare: VecDeque::new(),
            next_number: 1,
            preparing: false,
            at: 0,
            in_flight: 0,
            carry: None,
            low_held: true,
            live: false,
            entered: false,
            opening: false,
            broken: None,
            residents: 0,
            file_bytes: block_floor(file_bytes).max(JOURNAL_BYTES_MIN),
            first_bytes,
            unclosed: false,
        }
    }

    /// Bytes left in the file that is written to.
    pub(crate) fn room(&self) -> u64 {
        self.chain.back().map_or(0, |last| last.len - self.at)
    }

    /// What restating every partition takes: a carry, or the opening of the next start.
    fn reserve(&self) -> u64 {
        (self.residents + 1) * STATE_BYTES_MAX
    }

    /// Length that a free file must have for the opening of the next start.
    fn opening_len(&self) -> u64 {
        self.reserve() + OPENING_SLACK
    }

    /// The free file that is kept for the next start, which begins in a new one and may find the
    /// directory full: the shortest that is long enough.
    fn kept(&self) -> Option<usize> {
        let lens = self.spare.iter().map(|file| file.len).enumerate();
        let serving = lens.filter(|(_, len)| *len >= self.opening_len());
        Some(serving.min_by_key(|(_, len)| *len)?.0)
    }

    /// Bytes in the free files, the kept one aside.
    fn spare_bytes(&self) -> u64 {
        let all: u64 = self.spare.iter().map(|file| file.len).sum();
        all - self.kept().map_or(0, |at| self.spare[at].len)
    }

    /// The longest round that this journal writes.
    pub(crate) fn round_max(&self) -> u64 {
        let len = self.chain.back().map_or(self.file_bytes, |last| last.len);
        block_floor(len / 4).min(ROUND_BYTES_MAX as u64)
    }

    /// Appends at least this long go straight to the segment.
    pub(crate) fn bulk_min(&self) -> u64 {
        (self.round_max() / 4).min(32 * 1024)
    }

    /// Whether so little of the file is left that the next round belongs into another one: the
    /// largest thing that is said at once, a full state and a crumb, must fit, or it would wait for
    /// ever and all others behind it.
    pub(crate) fn is_full(&self) -> bool {
        let heads = (ROUND_HEADER_LEN + 4 * ENTRY_HEAD_MAX) as u64;
        self.room() < heads + STATE_BYTES_MAX + self.bulk_min()
    }

    /// Room for news, beyond what is reserved for one carry and one opening.
    pub(crate) fn has_room_for_news(&self, len: u64) -> bool {
        let free = self.room() + self.spare_bytes();
        self.kept().is_some() && free >= self.reserve() + len
    }

    /// Whether a start needs no other file: the metadata's journal is written to before it ends.
    pub(crate) fn can_start(&self) -> bool {
        let has_file = if self.entered {
            !self.is_full()
        } else {
            !self.spare.is_empty()
        };
        has_file && self.shard != names::META_JOURNAL
    }

    /// Before the opening, which takes one file: gives up what the others hold, for a recovery
    /// that finds the directory full. `partitions` are to be restated.
    pub(crate) fn give_up(&mut self, partitions: u64) -> Vec<Op> {
        if self.live {
            return Vec::new();
        }
        let needed = (partitions + 1) * STATE_BYTES_MAX + OPENING_SLACK;
        let by_use = |file: &&JournalFile| (file.len < needed, file.len.abs_diff(needed));
        let stays = self.spare.iter().min_by_key(by_use).copied();
        let mut goes = std::mem::take(&mut self.spare);
        goes.retain(|file| Some(*file) != stays);
        self.spare.extend(stays);
        goes.iter().flat_map(|gone| self.unlink(gone)).collect()
    }

    /// Gives up a file that is free.
    pub(crate) fn unlink(&self, gone: &JournalFile) -> [Op; 2] {
        let path = names::journal(&self.dir, self.shard, gone.number);
        [Op::Close { file: gone.file }, Op::Unlink { path }]
    }

    /// Takes out free files that are of no use any more: too short for the next start.
    pub(crate) fn outgrown(&mut self) -> VecDeque<JournalFile> {
        let enough = self.opening_len().min(self.file_bytes);
        let (stay, gone) = self.spare.iter().partition(|file| file.len >= enough);
        self.spare = stay;
        gone
    }

    /// Length of another file that should be made ready.
    pub(crate) fn wanted_file(&self) -> Option<u64> {
        if self.preparing || self.broken.is_some() {
            return None;
        }
        if self.chain.is_empty() && self.spare.is_empty() {
            // A start waits for it, and a slow disk writes the zeros of a whole one for longer than
            // all the rest takes. But partitions that another journal knows may need long rounds.
            let anew = self.residents == 0 || self.shard == names::META_JOURNAL;
            let first = self.first_bytes.max(2 * self.opening_len());
            let first = if anew { first } else { self.file_bytes };
            return Some(block_floor(first.min(self.file_bytes)));
        }
        // Made before the one there is becomes too short: news would wait for it.
        let soon = self.opening_len() + self.opening_len() / 2;
        if !self.chain.is_empty() && self.spare.iter().all(|file| file.len < soon) {
            let len = block_floor(2 * soon);
            return Some(len.max(block_floor(self.file_bytes / KEPT_SHARE)));
        }
        let lacks = self.spare_bytes() < self.reserve() + self.round_max();
        lacks.then_some(self.file_bytes)
    }

    pub(crate) fn can_write(&self) -> bool {
        let early = armed(Canary::NextRoundEarly) && self.in_flight < 2 && !self.opening;
        self.live && (self.in_flight == 0 || early) && self.broken.is_none()
    }

    /// Goes on in a free file, whose first rounds restate `residents`. `false` when none is free;
    /// the kept one is free for an opening, and in `need`.
    pub(crate) fn enter_next(&mut self, residents: impl Iterator<Item = Slot>, need: bool) -> bool {
        let kept = self.kept();
        let others = (0..self.spare.len()).filter(|at| kept != Some(*at));
        let longest = others.min_by_key(|at| Reverse(self.spare[*at].len));
        let at = longest.or_else(|| kept.filter(|_| need || self.opening));
        let Some(mut next) = at.and_then(|at| self.spare.remove(at)) else {
            return false;
        };
        next.first = self.sequence;
        self.chain.push_back(next);
        self.at = 0;
        while armed(Canary::ReuseBeforeCarryDurable) && self.chain.len() > 1 {
            self.chain
                .pop_front()
                .into_iter()
                .for_each(|file| self.spare.push_front(file));
        }
        if self.carry.is_none() {
            let pending = residents.collect();
            self.carry = Some(Carry {
                first: self.sequence,
                pending,
            });
        }
        true
    }

    /// The low mark for a round that restates `restated`.
    pub(crate) fn low_with(&self, restated: &[Slot]) -> u64 {
        let Some(carry) = &self.carry else {
            return self.low;
        };
        let held = self.low_held && !armed(Canary::LowBeforeOpenings);
        if held || (carry.left_after(restated) > 0 && !armed(Canary::LowWithFirstOfCarry)) {
            return self.low;
        }
        carry.first
    }

    /// A carry is complete and only waits for a round that says so.
    pub(crate) fn low_is_due(&self) -> bool {
        let complete = self
            .carry
            .as_ref()
            .is_some_and(|carry| carry.pending.is_empty() && carry.first > self.low);
        complete && !self.low_held && !self.opening
    }

    pub(crate) fn header(&self, flags: u16, low: u64) -> RoundHeader {
        RoundHeader {
            flags,
            shard: self.shard,
            dir_id: self.dir_id,
            sequence: self.sequence,
            start: self.start,
            low,
            salt: self.salt,
            salt_before: self.salt_before,
        }
    }

    /// Where the round just sealed goes.
    pub(crate) fn place(&mut self, bytes: Bytes) -> Op {
        let last = self
            .chain
            .back()
            .expect("a round is built only when a file is open");
        let op = Op::Write {
            file: last.file,
            pos: self.at,
            parts: vec![bytes.clone()],
            sync: false,
        };
        self.at += bytes.len() as u64;
        self.sequence += 1;
        self.in_flight += 1;
        op
    }

    pub(crate) fn current(&self) -> Option<FileId> {
        self.chain.back().map(|last| last.file)
    }

    /// A round with this low mark is durable: files wholly below it are free.
    pub(crate) fn raise_low(&mut self, low: u64) {
        // The first carry of a new journal begins where the low mark stands already.
        let raises = low > self.low;
        let ends = |carry: &Carry| carry.first <= low && (raises || carry.pending.is_empty());
        if self.carry.as_ref().is_some_and(ends) {
            self.carry = None;
        }
        if !raises {
            return;
        }
        self.low = low;
        while self.chain.len() > 1 && self.chain[1].first <= low {
            self.spare.extend(self.chain.pop_front());
        }
    }

    /// Makes a file ready: zeros, synced, renamed to its name, its directory synced (rule 2).
    pub(crate) fn prepare(&mut self, len: u64) -> (u64, Script) {
        let number = self.next_number;
        self.next_number += 1;
        self.preparing = true;
        let path = names::journal(&self.dir, self.shard, number);
        let draft = names::unfinished(&path);
        let open = Op::Open {
            path: draft.clone(),
            mode: OpenMode::Create,
            direct: true,
        };
        let mut script = Script::new().then(vec![open]);
        if self.chain.is_empty() {
            script = script.then(zeros(len, START_ZEROS_PARTS_MAX));
        } else {
            for write in zeros(len, ZEROS_PARTS_MAX) {
                script = script.then(vec![write]);
            }
        }
        script = script
            .then(vec![Op::Sync { file: OPENED }])
            .then(vec![Op::Rename {
                from: draft,
                to: path,
            }]);
        if !armed(Canary::JournalDirNotSynced) {
            script = script.then(vec![Op::SyncDir {
                path: names::journal_dir(&self.dir),
            }]);
        }
        (number, script)
    }

    /// The partition has no place in this journal any more.
    pub(crate) fn forget(&mut self, slot: Slot, was_resident: bool) {
        if let Some(carry) = &mut self.carry {
            carry.pending.remove(&slot);
        }
        self.residents -= u64::from(was_resident);
    }
}

/// Zeros at an address that direct I/O accepts.
fn aligned_zeros() -> Bytes {
    let arena = reactor::buf::Arena::heap(ZEROS_PART);
    let mut buf = arena
        .alloc(ZEROS_PART)
        .expect("the arena holds exactly this");
    buf.publish(ZEROS_PART);
    buf.freeze()
}

fn zeros(len: u64, parts_max: usize) -> Vec<Op> {
    let part = aligned_zeros();
    let mut ops = Vec::new();
    let mut pos = 0;
    while pos < len {
        let mut parts = Vec::new();
        let from = pos;
        while pos < len && parts.len() < parts_max {
            let now = (len - pos).min(ZEROS_PART as u64);
            parts.push(part.slice(..now as usize));
            pos += now;
        }
        ops.push(Op::Write {
            file: OPENED,
            pos: from,
            parts,
            sync: false,
        });
    }
    ops
}
