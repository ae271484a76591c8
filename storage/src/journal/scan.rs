//! Finding the rounds of a journal after a start, whatever state its files are in.

use crate::canary::{Canary, armed};
use crate::format::BLOCK_U64;
use crate::format::round::{
    CLEAN, Entry, OPENING, OPENING_END, Parsed, ROUND_BYTES_MAX, RoundHeader, VOID, parse,
};
use bytes::Bytes;
use reactor::op::FileId;
use std::collections::BTreeMap;

/// Bytes read at once while a journal file is walked.
const STRIDE: u64 = 1 << 20;

/// One round that was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundRound {
    pub(crate) header: RoundHeader,
    pub(crate) entries: Vec<Entry>,
}

/// The walk through one journal file.
#[derive(Debug)]
pub(crate) struct FileScan {
    pub(crate) number: u64,
    pub(crate) file: FileId,
    pub(crate) len: u64,
    shard: u16,
    dir_id: u64,
    at: u64,
    /// The bytes that the read under way was to bring at least.
    asked: u64,
    pub(crate) rounds: Vec<FoundRound>,
    /// Where the last of these rounds lies, and all of its bytes.
    pub(crate) last: Option<(u64, Bytes)>,
    /// Looking for rounds behind one that does not check, up to here.
    beyond: Option<u64>,
    /// A round lies behind one that does not check.
    pub(crate) broken: bool,
}

impl FileScan {
    pub(crate) const fn new(number: u64, file: FileId, len: u64, shard: u16, dir_id: u64) -> Self {
        Self {
            number,
            file,
            len: len - len % BLOCK_U64,
            shard,
            dir_id,
            at: 0,
            asked: 0,
            rounds: Vec::new(),
            last: None,
            beyond: None,
            broken: false,
        }
    }

    /// What to read next: position and length, at least `needed` bytes. `None` at the end.
    pub(crate) fn wants(&self, needed: u64) -> Option<(u64, u32)> {
        let len = needed.max(STRIDE).min(self.len.saturating_sub(self.at));
        (len > 0).then_some((self.at, len as u32))
    }

    /// Takes what was read at the place asked for; returns the bytes that the next read needs at
    /// least, or `None` when the file has been walked.
    pub(crate) fn take(&mut self, bytes: &Bytes) -> Option<u64> {
        let from = self.at;
        let asked = std::mem::take(&mut self.asked);
        loop {
            let offset = (self.at - from) as usize;
            if self.at >= self.beyond.unwrap_or(self.len) || bytes.is_empty() {
                return None;
            }
            if offset >= bytes.len() {
                return Some(0);
            }
            match parse(&bytes.slice(offset..), self.len - self.at) {
                Parsed::Longer(needed) if needed > asked || offset > 0 => {
                    self.asked = needed;
                    return Some(needed);
                }
                Parsed::Round(header, entries, len) if self.continues(&header) => {
                    if self.beyond.is_some() {
                        self.broken = true;
                        return None;
                    }
                    self.rounds.push(FoundRound { header, entries });
                    let end = (offset + len as usize).min(bytes.len());
                    self.last = Some((self.at, bytes.slice(offset..end)));
                    self.at += len;
                    continue;
                }
                _ => {}
            }
            // Behind a round that does not check, another one would be a sign of damage; an empty
            // file and a clean stop need no such look.
            let clean = self
                .rounds
                .last()
                .is_none_or(|last| last.header.flags & CLEAN != 0);
            if self.beyond.is_none() && clean {
                return None;
            }
            let limit = (self.at + 2 * ROUND_BYTES_MAX as u64).min(self.len);
            self.beyond.get_or_insert(limit);
            self.at += BLOCK_U64;
        }
    }

    /// Whether a round belongs behind the ones found in this file.
    fn continues(&self, next: &RoundHeader) -> bool {
        if next.shard != self.shard || next.dir_id != self.dir_id {
            return false;
        }
        let Some(last) = self.rounds.last().map(|round| &round.header) else {
            return self.at == 0;
        };
        let same = next.start == last.start && next.salt == last.salt;
        let newer = next.start > last.start && next.salt_before == last.salt;
        let follows = if self.beyond.is_some() {
            next.sequence > last.sequence
        } else {
            next.sequence == last.sequence + 1
        };
        follows && (same || newer)
    }
}

/// What is left of one journal: its rounds from the low mark to the last, in order.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// Place of the directory in the configuration.
    pub(crate) dir: usize,
    pub(crate) shard: u16,
    pub(crate) rounds: Vec<FoundRound>,
    /// Rounds below this number are lost though they are needed: only what is restated at or
    /// above it can be trusted.
    pub(crate) damaged_below: u64,
    pub(crate) clean: bool,
}

/// What a journal goes on from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    pub(crate) sequence: u64,
    pub(crate) low: u64,
    pub(crate) salt: u64,
    /// The highest start number in any of its files.
    pub(crate) start: u64,
}

/// Puts the files of one journal together (rules 18, 20 and 23).
pub(crate) fn assemble(dir: usize, shard: u16, files: &[FileScan]) -> (Chain, Ending) {
    let mut by_sequence: BTreeMap<u64, &FoundRound> = BTreeMap::new();
    let mut ending = Ending::default();
    for round in files.iter().flat_map(|file| &file.rounds) {
        ending.start = ending.start.max(round.header.start);
        let known = by_sequence.entry(round.header.sequence).or_insert(round);
        if round.header.start > known.header.start && !armed(Canary::IgnoreStartNumber) {
            *known = round;
        }
    }
    // A round of an older start behind one of a newer start is left over from an opening that was
    // never finished.
    let mut newest = 0;
    let mut rounds: Vec<&FoundRound> = Vec::new();
    for round in by_sequence.into_values() {
        if round.header.start >= newest {
            newest = round.header.start;
            rounds.push(round);
        }
    }
    let unfinished = rounds.last().is_some_and(|last| {
        last.header.flags & OPENING != 0 && last.header.flags & OPENING_END == 0
    });
    if unfinished {
        let start = rounds.last().map_or(0, |last| last.header.start);
        rounds.retain(|round| round.header.start < start);
    }
    let mut chain = Chain {
        dir,
        shard,
        rounds: Vec::new(),
        damaged_below: 0,
        clean: true,
    };
    let Some(last) = rounds.last().map(|round| round.header) else {
        return (chain, ending);
    };
    chain.clean = last.flags & CLEAN != 0;
    ending.sequence = last.sequence;
    ending.low = last.low;
    ending.salt = last.salt;
    if last.flags & VOID != 0 {
        chain.clean = true;
        return (chain, ending);
    }
    rounds.retain(|round| round.header.sequence >= last.low);
    let mut expected = last.low;
    for round in &rounds {
        if round.header.sequence != expected {
            chain.damaged_below = round.header.sequence;
        }
        expected = round.header.sequence + 1;
    }
    if files
        .iter()
        .any(|file| file.broken && file.holds_last(last.sequence))
    {
        chain.damaged_below = u64::MAX;
    }
    chain.rounds = rounds.into_iter().cloned().collect();
    (chain, ending)
}

impl FileScan {
    fn holds_last(&self, sequence: u64) -> bool {
        self.rounds
            .last()
            .is_some_and(|last| last.header.sequence == sequence)
    }

    /// The first round of the file, if it is part of the chain that starts at `low`.
    pub(crate) fn first_in(&self, low: u64, last: u64) -> Option<u64> {
        let first = self.rounds.first()?.header.sequence;
        let final_round = self.rounds.last()?.header.sequence;
        (final_round >= low && first <= last).then_some(first)
    }
}
